//! Names, ping and external ports for JavaScript.

use core::time::Duration;
use std::net::IpAddr;
use wasm_bindgen::prelude::wasm_bindgen;
use webtun_stack::{Family, MapId, PingId, PingOptions, QueryId};

use crate::arguments::{self, instant};
use crate::codes::Code;
use crate::stack::{WasmStack, identifier};

#[wasm_bindgen]
impl WasmStack {
    /// Asks for the addresses of a name; `family` is 4, 6 or 0 for both. Answered by an event.
    pub fn resolve(&mut self, name: &str, family: u8, now: f64) -> u32 {
        let family = match family {
            4 => Family::V4,
            6 => Family::V6,
            _ => Family::Any,
        };
        self.stack.resolve(name, family, instant(now)).get()
    }

    /// Nobody waits for the answer any more.
    pub fn cancel_resolve(&mut self, id: u32, now: f64) {
        self.stack.cancel_resolve(QueryId::from_u32(id), instant(now));
    }

    /// Sends an ICMP echo request of `size` octets; `timeout` in milliseconds. Answered by an event.
    pub fn ping(&mut self, address: &str, size: usize, timeout: f64, now: f64) -> f64 {
        let Ok(target) = address.parse::<IpAddr>() else { return Code::Einval.negative() };
        let timeout = Duration::from_millis(timeout as u64);
        let options = PingOptions { len: size, timeout, ..PingOptions::default() };
        identifier(self.stack.ping(target, options, instant(now)).map(PingId::get))
    }

    /// Asks for an external port and keeps it until [`unmap_port`](Self::unmap_port). Answered by events. `protocol`
    /// is 6 or 17, `lifetime` in seconds.
    pub fn map_port(
        &mut self,
        protocol: u8,
        ipv6: bool,
        internal_port: u16,
        external_port: u16,
        lifetime: u32,
        now: f64,
    ) -> u32 {
        let request = arguments::port_map(protocol, ipv6, internal_port, external_port, lifetime);
        self.stack.map_port(request, instant(now)).get()
    }

    /// Gives an external port back.
    pub fn unmap_port(&mut self, id: u32, now: f64) {
        self.stack.unmap_port(MapId::from_u32(id), instant(now));
    }
}

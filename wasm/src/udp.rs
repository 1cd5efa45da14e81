//! UDP for JavaScript.

use wasm_bindgen::prelude::wasm_bindgen;
use webtun_stack::{BindError, SocketId, UdpOptions};

use crate::arguments::instant;
use crate::codes::Code;
use crate::stack::{OUTPUT_LEN, WasmStack, endpoint, identifier};

/// Words of one entry in the list of received datagrams: its length and the sender's endpoint.
const ENTRY_WORDS: usize = 7;

#[wasm_bindgen]
impl WasmStack {
    /// Binds; port 0 is any, `receive` in octets, 0 for the default.
    pub fn udp_bind(&mut self, address: &str, port: u16, ipv6_only: bool, receive: usize, now: f64) -> f64 {
        let Some(local) = endpoint(address, port) else { return Code::Einval.negative() };
        identifier_of(self.stack.udp_bind(local, udp_options(ipv6_only, receive), instant(now)))
    }

    /// Binds a socket for ICMP echo requests; identifier 0 is any, `receive` in octets, 0 for the default. The functions
    /// for UDP take and give its ICMP messages.
    pub fn echo_bind(&mut self, address: &str, identifier: u16, receive: usize, now: f64) -> f64 {
        let Some(local) = endpoint(address, identifier) else { return Code::Einval.negative() };
        identifier_of(self.stack.echo_bind(local, udp_options(true, receive), instant(now)))
    }

    /// TTL or hop limit of what a socket of any kind sends from now on; 0 counts as 1.
    pub fn set_hop_limit(&mut self, id: u32, hop_limit: u8) {
        self.stack.set_hop_limit(SocketId::from_u32(id), hop_limit);
    }

    /// Receives only from that endpoint and sends there by default. 0, or the code of the failure.
    pub fn udp_connect(&mut self, id: u32, address: &str, port: u16) -> f64 {
        let Some(remote) = endpoint(address, port) else { return Code::Einval.negative() };
        match self.stack.udp_connect(SocketId::from_u32(id), remote) {
            Ok(()) => 0.0,
            Err(error) => Code::from(error).negative(),
        }
    }

    /// Sends `length` octets of the input buffer to the connected endpoint. 1 where they were taken, 0 where there is no
    /// room now.
    pub fn udp_send(&mut self, id: u32, length: usize, now: f64) -> f64 {
        self.send_datagram(id, length, None, now)
    }

    /// As [`udp_send`](Self::udp_send), to an endpoint.
    pub fn udp_send_to(&mut self, id: u32, length: usize, address: &str, port: u16, now: f64) -> f64 {
        match endpoint(address, port) {
            Some(remote) => self.send_datagram(id, length, Some(remote), now),
            None => Code::Einval.negative(),
        }
    }

    /// Receives datagrams of together at most `limit` octets, but one in any case: their number. Their payloads lie one
    /// after another at [`pointer`](Self::pointer); [`udp_entries`](Self::udp_entries) tells their lengths and senders.
    pub fn udp_recv(&mut self, id: u32, limit: usize) -> usize {
        let id = SocketId::from_u32(id);
        let limit = limit.min(OUTPUT_LEN);
        self.words.0.clear();
        let mut used = 0;
        while let Some(next) = self.stack.udp_next_len(id) {
            if used != 0 && used + next > limit || used + next > OUTPUT_LEN {
                break;
            }
            let room = self.output.get_mut(used..).unwrap_or_default();
            let Some((length, from)) = self.stack.udp_recv_slice(id, room) else { break };
            self.words.length(length);
            self.words.endpoint(from);
            used += length;
        }
        self.publish_output();
        self.words.0.len() / ENTRY_WORDS
    }

    /// The list that belongs to the last [`udp_recv`](Self::udp_recv): per datagram its length and its sender's endpoint.
    pub fn udp_entries(&mut self) -> usize {
        self.publish_words()
    }
}

fn udp_options(ipv6_only: bool, receive: usize) -> UdpOptions {
    let mut options = UdpOptions { ipv6_only, ..UdpOptions::default() };
    if receive != 0 {
        options.receive_buffer = receive.clamp(65_536, 4 * 1024 * 1024);
    }
    options
}

fn identifier_of(bound: Result<SocketId, BindError>) -> f64 {
    identifier(bound.map(SocketId::get))
}

impl WasmStack {
    fn send_datagram(&mut self, id: u32, length: usize, to: Option<core::net::SocketAddr>, now: f64) -> f64 {
        let data = self.input.get(length);
        match self.stack.udp_send(SocketId::from_u32(id), data, to, instant(now)) {
            Ok(taken) => f64::from(u8::from(taken)),
            Err(error) => Code::from(error).negative(),
        }
    }
}

//! Connections that the gateway makes, for JavaScript.

use wasm_bindgen::prelude::wasm_bindgen;
use webtun_stack::{SocketId, Splitting, StreamHost, TcpOptions};

use crate::arguments::instant;
use crate::codes::Code;
use crate::stack::{WasmStack, identifier};

#[wasm_bindgen]
impl WasmStack {
    /// Starts to connect by a socket of the gateway's, which resolves `host` where that is a name, if that is `wanted` and can
    /// be, or has to be; else, and for an address of this host's own, the result is the code of ENOTSUP. What is sent before the connection is there travels with the
    /// request.
    pub fn tcp_connect_split(&mut self, host: String, port: u16, wanted: bool, now: f64) -> f64 {
        match self.stack.splitting() {
            Splitting::Required => {}
            Splitting::Available if wanted => {}
            Splitting::Unavailable | Splitting::Available => return Code::Enotsup.negative(),
        }
        let host = host.parse().map_or_else(|_| StreamHost::Name(host), StreamHost::Address);
        if matches!(host, StreamHost::Address(address) if self.stack.is_own(address)) {
            return Code::Enotsup.negative();
        }
        identifier(self.stack.tcp_connect_split(host, port, &TcpOptions::default(), instant(now)).map(SocketId::get))
    }
}

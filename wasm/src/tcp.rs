//! TCP for JavaScript.

use core::time::Duration;
use wasm_bindgen::prelude::wasm_bindgen;
use webtun_stack::{ListenOptions, Received, SocketId, TcpOptions};

use crate::codes::Code;
use crate::stack::{OUTPUT_LEN, WasmStack, buffers, endpoint, identifier, instant};

/// The result of [`WasmStack::tcp_recv`] when the other side has finished sending.
const FINISHED: f64 = -1.0;

#[wasm_bindgen]
impl WasmStack {
    /// Starts to connect. `keep_alive` is in milliseconds, 0 for none; buffer sizes are octets, 0 for the default.
    #[expect(clippy::too_many_arguments, reason = "numbers cross more cheaply than an object")]
    pub fn tcp_connect(
        &mut self,
        address: &str,
        port: u16,
        nodelay: bool,
        keep_alive: u32,
        receive: usize,
        send: usize,
        now: f64,
    ) -> f64 {
        let Some(remote) = endpoint(address, port) else { return Code::Einval.negative() };
        let options = TcpOptions {
            nodelay,
            keep_alive: (keep_alive != 0).then(|| Duration::from_millis(keep_alive.into())),
            buffers: buffers(receive, send),
            ..TcpOptions::default()
        };
        identifier(self.stack.tcp_connect(remote, options, instant(now)).map(SocketId::get))
    }

    /// Listens; port 0 is any, backlog 0 the default.
    pub fn tcp_listen(&mut self, address: &str, port: u16, backlog: usize, ipv6_only: bool, now: f64) -> f64 {
        let Some(local) = endpoint(address, port) else { return Code::Einval.negative() };
        let mut options = ListenOptions { ipv6_only, ..ListenOptions::default() };
        if backlog != 0 {
            options.backlog = backlog.min(4096);
        }
        identifier(self.stack.tcp_listen(local, options, instant(now)).map(SocketId::get))
    }

    /// The next connection of a listener, or -1. Its two endpoints (local, remote) are the result.
    pub fn tcp_accept(&mut self, listener: u32) -> f64 {
        let Some(id) = self.stack.tcp_accept(SocketId::from_u32(listener)) else { return -1.0 };
        self.words.0.clear();
        if let Some((local, remote)) = self.stack.tcp_addresses(id) {
            self.words.endpoint(local);
            self.words.endpoint(remote);
        }
        self.publish_words();
        f64::from(id.get())
    }

    /// Sends `length` octets of the input buffer; returns how many were taken.
    pub fn tcp_send(&mut self, id: u32, length: usize, now: f64) -> f64 {
        let data = self.input.get(..length).unwrap_or_default();
        match self.stack.tcp_send(SocketId::from_u32(id), data, instant(now)) {
            Ok(taken) => taken as f64,
            Err(error) => Code::from(error).negative(),
        }
    }

    /// Receives at most `limit` octets: their number (they are the result), 0 for none now, -1 for the end.
    pub fn tcp_recv(&mut self, id: u32, limit: usize, now: f64) -> f64 {
        let room = self.output.get_mut(..limit.min(OUTPUT_LEN)).unwrap_or_default();
        let received = self.stack.tcp_recv(SocketId::from_u32(id), room, instant(now));
        self.publish_output();
        match received {
            Ok(Received::Data(length)) => length as f64,
            Ok(Received::Empty) => 0.0,
            Ok(Received::Finished) => FINISHED,
            // The graceful end is an end also where it is reported as the reason of a closed socket.
            Err(error) if Code::from(error) == Code::Ok => FINISHED,
            Err(error) => Code::from(error).negative(),
        }
    }

    /// Octets that the other side has not acknowledged yet.
    pub fn tcp_unsent(&self, id: u32) -> usize {
        self.stack.tcp_unsent(SocketId::from_u32(id))
    }

    /// Half-close: nothing more will be sent.
    pub fn tcp_shutdown(&mut self, id: u32, now: f64) {
        self.stack.tcp_shutdown(SocketId::from_u32(id), instant(now));
    }

    /// Resets the connection.
    pub fn tcp_abort(&mut self, id: u32, now: f64) {
        self.stack.tcp_abort(SocketId::from_u32(id), instant(now));
    }

    /// Closes a socket of any kind and forgets it.
    pub fn close_socket(&mut self, id: u32, now: f64) {
        self.stack.close(SocketId::from_u32(id), instant(now));
    }

    /// The local endpoint of a socket, as words; 0 for an unknown one.
    pub fn local_address(&mut self, id: u32) -> usize {
        self.words.0.clear();
        if let Some(local) = self.stack.local_address(SocketId::from_u32(id)) {
            self.words.endpoint(local);
        }
        self.publish_words()
    }
}

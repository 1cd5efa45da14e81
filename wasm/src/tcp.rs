//! TCP for JavaScript.

use core::time::Duration;
use wasm_bindgen::prelude::wasm_bindgen;
use webtun_stack::{ListenOptions, Received, SocketId, TcpOptions};

use crate::arguments::instant;
use crate::codes::Code;
use crate::stack::{WasmStack, buffers, endpoint, identifier};

/// The result of [`WasmStack::tcp_recv`] when the other side has finished sending.
const FINISHED: f64 = -1.0;

#[wasm_bindgen]
impl WasmStack {
    /// Starts to connect. `keep_alive` is in milliseconds, 0 for none; buffer sizes are octets, 0 for the default, as for
    /// the hop limit.
    #[expect(clippy::too_many_arguments, reason = "numbers cross more cheaply than an object")]
    pub fn tcp_connect(
        &mut self,
        address: &str,
        port: u16,
        nodelay: bool,
        keep_alive: u32,
        receive: usize,
        send: usize,
        hop_limit: u8,
        now: f64,
    ) -> f64 {
        let Some(remote) = endpoint(address, port) else { return Code::Einval.negative() };
        let default = TcpOptions::default();
        let options = TcpOptions {
            hop_limit: if hop_limit == 0 { default.hop_limit } else { hop_limit },
            nodelay,
            keep_alive: (keep_alive != 0).then(|| Duration::from_millis(keep_alive.into())),
            buffers: buffers(receive, send),
            ..default
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

    /// Room for at most `wanted` octets in the send buffer: its length, 0 where there is none now. The caller fills the
    /// result, and then says so by [`tcp_sent`](Self::tcp_sent).
    pub fn tcp_send(&mut self, id: u32, wanted: usize, now: f64) -> f64 {
        let mut at = core::ptr::null();
        let look = |room: &mut [u8]| {
            at = room.as_ptr();
            (room.len(), 0)
        };
        let room = self.send_with(id, wanted, look, now);
        self.result = at;
        room
    }

    /// The first `length` octets of the room that [`tcp_send`](Self::tcp_send) gave are filled, with nothing called
    /// between; returns `length`.
    pub fn tcp_sent(&mut self, id: u32, length: usize, now: f64) -> f64 {
        self.send_with(id, length, |room| (room.len(), room.len()), now)
    }

    /// Received data, at most `limit` octets: their number, 0 for none now, -1 for the end. They are the result, where the
    /// receive buffer has them; [`tcp_received`](Self::tcp_received) takes them out of it. More may follow at once.
    pub fn tcp_recv(&mut self, id: u32, limit: usize, now: f64) -> f64 {
        let mut seen = 0;
        let result = &mut self.result;
        let look = |data: &[u8]| {
            *result = data.as_ptr();
            seen = data.len();
            0
        };
        match self.stack.tcp_recv_with(SocketId::from_u32(id), limit, look, instant(now)) {
            Ok(Received::Data(_)) => seen as f64,
            Ok(Received::Empty) => 0.0,
            Ok(Received::Finished) => FINISHED,
            // The graceful end is an end also where it is reported as the reason of a closed socket.
            Err(error) if Code::from(error) == Code::Ok => FINISHED,
            Err(error) => Code::from(error).negative(),
        }
    }

    /// Where in the last message everything lies that can be read now: pairs of offset and length, as words, whose number is
    /// the result; 0 where that is not all in the message. [`tcp_taken`](Self::tcp_taken) takes it.
    pub fn tcp_arrival(&mut self, id: u32) -> usize {
        self.words.0.clear();
        for part in self.stack.tcp_arrival(SocketId::from_u32(id)) {
            self.words.0.extend([part.start as u32, part.len() as u32]);
        }
        self.publish_words()
    }

    /// Everything that can be read now is not needed any more.
    pub fn tcp_taken(&mut self, id: u32, now: f64) {
        let id = SocketId::from_u32(id);
        let mut left = self.stack.tcp_readable(id);
        while left > 0
            && let Ok(Received::Data(taken @ 1..)) = self.stack.tcp_recv_with(id, left, <[u8]>::len, instant(now))
        {
            left -= taken;
        }
    }

    /// The first `length` octets that [`tcp_recv`](Self::tcp_recv) gave are not needed any more.
    pub fn tcp_received(&mut self, id: u32, length: usize, now: f64) {
        // What has changed since shows with the next look.
        let _ = self.stack.tcp_recv_with(SocketId::from_u32(id), length, <[u8]>::len, instant(now));
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

impl WasmStack {
    /// `write` says what to return, and how many octets it has written.
    fn send_with(&mut self, id: u32, wanted: usize, write: impl FnOnce(&mut [u8]) -> (usize, usize), now: f64) -> f64 {
        let mut outcome = 0;
        let write = |room: &mut [u8]| {
            let (told, written) = write(room);
            outcome = told;
            written
        };
        match self.stack.tcp_send_with(SocketId::from_u32(id), wanted, write, instant(now)) {
            Ok(_) => outcome as f64,
            Err(error) => Code::from(error).negative(),
        }
    }
}

//! Sending and receiving on connections.

use std::net::SocketAddr;
use std::ops::Range;
use std::time::Duration;

use webtun_wire::Instant;

use super::{Host, TimerKey};
use crate::socket::tcp::{Owner, TcpSocket};
use crate::{CloseReason, Received, RecvError, SendError, SocketId, TcpState};

impl Host {
    /// The connection, where it is the program's: not one that it has closed, nor one that it has not accepted.
    pub(super) fn owned(&self, id: SocketId) -> Option<&TcpSocket> {
        self.tcp.get(&id).filter(|socket| socket.owner == Owner::Program)
    }

    fn owned_mut(&mut self, id: SocketId) -> Option<&mut TcpSocket> {
        self.tcp.get_mut(&id).filter(|socket| socket.owner == Owner::Program)
    }

    /// A call has given the connection something to do, or to wait for.
    pub(super) fn rearm(&mut self, id: SocketId) {
        if let Some(socket) = self.tcp.get_mut(&id) {
            self.timers.schedule(TimerKey::Tcp(id), socket.deadline(), &mut socket.scheduled);
            self.mark_dirty(id);
        }
    }

    /// Takes as much of `data` as fits and says how much. Less than offered (also 0): `TcpWritable` follows.
    ///
    /// # Errors
    /// Where nothing can be sent any more, or not yet.
    pub fn tcp_send(&mut self, id: SocketId, data: &[u8], now: Instant) -> Result<usize, SendError> {
        let socket = self.owned_mut(id).ok_or(SendError::UnknownSocket)?;
        let taken = socket.send(data, now)?;
        if taken > 0 {
            self.rearm(id);
        }
        Ok(taken)
    }

    /// As [`tcp_send`](Self::tcp_send), without a copy in between: `write` gets room for at most `wanted` octets, as much
    /// as lies together, and says how many it has filled. `TcpWritable` follows where there was no room.
    ///
    /// # Errors
    /// As for `tcp_send`.
    pub fn tcp_send_with(
        &mut self,
        id: SocketId,
        wanted: usize,
        write: impl FnOnce(&mut [u8]) -> usize,
        now: Instant,
    ) -> Result<usize, SendError> {
        let socket = self.owned_mut(id).ok_or(SendError::UnknownSocket)?;
        let taken = socket.send_with(wanted, write, now)?;
        if taken > 0 {
            self.rearm(id);
        }
        Ok(taken)
    }

    /// Gives received data, and after all of it `Finished` or the error.
    ///
    /// # Errors
    /// Where the connection did not end with a FIN of the peer, or is not open yet.
    pub fn tcp_recv(&mut self, id: SocketId, out: &mut [u8], _now: Instant) -> Result<Received, RecvError> {
        let socket = self.owned_mut(id).ok_or(RecvError::UnknownSocket)?;
        let received = socket.recv(out)?;
        if matches!(received, Received::Data(_)) {
            self.arrival.forget(id);
            // The window may have opened by enough to be worth a packet.
            self.mark_dirty(id);
            self.announce(id);
        }
        Ok(received)
    }

    /// As [`tcp_recv`](Self::tcp_recv), without a copy in between: `read` sees at most `limit` octets, as many as lie
    /// together, and says how many it takes; `Data` has that number, also where it is 0. More may follow at once.
    ///
    /// # Errors
    /// As for `tcp_recv`.
    pub fn tcp_recv_with(
        &mut self,
        id: SocketId,
        limit: usize,
        read: impl FnOnce(&[u8]) -> usize,
        _now: Instant,
    ) -> Result<Received, RecvError> {
        let socket = self.owned_mut(id).ok_or(RecvError::UnknownSocket)?;
        let received = socket.recv_with(limit, read)?;
        if matches!(received, Received::Data(1..)) {
            self.arrival.forget(id);
            self.mark_dirty(id);
            self.announce(id);
        }
        Ok(received)
    }

    /// As [`tcp_recv`](Self::tcp_recv), but leaves the data where it is.
    ///
    /// # Errors
    /// As for `tcp_recv`.
    pub fn tcp_peek(&mut self, id: SocketId, out: &mut [u8]) -> Result<Received, RecvError> {
        self.owned_mut(id).ok_or(RecvError::UnknownSocket)?.peek(out)
    }

    /// Where in the last message everything lies that can be read, in its order: whoever has the message need not take it
    /// from the receive buffer. Nothing where some of it came before, was read, or did not come as it is.
    pub fn tcp_arrival(&self, id: SocketId) -> &[Range<usize>] {
        self.arrival.of(id, self.tcp_readable(id))
    }

    /// Octets that can be read at once; 0 for an unknown id.
    pub fn tcp_readable(&self, id: SocketId) -> usize {
        self.owned(id).map_or(0, |socket| socket.readable())
    }

    /// Octets that can be sent at once; 0 for an unknown id and while the connection is not open.
    pub fn tcp_writable(&self, id: SocketId) -> usize {
        self.owned(id).map_or(0, |socket| socket.writable())
    }

    /// Octets that the peer has not acknowledged.
    pub fn tcp_unsent(&self, id: SocketId) -> usize {
        self.owned(id).map_or(0, |socket| socket.unsent())
    }

    /// Where a connection stands; `None` for an unknown id.
    pub fn tcp_state(&self, id: SocketId) -> Option<TcpState> {
        self.owned(id).map(|socket| socket.state())
    }

    /// Local and remote address.
    pub fn tcp_addresses(&self, id: SocketId) -> Option<(SocketAddr, SocketAddr)> {
        self.owned(id).map(|socket| (socket.flow.local, socket.flow.remote))
    }

    /// Half-close: a FIN follows what was sent; receiving goes on.
    pub fn tcp_shutdown(&mut self, id: SocketId, now: Instant) {
        if let Some(socket) = self.owned_mut(id) {
            socket.shutdown(now);
            self.rearm(id);
        }
    }

    /// Ends the connection with a RST; what was not read or sent is lost. The id stays until `close`.
    pub fn tcp_abort(&mut self, id: SocketId, now: Instant) {
        if self.owned(id).is_some() {
            self.end_tcp(id, CloseReason::Aborted, true, now);
        }
    }

    /// Switches Nagle's algorithm off or on.
    pub fn tcp_set_nodelay(&mut self, id: SocketId, nodelay: bool, _now: Instant) {
        if let Some(socket) = self.owned_mut(id) {
            socket.set_nodelay(nodelay);
            self.mark_dirty(id);
        }
    }

    /// Sets the keep-alive interval, or switches keep-alive off.
    pub fn tcp_set_keep_alive(&mut self, id: SocketId, interval: Option<Duration>, now: Instant) {
        if let Some(socket) = self.owned_mut(id) {
            socket.set_keep_alive(interval, now);
            self.rearm(id);
        }
    }
}

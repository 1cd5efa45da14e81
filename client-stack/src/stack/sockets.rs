//! The socket calls of [`Host`](crate::Host), on a `Stack`.

use std::net::{IpAddr, SocketAddr};
use std::ops::Range;
use std::time::Duration;

use webtun_wire::Instant;

use super::Stack;
use crate::{
    BindError, ConnectError, Datagram, ListenOptions, PingError, PingId, PingOptions, Received, RecvError, SendError,
    SocketId, Splitting, StreamHost, TcpOptions, TcpState, UdpError, UdpOptions,
};

impl Stack {
    /// See [`Host::tcp_connect`](crate::Host::tcp_connect).
    ///
    /// # Errors
    /// As there, and [`ConnectError::TunnelClosed`].
    pub fn tcp_connect(
        &mut self,
        remote: SocketAddr,
        options: TcpOptions,
        now: Instant,
    ) -> Result<SocketId, ConnectError> {
        if self.tunnel.is_closed() {
            return Err(ConnectError::TunnelClosed);
        }
        let result = self.host.tcp_connect(remote, options, now);
        self.settle(now);
        result
    }

    /// Whether an address is this host's own, so that connections to it never leave: loopback, or one that the gateway has
    /// assigned.
    pub fn is_own(&self, address: IpAddr) -> bool {
        self.host.is_own(address)
    }

    /// Whether connections can be split at the gateway now.
    pub fn splitting(&self) -> Splitting {
        self.streams.splitting()
    }

    /// Begins a connection that the gateway makes with a socket of its own, and whose octets the tunnel carries. All calls
    /// for TCP connections work on it, but that data may be sent before it is there: the first travels with the request. Of
    /// the options only the time to connect means anything.
    ///
    /// # Errors
    /// [`ConnectError::NetUnreachable`] where [`Stack::splitting`] says that it cannot be,
    /// [`ConnectError::TooManySockets`] at the gateway's limit, [`ConnectError::TunnelClosed`].
    pub fn tcp_connect_split(
        &mut self,
        host: StreamHost,
        port: u16,
        options: &TcpOptions,
        now: Instant,
    ) -> Result<SocketId, ConnectError> {
        if self.tunnel.is_closed() {
            return Err(ConnectError::TunnelClosed);
        }
        if port == 0 {
            return Err(ConnectError::Unaddressable);
        }
        let mut id = self.host.reserve_id();
        while self.streams.is_taken(id) {
            id = self.host.reserve_id();
        }
        self.streams.open(id, (host, port), now + options.connect_timeout)?;
        Ok(id)
    }

    /// See [`Host::tcp_listen`](crate::Host::tcp_listen).
    ///
    /// # Errors
    /// As there.
    pub fn tcp_listen(
        &mut self,
        local: SocketAddr,
        options: ListenOptions,
        now: Instant,
    ) -> Result<SocketId, BindError> {
        self.host.tcp_listen(local, options, now)
    }

    /// See [`Host::tcp_accept`](crate::Host::tcp_accept).
    pub fn tcp_accept(&mut self, listener: SocketId) -> Option<SocketId> {
        let accepted = self.host.tcp_accept(listener);
        self.collect();
        accepted
    }

    /// See [`Host::tcp_send`](crate::Host::tcp_send).
    ///
    /// # Errors
    /// As there.
    pub fn tcp_send(&mut self, id: SocketId, data: &[u8], now: Instant) -> Result<usize, SendError> {
        if self.streams.contains(id) {
            return self.streams.send(id, data);
        }
        let result = self.host.tcp_send(id, data, now);
        self.settle(now);
        result
    }

    /// See [`Host::tcp_send_with`](crate::Host::tcp_send_with).
    ///
    /// # Errors
    /// As there.
    pub fn tcp_send_with(
        &mut self,
        id: SocketId,
        wanted: usize,
        write: impl FnOnce(&mut [u8]) -> usize,
        now: Instant,
    ) -> Result<usize, SendError> {
        if self.streams.contains(id) {
            return self.streams.send_with(id, wanted, write);
        }
        let result = self.host.tcp_send_with(id, wanted, write, now);
        // Whoever has only looked relies on it that nothing moves.
        if !matches!(result, Ok(0)) {
            self.settle(now);
        }
        result
    }

    /// See [`Host::tcp_recv_with`](crate::Host::tcp_recv_with).
    ///
    /// # Errors
    /// As there.
    pub fn tcp_recv_with(
        &mut self,
        id: SocketId,
        limit: usize,
        read: impl FnOnce(&[u8]) -> usize,
        now: Instant,
    ) -> Result<Received, RecvError> {
        if self.streams.contains(id) {
            let received = self.streams.recv_with(id, limit, read);
            self.collect();
            return received;
        }
        let received = self.host.tcp_recv_with(id, limit, read, now);
        if !matches!(received, Ok(Received::Data(0))) {
            self.settle(now);
        }
        received
    }

    /// See [`Host::tcp_recv`](crate::Host::tcp_recv).
    ///
    /// # Errors
    /// As there.
    pub fn tcp_recv(&mut self, id: SocketId, out: &mut [u8], now: Instant) -> Result<Received, RecvError> {
        if self.streams.contains(id) {
            let received = self.streams.recv(id, out);
            self.collect();
            return received;
        }
        let received = self.host.tcp_recv(id, out, now);
        self.settle(now);
        received
    }

    /// See [`Host::tcp_peek`](crate::Host::tcp_peek).
    ///
    /// # Errors
    /// As there.
    pub fn tcp_peek(&mut self, id: SocketId, out: &mut [u8]) -> Result<Received, RecvError> {
        if self.streams.contains(id) {
            return self.streams.peek(id, out);
        }
        self.host.tcp_peek(id, out)
    }

    /// See [`Host::tcp_arrival`](crate::Host::tcp_arrival).
    pub fn tcp_arrival(&self, id: SocketId) -> &[Range<usize>] {
        if self.streams.contains(id) {
            return self.streams.arrival(id);
        }
        self.host.tcp_arrival(id)
    }

    /// See [`Host::tcp_readable`](crate::Host::tcp_readable).
    pub fn tcp_readable(&self, id: SocketId) -> usize {
        if self.streams.contains(id) {
            return self.streams.readable(id);
        }
        self.host.tcp_readable(id)
    }

    /// See [`Host::tcp_writable`](crate::Host::tcp_writable).
    pub fn tcp_writable(&self, id: SocketId) -> usize {
        if self.streams.contains(id) {
            return self.streams.writable(id);
        }
        self.host.tcp_writable(id)
    }

    /// See [`Host::tcp_unsent`](crate::Host::tcp_unsent).
    pub fn tcp_unsent(&self, id: SocketId) -> usize {
        if self.streams.contains(id) {
            return self.streams.unsent(id);
        }
        self.host.tcp_unsent(id)
    }

    /// See [`Host::tcp_state`](crate::Host::tcp_state).
    pub fn tcp_state(&self, id: SocketId) -> Option<TcpState> {
        if self.streams.contains(id) {
            return self.streams.state(id);
        }
        self.host.tcp_state(id)
    }

    /// See [`Host::tcp_addresses`](crate::Host::tcp_addresses).
    pub fn tcp_addresses(&self, id: SocketId) -> Option<(SocketAddr, SocketAddr)> {
        if self.streams.contains(id) {
            return self.streams.ends(id);
        }
        self.host.tcp_addresses(id)
    }

    /// See [`Host::tcp_shutdown`](crate::Host::tcp_shutdown).
    pub fn tcp_shutdown(&mut self, id: SocketId, now: Instant) {
        if self.streams.contains(id) {
            self.streams.shutdown(id);
            return self.collect();
        }
        self.host.tcp_shutdown(id, now);
        self.settle(now);
    }

    /// See [`Host::tcp_abort`](crate::Host::tcp_abort).
    pub fn tcp_abort(&mut self, id: SocketId, now: Instant) {
        if self.streams.contains(id) {
            self.streams.abort(id);
            return self.collect();
        }
        self.host.tcp_abort(id, now);
        self.settle(now);
    }

    /// See [`Host::tcp_set_nodelay`](crate::Host::tcp_set_nodelay).
    pub fn tcp_set_nodelay(&mut self, id: SocketId, nodelay: bool, now: Instant) {
        self.host.tcp_set_nodelay(id, nodelay, now);
    }

    /// See [`Host::tcp_set_keep_alive`](crate::Host::tcp_set_keep_alive).
    pub fn tcp_set_keep_alive(&mut self, id: SocketId, interval: Option<Duration>, now: Instant) {
        self.host.tcp_set_keep_alive(id, interval, now);
    }

    /// See [`Host::close`](crate::Host::close).
    pub fn close(&mut self, id: SocketId, now: Instant) {
        if self.streams.contains(id) {
            self.streams.close(id, now);
            return self.collect();
        }
        self.host.close(id, now);
        self.settle(now);
    }

    /// See [`Host::local_address`](crate::Host::local_address).
    pub fn local_address(&self, id: SocketId) -> Option<SocketAddr> {
        if self.streams.contains(id) {
            return self.streams.ends(id).map(|(local, _)| local);
        }
        self.host.local_address(id)
    }

    /// See [`Host::udp_bind`](crate::Host::udp_bind).
    ///
    /// # Errors
    /// As there.
    pub fn udp_bind(&mut self, local: SocketAddr, options: UdpOptions, now: Instant) -> Result<SocketId, BindError> {
        self.host.udp_bind(local, options, now)
    }

    /// See [`Host::echo_bind`](crate::Host::echo_bind).
    ///
    /// # Errors
    /// As there.
    pub fn echo_bind(&mut self, local: SocketAddr, options: UdpOptions, now: Instant) -> Result<SocketId, BindError> {
        self.host.echo_bind(local, options, now)
    }

    /// See [`Host::set_hop_limit`](crate::Host::set_hop_limit).
    pub fn set_hop_limit(&mut self, id: SocketId, hop_limit: u8) {
        self.host.set_hop_limit(id, hop_limit);
    }

    /// See [`Host::udp_connect`](crate::Host::udp_connect).
    ///
    /// # Errors
    /// As there.
    pub fn udp_connect(&mut self, id: SocketId, remote: SocketAddr) -> Result<(), UdpError> {
        self.host.udp_connect(id, remote)
    }

    /// See [`Host::udp_send`](crate::Host::udp_send).
    ///
    /// # Errors
    /// As there, and [`UdpError::TunnelClosed`].
    pub fn udp_send(
        &mut self,
        id: SocketId,
        data: &[u8],
        to: Option<SocketAddr>,
        now: Instant,
    ) -> Result<bool, UdpError> {
        if self.tunnel.is_closed() {
            return Err(UdpError::TunnelClosed);
        }
        let result = self.host.udp_send(id, data, to, now);
        self.settle(now);
        result
    }

    /// See [`Host::udp_recv`](crate::Host::udp_recv).
    pub fn udp_recv(&mut self, id: SocketId) -> Option<Datagram> {
        self.host.udp_recv(id)
    }

    /// See [`Host::udp_recv_slice`](crate::Host::udp_recv_slice).
    pub fn udp_recv_slice(&mut self, id: SocketId, out: &mut [u8]) -> Option<(usize, SocketAddr)> {
        self.host.udp_recv_slice(id, out)
    }

    /// See [`Host::udp_next_len`](crate::Host::udp_next_len).
    pub fn udp_next_len(&self, id: SocketId) -> Option<usize> {
        self.host.udp_next_len(id)
    }

    /// See [`Host::udp_dropped`](crate::Host::udp_dropped).
    pub fn udp_dropped(&self, id: SocketId) -> u64 {
        self.host.udp_dropped(id)
    }

    /// See [`Host::ping`](crate::Host::ping).
    ///
    /// # Errors
    /// As there, and [`PingError::TunnelClosed`].
    pub fn ping(&mut self, target: IpAddr, options: PingOptions, now: Instant) -> Result<PingId, PingError> {
        if self.tunnel.is_closed() {
            return Err(PingError::TunnelClosed);
        }
        self.host.ping(target, options, now)
    }
}

use std::net::{IpAddr, SocketAddr};

use webtun_wire::Instant;

use super::Host;
use super::tcp::{Table, canonical};
use crate::demux::{Binding, Bindings};
use crate::outbound::Outbound;
use crate::socket::icmp;
use crate::socket::udp::{Content, UdpSocket};
use crate::{BindError, Datagram, SocketId, UdpError, UdpOptions, packet};

/// Octets of a UDP header.
const UDP_HEADER_LEN: usize = 8;

impl Host {
    /// Binds a UDP socket: unspecified means all of our addresses (of both families for `[::]` unless `ipv6_only`),
    /// port 0 any free one.
    ///
    /// # Errors
    /// See [`BindError`].
    pub fn udp_bind(&mut self, local: SocketAddr, options: UdpOptions, _now: Instant) -> Result<SocketId, BindError> {
        let binding = self.choose_binding(local, options.ipv6_only, Table::Udp)?;
        let id = self.new_id();
        self.udp_bound.insert(binding, id);
        self.udp.insert(id, UdpSocket::new(binding, Content::Udp, options));
        Ok(id)
    }

    /// Binds a socket for ICMP echo requests (RFC 792, RFC 4443 section 4.1), of the one family of `local`, whose port
    /// is the identifier of the requests; 0 for any free one. It is used by the functions for UDP, and what it sends and
    /// receives are ICMP messages from their type on: requests out, whose identifier and checksum are filled in, and the
    /// replies to them in. The ports of its peers mean nothing.
    ///
    /// # Errors
    /// See [`BindError`].
    pub fn echo_bind(&mut self, local: SocketAddr, options: UdpOptions, _now: Instant) -> Result<SocketId, BindError> {
        let binding = self.choose_binding(local, true, Table::Echo)?;
        let id = self.new_id();
        self.echo_bound.insert(binding, id);
        self.udp.insert(id, UdpSocket::new(binding, Content::Echo, options));
        Ok(id)
    }

    /// Changes the TTL or hop limit of what a socket of any kind sends from now on, a listener's connections included;
    /// 0 counts as 1.
    pub fn set_hop_limit(&mut self, id: SocketId, hop_limit: u8) {
        let hop_limit = hop_limit.max(1);
        if let Some(socket) = self.udp.get_mut(&id) {
            socket.hop_limit = hop_limit;
        } else if let Some(listener) = self.listeners.get_mut(&id) {
            listener.options.tcp.hop_limit = hop_limit;
        } else if let Some(core) = self.tcp.get_mut(&id).and_then(|socket| socket.core_mut()) {
            core.socket_mut().set_hop_limit(Some(hop_limit));
        }
    }

    /// Makes `remote` the default destination and the only source.
    ///
    /// # Errors
    /// Where the id is unknown, or no datagram can be sent there.
    pub fn udp_connect(&mut self, id: SocketId, remote: SocketAddr) -> Result<(), UdpError> {
        let socket = self.udp.get(&id).ok_or(UdpError::UnknownSocket)?;
        let (binding, content) = (socket.binding, socket.content);
        let remote = peer_of(content, remote);
        self.udp_source(&binding, content, remote)?;
        self.bound_mut(content).set_remote(binding.port, id, remote);
        if let Some(socket) = self.udp.get_mut(&id) {
            socket.binding.remote = Some(remote);
        }
        Ok(())
    }

    /// Sends one datagram; `false` where there is no room now (nothing was taken, `UdpWritable` follows).
    ///
    /// # Errors
    /// Where it cannot be sent at all.
    pub fn udp_send(
        &mut self,
        id: SocketId,
        data: &[u8],
        to: Option<SocketAddr>,
        _now: Instant,
    ) -> Result<bool, UdpError> {
        let socket = self.udp.get_mut(&id).ok_or(UdpError::UnknownSocket)?;
        let (binding, content, hop_limit) = (socket.binding, socket.content, socket.hop_limit);
        let to = to.map(|to| peer_of(content, to)).or(binding.remote).ok_or(UdpError::NoDestination)?;
        if !self.queue.has_room() || !self.queue.is_open_to(to.ip()) {
            if !socket.write_blocked {
                socket.write_blocked = true;
                self.udp_blocked.push_back(id);
            }
            return Ok(false);
        }
        let source = self.udp_source(&binding, content, to)?;
        let header_len = if content == Content::Udp { UDP_HEADER_LEN } else { 0 };
        if packet::header_len(source) + header_len + data.len() > self.config.mtu {
            return Err(UdpError::TooLong);
        }
        let packet = match content {
            Content::Udp => packet::build_udp_with((source, binding.port), (to.ip(), to.port()), hop_limit, data)
                .ok_or(UdpError::TooLong)?,
            Content::Echo => icmp::request_of_program(source, to.ip(), hop_limit, binding.port, data)?,
        };
        self.queue.push(Outbound::Complete(packet));
        Ok(true)
    }

    pub(super) fn bound_mut(&mut self, content: Content) -> &mut Bindings {
        match content {
            Content::Udp => &mut self.udp_bound,
            Content::Echo => &mut self.echo_bound,
        }
    }

    fn udp_source(&self, binding: &Binding, content: Content, to: SocketAddr) -> Result<IpAddr, UdpError> {
        if (to.port() == 0 && content == Content::Udp) || !packet::is_unicast(to.ip()) {
            return Err(UdpError::Unaddressable);
        }
        if !binding.address.is_unspecified() {
            let fits = binding.address.is_ipv4() == to.is_ipv4() && self.is_own(binding.address);
            return if fits { Ok(binding.address) } else { Err(UdpError::AddressNotAvailable) };
        }
        if !binding.dual && binding.address.is_ipv4() != to.is_ipv4() {
            return Err(UdpError::AddressNotAvailable);
        }
        self.source_for(to.ip()).ok_or(UdpError::AddressNotAvailable)
    }

    /// The next datagram.
    pub fn udp_recv(&mut self, id: SocketId) -> Option<Datagram> {
        self.udp.get_mut(&id)?.recv()
    }

    /// The next datagram into `out`. The length is the datagram's own; what does not fit `out` is lost.
    pub fn udp_recv_slice(&mut self, id: SocketId, out: &mut [u8]) -> Option<(usize, SocketAddr)> {
        let datagram = self.udp_recv(id)?;
        let len = datagram.payload.len().min(out.len());
        out[..len].copy_from_slice(&datagram.payload[..len]);
        Some((datagram.payload.len(), datagram.from))
    }

    /// The length of the datagram that `udp_recv` would give.
    pub fn udp_next_len(&self, id: SocketId) -> Option<usize> {
        self.udp.get(&id)?.next_len()
    }

    /// Datagrams dropped because the receive buffer was full.
    pub fn udp_dropped(&self, id: SocketId) -> u64 {
        self.udp.get(&id).map_or(0, UdpSocket::dropped)
    }
}

/// Echo requests know no ports.
fn peer_of(content: Content, remote: SocketAddr) -> SocketAddr {
    let remote = canonical(remote);
    if content == Content::Echo { SocketAddr::new(remote.ip(), 0) } else { remote }
}

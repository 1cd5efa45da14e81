use std::net::SocketAddr;

use webtun_wire::Instant;

use super::Host;
use super::tcp::canonical;
use crate::outbound::Outbound;
use crate::socket::udp::UdpSocket;
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
        let binding = self.choose_binding(local, options.ipv6_only, true)?;
        let id = self.new_id();
        self.udp_bound.insert(binding, id);
        self.udp.insert(id, UdpSocket::new(binding, options));
        Ok(id)
    }

    /// Makes `remote` the default destination and the only source.
    ///
    /// # Errors
    /// Where the id is unknown, or no datagram can be sent there.
    pub fn udp_connect(&mut self, id: SocketId, remote: SocketAddr) -> Result<(), UdpError> {
        let remote = canonical(remote);
        let binding = self.udp.get(&id).ok_or(UdpError::UnknownSocket)?.binding;
        self.udp_source(&binding, remote)?;
        self.udp_bound.set_remote(binding.port, id, remote);
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
        let binding = socket.binding;
        let to = to.map(canonical).or(binding.remote).ok_or(UdpError::NoDestination)?;
        if !self.queue.has_room() || !self.queue.is_open_to(to.ip()) {
            if !socket.write_blocked {
                socket.write_blocked = true;
                self.udp_blocked.push_back(id);
            }
            return Ok(false);
        }
        let source = self.udp_source(&binding, to)?;
        if packet::header_len(source) + UDP_HEADER_LEN + data.len() > self.config.mtu {
            return Err(UdpError::TooLong);
        }
        let packet = packet::build_udp((source, binding.port), (to.ip(), to.port()), data).ok_or(UdpError::TooLong)?;
        self.queue.push(Outbound::Complete(packet));
        Ok(true)
    }

    fn udp_source(&self, binding: &crate::demux::Binding, to: SocketAddr) -> Result<std::net::IpAddr, UdpError> {
        if to.port() == 0 || !packet::is_unicast(to.ip()) {
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

//! One stream of a connection.

use super::credit::Credit;
use super::{packet, reason};
use bytes::{Buf, Bytes};
use std::collections::VecDeque;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use webtun_stack::{
    Family, Lease, QueryId, ResolveError, SendError, SocketId, Stack, StreamHost, UdpError, UdpOptions,
};
use webtun_wire::Instant;

/// What a packet that waits costs besides its octets.
const PACKET_OVERHEAD: usize = 128;

/// What a stream leads to.
#[derive(Debug)]
pub(super) enum Stream {
    Tcp(Tcp),
    Udp(Udp),
}

/// What was received and the connection has not taken.
#[derive(Debug)]
pub(super) struct Tcp {
    pub socket: SocketId,
    pub credit: Credit,
    waiting: VecDeque<Bytes>,
    octets: usize,
    /// When the connection has last taken any, or had none to take.
    pub moved: Instant,
    /// Nothing follows what waits.
    is_last: bool,
}

/// A socket for datagrams, or the way to it.
#[derive(Debug)]
pub(super) struct Udp {
    pub socket: SocketId,
    port: u16,
    /// The name is being resolved.
    pub query: Option<QueryId>,
    is_connected: bool,
    /// Datagrams that wait for the name.
    early: Vec<Bytes>,
}

impl Tcp {
    pub(super) fn new(socket: SocketId, now: Instant) -> Self {
        Self { socket, credit: Credit::new(), waiting: VecDeque::new(), octets: 0, moved: now, is_last: false }
    }

    /// Packets that wait.
    pub(super) fn packets(&self) -> usize {
        self.waiting.len()
    }

    /// Octets that wait, with what their packets cost.
    pub(super) fn octets(&self) -> usize {
        self.octets
    }

    /// Passes data on, or keeps it where others wait already or the connection takes no more.
    pub(super) fn push(&mut self, mut data: Bytes, stack: &mut Stack, now: Instant) -> Result<(), SendError> {
        if self.waiting.is_empty() {
            let taken = stack.tcp_send(self.socket, &data, now)?;
            data.advance(taken);
            self.moved = now;
        }
        if !data.is_empty() {
            self.octets += data.len() + PACKET_OVERHEAD;
            // A copy: a view would hold the memory of all that was read with it.
            self.waiting.push_back(Bytes::copy_from_slice(&data));
        }
        Ok(())
    }

    /// Passes on what the connection takes.
    pub(super) fn feed(&mut self, stack: &mut Stack, now: Instant) -> Result<(), SendError> {
        while let Some(front) = self.waiting.front_mut() {
            let taken = stack.tcp_send(self.socket, front, now)?;
            self.octets -= taken;
            if taken > 0 {
                self.moved = now;
            }
            front.advance(taken);
            if !front.is_empty() {
                return Ok(());
            }
            self.waiting.pop_front();
            self.octets -= PACKET_OVERHEAD;
        }
        self.moved = now;
        if self.is_last {
            stack.tcp_shutdown(self.socket, now);
        }
        Ok(())
    }

    /// Has a FIN follow what waits.
    pub(super) fn finish(&mut self, stack: &mut Stack, now: Instant) -> Result<(), SendError> {
        self.is_last = true;
        self.feed(stack, now)
    }
}

/// Datagrams that wait for a name; further ones are lost, as in a network.
const EARLY: usize = 16;

impl Udp {
    /// A socket for datagrams to `host`.
    ///
    /// # Errors
    /// The reason to close with.
    pub(super) fn open(host: &str, port: u16, stack: &mut Stack, now: Instant) -> Result<Self, u8> {
        let any = SocketAddr::from((Ipv6Addr::UNSPECIFIED, 0));
        let socket = stack.udp_bind(any, UdpOptions::default(), now).map_err(|_| reason::THROTTLED)?;
        let mut udp = Self { socket, port, query: None, is_connected: false, early: Vec::new() };
        let connected = match destination(host) {
            StreamHost::Address(address) => udp.connect(address, stack, now),
            StreamHost::Name(name) => {
                udp.query = Some(stack.resolve(&name, Family::Any, now));
                Ok(())
            }
        };
        connected.inspect_err(|_| stack.close(socket, now)).map(|()| udp)
    }

    /// The name has these addresses.
    ///
    /// # Errors
    /// The reason to close with.
    pub(super) fn resolved(
        &mut self,
        addresses: Result<Vec<IpAddr>, ResolveError>,
        stack: &mut Stack,
        now: Instant,
    ) -> Result<(), u8> {
        self.query = None;
        let addresses = addresses.map_err(reason::of_name)?;
        // Nothing tells whether datagrams arrive, so they go where most gateways get.
        let address = addresses.iter().find(|it| it.is_ipv4()).or(addresses.first()).ok_or(reason::UNREACHABLE)?;
        self.connect(*address, stack, now)
    }

    fn connect(&mut self, address: IpAddr, stack: &mut Stack, now: Instant) -> Result<(), u8> {
        let address = address.to_canonical();
        let is_own = |lease: &Lease| lease.addresses.iter().any(|(own, _)| *own == address);
        // These would be the stack's own, and never get as far as the policy.
        if address.is_loopback() || stack.lease().is_some_and(is_own) {
            return Err(reason::BLOCKED);
        }
        let failed = |error| reason::of_datagram(error).unwrap_or(reason::UNREACHABLE);
        stack.udp_connect(self.socket, SocketAddr::new(address, self.port)).map_err(failed)?;
        self.is_connected = true;
        for datagram in std::mem::take(&mut self.early) {
            self.send(datagram, stack, now).map_err(failed)?;
        }
        Ok(())
    }

    /// Sends a datagram; where there is no room for it, it is lost.
    pub(super) fn send(&mut self, datagram: Bytes, stack: &mut Stack, now: Instant) -> Result<(), UdpError> {
        if self.is_connected {
            return stack.udp_send(self.socket, &datagram, None, now).map(drop);
        }
        if self.early.len() < EARLY {
            self.early.push(Bytes::copy_from_slice(&datagram));
        }
        Ok(())
    }

    /// DATA with the next datagram.
    pub(super) fn receive(&mut self, stream: u32, stack: &mut Stack) -> Option<Bytes> {
        let datagram = stack.udp_recv(self.socket)?;
        let mut frame = packet::data(stream, datagram.payload.len());
        frame.extend_from_slice(&datagram.payload);
        Some(frame.freeze())
    }
}

/// What a host in CONNECT means: an address, maybe in brackets, or a name.
pub(super) fn destination(host: &str) -> StreamHost {
    match host.trim_matches(['[', ']']).parse() {
        Ok(address) => StreamHost::Address(address),
        Err(_) => StreamHost::Name(host.to_owned()),
    }
}

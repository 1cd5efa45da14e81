//! The packets that the model sends, and the few addresses and ports that they meet at.

use bytes::BytesMut;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use super::Model;
use crate::action::Kind;
use crate::packet::{Segment, Transport, echo, raw, tcp, udp};
use crate::reference::Protocol;

/// A packet about to be sent, in the model's words.
#[derive(Clone, Copy)]
pub(super) struct Flow {
    pub protocol: Option<Protocol>,
    pub source: SocketAddr,
    pub destination: SocketAddr,
    pub flags: u8,
}

impl Model {
    /// Few ports, so that they meet again; half of them are the session's own, and one is zero.
    pub(super) fn port(&self, index: usize, ipv6: bool, number: u8) -> u16 {
        let blocks = &self.direct.sessions[index].blocks;
        let first = blocks.iter().find(|block| block.address.is_ipv6() == ipv6).map_or(0, |block| block.first);
        match number {
            0..3 => 0,
            3..150 => first + u16::from(number % 6),
            150.. => 2000 + u16::from(number % 6),
        }
    }

    pub(super) fn build(&mut self, kind: Kind, flow: &Flow, outbound: bool) -> BytesMut {
        self.number += 1;
        let payload = self.number.to_be_bytes();
        let (source, destination) = (flow.source, flow.destination);
        let echo = |request| echo(source.ip(), destination.ip(), destination.port(), 1, request, &payload);
        match kind {
            Kind::Udp => udp(source, destination, &payload),
            Kind::Tcp(flags) => tcp(source, destination, Segment::flags(flags), &payload),
            Kind::Echo => echo(outbound),
            Kind::WrongEcho => echo(!outbound),
            Kind::Other => raw(source.ip(), destination.ip(), 99, &payload),
        }
    }
}

pub(super) fn number_of(transport: &Transport<'_>) -> u32 {
    let payload = match transport {
        Transport::Tcp { payload, .. } | Transport::Udp { payload, .. } | Transport::Echo { payload, .. } => payload,
        Transport::Icmp { .. } | Transport::Octets(_) => return 0,
    };
    payload.first_chunk().map_or(0, |octets| u32::from_be_bytes(*octets))
}

pub(super) fn kind_protocol(kind: Kind) -> Option<Protocol> {
    match kind {
        Kind::Udp => Some(Protocol::Udp),
        Kind::Tcp(_) => Some(Protocol::Tcp),
        Kind::Echo | Kind::WrongEcho => Some(Protocol::Icmp),
        Kind::Other => None,
    }
}

pub(super) fn flags_of(kind: Kind) -> u8 {
    match kind {
        Kind::Tcp(flags) => flags,
        Kind::Udp | Kind::Echo | Kind::WrongEcho | Kind::Other => 0,
    }
}

pub(super) fn pair(ipv6: bool, v4: [u8; 4], v6: [u16; 8]) -> IpAddr {
    if ipv6 { Ipv6Addr::from(v6).into() } else { Ipv4Addr::from(v4).into() }
}

/// The external addresses: more of IPv4 than of IPv6.
pub(super) fn externals(ipv6: bool) -> Vec<IpAddr> {
    let address = |n: u8| pair(ipv6, [100, 127, 255, n], [0xfd77, 0x6562, 0x7475, 0xffff, 0, 0, 0, n.into()]);
    (1..=if ipv6 { 2 } else { 4 }).map(address).collect()
}

pub(super) fn is_external(address: IpAddr) -> bool {
    externals(address.is_ipv6()).contains(&address)
}

/// A host that no session may begin anything with, but that may call.
pub(super) fn neighbour(ipv6: bool) -> IpAddr {
    pair(ipv6, [10, 0, 0, 1], [0xfd00, 0, 0, 0, 0, 0, 0, 1])
}

pub(super) fn inner_host(ipv6: bool) -> IpAddr {
    pair(ipv6, [100, 64, 0, 1], [0xfd77, 0x6562, 0x7475, 0, 0, 0, 0, 1])
}

/// An inner address that no session gets in so short a run.
pub(super) fn nobody(ipv6: bool) -> IpAddr {
    pair(ipv6, [100, 64, 250, 250], [0xfd77, 0x6562, 0x7475, 0, 0, 0, 0xffff, 0xffff])
}

pub(super) fn remote(number: u8, ipv6: bool) -> IpAddr {
    pair(ipv6, [45, 33, 0, number % 4 + 1], [0x2600, 0x1f00, 0, 0, 0, 0, 0, u16::from(number % 4) + 1])
}

//! Routers.

use bytes::BytesMut;
use ipnet::IpNet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::packet::{IcmpError, View, fragment, icmp_error, with_hop_limit};

/// What becomes of packets to some destinations.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// The last router answers with this error.
    Error(IcmpError),
    /// Nothing, ever.
    Silence,
}

/// What a path does with one packet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It arrives, perhaps in pieces.
    Deliver(Vec<BytesMut>),
    /// It does not; this goes back to its source.
    Answer(BytesMut),
    /// It does not.
    Drop,
}

/// The routers between the gateway and the remote hosts.
#[derive(Clone, Debug)]
pub struct Path {
    /// How many there are; at most 250. The first is next to the gateway.
    pub router_count: u8,
    /// The largest packet that they forward, in octets.
    pub mtu: usize,
    fates: Vec<(IpNet, Fate)>,
}

impl Path {
    /// A path of three routers and 1500 octets.
    pub fn new() -> Self {
        Self { router_count: 3, mtu: 1500, fates: Vec::new() }
    }

    /// Decides what becomes of packets to `destination`; the first decision for an address counts.
    pub fn set_fate(&mut self, destination: IpNet, fate: Fate) {
        self.fates.push((destination, fate));
    }

    /// The address that a router answers from; the first has number 1.
    pub fn router(number: u8, ipv6: bool) -> IpAddr {
        if ipv6 {
            Ipv6Addr::new(0x2001, 0xdb8, 0xffff, 0, 0, 0, 0, number.into()).into()
        } else {
            Ipv4Addr::new(198, 18, 0, number).into()
        }
    }

    /// Carries a packet from the gateway to the other end, or the other way where `outbound` is false.
    pub fn carry(&self, packet: BytesMut, outbound: bool) -> Verdict {
        let Ok(view) = View::parse(&packet) else { return Verdict::Drop };
        let ipv6 = view.source.is_ipv6();
        let answer = |hop: u8, error| {
            let number = if outbound { hop } else { self.router_count + 1 - hop };
            Verdict::Answer(icmp_error(Self::router(number, ipv6), error, &packet))
        };
        if view.hop_limit <= self.router_count {
            return answer(view.hop_limit.max(1), IcmpError::TimeExceeded);
        }
        let too_big = packet.len() > self.mtu;
        if too_big && view.dont_fragment {
            return answer(1, IcmpError::TooBig(self.mtu as u16));
        }
        match self.fates.iter().find(|(net, _)| net.contains(&view.destination)) {
            Some((_, Fate::Error(error))) => return answer(self.router_count, *error),
            Some((_, Fate::Silence)) => return Verdict::Drop,
            None => {}
        }
        let hop_limit = view.hop_limit - self.router_count;
        let id = view.piece.map_or(0, |piece| piece.id);
        if view.piece.is_some() && too_big {
            return Verdict::Drop;
        }
        Verdict::Deliver(fragment(with_hop_limit(packet, hop_limit), self.mtu, id))
    }
}

impl Default for Path {
    fn default() -> Self {
        Self::new()
    }
}

//! What routers behind the egress have said about the MTU of paths (RFC 1191, RFC 8201), for packets that the gateway cuts
//! itself: their sources only know what the gateway takes.
//!
//! Bound: 1024 destinations; the oldest word is forgotten first, and each after ten minutes (RFC 8201 section 5.3).

use core::net::IpAddr;
use core::time::Duration;
use std::collections::{BTreeMap, VecDeque};
use webtun_wire::Instant;

use super::IPV6_MIN_MTU;
use super::packet::{Headers, Packet, Transport, protocol};

const DESTINATIONS: usize = 1024;
const LIFETIME: Duration = Duration::from_secs(600);
/// Smaller values are not believed (RFC 5927 section 7.2): every host takes as much (RFC 791 section 3.1).
const IPV4_MIN_MTU: u16 = 576;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct PathMtus {
    known: BTreeMap<IpAddr, (u16, Instant)>,
    /// In the order of what was heard; a destination heard of again leaves its earlier entry behind.
    order: VecDeque<(IpAddr, Instant)>,
}

impl PathMtus {
    /// Takes a packet from outside that the NAT has found to be about a flow of a session.
    pub(super) fn heard(&mut self, packet: &Packet, now: Instant) {
        let Some((destination, mtu)) = too_big(packet) else { return };
        self.known.insert(destination, (mtu, now + LIFETIME));
        self.order.push_back((destination, now + LIFETIME));
        while self.order.len() > DESTINATIONS {
            let Some((destination, until)) = self.order.pop_front() else { return };
            if self.known.get(&destination).is_some_and(|(_, latest)| *latest == until) {
                self.known.remove(&destination);
            }
        }
    }

    /// The MTU towards a destination, where one is known that is below `most`; else `most`.
    pub(super) fn towards(&self, destination: IpAddr, most: u16, now: Instant) -> u16 {
        let known = self.known.get(&destination).filter(|(_, until)| *until > now);
        known.map_or(most, |(mtu, _)| most.min(*mtu))
    }
}

/// The destination that an error calls too far for the packet's length, and the MTU on the way.
fn too_big(packet: &Packet) -> Option<(IpAddr, u16)> {
    let message = &packet.octets[packet.headers.payload..];
    let word = u32::from_be_bytes(message.get(4..8)?.try_into().ok()?);
    let mtu = match (packet.headers.protocol, packet.headers.transport) {
        (protocol::ICMP, Transport::IcmpError { kind: 3, code: 4 }) => (word as u16).max(IPV4_MIN_MTU),
        (protocol::ICMPV6, Transport::IcmpError { kind: 2, .. }) => {
            u16::try_from(word).unwrap_or(u16::MAX).max(IPV6_MIN_MTU)
        }
        _ => return None,
    };
    Some((Headers::parse_quoted(&message[8..]).ok()?.destination, mtu))
}

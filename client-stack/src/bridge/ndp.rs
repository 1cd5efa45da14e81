//! Neighbour discovery (RFC 4861) and address autoconfiguration (RFC 4862), the router's side.
//!
//! smoltcp's representation of a router advertisement has no RDNSS option (RFC 8106), and one of its kind is all that
//! a guest needs: the messages are read and written here.

use std::net::{IpAddr, Ipv6Addr};
use std::time::Duration;

use bytes::{BufMut, BytesMut};
use etherparse::Icmpv6Type;
use webtun_wire::Instant;

use super::config::ROUTER_LINK_LOCAL;
use super::cut::is_checksum_right;
use super::frame::{EtherType, Frame, build};
use super::view::View;
use super::{FrameDrop, GuestId, MacAddress, PortId, Segment};
use crate::packet::build_icmpv6;

const ROUTER_SOLICITATION: u8 = 133;
const ROUTER_ADVERTISEMENT: u8 = 134;
const NEIGHBOR_SOLICITATION: u8 = 135;
const NEIGHBOR_ADVERTISEMENT: u8 = 136;
const REDIRECT: u8 = 137;

const ALL_NODES: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);

/// How long a guest may use the router and its DNS without hearing of it again; it hears four times as often.
const ROUTER_LIFETIME: u16 = 1800;
const ADVERTISE_INTERVAL: Duration = Duration::from_secs(450);
/// How long an address below the prefix may be used for new connections, and at all.
const PREFERRED_LIFETIME: u32 = 14_400;
const VALID_LIFETIME: u32 = 86_400;

impl Segment {
    /// `None` where it is no neighbour discovery, but to be switched or routed.
    pub(super) fn receive_icmpv6(
        &mut self,
        guest: GuestId,
        frame: &Frame<'_>,
        packet: &[u8],
        view: &View,
        now: Instant,
    ) -> Option<Result<(), FrameDrop>> {
        let message = &packet[view.transport..];
        let kind = message[0];
        if !(ROUTER_SOLICITATION..=REDIRECT).contains(&kind) {
            // Reports for a group from an address that is not ready yet (RFC 3590).
            let is_report = matches!(kind, 131 | 143) && view.source.is_unspecified();
            return is_report.then_some(Ok(()));
        }
        if matches!(kind, ROUTER_ADVERTISEMENT | REDIRECT) {
            return Some(Err(FrameDrop::RogueServer));
        }
        // RFC 6980: no fragments; RFC 4861 sections 6.1 and 7.1: from this link.
        let is_valid = !view.is_fragment && view.hop_limit == 255 && message[1] == 0 && is_checksum_right(packet, view);
        if !is_valid {
            return Some(Err(FrameDrop::Malformed));
        }
        Some(match kind {
            ROUTER_SOLICITATION => self.receive_router_solicitation(guest, view, now),
            _ => self.receive_neighbor(guest, frame, message, view, now),
        })
    }

    fn receive_router_solicitation(&mut self, guest: GuestId, view: &View, now: Instant) -> Result<(), FrameDrop> {
        if !view.source.is_unspecified() {
            self.claim(guest, view.source, now)?;
        }
        self.advertise(guest, now);
        Ok(())
    }

    /// A neighbour solicitation or advertisement.
    fn receive_neighbor(
        &mut self,
        guest: GuestId,
        frame: &Frame<'_>,
        message: &[u8],
        view: &View,
        now: Instant,
    ) -> Result<(), FrameDrop> {
        let target = message.get(8..24).and_then(|it| <[u8; 16]>::try_from(it).ok()).ok_or(FrameDrop::Malformed)?;
        let target = Ipv6Addr::from(target);
        if !view.source.is_unspecified() {
            self.claim(guest, view.source, now)?;
        }
        let port = self.guests.get(&guest).map(|it| it.port).ok_or(FrameDrop::NoSuchPort)?;
        if message[0] == NEIGHBOR_ADVERTISEMENT {
            self.claim(guest, target.into(), now)?;
            if frame.destination == self.config.router_mac {
                return Ok(());
            }
            return self.forward(port, frame, now);
        }
        let Some((mac, is_router)) = self.advertises_for(target) else {
            // Whoever asks first has it from then on (RFC 6620), so that nobody can answer for it out of turn. One who may
            // not have it hears that from whoever has.
            if view.source.is_unspecified() && !self.owners.contains_key(&target.into()) {
                let _ = self.claim(guest, target.into(), now);
            }
            return self.forward(port, frame, now);
        };
        // Whoever asks without an address is about to take the target (RFC 4862 section 5.4).
        let to = if let (false, IpAddr::V6(source)) = (view.source.is_unspecified(), view.source) {
            source
        } else {
            ALL_NODES
        };
        let solicited = u8::from(to != ALL_NODES) << 6;
        let flags = u8::from(is_router) << 7 | solicited | 0x20;
        let mut body = BytesMut::with_capacity(24);
        body.put_slice(&target.octets());
        put_link_address(&mut body, 2, mac);
        self.send_icmpv6((port, frame.source), mac, target, to, (NEIGHBOR_ADVERTISEMENT, [flags, 0, 0, 0]), &body)
    }

    /// The MAC address to be told for an address that the segment speaks for, and whether it is the router's.
    fn advertises_for(&self, address: Ipv6Addr) -> Option<(MacAddress, bool)> {
        if self.is_router(address.into()) {
            return Some((self.config.router_mac, true));
        }
        let owner = self.owners.get(&IpAddr::V6(address)).and_then(|id| self.guests.get(id))?;
        owner.is_host.then_some((owner.mac, false))
    }

    /// Tells one guest of the prefix, and of the router where its session has an IPv6 address: a guest without would
    /// try in vain before it falls back to IPv4.
    pub(super) fn advertise(&mut self, guest: GuestId, now: Instant) {
        let Some(it) = self.guests.get_mut(&guest) else { return };
        it.advertise = (!it.is_host).then_some(now + ADVERTISE_INTERVAL);
        if it.is_host {
            return;
        }
        let (card, has_route) = ((it.port, it.mac), super::has_v6(it.uplink));
        let mut body = BytesMut::with_capacity(80);
        // Reachable and retransmission time: unspecified.
        body.put_u64(0);
        put_link_address(&mut body, 1, self.config.router_mac);
        body.put_slice(&[5, 1, 0, 0]);
        body.put_u32(self.config.mtu.into());
        body.put_slice(&[3, 4, 64, 0xc0]);
        body.put_u32(VALID_LIFETIME);
        body.put_u32(PREFERRED_LIFETIME);
        body.put_u32(0);
        body.put_slice(&self.config.prefix_v6.octets());
        let lifetime = if has_route { ROUTER_LIFETIME } else { 0 };
        body.put_slice(&[25, 3, 0, 0]);
        body.put_u32(lifetime.into());
        body.put_slice(&self.config.router_v6().octets());
        let [high, low] = lifetime.to_be_bytes();
        // Other configuration by DHCPv6.
        let head = (ROUTER_ADVERTISEMENT, [64, 0x40, high, low]);
        let mac = self.config.router_mac;
        let sent = self.send_icmpv6(card, mac, ROUTER_LINK_LOCAL, ALL_NODES, head, &body);
        self.count(sent);
    }

    /// Asks a network card for the address that it has.
    pub(super) fn ask_by_ndp(&mut self, port: PortId, mac: MacAddress, address: Ipv6Addr) -> Result<(), FrameDrop> {
        let mut body = BytesMut::with_capacity(24);
        body.put_slice(&address.octets());
        put_link_address(&mut body, 1, self.config.router_mac);
        let head = (NEIGHBOR_SOLICITATION, [0; 4]);
        self.send_icmpv6((port, mac), self.config.router_mac, ROUTER_LINK_LOCAL, address, head, &body)
    }

    /// Sends a message with hop limit 255 in a frame for this network card alone, whatever the IPv6 destination.
    fn send_icmpv6(
        &mut self,
        (port, mac): (PortId, MacAddress),
        from_mac: MacAddress,
        from: Ipv6Addr,
        to: Ipv6Addr,
        (type_u8, bytes5to8): (u8, [u8; 4]),
        body: &[u8],
    ) -> Result<(), FrameDrop> {
        let kind = Icmpv6Type::Unknown { type_u8, code_u8: 0, bytes5to8 };
        let packet = build_icmpv6(from.into(), to.into(), 255, kind, body).ok_or(FrameDrop::TooLong)?;
        self.send(port, build(mac, from_mac, EtherType::Ipv6, &packet))
    }
}

/// A link-layer address option (RFC 4861 section 4.6.1).
fn put_link_address(body: &mut BytesMut, kind: u8, mac: MacAddress) {
    body.put_slice(&[kind, 1]);
    body.put_slice(&mac.0);
}

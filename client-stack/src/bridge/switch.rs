//! The way of a frame in.
//!
//! 1. parse, and drop what is malformed, too long, tagged or of no protocol that we carry
//! 2. learn its network card
//! 3. ARP, NDP and DHCP: the router's part is answered, the guests' is checked
//! 4. check its IP source
//! 5. by its destination: to the router, to everybody, or to one port

use std::net::IpAddr;

use bytes::BytesMut;
use webtun_wire::Instant;

use super::frame::{EtherType, Frame, build_ip};
use super::view::View;
use super::{FrameDrop, GuestId, MacAddress, PortId, Segment};
use crate::packet::{ICMPV6, UDP};

const DHCP_SERVER: u16 = 67;
const DHCP_CLIENT: u16 = 68;
const DHCPV6_SERVER: u16 = 547;
const DHCPV6_CLIENT: u16 = 546;

impl Segment {
    /// Takes a frame from an emulator, without frame check sequence; it may be shorter than Ethernet demands.
    pub fn handle_frame(&mut self, port: PortId, frame: &[u8], now: Instant) {
        self.stats.frames_received += 1;
        let taken = self.receive(port, frame, now);
        self.count(taken);
    }

    /// Takes an IP packet from a host ([`Segment::add_host`]).
    pub fn handle_host_packet(&mut self, port: PortId, packet: &[u8], now: Instant) {
        self.stats.frames_received += 1;
        let taken = self.receive_host(port, packet, now);
        self.count(taken);
    }

    pub(super) const fn count(&mut self, result: Result<(), FrameDrop>) {
        if let Err(reason) = result {
            self.stats.count(reason);
        }
    }

    fn receive(&mut self, port: PortId, octets: &[u8], now: Instant) -> Result<(), FrameDrop> {
        if self.ports.get(&port).is_none_or(|it| it.is_host) {
            return Err(FrameDrop::NoSuchPort);
        }
        let frame = Frame::parse(octets, self.config.mtu)?;
        let guest = self.learn(port, frame.source, now)?;
        if frame.ether_type == EtherType::Arp {
            return self.receive_arp(guest, &frame, now);
        }
        let view = View::parse(frame.payload).ok_or(FrameDrop::Malformed)?;
        if view.is_ipv4() != (frame.ether_type == EtherType::Ipv4) {
            return Err(FrameDrop::Malformed);
        }
        let packet = &frame.payload[..view.len];
        self.note_mtu(guest, view.len);
        if let Some(done) = self.receive_link_protocol(guest, &frame, packet, &view, now) {
            return done;
        }
        self.claim(guest, view.source, now)?;
        if frame.destination == self.config.router_mac {
            return self.route(guest, packet, &view);
        }
        self.forward(port, &frame, now)
    }

    /// What belongs to the link: DHCP, neighbour discovery, and the answers that only a router may give. `None`: not
    /// that.
    fn receive_link_protocol(
        &mut self,
        guest: GuestId,
        frame: &Frame<'_>,
        packet: &[u8],
        view: &View,
        now: Instant,
    ) -> Option<Result<(), FrameDrop>> {
        let for_us = frame.destination == self.config.router_mac || frame.destination.is_multicast();
        let (from, to) = view.ports(packet);
        if view.is(UDP) {
            let is_answer = if view.is_ipv4() { (from, to) == (DHCP_SERVER, DHCP_CLIENT) } else { to == DHCPV6_CLIENT };
            if is_answer {
                return Some(Err(FrameDrop::RogueServer));
            }
            if !view.is_fragment && for_us && view.is_ipv4() && (from, to) == (DHCP_CLIENT, DHCP_SERVER) {
                return Some(self.receive_dhcp(guest, packet, view, now));
            }
            if !view.is_fragment && for_us && !view.is_ipv4() && to == DHCPV6_SERVER {
                return Some(self.receive_dhcp6(guest, packet, view, now));
            }
        }
        if view.is(ICMPV6) && !view.is_ipv4() {
            return self.receive_icmpv6(guest, frame, packet, view, now);
        }
        None
    }

    fn receive_host(&mut self, port: PortId, packet: &[u8], now: Instant) -> Result<(), FrameDrop> {
        let found = self.guests.iter().find(|(_, it)| it.port == port && it.is_host).map(|(id, it)| (*id, it.mac));
        let (guest, mac) = found.ok_or(FrameDrop::NoSuchPort)?;
        if packet.len() > usize::from(self.config.mtu) {
            return Err(FrameDrop::Giant);
        }
        let view = View::parse(packet).ok_or(FrameDrop::Malformed)?;
        self.claim(guest, view.source, now)?;
        let packet = &packet[..view.len];
        if view.destination.is_multicast() || self.is_broadcast(view.destination) {
            return self.flood(port, build_ip(group_mac(view.destination), mac, packet), now);
        }
        self.route(guest, packet, &view)
    }

    /// A frame that is not for the router.
    pub(super) fn forward(&mut self, port: PortId, frame: &Frame<'_>, now: Instant) -> Result<(), FrameDrop> {
        if frame.destination.is_multicast() {
            return self.flood(port, BytesMut::from(frame.octets), now);
        }
        let to = self.by_mac.get(&frame.destination).and_then(|id| self.guests.get(id));
        let (to, is_host) = to.map(|it| (it.port, it.is_host)).ok_or(FrameDrop::UnknownDestination)?;
        if to == port {
            // They have heard each other behind their door.
            return Ok(());
        }
        if is_host && frame.ether_type == EtherType::Arp {
            return Ok(());
        }
        self.send(to, BytesMut::from(frame.octets))
    }

    /// To every other emulator. Hosts need no groups: the segment speaks ARP and NDP for them.
    pub(super) fn flood(&mut self, port: PortId, frame: BytesMut, now: Instant) -> Result<(), FrameDrop> {
        let others: Vec<PortId> =
            self.ports.iter().filter(|(id, it)| **id != port && !it.is_host).map(|(id, _)| *id).collect();
        if others.is_empty() {
            return Ok(());
        }
        self.may_flood(port, frame.len(), now)?;
        for other in others {
            let sent = self.send(other, frame.clone());
            self.count(sent);
        }
        Ok(())
    }

    pub(super) fn is_broadcast(&self, address: IpAddr) -> bool {
        matches!(address, IpAddr::V4(v4) if v4.is_broadcast() || v4 == self.config.broadcast())
    }

    /// A guest takes what it sends.
    pub(super) fn note_mtu(&mut self, guest: GuestId, len: usize) {
        let most = self.config.mtu;
        if let Some(it) = self.guests.get_mut(&guest) {
            it.mtu = it.mtu.max(u16::try_from(len).unwrap_or(u16::MAX).min(most));
        }
    }
}

/// RFC 1112 section 6.4, RFC 2464 section 7.
fn group_mac(address: IpAddr) -> MacAddress {
    match address {
        IpAddr::V4(v4) if v4.is_multicast() => {
            let [_, a, b, c] = v4.octets();
            MacAddress([1, 0, 0x5e, a & 0x7f, b, c])
        }
        IpAddr::V4(_) => MacAddress::BROADCAST,
        IpAddr::V6(v6) => {
            let octets = v6.octets();
            MacAddress([0x33, 0x33, octets[12], octets[13], octets[14], octets[15]])
        }
    }
}

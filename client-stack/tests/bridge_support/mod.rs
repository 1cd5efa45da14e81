//! A segment with two doors, and frames made by hand.
#![allow(dead_code, reason = "each test program uses a part of it")]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::net::{Ipv4Addr, Ipv6Addr};

use bytes::BytesMut;
use etherparse::{Icmpv6Type, PacketBuilder};
use webtun_stack::Instant;
use webtun_stack::bridge::{Event, FrameDrop, GuestId, MacAddress, PortId, Segment, SegmentConfig, Uplink};
use webtun_wire::OffloadHeader;

pub const ROUTER: MacAddress = MacAddress([2, 0x77, 0x74, 0, 0, 1]);
pub const A: MacAddress = MacAddress([0, 0x22, 0x15, 0, 0, 0xa]);
pub const B: MacAddress = MacAddress([0, 0x22, 0x15, 0, 0, 0xb]);
pub const ROUTER_V4: Ipv4Addr = Ipv4Addr::new(192, 168, 127, 1);
pub const A_V4: Ipv4Addr = Ipv4Addr::new(192, 168, 127, 2);
pub const B_V4: Ipv4Addr = Ipv4Addr::new(192, 168, 127, 3);
pub const REMOTE: Ipv4Addr = Ipv4Addr::new(45, 33, 0, 1);
pub const LINK_LOCAL: Ipv6Addr = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 0xa);
pub const PREFIX: Ipv6Addr = Ipv6Addr::new(0xfd77, 0x6562, 0x746e, 0x6574, 0, 0, 0, 0);

pub struct Lab {
    pub segment: Segment,
    pub now: Instant,
    /// Of owner 1.
    pub a: PortId,
    /// Of owner 2.
    pub b: PortId,
}

impl Lab {
    pub fn new() -> Self {
        Self::with(SegmentConfig::default())
    }

    pub fn with(config: SegmentConfig) -> Self {
        let now = Instant::from_millis(1000);
        let mut segment = Segment::new(config, [1; 32]).unwrap();
        let (a, b) = (segment.add_port(1, now).unwrap(), segment.add_port(2, now).unwrap());
        Self { segment, now, a, b }
    }

    pub fn send(&mut self, port: PortId, frame: &[u8]) {
        self.segment.handle_frame(port, frame, self.now);
    }

    /// Everything that waits for a port.
    pub fn frames(&mut self, port: PortId) -> Vec<BytesMut> {
        std::iter::from_fn(|| self.segment.poll_frame(port)).collect()
    }

    /// Sends a frame that has to be dropped for this reason, and reach nobody.
    pub fn refuses(&mut self, port: PortId, frame: &[u8], reason: FrameDrop) {
        let before = (self.segment.stats().drops(reason), self.segment.stats().total_drops());
        while self.segment.poll_guest().is_some() {}
        self.send(port, frame);
        let after = (self.segment.stats().drops(reason), self.segment.stats().total_drops());
        assert_eq!(after, (before.0 + 1, before.1 + 1), "{reason:?}");
        let (a, b) = (self.frames(self.a), self.frames(self.b));
        assert!(a.is_empty() && b.is_empty(), "{reason:?} reaches somebody");
        assert_eq!(self.segment.poll_guest(), None, "{reason:?} reaches a tunnel");
    }

    pub fn events(&mut self) -> Vec<Event> {
        std::iter::from_fn(|| self.segment.poll_event()).collect()
    }

    /// The guest that a MAC address has become.
    pub fn guest_of(&mut self, wanted: MacAddress) -> GuestId {
        let seen = |event: Event| match event {
            Event::GuestSeen { guest, mac, .. } if mac == wanted => Some(guest),
            _ => None,
        };
        self.events().into_iter().find_map(seen).expect("it was seen")
    }

    /// Both guests have said which address they have.
    pub fn settled() -> (Self, GuestId, GuestId) {
        let mut lab = Self::new();
        lab.send(lab.a, &arp(A, 1, (A, A_V4), ROUTER_V4));
        lab.send(lab.b, &arp(B, 1, (B, B_V4), ROUTER_V4));
        let (a, b) = (lab.a, lab.b);
        assert_eq!((lab.frames(a).len(), lab.frames(b).len()), (1, 1));
        let mut guests = lab.events().into_iter().filter_map(|event| match event {
            Event::GuestSeen { guest, .. } => Some(guest),
            _ => None,
        });
        let (a, b) = (guests.next().unwrap(), guests.next().unwrap());
        (lab, a, b)
    }
}

pub fn frame(to: MacAddress, from: MacAddress, ether_type: u16, payload: &[u8]) -> Vec<u8> {
    [&to.0[..], &from.0, &ether_type.to_be_bytes(), payload].concat()
}

pub fn arp(from: MacAddress, operation: u8, sender: (MacAddress, Ipv4Addr), target: Ipv4Addr) -> Vec<u8> {
    let head = [0, 1, 8, 0, 6, 4, 0, operation];
    let payload = [&head[..], &sender.0.0, &sender.1.octets(), &[0; 6], &target.octets()].concat();
    frame(MacAddress::BROADCAST, from, 0x0806, &payload)
}

pub fn udp(to: MacAddress, from: MacAddress, ips: (Ipv4Addr, Ipv4Addr), ports: (u16, u16), payload: &[u8]) -> Vec<u8> {
    let mut packet = Vec::new();
    let builder = PacketBuilder::ipv4(ips.0.octets(), ips.1.octets(), 64).udp(ports.0, ports.1);
    builder.write_to_vec(&mut packet, payload).unwrap();
    frame(to, from, 0x0800, &packet)
}

pub fn udp6(to: MacAddress, from: MacAddress, ips: (Ipv6Addr, Ipv6Addr), ports: (u16, u16), payload: &[u8]) -> Vec<u8> {
    let mut packet = Vec::new();
    let builder = PacketBuilder::ipv6(ips.0.octets(), ips.1.octets(), 64).udp(ports.0, ports.1);
    builder.write_to_vec(&mut packet, payload).unwrap();
    frame(to, from, 0x86dd, &packet)
}

pub fn ndp(from: MacAddress, ips: (Ipv6Addr, Ipv6Addr), kind: u8, head: [u8; 4], body: &[u8]) -> Vec<u8> {
    let mut packet = Vec::new();
    let message = Icmpv6Type::Unknown { type_u8: kind, code_u8: 0, bytes5to8: head };
    let builder = PacketBuilder::ipv6(ips.0.octets(), ips.1.octets(), 255).icmpv6(message);
    builder.write_to_vec(&mut packet, body).unwrap();
    let group = MacAddress([0x33, 0x33, 0xff, 0, 0, 1]);
    frame(group, from, 0x86dd, &packet)
}

/// A DHCP message with these options behind its type.
pub fn dhcp(mac: MacAddress, kind: u8, current: Ipv4Addr, options: &[&[u8]]) -> Vec<u8> {
    let mut message = vec![0; 236];
    message[..4].copy_from_slice(&[1, 1, 6, 0]);
    message[4..8].copy_from_slice(&[9, 8, 7, 6]);
    message[12..16].copy_from_slice(&current.octets());
    message[28..34].copy_from_slice(&mac.0);
    message.extend([0x63, 0x82, 0x53, 0x63, 53, 1, kind]);
    options.iter().for_each(|option| message.extend_from_slice(option));
    message.push(255);
    udp(MacAddress::BROADCAST, mac, (current, Ipv4Addr::BROADCAST), (68, 67), &message)
}

/// Type, `yiaddr` and options of a DHCP answer.
pub fn parse_dhcp(frame: &[u8]) -> (u8, Ipv4Addr, Vec<(u8, Vec<u8>)>) {
    assert_eq!(&frame[6..12], &ROUTER.0);
    assert_eq!(&frame[34..38], &[0, 67, 0, 68]);
    let message = &frame[42..];
    assert_eq!((message[0], &message[4..8]), (2, &[9, 8, 7, 6][..]));
    let (mut at, mut options) = (240, Vec::new());
    while message[at] != 255 {
        let len = usize::from(message[at + 1]);
        options.push((message[at], message[at + 2..at + 2 + len].to_vec()));
        at += 2 + len;
    }
    let kind = options.iter().find(|(kind, _)| *kind == 53).unwrap().1[0];
    (kind, Ipv4Addr::from(<[u8; 4]>::try_from(&message[16..20]).unwrap()), options)
}

pub fn requested(address: Ipv4Addr) -> Vec<u8> {
    [&[50, 4][..], &address.octets()].concat()
}

pub const SERVER: &[u8] = &[54, 4, 192, 168, 127, 1];
pub const NOWHERE: Ipv4Addr = Ipv4Addr::UNSPECIFIED;

pub fn ask(lab: &mut Lab, port: PortId, frame: &[u8]) -> (u8, Ipv4Addr, Vec<(u8, Vec<u8>)>) {
    lab.send(port, frame);
    let came = lab.frames(port);
    assert_eq!(came.len(), 1, "one answer");
    parse_dhcp(&came[0])
}

pub fn lease(lab: &mut Lab, port: PortId, mac: MacAddress) -> Ipv4Addr {
    let (kind, offered, _) = ask(lab, port, &dhcp(mac, 1, NOWHERE, &[]));
    assert_eq!(kind, 2, "an offer");
    let (kind, given, _) = ask(lab, port, &dhcp(mac, 3, NOWHERE, &[&requested(offered), SERVER]));
    assert_eq!((kind, given), (5, offered));
    given
}

pub const OWN: Ipv4Addr = Ipv4Addr::new(100, 64, 0, 2);

/// A guest with a session on a segment with this MTU.
pub fn with_uplink(mtu: u16, offload: bool) -> (Lab, GuestId) {
    let mut lab = Lab::with(SegmentConfig { mtu, ..SegmentConfig::default() });
    let a = lab.a;
    lab.send(a, &arp(A, 1, (A, A_V4), ROUTER_V4));
    lab.frames(a);
    let guest = lab.guest_of(A);
    let uplink = Uplink { v4: Some(OWN), offload, ..Uplink::default() };
    lab.segment.set_uplink(guest, Some(uplink), lab.now);
    (lab, guest)
}

/// A TCP segment between port 4000 of the guest and port 80.
pub fn tcp(outward: bool, ips: (Ipv4Addr, Ipv4Addr), mss: Option<u16>, payload: &[u8]) -> Vec<u8> {
    let ports = if outward { (4000, 80) } else { (80, 4000) };
    let builder = PacketBuilder::ipv4(ips.0.octets(), ips.1.octets(), 64).tcp(ports.0, ports.1, 1, 60_000).ack(1);
    let builder = if mss.is_some() { builder.syn() } else { builder };
    let options: Vec<u8> = mss.iter().flat_map(|mss| [&[2, 4][..], &mss.to_be_bytes()].concat()).collect();
    let mut packet = Vec::new();
    builder.options_raw(&options).unwrap().write_to_vec(&mut packet, payload).unwrap();
    packet
}

pub fn handshake(lab: &mut Lab, guest: GuestId, ours: u16, theirs: u16) -> (u16, u16) {
    let a = lab.a;
    lab.send(a, &frame(ROUTER, A, 0x0800, &tcp(true, (A_V4, REMOTE), Some(ours), &[])));
    let (out, _) = lab.segment.poll_packet(guest).unwrap();
    let syn_ack = BytesMut::from(&tcp(false, (REMOTE, OWN), Some(theirs), &[])[..]);
    lab.segment.handle_packet(guest, syn_ack, OffloadHeader::default());
    let back = lab.frames(a).remove(0);
    let mss = |tcp: &[u8]| u16::from_be_bytes([tcp[22], tcp[23]]);
    (mss(&out[20..]), mss(&back[34..]))
}

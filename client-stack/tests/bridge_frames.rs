//! Every protocol of the segment with hand-made frames, and what the switch lets through.

#![cfg(feature = "bridge")]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::net::{Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use bytes::BytesMut;
use etherparse::{Icmpv6Type, PacketBuilder};
use webtun_stack::Instant;
use webtun_stack::bridge::{Event, FrameDrop, GuestId, MacAddress, PortId, Segment, SegmentConfig, Uplink};
use webtun_wire::OffloadHeader;

const ROUTER: MacAddress = MacAddress([2, 0x77, 0x74, 0, 0, 1]);
const A: MacAddress = MacAddress([0, 0x22, 0x15, 0, 0, 0xa]);
const B: MacAddress = MacAddress([0, 0x22, 0x15, 0, 0, 0xb]);
const ROUTER_V4: Ipv4Addr = Ipv4Addr::new(192, 168, 127, 1);
const A_V4: Ipv4Addr = Ipv4Addr::new(192, 168, 127, 2);
const B_V4: Ipv4Addr = Ipv4Addr::new(192, 168, 127, 3);
const REMOTE: Ipv4Addr = Ipv4Addr::new(45, 33, 0, 1);
const LINK_LOCAL: Ipv6Addr = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 0xa);
const PREFIX: Ipv6Addr = Ipv6Addr::new(0xfd77, 0x6562, 0x746e, 0x6574, 0, 0, 0, 0);

struct Lab {
    segment: Segment,
    now: Instant,
    a: PortId,
    b: PortId,
}

impl Lab {
    fn new() -> Self {
        Self::with(SegmentConfig::default())
    }

    fn with(config: SegmentConfig) -> Self {
        let now = Instant::from_millis(1000);
        let mut segment = Segment::new(config, [1; 32]).unwrap();
        let (a, b) = (segment.add_port(now).unwrap(), segment.add_port(now).unwrap());
        Self { segment, now, a, b }
    }

    fn send(&mut self, port: PortId, frame: &[u8]) {
        self.segment.handle_frame(port, frame, self.now);
    }

    /// Everything that waits for a port.
    fn frames(&mut self, port: PortId) -> Vec<BytesMut> {
        std::iter::from_fn(|| self.segment.poll_frame(port)).collect()
    }

    /// Sends a frame that has to be dropped for this reason, and reach nobody.
    fn refuses(&mut self, port: PortId, frame: &[u8], reason: FrameDrop) {
        let before = (self.segment.stats().drops(reason), self.segment.stats().total_drops());
        while self.segment.poll_guest().is_some() {}
        self.send(port, frame);
        let after = (self.segment.stats().drops(reason), self.segment.stats().total_drops());
        assert_eq!(after, (before.0 + 1, before.1 + 1), "{reason:?}");
        let (a, b) = (self.frames(self.a), self.frames(self.b));
        assert!(a.is_empty() && b.is_empty(), "{reason:?} reaches somebody");
        assert_eq!(self.segment.poll_guest(), None, "{reason:?} reaches a tunnel");
    }

    fn events(&mut self) -> Vec<Event> {
        std::iter::from_fn(|| self.segment.poll_event()).collect()
    }

    /// The guest that a MAC address has become.
    fn guest_of(&mut self, wanted: MacAddress) -> GuestId {
        let seen = |event: Event| match event {
            Event::GuestSeen { guest, mac, .. } if mac == wanted => Some(guest),
            _ => None,
        };
        self.events().into_iter().find_map(seen).expect("it was seen")
    }

    /// Both guests have said which address they have.
    fn settled() -> (Self, GuestId, GuestId) {
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

fn frame(to: MacAddress, from: MacAddress, ether_type: u16, payload: &[u8]) -> Vec<u8> {
    [&to.0[..], &from.0, &ether_type.to_be_bytes(), payload].concat()
}

fn arp(from: MacAddress, operation: u8, sender: (MacAddress, Ipv4Addr), target: Ipv4Addr) -> Vec<u8> {
    let head = [0, 1, 8, 0, 6, 4, 0, operation];
    let payload = [&head[..], &sender.0.0, &sender.1.octets(), &[0; 6], &target.octets()].concat();
    frame(MacAddress::BROADCAST, from, 0x0806, &payload)
}

fn udp(to: MacAddress, from: MacAddress, ips: (Ipv4Addr, Ipv4Addr), ports: (u16, u16), payload: &[u8]) -> Vec<u8> {
    let mut packet = Vec::new();
    let builder = PacketBuilder::ipv4(ips.0.octets(), ips.1.octets(), 64).udp(ports.0, ports.1);
    builder.write_to_vec(&mut packet, payload).unwrap();
    frame(to, from, 0x0800, &packet)
}

fn udp6(to: MacAddress, from: MacAddress, ips: (Ipv6Addr, Ipv6Addr), ports: (u16, u16), payload: &[u8]) -> Vec<u8> {
    let mut packet = Vec::new();
    let builder = PacketBuilder::ipv6(ips.0.octets(), ips.1.octets(), 64).udp(ports.0, ports.1);
    builder.write_to_vec(&mut packet, payload).unwrap();
    frame(to, from, 0x86dd, &packet)
}

fn ndp(from: MacAddress, ips: (Ipv6Addr, Ipv6Addr), kind: u8, head: [u8; 4], body: &[u8]) -> Vec<u8> {
    let mut packet = Vec::new();
    let message = Icmpv6Type::Unknown { type_u8: kind, code_u8: 0, bytes5to8: head };
    let builder = PacketBuilder::ipv6(ips.0.octets(), ips.1.octets(), 255).icmpv6(message);
    builder.write_to_vec(&mut packet, body).unwrap();
    let group = MacAddress([0x33, 0x33, 0xff, 0, 0, 1]);
    frame(group, from, 0x86dd, &packet)
}

/// A DHCP message with these options behind its type.
fn dhcp(mac: MacAddress, kind: u8, current: Ipv4Addr, options: &[&[u8]]) -> Vec<u8> {
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
fn parse_dhcp(frame: &[u8]) -> (u8, Ipv4Addr, Vec<(u8, Vec<u8>)>) {
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

fn requested(address: Ipv4Addr) -> Vec<u8> {
    [&[50, 4][..], &address.octets()].concat()
}

const SERVER: &[u8] = &[54, 4, 192, 168, 127, 1];
const NOWHERE: Ipv4Addr = Ipv4Addr::UNSPECIFIED;

fn ask(lab: &mut Lab, port: PortId, frame: &[u8]) -> (u8, Ipv4Addr, Vec<(u8, Vec<u8>)>) {
    lab.send(port, frame);
    let came = lab.frames(port);
    assert_eq!(came.len(), 1, "one answer");
    parse_dhcp(&came[0])
}

fn lease(lab: &mut Lab, port: PortId, mac: MacAddress) -> Ipv4Addr {
    let (kind, offered, _) = ask(lab, port, &dhcp(mac, 1, NOWHERE, &[]));
    assert_eq!(kind, 2, "an offer");
    let (kind, given, _) = ask(lab, port, &dhcp(mac, 3, NOWHERE, &[&requested(offered), SERVER]));
    assert_eq!((kind, given), (5, offered));
    given
}

#[test]
fn a_lease_says_everything() {
    let mut lab = Lab::with(SegmentConfig { mtu: 9000, ..SegmentConfig::default() });
    let a = lab.a;
    let (name, id) = ([&[12, 5][..], b"guest"].concat(), [61, 3, 0, 1, 2]);
    let (kind, offered, _) = ask(&mut lab, a, &dhcp(A, 1, NOWHERE, &[&name, &id]));
    assert_eq!((kind, offered), (2, A_V4));
    let (kind, given, options) = ask(&mut lab, a, &dhcp(A, 3, NOWHERE, &[&requested(A_V4), SERVER, &name, &id]));
    assert_eq!((kind, given), (5, A_V4));
    let expected: [(u8, &[u8]); 9] = [
        (1, &[255, 255, 255, 0]),
        (3, &[192, 168, 127, 1]),
        (6, &[192, 168, 127, 1]),
        (12, b"guest"),
        (26, &9000_u16.to_be_bytes()),
        (51, &3600_u32.to_be_bytes()),
        (54, &[192, 168, 127, 1]),
        (58, &1800_u32.to_be_bytes()),
        (61, &[0, 1, 2]),
    ];
    for (kind, data) in expected {
        let found = options.iter().find(|(it, _)| *it == kind).unwrap_or_else(|| panic!("option {kind}"));
        assert_eq!(found.1, data, "option {kind}");
    }
    let events = lab.events();
    let Event::LeaseGiven { address, host_name, .. } = &events[1] else { panic!("{events:?}") };
    assert_eq!((*address, host_name.as_deref()), (A_V4, Some("guest")));
}

#[test]
fn leases_are_renewed_released_and_remembered() {
    let mut lab = Lab::new();
    let (a, b) = (lab.a, lab.b);
    assert_eq!((lease(&mut lab, a, A), lease(&mut lab, b, B)), (A_V4, B_V4));
    lab.now += Duration::from_secs(1800);
    let (kind, given, _) = ask(&mut lab, a, &dhcp(A, 3, A_V4, &[]));
    assert_eq!((kind, given), (5, A_V4), "renewing");
    let (kind, ..) = ask(&mut lab, a, &dhcp(A, 3, NOWHERE, &[&requested(A_V4)]));
    assert_eq!(kind, 5, "after a reboot");
    let (kind, ..) = ask(&mut lab, a, &dhcp(A, 3, NOWHERE, &[&requested(B_V4)]));
    assert_eq!(kind, 6, "the other's");
    let (kind, ..) = ask(&mut lab, a, &dhcp(A, 3, NOWHERE, &[&requested(Ipv4Addr::new(10, 0, 0, 9))]));
    assert_eq!(kind, 6, "of another network");
    let (kind, given, options) = ask(&mut lab, a, &dhcp(A, 8, A_V4, &[]));
    assert_eq!((kind, given), (5, NOWHERE), "informing");
    assert!(options.iter().all(|(kind, _)| *kind != 51) && options.iter().any(|(kind, _)| *kind == 6));
    lab.send(a, &dhcp(A, 7, A_V4, &[SERVER]));
    assert_eq!(lab.frames(a).len(), 0, "releasing has no answer");
    assert_eq!(lease(&mut lab, a, A), A_V4, "and is not forgetting");
    lab.send(a, &dhcp(A, 4, NOWHERE, &[&requested(A_V4), SERVER]));
    assert_eq!(lease(&mut lab, a, A), Ipv4Addr::new(192, 168, 127, 4), "declined");
}

#[test]
fn a_segment_made_anew_lets_guests_go_on() {
    let mut lab = Lab::new();
    let (a, late) = (lab.a, Ipv4Addr::new(192, 168, 127, 77));
    let (kind, given, _) = ask(&mut lab, a, &dhcp(A, 3, late, &[]));
    assert_eq!((kind, given), (5, late));
}

#[test]
fn what_dhcp_does_not_answer() {
    let mut lab = Lab::with(SegmentConfig { pool: A_V4..=B_V4, ..SegmentConfig::default() });
    let (a, b) = (lab.a, lab.b);
    lab.refuses(a, &dhcp(A, 3, NOWHERE, &[&requested(A_V4), &[54, 4, 10, 0, 0, 1]]), FrameDrop::DhcpIgnored);
    lab.refuses(a, &dhcp(A, 5, NOWHERE, &[]), FrameDrop::DhcpIgnored);
    lab.refuses(a, &dhcp(A, 3, NOWHERE, &[]), FrameDrop::Malformed);
    let mut foreign = dhcp(A, 1, NOWHERE, &[]);
    foreign[6..12].copy_from_slice(&B.0);
    lab.refuses(b, &foreign, FrameDrop::SpoofedHardware);
    let mut broken = dhcp(A, 1, NOWHERE, &[]);
    broken[42 + 100] ^= 1;
    lab.refuses(a, &broken, FrameDrop::Malformed);
    lab.refuses(a, &udp(B, A, (ROUTER_V4, B_V4), (67, 68), b"answer"), FrameDrop::RogueServer);
    assert_eq!((lease(&mut lab, a, A), lease(&mut lab, b, B)), (A_V4, B_V4));
    let third = MacAddress([2, 0, 0, 0, 0, 3]);
    lab.refuses(b, &dhcp(third, 1, NOWHERE, &[]), FrameDrop::PoolExhausted);
}

#[test]
fn the_profile_of_container2wasm() {
    let host = Ipv4Addr::new(100, 64, 0, 9);
    let mut lab = Lab::with(SegmentConfig::container2wasm(host));
    let guest = MacAddress([2, 0, 0, 0, 0, 1]);
    let (a, b) = (lab.a, lab.b);
    assert_ne!(lease(&mut lab, b, B), B_V4);
    assert_eq!(lease(&mut lab, a, guest), B_V4);
    let id = lab.guest_of(guest);
    let uplink = Uplink { v4: Some(Ipv4Addr::new(100, 64, 0, 2)), ..Uplink::default() };
    lab.segment.set_uplink(id, Some(uplink), lab.now);
    let alias = Ipv4Addr::new(192, 168, 127, 254);
    lab.send(a, &arp(guest, 1, (guest, B_V4), alias));
    assert_eq!(lab.frames(a)[0][22..32], [&ROUTER.0[..], &alias.octets()].concat());
    lab.send(a, &udp(ROUTER, guest, (B_V4, alias), (5000, 80), b"hello"));
    let (packet, _) = lab.segment.poll_packet(id).unwrap();
    assert_eq!(packet[12..20], [[100, 64, 0, 2], host.octets()].concat());
}

#[test]
fn the_router_answers_arp_and_nobody_else_may_be_it() {
    let (mut lab, ..) = Lab::settled();
    let (a, b) = (lab.a, lab.b);
    lab.send(a, &arp(A, 1, (A, A_V4), ROUTER_V4));
    let reply = lab.frames(a).remove(0);
    assert_eq!(
        reply[..],
        frame(
            A,
            ROUTER,
            0x0806,
            &[&[0, 1, 8, 0, 6, 4, 0, 2][..], &ROUTER.0, &[192, 168, 127, 1], &A.0, &A_V4.octets()].concat()
        )
    );
    lab.refuses(a, &arp(A, 2, (A, ROUTER_V4), A_V4), FrameDrop::SpoofedRouter);
    lab.refuses(a, &arp(A, 1, (A, ROUTER_V4), ROUTER_V4), FrameDrop::SpoofedRouter);
    lab.refuses(a, &arp(A, 2, (A, B_V4), B_V4), FrameDrop::SpoofedGuest);
    lab.refuses(a, &arp(A, 2, (B, A_V4), B_V4), FrameDrop::SpoofedHardware);
    lab.refuses(a, &arp(A, 2, (A, Ipv4Addr::new(10, 1, 1, 1)), B_V4), FrameDrop::ForeignSource);
    lab.refuses(a, &arp(ROUTER, 2, (ROUTER, A_V4), B_V4), FrameDrop::SourceMac);
    // Asking for another guest reaches it, and a probe (RFC 5227) claims nothing.
    lab.send(a, &arp(A, 1, (A, A_V4), B_V4));
    lab.send(a, &arp(A, 1, (A, NOWHERE), B_V4));
    assert_eq!((lab.frames(a).len(), lab.frames(b).len()), (0, 2));
    assert_eq!(lab.segment.stats().drops(FrameDrop::SpoofedGuest), 1);
}

#[test]
fn frames_that_are_no_frames() {
    let (mut lab, ..) = Lab::settled();
    let a = lab.a;
    let good = udp(B, A, (A_V4, B_V4), (1, 2), b"");
    for (bad, reason) in [
        (good[..13].to_vec(), FrameDrop::Runt),
        (good[..14].to_vec(), FrameDrop::Malformed),
        (frame(B, A, 0x0800, &[0; 1501]), FrameDrop::Giant),
        (frame(B, A, 0x8100, &[0; 60]), FrameDrop::Vlan),
        (frame(B, A, 0x88a8, &[0; 60]), FrameDrop::Vlan),
        (frame(B, A, 0x88cc, &[0; 60]), FrameDrop::EtherType),
        (frame(B, A, 60, &[0; 60]), FrameDrop::EtherType),
        (frame(B, A, 0x86dd, &good[14..]), FrameDrop::Malformed),
        (frame(B, MacAddress::BROADCAST, 0x0800, &good[14..]), FrameDrop::SourceMac),
        (frame(B, MacAddress([0; 6]), 0x0800, &good[14..]), FrameDrop::SourceMac),
        (frame(MacAddress([2; 6]), A, 0x0800, &good[14..]), FrameDrop::UnknownDestination),
    ] {
        lab.refuses(a, &bad, reason);
    }
    let b = lab.b;
    lab.send(a, &good);
    assert_eq!(lab.frames(b), [&good[..]], "shorter than Ethernet demands");
}

#[test]
fn sources_are_held_to() {
    let (mut lab, ..) = Lab::settled();
    let a = lab.a;
    lab.refuses(a, &udp(ROUTER, A, (B_V4, REMOTE), (1, 2), b""), FrameDrop::SpoofedGuest);
    lab.refuses(a, &udp(B, A, (ROUTER_V4, B_V4), (1, 2), b""), FrameDrop::SpoofedRouter);
    lab.refuses(a, &udp(ROUTER, A, (REMOTE, REMOTE), (1, 2), b""), FrameDrop::ForeignSource);
    lab.refuses(a, &udp(ROUTER, B, (B_V4, REMOTE), (1, 2), b""), FrameDrop::ForeignMac);
    let theirs = Ipv6Addr::new(0x2600, 0, 0, 0, 0, 0, 0, 1);
    lab.refuses(a, &udp6(ROUTER, A, (theirs, theirs), (1, 2), b""), FrameDrop::ForeignSource);
    lab.refuses(a, &udp(ROUTER, A, (A_V4, REMOTE), (1, 2), b""), FrameDrop::NoUplink);
    lab.refuses(a, &udp(ROUTER, A, (A_V4, Ipv4Addr::new(224, 0, 0, 1)), (1, 2), b""), FrameDrop::NotRoutable);
    lab.refuses(a, &udp(ROUTER, A, (A_V4, Ipv4Addr::LOCALHOST), (1, 2), b""), FrameDrop::NotRoutable);
    lab.refuses(
        a,
        &udp(ROUTER, A, (A_V4, Ipv4Addr::new(192, 168, 127, 9)), (1, 2), b""),
        FrameDrop::UnknownDestination,
    );
}

#[test]
fn a_card_moves_when_it_was_silent_and_an_address_with_its_door() {
    let (mut lab, ..) = Lab::settled();
    let (a, b) = (lab.a, lab.b);
    lab.now += Duration::from_secs(31);
    lab.send(b, &arp(A, 1, (A, A_V4), ROUTER_V4));
    assert_eq!(lab.frames(b).len(), 1, "it has moved");
    lab.refuses(a, &arp(A, 1, (A, A_V4), ROUTER_V4), FrameDrop::ForeignMac);
    // A guest that comes back from a saved state has another card, and its old address.
    let restored = MacAddress([0, 0x22, 0x15, 9, 9, 9]);
    lab.send(b, &arp(restored, 1, (restored, A_V4), ROUTER_V4));
    assert_eq!(lab.frames(b).len(), 1);
    let id = lab.guest_of(restored);
    assert_eq!(lab.segment.guest(id).unwrap().v4, Some(A_V4));
    lab.segment.remove_port(b);
    lab.send(a, &arp(restored, 1, (restored, A_V4), ROUTER_V4));
    assert_eq!(lab.frames(a).len(), 1, "and through another door, once the first is closed");
}

#[test]
fn too_many_cards_at_one_door_leave_room_for_others() {
    let mut lab = Lab::new();
    let (a, b) = (lab.a, lab.b);
    for last in 0..16 {
        let mac = MacAddress([2, 1, 1, 1, 1, last]);
        lab.send(a, &arp(mac, 1, (mac, NOWHERE), ROUTER_V4));
    }
    assert_eq!(lab.frames(a).len(), 16);
    lab.refuses(a, &arp(A, 1, (A, A_V4), ROUTER_V4), FrameDrop::TooManyGuests);
    lab.send(b, &arp(B, 1, (B, B_V4), ROUTER_V4));
    assert_eq!(lab.frames(b).len(), 1);
}

#[test]
fn a_storm_is_cut_off() {
    let (mut lab, ..) = Lab::settled();
    let (a, b) = (lab.a, lab.b);
    let shout = udp(MacAddress::BROADCAST, A, (A_V4, Ipv4Addr::BROADCAST), (5353, 5353), b"!");
    (0..1000).for_each(|_| lab.send(a, &shout));
    assert_eq!((lab.frames(b).len(), lab.segment.stats().drops(FrameDrop::Storm)), (200, 800));
    lab.now += Duration::from_millis(100);
    (0..1000).for_each(|_| lab.send(a, &shout));
    assert_eq!(lab.frames(b).len(), 20);
}

#[test]
fn a_port_that_takes_nothing_holds_no_more_than_it_may() {
    let mut lab = Lab::with(SegmentConfig { queue_octets: 10_000, ..SegmentConfig::default() });
    let (a, b) = (lab.a, lab.b);
    lab.send(a, &arp(A, 1, (A, A_V4), ROUTER_V4));
    lab.send(b, &arp(B, 1, (B, B_V4), ROUTER_V4));
    lab.frames(b);
    for _ in 0..100 {
        lab.send(a, &udp(B, A, (A_V4, B_V4), (1, 2), &[0; 1400]));
    }
    assert!(lab.segment.waiting_frames(b) < 10_000 + 1500);
    assert_eq!(lab.frames(b).len() as u64 + lab.segment.stats().drops(FrameDrop::QueueFull), 100);
}

#[test]
fn nothing_leaves_a_segment() {
    let (mut lab, ..) = Lab::settled();
    let mut other = Segment::new(SegmentConfig::default(), [2; 32]).unwrap();
    let port = other.add_port(lab.now).unwrap();
    let a = lab.a;
    lab.send(a, &udp(B, A, (A_V4, B_V4), (1, 2), b"for the room"));
    assert_eq!((other.poll_frame(port), other.poll_port(), other.poll_event()), (None, None, None));
}

#[test]
fn a_router_advertisement_follows_the_session() {
    let mut lab = Lab::with(SegmentConfig { mtu: 9000, ..SegmentConfig::default() });
    let a = lab.a;
    let all_routers = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 2);
    let solicitation = ndp(A, (LINK_LOCAL, all_routers), 133, [0; 4], &[]);
    lab.send(a, &solicitation);
    let advert = lab.frames(a).remove(0);
    assert_eq!((&advert[..12], advert[21], advert[54]), (&[A.0, ROUTER.0].concat()[..], 255, 134));
    assert_eq!(advert[60..62], [0, 0], "no route without a session");
    let guest = lab.guest_of(A);
    let uplink = Uplink { v6: Some(Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, 2)), ..Uplink::default() };
    lab.segment.set_uplink(guest, Some(uplink), lab.now);
    let advert = lab.frames(a).remove(0);
    assert_eq!(advert[58..62], [64, 0x40, 7, 8]);
    let options = &advert[70..];
    assert_eq!(options[..8], [&[1, 1][..], &ROUTER.0].concat());
    assert_eq!(options[8..16], [&[5, 1, 0, 0][..], &9000_u32.to_be_bytes()].concat());
    assert_eq!((&options[16..20], &options[32..48]), (&[3, 4, 64, 0xc0][..], &PREFIX.octets()[..]));
    let router = Ipv6Addr::from(u128::from(PREFIX) | 1);
    assert_eq!(options[48..], [&[25, 3, 0, 0][..], &1800_u32.to_be_bytes(), &router.octets()].concat());
    let again = lab.segment.poll_timeout().unwrap();
    assert!(again - lab.now <= Duration::from_secs(450));
    lab.segment.handle_timeout(again);
    assert_eq!(lab.frames(a).len(), 1, "it is repeated");
    lab.segment.set_uplink(guest, None, lab.now);
    assert_eq!(lab.frames(a)[0][60..62], [0, 0]);
}

#[test]
fn neighbours_find_the_router_and_one_another() {
    let (mut lab, ..) = Lab::settled();
    let (a, b) = (lab.a, lab.b);
    let (router, group) = (Ipv6Addr::from(u128::from(PREFIX) | 1), Ipv6Addr::new(0xff02, 0, 0, 0, 0, 1, 0xff00, 1));
    for target in [router, Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 1)] {
        lab.send(a, &ndp(A, (LINK_LOCAL, group), 135, [0; 4], &target.octets()));
        let advert = lab.frames(a).remove(0);
        assert_eq!((advert[54], advert[58], &advert[62..78]), (136, 0xe0, &target.octets()[..]));
        assert_eq!(advert[78..86], [&[2, 1][..], &ROUTER.0].concat());
        // Duplicate address detection of the router's address: it is defended.
        lab.send(a, &ndp(A, (Ipv6Addr::UNSPECIFIED, group), 135, [0; 4], &target.octets()));
        let advert = lab.frames(a).remove(0);
        assert_eq!((advert[54], advert[58]), (136, 0xa0));
        lab.refuses(a, &ndp(A, (LINK_LOCAL, group), 136, [0x20, 0, 0, 0], &target.octets()), FrameDrop::SpoofedRouter);
    }
    let own = Ipv6Addr::from(u128::from(PREFIX) | 0xa);
    lab.send(a, &ndp(A, (Ipv6Addr::UNSPECIFIED, group), 135, [0; 4], &own.octets()));
    lab.send(a, &ndp(A, (own, group), 136, [0x20, 0, 0, 0], &own.octets()));
    assert_eq!(lab.frames(b).len(), 2, "others hear it");
    lab.refuses(b, &ndp(B, (own, group), 135, [0; 4], &LINK_LOCAL.octets()), FrameDrop::SpoofedGuest);
    lab.refuses(a, &ndp(A, (LINK_LOCAL, group), 134, [0; 4], &[0; 8]), FrameDrop::RogueServer);
    lab.refuses(a, &ndp(A, (LINK_LOCAL, group), 137, [0; 4], &[0; 32]), FrameDrop::RogueServer);
    lab.refuses(a, &ndp(A, (LINK_LOCAL, group), 135, [0; 4], &[0; 8]), FrameDrop::Malformed);
    let mut from_afar = ndp(A, (LINK_LOCAL, group), 135, [0; 4], &own.octets());
    from_afar[21] = 254;
    lab.refuses(a, &from_afar, FrameDrop::Malformed);
}

#[test]
fn dhcpv6_tells_of_dns() {
    let mut lab = Lab::new();
    let a = lab.a;
    let servers = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 1, 2);
    let ask = |kind: u8| {
        udp6(
            MacAddress([0x33, 0x33, 0, 1, 0, 2]),
            A,
            (LINK_LOCAL, servers),
            (546, 547),
            &[kind, 1, 2, 3, 0, 1, 0, 2, 7, 7],
        )
    };
    lab.send(a, &ask(11));
    let guest = lab.guest_of(A);
    let uplink = Uplink { v6: Some(Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, 2)), ..Uplink::default() };
    lab.segment.set_uplink(guest, Some(uplink), lab.now);
    lab.frames(a);
    lab.send(a, &ask(11));
    let reply = lab.frames(a).remove(0);
    let router = Ipv6Addr::from(u128::from(PREFIX) | 1);
    let expected =
        [&[7, 1, 2, 3, 0, 2, 0, 10, 0, 3, 0, 1][..], &ROUTER.0, &[0, 1, 0, 2, 7, 7, 0, 23, 0, 16], &router.octets()];
    assert_eq!(reply[62..], expected.concat());
    lab.refuses(a, &ask(1), FrameDrop::DhcpIgnored);
    lab.refuses(a, &udp6(B, A, (LINK_LOCAL, LINK_LOCAL), (547, 546), &[7, 1, 2, 3]), FrameDrop::RogueServer);
}

#[test]
fn silent_guests_are_asked_and_then_gone() {
    let (mut lab, a_guest, b_guest) = Lab::settled();
    let (a, b) = (lab.a, lab.b);
    // The first answers; the second is asked three times.
    for asked in [(1, 1), (0, 1), (0, 1)] {
        lab.now = lab.segment.poll_timeout().unwrap();
        lab.segment.handle_timeout(lab.now);
        let (questions, others) = (lab.frames(a), lab.frames(b));
        assert_eq!((questions.len(), others.len()), asked);
        assert_eq!((&others[0][..6], &others[0][38..42]), (&B.0[..], &B_V4.octets()[..]));
        if !questions.is_empty() {
            lab.send(a, &arp(A, 2, (A, A_V4), ROUTER_V4));
            lab.frames(b);
        }
        assert_eq!(lab.segment.poll_timeout().unwrap() - lab.now, Duration::from_secs(10));
    }
    lab.now = lab.segment.poll_timeout().unwrap();
    lab.segment.handle_timeout(lab.now);
    assert_eq!(lab.events(), [Event::GuestGone { guest: b_guest, mac: B }]);
    assert!(lab.segment.guest(a_guest).is_some());
}

#[test]
fn a_packet_that_is_not_the_guests_goes_nowhere() {
    let (mut lab, guest, _) = Lab::settled();
    let a = lab.a;
    let own = Ipv4Addr::new(100, 64, 0, 2);
    let packet = |from: Ipv4Addr, to: Ipv4Addr| BytesMut::from(&udp(A, A, (from, to), (53, 4000), b"answer")[14..]);
    let give = |lab: &mut Lab, packet: BytesMut, offload| {
        let before = lab.segment.stats().clone();
        lab.segment.handle_packet(guest, packet, offload);
        let after = lab.segment.stats().clone();
        FrameDrop::ALL.into_iter().find(|it| after.drops(*it) > before.drops(*it))
    };
    let plain = OffloadHeader::default();
    assert_eq!(give(&mut lab, packet(REMOTE, own), plain), Some(FrameDrop::NoUplink));
    let uplink = Uplink { v4: Some(own), host_v4: Some(Ipv4Addr::new(100, 64, 0, 1)), ..Uplink::default() };
    lab.segment.set_uplink(guest, Some(uplink), lab.now);
    assert_eq!(give(&mut lab, packet(REMOTE, A_V4), plain), Some(FrameDrop::Misdelivered));
    assert_eq!(give(&mut lab, packet(B_V4, own), plain), Some(FrameDrop::Misdelivered));
    assert_eq!(give(&mut lab, BytesMut::from(&[0x45; 30][..]), plain), Some(FrameDrop::Malformed));
    let partial = webtun_wire::OffloadChecksum::Partial { start: 20, offset: 16 };
    let header = OffloadHeader { checksum: partial, segmentation: None };
    assert_eq!(give(&mut lab, packet(REMOTE, own), header), Some(FrameDrop::Offload));
    assert_eq!(lab.frames(a).len(), 0);
    assert_eq!(give(&mut lab, packet(REMOTE, own), plain), None);
    let came = lab.frames(a).remove(0);
    assert_eq!(came[..], udp(A, ROUTER, (REMOTE, A_V4), (53, 4000), b"answer"));
    assert_eq!(give(&mut lab, packet(Ipv4Addr::new(100, 64, 0, 1), own), plain), None);
    assert_eq!(lab.frames(a)[0][26..30], ROUTER_V4.octets(), "the gateway's host appears as the router");
}

#[test]
fn a_host_is_on_the_segment_as_any_guest() {
    let (mut lab, _, b_guest) = Lab::settled();
    let (a, b) = (lab.a, lab.b);
    let host = lab.segment.add_host(lab.now).unwrap();
    let mac = lab.segment.guest(host.guest).unwrap().mac;
    lab.send(a, &arp(A, 1, (A, A_V4), host.v4));
    assert_eq!(lab.frames(a)[0][22..32], [&mac.0[..], &host.v4.octets()].concat());
    assert_eq!(lab.frames(b).len(), 0, "the segment speaks for it");
    let question = udp(mac, A, (A_V4, host.v4), (1, 2), b"question");
    lab.send(a, &question);
    assert_eq!(lab.segment.poll_frame(host.port).unwrap()[..], question[14..]);
    let answer = udp(A, mac, (host.v4, A_V4), (2, 1), b"answer");
    lab.segment.handle_host_packet(host.port, &answer[14..], lab.now);
    assert_eq!(lab.frames(a), [&answer[..]]);
    let foreign = udp(A, mac, (B_V4, A_V4), (2, 1), b"answer");
    lab.segment.handle_host_packet(host.port, &foreign[14..], lab.now);
    assert_eq!(lab.segment.stats().total_drops(), 1);
    lab.refuses(b, &arp(B, 1, (B, host.v4), ROUTER_V4), FrameDrop::SpoofedGuest);
    lab.refuses(b, &arp(mac, 1, (mac, B_V4), ROUTER_V4), FrameDrop::ForeignMac);
    assert_eq!(lab.segment.guest(b_guest).unwrap().v4, Some(B_V4));
    lab.segment.remove_port(host.port);
    lab.refuses(a, &question, FrameDrop::UnknownDestination);
}

#[test]
fn contradictions_in_a_configuration_are_refused() {
    type Change = fn(&mut SegmentConfig);
    let bad: [Change; 12] = [
        |it| it.prefix_len = 31,
        |it| it.router_v4 = Ipv4Addr::new(192, 168, 127, 255),
        |it| it.pool = A_V4..=Ipv4Addr::new(192, 168, 128, 1),
        |it| it.aliases = vec![(Ipv4Addr::new(192, 168, 127, 1), REMOTE)],
        |it| it.aliases = vec![(A_V4, REMOTE), (B_V4, REMOTE)],
        |it| it.aliases = vec![(A_V4, B_V4)],
        |it| it.fixed = [(A, A_V4), (B, A_V4)].into(),
        |it| it.dns_v4.clear(),
        |it| it.prefix_v6 = Ipv6Addr::from(u128::from(PREFIX) | 1),
        |it| it.mtu = 65_001,
        |it| it.path_mtu = 1501,
        |it| it.lease_time = Duration::from_secs(59),
    ];
    for (index, change) in bad.iter().enumerate() {
        let mut config = SegmentConfig::default();
        change(&mut config);
        assert!(Segment::new(config, [0; 32]).is_err(), "change {index}");
    }
}

const OWN: Ipv4Addr = Ipv4Addr::new(100, 64, 0, 2);

/// A guest with a session on a segment with this MTU.
fn with_uplink(mtu: u16, offload: bool) -> (Lab, GuestId) {
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
fn tcp(outward: bool, ips: (Ipv4Addr, Ipv4Addr), mss: Option<u16>, payload: &[u8]) -> Vec<u8> {
    let ports = if outward { (4000, 80) } else { (80, 4000) };
    let builder = PacketBuilder::ipv4(ips.0.octets(), ips.1.octets(), 64).tcp(ports.0, ports.1, 1, 60_000).ack(1);
    let builder = if mss.is_some() { builder.syn() } else { builder };
    let options: Vec<u8> = mss.iter().flat_map(|mss| [&[2, 4][..], &mss.to_be_bytes()].concat()).collect();
    let mut packet = Vec::new();
    builder.options_raw(&options).unwrap().write_to_vec(&mut packet, payload).unwrap();
    packet
}

fn handshake(lab: &mut Lab, guest: GuestId, ours: u16, theirs: u16) -> (u16, u16) {
    let a = lab.a;
    lab.send(a, &frame(ROUTER, A, 0x0800, &tcp(true, (A_V4, REMOTE), Some(ours), &[])));
    let (out, _) = lab.segment.poll_packet(guest).unwrap();
    let syn_ack = BytesMut::from(&tcp(false, (REMOTE, OWN), Some(theirs), &[])[..]);
    lab.segment.handle_packet(guest, syn_ack, OffloadHeader::default());
    let back = lab.frames(a).remove(0);
    let mss = |tcp: &[u8]| u16::from_be_bytes([tcp[22], tcp[23]]);
    (mss(&out[20..]), mss(&back[34..]))
}

#[test]
fn a_large_segment_leaves_whole_where_the_tunnel_takes_it() {
    let payload: Vec<u8> = (0..40_000_u32).map(|it| it as u8).collect();
    for offload in [true, false] {
        let (mut lab, guest) = with_uplink(65_000, offload);
        let a = lab.a;
        assert_eq!(handshake(&mut lab, guest, 64_960, 1400), (1460, 64_960));
        lab.send(a, &frame(ROUTER, A, 0x0800, &tcp(true, (A_V4, REMOTE), None, &payload)));
        let out: Vec<_> = std::iter::from_fn(|| lab.segment.poll_packet(guest)).collect();
        if !offload {
            assert_eq!((out.len(), out[0].0.len()), (29, 1440));
            assert!(out.iter().all(|(_, header)| *header == OffloadHeader::default()));
            assert_eq!(out.iter().flat_map(|(packet, _)| packet[40..].to_vec()).collect::<Vec<_>>(), payload);
            continue;
        }
        let [(packet, header)] = &out[..] else { panic!("{} packets", out.len()) };
        let segmentation = header.segmentation.unwrap();
        assert_eq!((segmentation.segment_size, segmentation.header_len), (1400, 40));
        assert_eq!(packet[..20], tcp(true, (OWN, REMOTE), None, &payload)[..20]);
        // What damages a segment must not be covered up by a new checksum.
        let mut broken = frame(ROUTER, A, 0x0800, &tcp(true, (A_V4, REMOTE), None, &payload));
        broken[1000] ^= 1;
        lab.refuses(a, &broken, FrameDrop::Malformed);
    }
}

#[test]
fn a_super_segment_arrives_as_the_guest_can_take_it() {
    let payload: Vec<u8> = (0..40_000_u32).map(|it| it as u8).collect();
    for (mtu, frames) in [(65_000, 1), (9000, 5), (1500, 28)] {
        let (mut lab, guest) = with_uplink(mtu, true);
        handshake(&mut lab, guest, mtu - 40, 1460);
        let mut packet = BytesMut::from(&tcp(false, (REMOTE, OWN), None, &payload)[..]);
        packet[36..38].fill(0xee);
        let header = OffloadHeader {
            checksum: webtun_wire::OffloadChecksum::Partial { start: 20, offset: 16 },
            segmentation: Some(webtun_wire::Segmentation {
                kind: webtun_wire::SegmentationKind::TcpV4,
                ecn: false,
                header_len: 40,
                segment_size: 1460,
            }),
        };
        lab.segment.handle_packet(guest, packet, header);
        let a = lab.a;
        let came = lab.frames(a);
        assert_eq!(came.len(), frames, "MTU {mtu}");
        assert_eq!(came.iter().flat_map(|it| it[54..].to_vec()).collect::<Vec<_>>(), payload);
        if frames == 1 {
            assert_eq!(came[0][14..], tcp(false, (REMOTE, A_V4), None, &payload));
        }
    }
}

#[test]
fn a_long_datagram_comes_in_fragments() {
    let (mut lab, guest) = with_uplink(1500, false);
    let packet = BytesMut::from(&udp(A, A, (REMOTE, OWN), (53, 4000), &[7; 4000])[14..]);
    lab.segment.handle_packet(guest, packet, OffloadHeader::default());
    let a = lab.a;
    let came = lab.frames(a);
    assert_eq!(came.iter().map(|it| it.len() - 34).collect::<Vec<_>>(), [1480, 1480, 1048]);
    assert!(came.iter().all(|it| it[30..34] == A_V4.octets()));
}

#[test]
fn fragments_and_unknown_protocols_pass() {
    let (mut lab, guest) = with_uplink(1500, false);
    let a = lab.a;
    let whole = udp(ROUTER, A, (A_V4, REMOTE), (1, 2), &[7; 1000]);
    let mut later = whole.clone();
    (later[20], later[21]) = (0, 100);
    let sum = u16::from_be_bytes([later[24], later[25]]).wrapping_sub(100);
    later[24..26].copy_from_slice(&sum.to_be_bytes());
    lab.send(a, &later);
    let (packet, _) = lab.segment.poll_packet(guest).unwrap();
    assert_eq!((&packet[12..16], &packet[20..]), (&OWN.octets()[..], &later[34..]), "the rest is data");
    let mut other = whole;
    other[23] = 132;
    lab.send(a, &other);
    let (packet, _) = lab.segment.poll_packet(guest).unwrap();
    assert_eq!(packet[20..], other[34..]);
}

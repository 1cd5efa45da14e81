//! What the switch lets through, and whom it believes.

#![cfg(feature = "bridge")]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod bridge_support;

use std::net::{Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use bridge_support::*;
use webtun_stack::bridge::{FrameDrop, MacAddress, Segment, SegmentConfig};

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
fn a_card_is_its_owners_however_long_it_is_silent() {
    let (mut lab, ..) = Lab::settled();
    let (a, b) = (lab.a, lab.b);
    for _ in 0..5 {
        lab.now += Duration::from_secs(31);
        lab.refuses(b, &arp(A, 1, (A, A_V4), ROUTER_V4), FrameDrop::ForeignMac);
        lab.refuses(b, &arp(B, 1, (B, A_V4), ROUTER_V4), FrameDrop::SpoofedGuest);
        lab.refuses(b, &udp(ROUTER, A, (A_V4, REMOTE), (1, 2), b""), FrameDrop::ForeignMac);
    }
    lab.send(a, &arp(A, 1, (A, A_V4), ROUTER_V4));
    assert_eq!(lab.frames(a).len(), 1, "and it has its network");
    lab.segment.remove_port(a);
    lab.send(b, &arp(A, 1, (A, A_V4), ROUTER_V4));
    assert_eq!(lab.frames(b).len(), 1, "until it is gone");
}

#[test]
fn a_card_moves_to_another_door_of_its_owner_where_it_does_not_answer_at_the_first() {
    let (mut lab, ..) = Lab::settled();
    let a = lab.a;
    let other = lab.segment.add_port(1, lab.now).unwrap();
    let hello = arp(A, 1, (A, A_V4), ROUTER_V4);
    lab.refuses(other, &hello, FrameDrop::ForeignMac);
    for _ in 0..3 {
        lab.now += Duration::from_millis(1100);
        lab.send(other, &hello);
        lab.send(other, &hello);
        let asked = lab.frames(a);
        assert_eq!((asked.len(), &asked[0][..6], &asked[0][38..42]), (1, &A.0[..], &A_V4.octets()[..]), "one question");
        lab.send(a, &udp(B, A, (A_V4, B_V4), (1, 2), b"here"));
        lab.now += Duration::from_millis(900);
        lab.send(other, &hello);
    }
    assert_eq!(lab.frames(other).len(), 0, "it is there");
    lab.now += Duration::from_millis(1100);
    lab.send(other, &hello);
    lab.now += Duration::from_secs(2);
    lab.send(other, &hello);
    assert_eq!(lab.frames(other).len(), 1, "it has moved");
    assert_eq!(lab.segment.stats().drops(FrameDrop::ForeignMac), 1 + 3 * 3 + 1);
}

#[test]
fn an_address_comes_along_to_another_card_of_its_owner() {
    let (mut lab, ..) = Lab::settled();
    let (a, b) = (lab.a, lab.b);
    let other = lab.segment.add_port(1, lab.now).unwrap();
    // A guest that comes back from a saved state has another card, and its old address.
    let restored = MacAddress([0, 0x22, 0x15, 9, 9, 9]);
    let hello = arp(restored, 1, (restored, A_V4), ROUTER_V4);
    lab.send(a, &hello);
    assert_eq!(lab.frames(a).len(), 1, "at once, at the same door");
    let id = lab.guest_of(restored);
    assert_eq!(lab.segment.guest(id).unwrap().v4, Some(A_V4));
    let again = MacAddress([0, 0x22, 0x15, 9, 9, 8]);
    let hello = arp(again, 1, (again, A_V4), ROUTER_V4);
    lab.now += Duration::from_secs(1);
    lab.send(other, &hello);
    assert_eq!((lab.frames(other).len(), lab.frames(a).len()), (0, 1), "the first is asked");
    lab.now += Duration::from_secs(2);
    lab.send(other, &hello);
    assert_eq!(lab.frames(other).len(), 1, "at another one, as the first does not answer");
    lab.segment.remove_port(other);
    let last = MacAddress([0, 0x22, 0x15, 9, 9, 7]);
    lab.send(b, &arp(last, 1, (last, A_V4), ROUTER_V4));
    assert_eq!(lab.frames(b).len(), 1, "and at anybody's, once it is gone");
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
fn ipv6_addresses_belong_to_the_card_in_them_and_to_whom_has_asked_for_them_first() {
    let (mut lab, ..) = Lab::settled();
    let (a, b) = (lab.a, lab.b);
    let below = |tail: u64| Ipv6Addr::from(u128::from(PREFIX) | u128::from(tail));
    // The modified EUI-64 of A's card, 00:22:15:00:00:0a.
    let (of_card, opaque) = (below(0x0222_15ff_fe00_000a), below(0x1234_5678_9abc_def0));
    let all = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);
    let claims = |mac, own: Ipv6Addr, target: Ipv6Addr| ndp(mac, (own, all), 136, [0x20, 0, 0, 0], &target.octets());
    lab.refuses(b, &claims(B, below(7), of_card), FrameDrop::SpoofedGuest);
    lab.refuses(b, &claims(B, of_card, below(7)), FrameDrop::SpoofedGuest);
    // Duplicate address detection (RFC 4862 section 5.4.2).
    lab.send(a, &ndp(A, (Ipv6Addr::UNSPECIFIED, all), 135, [0; 4], &opaque.octets()));
    assert_eq!(lab.frames(b).len(), 1, "the others hear of it");
    lab.refuses(b, &claims(B, below(7), opaque), FrameDrop::SpoofedGuest);
    lab.send(a, &claims(A, opaque, opaque));
    assert_eq!(lab.frames(b).len(), 1);
    lab.send(b, &ndp(B, (Ipv6Addr::UNSPECIFIED, all), 135, [0; 4], &opaque.octets()));
    lab.send(b, &ndp(B, (Ipv6Addr::UNSPECIFIED, all), 135, [0; 4], &of_card.octets()));
    assert_eq!(lab.frames(a).len(), 2, "whoever asks second asks the first");
    lab.refuses(b, &claims(B, below(7), opaque), FrameDrop::SpoofedGuest);
}

#[test]
fn owners_share_a_full_segment_evenly() {
    let mut lab = Lab::with(SegmentConfig { max_guests: 5, ..SegmentConfig::default() });
    let (a, b) = (lab.a, lab.b);
    let mut arrive = |port, owner, number| {
        let mac = MacAddress([2, 1, 1, 1, owner, number]);
        lab.now += Duration::from_millis(1);
        lab.send(port, &arp(mac, 1, (mac, NOWHERE), ROUTER_V4));
        let refused = lab.segment.stats().drops(FrameDrop::TooManyGuests);
        (lab.frames(port).len(), refused)
    };
    for number in 0..5 {
        assert_eq!(arrive(a, 1, number), (1, 0), "who is alone has all of it");
    }
    assert_eq!(arrive(a, 1, 5), (0, 1));
    assert_eq!(arrive(a, 1, 0), (1, 1), "heard of again");
    assert_eq!(arrive(b, 2, 0), (1, 1), "for which one of the first owner's has to go");
    assert_eq!(arrive(a, 1, 0), (1, 1), "not this one");
    assert_eq!(arrive(a, 1, 1), (0, 2), "but the one that was silent longest");
    assert_eq!(arrive(b, 2, 1), (1, 2));
    assert_eq!(arrive(b, 2, 2), (0, 3), "two and three are as even as can be");
    assert_eq!(arrive(a, 1, 2), (0, 4));
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
    let port = other.add_port(1, lab.now).unwrap();
    let a = lab.a;
    lab.send(a, &udp(B, A, (A_V4, B_V4), (1, 2), b"for the room"));
    assert_eq!((other.poll_frame(port), other.poll_port(), other.poll_event()), (None, None, None));
}

#[test]
fn a_host_is_on_the_segment_as_any_guest() {
    let (mut lab, _, b_guest) = Lab::settled();
    let (a, b) = (lab.a, lab.b);
    let host = lab.segment.add_host(1, lab.now).unwrap();
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

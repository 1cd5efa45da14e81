//! The addresses that guests are given, and what goes with them.

#![cfg(feature = "bridge")]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod bridge_support;

use std::net::{Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use bridge_support::*;
use webtun_stack::bridge::{Event, FrameDrop, MacAddress, SegmentConfig, Uplink};

#[test]
fn a_lease_says_everything() {
    let mut lab = Lab::with(SegmentConfig { mtu: 9000, ..SegmentConfig::default() });
    let a = lab.a;
    let (name, id) = ([&[12, 5][..], b"guest"].concat(), [61, 3, 0, 1, 2]);
    let (kind, offered, _) = ask(&mut lab, a, &dhcp(A, 1, NOWHERE, &[&name, &id]));
    assert_eq!((kind, offered), (2, A_V4));
    let (kind, given, options) = ask(&mut lab, a, &dhcp(A, 3, NOWHERE, &[&requested(A_V4), SERVER, &name, &id]));
    assert_eq!((kind, given), (5, A_V4));
    let expected: [(u8, &[u8]); 10] = [
        (1, &[255, 255, 255, 0]),
        (3, &[192, 168, 127, 1]),
        (6, &[192, 168, 127, 1]),
        (12, b"guest"),
        (26, &9000_u16.to_be_bytes()),
        (51, &3600_u32.to_be_bytes()),
        (54, &[192, 168, 127, 1]),
        (58, &1800_u32.to_be_bytes()),
        (59, &3150_u32.to_be_bytes()),
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
    lab.segment.remove_port(a);
    assert_eq!(lease(&mut lab, b, third), A_V4, "its card is gone, and no other address is left");
    assert_eq!(lease(&mut lab, b, B), B_V4);
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

//! The router of the segment: ARP, neighbour discovery, and what may leave.

#![cfg(feature = "bridge")]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod bridge_support;

use std::net::{Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use bridge_support::*;
use bytes::BytesMut;
use webtun_stack::bridge::{Event, FrameDrop, SegmentConfig, Uplink};
use webtun_wire::OffloadHeader;

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
    assert_eq!(lab.events(), [Event::GuestGone { guest: b_guest, mac: B, address: Some(B_V4.into()) }]);
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
fn a_pcp_request_names_the_sessions_address() {
    let (mut lab, guest) = with_uplink(1500, false);
    let inner = Ipv4Addr::new(100, 64, 0, 1);
    let uplink = Uplink { v4: Some(OWN), host_v4: Some(inner), ..Uplink::default() };
    lab.segment.set_uplink(guest, Some(uplink), lab.now);
    let request = |version: u8, client: Ipv4Addr| {
        [&[version, 1, 0, 0, 0, 0, 0, 60][..], &client.to_ipv6_mapped().octets(), &[7; 36]].concat()
    };
    // What the router is asked, and what leaves; the twin is made with the addresses behind the tunnel.
    for (sent, left) in [
        (request(2, A_V4), request(2, OWN)),
        (request(2, B_V4), request(2, B_V4)),
        (request(0, A_V4), request(0, A_V4)),
    ] {
        let a = lab.a;
        lab.send(a, &udp(ROUTER, A, (A_V4, ROUTER_V4), (4000, 5351), &sent));
        let (packet, _) = lab.segment.poll_packet(guest).unwrap();
        let twin = udp(ROUTER, A, (OWN, inner), (4000, 5351), &left);
        assert_eq!(packet[..], twin[14..]);
    }
    // To others it is any datagram.
    let a = lab.a;
    lab.send(a, &udp(ROUTER, A, (A_V4, REMOTE), (4000, 5351), &request(2, A_V4)));
    let (packet, _) = lab.segment.poll_packet(guest).unwrap();
    assert_eq!(packet[..], udp(ROUTER, A, (OWN, REMOTE), (4000, 5351), &request(2, A_V4))[14..]);
}

//! Packets that lie about themselves, from either side: each is dropped for its reason, and harms nobody.

use bytes::BytesMut;
use std::net::SocketAddr;
use std::time::Duration;
use webtun_gateway::dataplane::{DropReason, ExternalAddress, GatewayConfig, OwnAddresses, Peer};
use webtun_tests::direct::Direct;
use webtun_tests::packet::{IcmpError, Segment, fragment, icmp_error, tcp, udp, with_source};
use webtun_tests::rng::SimRng;

fn direct() -> Direct {
    let external = ["100.127.255.1", "fd77:6562:7475:ffff::1"]
        .map(|text| text.parse().unwrap())
        .map(|address| ExternalAddress { address, announced: address });
    let mut direct = Direct::new(GatewayConfig::new(external.to_vec()), [1; 32]);
    direct.open(&Peer::new("ada")).unwrap();
    direct.open(&Peer::new("bert")).unwrap();
    direct
}

fn remote(ipv6: bool) -> SocketAddr {
    if ipv6 { "[2600:1f00::1]:53".parse().unwrap() } else { "45.33.0.1:53".parse().unwrap() }
}

fn good(direct: &Direct, ipv6: bool) -> BytesMut {
    udp(direct.sessions[0].endpoint(ipv6, 4000), remote(ipv6), b"a question")
}

/// What the packet was dropped for; `None` where it left.
fn verdict(direct: &mut Direct, packet: BytesMut) -> Option<DropReason> {
    let before = direct.drops();
    direct.send_packets(0, &[packet]).expect("no packet ends a session");
    let after = direct.drops();
    if direct.egress.pop_front().is_some() {
        assert_eq!(before, after);
        return None;
    }
    after.into_iter().find(|entry| !before.contains(entry)).map(|(reason, _)| reason)
}

#[test]
fn every_truncation_is_dropped() {
    for ipv6 in [false, true] {
        let mut direct = direct();
        let packet = good(&direct, ipv6);
        for len in 0..packet.len() {
            let reason = verdict(&mut direct, BytesMut::from(&packet[..len])).expect("it does not leave");
            assert!(matches!(reason, DropReason::Truncated | DropReason::Version), "{len}: {reason:?}");
        }
        let mut longer = packet.clone();
        longer.extend_from_slice(b"tail");
        assert_eq!(verdict(&mut direct, longer), Some(DropReason::Truncated));
        assert_eq!(verdict(&mut direct, packet), None);
    }
}

#[test]
fn headers_that_lie() {
    let mut direct = direct();
    let packet = good(&direct, false);
    let mut change = |at: usize, value: u8, fix: bool| {
        let mut octets = packet.clone();
        octets[at] = value;
        let octets = if fix {
            with_source(octets.clone(), [octets[12], octets[13], octets[14], octets[15]].into())
        } else {
            octets
        };
        verdict(&mut direct, octets)
    };
    assert_eq!(change(0, 0x55, false), Some(DropReason::Version));
    assert_eq!(change(0, 0x44, false), Some(DropReason::Truncated));
    assert_eq!(change(10, 0xaa, false), Some(DropReason::Checksum));
    assert_eq!(change(9, 200, true), Some(DropReason::Protocol));
    assert_eq!(change(25, 3, true), Some(DropReason::Truncated), "a UDP length too small");
}

#[test]
fn spoofed_sources_are_dropped() {
    let mut direct = direct();
    for ipv6 in [false, true] {
        let other = direct.sessions[1].endpoint(ipv6, 0).ip();
        let inner = if ipv6 { "fd77:6562:7475::1" } else { "100.64.0.1" }.parse().unwrap();
        let outside = if ipv6 { "2600:1f00::99" } else { "8.8.8.8" }.parse().unwrap();
        let external = if ipv6 { "fd77:6562:7475:ffff::1" } else { "100.127.255.1" }.parse().unwrap();
        for source in [other, inner, outside, external] {
            let packet = udp(SocketAddr::new(source, 4000), remote(ipv6), b"?");
            assert_eq!(verdict(&mut direct, packet), Some(DropReason::SpoofedSource), "{source}");
        }
    }
}

#[test]
fn outsiders_cannot_claim_inner_addresses() {
    let mut direct = direct();
    let packet = good(&direct, false);
    assert_eq!(verdict(&mut direct, packet), None);
    direct.gateway.set_own_addresses(OwnAddresses {
        broadcasts: ["192.0.2.255".parse().unwrap()].into(),
        ..OwnAddresses::default()
    });
    for (source, reason) in [
        ("100.64.0.2:53", DropReason::SpoofedSource),
        ("100.127.255.1:53", DropReason::Land),
        ("127.0.0.1:53", DropReason::Martian),
        ("224.0.0.1:53", DropReason::Martian),
        ("0.0.0.0:53", DropReason::Martian),
        ("255.255.255.255:53", DropReason::Martian),
        ("192.0.2.255:53", DropReason::Martian),
        ("[fd77:6562:7475::2]:53", DropReason::SpoofedSource),
        ("[::1]:53", DropReason::Martian),
        ("[fe80::1]:53", DropReason::Martian),
        ("[ff02::1]:53", DropReason::Martian),
        ("[::ffff:8.8.8.8]:53", DropReason::Martian),
        ("[2002:7f00:1::]:53", DropReason::Martian),
    ] {
        let source: SocketAddr = source.parse().unwrap();
        let to = if source.is_ipv6() { "[fd77:6562:7475:ffff::1]:20000" } else { "100.127.255.1:20000" };
        let packet = udp(source, to.parse().unwrap(), b"!");
        let before = direct.gateway.stats().drops(reason);
        direct.receive(packet);
        assert_eq!(direct.gateway.stats().drops(reason), before + 1, "{source}");
    }
    let elsewhere = udp(remote(false), "100.64.0.2:4000".parse().unwrap(), b"!");
    direct.receive(elsewhere);
    assert_eq!(direct.gateway.stats().drops(DropReason::NotExternal), 1);
    assert!(direct.sessions.iter().all(|session| session.packets.is_empty()));
}

#[test]
fn overlapping_fragments_are_dropped() {
    let mut direct = direct();
    let whole = udp(direct.sessions[0].endpoint(false, 4000), remote(false), &[7; 3000]);
    let pieces = fragment(whole.clone(), 1500, 5);
    let other = fragment(whole, 1200, 5);
    direct.send_packets(0, &[pieces[0].clone(), other[1].clone()]).unwrap();
    assert!(direct.gateway.stats().drops(DropReason::FragmentOverlap) > 0, "{:?}", direct.drops());
    direct.send_packets(0, &pieces[1..]).unwrap();
    assert!(direct.egress.is_empty(), "nothing is made of the rest");
}

#[test]
fn fragments_that_never_become_whole_cost_bounded_memory_and_time() {
    let mut direct = direct();
    for id in 0..5000 {
        let whole = udp(direct.sessions[0].endpoint(false, 4000), remote(false), &[7; 3000]);
        direct.send_packets(0, &fragment(whole, 1500, id)[..1]).unwrap();
    }
    let lost = |direct: &Direct| {
        let stats = direct.gateway.stats();
        stats.drops(DropReason::FragmentOverflow) + stats.drops(DropReason::FragmentTimeout)
    };
    assert!(lost(&direct) > 4900, "all but a few were given up at once: {:?}", direct.drops());
    direct.advance(Duration::from_secs(120));
    assert_eq!(lost(&direct), 5000, "the rest in time");
    let packet = good(&direct, false);
    assert_eq!(verdict(&mut direct, packet), None);
}

#[test]
fn errors_about_nothing_are_dropped() {
    let mut direct = direct();
    let stranger = tcp("100.127.255.1:20000".parse().unwrap(), remote(false), Segment::flags(Segment::SYN), &[]);
    for error in [IcmpError::HostUnreachable, IcmpError::TooBig(68), IcmpError::TimeExceeded] {
        direct.receive(icmp_error("45.33.0.9".parse().unwrap(), error, &stranger));
    }
    assert_eq!(direct.gateway.stats().drops(DropReason::NoMapping), 3);
    // Quoting too little is no quotation.
    direct.receive(icmp_error("45.33.0.9".parse().unwrap(), IcmpError::HostUnreachable, &stranger[..20]));
    assert_eq!(direct.gateway.stats().total_drops(), 4);
}

#[test]
fn rubbish_from_both_sides() {
    let mut direct = direct();
    let mut rng = SimRng::new(2, "rubbish");
    let seeds = [good(&direct, false), good(&direct, true)];
    for round in 0..20_000 {
        let mut packet = seeds[round % 2].clone();
        for _ in 0..=rng.below(4) {
            let at = rng.below(packet.len() as u64) as usize;
            packet[at] = rng.below(256) as u8;
        }
        if rng.chance(0.2) {
            packet.truncate(rng.below(packet.len() as u64 + 1) as usize);
        }
        if rng.chance(0.5) {
            direct.send_packets(0, &[packet]).unwrap();
        } else {
            direct.receive(packet);
        }
        direct.egress.clear();
        direct.local.clear();
        direct.sessions[0].packets.clear();
    }
    for session in 0..2 {
        let packet = udp(direct.sessions[session].endpoint(false, 4001), remote(false), b"?");
        direct.send_packets(session, &[packet]).unwrap();
        assert_eq!(direct.egress.drain(..).count(), 1, "session {session} goes on");
    }
}

//! Segmentation offload at the dataplane: a packet that stands for many does what the many would do, whichever way it goes
//! and whoever cuts it.

use bytes::BytesMut;
use proptest::prelude::*;
use std::net::SocketAddr;
use std::time::Duration;
use webtun_gateway::dataplane::{
    Action, DropReason, EgressOffload, ExternalAddress, Filtering, GatewayConfig, NatConfig, Peer, Rule,
};
use webtun_tests::direct::{Direct, OFFLOAD_CONTEXT};
use webtun_tests::packet::{Offloaded, Segment, Transport, View, tcp, tcp_with_mss};
use webtun_wire::{Capsule, CloseCode, OffloadHeader};

const HEAD: Segment = Segment { flags: 0x99, sequence: u32::MAX - 1000, acknowledgment: 77 };
const MTU: usize = 1500;

fn config(egress_offload: EgressOffload) -> GatewayConfig {
    let external = ["45.34.0.1", "2600:1f00:0:1::1"].map(|it| it.parse().unwrap());
    let external = external.map(|address| ExternalAddress { address, announced: address });
    let rules = vec![Rule { destination: Some("100.64.0.0/16".parse().unwrap()), ..Rule::new(Action::Allow) }];
    let nat = NatConfig { filtering: Filtering::EndpointIndependent, ..NatConfig::default() };
    GatewayConfig { egress_offload, rules, nat, ..GatewayConfig::new(external.to_vec()) }
}

/// Two sessions of one network; the first has the offload context.
fn direct(egress_offload: EgressOffload) -> Direct {
    let mut direct = Direct::new(config(egress_offload), [5; 32]);
    for name in ["a", "b"] {
        direct.open(&Peer { network: Some("game".into()), ..Peer::new(name) }).unwrap();
    }
    direct.open_offload(0);
    direct
}

fn payload(len: usize) -> Vec<u8> {
    (0..len).map(|at| (at * 7 + at / 251) as u8).collect()
}

/// Where packets may go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    V4,
    V6,
    Nat64,
    Neighbour,
    Hairpin,
    InnerHost,
}

const WAYS: [Way; 6] = [Way::V4, Way::V6, Way::Nat64, Way::Neighbour, Way::Hairpin, Way::InnerHost];

/// Both ends as the first session knows them. For a hairpin the other session makes a mapping first.
fn ends(direct: &mut Direct, way: Way) -> (SocketAddr, SocketAddr) {
    let remote = match way {
        Way::V4 => "45.33.0.1:80",
        Way::V6 => "[2600:1f00::1]:80",
        Way::Nat64 => "[64:ff9b::45.33.0.1]:80",
        Way::InnerHost => "100.64.0.1:53",
        Way::Neighbour => return (direct.sessions[0].endpoint(false, 4000), direct.sessions[1].endpoint(false, 80)),
        Way::Hairpin => {
            let inner = direct.sessions[1].endpoint(false, 9000);
            let opening = tcp(inner, SocketAddr::new("45.33.0.1".parse().unwrap(), 80), HEAD, b"");
            direct.send_packets(1, &[opening]).unwrap();
            let left = direct.egress.pop_front().or_else(|| direct.egress_offload.pop_front().map(|it| it.packet));
            let mapped = View::parse(&left.unwrap()).unwrap().source_endpoint();
            return (direct.sessions[0].endpoint(false, 4000), mapped);
        }
    };
    let remote: SocketAddr = remote.parse().unwrap();
    (direct.sessions[0].endpoint(remote.is_ipv6(), 4000), remote)
}

/// Everything that has left the gateway, with what was left to be done done by hand.
fn left(direct: &mut Direct) -> Vec<Vec<u8>> {
    let cut: Vec<_> = direct.egress_offload.drain(..).flat_map(|it| finished(&it)).collect();
    let plain = direct.egress.drain(..).chain(direct.local.drain(..));
    let delivered: Vec<_> = direct.sessions[1].packets.drain(..).collect();
    plain.chain(delivered).chain(cut).map(|packet| packet.to_vec()).collect()
}

/// What the kernel would make of a packet at the egress, in the slow way: it is read, and built anew.
fn finished(it: &Offloaded) -> Vec<BytesMut> {
    let whole = recomputed(&it.packet);
    let view = View::parse(&whole).unwrap();
    let (from, to) = (view.source_endpoint(), view.destination_endpoint());
    let size = it.header.segmentation.map_or(u16::MAX, |segmentation| segmentation.segment_size);
    let built = match &view.transport {
        Transport::Tcp { payload, .. } => {
            let at = whole.len() - payload.len() - 20;
            let word = |at: usize| u32::from_be_bytes(whole[at..at + 4].try_into().unwrap());
            let head = Segment { flags: whole[at + 13], sequence: word(at + 4), acknowledgment: word(at + 8) };
            Offloaded::tcp_segments(from, to, head, size, payload)
        }
        Transport::Udp { payload, .. } => Offloaded::udp_segments(from, to, size, payload),
        other => panic!("{other:?} cannot be cut"),
    };
    let is_ipv4 = whole[0] >> 4 == 4;
    let number = u16::from_be_bytes([whole[4], whole[5]]);
    let with_ip = built.into_iter().enumerate().map(|(index, mut packet)| {
        // The header as it is, with its own length and number.
        let (head, len) = if is_ipv4 { (20, 2) } else { (40, 4) };
        let own_len = [packet[len], packet[len + 1]];
        packet[..head].copy_from_slice(&whole[..head]);
        packet[len..len + 2].copy_from_slice(&own_len);
        if is_ipv4 {
            packet[4..6].copy_from_slice(&number.wrapping_add(index as u16).to_be_bytes());
        }
        webtun_tests::packet::with_hop_limit(packet, whole[if is_ipv4 { 8 } else { 7 }])
    });
    with_ip.collect()
}

/// The same packet with a correct transport checksum, whatever was there.
fn recomputed(packet: &[u8]) -> BytesMut {
    let mut packet = BytesMut::from(packet);
    let (start, protocol) = if packet[0] >> 4 == 4 { (20, packet[9]) } else { (40, packet[6]) };
    let at = start + if protocol == 6 { 16 } else { 6 };
    packet[at..at + 2].fill(0);
    let sum = missing(&packet, start, protocol);
    packet[at..at + 2].copy_from_slice(&sum.to_be_bytes());
    packet
}

/// The checksum of a segment in whose field zero stands.
fn missing(packet: &[u8], start: usize, protocol: u8) -> u16 {
    let addresses = if start == 20 { &packet[12..20] } else { &packet[8..40] };
    let len = ((packet.len() - start) as u32).to_be_bytes();
    let all = [addresses, &len, &[0, 0, 0, protocol], &packet[start..]].concat();
    let mut sum: u64 = all.chunks(2).map(|pair| u64::from(pair[0]) << 8 | u64::from(*pair.get(1).unwrap_or(&0))).sum();
    while sum > 0xFFFF {
        sum = (sum & 0xFFFF) + (sum >> 16);
    }
    if sum == 0xFFFF { 0xFFFF } else { !(sum as u16) }
}

/// Sends the same once in one and once in many, and compares what leaves.
fn compare(way: Way, is_udp: bool, size: u16, len: usize, device: EgressOffload) {
    let data = payload(len);
    let mut one = direct(device);
    let (from, to) = ends(&mut one, way);
    let packet =
        if is_udp { Offloaded::udp(from, to, size, &data) } else { Offloaded::tcp(from, to, HEAD, size, &data) };
    one.send_offloaded(0, &[packet]).unwrap();
    let mut many = direct(EgressOffload::None);
    assert_eq!(ends(&mut many, way), (from, to));
    let segments = if is_udp {
        Offloaded::udp_segments(from, to, size, &data)
    } else {
        Offloaded::tcp_segments(from, to, HEAD, size, &data)
    };
    many.send_packets(0, &segments).unwrap();
    let (in_one, in_many) = (left(&mut one), left(&mut many));
    if way == Way::InnerHost && !is_udp {
        let view = View::parse(&in_one[0]).unwrap();
        let Transport::Tcp { payload, .. } = view.transport else { panic!("it was TCP") };
        assert_eq!((payload, in_one.len()), (&data[..], 1), "a host takes it whole");
        return;
    }
    assert_eq!(in_one.len(), in_many.len(), "{way:?}");
    for (one, many) in in_one.iter().zip(&in_many) {
        View::parse(one).unwrap();
        let (one, many) = (comparable(way, one), comparable(way, many));
        assert_eq!(one, many, "{way:?} {is_udp} {size} {len} {device:?}");
    }
    assert_eq!(one.drops(), many.drops());
}

/// What NAT64 makes of segments of one length may not be cut, or has its own number; that is decided for all of them.
fn comparable(way: Way, packet: &[u8]) -> Vec<u8> {
    let mut packet = packet.to_vec();
    if way == Way::Nat64 {
        packet[4..8].fill(0);
        packet[10..12].fill(0);
    }
    packet
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn one_packet_of_many_segments_is_the_many(
        way in prop::sample::select(&WAYS[..]),
        is_udp in any::<bool>(),
        size in prop_oneof![1..100u16, 500..1440u16],
        len in 1..20_000usize,
        device in prop::sample::select(vec![EgressOffload::None, EgressOffload::Tcp, EgressOffload::All]),
    ) {
        // As many packets as one message holds.
        compare(way, is_udp && way != Way::Hairpin, size, len.min(usize::from(size) * 400), device);
    }
}

#[test]
fn segments_are_made_small_enough_for_the_path_and_datagrams_are_not_changed() {
    for device in [EgressOffload::None, EgressOffload::All] {
        let mut direct = direct(device);
        let (from, to) = ends(&mut direct, Way::V4);
        let data = payload(60_000);
        direct.send_offloaded(0, &[Offloaded::tcp(from, to, HEAD, 9000, &data)]).unwrap();
        let sent = left(&mut direct);
        assert!(sent.iter().all(|packet| packet.len() <= MTU) && sent.len() == 60_000_usize.div_ceil(MTU - 40));
        // A datagram that may be cut is fragmented, as if it had come alone.
        direct.send_offloaded(0, &[Offloaded::udp(from, to, 9000, &data[..18_000])]).unwrap();
        let sent = left(&mut direct);
        assert!(sent.iter().all(|packet| packet.len() <= MTU) && sent.len() == 2 * 9008_usize.div_ceil(1480));
        // One over IPv6 may not.
        let (from, to) = ends(&mut direct, Way::V6);
        direct.send_offloaded(0, &[Offloaded::udp(from, to, 9000, &data[..18_000])]).unwrap();
        assert_eq!((left(&mut direct).len(), direct.gateway.stats().drops(DropReason::TooBig)), (0, 1));
        let error = direct.sessions[0].packets.pop_front().expect("the client is told");
        assert!(matches!(View::parse(&error).unwrap().transport, Transport::Icmp { .. }));
    }
}

#[test]
fn the_device_gets_what_it_takes_over_and_nothing_else() {
    for (device, tcp, udp) in [(EgressOffload::None, 0, 0), (EgressOffload::Tcp, 1, 0), (EgressOffload::All, 1, 1)] {
        let mut direct = direct(device);
        let (from, to) = ends(&mut direct, Way::V4);
        direct.send_offloaded(0, &[Offloaded::tcp(from, to, HEAD, 1000, &payload(5000))]).unwrap();
        assert_eq!((direct.egress_offload.len(), direct.egress.len()), (tcp, if tcp == 1 { 0 } else { 5 }));
        left(&mut direct);
        direct.send_offloaded(0, &[Offloaded::udp(from, to, 1000, &payload(5000))]).unwrap();
        assert_eq!((direct.egress_offload.len(), direct.egress.len()), (udp, if udp == 1 { 0 } else { 5 }));
    }
}

/// The session's endpoint as the outside sees it, after it has sent something.
fn opened(direct: &mut Direct, index: usize, ipv6: bool) -> (SocketAddr, SocketAddr) {
    let remote: SocketAddr = if ipv6 { "[2600:1f00::1]:80" } else { "45.33.0.1:80" }.parse().unwrap();
    let from = direct.sessions[index].endpoint(ipv6, 4000);
    direct.send_packets(index, &[tcp(from, remote, Segment::flags(Segment::ACK), b"")]).unwrap();
    let sent = left(direct);
    (remote, View::parse(&sent[0]).unwrap().source_endpoint())
}

#[test]
fn a_client_with_offload_gets_one_and_the_other_many() {
    for ipv6 in [false, true] {
        for index in [0, 1] {
            let mut direct = direct(EgressOffload::All);
            let (remote, external) = opened(&mut direct, index, ipv6);
            let data = payload(40_000);
            let inner = direct.sessions[index].endpoint(ipv6, 4000);
            direct.receive_offloaded(Offloaded::tcp(remote, external, HEAD, 1400, &data));
            let session = &mut direct.sessions[index];
            if index == 0 {
                assert!(session.packets.is_empty());
                let it = session.offloaded.pop_front().expect("one packet");
                assert_eq!(it.header.segmentation.map(|it| it.segment_size), Some(1400));
                let cut = finished(&it);
                assert_eq!(cut.len(), 29);
                assert_eq!(View::parse(&cut[28]).unwrap().destination_endpoint(), inner);
            } else {
                let expected = Offloaded::tcp_segments(remote, inner, HEAD, 1400, &data);
                assert_eq!((session.packets.len(), session.offloaded.len()), (expected.len(), 0));
                for (number, (came, wanted)) in session.packets.iter().zip(expected).enumerate() {
                    let view = View::parse(came).unwrap();
                    assert_eq!(view.destination_endpoint(), inner, "{number}");
                    let from = if ipv6 { 40 } else { 20 };
                    assert_eq!(came[from..], wanted[from..], "{number}");
                }
            }
        }
    }
}

#[test]
fn a_checksum_that_is_not_made_is_made_for_a_client_without_offload() {
    for index in [0, 1] {
        let mut direct = direct(EgressOffload::All);
        let (remote, external) = opened(&mut direct, index, false);
        direct.receive_offloaded(Offloaded::tcp(remote, external, HEAD, 1400, b"abc").without_segments());
        let session = &mut direct.sessions[index];
        assert_eq!((session.packets.len(), session.offloaded.len()), if index == 0 { (0, 1) } else { (1, 0) });
        assert!(session.packets.iter().all(|packet| View::parse(packet).is_ok()));
    }
}

#[test]
fn contexts_survive_a_cut_and_end_when_they_are_closed() {
    let mut direct = direct(EgressOffload::All);
    let (remote, external) = opened(&mut direct, 0, false);
    direct.disconnect(0);
    let big = || Offloaded::tcp(remote, external, HEAD, 1400, &payload(10_000));
    direct.receive_offloaded(big());
    direct.resume(0).unwrap();
    assert_eq!(direct.sessions[0].offloaded.len(), 1, "it waited, and the context is as it was");
    direct.sessions[0].offloaded.clear();
    // What waits when the client changes its mind comes in segments.
    direct.disconnect(0);
    direct.receive_offloaded(big());
    let close = webtun_tests::direct::message(&[Capsule::ContextClose { context: OFFLOAD_CONTEXT }]);
    direct.send_octets(0, &close).unwrap();
    direct.resume(0).unwrap();
    assert_eq!((direct.sessions[0].offloaded.len(), direct.sessions[0].packets.len()), (0, 8));
    let (from, to) = ends(&mut direct, Way::V4);
    direct.send_offloaded(0, &[Offloaded::tcp(from, to, HEAD, 1400, b"late")]).unwrap();
    assert_eq!(direct.gateway.stats().drops(DropReason::UnknownContext), 1);
    direct.open_offload(0);
    direct.receive_offloaded(big());
    assert_eq!(direct.sessions[0].offloaded.len(), 1);
}

#[test]
fn another_kind_for_an_open_context_is_an_error() {
    let mut direct = direct(EgressOffload::All);
    let other = Capsule::ContextAssign { context: OFFLOAD_CONTEXT, kind: 9 };
    let error = direct.send_capsules(0, &[other]).expect_err("it is open as OFFLOAD");
    assert_eq!(error.code(), CloseCode::Protocol);
}

#[test]
fn offers_are_declined_where_the_operator_wants_none() {
    let mut direct = Direct::new(GatewayConfig { offload: false, ..config(EgressOffload::None) }, [5; 32]);
    direct.open(&Peer::new("a")).unwrap();
    direct.send_capsules(0, &[Capsule::ContextAssign { context: 4, kind: 1 }]).unwrap();
    assert_eq!((&direct.sessions[0].contexts[..], &direct.sessions[0].closed_contexts[..]), (&[][..], &[4][..]));
}

#[test]
fn every_refusal_has_its_reason_and_the_session_goes_on() {
    let file =
        std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../wire/tests/vectors/offload.json")).unwrap();
    let file: serde_json::Value = serde_json::from_str(&file).unwrap();
    let octets = |hex: &str| -> Vec<u8> {
        (0..hex.len() / 2).map(|at| u8::from_str_radix(&hex[2 * at..2 * at + 2], 16).unwrap()).collect()
    };
    for vector in file["refused"].as_array().unwrap() {
        let reason = match vector["error"].as_str().unwrap() {
            "short" => DropReason::Truncated,
            "flags" | "not_zero" => DropReason::OffloadFlags,
            "gso_type" | "no_checksum" | "segment_size" => DropReason::OffloadSegments,
            "header_length" => DropReason::OffloadHeaderLength,
            "checksum_start" | "checksum_offset" => DropReason::OffloadChecksum,
            other => panic!("{other}"),
        };
        let mut direct = direct(EgressOffload::All);
        let payload = octets(vector["payload"].as_str().unwrap());
        let datagram = Capsule::Datagram { context: OFFLOAD_CONTEXT, payload: &payload };
        direct.send_capsules(0, &[datagram]).expect("no packet ends a session");
        assert_eq!(direct.drops(), [(reason, 1)], "{}", vector["name"]);
        let (from, to) = ends(&mut direct, Way::V4);
        direct.send_offloaded(0, &[Offloaded::tcp(from, to, HEAD, 1400, b"good")]).unwrap();
        assert_eq!(left(&mut direct).len(), 1);
    }
}

#[test]
fn tiny_segments_are_charged_one_by_one() {
    let mut direct = direct(EgressOffload::All);
    let (from, to) = ends(&mut direct, Way::V4);
    let rate = direct.sessions[0].peer.limits.each.uplink_packets;
    let mut sent = 0;
    while direct.gateway.reads_again_at(direct.sessions[0].id, direct.now).is_none() {
        direct.send_offloaded(0, &[Offloaded::tcp(from, to, HEAD, 1, &payload(30_000))]).unwrap();
        sent += 1;
        assert!(sent < 100, "{rate:?}");
    }
    direct.advance(Duration::from_secs(30));
    let mut sent = 0;
    while direct.gateway.reads_again_at(direct.sessions[0].id, direct.now).is_none() && sent < 1000 {
        direct.send_offloaded(0, &[Offloaded::tcp(from, to, HEAD, 1400, &payload(60_000))]).unwrap();
        left(&mut direct);
        sent += 1;
    }
    assert_eq!(sent, 1000, "segments of the usual size cost an eighth");
}

/// Segments that come one by one, as from a device without offload.
#[test]
fn segments_that_wait_together_become_one_packet_for_whom_it_is_good() {
    for (session, is_one) in [(0, true), (1, false)] {
        let mut direct = direct(EgressOffload::None);
        let remote: SocketAddr = "45.33.0.1:80".parse().unwrap();
        let inner = direct.sessions[session].endpoint(false, 4000);
        direct.send_packets(session, &[tcp(inner, remote, HEAD, b"")]).unwrap();
        let mapped = View::parse(&direct.egress.pop_front().unwrap()).unwrap().source_endpoint();
        let data = payload(14_000);
        let now = direct.now;
        for packet in Offloaded::tcp_segments(remote, mapped, Segment { flags: 0x18, ..HEAD }, 1400, &data) {
            direct.gateway.process_downlink(packet, &OffloadHeader::default(), now);
        }
        direct.drain();
        let client = &direct.sessions[session];
        assert_eq!((client.offloaded.len(), client.packets.len()), if is_one { (1, 0) } else { (0, 10) });
        let received: Vec<_> = match client.offloaded.front() {
            Some(it) => finished(it),
            None => client.packets.iter().cloned().collect(),
        };
        let expected = Offloaded::tcp_segments(remote, inner, Segment { flags: 0x18, ..HEAD }, 1400, &data);
        let expected = expected.into_iter().map(|packet| webtun_tests::packet::with_hop_limit(packet, 63));
        assert_eq!(received, expected.collect::<Vec<_>>());
    }
}

#[test]
fn the_mss_of_a_syn_without_checksum_is_clamped_too() {
    let mut direct = direct(EgressOffload::None);
    let (from, to) = ends(&mut direct, Way::V4);
    let syn = tcp_with_mss(from, to, Segment::flags(Segment::SYN), 65_000);
    let checksum = webtun_wire::OffloadChecksum::Partial { start: 20, offset: 16 };
    let header = OffloadHeader { checksum, segmentation: None };
    direct.send_offloaded(0, &[Offloaded { header, packet: syn }]).unwrap();
    let sent = left(&mut direct);
    assert_eq!(sent[0][42..44], 1460u16.to_be_bytes());
    View::parse(&sent[0]).unwrap();
}

#![expect(clippy::unwrap_used, reason = "in a test")]
//! Segmentation offload: with a gateway that takes it, that does not, and that changes its mind; and what a hostile one
//! sends in such a context.

mod common;

use std::net::IpAddr;
use std::time::Duration;

use common::tunnel::{TunnelWorld, encode};
use common::{A4, A6, B4, B6, pattern};
use etherparse::PacketBuilder;
use proptest::prelude::*;
use webtun_stack::{
    Host, HostConfig, Instant, ListenOptions, Received, SocketId, StackConfig, Status, TcpOptions, UdpOptions,
};
use webtun_wire::{Capsule, OFFLOAD_HEADER_LEN, OffloadChecksum, OffloadHeader, Segmentation, SegmentationKind};

const SECOND: Duration = Duration::from_secs(1);
const LEN: usize = 3_000_000;

fn world(offload: Option<bool>) -> TunnelWorld {
    let mut world = TunnelWorld::new();
    world.gateway.offload = offload;
    connect(&mut world);
    world
}

fn connect(world: &mut TunnelWorld) {
    world.run_until(5 * SECOND, |world| matches!(world.stack.status(), Status::Connected { .. }));
}

fn open(world: &mut TunnelWorld, remote: IpAddr, port: u16) -> (SocketId, SocketId) {
    let local = ([0u16; 8], port).into();
    let listener = world.gateway.host.tcp_listen(local, ListenOptions::default(), world.now).unwrap();
    let client = world.stack.tcp_connect((remote, port).into(), TcpOptions::default(), world.now).unwrap();
    let mut server = None;
    world.run_until(30 * SECOND, |world| {
        server = server.or_else(|| world.gateway.host.tcp_accept(listener));
        server.is_some() && world.stack.tcp_writable(client) > 0
    });
    world.gateway.host.close(listener, world.now);
    (client, server.unwrap())
}

/// Sends from the stack until the other end has everything; `meanwhile` looks on at every step.
fn upload(world: &mut TunnelWorld, ends: (SocketId, SocketId), mut meanwhile: impl FnMut(&mut TunnelWorld, usize)) {
    let data = pattern(LEN);
    let (mut sent, mut received) = (0, Vec::new());
    world.run_until(120 * SECOND, |world| {
        sent += world.stack.tcp_send(ends.0, &data[sent..], world.now).unwrap();
        received.extend(world.read_remote(ends.1));
        meanwhile(world, received.len());
        received.len() >= LEN
    });
    assert!(received == data);
}

fn download(world: &mut TunnelWorld, ends: (SocketId, SocketId)) {
    let data = pattern(LEN);
    let (mut sent, mut received) = (0, Vec::new());
    world.run_until(120 * SECOND, |world| {
        sent += world.gateway.host.tcp_send(ends.1, &data[sent..], world.now).unwrap();
        received.extend(world.read(ends.0));
        received.len() >= LEN
    });
    assert!(received == data);
}

fn cuts(world: &TunnelWorld) -> Vec<Segmentation> {
    world.gateway.offloaded.iter().filter_map(|header| header.segmentation).collect()
}

#[test]
fn both_families_leave_and_arrive_in_long_packets() {
    for (remote, port, kind) in [(B4, 80, SegmentationKind::TcpV4), (B6, 81, SegmentationKind::TcpV6)] {
        let mut world = world(Some(true));
        world.gateway.host.set_mtu(1500, world.now);
        let ends = open(&mut world, remote, port);
        upload(&mut world, ends, |_, _| {});
        let cuts = cuts(&world);
        let (header_len, segment_size) = if remote.is_ipv4() { (40, 1460) } else { (60, 1440) };
        assert!(cuts.iter().all(|it| *it == Segmentation { kind, ecn: false, header_len, segment_size }), "{cuts:?}");
        assert!(world.gateway.offloaded.len() < 300, "{} packets", world.gateway.offloaded.len());
        assert!(world.gateway.plain.iter().all(|len| *len <= 80), "data in context 0");
        let before = world.stack.host_stats();
        download(&mut world, ends);
        let after = world.stack.host_stats();
        assert!(after.packets_received - before.packets_received < 150, "{after:?}");
        assert_eq!(after.packets_dropped, 0);
    }
}

#[test]
fn a_gateway_that_refuses_or_does_not_know_it_gets_plain_packets() {
    for offload in [Some(false), None] {
        let mut world = world(offload);
        world.gateway.host.set_mtu(1500, world.now);
        assert_eq!(world.gateway.offered, Some(2));
        for (remote, port) in [(B4, 80), (B6, 81)] {
            let ends = open(&mut world, remote, port);
            upload(&mut world, ends, |_, _| {});
            download(&mut world, ends);
        }
        assert!(world.gateway.plain.iter().all(|len| *len <= 1500));
        assert!(!world.gateway.seen.iter().any(|capsule| capsule.starts_with("Datagram")), "{:?}", world.gateway.seen);
        assert_eq!(world.stack.stats().unknown_contexts, 0);
    }
}

#[test]
fn a_stack_that_shall_not_offers_nothing() {
    let mut world = TunnelWorld::with(StackConfig { offload: false, ..StackConfig::new([5; 32]) });
    world.gateway.offload = Some(true);
    connect(&mut world);
    assert_eq!(world.gateway.offered, None);
    let datagram = Capsule::Datagram { context: 2, payload: &[0; 40] };
    // An acknowledgement of what was not offered changes nothing.
    world.gateway.bare.push_back([encode(&Capsule::ContextAck { context: 2 }), encode(&datagram)].concat());
    world.run(SECOND);
    assert_eq!((world.stack.stats().unknown_contexts, world.stack.host_stats().packets_received), (1, 0));
}

#[test]
fn the_context_outlives_a_cut() {
    let mut world = world(Some(true));
    let ends = open(&mut world, B4, 80);
    let mut cut = false;
    upload(&mut world, ends, |world, received| {
        if received > LEN / 2 && world.under_way() > 0 && !std::mem::replace(&mut cut, true) {
            world.cut();
        }
    });
    assert!(cut && world.stack.stats().replayed > 0);
    assert!(world.gateway.seen.contains(&"Hello resume None".to_owned()));
}

#[test]
fn a_connection_goes_on_in_plain_packets_where_the_gateway_ends_the_context() {
    let mut world = world(Some(true));
    world.gateway.host.set_mtu(1500, world.now);
    let ends = open(&mut world, B4, 80);
    let mut closed = false;
    upload(&mut world, ends, |world, received| {
        if received > LEN / 16 && !std::mem::replace(&mut closed, true) {
            world.gateway.offload = Some(false);
            world.gateway.bare.push_back(encode(&Capsule::ContextClose { context: 2 }));
            world.gateway.plain.clear();
        }
    });
    assert!(closed);
    assert!(world.gateway.plain.len() > LEN / 2 / 1500, "{}", world.gateway.plain.len());
    // It is not offered again in this session, but in the next one.
    world.gateway.offered = None;
    world.cut();
    connect(&mut world);
    world.run(SECOND);
    assert_eq!(world.gateway.offered, None);
    world.gateway.session = None;
    world.gateway.offload = Some(true);
    world.cut();
    world.run(5 * SECOND);
    assert_eq!(world.gateway.offered, Some(2));
}

#[test]
fn the_next_gateway_may_do_without() {
    let mut world = world(Some(true));
    let ends = open(&mut world, B4, 80);
    upload(&mut world, ends, |_, _| {});
    (world.gateway.session, world.gateway.offload) = (None, None);
    world.cut();
    world.run(5 * SECOND);
    world.gateway.offloaded.clear();
    let ends = open(&mut world, B4, 81);
    upload(&mut world, ends, |_, _| {});
    assert!(world.gateway.offloaded.is_empty());
}

#[test]
fn short_messages_do_without() {
    let mut world = TunnelWorld::new();
    world.gateway.offload = Some(true);
    world.gateway.limits.message_len = 20_000;
    world.gateway.limits.mtu = 9000;
    world.gateway.host.set_mtu(9000, world.now);
    connect(&mut world);
    let ends = open(&mut world, B4, 80);
    upload(&mut world, ends, |_, _| {});
    assert!(world.gateway.offloaded.is_empty());
    assert_eq!(world.stack.stats().oversized, 0);
}

const NOW: Instant = Instant::from_millis(1000);

fn host() -> Host {
    let mut host = Host::new(HostConfig::new([3; 32]), NOW);
    host.set_addresses(&[(A4, 32), (A6, 128)], NOW);
    host
}

fn offloaded(header: OffloadHeader, packet: &[u8]) -> Vec<u8> {
    [&header.encode()[..], packet].concat()
}

fn udp(is_ipv4: bool, payload: &[u8]) -> Vec<u8> {
    let mut packet = Vec::new();
    let builder = match (A4, B4, A6, B6) {
        (IpAddr::V4(a), IpAddr::V4(b), ..) if is_ipv4 => PacketBuilder::ipv4(b.octets(), a.octets(), 64),
        (.., IpAddr::V6(a), IpAddr::V6(b)) => PacketBuilder::ipv6(b.octets(), a.octets(), 64),
        _ => unreachable!(),
    };
    builder.udp(7, 4000).write_to_vec(&mut packet, payload).unwrap();
    packet
}

#[test]
fn a_long_datagram_becomes_its_parts() {
    for is_ipv4 in [true, false] {
        let mut host = host();
        let socket = host.udp_bind(([0u16; 8], 4000).into(), UdpOptions::default(), NOW).unwrap();
        let payload = pattern(2500);
        let start = if is_ipv4 { 20 } else { 40 };
        let header = OffloadHeader {
            checksum: OffloadChecksum::Partial { start, offset: 6 },
            segmentation: Some(Segmentation {
                kind: SegmentationKind::Udp,
                ecn: false,
                header_len: start + 8,
                segment_size: 1000,
            }),
        };
        host.handle_offloaded(&offloaded(header, &udp(is_ipv4, &payload)), NOW);
        for part in payload.chunks(1000) {
            assert_eq!(host.udp_recv(socket).unwrap().payload, part);
        }
        assert_eq!(host.udp_recv(socket), None);
    }
}

#[test]
fn a_checksum_counts_where_it_is_said_to_be_there() {
    let mut packet = udp(true, b"hello");
    packet[26..28].copy_from_slice(&[1, 2]);
    let of = |checksum| OffloadHeader { checksum, segmentation: None };
    let cases = [
        (of(OffloadChecksum::Complete), false),
        (of(OffloadChecksum::Verified), true),
        (of(OffloadChecksum::Partial { start: 20, offset: 6 }), true),
    ];
    for (header, is_taken) in cases {
        let mut host = host();
        let socket = host.udp_bind((A4, 4000).into(), UdpOptions::default(), NOW).unwrap();
        host.handle_offloaded(&offloaded(header, &packet), NOW);
        assert_eq!(host.udp_recv(socket).is_some(), is_taken, "{header:?}");
        assert_eq!(host.stats().packets_dropped, u64::from(!is_taken));
        host.handle_packet(&packet, NOW);
        assert_eq!(host.udp_recv(socket), None);
    }
}

#[test]
fn what_does_not_fit_its_header_is_dropped_and_counted() {
    let packet = udp(true, &[1; 100]);
    let partial = OffloadChecksum::Partial { start: 20, offset: 6 };
    let cut = |kind, header_len| Some(Segmentation { kind, ecn: false, header_len, segment_size: 10 });
    let bad = [
        OffloadHeader { checksum: OffloadChecksum::Partial { start: 24, offset: 6 }, segmentation: None },
        OffloadHeader { checksum: OffloadChecksum::Partial { start: 20, offset: 16 }, segmentation: None },
        OffloadHeader { checksum: partial, segmentation: cut(SegmentationKind::TcpV4, 28) },
        OffloadHeader { checksum: partial, segmentation: cut(SegmentationKind::Udp, 29) },
        OffloadHeader { checksum: partial, segmentation: cut(SegmentationKind::Udp, 0) },
    ];
    let mut host = host();
    let socket = host.udp_bind((A4, 4000).into(), UdpOptions::default(), NOW).unwrap();
    for header in bad {
        host.handle_offloaded(&offloaded(header, &packet), NOW);
    }
    // Octets behind the packet are not part of it.
    let header = OffloadHeader { checksum: partial, segmentation: None };
    host.handle_offloaded(&offloaded(header, &[&packet[..], &[0]].concat()), NOW);
    assert_eq!((host.udp_recv(socket), host.stats().packets_dropped), (None, bad.len() as u64 + 1));
}

/// A connection of a host with a peer of the test's making; the host's port and the next numbers of both.
fn established(host: &mut Host) -> (SocketId, u16, u32, u32) {
    let id = host.tcp_connect((B4, 80).into(), TcpOptions::default(), NOW).unwrap();
    let syn = host.poll_packet(NOW).unwrap();
    let port = u16::from_be_bytes([syn[20], syn[21]]);
    let ours = u32::from_be_bytes([syn[24], syn[25], syn[26], syn[27]]).wrapping_add(1);
    host.handle_packet(&tcp(port, 99, Some((true, ours)), 60_000, &[]), NOW);
    while host.poll_packet(NOW).is_some() {}
    (id, port, ours, 100)
}

fn tcp(port: u16, sequence: u32, ack: Option<(bool, u32)>, window: u16, payload: &[u8]) -> Vec<u8> {
    let mut packet = Vec::new();
    let mut builder = PacketBuilder::ipv4([192, 0, 2, 80], [100, 64, 0, 2], 64).tcp(80, port, sequence, window);
    if let Some((syn, number)) = ack {
        builder = builder.ack(number);
        if syn {
            builder = builder.syn();
        }
    }
    builder.write_to_vec(&mut packet, payload).unwrap();
    packet
}

#[test]
fn what_stands_for_several_segments_is_acknowledged_at_once() {
    let mut host = host();
    let (id, port, ours, theirs) = established(&mut host);
    let data = pattern(20_000);
    let segmentation = Segmentation { kind: SegmentationKind::TcpV4, ecn: false, header_len: 40, segment_size: 1460 };
    let header = OffloadHeader {
        checksum: OffloadChecksum::Partial { start: 20, offset: 16 },
        segmentation: Some(segmentation),
    };
    let packet = tcp(port, theirs, Some((false, ours)), 60_000, &data);
    host.handle_offloaded(&offloaded(header, &packet), NOW);
    let ack = host.poll_packet(NOW).expect("an ACK that does not wait");
    assert_eq!(ack[28..32], theirs.wrapping_add(20_000).to_be_bytes());
    assert_eq!(host.poll_packet(NOW), None);
    let mut out = vec![0; 30_000];
    assert_eq!(host.tcp_recv(id, &mut out, NOW), Ok(Received::Data(20_000)));
    assert!(out[..20_000] == data);
    // One segment alone may wait for company.
    host.handle_packet(&tcp(port, theirs.wrapping_add(20_000), Some((false, ours)), 60_000, b"x"), NOW);
    assert_eq!(host.poll_packet(NOW), None);
}

#[test]
fn a_wrong_checksum_in_context_0_is_found() {
    let mut host = host();
    let (id, port, ours, theirs) = established(&mut host);
    let mut packet = tcp(port, theirs, Some((false, ours)), 60_000, b"data");
    packet[37] ^= 1;
    host.handle_packet(&packet, NOW);
    assert_eq!((host.tcp_readable(id), host.stats().packets_dropped), (0, 1));
    packet[37] ^= 1;
    host.handle_packet(&packet, NOW);
    assert_eq!(host.tcp_readable(id), 4);
}

#[test]
fn a_narrow_hop_makes_the_cuts_smaller() {
    let mut world = world(Some(true));
    world.gateway.host.set_mtu(1500, world.now);
    let ends = open(&mut world, B4, 80);
    let flow = world.stack.tcp_addresses(ends.0).unwrap();
    // Fragmentation needed, next-hop MTU 1400 (RFC 1191), about a segment of this connection.
    let mut reported = Vec::new();
    PacketBuilder::ipv4([100, 64, 0, 2], [192, 0, 2, 80], 64)
        .tcp(flow.0.port(), 80, 1, 1)
        .write_to_vec(&mut reported, &[0; 8])
        .unwrap();
    let mut report = Vec::new();
    let kind = etherparse::Icmpv4Type::DestinationUnreachable(
        etherparse::icmpv4::DestUnreachableHeader::FragmentationNeeded { next_hop_mtu: 1400 },
    );
    PacketBuilder::ipv4([192, 0, 2, 1], [100, 64, 0, 2], 64).icmpv4(kind).write_to_vec(&mut report, &reported).unwrap();
    world.gateway.bare.push_back(encode(&Capsule::Datagram { context: 0, payload: &report }));
    world.run(SECOND);
    upload(&mut world, ends, |_, _| {});
    assert!(!cuts(&world).is_empty());
    assert!(cuts(&world).iter().all(|it| it.segment_size == 1360), "{:?}", cuts(&world));
}

proptest! {
    #[test]
    fn no_header_makes_the_host_fail(
        header in prop::array::uniform10(any::<u8>()),
        plausible: bool,
        payload in prop::collection::vec(any::<u8>(), 0..3000),
        is_ipv4: bool,
        cut in 0usize..100,
    ) {
        let mut host = host();
        host.udp_bind(([0u16; 8], 4000).into(), UdpOptions::default(), NOW).unwrap();
        let mut packet = udp(is_ipv4, &payload);
        packet.truncate(packet.len() - cut.min(packet.len()));
        let mut header = header;
        if plausible {
            (header[0], header[1]) = (header[0] & 3, [0, 1, 4, 5, 0x81][usize::from(header[1]) % 5]);
            let fields = header[2] & 63;
            header[2..10].fill(fields);
        }
        let message = [&header[..], &packet].concat();
        host.handle_offloaded(&message, NOW);
        host.handle_offloaded(&message[..cut.min(message.len())], NOW);
        prop_assert_eq!(header.len(), OFFLOAD_HEADER_LEN);
        while host.poll_packet(NOW).is_some() {}
    }
}

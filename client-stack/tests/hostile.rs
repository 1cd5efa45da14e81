//! Nothing that comes from the link makes a host panic, or answer without bound.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::time::Duration;

use common::{A, A4, A6, B4, B6, World};
use etherparse::PacketBuilder;
use proptest::prelude::*;
use webtun_stack::{Host, HostConfig, Instant, TcpOptions, UdpOptions};

fn host() -> (Host, Instant) {
    let now = Instant::from_millis(1);
    let mut host = Host::new(HostConfig::new([9; 32]), now);
    host.set_addresses(&[(A4, 32), (A6, 128)], now);
    host.tcp_listen("[::]:80".parse().unwrap(), webtun_stack::ListenOptions::default(), now).unwrap();
    host.udp_bind("[::]:80".parse().unwrap(), UdpOptions::default(), now).unwrap();
    host.tcp_connect((B4, 80).into(), TcpOptions::default(), now).unwrap();
    host.tcp_connect((B6, 80).into(), TcpOptions::default(), now).unwrap();
    (host, now)
}

fn drain(host: &mut Host, mut now: Instant) {
    for _ in 0..3 {
        let mut packets = 0;
        while host.poll_packet(now).is_some() {
            packets += 1;
            assert!(packets < 1000);
        }
        while host.poll_event().is_some() {}
        now += Duration::from_secs(20);
        host.handle_timeout(now);
    }
}

/// A TCP segment with right checksums and anything in its fields, towards the listener or an open connection.
fn segment() -> impl Strategy<Value = Vec<u8>> {
    let fields = (any::<bool>(), 0u8..64, any::<u32>(), any::<u32>(), any::<u16>(), any::<bool>());
    (fields, prop::collection::vec(any::<u8>(), 0..64), 1u16..4).prop_map(
        |((ipv4, flags, sequence, acknowledgment, window, small), payload, source)| {
            let (number, other) =
                if small { (sequence % 70_000, acknowledgment % 70_000) } else { (sequence, acknowledgment) };
            let mut header = etherparse::TcpHeader::new(source, 80, number, window);
            header.acknowledgment_number = other;
            (header.fin, header.syn, header.rst) = (flags & 1 > 0, flags & 2 > 0, flags & 4 > 0);
            (header.psh, header.ack) = (flags & 8 > 0, flags & 16 > 0);
            let mut packet = Vec::new();
            let written = if ipv4 {
                PacketBuilder::ipv4([192, 0, 2, 80], [100, 64, 0, 2], 64)
                    .tcp_header(header)
                    .write_to_vec(&mut packet, &payload)
            } else {
                let (std::net::IpAddr::V6(from), std::net::IpAddr::V6(to)) = (B6, A6) else { unreachable!() };
                PacketBuilder::ipv6(from.octets(), to.octets(), 64)
                    .tcp_header(header)
                    .write_to_vec(&mut packet, &payload)
            };
            written.unwrap();
            packet
        },
    )
}

/// What a peer that has opened a connection sends: numbers near those that are expected.
#[derive(Clone, Debug)]
struct Move {
    flags: u8,
    sequence: i32,
    acknowledgment: i32,
    window: u16,
    len: usize,
    program: u8,
    millis: u64,
}

fn moves() -> impl Strategy<Value = Vec<Move>> {
    let near = || prop_oneof![Just(0), -3i32..3, -2000i32..2000, any::<i32>()];
    let len = prop_oneof![Just(0usize), 0usize..1400];
    let one = (0u8..32, near(), near(), any::<u16>(), len, 0u8..8, 0u64..3000).prop_map(
        |(flags, sequence, acknowledgment, window, len, program, millis)| Move {
            flags,
            sequence,
            acknowledgment,
            window,
            len,
            program,
            millis,
        },
    );
    prop::collection::vec(one, 0..40)
}

/// One end of a connection with our listener, made by hand.
struct Peer {
    sequence: u32,
    acknowledgment: u32,
}

impl Peer {
    fn segment(&self, flags: u8, window: u16, payload: &[u8]) -> Vec<u8> {
        let mut header = etherparse::TcpHeader::new(1000, 80, self.sequence, window);
        header.acknowledgment_number = self.acknowledgment;
        (header.fin, header.syn, header.rst) = (flags & 1 > 0, flags & 2 > 0, flags & 4 > 0);
        (header.psh, header.ack) = (flags & 8 > 0, flags & 16 > 0);
        let mut packet = Vec::new();
        let builder = PacketBuilder::ipv4([192, 0, 2, 80], [100, 64, 0, 2], 64).tcp_header(header);
        builder.write_to_vec(&mut packet, payload).unwrap();
        packet
    }

    /// Follows what the host sends to us.
    fn hear(&mut self, host: &mut Host, now: Instant) {
        for turn in 0.. {
            assert!(turn < 2000, "the host sends without end");
            let Some(packet) = host.poll_packet(now) else { break };
            let Ok(tcp) = etherparse::TcpSlice::from_slice(&packet[20..]) else { continue };
            if packet[0] >> 4 == 4 && tcp.destination_port() == 1000 {
                let len = tcp.payload().len() as u32 + u32::from(tcp.syn()) + u32::from(tcp.fin());
                self.acknowledgment = tcp.sequence_number().wrapping_add(len);
            }
        }
    }
}

proptest! {
    #[test]
    fn a_peer_that_opens_a_connection_and_misbehaves(moves in moves()) {
        let (mut host, mut now) = host();
        let mut peer = Peer { sequence: u32::MAX - 500, acknowledgment: 0 };
        host.handle_packet(&peer.segment(2, 5000, b""), now);
        peer.hear(&mut host, now);
        peer.sequence = peer.sequence.wrapping_add(1);
        host.handle_packet(&peer.segment(16, 5000, b""), now);
        let id = host.tcp_accept(webtun_stack::SocketId::from_u32(1)).expect("the handshake is over");
        for step in moves {
            let sent = Peer {
                sequence: peer.sequence.wrapping_add_signed(step.sequence),
                acknowledgment: peer.acknowledgment.wrapping_add_signed(step.acknowledgment),
            };
            let packet = sent.segment(step.flags, step.window, &vec![7; step.len]);
            host.handle_packet(&packet, now);
            if step.sequence == 0 {
                peer.sequence = peer.sequence.wrapping_add(step.len as u32);
            }
            match step.program {
                0 => { let _ = host.tcp_send(id, &[1; 3000], now); }
                1 => { let _ = host.tcp_recv(id, &mut [0; 700], now); }
                2 if step.len > 1000 => host.tcp_shutdown(id, now),
                3 if step.len > 1200 => host.tcp_abort(id, now),
                4 if step.len > 1300 => host.close(id, now),
                _ => {}
            }
            while host.poll_event().is_some() {}
            peer.hear(&mut host, now);
            now += Duration::from_millis(step.millis);
            host.handle_timeout(now);
            peer.hear(&mut host, now);
        }
        drain(&mut host, now);
    }

    #[test]
    fn arbitrary_octets(packets in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..200), 0..20)) {
        let (mut host, now) = host();
        for packet in &packets {
            host.handle_packet(packet, now);
        }
        drain(&mut host, now);
    }

    #[test]
    fn damaged_packets(at in 0usize..200, value in any::<u8>(), cut in 0usize..200, which in 0usize..4) {
        let mut world = World::new();
        world.trace = Some(Vec::new());
        let (client, _) = world.connected();
        let socket = world.bind(A, 0);
        world.send(A, client, b"data that is long enough to be damaged somewhere");
        world.hosts[A].udp_send(socket, b"datagram", Some((B6, 9).into()), world.now).unwrap();
        world.hosts[A].ping(B4, Default::default(), world.now).unwrap();
        world.run(Duration::from_secs(1));
        for (from, mut packet) in world.trace.take().unwrap() {
            match which {
                0 => packet.truncate(cut),
                1 => if let Some(octet) = packet.get_mut(at) { *octet = value },
                2 => packet.extend(std::iter::repeat_n(value, cut)),
                _ => if let Some(octet) = packet.get_mut(at % 40) { *octet ^= value },
            }
            world.hosts[1 - from].handle_packet(&packet, world.now);
        }
        world.run(Duration::from_secs(100));
    }

    #[test]
    fn arbitrary_segments(packets in prop::collection::vec(segment(), 0..30)) {
        let (mut host, now) = host();
        for packet in &packets {
            host.handle_packet(packet, now);
            while host.poll_event().is_some() {}
        }
        drain(&mut host, now);
    }
}

#[test]
fn answers_to_a_flood_are_bounded() {
    let (mut host, now) = host();
    let mut reply_octets = 0;
    for port in 0..20_000u16 {
        let mut packet = Vec::new();
        PacketBuilder::ipv4([192, 0, 2, 80], [100, 64, 0, 2], 64)
            .udp(1, port)
            .write_to_vec(&mut packet, &[0; 100])
            .unwrap();
        host.handle_packet(&packet, now);
        packet.clear();
        let echo = PacketBuilder::ipv4([192, 0, 2, 80], [100, 64, 0, 2], 64).icmpv4_echo_request(1, port);
        echo.write_to_vec(&mut packet, &[0; 1000]).unwrap();
        host.handle_packet(&packet, now);
    }
    while let Some(packet) = host.poll_packet(now) {
        reply_octets += packet.len();
    }
    assert!(reply_octets <= 600_000, "{reply_octets}");
    assert!(host.stats().replies_dropped > 0);
}

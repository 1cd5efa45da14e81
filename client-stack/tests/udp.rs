//! Datagrams come whole, from whom they came, or their loss is said.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::net::SocketAddr;
use std::time::Duration;

use common::{A, A4, A6, B, B4, B6, Link, World, pattern};
use etherparse::{Icmpv4Type, PacketBuilder, icmpv4};
use webtun_stack::{BindError, DenyReason, FlowDenied, HostConfig, SocketEvent, UdpError, UdpOptions};

const SECOND: Duration = Duration::from_secs(1);

fn full_mtu() -> World {
    let link = Link { delay: Duration::from_millis(5), loss: 0, jitter: Duration::ZERO };
    World::with(HostConfig::new([1; 32]), HostConfig::new([2; 32]), link)
}

#[test]
fn every_size_up_to_the_largest_comes_back_whole() {
    let mut world = full_mtu();
    let client = world.bind(A, 0);
    let server = world.bind(B, 7);
    for (target, own, largest) in [(B4, A4, 65_507), (B6, A6, 65_487)] {
        for len in [0, 1, 2, 511, 512, 1472, 1473, 9000, 65_000, largest] {
            let data = pattern(len);
            assert_eq!(world.hosts[A].udp_send(client, &data, Some((target, 7).into()), world.now), Ok(true));
            world.run(SECOND);
            assert_eq!(world.hosts[B].udp_next_len(server), Some(len));
            let datagram = world.hosts[B].udp_recv(server).unwrap();
            assert_eq!((datagram.from.ip(), datagram.to), (own, target));
            assert!(datagram.payload == data, "{len} octets");
            let echoed = world.hosts[B].udp_send(server, &datagram.payload, Some(datagram.from), world.now);
            assert_eq!(echoed, Ok(true));
            world.run(SECOND);
            let mut buffer = vec![0; 70_000];
            let (got, from) = world.hosts[A].udp_recv_slice(client, &mut buffer).unwrap();
            assert_eq!((got, from), (len, SocketAddr::new(target, 7)));
            assert!(buffer[..len] == data);
        }
        let too_long = world.hosts[A].udp_send(client, &pattern(largest + 1), Some((target, 7).into()), world.now);
        assert_eq!(too_long, Err(UdpError::TooLong));
    }
}

#[test]
fn one_socket_has_many_peers_and_a_connected_one_has_one() {
    let mut world = World::new();
    let server = world.bind(B, 53);
    let clients: Vec<_> = (0..3).map(|_| world.bind(A, 0)).collect();
    for client in &clients {
        world.hosts[A].udp_send(*client, b"hi", Some((B4, 53).into()), world.now).unwrap();
    }
    world.run(SECOND);
    let froms: Vec<SocketAddr> = std::iter::from_fn(|| world.hosts[B].udp_recv(server)).map(|it| it.from).collect();
    assert_eq!(froms.len(), 3);
    let stranger = world.bind(B, 54);
    world.hosts[A].udp_connect(clients[0], (B4, 53).into()).unwrap();
    for (socket, text) in [(stranger, b"from a stranger"), (server, b"from the server")] {
        world.hosts[B].udp_send(socket, text, Some(froms[0]), world.now).unwrap();
    }
    world.run(SECOND);
    assert_eq!(world.hosts[A].udp_recv(clients[0]).unwrap().payload, b"from the server");
    assert_eq!(world.hosts[A].udp_recv(clients[0]), None);
    assert_eq!(world.hosts[A].udp_send(clients[0], b"again", None, world.now), Ok(true));
    assert_eq!(world.hosts[A].udp_send(clients[1], b"whither", None, world.now), Err(UdpError::NoDestination));
}

#[test]
fn an_unreachable_port_reaches_the_socket_that_sent() {
    for target in [B4, B6] {
        let mut world = World::new();
        let (client, other) = (world.bind(A, 0), world.bind(A, 0));
        let remote = SocketAddr::new(target, 9);
        world.hosts[A].udp_send(client, &pattern(1400), Some(remote), world.now).unwrap();
        world.run(SECOND);
        assert_eq!(world.take_events(A), [SocketEvent::UdpError(client, UdpError::Refused, remote)]);
        world.hosts[A].close(client, world.now);
        assert_eq!(world.hosts[A].udp_send(client, b"", Some(remote), world.now), Err(UdpError::UnknownSocket));
        assert_eq!(world.hosts[A].udp_recv(other), None);
    }
}

#[test]
fn a_full_receive_buffer_drops_and_counts() {
    let mut world = World::new();
    let options = UdpOptions { receive_buffer: 10_000, ..UdpOptions::default() };
    let server = world.hosts[B].udp_bind(([0, 0, 0, 0], 7).into(), options, world.now).unwrap();
    let client = world.bind(A, 0);
    for _ in 0..100 {
        world.hosts[A].udp_send(client, &pattern(1000), Some((B4, 7).into()), world.now).unwrap();
    }
    world.run(SECOND);
    assert_eq!(world.take_events(B), [SocketEvent::UdpReadable(server)]);
    let received = std::iter::from_fn(|| world.hosts[B].udp_recv(server)).count();
    assert_eq!(received, 9);
    assert_eq!(world.hosts[B].udp_dropped(server), 91);
    assert_eq!(world.hosts[B].stats().datagrams_dropped, 91);
}

#[test]
fn a_full_queue_takes_nothing_and_says_when_there_is_room() {
    let mut world = full_mtu();
    let client = world.bind(A, 0);
    world.bind(B, 7);
    let mut taken = 0;
    while world.hosts[A].udp_send(client, &pattern(60_000), Some((B4, 7).into()), world.now).unwrap() {
        taken += 1;
    }
    assert_eq!(taken, 5, "256 KiB and the one that passes it");
    assert_eq!(world.take_events(A), [SocketEvent::UdpWritable(client)]);
    assert_eq!(world.hosts[A].udp_send(client, b"", Some((B4, 7).into()), world.now), Ok(true));
}

#[test]
fn what_cannot_be_bound_or_sent_to_is_said_at_once() {
    let mut world = World::new();
    let now = world.now;
    let host = &mut world.hosts[A];
    let any: SocketAddr = "[::]:5000".parse().unwrap();
    let socket = host.udp_bind(any, UdpOptions::default(), now).unwrap();
    let in_use = host.udp_bind("0.0.0.0:5000".parse().unwrap(), UdpOptions::default(), now);
    assert_eq!(in_use, Err(BindError::AddressInUse));
    let foreign = host.udp_bind("192.0.2.1:0".parse().unwrap(), UdpOptions::default(), now);
    assert_eq!(foreign, Err(BindError::AddressNotAvailable));
    for target in ["0.0.0.0:1", "192.0.2.80:0", "255.255.255.255:67", "[ff02::1]:5353"] {
        let sent = host.udp_send(socket, b"x", Some(target.parse().unwrap()), now);
        assert_eq!(sent, Err(UdpError::Unaddressable), "{target}");
    }
    // IPv4-mapped addresses name IPv4 hosts.
    assert_eq!(host.udp_send(socket, b"x", Some("[::ffff:192.0.2.80]:7".parse().unwrap()), now), Ok(true));
    let only6 = UdpOptions { ipv6_only: true, ..UdpOptions::default() };
    let six = host.udp_bind("[::]:6000".parse().unwrap(), only6, now).unwrap();
    assert_eq!(host.udp_send(six, b"x", Some((B4, 7).into()), now), Err(UdpError::AddressNotAvailable));
}

#[test]
fn a_damaged_datagram_is_dropped() {
    let mut world = World::new();
    let client = world.bind(A, 0);
    let server = world.bind(B, 7);
    for target in [B4, B6] {
        world.hosts[A].udp_send(client, b"fragile", Some((target, 7).into()), world.now).unwrap();
        let mut packet = world.hosts[A].poll_packet(world.now).unwrap().to_vec();
        *packet.last_mut().unwrap() ^= 1;
        world.hosts[B].handle_packet(&packet, world.now);
    }
    assert_eq!(world.hosts[B].udp_recv(server), None);
    assert_eq!(world.hosts[B].stats().packets_dropped, 2);
}

#[test]
fn a_denial_that_is_told_twice_counts_once() {
    let mut world = World::new();
    let client = world.bind(A, 5000);
    let remote: SocketAddr = "10.0.0.1:7".parse().unwrap();
    let denied = FlowDenied {
        reason: DenyReason::Policy,
        protocol: 17,
        source_port: 5000,
        destination: remote.ip(),
        destination_port: 7,
    };
    for _ in 0..2 {
        world.hosts[A].udp_send(client, b"x", Some(remote), world.now).unwrap();
        let sent = world.hosts[A].poll_packet(world.now).unwrap();
        let mut packet = Vec::new();
        let prohibited = Icmpv4Type::DestinationUnreachable(icmpv4::DestUnreachableHeader::FilterProhibited);
        let builder = PacketBuilder::ipv4([100, 64, 0, 1], [100, 64, 0, 2], 64).icmpv4(prohibited);
        builder.write_to_vec(&mut packet, &sent[..28]).unwrap();
        world.hosts[A].handle_flow_denied(&denied, world.now);
        world.hosts[A].handle_packet(&packet, world.now);
        assert_eq!(world.take_events(A), [SocketEvent::UdpError(client, UdpError::Denied, remote)]);
        world.run(SECOND * 5);
    }
}

//! Sockets for echo requests: a program writes and reads ICMP messages, and the TTL of every kind of socket can be chosen.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use common::{A, A4, A6, B, B4, B6, World};
use etherparse::{Icmpv4Type, PacketBuilder, icmpv4};
use webtun_stack::{BindError, PingOptions, SocketEvent, TcpOptions, UdpError, UdpOptions};

/// An echo request of one family as programs write it: identifier and checksum are nothing.
fn request(kind: u8, sequence: u8, payload: &[u8]) -> Vec<u8> {
    [&[kind, 0, 0, 0, 0, 0, 0, sequence], payload].concat()
}

fn at(address: IpAddr, port: u16) -> SocketAddr {
    SocketAddr::new(address, port)
}

fn any(of: IpAddr) -> SocketAddr {
    if of.is_ipv4() { "0.0.0.0:0".parse().unwrap() } else { "[::]:0".parse().unwrap() }
}

#[test]
fn a_reply_comes_as_it_was_sent_over_both_families() {
    let mut world = World::new();
    for (own, target, ask, answer) in [(A4, B4, 8, 0), (A6, B6, 128, 129), (A4, "127.0.0.1".parse().unwrap(), 8, 0)] {
        let id = world.hosts[A].echo_bind(any(own), UdpOptions::default(), world.now).unwrap();
        let identifier = world.hosts[A].local_address(id).unwrap().port();
        let message = request(ask, 7, b"payload");
        // The port of the destination means nothing.
        assert_eq!(world.hosts[A].udp_send(id, &message, Some(at(target, 99)), world.now), Ok(true));
        world.run(Duration::from_secs(1));
        assert_eq!(world.take_events(A), [SocketEvent::UdpReadable(id)]);
        let reply = world.hosts[A].udp_recv(id).unwrap();
        assert_eq!(reply.from, at(target, 0));
        assert_eq!((reply.payload[0], &reply.payload[4..6]), (answer, &identifier.to_be_bytes()[..]));
        assert_eq!(reply.payload[6..], message[6..]);
    }
}

#[test]
fn replies_go_to_their_socket_alone() {
    let mut world = World::new();
    let [first, second] =
        [(); 2].map(|()| world.hosts[A].echo_bind(any(A4), UdpOptions::default(), world.now).unwrap());
    world.hosts[A].udp_connect(first, at(B4, 0)).unwrap();
    world.hosts[A].udp_send(first, &request(8, 1, b""), None, world.now).unwrap();
    let ping = world.hosts[A].ping(B4, PingOptions::default(), world.now).unwrap();
    world.run(Duration::from_secs(1));
    let events = world.take_events(A);
    assert!(events.contains(&SocketEvent::UdpReadable(first)), "{events:?}");
    assert!(events.iter().any(|event| matches!(event, SocketEvent::Pong { id, .. } if *id == ping)), "{events:?}");
    assert_eq!(world.hosts[A].udp_recv(first).unwrap().payload.len(), 8);
    assert_eq!(world.hosts[A].udp_recv(first).map(|datagram| datagram.payload), None);
    assert_eq!(world.hosts[A].udp_recv(second).map(|datagram| datagram.payload), None);
    // An identifier is free again when its socket is closed.
    let local = world.hosts[A].local_address(first).unwrap();
    let bind = |world: &mut World| world.hosts[A].echo_bind(local, UdpOptions::default(), world.now);
    assert_eq!(bind(&mut world), Err(BindError::AddressInUse));
    world.hosts[A].close(first, world.now);
    assert!(bind(&mut world).is_ok());
}

#[test]
fn only_echo_requests_of_the_right_family_are_sent() {
    let mut world = World::new();
    let id = world.hosts[A].echo_bind(any(A4), UdpOptions::default(), world.now).unwrap();
    let mut send = |message: &[u8], to: IpAddr| world.hosts[A].udp_send(id, message, Some(at(to, 0)), world.now);
    assert_eq!(send(&[8, 0, 0, 0, 0, 0, 0], B4), Err(UdpError::NotAnEchoRequest));
    assert_eq!(send(&request(0, 1, b""), B4), Err(UdpError::NotAnEchoRequest));
    assert_eq!(send(&request(128, 1, b""), B4), Err(UdpError::NotAnEchoRequest));
    assert_eq!(send(&[8, 1, 0, 0, 0, 0, 0, 0], B4), Err(UdpError::NotAnEchoRequest));
    assert_eq!(send(&request(128, 1, b""), B6), Err(UdpError::AddressNotAvailable));
    assert_eq!(send(&request(8, 1, &[0; 65_535]), B4), Err(UdpError::TooLong));
    assert_eq!(send(&request(8, 1, b""), B4), Ok(true));
}

#[test]
fn a_router_that_gives_up_is_reported() {
    let mut world = World::new();
    let id = world.hosts[A].echo_bind(any(A4), UdpOptions::default(), world.now).unwrap();
    world.hosts[A].set_hop_limit(id, 1);
    world.hosts[A].udp_send(id, &request(8, 1, b""), Some(at(B4, 0)), world.now).unwrap();
    let sent = world.hosts[A].poll_packet(world.now).unwrap();
    assert_eq!(sent[8], 1);
    let IpAddr::V4(own) = A4 else { unreachable!() };
    let mut report = Vec::new();
    PacketBuilder::ipv4([198, 51, 100, 1], own.octets(), 60)
        .icmpv4(Icmpv4Type::TimeExceeded(icmpv4::TimeExceededCode::TtlExceededInTransit))
        .write_to_vec(&mut report, &sent[..28])
        .unwrap();
    world.hosts[A].handle_packet(&report, world.now);
    assert_eq!(world.take_events(A), [SocketEvent::UdpError(id, UdpError::HostUnreachable, at(B4, 0))]);
}

#[test]
fn each_kind_of_socket_sends_with_its_hop_limit() {
    let mut world = World::new();
    let udp = world.hosts[A].udp_bind(any(A4), UdpOptions::default(), world.now).unwrap();
    world.hosts[A].set_hop_limit(udp, 0);
    world.hosts[A].udp_send(udp, b"x", Some(at(B4, 9)), world.now).unwrap();
    assert_eq!(world.hosts[A].poll_packet(world.now).unwrap()[8], 1);
    let options = TcpOptions { hop_limit: 5, ..TcpOptions::default() };
    let tcp = world.hosts[A].tcp_connect(at(B6, 80), options, world.now).unwrap();
    let syn = world.hosts[A].poll_packet(world.now).unwrap();
    assert_eq!(syn[7], 5);
    world.hosts[A].set_hop_limit(tcp, 9);
    let listener = world.hosts[B].tcp_listen(at(B4, 80), webtun_stack::ListenOptions::default(), world.now).unwrap();
    world.hosts[B].set_hop_limit(listener, 7);
    world.hosts[A].tcp_connect(at(B4, 80), TcpOptions::default(), world.now).unwrap();
    let packet = world.hosts[A].poll_packet(world.now).unwrap();
    world.hosts[B].handle_packet(&packet, world.now);
    assert_eq!(world.hosts[B].poll_packet(world.now).unwrap()[8], 7);
}

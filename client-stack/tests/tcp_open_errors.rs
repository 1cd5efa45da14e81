//! Each way in which a connection does not come about has its own error.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use common::{A, A4, B, B4, B6, World};
use etherparse::icmpv4::DestUnreachableHeader;
use etherparse::{Icmpv4Type, PacketBuilder};
use webtun_stack::{
    ConnectError, DenyReason, FlowDenied, RecvError, SendError, SocketEvent, SocketId, TcpOptions, TcpState,
};

const SECONDS: Duration = Duration::from_secs(60);

fn failure(world: &mut World, id: SocketId) -> ConnectError {
    let failed = |event: &SocketEvent| match event {
        SocketEvent::TcpConnectFailed(failed, error) if *failed == id => Some(*error),
        _ => None,
    };
    world.run_until(SECONDS, |world| world.events[A].iter().any(|event| failed(event).is_some()));
    let error = world.events[A].iter().find_map(failed).unwrap();
    assert_eq!(world.hosts[A].tcp_state(id), Some(TcpState::Failed(error)));
    assert_eq!(world.hosts[A].tcp_send(id, b"x", world.now), Err(SendError::Failed(error)));
    assert_eq!(world.recv(A, id), Err(RecvError::Failed(error)));
    world.hosts[A].close(id, world.now);
    assert_eq!(world.hosts[A].tcp_state(id), None);
    error
}

#[test]
fn a_closed_port_refuses_over_both_families() {
    let mut world = World::new();
    for target in [B4, B6] {
        let id = world.connect(A, (target, 81));
        assert_eq!(failure(&mut world, id), ConnectError::Refused);
    }
}

#[test]
fn silence_times_out_when_the_options_say() {
    let mut world = World::new();
    let silent = SocketAddr::from(([192, 0, 2, 99], 80));
    let options = TcpOptions { connect_timeout: Duration::from_secs(7), ..TcpOptions::default() };
    let started = world.now;
    let id = world.hosts[A].tcp_connect(silent, options, world.now).unwrap();
    assert_eq!(failure(&mut world, id), ConnectError::TimedOut);
    assert_eq!(world.now - started, Duration::from_secs(7));
}

/// What a router says about the first packet of `id`.
fn report(world: &mut World, code: DestUnreachableHeader) -> ConnectError {
    let id = world.connect(A, ([203, 0, 113, 1], 80));
    let syn = world.hosts[A].poll_packet(world.now).unwrap();
    let mut packet = Vec::new();
    let IpAddr::V4(own) = A4 else { unreachable!() };
    PacketBuilder::ipv4([198, 51, 100, 1], own.octets(), 60)
        .icmpv4(Icmpv4Type::DestinationUnreachable(code))
        .write_to_vec(&mut packet, &syn[..28])
        .unwrap();
    world.inject(B, packet);
    failure(world, id)
}

#[test]
fn reports_of_the_path_are_told_apart() {
    let mut world = World::new();
    assert_eq!(report(&mut world, DestUnreachableHeader::Host), ConnectError::HostUnreachable);
    assert_eq!(report(&mut world, DestUnreachableHeader::Network), ConnectError::NetUnreachable);
    assert_eq!(report(&mut world, DestUnreachableHeader::Port), ConnectError::Refused);
    assert_eq!(report(&mut world, DestUnreachableHeader::FilterProhibited), ConnectError::Denied);
}

#[test]
fn a_report_does_not_end_an_open_connection() {
    let mut world = World::new();
    let (client, server) = world.connected();
    let (local, remote) = world.hosts[A].tcp_addresses(client).unwrap();
    let (SocketAddr::V4(local), SocketAddr::V4(remote)) = (local, remote) else { unreachable!() };
    let mut segment = Vec::new();
    PacketBuilder::ipv4(local.ip().octets(), remote.ip().octets(), 60)
        .tcp(local.port(), remote.port(), 1, 1)
        .write_to_vec(&mut segment, b"")
        .unwrap();
    let mut packet = Vec::new();
    PacketBuilder::ipv4([198, 51, 100, 1], local.ip().octets(), 60)
        .icmpv4(Icmpv4Type::DestinationUnreachable(DestUnreachableHeader::Host))
        .write_to_vec(&mut packet, &segment)
        .unwrap();
    world.inject(B, packet);
    world.run(Duration::from_secs(1));
    world.send(A, client, b"still here");
    world.run(Duration::from_secs(1));
    assert_eq!(world.read(B, server), b"still here");
}

#[test]
fn the_gateway_can_deny_a_flow() {
    let mut world = World::new();
    for (reason, expected) in
        [(DenyReason::Policy, ConnectError::Denied), (DenyReason::Limit, ConnectError::LimitReached)]
    {
        let id = world.connect(A, ([10, 0, 0, 1], 22));
        let (local, remote) = world.hosts[A].tcp_addresses(id).unwrap();
        let (destination, destination_port) = (remote.ip(), remote.port());
        let denied = FlowDenied { reason, protocol: 6, source_port: local.port(), destination, destination_port };
        world.hosts[A].handle_flow_denied(&denied, world.now);
        assert_eq!(failure(&mut world, id), expected);
    }
}

#[test]
fn what_cannot_be_a_destination_is_said_at_once() {
    let mut world = World::new();
    let mut connect = |remote: &str, local: Option<&str>| {
        let options = TcpOptions { local: local.map(|local| local.parse().unwrap()), ..TcpOptions::default() };
        world.hosts[A].tcp_connect(remote.parse().unwrap(), options, world.now)
    };
    assert_eq!(connect("192.0.2.80:0", None), Err(ConnectError::Unaddressable));
    assert_eq!(connect("0.0.0.0:80", None), Err(ConnectError::Unaddressable));
    assert_eq!(connect("224.0.0.1:80", None), Err(ConnectError::Unaddressable));
    assert_eq!(connect("[ff02::1]:80", None), Err(ConnectError::Unaddressable));
    assert_eq!(connect("192.0.2.80:80", Some("192.0.2.1:0")), Err(ConnectError::AddressNotAvailable));
    assert!(connect("192.0.2.80:80", Some("0.0.0.0:5000")).is_ok());
    assert_eq!(connect("192.0.2.80:80", Some("0.0.0.0:5000")), Err(ConnectError::AddressInUse));
}

#[test]
fn ports_come_from_the_given_ranges_until_they_are_used_up_towards_that_peer() {
    let mut world = World::new();
    world.hosts[A].set_port_ranges(&[20_000..=20_003], &[]);
    let mut port = |remote: u16| {
        let id = world.connect(A, (B4, remote));
        world.hosts[A].tcp_addresses(id).unwrap().0.port()
    };
    let mut ports = [port(81), port(81), port(81), port(81)];
    ports.sort_unstable();
    assert_eq!(ports, [20_000, 20_001, 20_002, 20_003]);
    assert!(port(81) >= 49_152, "the gateway translates the dynamic ones");
    assert!((20_000..=20_003).contains(&port(82)));
}

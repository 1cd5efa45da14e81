//! A host that stands in for every address: requests, what becomes of them, and connections from foreign addresses.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use common::{A, A4, B, Link, World, config, pattern, transfer};
use webtun_stack::{
    CloseReason, ConnectError, HostConfig, Refusal, SocketEvent, SocketId, TcpOptions, TcpRequest, TcpState,
    Unreachable,
};

const SECONDS: Duration = Duration::from_secs(60);
const SOMEBODY: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(203, 0, 113, 9));
const SOMEBODY6: IpAddr = IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 7, 0, 0, 0, 0, 9));

/// B stands in for the whole world.
fn world() -> World {
    let link = Link { delay: Duration::from_millis(5), loss: 0, jitter: Duration::ZERO };
    World::with(config(1), HostConfig { stands_in: true, ..config(2) }, link)
}

fn request(world: &mut World) -> TcpRequest {
    let mut found = None;
    world.run_until(SECONDS, |world| {
        found = world.hosts[B].poll_request();
        found.is_some()
    });
    found.unwrap()
}

fn failure(world: &mut World, id: SocketId) -> ConnectError {
    let mut failure = None;
    world.run_until(SECONDS, |world| {
        if let Some(TcpState::Failed(error)) = world.hosts[A].tcp_state(id) {
            failure = Some(error);
        }
        failure.is_some()
    });
    failure.unwrap()
}

#[test]
fn an_admitted_request_is_a_connection_with_whom_it_was_meant_for() {
    let mut world = world();
    for target in [SOMEBODY, SOMEBODY6] {
        let to = SocketAddr::new(target, 80);
        let client = world.connect(A, to);
        let asked = request(&mut world);
        assert_eq!(asked.to, to);
        assert_eq!(Some(asked.from), world.hosts[A].local_address(client));
        // The SYN is repeated meanwhile, and asks for nothing new.
        world.run(Duration::from_secs(4));
        assert_eq!(world.hosts[A].tcp_state(client), Some(TcpState::Connecting));
        assert_eq!(world.hosts[B].poll_request(), None);

        let now = world.now;
        assert!(world.hosts[B].tcp_admit(asked.id, &TcpOptions::default(), now));
        world.run_until(SECONDS, |world| world.events[B].contains(&SocketEvent::TcpConnected(asked.id)));
        let data = pattern(300_000);
        transfer(&mut world, (A, client), (B, asked.id), &data, SECONDS);
        transfer(&mut world, (B, asked.id), (A, client), &data, SECONDS);
    }
}

#[test]
fn each_refusal_is_told_as_such() {
    let mut world = world();
    let cases = [
        (Refusal::Reset, ConnectError::Refused),
        (Refusal::Unreachable(Unreachable::Port), ConnectError::Refused),
        (Refusal::Unreachable(Unreachable::Host), ConnectError::HostUnreachable),
        (Refusal::Unreachable(Unreachable::Net), ConnectError::NetUnreachable),
        (Refusal::Unreachable(Unreachable::Prohibited), ConnectError::Denied),
        (Refusal::Silence, ConnectError::TimedOut),
    ];
    for target in [SOMEBODY, SOMEBODY6] {
        for (refusal, error) in cases {
            let client = world.connect(A, (target, 80));
            let asked = request(&mut world);
            let now = world.now;
            world.hosts[B].tcp_refuse(asked.id, refusal, now);
            assert_eq!(failure(&mut world, client), error, "{refusal:?} to {target}");
            world.hosts[A].close(client, world.now);
            while let Some(again) = world.hosts[B].poll_request() {
                world.hosts[B].tcp_refuse(again.id, Refusal::Silence, now);
            }
        }
    }
}

#[test]
fn a_request_that_is_withdrawn_cannot_be_admitted() {
    let mut world = world();
    let client = world.connect(A, (SOMEBODY, 80));
    let asked = request(&mut world);
    let (local, remote) = world.hosts[A].tcp_addresses(client).unwrap();
    let (IpAddr::V4(from), IpAddr::V4(to)) = (local.ip(), remote.ip()) else { unreachable!() };
    let mut reset = Vec::new();
    let header = etherparse::PacketBuilder::ipv4(from.octets(), to.octets(), 64).tcp(local.port(), remote.port(), 1, 0);
    header.rst().write_to_vec(&mut reset, &[]).unwrap();
    world.inject(A, reset);
    world.run(Duration::from_millis(100));
    let now = world.now;
    assert!(!world.hosts[B].tcp_admit(asked.id, &TcpOptions::default(), now));
    assert_eq!(world.hosts[B].tcp_state(asked.id), None);
}

#[test]
fn a_peer_that_goes_during_the_handshake_is_a_failure() {
    let mut world = world();
    let client = world.connect(A, (SOMEBODY, 80));
    let asked = request(&mut world);
    world.hosts[A].tcp_abort(client, world.now);
    let now = world.now;
    world.hosts[B].tcp_admit(asked.id, &TcpOptions::default(), now);
    world.run_until(SECONDS, |world| {
        world.events[B].iter().any(|event| matches!(event, SocketEvent::TcpConnectFailed(id, _) if *id == asked.id))
    });
    world.hosts[B].close(asked.id, world.now);
    assert_eq!(world.hosts[B].tcp_state(asked.id), None);
}

#[test]
fn connections_are_opened_from_any_address() {
    let mut world = world();
    let listener = world.listen(A, 8080);
    let from = SocketAddr::new(SOMEBODY, 4321);
    let options = TcpOptions { local: Some(from), ..TcpOptions::default() };
    let now = world.now;
    let caller = world.hosts[B].tcp_connect(SocketAddr::new(A4, 8080), options, now).unwrap();
    let accepted = world.accept(A, listener);
    assert_eq!(world.hosts[A].tcp_addresses(accepted).unwrap().1, from);
    world.hosts[A].tcp_abort(accepted, world.now);
    world.run_until(SECONDS, |world| world.hosts[B].tcp_state(caller) == Some(TcpState::Closed(CloseReason::Reset)));
}

#[test]
fn requests_are_bounded_and_never_loopback() {
    let mut world = world();
    let syn = |port: u16, to: [u8; 4]| {
        let mut packet = Vec::new();
        let IpAddr::V4(from) = A4 else { unreachable!() };
        let header = etherparse::PacketBuilder::ipv4(from.octets(), to, 64).tcp(port, 80, 1, 1000).syn();
        header.write_to_vec(&mut packet, &[]).unwrap();
        packet
    };
    let now = world.now;
    for forbidden in [[127, 0, 0, 1], [224, 0, 0, 1], [255, 255, 255, 255], [0, 0, 0, 0]] {
        world.hosts[B].handle_packet(&syn(1, forbidden), now);
        assert_eq!(world.hosts[B].poll_request(), None, "{forbidden:?}");
    }
    for port in 1..=5000 {
        world.hosts[B].handle_packet(&syn(port, [203, 0, 113, 9]), now);
    }
    let asked = std::iter::from_fn(|| world.hosts[B].poll_request()).count();
    assert_eq!((asked, world.hosts[B].stats().syns_dropped), (4096, 904));
}

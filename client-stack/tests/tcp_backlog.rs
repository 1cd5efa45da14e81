//! A listener has a backlog: as many connections as it says, and a reset during the handshake frees its place.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::net::IpAddr;
use std::time::Duration;

use common::{A, B, B4, World};
use webtun_stack::{BindError, ConnectError, ListenOptions, RecvError, SocketEvent, TcpState};

const SECOND: Duration = Duration::from_secs(1);

#[test]
fn connections_wait_for_accept_and_those_beyond_the_backlog_try_again() {
    let mut world = World::new();
    let listener = world.listen_with(B, 80, ListenOptions { backlog: 3, ..ListenOptions::default() });
    let clients: Vec<_> = (0..5).map(|_| world.connect(A, (B4, 80))).collect();
    world.run(Duration::from_millis(100));
    let open = |world: &World| {
        let state = |id: &_| world.hosts[A].tcp_state(*id);
        clients.iter().filter(|id| matches!(state(id), Some(TcpState::Open { .. }))).count()
    };
    assert_eq!(open(&world), 3);
    assert_eq!(world.events[B], [SocketEvent::TcpIncoming(listener)]);
    assert!(world.hosts[B].stats().syns_dropped >= 2);
    for _ in 0..5 {
        world.accept(B, listener);
    }
    world.run(SECOND);
    assert_eq!(open(&world), 5);
    assert_eq!(world.hosts[B].tcp_accept(listener), None);
}

#[test]
fn data_that_came_before_accept_is_there() {
    let mut world = World::new();
    let listener = world.listen(B, 80);
    let client = world.connect(A, (B4, 80));
    world.run(SECOND);
    world.send(A, client, b"early");
    world.hosts[A].tcp_shutdown(client, world.now);
    world.run(SECOND);
    world.take_events(B);
    let server = world.hosts[B].tcp_accept(listener).unwrap();
    assert_eq!(world.take_events(B), [SocketEvent::TcpReadable(server)]);
    assert_eq!(world.read(B, server), b"early");
}

#[test]
fn a_reset_during_the_handshake_leaves_no_trace() {
    let mut world = World::new();
    let listener = world.listen_with(B, 80, ListenOptions { backlog: 1, ..ListenOptions::default() });
    for _ in 0..10 {
        // The SYN arrives, and before the SYN-ACK is answered the client gives up.
        let client = world.connect(A, (B4, 80));
        world.drain();
        world.hosts[A].close(client, world.now);
        world.run(SECOND);
    }
    let client = world.connect(A, (B4, 80));
    world.run(SECOND);
    assert!(matches!(world.hosts[A].tcp_state(client), Some(TcpState::Open { .. })));
    assert!(world.hosts[B].tcp_accept(listener).is_some());
    assert_eq!(world.hosts[B].tcp_accept(listener), None);
}

#[test]
fn closing_the_listener_resets_what_it_has_not_handed_out() {
    let mut world = World::new();
    let listener = world.listen(B, 80);
    let client = world.connect(A, (B4, 80));
    world.run(SECOND);
    world.hosts[B].close(listener, world.now);
    world.run(SECOND);
    assert!(matches!(world.recv(A, client), Err(RecvError::Closed(_))));
    let late = world.connect(A, (B4, 80));
    world.run(SECOND);
    assert_eq!(world.hosts[A].tcp_state(late), Some(TcpState::Failed(ConnectError::Refused)));
}

#[test]
fn addresses_and_families_of_a_listener() {
    let mut world = World::new();
    let now = world.now;
    let host = &mut world.hosts[B];
    let mut listen = |local: &str, ipv6_only| {
        host.tcp_listen(local.parse().unwrap(), ListenOptions { ipv6_only, ..ListenOptions::default() }, now)
    };
    listen("0.0.0.0:80", false).unwrap();
    assert_eq!(listen("[::]:80", false), Err(BindError::AddressInUse));
    assert_eq!(listen("192.0.2.80:80", false), Err(BindError::AddressInUse));
    listen("[::]:80", true).unwrap();
    assert_eq!(listen("192.0.2.81:81", false), Err(BindError::AddressNotAvailable));
    listen("192.0.2.80:81", false).unwrap();
    let any = listen("[::]:0", false).unwrap();
    let port = world.hosts[B].local_address(any).unwrap().port();
    assert!(port >= 49_152);
    let ipv6: IpAddr = common::B6;
    for (target, port, works) in [(ipv6, 81, false), (B4, 81, true), (ipv6, port, true), (B4, port, true)] {
        let client = world.connect(A, (target, port));
        world.run(SECOND);
        let open = matches!(world.hosts[A].tcp_state(client), Some(TcpState::Open { .. }));
        assert_eq!(open, works, "{target} {port}");
    }
}

#[test]
fn an_address_in_time_wait_can_be_used_again_by_its_client() {
    let mut world = World::new();
    let listener = world.listen(B, 80);
    let local = Some((IpAddr::from([0, 0, 0, 0]), 5000).into());
    for turn in 0..3 {
        let options = webtun_stack::TcpOptions { local, ..webtun_stack::TcpOptions::default() };
        let client = world.hosts[A].tcp_connect((B4, 80).into(), options, world.now).unwrap();
        let server = world.accept(B, listener);
        // The server ends first, so that TIME-WAIT is its.
        world.hosts[B].close(server, world.now);
        world.run(SECOND);
        world.hosts[A].close(client, world.now);
        world.run(SECOND);
        assert_eq!(world.hosts[A].tcp_state(client), None, "turn {turn}");
    }
}

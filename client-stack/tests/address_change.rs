//! Connections end, and say so, when their address goes; what is not bound to it goes on.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::net::IpAddr;
use std::time::Duration;

use common::{A, A6, B, B4, B6, World};
use webtun_stack::{CloseReason, RecvError, SocketEvent, TcpState};

#[test]
fn only_connections_on_the_lost_address_end() {
    let mut world = World::new();
    let listener = world.listen(B, 80);
    let four = world.connect(A, (B4, 80));
    let four_server = world.accept(B, listener);
    let six = world.connect(A, (B6, 80));
    world.accept(B, listener);
    world.run(Duration::from_secs(1));
    world.send(B, four_server, b"unread");
    world.run(Duration::from_secs(1));
    world.take_events(A);
    world.hosts[A].set_addresses(&[(A6, 128), (IpAddr::from([100, 64, 0, 9]), 32)], world.now);
    assert_eq!(world.take_events(A), [SocketEvent::TcpClosed(four, CloseReason::AddressLost)]);
    assert_eq!(world.read(A, four), b"unread");
    assert_eq!(world.recv(A, four), Err(RecvError::Closed(CloseReason::AddressLost)));
    assert!(matches!(world.hosts[A].tcp_state(six), Some(TcpState::Open { .. })));
    let again = world.connect(A, (B4, 80));
    world.run(Duration::from_secs(1));
    assert!(matches!(world.hosts[A].tcp_state(again), Some(TcpState::Open { .. })));
}

#[test]
fn the_mtu_can_change_under_open_connections() {
    let mut world = World::new();
    let (client, server) = world.connected();
    world.hosts[A].set_mtu(1280, world.now);
    world.trace = Some(Vec::new());
    common::transfer(&mut world, (A, client), (B, server), &common::pattern(200_000), Duration::from_secs(600));
    let longest = world.trace.take().unwrap().iter().map(|(_, packet)| packet.len()).max();
    assert_eq!(longest, Some(1280));
}

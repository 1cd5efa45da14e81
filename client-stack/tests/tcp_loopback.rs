//! A host that connects to itself.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use common::tunnel::TunnelWorld;
use common::{A, A4, World};
use webtun_stack::{Event, ListenOptions, SocketEvent, TcpOptions, TcpState};

/// No packet leaves, so no time passes.
#[test]
fn it_is_connected_at_once() {
    for address in [IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V6(Ipv6Addr::LOCALHOST), A4] {
        let mut world = World::new();
        let there = SocketAddr::new(address, 7);
        world.hosts[A].tcp_listen(there, ListenOptions::default(), world.now).unwrap();
        let client = world.connect(A, there);
        world.run(Duration::from_millis(1));
        assert!(matches!(world.hosts[A].tcp_state(client), Some(TcpState::Open { .. })), "to {address}");
    }
}

/// The transport of an established tunnel takes nothing, so that nobody asks for a message.
#[test]
fn it_is_connected_at_once_while_no_message_is_taken() {
    let TunnelWorld { mut stack, now, .. } = TunnelWorld::established();
    let there = SocketAddr::new(IpAddr::V6(Ipv6Addr::LOCALHOST), 7);
    stack.tcp_listen(there, ListenOptions::default(), now).unwrap();
    let client = stack.tcp_connect(there, TcpOptions::default(), now).unwrap();
    let events: Vec<_> = std::iter::from_fn(|| stack.poll_event()).collect();
    assert!(events.contains(&Event::Socket(SocketEvent::TcpConnected(client))), "{events:?}");
}

/// A socket whose own port is the one that it asks for would meet its own SYN, and be connected with itself
/// (RFC 9293 section 3.5, simultaneous open) where nobody listens.
#[test]
fn no_connection_has_the_port_that_it_asks_for() {
    let mut world = World::new();
    let there = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 50_000);
    for _ in 49_152..=65_535 {
        let client = world.connect(A, there);
        assert_ne!(world.hosts[A].local_address(client), Some(there));
        world.hosts[A].close(client, world.now);
    }
}

//! A host that connects to itself.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use common::{A, A4, World};
use webtun_stack::{ListenOptions, TcpState};

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

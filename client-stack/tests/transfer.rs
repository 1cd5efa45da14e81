//! Octets arrive as they were sent: both ways, both families, any MTU, with and without loss.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::time::Duration;

use common::{A, A4, B, B6, Link, World, config, pattern, transfer};
use webtun_stack::HostConfig;

const MINUTES: Duration = Duration::from_secs(3600);

#[test]
fn ten_megabytes_at_full_mtu() {
    let link = Link { delay: Duration::from_millis(1), loss: 0, jitter: Duration::ZERO };
    let mut world = World::with(HostConfig::new([1; 32]), HostConfig::new([2; 32]), link);
    let (client, server) = world.connected();
    let started = world.now;
    transfer(&mut world, (A, client), (B, server), &pattern(10_000_000), MINUTES);
    transfer(&mut world, (B, server), (A, client), &pattern(10_000_000), MINUTES);
    assert!(world.now - started < Duration::from_secs(5), "{:?}", world.now - started);
}

#[test]
fn at_mtu_1500_over_ipv6_towards_the_listener_and_back() {
    let mut world = World::new();
    let listener = world.listen(B, 80);
    let client = world.connect(A, (B6, 80));
    let server = world.accept(B, listener);
    transfer(&mut world, (A, client), (B, server), &pattern(1_000_000), MINUTES);
    transfer(&mut world, (B, server), (A, client), &pattern(1_000_000), MINUTES);
}

#[test]
fn with_loss_and_reordering() {
    let link = Link { delay: Duration::from_millis(10), loss: 10, jitter: Duration::from_millis(5) };
    let mut world = World::with(config(1), config(2), link);
    let (client, server) = world.connected();
    transfer(&mut world, (A, client), (B, server), &pattern(1_000_000), MINUTES);
    transfer(&mut world, (B, server), (A, client), &pattern(1_000_000), MINUTES);
}

#[test]
fn within_one_host() {
    let mut world = World::new();
    for target in [A4, "127.0.0.1".parse().unwrap(), "::1".parse().unwrap()] {
        let listener = world.listen(A, 81);
        let client = world.connect(A, (target, 81));
        let server = world.accept(A, listener);
        transfer(&mut world, (A, client), (A, server), &pattern(500_000), MINUTES);
        world.hosts[A].close(listener, world.now);
    }
}

//! Connections that the gateway makes, as their requests reach it.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::time::Duration;

use common::pattern;
use common::tunnel::TunnelWorld;
use webtun_stack::{StackConfig, Status, StreamHost, TcpOptions};
use webtun_wire::{Limits, StreamLimits};

const SECONDS: Duration = Duration::from_secs(5);

/// A gateway that takes streams, in messages that are soon full.
fn world() -> TunnelWorld {
    let mut world = TunnelWorld::with(StackConfig { batch_len: 2000, ..StackConfig::new([5; 32]) });
    world.gateway.limits = Limits { mtu: 1400, message_len: 4000, unacknowledged: 1 << 20, ping_interval_ms: 15_000 };
    world.gateway.streams = Some(StreamLimits { streams: 10_000, credit: 1 << 20, required: false });
    world.run_until(SECONDS, |world| matches!(world.stack.status(), Status::Connected { .. }));
    world
}

/// The gateway takes numbers in order alone. A request that did not fit into a message used to be overtaken by shorter ones
/// with later numbers, and the session was closed.
#[test]
fn requests_come_in_the_order_of_their_numbers() {
    const COUNT: u64 = 500;
    let mut world = world();
    for number in 0..COUNT {
        let host = StreamHost::Name("n".repeat(1 + (number as usize * 97) % 240));
        let socket = world.stack.tcp_connect_split(host, 80, &TcpOptions::default(), world.now).unwrap();
        let data = pattern((number as usize * 131) % 900);
        assert_eq!(world.stack.tcp_send(socket, &data, world.now).unwrap(), data.len());
    }
    world.run(SECONDS);
    assert_eq!(world.gateway.stream_opens, (0..COUNT).collect::<Vec<_>>());
    assert!(matches!(world.stack.status(), Status::Connected { .. }));
}

//! One connection with the default buffers fills 100 Mbit/s at a round trip of 200 ms.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::time::Duration;

use common::{A, B, Link, World};
use webtun_stack::{HostConfig, SocketId};

/// 100 Mbit/s, in octets per second.
const RATE: f64 = 12.5e6;

/// Octets per second from one end to the other, once the connection has got going.
fn rate(world: &mut World, from: (usize, SocketId), to: (usize, SocketId)) -> f64 {
    let data = vec![7; 1 << 20];
    let mut run = |time| {
        let (until, mut received) = (world.now + time, 0);
        loop {
            while world.send(from.0, from.1, &data) > 0 {}
            received += world.read(to.0, to.1).len();
            if !world.step(until) {
                return received as f64 / time.as_secs_f64();
            }
        }
    };
    // This link delivers a window at once, which is acknowledged at once, and Reno grows with each acknowledgement.
    run(Duration::from_secs(12));
    run(Duration::from_secs(2))
}

#[test]
fn one_connection_fills_a_long_fat_path_each_way() {
    let link = Link { delay: Duration::from_millis(100), loss: 0, jitter: Duration::ZERO };
    for is_upload in [true, false] {
        let mut world = World::with(HostConfig::new([1; 32]), HostConfig::new([2; 32]), link);
        let (client, server) = world.connected();
        let (from, to) = if is_upload { ((A, client), (B, server)) } else { ((B, server), (A, client)) };
        let reached = rate(&mut world, from, to);
        assert!(reached > RATE, "upload {is_upload}: {reached}");
    }
}

//! A thousand connections at once, and a poll whose work does not grow with ten thousand that are idle.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::time::Duration;

use common::{A, B, B4, World};
use webtun_stack::{BufferSizes, HostConfig, ListenOptions, SocketId};

fn world_of(count: usize) -> (World, Vec<(SocketId, SocketId)>) {
    let buffers = Some(BufferSizes { receive: 4096, send: 4096 });
    let config = |seed| HostConfig { buffers, ..common::config(seed) };
    let link = common::Link { delay: Duration::from_millis(5), loss: 0, jitter: Duration::ZERO };
    let mut world = World::with(config(1), config(2), link);
    let listener = world.listen_with(B, 7, ListenOptions { backlog: count, ..ListenOptions::default() });
    let clients: Vec<SocketId> = (0..count).map(|_| world.connect(A, (B4, 7))).collect();
    world.run(Duration::from_secs(1));
    let servers: Vec<SocketId> = std::iter::from_fn(|| world.hosts[B].tcp_accept(listener)).collect();
    assert_eq!(servers.len(), count);
    (world, clients.into_iter().zip(servers).collect())
}

#[test]
fn a_thousand_sockets_each_echo_twice() {
    let (mut world, pairs) = world_of(1000);
    for turn in 0..2 {
        for (index, (client, _)) in pairs.iter().enumerate() {
            world.send(A, *client, format!("{turn} {index}").as_bytes());
        }
        world.run(Duration::from_secs(1));
        for (_, server) in &pairs {
            let data = world.read(B, *server);
            world.send(B, *server, &data);
        }
        world.run(Duration::from_secs(1));
        let mut addresses = std::collections::BTreeSet::new();
        for (client, _) in &pairs {
            let text = String::from_utf8(world.read(A, *client)).unwrap();
            assert!(text.starts_with(&format!("{turn} ")), "{text}");
            assert!(addresses.insert(text));
        }
    }
}

/// How many sockets are looked at while one connection moves some data beside `idle` others.
fn polls(idle: usize) -> u64 {
    let (mut world, pairs) = world_of(idle + 1);
    let (client, server) = pairs[idle / 2];
    let before = world.hosts[A].stats().socket_polls;
    for _ in 0..100 {
        world.send(A, client, &[7; 1000]);
        world.run(Duration::from_millis(50));
        assert_eq!(world.read(B, server).len(), 1000);
    }
    world.hosts[A].stats().socket_polls - before
}

#[test]
fn idle_sockets_cost_nothing() {
    assert_eq!(polls(0), polls(10_000));
}

//! A reader may take its time: nothing is lost, memory stays bounded, others go on.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::time::Duration;

use common::{A, B, World, pattern};
use webtun_stack::{BufferSizes, HostConfig, Received};

const SECOND: Duration = Duration::from_secs(1);

fn small_buffers() -> World {
    let buffers = Some(BufferSizes { receive: 65_536, send: 65_536 });
    let config = |seed| HostConfig { buffers, ..common::config(seed) };
    World::with(config(1), config(2), common::Link { delay: Duration::from_millis(5), loss: 0, jitter: Duration::ZERO })
}

#[test]
fn the_server_closing_right_after_its_last_byte_loses_nothing() {
    for half_closed_first in [false, true] {
        let mut world = small_buffers();
        let (client, server) = world.connected();
        if half_closed_first {
            world.hosts[A].tcp_shutdown(client, world.now);
            world.run(SECOND);
        }
        let data = pattern(100_000);
        let mut sent = 0;
        let mut received = Vec::new();
        while sent < data.len() {
            sent += world.send(B, server, &data[sent..]);
            world.run(SECOND);
            if sent < data.len() {
                received.extend(world.read(A, client));
            }
        }
        world.hosts[B].close(server, world.now);
        // Far longer than TIME-WAIT, LAST-ACK and every timer of the peer.
        world.run(SECOND * 600);
        while received.len() < data.len() {
            let mut buffer = [0; 777];
            match world.hosts[A].tcp_recv(client, &mut buffer, world.now) {
                Ok(Received::Data(len)) => received.extend_from_slice(&buffer[..len]),
                other => panic!("{other:?} after {} octets", received.len()),
            }
            world.run(Duration::from_millis(300));
        }
        assert!(received == data);
        assert_eq!(world.recv(A, client), Ok(Received::Finished));
    }
}

#[test]
fn a_stopped_reader_stops_its_sender_alone() {
    let mut world = small_buffers();
    let (client, server) = world.connected();
    let listener = world.listen(B, 81);
    let other = world.connect(A, (common::B4, 81));
    let other_server = world.accept(B, listener);
    let data = pattern(1_000_000);
    let mut sent = 0;
    for _ in 0..20 {
        sent += world.send(B, server, &data[sent..]);
        world.send(A, other, b"ping");
        world.run(SECOND);
        assert_eq!(world.read(B, other_server), b"ping");
    }
    assert!(sent <= 2 * 65_536 + 2048, "{sent} octets taken in");
    assert_eq!(world.hosts[A].tcp_readable(client), 65_536);
    let polls = [A, B].map(|host| world.hosts[host].stats().socket_polls);
    world.run(SECOND * 60);
    for host in [A, B] {
        assert!(world.hosts[host].stats().socket_polls - polls[host] < 60, "waiting is not work");
    }
    let mut received = Vec::new();
    world.run_until(SECOND * 600, |world| {
        received.extend(world.read(A, client));
        sent += world.send(B, server, &data[sent..]);
        received.len() == data.len()
    });
    assert!(received == data);
}

#[test]
fn readable_and_writable_are_told_once_per_turn() {
    use webtun_stack::SocketEvent::{TcpReadable, TcpWritable};
    let mut world = small_buffers();
    let (client, server) = world.connected();
    world.take_events(A);
    world.take_events(B);
    for _ in 0..3 {
        world.send(A, client, b"one");
        world.run(SECOND);
    }
    assert_eq!(world.take_events(B), [TcpReadable(server)]);
    world.read(B, server);
    world.send(A, client, b"two");
    world.run(SECOND);
    assert_eq!(world.take_events(B), [TcpReadable(server)]);
    assert_eq!(world.take_events(A), []);
    world.read(B, server);
    assert!(world.send(A, client, &pattern(100_000)) < 100_000);
    world.run(SECOND);
    assert_eq!(world.take_events(A), [TcpWritable(client)]);
}

#![expect(clippy::unwrap_used, reason = "in a test")]
//! Reading and writing where the octets lie.

mod common;

use std::time::Duration;

use common::{A, B, World, pattern};
use webtun_stack::{Received, SendError};

const SECOND: Duration = Duration::from_secs(1);

#[test]
fn what_was_only_looked_at_is_there_again() {
    let mut world = World::new();
    let (client, server) = world.connected();
    world.send(A, client, b"hello");
    world.run(SECOND);
    let mut seen = Vec::new();
    let look = |data: &[u8]| {
        seen.extend_from_slice(data);
        0
    };
    assert_eq!(world.hosts[B].tcp_recv_with(server, 100, look, world.now), Ok(Received::Data(0)));
    assert_eq!(seen, b"hello");
    let take = |data: &[u8]| {
        assert_eq!(data, b"hel");
        2
    };
    assert_eq!(world.hosts[B].tcp_recv_with(server, 3, take, world.now), Ok(Received::Data(2)));
    assert_eq!(world.read(B, server), b"llo");
    assert_eq!(world.hosts[B].tcp_recv_with(server, 3, <[u8]>::len, world.now), Ok(Received::Empty));
    world.hosts[A].tcp_shutdown(client, world.now);
    world.run(SECOND);
    assert_eq!(world.hosts[B].tcp_recv_with(server, 3, <[u8]>::len, world.now), Ok(Received::Finished));
}

#[test]
fn data_round_the_end_of_a_buffer_comes_in_two_parts() {
    let mut world = World::new();
    let (client, server) = world.connected();
    let data = pattern(3 << 20);
    let (mut sent, mut received) = (0, Vec::new());
    world.run_until(60 * SECOND, |world| {
        while sent < data.len() {
            let rest = &data[sent..];
            let write = |room: &mut [u8]| {
                room.copy_from_slice(&rest[..room.len()]);
                room.len()
            };
            match world.hosts[A].tcp_send_with(client, rest.len(), write, world.now).unwrap() {
                0 => break,
                taken => sent += taken,
            }
        }
        let mut take = |data: &[u8]| {
            received.extend_from_slice(data);
            data.len()
        };
        while let Ok(Received::Data(1..)) = world.hosts[B].tcp_recv_with(server, usize::MAX, &mut take, world.now) {}
        received.len() == data.len()
    });
    assert!(received == data);
}

#[test]
fn a_writer_without_room_is_told_when_there_is_some() {
    let mut world = World::new();
    let (client, server) = world.connected();
    while world.hosts[A].tcp_send_with(client, 65_536, |room| room.len(), world.now).unwrap() > 0 {}
    world.take_events(A);
    world.run_until(60 * SECOND, |world| {
        world.read(B, server);
        world.events[A].contains(&webtun_stack::SocketEvent::TcpWritable(client))
    });
    world.hosts[A].tcp_abort(client, world.now);
    assert!(matches!(world.hosts[A].tcp_send_with(client, 1, |room| room.len(), world.now), Err(SendError::Closed(_))));
}

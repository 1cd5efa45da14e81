//! Each direction ends by itself, and the end is told apart from a reset.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::time::Duration;

use common::{A, B, World};
use webtun_stack::{CloseReason, Received, RecvError, SendError, SocketEvent, TcpState};

const SECOND: Duration = Duration::from_secs(1);

#[test]
fn the_other_direction_goes_on_after_a_shutdown() {
    let mut world = World::new();
    let (client, server) = world.connected();
    world.send(A, client, b"question");
    world.hosts[A].tcp_shutdown(client, world.now);
    assert_eq!(world.hosts[A].tcp_send(client, b"more", world.now), Err(SendError::ShutDown));
    world.run(SECOND);
    assert_eq!(world.read(B, server), b"question");
    assert_eq!(world.recv(B, server), Ok(Received::Finished));
    for _ in 0..3 {
        world.send(B, server, b"answer ");
        world.run(SECOND);
    }
    world.hosts[B].tcp_shutdown(server, world.now);
    world.run(SECOND);
    assert_eq!(world.read(A, client), b"answer answer answer ");
    assert_eq!(world.recv(A, client), Ok(Received::Finished));
    for (host, id) in [(A, client), (B, server)] {
        assert_eq!(world.hosts[host].tcp_state(id), Some(TcpState::Closed(CloseReason::Graceful)));
        let closed = SocketEvent::TcpClosed(id, CloseReason::Graceful);
        assert_eq!(world.events[host].iter().filter(|event| **event == closed).count(), 1);
    }
}

#[test]
fn the_server_may_end_first() {
    let mut world = World::new();
    let (client, server) = world.connected();
    world.send(B, server, b"greeting");
    world.hosts[B].tcp_shutdown(server, world.now);
    world.run(SECOND);
    assert_eq!(world.read(A, client), b"greeting");
    assert_eq!(world.recv(A, client), Ok(Received::Finished));
    world.send(A, client, b"late");
    world.hosts[A].tcp_shutdown(client, world.now);
    world.run(SECOND);
    assert_eq!(world.read(B, server), b"late");
    assert_eq!(world.recv(B, server), Ok(Received::Finished));
}

#[test]
fn an_abort_is_a_reset_for_the_peer() {
    let mut world = World::new();
    let (client, server) = world.connected();
    world.hosts[A].tcp_abort(client, world.now);
    world.run(SECOND);
    assert_eq!(world.recv(B, server), Err(RecvError::Closed(CloseReason::Reset)));
    assert_eq!(world.hosts[B].tcp_send(server, b"x", world.now), Err(SendError::Closed(CloseReason::Reset)));
    assert_eq!(world.recv(A, client), Err(RecvError::Closed(CloseReason::Aborted)));
    assert!(world.events[B].contains(&SocketEvent::TcpClosed(server, CloseReason::Reset)));
    assert!(world.events[B].contains(&SocketEvent::TcpReadable(server)));
}

#[test]
fn data_from_before_a_reset_can_be_read() {
    let mut world = World::new();
    let (client, server) = world.connected();
    world.send(A, client, b"last words");
    world.run(SECOND);
    world.hosts[A].tcp_abort(client, world.now);
    world.run(SECOND);
    assert_eq!(world.read(B, server), b"last words");
    assert_eq!(world.recv(B, server), Err(RecvError::Closed(CloseReason::Reset)));
}

#[test]
fn closing_with_unread_data_resets_and_without_does_not() {
    let mut world = World::new();
    let (client, server) = world.connected();
    world.send(B, server, b"never read");
    world.run(SECOND);
    world.hosts[A].close(client, world.now);
    world.run(SECOND);
    assert_eq!(world.recv(B, server), Err(RecvError::Closed(CloseReason::Reset)));

    let mut world = World::new();
    let (client, server) = world.connected();
    world.send(A, client, b"all said");
    world.hosts[A].close(client, world.now);
    assert_eq!(world.hosts[A].tcp_send(client, b"x", world.now), Err(SendError::UnknownSocket));
    world.run(SECOND);
    assert_eq!(world.read(B, server), b"all said");
    assert_eq!(world.recv(B, server), Ok(Received::Finished));
    // Data to a program that has gone meets a reset.
    world.send(B, server, b"anybody?");
    world.run(SECOND);
    assert_eq!(world.hosts[B].tcp_state(server), Some(TcpState::Closed(CloseReason::Reset)));
}

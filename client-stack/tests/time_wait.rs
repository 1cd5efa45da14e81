//! A connection in TIME-WAIT costs no buffers, and still answers.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::time::Duration;

use common::{A, B, B4, Link, World};
use webtun_stack::{CloseReason, SocketEvent};

const MOMENT: Duration = Duration::from_millis(10);

fn world() -> World {
    let link = Link { delay: Duration::from_millis(1), loss: 0, jitter: Duration::ZERO };
    World::with(common::config(1), common::config(2), link)
}

#[test]
fn ten_thousand_connections_in_turn_hold_memory_flat() {
    let mut world = world();
    let listener = world.listen(B, 7);
    let mut most = 0;
    for turn in 0..10_000 {
        let client = world.connect(A, (B4, 7));
        world.run(MOMENT);
        let server = world.hosts[B].tcp_accept(listener).unwrap();
        world.send(A, client, b"x");
        // Who closes first has TIME-WAIT.
        let (first, second) = if turn % 2 == 0 { ((A, client), (B, server)) } else { ((B, server), (A, client)) };
        world.run(MOMENT);
        assert_eq!(world.read(B, server), b"x");
        for (host, id) in [first, second] {
            world.hosts[host].close(id, world.now);
            world.run(MOMENT);
        }
        for host in [A, B] {
            most = most.max(world.hosts[host].stats().buffer_octets);
            world.take_events(host);
        }
    }
    assert_eq!(most, 0, "octets reserved although everything is closed");
}

#[test]
fn what_came_before_the_end_can_be_read_during_time_wait() {
    let mut world = world();
    let (client, server) = world.connected();
    world.send(B, server, b"last words");
    world.hosts[A].tcp_shutdown(client, world.now);
    world.run(MOMENT);
    world.hosts[B].close(server, world.now);
    world.run(MOMENT);
    assert_eq!(world.hosts[A].stats().buffer_octets, 0);
    assert!(world.take_events(A).contains(&SocketEvent::TcpClosed(client, CloseReason::Graceful)));
    assert_eq!(world.read(A, client), b"last words");
}

#[test]
fn a_lost_last_acknowledgement_is_said_again() {
    let mut world = world();
    let (client, server) = world.connected();
    world.hosts[A].close(client, world.now);
    world.run(MOMENT);
    world.hosts[B].close(server, world.now);
    world.drain();
    world.link.loss = 1000;
    world.run(MOMENT);
    world.link.loss = 0;
    assert_eq!(world.hosts[A].stats().buffer_octets, 0, "in TIME-WAIT");
    assert_ne!(world.hosts[B].stats().buffer_octets, 0, "in LAST-ACK");
    world.run(Duration::from_secs(5));
    assert_eq!(world.hosts[B].stats().buffer_octets, 0, "its FIN was acknowledged");
}

#[test]
fn the_addresses_of_a_connection_that_has_just_ended_are_not_used_again() {
    let mut world = world();
    world.listen(B, 80);
    let local = Some("100.64.0.2:5000".parse().unwrap());
    let options = || webtun_stack::TcpOptions { local, ..webtun_stack::TcpOptions::default() };
    let client = world.hosts[A].tcp_connect((B4, 80).into(), options(), world.now).unwrap();
    world.run(MOMENT);
    world.hosts[A].close(client, world.now);
    world.run(MOMENT);
    let busy = world.hosts[A].tcp_connect((B4, 80).into(), options(), world.now);
    assert_eq!(busy, Err(webtun_stack::ConnectError::AddressInUse));
}

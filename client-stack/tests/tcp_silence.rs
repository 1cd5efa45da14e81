//! A peer that has gone is noticed where somebody waits for it, and only there.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::time::Duration;

use common::{A, B, World};
use webtun_stack::{CloseReason, RecvError, TcpState};

const MINUTE: Duration = Duration::from_secs(60);

#[test]
fn keep_alive_probes_keep_a_live_peer_and_find_a_dead_one() {
    let mut world = World::new();
    let (client, server) = world.connected();
    world.hosts[A].tcp_set_keep_alive(client, Some(Duration::from_secs(5)), world.now);
    world.trace = Some(Vec::new());
    world.run(MINUTE);
    let probes = world.trace.take().unwrap().iter().filter(|(from, _)| *from == A).count();
    assert!((10..=16).contains(&probes), "{probes} probes in a minute");
    assert!(matches!(world.hosts[A].tcp_state(client), Some(TcpState::Open { .. })));
    assert_eq!(world.read(B, server), b"");
    world.link.loss = 1000;
    world.run(Duration::from_secs(26));
    assert_eq!(world.recv(A, client), Err(RecvError::Closed(CloseReason::TimedOut)));
}

#[test]
fn an_idle_connection_without_keep_alive_outlives_a_day() {
    let mut world = World::new();
    let (client, server) = world.connected();
    world.run(MINUTE * 60 * 24);
    world.send(A, client, b"good morning");
    world.run(MINUTE);
    assert_eq!(world.read(B, server), b"good morning");
}

#[test]
fn unacknowledged_data_times_out() {
    let mut world = World::new();
    let (client, _) = world.connected();
    world.run(MINUTE * 60);
    world.link.loss = 1000;
    world.send(A, client, b"hello?");
    world.run(MINUTE * 14);
    assert!(matches!(world.hosts[A].tcp_state(client), Some(TcpState::Open { .. })));
    world.run(MINUTE * 2);
    assert_eq!(world.hosts[A].tcp_state(client), Some(TcpState::Closed(CloseReason::TimedOut)));
}

#[test]
fn a_closed_connection_does_not_wait_for_ever() {
    let mut world = World::new();
    let (client, _) = world.connected();
    world.link.loss = 1000;
    world.send(A, client, b"goodbye");
    world.hosts[A].close(client, world.now);
    world.run(MINUTE * 10);
    assert_eq!(world.hosts[A].poll_timeout(), None, "nothing is left");
}

#[test]
fn while_the_link_is_down_nobody_times_out_and_nothing_is_sent() {
    let mut world = World::new();
    let (client, server) = world.connected();
    world.hosts[A].tcp_set_keep_alive(client, Some(Duration::from_secs(1)), world.now);
    world.run(MINUTE);
    world.hosts[A].set_link(false, world.now);
    world.send(A, client, b"patience");
    world.trace = Some(Vec::new());
    let polls = world.hosts[A].stats().socket_polls;
    world.run(MINUTE * 2);
    assert!(world.trace.take().unwrap().iter().all(|(from, _)| *from == B));
    assert_eq!(world.hosts[A].stats().socket_polls, polls, "no spinning");
    world.hosts[A].set_link(true, world.now);
    world.run(Duration::from_millis(50));
    assert_eq!(world.read(B, server), b"patience", "without waiting for a timer that has backed off");
}

#[test]
fn a_host_speaks_with_itself_while_its_link_is_down() {
    let mut world = World::new();
    world.hosts[A].set_link(false, world.now);
    let listener = world.listen(A, 81);
    let client = world.connect(A, ([127, 0, 0, 1], 81));
    let server = world.accept(A, listener);
    let data = common::pattern(300_000);
    common::transfer(&mut world, (A, client), (A, server), &data, MINUTE);
    let (one, two) = (world.bind(A, 0), world.bind(A, 82));
    let to = Some(([127, 0, 0, 1], 82).into());
    assert_eq!(world.hosts[A].udp_send(one, b"myself", to, world.now), Ok(true));
    assert_eq!(world.hosts[A].udp_send(one, b"others", Some((common::B4, 82).into()), world.now), Ok(false));
    world.run(MINUTE);
    assert_eq!(world.hosts[A].udp_recv(two).unwrap().payload, b"myself");
    world.take_events(A);
    world.hosts[A].set_link(true, world.now);
    assert_eq!(world.take_events(A), [webtun_stack::SocketEvent::UdpWritable(one)]);
}

#[test]
fn both_directions_go_on_after_both_have_timed_out() {
    let mut world = World::new();
    let (client, server) = world.connected();
    let data = common::pattern(600_000);
    let (mut up, mut down) = (Vec::new(), Vec::new());
    let (mut sent_up, mut sent_down) = (0, 0);
    let mut outages = 0;
    world.run_until(MINUTE * 30, |world| {
        sent_up += world.send(A, client, &data[sent_up..]);
        sent_down += world.send(B, server, &data[sent_down..]);
        up.extend(world.read(B, server));
        down.extend(world.read(A, client));
        if up.len() + down.len() > outages * 150_000 + 50_000 {
            outages += 1;
            world.link.loss = 1000;
            world.run(Duration::from_secs(20));
            world.link.loss = 0;
        }
        up.len() == data.len() && down.len() == data.len()
    });
    assert!(up == data && down == data);
    assert!(outages > 5);
}

//! When the tunnel tries again, and when it does not.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::time::Duration;

use common::tunnel::{Policy, TunnelWorld, encode};
use webtun_stack::{CloseCode, CloseReason, ConnectError, Event, Status, TcpState};
use webtun_wire::{Capsule, Close};

const SECOND: Duration = Duration::from_secs(1);

fn last(world: &TunnelWorld) -> Status {
    (*world.statuses().last().unwrap()).clone()
}

#[test]
fn attempts_come_after_a_quarter_to_ten_seconds() {
    let mut world = TunnelWorld::new();
    world.reachable = false;
    world.run(SECOND * 600);
    let waits: Vec<Duration> = world.opened.windows(2).map(|pair| pair[1] - pair[0]).collect();
    assert!(waits.len() > 60);
    assert!(waits.iter().all(|wait| (Duration::from_millis(250)..=SECOND * 10).contains(wait)), "{waits:?}");
    assert!(waits[0] <= SECOND / 2);
    assert!(waits.iter().any(|wait| *wait > SECOND * 6));
    world.reachable = true;
    world.stack.reconnect_now(world.now);
    world.run(SECOND / 10);
    assert_eq!(last(&world), Status::Connected { resumed: false });
}

#[test]
fn refusals_that_last_are_final() {
    for code in [CloseCode::Version, CloseCode::Unauthorized, CloseCode::Exhausted, CloseCode::Internal] {
        let mut world = TunnelWorld::new();
        world.gateway.policy = Policy::Refuse(code, 0);
        world.run(SECOND * 100);
        assert_eq!(last(&world), Status::Closed { code, reason: "scripted".into() });
        assert_eq!(world.opened.len(), 1);
        assert_eq!(world.stack.poll_timeout(), None);
        let connect = world.stack.tcp_connect((common::B4, 80).into(), Default::default(), world.now);
        assert_eq!(connect, Err(ConnectError::TunnelClosed));
    }
}

#[test]
fn refusals_that_pass_are_waited_for() {
    let mut world = TunnelWorld::new();
    world.gateway.policy = Policy::Refuse(CloseCode::Exhausted, 30_000);
    world.run(SECOND * 29);
    assert_eq!(world.opened.len(), 1);
    world.gateway.policy = Policy::Accept;
    world.run(SECOND * 12);
    assert_eq!(last(&world), Status::Connected { resumed: false });
}

#[test]
fn a_gateway_that_does_not_answer_is_left() {
    let mut world = TunnelWorld::new();
    world.gateway.policy = Policy::Ignore;
    world.run(SECOND * 9);
    assert_eq!(world.opened.len(), 1);
    world.run(SECOND * 2);
    assert_eq!(world.opened.len(), 2);
}

#[test]
fn a_silent_transport_is_left_after_two_ping_intervals() {
    let mut world = TunnelWorld::established();
    world.run(SECOND);
    assert_eq!(world.stack.rtt(), Some(Duration::from_millis(20)));
    world.gateway.answer_pings = false;
    world.run(SECOND * 28);
    assert_eq!(last(&world), Status::Connected { resumed: false });
    world.run(SECOND * 5);
    assert_eq!(last(&world), Status::Connected { resumed: true });
}

#[test]
fn a_long_sleep_is_no_silence() {
    let mut world = TunnelWorld::established();
    world.run(SECOND);
    // The machine slept for an hour; the transport has survived it.
    world.now += SECOND * 3600;
    world.run(SECOND * 60);
    assert_eq!(world.opened.len(), 1);
}

#[test]
fn close_says_so_and_ends_everything() {
    let mut world = TunnelWorld::established();
    let (client, server) = world.tcp();
    world.stack.close_tunnel(world.now);
    world.run(SECOND * 10);
    assert_eq!(world.gateway.host.tcp_state(server), Some(TcpState::Closed(CloseReason::Reset)));
    assert!(world.gateway.seen.last().unwrap().contains("Normal"), "{:?}", world.gateway.seen);
    assert_eq!(world.stack.tcp_state(client), Some(TcpState::Closed(CloseReason::TunnelClosed)));
    assert_eq!(last(&world), Status::Closed { code: CloseCode::Normal, reason: String::new() });
    assert!(!world.connected);
    assert_eq!(world.opened.len(), 1);
}

#[test]
fn a_session_that_is_closed_begins_anew_where_that_makes_sense() {
    for (code, retry_after_ms, again) in
        [(CloseCode::Shutdown, 2000, true), (CloseCode::Shutdown, 0, false), (CloseCode::Replaced, 1000, false)]
    {
        let mut world = TunnelWorld::established();
        let (client, _) = world.tcp();
        let close = Close { code, retry_after_ms, reason: "scripted" };
        world.gateway.bare.push_back(encode(&Capsule::Close(close)));
        world.run(SECOND * 13);
        let lost = if again { CloseReason::AddressLost } else { CloseReason::TunnelClosed };
        assert_eq!(world.stack.tcp_state(client), Some(TcpState::Closed(lost)));
        assert_eq!(matches!(last(&world), Status::Connected { resumed: false }), again, "{code:?}");
    }
}

#[test]
fn drain_means_another_connection_of_the_same_session() {
    let mut world = TunnelWorld::established();
    let (client, server) = world.tcp();
    world.gateway.bare.push_back(encode(&Capsule::Drain { retry_after_ms: 1500 }));
    world.run(SECOND);
    assert_eq!(world.opened.len(), 1);
    world.run(SECOND * 2);
    assert_eq!(last(&world), Status::Connected { resumed: true });
    world.stack.tcp_send(client, b"still", world.now).unwrap();
    world.run(SECOND);
    assert_eq!(world.read_remote(server), b"still");
}

#[test]
fn what_breaks_the_protocol_is_answered_and_final() {
    let not_a_capsule = vec![0xff];
    let hello = encode(&Capsule::Sequence { number: 77 });
    let request = encode(&Capsule::ContextAssign { context: 2, kind: 1 });
    let ack = encode(&Capsule::Ack { next: 1_000_000 });
    let late_sequence = [encode(&Capsule::Ping { opaque: 1 }), encode(&Capsule::Sequence { number: 0 })].concat();
    for message in [not_a_capsule, hello, request, ack, late_sequence] {
        let mut world = TunnelWorld::established();
        world.run(SECOND);
        world.gateway.bare.push_back(message);
        world.run(SECOND * 30);
        assert!(matches!(last(&world), Status::Closed { code: CloseCode::Protocol, .. }));
        assert!(world.gateway.seen.last().unwrap().contains("Protocol"), "{:?}", world.gateway.seen);
        assert_eq!(world.opened.len(), 1);
    }
}

#[test]
fn what_is_unknown_is_skipped_and_counted() {
    let mut world = TunnelWorld::established();
    let unknown = Capsule::Unknown { kind: 0x1234_5678, value: b"whatever" };
    world.gateway.bare.push_back(encode(&unknown));
    world.gateway.bare.push_back(encode(&Capsule::Datagram { context: 8, payload: b"?" }));
    world.gateway.bare.push_back(Vec::new());
    world.gateway.bare.push_back(encode(&Capsule::Datagram { context: 0, payload: b"no packet" }));
    world.run(SECOND);
    assert_eq!(world.stack.stats().unknown_contexts, 1);
    assert_eq!(world.stack.host_stats().packets_dropped, 1);
    assert_eq!(last(&world), Status::Connected { resumed: false });
    let closed = |event: &&Event| matches!(event, Event::Status(Status::Closed { .. }));
    assert_eq!(world.events.iter().find(closed), None);
}

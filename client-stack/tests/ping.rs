//! Echo requests are answered, timed, and fail with their reason.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::net::IpAddr;
use std::time::Duration;

use common::{A, A4, B4, B6, World};
use etherparse::{Icmpv4Type, PacketBuilder, icmpv4};
use webtun_stack::{DenyReason, FlowDenied, PingError, PingOptions, SocketEvent};

#[test]
fn a_reply_is_timed_over_both_families() {
    let mut world = World::new();
    for (target, len) in [(B4, 0), (B4, 56), (B6, 56), (B4, 1472)] {
        let options = PingOptions { len, ..PingOptions::default() };
        let id = world.hosts[A].ping(target, options, world.now).unwrap();
        world.run(Duration::from_secs(1));
        let rtt = Duration::from_millis(10);
        let pong = SocketEvent::Pong { id, from: target, rtt, len, hop_limit: 64 };
        assert_eq!(world.take_events(A), [pong]);
    }
    let options = PingOptions { len: 1473, ..PingOptions::default() };
    assert_eq!(world.hosts[A].ping(B4, options, world.now), Err(PingError::TooLong));
}

#[test]
fn silence_times_out() {
    let mut world = World::new();
    let options = PingOptions { timeout: Duration::from_secs(2), ..PingOptions::default() };
    let id = world.hosts[A].ping(IpAddr::from([192, 0, 2, 99]), options, world.now).unwrap();
    world.run(Duration::from_millis(1999));
    assert_eq!(world.take_events(A), []);
    world.run(Duration::from_millis(2));
    assert_eq!(world.take_events(A), [SocketEvent::PingFailed { id, from: None, error: PingError::TimedOut }]);
    assert_eq!(world.hosts[A].poll_timeout(), None);
}

#[test]
fn a_router_that_gives_up_is_named() {
    let mut world = World::new();
    let options = PingOptions { hop_limit: 1, ..PingOptions::default() };
    let id = world.hosts[A].ping(B4, options, world.now).unwrap();
    let request = world.hosts[A].poll_packet(world.now).unwrap();
    assert_eq!(request[8], 1);
    let IpAddr::V4(own) = A4 else { unreachable!() };
    let mut packet = Vec::new();
    PacketBuilder::ipv4([198, 51, 100, 1], own.octets(), 60)
        .icmpv4(Icmpv4Type::TimeExceeded(icmpv4::TimeExceededCode::TtlExceededInTransit))
        .write_to_vec(&mut packet, &request[..28])
        .unwrap();
    world.hosts[A].handle_packet(&packet, world.now);
    let from = Some(IpAddr::from([198, 51, 100, 1]));
    assert_eq!(world.take_events(A), [SocketEvent::PingFailed { id, from, error: PingError::HopLimitExceeded }]);
}

#[test]
fn a_denied_target_is_said() {
    let mut world = World::new();
    let target = IpAddr::from([10, 0, 0, 1]);
    let id = world.hosts[A].ping(target, PingOptions::default(), world.now).unwrap();
    let reason = DenyReason::Policy;
    let denied = FlowDenied { reason, protocol: 1, source_port: 1, destination: target, destination_port: 0 };
    world.hosts[A].handle_flow_denied(&denied, world.now);
    assert_eq!(world.take_events(A), [SocketEvent::PingFailed { id, from: None, error: PingError::Denied }]);
}

#[test]
fn what_cannot_be_pinged_is_said_at_once_and_the_number_is_bounded() {
    let mut world = World::new();
    let mut ping = |target: &str| world.hosts[A].ping(target.parse().unwrap(), PingOptions::default(), world.now);
    assert_eq!(ping("0.0.0.0"), Err(PingError::Unaddressable));
    assert_eq!(ping("ff02::1"), Err(PingError::Unaddressable));
    ping("127.0.0.1").unwrap();
    for turn in 0.. {
        match world.hosts[A].ping(B4, PingOptions::default(), world.now) {
            Ok(_) => world.drain(),
            Err(error) => {
                assert_eq!((turn, error), (1024, PingError::TooManyPings));
                break;
            }
        }
    }
    world.run(Duration::from_secs(1));
    assert_eq!(world.take_events(A).len(), 1025);
}

//! A cut is not a loss.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::time::Duration;

use common::pattern;
use common::tunnel::TunnelWorld;
use webtun_stack::{CloseReason, Event, Received, SocketEvent, Status, TcpState};

const SECOND: Duration = Duration::from_secs(1);

#[test]
fn the_lease_is_what_the_gateway_said() {
    let world = TunnelWorld::established();
    let lease = world.stack.lease().unwrap();
    assert_eq!(lease.addresses, [(common::A4, 32), (common::A6, 128)]);
    assert_eq!(lease.dns, [common::B4]);
    assert_eq!((lease.mtu, lease.grace), (65_535, SECOND * 120));
    assert_eq!(lease.external_ports.len(), 2);
    assert_eq!(world.statuses(), [&Status::Connecting, &Status::Connected { resumed: false }]);
}

#[test]
fn ephemeral_ports_come_from_the_session_s_blocks() {
    let mut world = TunnelWorld::established();
    for (target, ports) in [(common::B4, 20_000..=20_999), (common::B6, 30_000..=30_999)] {
        let id = world.stack.tcp_connect((target, 80).into(), Default::default(), world.now).unwrap();
        assert!(ports.contains(&world.stack.tcp_addresses(id).unwrap().0.port()));
    }
}

#[test]
fn twenty_cuts_during_a_transfer_lose_nothing() {
    let mut world = TunnelWorld::established();
    let (client, server) = world.tcp();
    let (up, down) = (pattern(3_000_000), pattern(2_000_000));
    let (mut sent_up, mut sent_down) = (0, 0);
    let (mut got_up, mut got_down) = (Vec::new(), Vec::new());
    let mut cuts = 0;
    world.run_until(SECOND * 1000, |world| {
        sent_up += world.stack.tcp_send(client, &up[sent_up..], world.now).unwrap();
        sent_down += world.gateway.host.tcp_send(server, &down[sent_down..], world.now).unwrap();
        got_up.extend(world.read_remote(server));
        got_down.extend(world.read(client));
        let progress = (got_up.len() + got_down.len()) / 200_000;
        if cuts < 20 && progress > cuts && matches!(world.stack.status(), Status::Connected { .. }) {
            world.cut();
            cuts += 1;
        }
        got_up.len() == up.len() && got_down.len() == down.len()
    });
    assert_eq!(cuts, 20);
    assert!(got_up == up && got_down == down);
    let resumed = world.statuses().iter().filter(|status| ***status == Status::Connected { resumed: true }).count();
    assert_eq!(resumed, 20);
    assert!(world.stack.stats().replayed > 0);
    // Nothing was lost, so TCP has nothing to send again: every message came once and in order.
    assert!(world.gateway.numbers.is_sorted());
}

#[test]
fn a_connection_waits_out_a_long_cut_and_goes_on_at_once() {
    let mut world = TunnelWorld::established();
    let (client, server) = world.tcp();
    world.reachable = false;
    world.cut();
    world.stack.tcp_send(client, b"later", world.now).unwrap();
    world.run(SECOND * 100);
    assert!(matches!(world.stack.tcp_state(client), Some(TcpState::Open { .. })));
    world.reachable = true;
    world.run_until(SECOND * 11, |world| matches!(world.stack.status(), Status::Connected { resumed: true }));
    world.run(SECOND / 10);
    assert_eq!(world.read_remote(server), b"later");
}

#[test]
fn after_the_grace_period_connections_end_and_a_new_session_begins() {
    let mut world = TunnelWorld::established();
    let (client, _) = world.tcp();
    let udp = world.stack.udp_bind("[::]:5000".parse().unwrap(), Default::default(), world.now).unwrap();
    world.reachable = false;
    world.cut();
    world.run(SECOND * 121);
    let lost = CloseReason::AddressLost;
    assert_eq!(world.stack.tcp_state(client), Some(TcpState::Closed(lost)));
    assert!(world.events.contains(&Event::Socket(SocketEvent::TcpClosed(client, lost))));
    assert_eq!(world.stack.lease(), None);
    world.reachable = true;
    world.run(SECOND * 11);
    assert_eq!(world.statuses().last(), Some(&&Status::Connected { resumed: false }));
    assert_eq!(world.gateway.seen.last().map(String::as_str), Some("Ping"));
    assert_eq!(world.stack.udp_send(udp, b"goes on", Some((common::B4, 9).into()), world.now), Ok(true));
    let (client, server) = world.tcp();
    world.stack.tcp_send(client, b"anew", world.now).unwrap();
    world.run(SECOND);
    assert_eq!(world.read_remote(server), b"anew");
}

#[test]
fn a_gateway_that_knows_the_session_no_more_gives_a_new_one() {
    let mut world = TunnelWorld::established();
    let (client, _) = world.tcp();
    world.gateway.session = None;
    world.cut();
    world.run(SECOND * 5);
    assert_eq!(world.stack.tcp_state(client), Some(TcpState::Closed(CloseReason::AddressLost)));
    assert_eq!(world.statuses().last(), Some(&&Status::Connected { resumed: false }));
    let hellos: Vec<_> = world.gateway.seen.iter().filter(|seen| seen.starts_with("Hello")).collect();
    assert_eq!(hellos.len(), 3, "{hellos:?}");
    assert!(hellos[1].contains("Some"), "{hellos:?}");
    assert!(hellos[2].contains("None"), "{hellos:?}");
}

#[test]
fn messages_are_acknowledged_soon_and_what_is_kept_is_bounded() {
    let mut world = TunnelWorld::established();
    let (client, server) = world.tcp();
    world.gateway.host.tcp_send(server, b"one", world.now).unwrap();
    world.run(SECOND / 5);
    assert!(world.gateway.session.as_ref().unwrap().1.is_empty(), "acknowledged within 50 ms");
    // The gateway falls silent: the stack keeps no more than it may.
    world.delay = SECOND * 20;
    let data = pattern(4_000_000);
    let mut sent = 0;
    for _ in 0..50 {
        sent += world.stack.tcp_send(client, &data[sent..], world.now).unwrap();
        world.drain();
    }
    assert!(world.stack.stats().unacknowledged <= (1 << 20) + 200_000);
    assert_eq!(world.stack.tcp_recv(client, &mut [0; 10], world.now), Ok(Received::Data(3)));
}

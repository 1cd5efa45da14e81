//! Echo requests, and what routers say about those that do not get through.

use std::net::IpAddr;
use std::time::Duration;
use webtun_stack::{PingError, PingOptions, SocketEvent};
use webtun_tests::packet::IcmpError;
use webtun_tests::path::{Fate, Path};
use webtun_tests::world::{World, WorldConfig};

/// Sends one echo request, and waits for what becomes of it.
fn ping(world: &mut World, target: IpAddr, options: PingOptions) -> SocketEvent {
    let sent = world.with_client(0, |client, now| client.stack.ping(target, options, now).unwrap());
    let answer = |world: &World| {
        world.clients[0].node.events.iter().map(|(_, event)| *event).find(|event| match event {
            SocketEvent::Pong { id, .. } | SocketEvent::PingFailed { id, .. } => *id == sent,
            _ => false,
        })
    };
    world.expect("an answer", Duration::from_secs(10), |world| answer(world).is_some());
    answer(world).unwrap()
}

fn world() -> World {
    let mut world = WorldConfig::new(1).build();
    world.connect_all();
    world
}

#[test]
fn remote_hosts_answer() {
    let mut world = world();
    for (ipv6, len) in [(false, 56), (true, 56), (false, 0), (true, 0), (false, 1473), (true, 4000), (false, 65_507)] {
        let target = world.remote(0, ipv6, 0).ip();
        let event = ping(&mut world, target, PingOptions { len, ..PingOptions::default() });
        let SocketEvent::Pong { from, rtt, len: came, hop_limit, .. } = event else {
            panic!("{len} octets to {target}: {event:?}")
        };
        assert_eq!((from, came), (target, len));
        // Two legs of 10 ms in the tunnel and two of 5 ms behind it; three routers and the gateway on the way back.
        assert_eq!((rtt, hop_limit), (Duration::from_millis(30), 60));
    }
}

#[test]
fn the_gateway_answers_inside() {
    let mut world = world();
    for target in [IpAddr::from([100, 64, 0, 1]), "fd77:6562:7475::1".parse().unwrap()] {
        let event = ping(&mut world, target, PingOptions::default());
        assert!(matches!(event, SocketEvent::Pong { from, .. } if from == target), "{event:?}");
    }
}

#[test]
fn each_hop_of_the_path_shows() {
    let mut world = world();
    for ipv6 in [false, true] {
        let target = world.remote(0, ipv6, 0).ip();
        let inner: IpAddr = if ipv6 { "fd77:6562:7475::1".parse().unwrap() } else { IpAddr::from([100, 64, 0, 1]) };
        let hops = [inner, Path::router(1, ipv6), Path::router(2, ipv6), Path::router(3, ipv6)];
        for (index, hop) in hops.into_iter().enumerate() {
            let options = PingOptions { hop_limit: index as u8 + 1, ..PingOptions::default() };
            let event = ping(&mut world, target, options);
            let SocketEvent::PingFailed { from, error, .. } = event else { panic!("hop {index}: {event:?}") };
            assert_eq!((from, error), (Some(hop), PingError::HopLimitExceeded), "hop {index}");
        }
        let event = ping(&mut world, target, PingOptions { hop_limit: 5, ..PingOptions::default() });
        assert!(matches!(event, SocketEvent::Pong { .. }), "{event:?}");
    }
}

#[test]
fn each_failure_has_its_own_error() {
    let mut world = world();
    let mut fate = |net: &str, fate| world.path.set_fate(net.parse().unwrap(), fate);
    fate("45.33.1.0/24", Fate::Error(IcmpError::HostUnreachable));
    fate("2600:1f01::/32", Fate::Error(IcmpError::NetUnreachable));
    fate("45.33.4.0/24", Fate::Silence);
    for (target, expected) in [
        ("45.33.1.1", PingError::HostUnreachable),
        ("2600:1f01::1", PingError::NetUnreachable),
        ("45.33.4.1", PingError::TimedOut),
        ("10.0.0.1", PingError::Denied),
        ("fd00::1", PingError::Denied),
    ] {
        let event = ping(&mut world, target.parse().unwrap(), PingOptions::default());
        assert!(matches!(event, SocketEvent::PingFailed { error, .. } if error == expected), "{target}: {event:?}");
    }
}

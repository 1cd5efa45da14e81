//! Clients with IPv6 alone, and hosts behind the gateway that they reach by IPv4 alone.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;
use webtun_stack::{ConnectError, PingError, PingOptions, SocketEvent};
use webtun_tests::flow::Plan;
use webtun_tests::packet::{IcmpError, View};
use webtun_tests::path::{Fate, Path};
use webtun_tests::pattern;
use webtun_tests::world::{World, WorldConfig};

fn config(seed: u64) -> WorldConfig {
    let mut config = WorldConfig::new(seed);
    config.ipv6_only = true;
    config.gateway.external.retain(|external| external.address.is_ipv4());
    // The routers' addresses are not global, which the well-known prefix could not stand for.
    config.gateway.nat64 = webtun_gateway::dataplane::Pref64::new("2600:64::/96".parse().unwrap());
    config
}

fn start(config: WorldConfig) -> World {
    let mut world = config.build();
    world.serve(7, &Plan::echo());
    world.serve_udp_echo(7);
    world.connect_all();
    world.tap = Some(Vec::new());
    world
}

fn embedded(world: &World, address: IpAddr) -> IpAddr {
    let IpAddr::V4(v4) = address else { panic!("not IPv4") };
    world.config.gateway.nat64.unwrap().embed(v4).into()
}

fn remote(world: &World, port: u16) -> SocketAddr {
    SocketAddr::new(embedded(world, world.remote(0, false, 0).ip()), port)
}

fn tcp_echo(world: &mut World, octets: u64) {
    let flow = world.connect(0, remote(world, 7), Plan::source(octets, 1).expecting(1)).unwrap();
    world.expect("the echo comes", Duration::from_secs(300), |world| world.clients[0].node.flow(flow).is_complete());
}

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

#[test]
fn tcp_and_datagrams_of_any_size_reach_ipv4_hosts() {
    let mut world = start(config(1));
    tcp_echo(&mut world, 1 << 20);
    let any = SocketAddr::from(([0_u16; 8], 0));
    let socket = world.with_client(0, |c, now| c.node.bind(&mut c.stack, any, false, now).unwrap());
    let echo = remote(&world, 7);
    for (index, len) in [0, 1, 1232, 1233, 1472, 1473, 20_000, 65_467, 65_487].into_iter().enumerate() {
        let payload = pattern::octets(9, len);
        world.with_client(0, |c, now| c.send_datagram(socket, &payload, echo, now)).unwrap();
        world.run_for(Duration::from_secs(1));
        let received = &world.clients[0].node.udp(socket).received;
        assert!(received.len() > index, "{len} octets");
        assert_eq!(received[index].payload, payload);
    }
    for (_, packet) in world.tap.take().unwrap() {
        assert!(View::parse(&packet).unwrap().source.is_ipv4() && packet.len() <= 1500);
    }
}

#[test]
fn connections_survive_loss_and_a_path_narrower_than_was_thought() {
    let mut config = config(2).with_loss(0.02);
    config.gateway.external.truncate(1);
    let mut world = start(config);
    world.path.mtu = 1400;
    tcp_echo(&mut world, 300_000);
}

#[test]
fn each_hop_shows_by_its_translated_address() {
    let mut world = start(config(3));
    let target = remote(&world, 0).ip();
    let routers = [1, 2, 3].map(|number| embedded(&world, Path::router(number, false)));
    let hops = [world.config.gateway.inner_host_v6().into(), routers[0], routers[1], routers[2]];
    for (index, hop) in hops.into_iter().enumerate() {
        let event = ping(&mut world, target, PingOptions { hop_limit: index as u8 + 1, ..PingOptions::default() });
        let SocketEvent::PingFailed { from, error, .. } = event else { panic!("hop {index}: {event:?}") };
        assert_eq!((from, error), (Some(hop), PingError::HopLimitExceeded), "hop {index}");
    }
    let event = ping(&mut world, target, PingOptions::default());
    let SocketEvent::Pong { from, hop_limit, .. } = event else { panic!("{event:?}") };
    // Three routers and the gateway on the way back.
    assert_eq!((from, hop_limit), (target, 60));
}

#[test]
fn failures_keep_their_meaning_and_ipv4_has_no_address() {
    let mut world = start(config(4));
    world.path.set_fate("45.33.1.0/24".parse().unwrap(), Fate::Error(IcmpError::HostUnreachable));
    for (v4, expected) in [([45, 33, 1, 1], PingError::HostUnreachable), ([10, 0, 0, 1], PingError::Denied)] {
        let target = embedded(&world, v4.into());
        let event = ping(&mut world, target, PingOptions::default());
        let SocketEvent::PingFailed { error, .. } = event else { panic!("{event:?}") };
        // RFC 7915 section 4.2: "host unreachable" is "no route" in IPv6.
        let expected = if expected == PingError::HostUnreachable { PingError::NetUnreachable } else { expected };
        assert_eq!(error, expected);
    }
    let four = world.remote(0, false, 7);
    assert_eq!(world.connect(0, four, Plan::echo()), Err(ConnectError::AddressNotAvailable));
}

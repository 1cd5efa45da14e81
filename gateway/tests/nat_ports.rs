//! External addresses, blocks and ports: who gets which, and when someone else does.

mod support;

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;
use support::packets::{SYN, echo, source, tcp, udp};
use support::{Client, World, hello, patient};
use webtun_gateway::dataplane::{DropReason, Event, ExternalAddress, GatewayConfig, MapRequest, Peer};
use webtun_wire::{CloseCode, PortBlock, PortMapResult};

const REMOTE: &str = "8.8.4.4";

fn address(text: &str) -> IpAddr {
    text.parse().expect("an address")
}

fn seconds(count: u64) -> Duration {
    Duration::from_secs(count)
}

/// Blocks of 64 ports, and so many of them.
fn blocks(count: u16) -> GatewayConfig {
    let mut config = patient();
    config.nat.block_size = 64;
    config.nat.first_port = 20_000;
    config.nat.last_port = 20_000 + count * 64 - 1;
    config
}

/// The external port of a UDP packet from this port.
fn send(world: &mut World, client: &Client, port: u16) -> Option<u16> {
    world.send(client, &[udp((client.v4, port), (address(REMOTE), 53), b"")]);
    world.take_outside().pop().map(|packet| source(&packet).1)
}

fn returned(world: &mut World) -> Vec<(IpAddr, PortBlock)> {
    let events = std::mem::take(&mut world.events).into_iter();
    events
        .filter_map(|event| match event {
            Event::BlockReturned { inner, block, .. } => Some((inner, block)),
            _ => None,
        })
        .collect()
}

#[test]
fn sessions_spread_over_all_addresses_and_stay_on_theirs() {
    let mut config = patient();
    for last in 2..=5 {
        let address = IpAddr::from([198, 51, 100, last]);
        config.external.push(ExternalAddress { address, announced: address });
    }
    let mut world = World::new(config);
    let mut sessions = BTreeMap::new();
    for _ in 0..20 {
        let client = world.connect();
        let mut seen = Vec::new();
        for port in 1000..1300 {
            seen.push(tcp((client.v4, port), (address(REMOTE), 80), SYN, b""));
            seen.push(udp((client.v4, port), (IpAddr::from([9, 9, 9, port as u8]), 53), b""));
            seen.push(echo(client.v4, address(REMOTE), port, true));
        }
        world.send(&client, &seen);
        let mut addresses: Vec<_> = world.take_outside().iter().map(|packet| source(packet).0).collect();
        assert_eq!(addresses.len(), 900);
        addresses.dedup();
        assert_eq!(addresses.len(), 1, "one address for TCP, UDP and ICMP, in one block and in many");
        assert_eq!(addresses[0], client.blocks[0].address);
        *sessions.entry(addresses[0]).or_insert(0) += 1;
    }
    assert_eq!(sessions.values().copied().collect::<Vec<_>>(), [4; 5]);
}

#[test]
fn a_port_rests_before_another_endpoint_gets_it() {
    let mut world = World::new(blocks(2));
    let client = world.connect();
    let first = client.blocks[0].first;
    assert_eq!(send(&mut world, &client, first + 1), Some(first + 1));
    world.pass(seconds(300));
    assert_eq!(world.gateway.stats().mappings, 0);
    assert_eq!(send(&mut world, &client, first + 1), Some(first + 1), "the same endpoint gets it back at once");
    world.pass(seconds(300));
    let others = |world: &mut World, from: u16| -> Vec<u16> {
        (from..from + 63).map(|port| send(world, &client, port).expect("a port")).collect()
    };
    assert!(!others(&mut world, 1000).contains(&(first + 1)), "all of the block but the one that rests");
    world.pass(seconds(119));
    assert_ne!(send(&mut world, &client, 2000), Some(first + 1));
    world.pass(seconds(1));
    assert_eq!(send(&mut world, &client, 2001), Some(first + 1), "120 seconds later it is anyone's");
}

#[test]
fn the_number_of_resting_ports_is_bounded() {
    let mut config = blocks(1);
    config.nat.held_ports = 10;
    let mut world = World::new(config);
    let client = world.connect();
    for port in 1000..1064 {
        assert!(send(&mut world, &client, port).is_some());
    }
    world.pass(seconds(300));
    let granted = (2000..2064).filter(|port| send(&mut world, &client, *port).is_some()).count();
    assert_eq!(granted, 54);
}

#[test]
fn an_empty_block_goes_back_and_rests() {
    let mut world = World::new(blocks(3));
    let client = world.connect();
    let kept = client.blocks[0];
    world.send(&client, &[udp((client.v6, kept.first), (address("2600::4"), 53), b"")]);
    for port in 1000..1100 {
        assert!(send(&mut world, &client, port).is_some());
    }
    let assigned = world.events.iter().filter_map(|event| match event {
        Event::BlockAssigned { peer, inner, block, .. } => Some((&**peer, *inner, *block)),
        _ => None,
    });
    let all: Vec<_> = assigned.collect();
    assert_eq!(all.len(), 3, "one per family to begin with, one more: no event per flow");
    assert!(all.iter().all(|(peer, inner, block)| *peer == "peer" && *inner == client.address(block.address)));
    world.collect(&client);
    world.pass(seconds(300 + 119));
    assert_eq!(returned(&mut world), []);
    world.pass(seconds(1));
    let back = returned(&mut world);
    assert_eq!(back.len(), 1, "each family keeps one");
    assert_eq!(back[0].0, client.v4);
    let (_, told) = world.collect(&client);
    let list = told.iter().find(|capsule| capsule.starts_with("ExternalPorts")).expect("EXTERNAL_PORTS");
    assert!(!list.contains(&format!("{:?}", back[0].1)), "{list}");
    let other = world.connect();
    assert_ne!(other.blocks[0].first, back[0].1.first, "it rests");
    assert_eq!(world.connect().blocks[0].first, back[0].1.first, "it rests no longer where nothing else is left");
    let refused = world.handshake(&hello(None), &Peer::new("late"));
    assert_eq!(refused.map(|client| client.id).map_err(|reject| reject.code()), Err(CloseCode::Exhausted));
}

#[test]
fn the_blocks_of_a_session_that_is_over_rest() {
    let mut world = World::new(blocks(3));
    let one = world.connect();
    assert!(send(&mut world, &one, 1000).is_some());
    world.gateway.close_session(one.id, CloseCode::Normal, world.now);
    world.settle();
    assert_eq!(returned(&mut world).len(), 2);
    let mut two = world.connect();
    for _ in 0..5 {
        assert_ne!(two.blocks[0].first, one.blocks[0].first);
        world.gateway.close_session(two.id, CloseCode::Normal, world.now);
        two = world.connect();
    }
    world.pass(seconds(120));
    let firsts = [world.connect(), world.connect()].map(|client| client.blocks[0].first);
    assert!(firsts.contains(&one.blocks[0].first), "it is free like any other");
}

/// IPv4 blocks that sessions have, by the events.
fn assigned_v4(world: &World) -> i32 {
    let change = |event: &Event| match event {
        Event::BlockAssigned { block, .. } => i32::from(block.address.is_ipv4()),
        Event::BlockReturned { block, .. } => -i32::from(block.address.is_ipv4()),
        _ => 0,
    };
    world.events.iter().map(change).sum()
}

/// As many sessions as one peer may have, of which those that come first take as many ports as they can get.
fn be_greedy(world: &mut World) -> Vec<Client> {
    let greedy = Peer::new("greedy");
    let open = |world: &mut World| world.handshake(&hello(None), &greedy);
    let mut sessions = Vec::new();
    while let Ok(client) = open(world) {
        for port in (10_000..14_000).take_while(|_| sessions.len() < 8) {
            let _ = send(world, &client, port);
        }
        sessions.push(client);
    }
    sessions
}

#[test]
fn one_peer_leaves_ports_to_others_by_the_defaults() {
    let mut world = World::new(patient());
    assert_eq!(world.gateway.free_port_blocks(), 2 * 384);
    let held = be_greedy(&mut world);
    assert_eq!(held.len(), 128);
    assert_eq!(assigned_v4(&world), 190);
    // To drop them and to open others is of no more use.
    for client in held {
        world.gateway.close_session(client.id, CloseCode::Normal, world.now);
    }
    world.settle();
    let again = be_greedy(&mut world);
    assert_eq!((again.len(), assigned_v4(&world)), (128, 190));
    for _ in 0..100 {
        let other = world.connect();
        assert!(send(&mut world, &other, 5000).is_some(), "a session of another peer has ports");
    }
}

#[test]
fn a_session_that_finds_no_block_is_refused_and_told_when_to_come_again() {
    let mut world = World::new(blocks(1));
    let held = world.connect();
    let refused =
        world.handshake(&hello(None), &Peer::new("late")).map(|client| client.id).expect_err("no block is left");
    assert_eq!(refused.code(), CloseCode::Exhausted);
    let message = refused.message();
    let close = format!("{:?}", webtun_wire::capsules(&message).next());
    assert!(close.contains("no block of external ports is free") && close.contains("retry_after_ms: 10000"), "{close}");
    assert!(send(&mut world, &held, 5000).is_some(), "who has one keeps it");
}

#[test]
fn a_mapped_port_outside_all_blocks_rests_too() {
    let mut world = World::new(blocks(10));
    let (one, two) = (world.connect(), world.connect());
    let own = [one.blocks[0].first, two.blocks[0].first];
    let wanted = (0..10).map(|n| 20_000 + n * 64).find(|first| !own.contains(first)).expect("a free block") + 5;
    let map = |world: &mut World, client: &Client, lifetime| {
        let request = MapRequest {
            protocol: 6,
            internal_port: 80,
            external_port: wanted,
            prefer_failure: true,
            lifetime,
            nonce: None,
        };
        let result = world.gateway.map_port(client.v4, &request, world.now).result;
        world.settle();
        result
    };
    assert_eq!(map(&mut world, &one, 600), PortMapResult::Success);
    assert_eq!(map(&mut world, &one, 0), PortMapResult::Success);
    assert_eq!(map(&mut world, &two, 600), PortMapResult::CannotProvideExternal);
    assert_eq!(map(&mut world, &one, 600), PortMapResult::Success);
    assert_eq!(map(&mut world, &one, 0), PortMapResult::Success);
    world.pass(seconds(120));
    assert_eq!(map(&mut world, &two, 600), PortMapResult::Success);
}

#[test]
fn no_port_is_ever_shared_and_parity_is_kept_while_it_can_be() {
    let mut config = blocks(2);
    config.nat.last_port = 20_127;
    let mut world = World::new(config);
    let client = world.connect();
    let ports: Vec<_> = (1001..1129).map_while(|port| Some((port, send(&mut world, &client, port)?))).collect();
    assert_eq!(ports.len(), 128);
    let odd = ports.iter().filter(|(inner, outer)| inner % 2 == outer % 2).count();
    assert_eq!(odd, 128);
    let mut outer: Vec<_> = ports.iter().map(|(_, outer)| *outer).collect();
    outer.sort_unstable();
    outer.dedup();
    assert_eq!(outer.len(), 128, "no port overloading");
    assert_eq!(send(&mut world, &client, 3000), None);
    assert_eq!(world.gateway.stats().drops(DropReason::NoPorts), 1);
}

//! What a flow is to the NAT: who has begun it, what keeps it, what ends it.

mod support;

use std::net::IpAddr;
use std::time::Duration;
use support::packets::{ACK, Endpoint, RST, SYN, destination, echo, source, tcp, transport, udp, unreachable};
use support::{Client, EXTERNAL_V4, World, patient};
use webtun_gateway::dataplane::{Allowance, DropReason, Filtering, MapRequest, Peer, PeerLimits};

/// Nobody is allowed to go there by default.
const LAN: &str = "192.168.7.7";
const STRANGER: &str = "9.9.9.9";

fn address(text: &str) -> IpAddr {
    text.parse().expect("an address")
}

fn seconds(count: u64) -> Duration {
    Duration::from_secs(count)
}

/// The external endpoint at which a port of `client` is mapped.
fn mapped(world: &mut World, client: &Client, protocol: u8, port: u16) -> Endpoint {
    let request = MapRequest {
        protocol,
        internal_port: port,
        external_port: 0,
        prefer_failure: false,
        lifetime: 86_400,
        nonce: None,
    };
    let response = world.gateway.map_port(client.v4, &request, world.now);
    world.settle();
    (response.external.ip(), response.external.port())
}

/// Sends a packet, and says whether it has left.
fn leaves(world: &mut World, client: &Client, packet: Vec<u8>) -> bool {
    world.send(client, &[packet]);
    !world.take_outside().is_empty()
}

/// A packet comes; whether it is delivered.
fn arrives(world: &mut World, client: &Client, packet: &[u8]) -> bool {
    world.receive(packet);
    !world.packets(client).is_empty()
}

#[test]
fn whoever_was_called_may_answer() {
    let mut world = World::new(patient());
    let client = world.connect();
    let caller = (address(LAN), 999);
    for protocol in [6, 17] {
        let at = mapped(&mut world, &client, protocol, 8080);
        let packet = |from, to, flags| if protocol == 6 { tcp(from, to, flags, b"") } else { udp(from, to, b"") };
        let answer = packet((client.v4, 8080), caller, SYN | ACK);
        assert!(!leaves(&mut world, &client, answer.clone()), "nothing to answer yet");
        assert!(arrives(&mut world, &client, &packet(caller, at, SYN)));
        assert!(leaves(&mut world, &client, answer));
        for elsewhere in [(caller.0, 22), (address("192.168.7.8"), 999)] {
            assert!(!leaves(&mut world, &client, packet((client.v4, 8080), elsewhere, SYN | ACK)));
        }
        world.collect(&client);
        let seen = packet(caller, (client.v4, 8080), ACK);
        assert!(leaves(&mut world, &client, unreachable(client.v4, caller.0, &seen, 100)), "an error is an answer too");
    }
}

#[test]
fn a_forged_caller_opens_no_way_to_its_victim() {
    let mut world = World::new(patient());
    let client = world.connect();
    let (at, victim) = (mapped(&mut world, &client, 6, 8080), (address(LAN), 80));
    assert!(arrives(&mut world, &client, &tcp(victim, at, SYN, b"")));
    assert!(!leaves(&mut world, &client, tcp((client.v4, 8080), victim, SYN, b"")));
    assert_eq!(world.gateway.stats().drops(DropReason::DestinationClass), 1);
}

#[test]
fn filtering_is_as_the_peer_has_it() {
    for (filtering, from_other_port, from_other_address) in [
        (None, true, false),
        (Some(Filtering::EndpointIndependent), true, true),
        (Some(Filtering::AddressDependent), true, false),
        (Some(Filtering::AddressAndPortDependent), false, false),
    ] {
        let mut world = World::new(patient());
        let client = world.connect_as(&Peer { filtering, ..Peer::new("someone") });
        let other = world.connect();
        let remote = address("8.8.4.4");
        for (client, port, address) in [(&client, from_other_port, from_other_address), (&other, true, false)] {
            world.send(client, &[udp((client.v4, 4000), (remote, 9), b"x")]);
            let at = source(&world.take_outside()[0]);
            assert!(arrives(&mut world, client, &udp((remote, 9), at, b"")));
            assert_eq!(arrives(&mut world, client, &udp((remote, 10), at, b"")), port, "{filtering:?}");
            let stranger = (self::address(STRANGER), 9);
            assert_eq!(arrives(&mut world, client, &udp(stranger, at, b"")), address, "{filtering:?}");
        }
    }
}

#[test]
fn what_comes_in_keeps_no_mapping() {
    let mut config = patient();
    config.nat.filtering = Filtering::EndpointIndependent;
    let mut world = World::new(config);
    let client = world.connect();
    let stranger = (address(STRANGER), 9);
    world.send(&client, &[udp((client.v4, 4000), (address("8.8.4.4"), 9), b"x")]);
    world.send(&client, &[tcp((client.v4, 4001), (address("8.8.4.4"), 9), SYN, b"")]);
    let out = world.take_outside();
    let (by_udp, by_tcp) = (source(&out[0]), source(&out[1]));
    world.pass(seconds(239));
    assert!(arrives(&mut world, &client, &udp(stranger, by_udp, b"")));
    assert!(arrives(&mut world, &client, &tcp(stranger, by_tcp, SYN, b"")));
    world.pass(seconds(1));
    assert!(!arrives(&mut world, &client, &tcp(stranger, by_tcp, SYN, b"")), "4 minutes after what went out");
    world.pass(seconds(59));
    assert!(arrives(&mut world, &client, &udp(stranger, by_udp, b"")));
    world.pass(seconds(1));
    assert!(!arrives(&mut world, &client, &udp(stranger, by_udp, b"")), "5 minutes after what went out");
    assert_eq!(world.gateway.stats().mappings, 0);
}

#[test]
fn what_goes_out_keeps_its_mapping() {
    let mut world = World::new(patient());
    let client = world.connect();
    let remote = address("8.8.4.4");
    let packets = [udp((client.v4, 4000), (remote, 9), b"x"), echo(client.v4, remote, 77, true)];
    let mut at = Vec::new();
    for _ in 0..10 {
        world.send(&client, &packets);
        at.push(world.take_outside().iter().map(|packet| source(packet)).collect::<Vec<_>>());
        world.pass(seconds(59));
    }
    assert!(at.windows(2).all(|pair| pair[0] == pair[1]), "the mapping has stayed: {at:?}");
    world.pass(seconds(2));
    assert_eq!(world.gateway.stats().mappings, 1, "the echo's timer is 60 seconds");
    world.pass(seconds(240));
    assert_eq!(world.gateway.stats().mappings, 0, "that of UDP 300");
}

#[test]
fn a_refusal_keeps_no_mapping() {
    let mut config = patient();
    config.nat.filtering = Filtering::EndpointIndependent;
    let mut world = World::new(config);
    let client = world.connect();
    let stranger = (address(STRANGER), 9);
    world.send(&client, &[tcp((client.v4, 4001), (address("8.8.4.4"), 9), SYN, b"")]);
    let at = source(&world.take_outside()[0]);
    world.pass(seconds(200));
    assert!(arrives(&mut world, &client, &tcp(stranger, at, SYN, b"")));
    assert!(leaves(&mut world, &client, tcp((client.v4, 4001), stranger, RST | ACK, b"")), "it is translated");
    world.pass(seconds(40));
    assert_eq!(world.gateway.stats().mappings, 0);
}

#[test]
fn a_reset_connection_is_kept_for_four_minutes_and_data_revives_it() {
    let mut world = World::new(patient());
    let client = world.connect();
    let remote = (address("8.8.4.4"), 80);
    let establish = |world: &mut World| {
        world.send(&client, &[tcp((client.v4, 4000), remote, SYN, b"")]);
        let at = source(&world.take_outside()[0]);
        assert!(arrives(world, &client, &tcp(remote, at, SYN | ACK, b"")));
        at
    };
    let at = establish(&mut world);
    assert!(arrives(&mut world, &client, &tcp(remote, at, RST, b"")), "the RST is translated");
    world.pass(seconds(239));
    assert!(leaves(&mut world, &client, tcp((client.v4, 4000), remote, ACK, b"still here")));
    world.pass(seconds(7439));
    assert_eq!(world.gateway.stats().mappings, 1);
    world.pass(seconds(1));
    assert_eq!(world.gateway.stats().mappings, 0);
    let at = establish(&mut world);
    assert!(arrives(&mut world, &client, &tcp(remote, at, RST, b"")));
    world.pass(seconds(240));
    assert_eq!(world.gateway.stats().mappings, 0);
}

#[test]
fn both_ends_may_open_at_once() {
    let mut world = World::new(patient());
    let client = world.connect();
    let remote = (address("8.8.4.4"), 80);
    world.send(&client, &[tcp((client.v4, 4000), remote, SYN, b"")]);
    let at = source(&world.take_outside()[0]);
    assert!(arrives(&mut world, &client, &tcp(remote, at, SYN, b"")));
    assert!(leaves(&mut world, &client, tcp((client.v4, 4000), remote, SYN | ACK, b"")));
    assert!(arrives(&mut world, &client, &tcp(remote, at, SYN | ACK, b"")));
    world.pass(seconds(7439));
    assert_eq!(world.gateway.stats().mappings, 1, "established");
}

/// What the outside hears about `syn` until it is over.
fn answer(world: &mut World, at: u64) -> Vec<Vec<u8>> {
    world.pass(Duration::from_millis(at));
    world.take_outside()
}

#[test]
fn an_unsolicited_syn_is_answered_after_six_seconds() {
    let mut world = World::new(patient());
    let client = world.connect();
    world.send(&client, &[tcp((client.v4, 4000), (address("8.8.4.4"), 80), SYN, b"")]);
    let filtered = source(&world.take_outside()[0]);
    for at in [filtered, (EXTERNAL_V4, 65_000)] {
        let syn = tcp((address(STRANGER), 999), at, SYN, b"");
        assert!(!arrives(&mut world, &client, &syn));
        assert_eq!(answer(&mut world, 5999), Vec::<Vec<u8>>::new());
        let errors = answer(&mut world, 1);
        assert_eq!(errors.len(), 1);
        let (_, start) = transport(&errors[0]);
        assert_eq!((errors[0][start], errors[0][start + 1]), (3, 3));
        assert_eq!((source(&errors[0]).0, destination(&errors[0]).0), (EXTERNAL_V4, address(STRANGER)));
        assert_eq!(errors[0][start + 8..], syn[..]);
        for flags in [SYN | ACK, ACK, RST] {
            assert!(!arrives(&mut world, &client, &tcp((address(STRANGER), 999), at, flags, b"")));
        }
        assert_eq!(answer(&mut world, 10_000), Vec::<Vec<u8>>::new());
    }
}

#[test]
fn a_syn_that_crosses_ours_gets_no_answer() {
    let mut world = World::new(patient());
    let client = world.connect();
    let remote = (address(STRANGER), 999);
    world.send(&client, &[tcp((client.v4, 4000), (address("8.8.4.4"), 80), SYN, b"")]);
    let at = source(&world.take_outside()[0]);
    assert!(!arrives(&mut world, &client, &tcp(remote, at, SYN, b"")));
    world.pass(seconds(3));
    assert!(leaves(&mut world, &client, tcp((client.v4, 4000), remote, SYN, b"")));
    assert_eq!(answer(&mut world, 10_000), Vec::<Vec<u8>>::new());
}

#[test]
fn silence_about_unsolicited_syns_can_be_had_and_is_kept_at_the_bound() {
    let mut config = patient();
    config.nat.answer_unsolicited = false;
    for (config, answers) in [(config, 0), (patient(), 50)] {
        let mut world = World::new(config);
        for port in 1..=2000 {
            world.receive(&tcp((address(STRANGER), port), (EXTERNAL_V4, 65_000), SYN, b""));
        }
        assert_eq!(answer(&mut world, 6000).len(), answers);
    }
}

#[test]
fn an_error_that_turns_round_comes_back_with_the_announced_names() {
    let mut config = patient();
    let announced = address("192.0.2.99");
    config.external[0].announced = announced;
    let mut world = World::new(config);
    let (one, two) = (world.connect(), world.connect());
    let at = mapped(&mut world, &two, 17, 53);
    let sent = udp((one.v4, 6000), at, &[7; 60]);
    world.send(&one, std::slice::from_ref(&sent));
    let seen = world.packets(&two).pop().expect("a packet");
    assert_eq!(source(&seen).0, announced);
    world.send(&two, &[unreachable(two.v4, announced, &seen, 200)]);
    let error = world.packets(&one).pop().expect("an error");
    let (_, start) = transport(&error);
    let quoted = &error[start + 8..];
    assert_eq!((source(&error).0, destination(&error).0), (announced, one.v4));
    assert_eq!((source(quoted), destination(quoted)), ((one.v4, 6000), at));
}

#[test]
fn past_a_limit_the_host_is_unreachable_and_what_exists_stays() {
    let mut world = World::new(patient());
    let limits = PeerLimits { each: Allowance { mappings: 1, ..Allowance::SESSION }, ..PeerLimits::default() };
    let client = world.connect_as(&Peer { limits, ..Peer::new("small") });
    for (to, code) in [(address("8.8.4.4"), (3, 1)), (address("2600::4"), (1, 3))] {
        world.send(&client, &[udp((client.v4, 4000), (address("8.8.4.4"), 9), b"x")]);
        assert_eq!(world.take_outside().len(), 1);
        assert!(!leaves(&mut world, &client, udp((client.address(to), 4001), (to, 9), b"x")));
        let error = world.packets(&client).pop().expect("an error");
        let (_, start) = transport(&error);
        assert_eq!((error[start], error[start + 1]), code);
    }
}

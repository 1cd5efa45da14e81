//! Mapped ports as a PCP or NAT-PMP server at the inner host asks for them.

mod support;

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;
use support::packets::{ACK, SYN, destination, tcp};
use support::{Client, EXTERNAL_V4, EXTERNAL_V6, World, config};
use webtun_gateway::dataplane::{Event, MapRequest, MapResponse, PORTS_TRIED};
use webtun_wire::{Capsule, PortMapRequest, PortMapResult};

const REQUEST: MapRequest = MapRequest {
    protocol: 6,
    internal_port: 8080,
    external_port: 0,
    prefer_failure: false,
    lifetime: 600,
    nonce: None,
};

fn map(world: &mut World, inner: IpAddr, request: MapRequest) -> MapResponse {
    let response = world.gateway.map_port(inner, &request, world.now);
    world.settle();
    response
}

/// Whether a stranger's SYN to the external endpoint of `response` arrives.
fn is_open(world: &mut World, client: &Client, response: &MapResponse) -> bool {
    let stranger = "9.9.9.9".parse().expect("an address");
    world.receive(&tcp((stranger, 999), (response.external.ip(), response.external.port()), SYN, b""));
    world.packets(client).iter().any(|packet| destination(packet) == (client.v4, REQUEST.internal_port))
}

#[test]
fn a_mapping_with_a_nonce_is_its_makers() {
    let mut world = World::new(config());
    let client = world.connect();
    let own = MapRequest { nonce: Some([1; 12]), ..REQUEST };
    let granted = map(&mut world, client.v4, own);
    assert_eq!((granted.result, granted.lifetime), (PortMapResult::Success, 600));
    for foreign in [MapRequest { nonce: Some([2; 12]), ..own }, REQUEST] {
        for lifetime in [600, 0] {
            let refused = map(&mut world, client.v4, MapRequest { lifetime, ..foreign });
            assert_eq!(refused.result, PortMapResult::NotAuthorized);
            assert_eq!(refused.external.port(), 0);
        }
    }
    assert_eq!(map(&mut world, client.v4, own), granted);
    world.gateway.unmap_ports(client.v4, None, world.now);
    assert!(is_open(&mut world, &client, &granted));
    assert_eq!(map(&mut world, client.v4, MapRequest { lifetime: 0, ..own }).result, PortMapResult::Success);
    assert_eq!(world.gateway.stats().mapped_ports, 0);
}

#[test]
fn a_deleted_mapping_keeps_its_connections_and_admits_no_others() {
    let mut world = World::new(config());
    let client = world.connect();
    let granted = map(&mut world, client.v4, REQUEST);
    let external = (granted.external.ip(), granted.external.port());
    let (stranger, server) = (("9.9.9.9".parse().expect("an address"), 999), (client.v4, REQUEST.internal_port));
    assert!(is_open(&mut world, &client, &granted));
    world.send(&client, &[tcp(server, stranger, SYN | ACK, b"")]);
    world.receive(&tcp(stranger, external, ACK, b""));
    map(&mut world, client.v4, MapRequest { lifetime: 0, ..REQUEST });
    world.packets(&client);

    world.receive(&tcp(stranger, external, ACK, b"more"));
    assert_eq!(world.packets(&client).len(), 1);
    world.receive(&tcp((stranger.0, 1000), external, SYN, b""));
    assert_eq!(world.packets(&client).len(), 0);
}

#[test]
fn whoever_prefers_failure_gets_no_other_port() {
    let mut world = World::new(config());
    let (one, two) = (world.connect(), world.connect());
    let wanted = MapRequest { external_port: 30_000, prefer_failure: true, ..REQUEST };
    assert_eq!(map(&mut world, one.v4, wanted).external.port(), 30_000);
    assert_eq!(map(&mut world, two.v4, wanted).result, PortMapResult::CannotProvideExternal);
    assert_eq!(world.gateway.stats().mappings, 1);
    let other = map(&mut world, two.v4, MapRequest { prefer_failure: false, ..wanted });
    assert_eq!(other.result, PortMapResult::Success);
    assert_ne!(other.external.port(), 30_000);
}

#[test]
fn all_are_ended_at_once_by_protocol_and_address() {
    let mut world = World::new(config());
    let client = world.connect();
    map(&mut world, client.v4, REQUEST);
    map(&mut world, client.v4, MapRequest { protocol: 17, ..REQUEST });
    map(&mut world, client.v6, REQUEST);
    world.gateway.unmap_ports(client.v4, Some(17), world.now);
    assert_eq!(world.gateway.stats().mapped_ports, 2);
    world.gateway.unmap_ports(client.v4, None, world.now);
    assert_eq!(world.gateway.stats().mapped_ports, 1);
}

#[test]
fn only_sessions_have_external_addresses_and_ports() {
    let mut world = World::new(config());
    let client = world.connect();
    assert_eq!(world.gateway.external_address(client.v4), Some(EXTERNAL_V4));
    assert_eq!(world.gateway.external_address(client.v6), Some(EXTERNAL_V6));
    let nobody = "100.64.200.200".parse().expect("an address");
    assert_eq!(world.gateway.external_address(nobody), None);
    assert_eq!(map(&mut world, nobody, REQUEST).result, PortMapResult::NotAuthorized);
}

#[test]
fn a_port_that_the_egress_does_not_get_is_nobodys_for_a_while() {
    let mut world = World::new(config());
    let (one, two) = (world.connect(), world.connect());
    let wanted = MapRequest { external_port: 30_000, ..REQUEST };
    let granted = map(&mut world, one.v4, wanted);
    assert_eq!(granted.external.port(), 30_000);
    world.gateway.refuse_port(one.id, 6, granted.external, world.now);
    world.settle();
    assert_eq!((world.gateway.stats().mapped_ports, world.gateway.stats().mappings), (0, 0));

    for client in [&one, &two] {
        let strict = map(&mut world, client.v4, MapRequest { prefer_failure: true, ..wanted });
        assert_eq!(strict.result, PortMapResult::CannotProvideExternal);
        let other = map(&mut world, client.v4, wanted);
        assert!(other.result == PortMapResult::Success && other.external.port() != 30_000, "{other:?}");
        assert!(is_open(&mut world, client, &other));
    }
    world.pass(Duration::from_secs(121));
    assert_eq!(map(&mut world, two.v4, MapRequest { internal_port: 81, ..wanted }).external.port(), 30_000);
}

#[test]
fn a_port_that_traffic_has_is_left_to_it() {
    let mut world = World::new(config());
    let client = world.connect();
    world.send(&client, &[tcp((client.v4, 8080), ("9.9.9.9".parse().expect("an address"), 999), SYN, b"")]);
    let granted = map(&mut world, client.v4, REQUEST);
    world.gateway.refuse_port(client.id, 6, granted.external, world.now);
    world.settle();
    assert_eq!((world.gateway.stats().mapped_ports, world.gateway.stats().mappings), (0, 1));
    world.receive(&tcp(
        ("9.9.9.9".parse().expect("an address"), 999),
        (granted.external.ip(), granted.external.port()),
        SYN | ACK,
        b"",
    ));
    assert_eq!(world.packets(&client).len(), 1);
}

/// The mapped ports of which there are events that were not looked at before.
fn mapped(world: &mut World) -> Vec<SocketAddr> {
    let external = |event: &Event| match event {
        Event::PortMapped { external, .. } => Some(*external),
        _ => None,
    };
    let found = world.events.iter().filter_map(external).collect();
    world.events.clear();
    found
}

#[test]
fn a_session_is_told_of_the_port_that_the_egress_got() {
    let mut world = World::new(config());
    let client = world.connect();
    world.messages(&client);
    for refusals in 0..=PORTS_TRIED {
        let request = PortMapRequest {
            request_id: 7,
            protocol: 6,
            ipv6: false,
            internal_port: 8080 + refusals as u16,
            external_port: 31_000,
            lifetime: 600,
        };
        world.events.clear();
        world.tell(&client, &[Capsule::PortMapRequest(request)]).expect("a sound message");
        let ready = world.events.iter().position(|event| matches!(event, Event::MessagesReady(_)));
        let first = world.events.iter().position(|event| matches!(event, Event::PortMapped { .. }));
        assert!(first < ready, "the port is settled first: {:?}", world.events);
        let mut last = None;
        for _ in 0..refusals {
            last = mapped(&mut world).pop();
            world.gateway.refuse_port(client.id, 6, last.expect("a port"), world.now);
            world.settle();
        }
        let got = mapped(&mut world).pop();
        assert_ne!(got, last);
        let (_, told) = world.collect(&client);
        let answer = told.iter().find(|it| it.starts_with("PortMapResponse")).expect("an answer");
        let expected = match got {
            Some(external) => format!("external_port: {}", external.port()),
            None => "result: NoResources".to_owned(),
        };
        assert!(answer.contains(&expected), "{refusals}: {answer}");
        assert_eq!(got.is_some(), refusals < PORTS_TRIED);
    }
}

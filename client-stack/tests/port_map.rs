//! External ports: granted, refused, renewed, asked for again, given back.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use common::tunnel::{TunnelWorld, encode};
use webtun_stack::{Event, MapId, PortMapError, PortMapOptions, PortMapResult, PortMapping, Protocol};
use webtun_wire::{Capsule, PortMapResponse};

const SECOND: Duration = Duration::from_secs(1);
const EXTERNAL: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(198, 51, 100, 7));

fn request(world: &mut TunnelWorld) -> MapId {
    let options = PortMapOptions {
        protocol: Protocol::Tcp,
        ipv6: false,
        internal_port: 80,
        external_port: 0,
        lifetime: SECOND * 3600,
    };
    world.stack.map_port(options, world.now)
}

fn answer(world: &mut TunnelWorld, id: MapId, result: PortMapResult, port: u16, lifetime: u32) {
    let external_address = if port > 0 { EXTERNAL } else { IpAddr::from([0, 0, 0, 0]) };
    let request_id = id.get().into();
    let response = PortMapResponse { request_id, result, external_address, external_port: port, lifetime };
    world.gateway.sequenced.push_back(encode(&Capsule::PortMapResponse(response)));
}

fn requests(world: &TunnelWorld) -> Vec<&str> {
    let requests = world.gateway.seen.iter().filter(|seen| seen.starts_with("PortMapRequest"));
    requests.map(String::as_str).collect()
}

fn results(world: &TunnelWorld) -> Vec<Result<PortMapping, PortMapError>> {
    let result = |event: &Event| match event {
        Event::PortMapped { result, .. } => Some(*result),
        _ => None,
    };
    world.events.iter().filter_map(result).collect()
}

#[test]
fn a_granted_port_is_renewed_at_half_its_life_until_it_is_given_back() {
    let mut world = TunnelWorld::established();
    let id = request(&mut world);
    world.run(SECOND);
    assert_eq!(requests(&world).len(), 1);
    answer(&mut world, id, PortMapResult::Success, 20_080, 600);
    world.run(SECOND);
    let external = SocketAddr::new(EXTERNAL, 20_080);
    assert_eq!(results(&world), [Ok(PortMapping { external, lifetime: SECOND * 600 })]);
    world.run(SECOND * 297);
    assert_eq!(requests(&world).len(), 1);
    world.run(SECOND * 4);
    assert_eq!(requests(&world).len(), 2);
    assert!(requests(&world)[1].contains("external_port: 20080"), "{:?}", requests(&world));
    answer(&mut world, id, PortMapResult::Success, 20_080, 600);
    world.run(SECOND);
    assert_eq!(results(&world).len(), 1, "nothing has changed");
    world.stack.unmap_port(id, world.now);
    world.run(SECOND);
    assert!(requests(&world)[2].contains("lifetime: 0"), "{:?}", requests(&world));
    world.run(SECOND * 4000);
    assert_eq!(requests(&world).len(), 3);
}

#[test]
fn a_refusal_is_told_once_and_asked_about_again() {
    let mut world = TunnelWorld::established();
    let id = request(&mut world);
    world.run(SECOND);
    let refused = PortMapError::Refused(PortMapResult::NoResources);
    for _ in 0..2 {
        answer(&mut world, id, PortMapResult::NoResources, 0, 60);
        world.run(SECOND * 61);
    }
    assert_eq!(results(&world), [Err(refused)]);
    answer(&mut world, id, PortMapResult::Success, 20_081, 600);
    world.run(SECOND);
    assert_eq!(results(&world).len(), 2);
    assert_eq!(requests(&world).len(), 3);
}

#[test]
fn a_new_session_is_asked_for_the_same_port() {
    let mut world = TunnelWorld::established();
    let id = request(&mut world);
    answer(&mut world, id, PortMapResult::Success, 20_080, 6000);
    world.run(SECOND);
    world.cut();
    world.run(SECOND * 5);
    assert_eq!(requests(&world).len(), 1, "a resumed session knows it");
    world.gateway.session = None;
    world.cut();
    world.run(SECOND * 5);
    assert_eq!(requests(&world).len(), 2);
    assert!(requests(&world)[1].contains("external_port: 20080"), "{:?}", requests(&world));
}

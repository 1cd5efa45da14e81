//! A page asks for an external port and is reached on it, from outside and from another page.

use std::net::SocketAddr;
use std::time::Duration;
use webtun_stack::{MapId, PortMapOptions, Protocol, SocketId};
use webtun_tests::flow::Plan;
use webtun_tests::world::{World, WorldConfig};

const LISTEN: u16 = 8080;

fn world(clients: usize) -> World {
    let mut world = WorldConfig { clients, ..WorldConfig::new(1) }.build();
    world.connect_all();
    world
}

fn map(world: &mut World, protocol: Protocol, ipv6: bool, external_port: u16) -> (MapId, SocketAddr) {
    let lifetime = Duration::from_secs(600);
    let request = PortMapOptions { protocol, ipv6, internal_port: LISTEN, external_port, lifetime };
    let id = world.with_client(0, |client, now| client.stack.map_port(request, now));
    world.expect("the port is mapped", Duration::from_secs(5), |world| world.clients[0].port_mapped(id).is_some());
    (id, world.clients[0].port_mapped(id).unwrap().unwrap().external)
}

fn listen(world: &mut World, plan: Plan) -> SocketId {
    let any = SocketAddr::from(([0_u16; 8], LISTEN));
    world.with_client(0, |client, now| client.node.listen(&mut client.stack, any, plan, now).unwrap())
}

/// A remote host connects and has its echo checked.
fn echo_from_outside(world: &mut World, external: SocketAddr, len: u64) {
    let plan = Plan::source(len, 5).expecting(5);
    let flow = world.with_remote(0, |remote, now| {
        remote.node.connect(&mut remote.host, external, Default::default(), plan, now).unwrap()
    });
    world.expect("the echo comes", Duration::from_secs(60), |world| world.remotes[0].node.flow(flow).is_complete());
}

#[test]
fn tcp_from_outside() {
    for ipv6 in [false, true] {
        let mut world = world(1);
        listen(&mut world, Plan::echo());
        let (_, external) = map(&mut world, Protocol::Tcp, ipv6, 0);
        assert_eq!(external.ip(), world.external(ipv6, 0).ip());
        echo_from_outside(&mut world, external, 2 << 20);
        // The program sees who has come.
        let (_, flow) = world.clients[0].node.flows.iter().next().unwrap();
        assert_eq!(flow.peer.map(|peer| peer.ip()), Some(world.remote(0, ipv6, 0).ip()));
    }
}

#[test]
fn a_wanted_port_is_given() {
    let mut world = world(1);
    listen(&mut world, Plan::echo());
    let (_, external) = map(&mut world, Protocol::Tcp, false, 50_123);
    assert_eq!(external.port(), 50_123);
    echo_from_outside(&mut world, external, 1000);
}

#[test]
fn udp_from_outside() {
    for ipv6 in [false, true] {
        let mut world = world(1);
        let any = SocketAddr::from(([0_u16; 8], LISTEN));
        world.with_client(0, |client, now| client.node.bind(&mut client.stack, any, true, now).unwrap());
        let (_, external) = map(&mut world, Protocol::Udp, ipv6, 0);
        let local = SocketAddr::from(([0_u16; 8], 0));
        let socket = world.with_remote(0, |remote, now| {
            let socket = remote.node.bind(&mut remote.host, local, false, now).unwrap();
            remote.node.send_datagram(&mut remote.host, socket, &[7; 5000], external, now).unwrap();
            socket
        });
        world.expect("the echo comes", Duration::from_secs(5), |world| {
            !world.remotes[0].node.udp(socket).received.is_empty()
        });
        let came = &world.remotes[0].node.udp(socket).received[0];
        assert_eq!((came.from, came.payload.len()), (external, 5000));
    }
}

#[test]
fn a_mapping_outlives_its_lifetime_and_ends_when_given_back() {
    let mut world = world(1);
    listen(&mut world, Plan::echo());
    let (id, external) = map(&mut world, Protocol::Tcp, false, 0);
    world.run_for(Duration::from_secs(2000));
    echo_from_outside(&mut world, external, 100);
    world.with_client(0, |client, now| client.stack.unmap_port(id, now));
    world.run_for(Duration::from_secs(600));
    assert_eq!(world.gateway.stats().mapped_ports, 0);
    let flow = world.with_remote(0, |remote, now| {
        remote.node.connect(&mut remote.host, external, Default::default(), Plan::hold(), now).unwrap()
    });
    world.run_for(Duration::from_secs(40));
    assert!(world.remotes[0].node.flow(flow).connect_error.is_some(), "nobody is reached any more");
}

#[test]
fn one_page_reaches_another_by_the_external_address() {
    for ipv6 in [false, true] {
        let mut world = world(2);
        listen(&mut world, Plan::echo());
        let (_, external) = map(&mut world, Protocol::Tcp, ipv6, 0);
        for client in [1, 0] {
            let flow = world.connect(client, external, Plan::source(500_000, 6).expecting(6)).unwrap();
            world.expect(&format!("client {client} has its echo"), Duration::from_secs(60), |world| {
                world.clients[client].node.flow(flow).is_complete()
            });
        }
        assert_eq!(world.gateway.stats().egress.packets, 0, "nothing leaves the gateway");
    }
}

#[test]
fn after_a_restart_the_port_is_asked_for_again() {
    let mut world = world(1);
    listen(&mut world, Plan::echo());
    let (id, _) = map(&mut world, Protocol::Tcp, false, 0);
    world.restart_gateway();
    world.connect_all();
    world.expect("it is mapped again", Duration::from_secs(10), |world| world.gateway.stats().mapped_ports == 1);
    let external = world.clients[0].port_mapped(id).unwrap().unwrap().external;
    echo_from_outside(&mut world, external, 1000);
}

//! Sessions do not reach one another's inner addresses, do not appear as one another, and do not slow one another down.

use std::net::SocketAddr;
use std::time::Duration;
use webtun_gateway::dataplane::DropReason;
use webtun_stack::ConnectError;
use webtun_tests::flow::Plan;
use webtun_tests::packet::udp;
use webtun_tests::tunnel::TunnelConfig;
use webtun_tests::world::{World, WorldConfig};

fn world(clients: usize) -> World {
    let mut world = WorldConfig { clients, ..WorldConfig::new(1) }.build();
    world.serve(7, &Plan::echo());
    world.serve(80, &Plan::source(64 << 20, 1));
    world.serve_udp_echo(7);
    world.connect_all();
    world
}

#[test]
fn inner_addresses_of_others_are_out_of_reach() {
    let mut world = world(2);
    for ipv6 in [false, true] {
        let any = SocketAddr::from(([0_u16; 8], 9000 + u16::from(ipv6)));
        world.with_client(1, |client, now| client.node.listen(&mut client.stack, any, Plan::echo(), now).unwrap());
        let target = SocketAddr::new(world.clients[1].address(ipv6), any.port());
        let flow = world.connect(0, target, Plan::hold()).unwrap();
        world.expect("it is denied", Duration::from_secs(5), |world| {
            world.clients[0].node.flow(flow).connect_error.is_some()
        });
        assert_eq!(world.clients[0].node.flow(flow).connect_error, Some(ConnectError::Denied));
    }
    assert!(world.clients[1].node.flows.is_empty());
}

#[test]
fn a_page_that_uses_anothers_address_is_not_heard() {
    let mut world = world(2);
    for ipv6 in [false, true] {
        let before = world.drops(DropReason::SpoofedSource);
        // The stack itself would not do this: the packet goes into the gateway as if from client 0's connection.
        let packet = udp(SocketAddr::new(world.clients[1].address(ipv6), 5000), world.remote(0, ipv6, 7), b"spoof");
        world.send_as(0, &packet);
        world.run_for(Duration::from_secs(1));
        assert_eq!(world.drops(DropReason::SpoofedSource), before + 1);
    }
    assert!(world.remotes[0].node.datagrams.values().all(|socket| socket.received.is_empty()));
    assert!(world.clients.iter().all(|client| client.is_connected()), "both sessions go on");
}

#[test]
fn each_session_has_its_own_ports() {
    let mut world = world(3);
    let leases: Vec<_> = world.clients.iter().map(|client| client.lease().external_ports.clone()).collect();
    for (index, blocks) in leases.iter().enumerate() {
        assert!(!blocks.is_empty());
        for other in leases[..index].iter().flatten() {
            for block in blocks {
                let apart =
                    block.first + (block.count - 1) < other.first || other.first + (other.count - 1) < block.first;
                assert!(apart || block.address != other.address, "{block:?} and {other:?}");
            }
        }
    }
    world.tap = Some(Vec::new());
    for client in 0..3 {
        let remote = world.remote(0, false, 7);
        let flow = world.connect(client, remote, Plan::source(1000, 2).expecting(2)).unwrap();
        world.expect("echo", Duration::from_secs(5), |world| world.clients[client].node.flow(flow).is_complete());
    }
}

#[test]
fn a_slow_session_does_not_stall_the_others() {
    let mut world = world(2);
    world.clients[0].tunnel = TunnelConfig { rate: Some(2_000), capacity: 20_000, ..TunnelConfig::default() };
    let (source, echo) = (world.remote(0, false, 80), world.remote(0, false, 7));
    let slow = world.connect(0, source, Plan::sink()).unwrap();
    world.run_for(Duration::from_secs(10));
    let start = world.now();
    let quick = world.connect(1, echo, Plan::source(4 << 20, 3).expecting(3)).unwrap();
    world.expect("the other session is quick", Duration::from_secs(20), |world| {
        world.clients[1].node.flow(quick).is_complete()
    });
    let (took, received) = (world.now() - start, world.clients[0].node.flow(slow).received);
    assert!(took < Duration::from_secs(5), "{took:?}");
    assert!(received < 200_000, "{received} octets at 2,000 per second");
}

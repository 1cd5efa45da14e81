//! UDP datagrams of every size come back whole over a path of 1500 octets, and a steady stream of them loses none.

use std::net::SocketAddr;
use std::time::Duration;
use webtun_stack::{SocketId, UdpError};
use webtun_tests::pattern;
use webtun_tests::world::{World, WorldConfig};

fn bind(world: &mut World, ipv6: bool) -> SocketId {
    let any: SocketAddr = if ipv6 { "[::]:0".parse().unwrap() } else { "0.0.0.0:0".parse().unwrap() };
    world.with_client(0, |client, now| client.node.bind(&mut client.stack, any, false, now).unwrap())
}

fn world(seed: u64) -> World {
    let mut world = WorldConfig::new(seed).build();
    world.serve_udp_echo(7);
    world.connect_all();
    world
}

fn sizes(ipv6: bool, sizes: &[usize]) {
    let mut world = world(1);
    let (socket, echo) = (bind(&mut world, ipv6), world.remote(0, ipv6, 7));
    for (index, size) in sizes.iter().enumerate() {
        let payload = pattern::octets(*size as u64, *size);
        world.with_client(0, |client, now| client.send_datagram(socket, &payload, echo, now)).unwrap();
        world.expect(&format!("{size} octets come back"), Duration::from_secs(2), |world| {
            world.clients[0].node.udp(socket).received.len() == index + 1
        });
        let came = &world.clients[0].node.udp(socket).received[index];
        assert_eq!((came.from, &came.payload), (echo, &payload), "{size} octets");
    }
    assert_eq!(world.clients[0].node.udp(socket).errors, []);
}

#[test]
fn every_size_over_ipv4() {
    sizes(false, &[0, 1, 7, 8, 512, 1471, 1472, 1473, 1480, 2952, 9000, 32_768, 65_000, 65_506, 65_507]);
}

#[test]
fn every_size_over_ipv6() {
    sizes(true, &[0, 1, 7, 8, 512, 1451, 1452, 1453, 1460, 9000, 32_768, 65_000, 65_486, 65_487]);
}

#[test]
fn a_datagram_too_long_is_refused_at_once() {
    let mut world = world(2);
    for (ipv6, len) in [(false, 65_508), (true, 65_488)] {
        let (socket, echo) = (bind(&mut world, ipv6), world.remote(0, ipv6, 7));
        let sent = world.with_client(0, |client, now| client.send_datagram(socket, &vec![0; len], echo, now));
        assert_eq!(sent, Err(UdpError::TooLong));
    }
}

#[test]
fn a_thousand_at_one_per_millisecond_lose_none() {
    let mut world = world(3);
    for ipv6 in [false, true] {
        let (socket, echo) = (bind(&mut world, ipv6), world.remote(0, ipv6, 7));
        for index in 0..1000_u64 {
            let payload = pattern::octets(index, 512);
            world.with_client(0, |client, now| client.send_datagram(socket, &payload, echo, now)).unwrap();
            world.run_for(Duration::from_millis(1));
        }
        world.run_for(Duration::from_secs(1));
        let received = &world.clients[0].node.udp(socket).received;
        assert_eq!(received.len(), 1000);
        assert!(received.iter().enumerate().all(|(i, came)| came.payload == pattern::octets(i as u64, 512)));
    }
    assert_eq!(world.gateway.stats().total_drops(), 0);
}

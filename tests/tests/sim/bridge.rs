//! Virtual machines on a segment, through the real gateway: what a guest needs, end to end.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;
use webtun_stack::bridge::{Event, FrameDrop, MacAddress, SegmentConfig};
use webtun_tests::flow::Plan;
use webtun_tests::guest::Guest;
use webtun_tests::pattern;
use webtun_tests::room::Room;

const CARDS: [MacAddress; 3] =
    [MacAddress([0, 0x22, 0x15, 0, 0, 1]), MacAddress([0, 0x22, 0x15, 0, 0, 2]), MacAddress([0, 0x22, 0x15, 0, 0, 3])];

fn remote(ipv6: bool, port: u16) -> SocketAddr {
    let text = if ipv6 { "2600:1f00::1" } else { "45.33.0.1" };
    SocketAddr::new(text.parse().unwrap(), port)
}

fn room(mtu: u16, guests: usize) -> Room {
    let config = SegmentConfig { mtu, ..SegmentConfig::default() };
    let mut room = Room::new(config, &[remote(false, 0).ip(), remote(true, 0).ip()]);
    for card in &CARDS[..guests] {
        let now = room.now();
        room.plug(Guest::new(*card, usize::from(mtu), now));
    }
    let now = room.now();
    let any = |port| SocketAddr::new("::".parse().unwrap(), port);
    let machine = &mut room.remote;
    machine.node.listen(&mut machine.host, any(7), Plan::echo(), now).unwrap();
    machine.node.bind(&mut machine.host, any(7), true, now).unwrap();
    let machine = &mut room.inner;
    machine.node.bind(&mut machine.host, any(53), true, now).unwrap();
    room
}

fn configured(room: &mut Room) {
    let ready = |room: &mut Room| room.guests.iter_mut().all(|(_, it)| it.lease.is_some() && it.has_v6_route());
    assert!(room.run_until(Duration::from_secs(20), ready), "every guest has its addresses");
}

fn transfer(room: &mut Room, guest: usize, ipv6: bool, port: u16, len: u64) {
    let index = room.guests[guest].1.connect(remote(ipv6, 7), port, 5, len);
    let done = move |room: &mut Room| room.guests[guest].1.connections[index].is_complete();
    let finished = room.run_until(Duration::from_secs(120), done);
    let connection = &room.guests[guest].1.connections[index];
    assert_eq!(connection.mismatch, None);
    assert!(finished, "{} of {len} octets came back; dropped: {:?}", connection.received, drops(room));
}

fn drops(room: &Room) -> Vec<(FrameDrop, u64)> {
    let stats = room.segment.stats();
    FrameDrop::ALL.into_iter().map(|it| (it, stats.drops(it))).filter(|(_, count)| *count > 0).collect()
}

#[test]
fn two_guests_get_addresses_and_a_network_of_their_own() {
    let mut room = room(1500, 2);
    configured(&mut room);
    let leases: Vec<_> = room.guests.iter().map(|(_, it)| it.lease.unwrap().0.octets()[3]).collect();
    assert_eq!(leases, [2, 3]);
    assert_eq!(room.sessions.len(), 2, "each has its session");
    for ipv6 in [false, true] {
        transfer(&mut room, 0, ipv6, 5000, 300_000);
        transfer(&mut room, 1, ipv6, 5000, 300_000);
    }
    assert_eq!((drops(&room), room.remote.oversized_segments), (vec![], 0));
}

#[test]
fn large_segments_are_cut_for_the_path_and_no_further() {
    for mtu in [9000, 65_000] {
        let mut room = room(mtu, 1);
        configured(&mut room);
        for ipv6 in [false, true] {
            transfer(&mut room, 0, ipv6, 5000 + u16::from(ipv6), 2_000_000);
        }
        assert_eq!((room.longest_uplink, room.remote.oversized_segments), (1500, 0), "MTU {mtu}");
        assert_eq!(drops(&room), []);
    }
}

#[test]
fn datagrams_as_long_as_a_frame_come_back() {
    let mut room = room(1500, 1);
    configured(&mut room);
    for (ipv6, len) in [(false, 1472), (true, 1452), (false, 0), (true, 1)] {
        let payload = pattern::octets(len as u64, len);
        room.guests[0].1.send_datagram(remote(ipv6, 7), &payload);
        // A system that has to find its router's MAC address first may wait a second before it sends.
        let next = |room: &mut Room| {
            room.run_until(Duration::from_millis(10), |_| false);
            room.guests[0].1.receive_datagram()
        };
        let came = (0..300).find_map(|_| next(&mut room));
        assert!(came == Some((payload, remote(ipv6, 7))), "{len} octets come back");
    }
}

#[test]
fn the_router_stands_for_the_gateways_host() {
    let mut room = room(1500, 1);
    configured(&mut room);
    let (_, router, dns) = room.guests[0].1.lease.unwrap();
    assert_eq!(router, dns);
    room.guests[0].1.send_datagram(SocketAddr::new(dns.into(), 53), b"question");
    room.run_until(Duration::from_millis(100), |_| false);
    assert_eq!(room.guests[0].1.receive_datagram(), Some((b"question".to_vec(), SocketAddr::new(dns.into(), 53))));
    for target in [IpAddr::V4(router), remote(false, 0).ip()] {
        // Type 8, a right checksum, identifier 7, sequence number 1.
        room.guests[0].1.send_icmp(&[8, 0, 0xf7, 0xf7, 0, 7, 0, 1], target);
        room.run_until(Duration::from_millis(100), |_| false);
        let (message, from) = room.guests[0].1.receive_icmp().expect("an answer");
        assert_eq!((message[0], from), (0, target));
    }
}

#[test]
fn guests_reach_each_other_without_a_gateway() {
    let mut room = room(9000, 2);
    configured(&mut room);
    room.is_online = false;
    let target = room.guests[1].1.lease.unwrap().0;
    room.guests[1].1.listen(80, 9, 100_000);
    room.guests[0].1.connect(SocketAddr::new(target.into(), 80), 6000, 9, 100_000);
    let done = |room: &mut Room| room.guests.iter().all(|(_, it)| it.connections[0].is_complete());
    assert!(room.run_until(Duration::from_secs(20), done), "{:?}", drops(&room));
    assert!(room.guests[1].1.longest > 8000, "in frames as long as the segment's");
}

#[test]
fn an_address_comes_without_a_gateway_and_the_network_with_it() {
    let mut room = room(1500, 1);
    room.is_online = false;
    assert!(room.run_until(Duration::from_secs(10), |room| room.guests[0].1.lease.is_some()));
    room.run_until(Duration::from_secs(60), |_| false);
    assert!(!room.guests[0].1.has_v6_route(), "no route that leads nowhere");
    let index = room.guests[0].1.connect(remote(false, 7), 5000, 1, 1000);
    room.run_until(Duration::from_secs(5), |_| false);
    room.connect_all();
    let done = move |room: &mut Room| room.guests[0].1.connections[index].is_complete();
    assert!(room.run_until(Duration::from_secs(12), done));
    configured(&mut room);
    transfer(&mut room, 0, true, 5001, 1000);
}

#[test]
fn a_lease_outlives_the_session() {
    let mut room = room(1500, 1);
    configured(&mut room);
    transfer(&mut room, 0, false, 5000, 1000);
    let (guest, lease) = (*room.sessions.keys().next().unwrap(), room.guests[0].1.lease);
    let before = room.segment.guest(guest).unwrap().uplink;
    room.open(guest);
    assert_ne!(room.segment.guest(guest).unwrap().uplink, before, "other inner addresses");
    for ipv6 in [false, true] {
        transfer(&mut room, 0, ipv6, 5001, 1000);
    }
    room.run_until(Duration::from_secs(7200), |_| false);
    assert_eq!(room.guests[0].1.lease, lease, "renewed again and again");
    let given = room.events.iter().filter(|event| matches!(event, Event::LeaseGiven { .. })).count();
    assert!(given >= 3, "{given} times");
    transfer(&mut room, 0, true, 5002, 1000);
}

#[test]
fn a_guest_that_is_plugged_in_again_has_its_old_address() {
    let mut room = room(1500, 2);
    configured(&mut room);
    let (port, old) = room.guests.remove(0);
    room.segment.remove_port(port);
    room.run_until(Duration::from_secs(5), |_| false);
    assert_eq!(room.sessions.len(), 1, "its session may end");
    let now = room.now();
    room.plug(Guest::new(CARDS[2], 1500, now));
    room.plug(Guest::new(CARDS[0], 1500, now));
    configured(&mut room);
    assert_eq!(room.guests[2].1.lease, old.lease);
    assert_ne!(room.guests[1].1.lease, old.lease);
    transfer(&mut room, 2, true, 5000, 1000);
}

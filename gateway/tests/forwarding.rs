//! Single packets through both paths: what becomes of them, and what the client hears.

mod support;

use std::net::IpAddr;
use std::time::Duration;
use support::packets::{
    self, ACK, SYN, destination, echo, is_fragment, source, tcp, tcp_options, udp, udp_ttl, unreachable,
};
use support::{Client, EXTERNAL_V4, EXTERNAL_V6, INNER_HOST_V4, World, config};
use webtun_gateway::dataplane::{Action, Allowance, DropReason, Filtering, Peer, PeerLimits, Rule};
use webtun_wire::{Capsule, PortMapRequest, PortMapResult};

fn address(text: &str) -> IpAddr {
    text.parse().expect("an address")
}

fn remotes() -> [IpAddr; 2] {
    [address("8.8.4.4"), address("2600::4")]
}

fn external(like: IpAddr) -> IpAddr {
    if like.is_ipv4() { EXTERNAL_V4 } else { EXTERNAL_V6 }
}

fn block_port(client: &Client, like: IpAddr) -> u16 {
    let block = client.blocks.iter().find(|b| b.address.is_ipv4() == like.is_ipv4()).expect("a block");
    block.first + 3
}

#[test]
fn ports_of_the_sessions_own_block_are_kept_and_others_translated() {
    let mut world = World::new(config());
    let client = world.connect();
    for remote in remotes() {
        let own = block_port(&client, remote);
        for (port, kept) in [(own, true), (1234, false)] {
            let from = (client.address(remote), port);
            world.send(&client, &[udp(from, (remote, 53), b"query")]);
            let out = world.take_outside().pop().expect("a packet");
            assert_eq!(source(&out).0, external(remote));
            assert_eq!(source(&out).1 == port, kept);
            assert_eq!(source(&out).1 % 2, port % 2);
            world.receive(&udp((remote, 53), source(&out), b"answer"));
            let back = world.packets(&client).pop().expect("a packet");
            assert_eq!(destination(&back), from);
        }
    }
    assert_eq!(client.blocks[0].first, client.blocks[1].first);
}

#[test]
fn echo_and_tcp_go_out_and_come_back() {
    let mut world = World::new(config());
    let client = world.connect();
    for remote in remotes() {
        world.send(&client, &[echo(client.address(remote), remote, 77, true)]);
        let out = world.take_outside().pop().expect("a packet");
        world.receive(&echo(remote, external(remote), source(&out).1, false));
        assert_eq!(destination(&world.packets(&client)[0]), (client.address(remote), 77));
        let from = (client.address(remote), 4000);
        world.send(&client, &[tcp(from, (remote, 80), SYN, b"")]);
        let out = world.take_outside().pop().expect("a packet");
        world.receive(&tcp((remote, 80), source(&out), SYN | ACK, b""));
        assert_eq!(destination(&world.packets(&client)[0]), from);
    }
}

#[test]
fn spoofed_sources_go_nowhere() {
    let mut world = World::new(config());
    let client = world.connect();
    let other = world.connect();
    for from in [address("100.64.9.9"), other.v4, address("8.8.8.8")] {
        world.send(&client, &[udp((from, 4000), (remotes()[0], 53), b"")]);
    }
    world.send(&client, &[udp((address("fe80::1"), 4000), (remotes()[1], 53), b"")]);
    assert!(world.take_outside().is_empty());
    assert_eq!(world.gateway.stats().drops(DropReason::SpoofedSource), 4);
    assert_eq!(world.collect(&client), (vec![], vec![]));
}

#[test]
fn a_denied_flow_is_told_once_by_capsule_and_each_time_by_icmp() {
    let mut world = World::new(config());
    let client = world.connect();
    for (to, number) in [(address("192.168.1.1"), 1), (address("fd00::1"), 58)] {
        let packet = udp((client.address(to), 4000), (to, 80), b"x");
        world.send(&client, &[packet.clone(), packet.clone()]);
        let (packets, capsules) = world.collect(&client);
        assert_eq!(packets.len(), 2);
        for error in packets {
            let (found, at) = packets::transport(&error);
            assert_eq!(found, number);
            assert_eq!((error[at], error[at + 1]), if number == 1 { (3, 13) } else { (1, 1) });
            assert_eq!(error[at + 8..], packet[..]);
        }
        assert_eq!(capsules.len(), 1);
        assert!(capsules[0].starts_with("FlowDenied(FlowDenied { reason: Policy, protocol: 17, source_port: 4000"));
    }
    assert_eq!(world.gateway.stats().drops(DropReason::DestinationClass), 4);
    assert!(world.take_outside().is_empty());
}

/// A program that tries many addresses at once hears of each: UDP and pings are not tried again as a SYN is.
#[test]
fn every_denied_flow_is_told_where_icmp_errors_are_too_many() {
    let mut world = World::new(config());
    let client = world.connect();
    let to = address("192.168.1.1");
    for begin in [4000, 4150] {
        let flows: Vec<_> = (begin..begin + 150).map(|port| udp((client.address(to), port), (to, 80), b"x")).collect();
        world.send(&client, &flows);
        let (packets, capsules) = world.collect(&client);
        assert!(packets.len() <= 50, "{}", packets.len());
        assert_eq!(capsules.len(), 150);
    }
    world.send(&client, &vec![echo(client.address(to), to, 7, true); 100]);
    assert_eq!(world.collect(&client).1.len(), 100, "of one identifier");
}

#[test]
fn sessions_do_not_reach_each_other_even_by_rule() {
    let mut config = config();
    config.rules.push(Rule::new(Action::Allow));
    let mut world = World::new(config);
    let client = world.connect();
    let other = world.connect();
    world.send(&client, &[udp((client.v4, 4000), (other.v4, 4000), b"")]);
    world.send(&client, &[udp((client.v6, 4000), (other.v6, 4000), b"")]);
    world.send(&client, &[udp((client.v4, 4000), (address("10.1.2.3"), 25), b"")]);
    assert_eq!(world.gateway.stats().drops(DropReason::Unroutable), 2);
    assert_eq!(world.take_outside().len(), 1);
    assert!(world.packets(&other).is_empty());
}

#[test]
fn the_hop_limit_is_taken_down_and_its_end_is_told() {
    let mut world = World::new(config());
    let client = world.connect();
    for remote in remotes() {
        let from = (client.address(remote), 4000);
        world.send(&client, &[udp_ttl(from, (remote, 53), b"", 2), udp_ttl(from, (remote, 53), b"", 1)]);
        let out = world.take_outside();
        assert_eq!(out.len(), 1);
        assert_eq!(if remote.is_ipv4() { out[0][8] } else { out[0][7] }, 1);
        let error = world.packets(&client).pop().expect("an error");
        let (_, at) = packets::transport(&error);
        assert_eq!(error[at], if remote.is_ipv4() { 11 } else { 3 });
        world.receive(&udp_ttl((remote, 53), source(&out[0]), b"", 1));
        assert!(world.packets(&client).is_empty());
        let error = world.take_outside().pop().expect("an error to the outside");
        assert_eq!((source(&error).0, destination(&error).0), (external(remote), remote));
    }
}

#[test]
fn the_inner_host_is_reached_and_answers() {
    let mut world = World::new(config());
    let client = world.connect();
    world.send(&client, &[udp((client.v4, 4000), (INNER_HOST_V4, 53), b"query")]);
    let query = world.local.pop().expect("a packet");
    assert_eq!((source(&query), query[8]), ((client.v4, 4000), 64));
    world.gateway.process_local(udp((INNER_HOST_V4, 53), (client.v4, 4000), b"answer")[..].into(), world.now);
    world.gateway.process_local(udp((address("100.64.0.9"), 53), (client.v4, 4000), b"")[..].into(), world.now);
    world.gateway.process_local(udp((INNER_HOST_V4, 53), (address("100.64.0.9"), 1), b"")[..].into(), world.now);
    world.settle();
    assert_eq!(world.packets(&client).len(), 1);
    assert_eq!(world.gateway.stats().drops(DropReason::SpoofedSource), 1);
    assert_eq!(world.gateway.stats().drops(DropReason::NoSession), 1);
}

#[test]
fn the_largest_datagrams_are_cut_on_the_way_out_and_whole_on_the_way_in() {
    let mut world = World::new(config());
    let client = world.connect();
    for (remote, len) in remotes().into_iter().zip([65_507usize, 65_487]) {
        let payload: Vec<u8> = (0..len).map(|i| (i * 31) as u8).collect();
        let from = (client.address(remote), 4000);
        world.send(&client, &packets::cuttable(udp(from, (remote, 7), &payload)));
        let pieces = world.take_outside();
        assert_eq!(pieces.len(), len.div_ceil(if remote.is_ipv4() { 1480 } else { 1448 }));
        assert!(pieces.iter().all(|piece| piece.len() <= 1500 && is_fragment(piece)));
        let external = source(&pieces[0]);
        let mut answer: Vec<Vec<u8>> = pieces.iter().map(|piece| turn_round(piece)).collect();
        answer.reverse();
        // The ports lie in the first piece alone, and its checksum does not mind their order.
        let first = answer.last_mut().expect("a piece");
        let (_, at) = packets::transport(first);
        first[at..at + 2].copy_from_slice(&7u16.to_be_bytes());
        first[at + 2..at + 4].copy_from_slice(&external.1.to_be_bytes());
        for piece in &answer {
            world.receive(piece);
        }
        let back = world.packets(&client).pop().expect("one whole packet");
        assert_eq!((source(&back), destination(&back)), ((remote, 7), from));
        assert_eq!(back[back.len() - len..], payload);
    }
}

/// Swaps the addresses of a packet, which no checksum notices.
fn turn_round(packet: &[u8]) -> Vec<u8> {
    let mut packet = packet.to_vec();
    let (at, len) = if packets::is_v4(&packet) { (12, 4) } else { (8, 16) };
    let (first, second) = packet[at..at + 2 * len].split_at_mut(len);
    first.swap_with_slice(second);
    packet
}

#[test]
fn what_must_not_be_cut_and_is_too_big_is_told() {
    let mut world = World::new(config());
    let client = world.connect();
    for remote in remotes() {
        let packet = udp((client.address(remote), 4000), (remote, 7), &[7; 2000]);
        world.send(&client, std::slice::from_ref(&packet));
        assert!(world.take_outside().is_empty());
        let error = world.packets(&client).pop().expect("an error");
        let (_, at) = packets::transport(&error);
        assert_eq!((error[at], error[at + 1]), if remote.is_ipv4() { (3, 4) } else { (2, 0) });
        assert_eq!(error[at + 6..at + 8], 1500u16.to_be_bytes());
        let quoted = error.len() - at - 8;
        assert_eq!(error[at + 8..], packet[..quoted]);
    }
    assert_eq!(world.gateway.stats().drops(DropReason::TooBig), 2);
}

#[test]
fn a_tcp_segment_beyond_the_path_is_told_and_the_mss_is_lowered() {
    let mut world = World::new(config());
    let client = world.connect();
    let options = [2, 4, 0xFF, 0xD7];
    for (remote, mss) in remotes().into_iter().zip([1460u16, 1440]) {
        let from = (client.address(remote), 4000);
        world.send(&client, &[tcp_options(from, (remote, 80), SYN, &options, b"")]);
        let syn = world.take_outside().pop().expect("a SYN");
        assert_eq!(syn[syn.len() - 2..], mss.to_be_bytes());
        world.receive(&tcp_options((remote, 80), source(&syn), SYN | ACK, &options, b""));
        let answer = world.packets(&client).pop().expect("a SYN-ACK");
        assert_eq!(answer[answer.len() - 2..], mss.to_be_bytes());
        world.send(&client, &[tcp(from, (remote, 80), ACK, &[0; 2000])]);
        assert!(world.take_outside().is_empty());
        let error = world.packets(&client).pop().expect("an error");
        let (_, at) = packets::transport(&error);
        assert_eq!(error[at], if remote.is_ipv4() { 3 } else { 2 });
        assert_eq!(error[at + 6..at + 8], 1500u16.to_be_bytes());
    }
}

#[test]
fn errors_from_outside_come_back_about_the_packet_as_it_was_sent() {
    let mut world = World::new(config());
    let client = world.connect();
    for remote in remotes() {
        for len in [28, 48, 200] {
            let from = (client.address(remote), 4000);
            let packet = udp(from, (remote, 9), &[5; 100]);
            world.send(&client, std::slice::from_ref(&packet));
            let out = world.take_outside().pop().expect("a packet");
            let router = if remote.is_ipv4() { address("9.9.9.9") } else { address("2600::9") };
            world.receive(&unreachable(router, external(remote), &out, len));
            let Some(error) = world.packets(&client).pop() else {
                assert!(remote.is_ipv6() && len < 48, "an error");
                continue;
            };
            assert_eq!((source(&error).0, destination(&error).0), (router, client.address(remote)));
            let (_, at) = packets::transport(&error);
            let mut expected = packet[..len.min(packet.len())].to_vec();
            // One hop has been taken off, and the IPv4 header's checksum and identification follow.
            let changed = if remote.is_ipv4() { vec![4, 5, 8, 10, 11] } else { vec![7] };
            for position in changed {
                expected[position] = error[at + 8 + position];
            }
            assert_eq!(error[at + 8..], expected);
        }
    }
}

#[test]
fn errors_from_outside_about_nothing_are_dropped() {
    let mut world = World::new(config());
    let client = world.connect();
    let remote = remotes()[0];
    world.send(&client, &[udp((client.v4, 4000), (remote, 9), &[5; 40])]);
    let out = world.take_outside().pop().expect("a packet");
    let mut guess = out.clone();
    guess[16..20].copy_from_slice(&[1, 2, 3, 4]);
    world.receive(&unreachable(remote, EXTERNAL_V4, &guess, 100));
    assert_eq!(world.gateway.stats().drops(DropReason::Checksum), 1);
    packets::heal(&mut guess);
    world.receive(&unreachable(remote, EXTERNAL_V4, &guess, 100));
    assert_eq!(world.gateway.stats().drops(DropReason::Filtered), 1);
    let mut bad = unreachable(remote, EXTERNAL_V4, &out, 100);
    bad[25] ^= 1;
    world.receive(&bad);
    assert_eq!(world.gateway.stats().drops(DropReason::Checksum), 2);
    assert!(world.packets(&client).is_empty());
}

#[test]
fn a_clients_own_error_leaves_translated() {
    let mut world = World::new(config());
    let client = world.connect();
    for remote in remotes() {
        world.send(&client, &[udp((client.address(remote), 4000), (remote, 9), b"x")]);
        let out = world.take_outside().pop().expect("a packet");
        let answer = udp((remote, 9), source(&out), b"answer");
        world.receive(&answer);
        let seen = world.packets(&client).pop().expect("a packet");
        world.send(&client, &[unreachable(client.address(remote), remote, &seen, 100)]);
        let error = world.take_outside().pop().expect("an error");
        assert_eq!((source(&error).0, destination(&error).0), (external(remote), remote));
        let (_, at) = packets::transport(&error);
        assert_eq!(destination(&error[at + 8..]), source(&out));
        world.send(&client, &[unreachable(client.address(remote), remote, &answer, 100)]);
        assert!(world.take_outside().is_empty());
    }
}

#[test]
fn a_mapped_port_takes_strangers_in_until_it_is_given_up() {
    let mut world = World::new(config());
    let client = world.connect();
    let request = |lifetime, external_port| PortMapRequest {
        request_id: 5,
        protocol: 6,
        ipv6: false,
        internal_port: 8080,
        external_port,
        lifetime,
    };
    world.tell(&client, &[Capsule::PortMapRequest(request(600, 30_000))]).expect("a sound message");
    let (_, capsules) = world.collect(&client);
    let expected = format!("result: Success, external_address: {EXTERNAL_V4}, external_port: 30000, lifetime: 600");
    assert!(capsules[0].contains(&expected), "{capsules:?}");
    let stranger = (address("9.9.9.9"), 999);
    world.receive(&tcp(stranger, (EXTERNAL_V4, 30_000), SYN, b""));
    assert_eq!(destination(&world.packets(&client)[0]), (client.v4, 8080));
    world.send(&client, &[tcp((client.v4, 8080), stranger, SYN | ACK, b"")]);
    assert_eq!(source(&world.take_outside()[0]), (EXTERNAL_V4, 30_000));
    world.tell(&client, &[Capsule::PortMapRequest(request(0, 0))]).expect("a sound message");
    world.receive(&tcp((address("9.9.9.10"), 999), (EXTERNAL_V4, 30_000), SYN, b""));
    assert_eq!(world.gateway.stats().drops(DropReason::Filtered), 1);
    world.receive(&tcp(stranger, (EXTERNAL_V4, 30_000), ACK, b"still there"));
    assert_eq!(world.packets(&client).len(), 1);
}

fn peer(each: Allowance) -> Peer {
    Peer { limits: PeerLimits { each, ..PeerLimits::default() }, ..Peer::new("small") }
}

#[test]
fn port_maps_are_renewed_expire_and_are_bounded() {
    let mut world = World::new(config());
    let client = world.connect_as(&peer(Allowance { mapped_ports: 2, ..Allowance::SESSION }));
    let map = |world: &mut World, protocol, internal_port, lifetime| {
        let request = PortMapRequest { request_id: 1, protocol, ipv6: true, internal_port, external_port: 0, lifetime };
        world.tell(&client, &[Capsule::PortMapRequest(request)]).expect("a sound message");
        world.collect(&client).1.pop().expect("a response")
    };
    let has = |text: &str, result: PortMapResult| text.contains(&format!("result: {result:?},"));
    let first = map(&mut world, 17, 1000, 100);
    assert!(has(&first, PortMapResult::Success));
    assert!(has(&map(&mut world, 6, 1000, 100), PortMapResult::Success));
    assert!(has(&map(&mut world, 6, 1001, 100), PortMapResult::UserExceededQuota));
    assert!(has(&map(&mut world, 132, 1000, 100), PortMapResult::UnsupportedProtocol));
    assert!(has(&map(&mut world, 6, 0, 100), PortMapResult::MalformedRequest));
    world.pass(Duration::from_secs(20));
    assert_eq!(map(&mut world, 17, 1000, 100), first);
    world.pass(Duration::from_secs(20));
    map(&mut world, 17, 1000, 100);
    assert_eq!(world.gateway.stats().mapped_ports, 2);
    world.pass(Duration::from_secs(61));
    assert_eq!(world.gateway.stats().mapped_ports, 1);
    world.pass(Duration::from_secs(61));
    assert_eq!((world.gateway.stats().mapped_ports, world.gateway.stats().mappings), (0, 0));
}

#[test]
fn sessions_meet_at_the_external_address() {
    let mut world = World::new(config());
    let (one, two) = (world.connect(), world.connect());
    let request = PortMapRequest {
        request_id: 1,
        protocol: 17,
        ipv6: false,
        internal_port: 5000,
        external_port: 0,
        lifetime: 600,
    };
    world.tell(&two, &[Capsule::PortMapRequest(request)]).expect("a sound message");
    world.send(&two, &[udp((two.v4, 5000), (remotes()[0], 9), b"x")]);
    let mapped = source(&world.take_outside()[0]);
    world.collect(&two);
    world.send(&one, &[udp((one.v4, 6000), mapped, b"hello")]);
    let seen = world.packets(&two).pop().expect("a packet");
    assert_eq!((source(&seen).0, destination(&seen)), (EXTERNAL_V4, (two.v4, 5000)));
    world.send(&two, &[udp((two.v4, 5000), source(&seen), b"hello yourself")]);
    let back = world.packets(&one).pop().expect("a packet");
    assert_eq!((source(&back), destination(&back)), (mapped, (one.v4, 6000)));
    assert!(world.take_outside().is_empty());
}

#[test]
fn filtering_is_as_configured() {
    for (filtering, from_other_port, from_other_address) in [
        (Filtering::EndpointIndependent, true, true),
        (Filtering::AddressDependent, true, false),
        (Filtering::AddressAndPortDependent, false, false),
    ] {
        let mut config = config();
        config.nat.filtering = filtering;
        let mut world = World::new(config);
        let client = world.connect();
        for remote in remotes() {
            world.send(&client, &[udp((client.address(remote), 4000), (remote, 9), b"x")]);
            let mapped = source(&world.take_outside()[0]);
            let other = if remote.is_ipv4() { address("9.9.9.9") } else { address("2600::9") };
            for (from, passes) in
                [((remote, 9), true), ((remote, 10), from_other_port), ((other, 9), from_other_address)]
            {
                world.receive(&udp(from, mapped, b"y"));
                assert_eq!(world.packets(&client).len(), usize::from(passes), "{filtering:?} {from:?}");
            }
        }
    }
}

#[test]
fn more_blocks_come_on_demand_and_are_announced() {
    let mut world = World::new(config());
    let client = world.connect_as(&peer(Allowance { blocks: 4, ..Allowance::SESSION }));
    let remote = remotes()[0];
    let packets: Vec<_> = (0..600).map(|i| udp((client.v4, 1000 + i), (remote, 53), b"")).collect();
    world.send(&client, &packets);
    assert_eq!(world.take_outside().len(), 512);
    let (_, capsules) = world.collect(&client);
    let announced = capsules.iter().find(|c| c.starts_with("ExternalPorts")).expect("EXTERNAL_PORTS");
    assert_eq!(announced.matches("PortBlock").count(), 5);
    assert!(capsules.iter().any(|c| c.contains("reason: Exhausted")));
    assert_eq!(world.gateway.stats().drops(DropReason::NoPorts), 88);
    world.pass(Duration::from_secs(300));
    assert_eq!(world.gateway.stats().mappings, 0);
}

#[test]
fn the_downlink_queue_is_bounded() {
    let mut world = World::new(config());
    let client = world.connect_as(&peer(Allowance { queue_octets: 100_000, ..Allowance::SESSION }));
    let remote = remotes()[0];
    world.send(&client, &[udp((client.v4, 4000), (remote, 9), b"x")]);
    let mapped = source(&world.take_outside()[0]);
    world.gateway.disconnect(client.id, world.now);
    for _ in 0..1000 {
        world.receive(&udp((remote, 9), mapped, &[0; 972]));
    }
    assert_eq!(world.gateway.stats().drops(DropReason::QueueFull), 1000 - 100_000 / 1064);
}

#[test]
fn strangers_at_a_mapped_port_leave_the_session_room() {
    let mut world = World::new(config());
    let client = world.connect_as(&peer(Allowance { flows: 20, ..Allowance::SESSION }));
    let request = PortMapRequest {
        request_id: 1,
        protocol: 6,
        ipv6: false,
        internal_port: 80,
        external_port: 30_000,
        lifetime: 600,
    };
    world.tell(&client, &[Capsule::PortMapRequest(request)]).expect("a sound message");
    for port in 1..=100 {
        world.receive(&tcp((address("9.9.9.9"), port), (EXTERNAL_V4, 30_000), SYN, b""));
    }
    assert_eq!(world.packets(&client).len(), 10);
    assert_eq!(world.gateway.stats().drops(DropReason::FlowLimit), 90);
    let packets: Vec<_> = (1..=15).map(|port| tcp((client.v4, 4000), (remotes()[0], port), SYN, b"")).collect();
    world.send(&client, &packets);
    assert_eq!(world.take_outside().len(), 10);
    assert!(world.collect(&client).1.iter().any(|capsule| capsule.contains("reason: Limit")));
}

#[test]
fn an_address_that_is_announced_otherwise_turns_round_as_announced() {
    let mut config = config();
    let announced = address("192.0.2.99");
    config.external[0].announced = announced;
    let mut world = World::new(config);
    let (one, two) = (world.connect(), world.connect());
    assert_eq!(one.blocks[0].address, announced);
    let request =
        PortMapRequest { request_id: 1, protocol: 17, ipv6: false, internal_port: 53, external_port: 0, lifetime: 600 };
    world.tell(&two, &[Capsule::PortMapRequest(request)]).expect("a sound message");
    world.send(&two, &[udp((two.v4, 53), (remotes()[0], 9), b"x")]);
    let mapped = source(&world.take_outside()[0]);
    assert_eq!(mapped.0, EXTERNAL_V4);
    world.collect(&two);
    world.send(&one, &[udp((one.v4, 6000), (announced, mapped.1), b"hello")]);
    let seen = world.packets(&two).pop().expect("a packet");
    assert_eq!(source(&seen).0, announced);
    world.send(&two, &[udp((two.v4, 53), source(&seen), b"hello yourself")]);
    assert_eq!(source(&world.packets(&one)[0]), (announced, mapped.1));
    world.send(&one, &[udp((one.v4, 6000), mapped, b"not by this name")]);
    assert_eq!(world.gateway.stats().drops(DropReason::Unroutable), 1);
}

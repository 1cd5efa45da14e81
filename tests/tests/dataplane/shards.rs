//! Gateways that serve together as shards: what one has for another's session gets there, and nothing else does.

use std::net::{IpAddr, SocketAddr};
use webtun_gateway::dataplane::{Action, DropReason, ExternalAddress, Filtering, GatewayConfig, Peer, Rule, Slice};
use webtun_tests::direct::Direct;
use webtun_tests::packet::{IcmpError, Transport, View, icmp_error, udp, with_hop_limit};
use webtun_wire::Capsule;

/// The address that the outside knows, whichever shard a packet is of.
const ANNOUNCED: [&str; 2] = ["198.51.100.7", "2600:1f00::7"];
/// What the devices of the shards carry for it.
const DEVICE: [[&str; 2]; 2] =
    [["100.127.255.1", "100.127.255.3"], ["fd77:6562:7475:ffff::1", "fd77:6562:7475:ffff::3"]];

fn address(text: &str) -> IpAddr {
    text.parse().unwrap()
}

/// Two shards that share an address: each has half of its ports.
fn shared(rules: Vec<Rule>) -> Direct {
    let external = |shard: usize| {
        let of = |family: usize| ExternalAddress {
            address: address(DEVICE[family][shard]),
            announced: address(ANNOUNCED[family]),
        };
        vec![of(0), of(1)]
    };
    let slices =
        [(0, 20_000..=29_999), (1, 30_000..=39_999)].map(|(shard, ports)| Slice { external: external(shard), ports });
    open(GatewayConfig { rules, ..GatewayConfig::new(Vec::new()) }.shards(&slices))
}

/// Two shards with an address each.
fn apart() -> Direct {
    let slices = [8, 9].map(|last: u8| {
        let external = [IpAddr::from([198, 51, 100, last]), IpAddr::from([0x2600, 0x1f00, 0, 0, 0, 0, 0, last.into()])];
        let external = external.map(|address| ExternalAddress { address, announced: address }).to_vec();
        Slice { external, ports: 20_000..=29_999 }
    });
    open(GatewayConfig::new(Vec::new()).shards(&slices))
}

/// "b" and "d" are in the first shard, "c" and "e" in the second; all but "e" are in networks.
fn open(configs: Vec<GatewayConfig>) -> Direct {
    let mut direct = Direct::sharded(configs, [3; 32]);
    for (name, network) in [("b", Some("room")), ("c", Some("room")), ("d", Some("other")), ("e", None)] {
        let filtering = Some(Filtering::AddressDependent);
        direct.open(&Peer { network: network.map(Into::into), filtering, ..Peer::new(name) }).unwrap();
    }
    direct
}

/// The external endpoint of the first port of a session's block.
fn external(direct: &Direct, session: usize, ipv6: bool) -> SocketAddr {
    let block = direct.sessions[session].blocks.iter().find(|block| block.address.is_ipv6() == ipv6).unwrap();
    (block.address, block.first).into()
}

/// Sends from the session's own port of that number, so that it is the same outside.
fn send(direct: &mut Direct, from: usize, to: SocketAddr) {
    let port = external(direct, from, to.is_ipv6()).port();
    let packet = udp(direct.sessions[from].endpoint(to.is_ipv6(), port), to, b"hello");
    direct.send_packets(from, &[packet]).unwrap();
}

fn endpoints(direct: &mut Direct, session: usize) -> Option<(SocketAddr, SocketAddr)> {
    let packet = direct.sessions[session].packets.pop_front()?;
    let view = View::parse(&packet).unwrap();
    Some((view.source_endpoint(), view.destination_endpoint()))
}

#[test]
fn sessions_of_two_shards_meet_at_their_external_endpoints() {
    for mut direct in [shared(Vec::new()), apart()] {
        for ipv6 in [false, true] {
            let (b, c) = (external(&direct, 0, ipv6), external(&direct, 1, ipv6));
            // The first one is stopped by the filter, and opens that of its own session.
            send(&mut direct, 0, c);
            assert_eq!(endpoints(&mut direct, 1), None);
            send(&mut direct, 1, b);
            let inner = direct.sessions[0].endpoint(ipv6, b.port());
            assert_eq!(endpoints(&mut direct, 0), Some((c, inner)), "from what the outside knows");
            send(&mut direct, 0, c);
            let inner = direct.sessions[1].endpoint(ipv6, c.port());
            assert_eq!(endpoints(&mut direct, 1), Some((b, inner)));
            // The filter goes by the address: who shares one with a session that was asked comes in.
            let (d, e) = (external(&direct, 2, ipv6), external(&direct, 3, ipv6));
            send(&mut direct, 3, b);
            let shares = c.ip() == e.ip();
            assert_eq!(endpoints(&mut direct, 0).is_some(), shares);
            send(&mut direct, 2, b);
            assert_eq!(endpoints(&mut direct, 0).is_some(), d.ip() == c.ip());
        }
        assert!(direct.egress.is_empty(), "nothing leaves");
    }
}

#[test]
fn an_error_finds_its_way_back_between_shards() {
    for mut direct in [shared(Vec::new()), apart()] {
        for ipv6 in [false, true] {
            let (b, c) = (external(&direct, 0, ipv6), external(&direct, 1, ipv6));
            send(&mut direct, 1, b);
            send(&mut direct, 0, c);
            let received = direct.sessions[1].packets.pop_front().unwrap();
            let complainer = direct.sessions[1].endpoint(ipv6, 0).ip();
            let error = icmp_error(complainer, IcmpError::PortUnreachable, &received);
            direct.send_packets(1, &[error]).unwrap();
            let error = direct.sessions[0].packets.pop_front().expect("the error arrives");
            let view = View::parse(&error).unwrap();
            assert_eq!((view.source, view.destination), (c.ip(), direct.sessions[0].endpoint(ipv6, 0).ip()));
            let Transport::Icmp { quoted, .. } = view.transport else { panic!("{view:?}") };
            let quoted = View::parse(quoted).unwrap();
            assert_eq!(quoted.source_endpoint(), direct.sessions[0].endpoint(ipv6, b.port()));
            assert_eq!(quoted.destination_endpoint(), c, "as it was sent");
        }
    }
}

#[test]
fn networks_reach_over_shards_and_nobody_else_does() {
    let mut direct = shared(Vec::new());
    for ipv6 in [false, true] {
        for (from, to) in [(0, 1), (1, 0), (0, 3), (3, 0), (2, 1), (1, 2), (2, 3), (3, 2)] {
            let (source, destination) =
                (direct.sessions[from].endpoint(ipv6, 4000), direct.sessions[to].endpoint(ipv6, 5000));
            direct.sessions.iter_mut().for_each(|session| session.denied.clear());
            direct.send_packets(from, &[udp(source, destination, b"hello")]).unwrap();
            let is_near = from < 2 && to < 2;
            assert_eq!(endpoints(&mut direct, to), is_near.then_some((source, destination)), "{from} to {to}");
            let denied: Vec<_> = direct.sessions[from].denied.iter().map(|it| it.destination).collect();
            assert_eq!(denied, if is_near { vec![] } else { vec![destination.ip()] }, "{from} to {to}");
            assert_eq!(direct.sessions[from].packets.pop_front().is_some(), !is_near, "an ICMP error says so, too");
        }
    }
    assert_eq!(direct.sum(|stats| stats.network.packets), 4);
    assert_eq!(direct.drops(), [(DropReason::Unroutable, 12)]);
}

#[test]
fn rules_and_the_hop_limit_hold_between_shards() {
    let deny = Rule { protocol: Some(17), ports: Some(5000..=5000), ..Rule::new(Action::Deny) };
    let mut direct = shared(vec![deny]);
    let (source, destination) = (direct.sessions[0].endpoint(false, 4000), direct.sessions[1].endpoint(false, 5000));
    direct.send_packets(0, &[udp(source, destination, b"hello")]).unwrap();
    let elsewhere = SocketAddr::new(destination.ip(), 5001);
    direct.send_packets(0, &[with_hop_limit(udp(source, elsewhere, b"hello"), 1)]).unwrap();
    assert_eq!(direct.drops(), [(DropReason::DeniedByRule, 1), (DropReason::HopLimit, 1)]);
    assert_eq!(direct.sessions[0].packets.len(), 2, "an error for each");
    assert!(direct.sessions[1].packets.is_empty());
}

#[test]
fn what_another_shards_device_carries_is_no_destination_and_no_source() {
    let mut direct = shared(vec![Rule::new(Action::Allow)]);
    let theirs = SocketAddr::new(address(DEVICE[0][1]), 30_000);
    send(&mut direct, 0, theirs);
    assert!(direct.egress.is_empty());
    let ours = SocketAddr::new(address(DEVICE[0][0]), external(&direct, 0, false).port());
    direct.receive(udp(theirs, ours, b"hello"));
    assert_eq!(direct.drops(), [(DropReason::SpoofedSource, 1), (DropReason::Unroutable, 1)]);
}

#[test]
fn ports_beyond_those_of_all_shards_are_nobodys() {
    let mut direct = shared(Vec::new());
    send(&mut direct, 0, (address(ANNOUNCED[0]), 40_000).into());
    assert_eq!(direct.drops(), [(DropReason::OwnAddress, 1)]);
}

#[test]
fn a_resumption_finds_its_shard_and_numbers_do_not_meet() {
    let mut direct = shared(Vec::new());
    for index in 0..4 {
        direct.disconnect(index);
        direct.resume(index).unwrap();
    }
    let mut ids: Vec<_> = direct.sessions.iter().map(|session| session.id).collect();
    assert_eq!(ids.iter().map(|id| id.shard(2)).collect::<Vec<_>>(), [0, 1, 0, 1]);
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), 4);
}

#[test]
fn a_packet_for_a_shard_that_is_full_is_counted() {
    let mut direct = shared(Vec::new());
    let packet = udp(direct.sessions[0].endpoint(false, 4000), direct.sessions[1].endpoint(false, 5000), b"hello");
    let mut message = Vec::new();
    Capsule::Datagram { context: 0, payload: packet.as_ref() }.encode(&mut message);
    let (id, now) = (direct.sessions[0].id, direct.now);
    direct.gateway.process_uplink(id, message.as_slice().into(), now).unwrap();
    let transfer = direct.gateway.poll_transfer().unwrap();
    assert_eq!(transfer.to(), 1);
    direct.gateway.lose_transfer(transfer);
    assert_eq!(direct.drops(), [(DropReason::ShardFull, 1)]);
}

#[test]
fn a_prefix_is_sliced_as_the_inner_addresses_are() {
    let one = ExternalAddress { address: address("198.51.100.7"), announced: address("198.51.100.7") };
    let slices = [20_000..=29_999, 30_000..=39_999].map(|ports| Slice { external: vec![one], ports });
    let whole = GatewayConfig {
        external_prefix: Some("2001:db8:7:1::/64".parse().unwrap()),
        rules: vec![Rule::new(Action::Allow)],
        ..GatewayConfig::new(vec![one])
    };
    let configs = whole.shards(&slices);
    let prefixes: Vec<_> = (0..2).map(|index| configs[0].shard_prefix(index).unwrap()).collect();
    let mut direct = open(configs);
    for session in 0..4 {
        send(&mut direct, session, "[2600::1]:53".parse().unwrap());
        let packet = direct.egress.pop_front().unwrap();
        let IpAddr::V6(seen) = View::parse(&packet).unwrap().source else { panic!("IPv6") };
        let of = |shard: usize| prefixes[shard].contains(&seen);
        assert_eq!((of(0), of(1)), (session % 2 == 0, session % 2 == 1), "{seen} of {prefixes:?}");
    }
    let (b, c) = (external(&direct, 0, true), external(&direct, 1, true));
    send(&mut direct, 1, b);
    direct.sessions[0].packets.clear();
    send(&mut direct, 0, c);
    assert_eq!(endpoints(&mut direct, 1).map(|(source, _)| source), Some(b));
}

//! Networks of peers: who is in one reaches its neighbours, and nobody else does.

use bytes::BytesMut;
use webtun_gateway::dataplane::{Action, DropReason, ExternalAddress, GatewayConfig, Peer, Rule};
use webtun_tests::direct::Direct;
use webtun_tests::packet::{View, udp, with_source};

fn direct(rules: Vec<Rule>) -> Direct {
    let external = ["100.127.255.1", "fd77:6562:7475:ffff::1"].map(|it| it.parse().unwrap());
    let external = external.map(|address| ExternalAddress { address, announced: address });
    let mut direct = Direct::new(GatewayConfig { rules, ..GatewayConfig::new(external.to_vec()) }, [1; 32]);
    for (name, network) in [("a", Some("game")), ("b", Some("game")), ("c", Some("other")), ("d", None)] {
        direct.open(&Peer { network: network.map(Into::into), ..Peer::new(name) }).unwrap();
    }
    direct
}

fn packet(direct: &Direct, from: usize, to: usize, ipv6: bool) -> BytesMut {
    udp(direct.sessions[from].endpoint(ipv6, 4000), direct.sessions[to].endpoint(ipv6, 5000), b"hello")
}

fn arrived(direct: &mut Direct, from: usize, to: usize, ipv6: bool) -> bool {
    direct.sessions[to].packets.clear();
    let packet = packet(direct, from, to, ipv6);
    direct.send_packets(from, &[packet]).unwrap();
    let endpoints = (direct.sessions[from].endpoint(ipv6, 4000), direct.sessions[to].endpoint(ipv6, 5000));
    direct.sessions[to].packets.pop_back().is_some_and(|packet| {
        let view = View::parse(&packet).unwrap();
        assert_eq!((view.source_endpoint(), view.destination_endpoint()), endpoints, "nothing is translated");
        true
    })
}

#[test]
fn neighbours_reach_each_other_and_nobody_else_does() {
    let mut direct = direct(Vec::new());
    for ipv6 in [false, true] {
        for from in 0..4 {
            for to in 0..4 {
                let near = from < 2 && to < 2 && from != to;
                if from != to {
                    assert_eq!(arrived(&mut direct, from, to, ipv6), near, "{from} to {to}");
                }
            }
        }
    }
    let stats = direct.gateway.stats();
    assert_eq!((stats.network.packets, stats.drops(DropReason::Unroutable)), (4, 20));
    assert_eq!((direct.egress.len(), stats.mappings), (0, 0));
}

#[test]
fn a_neighbours_address_cannot_be_used_as_source() {
    let mut direct = direct(Vec::new());
    let forged = with_source(packet(&direct, 0, 1, false), direct.sessions[2].endpoint(false, 4000).ip());
    direct.send_packets(0, &[forged]).unwrap();
    assert!(direct.sessions[1].packets.is_empty());
    assert_eq!(direct.gateway.stats().drops(DropReason::SpoofedSource), 1);
}

#[test]
fn a_rule_may_deny_neighbours_too() {
    let deny = Rule { protocol: Some(17), ports: Some(5000..=5000), ..Rule::new(Action::Deny) };
    let mut direct = direct(vec![deny]);
    assert!(!arrived(&mut direct, 0, 1, false));
    assert_eq!(direct.gateway.stats().drops(DropReason::DeniedByRule), 1);
}

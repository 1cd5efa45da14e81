//! Pools that run empty refuse whoever asks next, with a clear reason, and serve again what comes back.

use std::time::Duration;
use webtun_gateway::dataplane::{Allowance, DropReason, ExternalAddress, GatewayConfig, NatConfig, Peer, PeerLimits};
use webtun_tests::direct::Direct;
use webtun_tests::packet::udp;
use webtun_wire::{Capsule, CloseCode, DenyReason, PortMapRequest, PortMapResult};

fn config() -> GatewayConfig {
    let address = "100.127.255.1".parse().unwrap();
    GatewayConfig::new(vec![ExternalAddress { address, announced: address }])
}

fn open_until_refused(direct: &mut Direct) -> (usize, CloseCode) {
    for count in 0..10_000 {
        if let Err(code) = direct.open(&Peer::new(format!("peer-{count}"))) {
            return (count, code);
        }
    }
    panic!("never refused");
}

/// Closes the first session; the next one then finds room.
fn one_goes_one_comes(direct: &mut Direct) {
    let (id, now) = (direct.sessions[0].id, direct.now);
    direct.gateway.close_session(id, CloseCode::Normal, now);
    direct.drain();
    direct.open(&Peer::new("late")).expect("room again");
    assert_eq!(direct.open(&Peer::new("later")).unwrap_err(), CloseCode::Exhausted);
}

#[test]
fn inner_addresses() {
    let inner_v4 = "100.64.0.0/28".parse().unwrap();
    let mut direct = Direct::new(GatewayConfig { inner_v4, ..config() }, [1; 32]);
    let (count, code) = open_until_refused(&mut direct);
    // 16 without the network, the gateway itself and the broadcast address.
    assert_eq!((count, code), (13, CloseCode::Exhausted));
    one_goes_one_comes(&mut direct);
}

#[test]
fn port_blocks() {
    let nat = NatConfig { first_port: 20_000, last_port: 20_639, block_size: 64, ..NatConfig::default() };
    let mut direct = Direct::new(GatewayConfig { nat, ..config() }, [1; 32]);
    let (count, code) = open_until_refused(&mut direct);
    assert_eq!((count, code), (10, CloseCode::Exhausted));
    one_goes_one_comes(&mut direct);
}

#[test]
fn sessions_of_the_gateway_and_of_a_peer() {
    let mut direct = Direct::new(GatewayConfig { max_sessions: 3, ..config() }, [1; 32]);
    let (count, code) = open_until_refused(&mut direct);
    assert_eq!(count, 3);
    assert!(matches!(code, CloseCode::Exhausted | CloseCode::Limit), "{code:?}");

    let mut direct = Direct::new(config(), [1; 32]);
    let limits = PeerLimits { sessions: 2, ..PeerLimits::default() };
    let peer = Peer { limits, ..Peer::new("many") };
    assert_eq!((direct.open(&peer), direct.open(&peer)), (Ok(0), Ok(1)));
    assert_eq!(direct.open(&peer), Err(CloseCode::Limit));
    direct.open(&Peer::new("other")).expect("another peer is not affected");
}

fn each(each: Allowance) -> PeerLimits {
    PeerLimits { each, ..PeerLimits::default() }
}

#[test]
fn mappings_of_a_session() {
    let mut direct = Direct::new(config(), [1; 32]);
    let limits = each(Allowance { mappings: 10, ..Allowance::SESSION });
    let peer = Peer { limits, ..Peer::new("busy") };
    let (busy, other) = (direct.open(&peer).unwrap(), direct.open(&Peer::new("other")).unwrap());
    let remote = "45.33.0.1:53".parse().unwrap();
    let send = |direct: &mut Direct, session: usize, port: u16| {
        let packet = udp(direct.sessions[session].endpoint(false, port), remote, b"?");
        direct.send_packets(session, &[packet]).unwrap();
        direct.egress.pop_front().is_some()
    };
    assert!((0..10).all(|port| send(&mut direct, busy, 3000 + port)));
    assert!(!send(&mut direct, busy, 3010));
    assert_eq!(direct.gateway.stats().drops(DropReason::MappingLimit), 1);
    let denied = direct.sessions[busy].denied.pop().expect("the client is told");
    assert_eq!((denied.reason, denied.source_port), (DenyReason::Limit, 3010));
    assert!(send(&mut direct, busy, 3000), "what exists goes on");
    assert!(send(&mut direct, other, 3000), "another session is not affected");
    direct.advance(Duration::from_secs(301));
    assert!(send(&mut direct, busy, 3010), "what has expired makes room");
}

#[test]
fn external_ports() {
    let nat = NatConfig { first_port: 20_000, last_port: 20_127, block_size: 64, ..NatConfig::default() };
    let mut direct = Direct::new(GatewayConfig { nat, ..config() }, [1; 32]);
    direct.open(&Peer::new("busy")).unwrap();
    let remote = "45.33.0.1:53".parse().unwrap();
    let packets: Vec<_> =
        (0..200).map(|port| udp(direct.sessions[0].endpoint(false, 3000 + port), remote, b"?")).collect();
    direct.send_packets(0, &packets).unwrap();
    assert_eq!(direct.egress.len(), 128, "every port of both blocks, and no more");
    assert_eq!(direct.gateway.stats().drops(DropReason::NoPorts), 72);
    assert_eq!(direct.sessions[0].denied[0].reason, DenyReason::Exhausted);
    assert_eq!(direct.sessions[0].blocks.len(), 2, "the client knows its blocks");
}

#[test]
fn mapped_ports() {
    let mut direct = Direct::new(config(), [1; 32]);
    let limits = each(Allowance { mapped_ports: 2, ..Allowance::SESSION });
    direct.open(&Peer { limits, ..Peer::new("busy") }).unwrap();
    direct.open(&Peer::new("other")).unwrap();
    let ask = |direct: &mut Direct, session: usize, internal_port: u16, external_port: u16| {
        let request =
            PortMapRequest { request_id: 1, protocol: 6, ipv6: false, internal_port, external_port, lifetime: 100 };
        direct.send_capsules(session, &[Capsule::PortMapRequest(request)]).unwrap();
        direct.sessions[session].port_maps.pop().expect("an answer")
    };
    assert_eq!(ask(&mut direct, 0, 80, 0).result, PortMapResult::Success);
    assert_eq!(ask(&mut direct, 0, 81, 40_000).external_port, 40_000);
    let refused = ask(&mut direct, 0, 82, 0);
    assert_eq!(refused.result, PortMapResult::UserExceededQuota);
    assert!(refused.lifetime > 0, "it says for how long asking is of no use");
    let taken = ask(&mut direct, 1, 80, 40_000);
    assert_eq!(taken.result, PortMapResult::Success);
    assert_ne!(taken.external_port, 40_000, "another's port is not given");
    direct.advance(Duration::from_secs(101));
    assert_eq!(ask(&mut direct, 0, 82, 0).result, PortMapResult::Success);
}

#[test]
fn the_downlink_queue_of_a_session() {
    let mut direct = Direct::new(config(), [1; 32]);
    let limits = each(Allowance { queue_octets: 100_000, ..Allowance::SESSION });
    direct.open(&Peer { limits, ..Peer::new("away") }).unwrap();
    direct.open(&Peer::new("other")).unwrap();
    let remote = "45.33.0.1:53".parse().unwrap();
    let mut external = Vec::new();
    for session in 0..2 {
        let packet = udp(direct.sessions[session].endpoint(false, 3000), remote, b"?");
        direct.send_packets(session, &[packet]).unwrap();
        let sent = direct.egress.pop_front().unwrap();
        external.push(webtun_tests::packet::View::parse(&sent).unwrap().source_endpoint());
    }
    direct.disconnect(0);
    for _ in 0..1000 {
        direct.receive(udp(remote, external[0], &[1; 1000]));
    }
    let dropped = direct.gateway.stats().drops(DropReason::QueueFull);
    assert!((900..1000).contains(&dropped), "{dropped}");
    direct.receive(udp(remote, external[1], b"!"));
    assert_eq!(direct.sessions[1].packets.len(), 1, "another session is not affected");
    direct.resume(0).unwrap();
    assert_eq!(direct.sessions[0].packets.len() as u64, 1000 - dropped, "what was kept is delivered");
}

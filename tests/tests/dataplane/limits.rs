//! What a session and a peer may use per second, and what happens beyond it: to that session alone.

use bytes::BytesMut;
use std::net::SocketAddr;
use std::time::Duration;
use webtun_gateway::dataplane::{Allowance, DropReason, ExternalAddress, GatewayConfig, Peer, PeerLimits, Rate};
use webtun_tests::direct::Direct;
use webtun_tests::packet::{View, udp};
use webtun_wire::DenyReason;

fn direct() -> Direct {
    let external = ["100.127.255.1", "fd77:6562:7475:ffff::1"].map(|it| it.parse().unwrap());
    let external = external.map(|address| ExternalAddress { address, announced: address });
    Direct::new(GatewayConfig::new(external.to_vec()), [1; 32])
}

fn peer(name: &str, each: Allowance, total: Allowance) -> Peer {
    Peer { limits: PeerLimits { each, total, ..PeerLimits::default() }, ..Peer::new(name) }
}

fn remote() -> SocketAddr {
    "45.33.0.1:53".parse().unwrap()
}

fn packets(direct: &Direct, session: usize, count: usize, len: usize) -> Vec<BytesMut> {
    let from = direct.sessions[session].endpoint(false, 4000);
    (0..count).map(|_| udp(from, remote(), &vec![7; len])).collect()
}

/// Sends so many packets in one message; returns for how long the gateway wants to read no more.
fn send(direct: &mut Direct, session: usize, count: usize, len: usize) -> Duration {
    let packets = packets(direct, session, count, len);
    direct.send_packets(session, &packets).unwrap();
    let now = direct.now;
    direct.gateway.reads_again_at(direct.sessions[session].id, now).map_or(Duration::ZERO, |at| at - now)
}

#[test]
fn past_its_packets_per_second_a_session_is_not_read() {
    let rate = Rate { per_second: 100, burst: 50 };
    let mut direct = direct();
    direct.open(&peer("fast", Allowance { uplink_packets: rate, ..Allowance::SESSION }, Allowance::PEER)).unwrap();
    direct.open(&Peer::new("other")).unwrap();
    assert_eq!(send(&mut direct, 0, 20, 10), Duration::ZERO);
    // Of each message, two more capsules are its number and an acknowledgement.
    let pause = send(&mut direct, 0, 100, 10);
    assert!((Duration::from_millis(700)..Duration::from_millis(800)).contains(&pause), "{pause:?}");
    assert_eq!(direct.egress.len(), 120, "what has been read is carried");
    assert_eq!(send(&mut direct, 1, 100, 10), Duration::ZERO, "the other session is not concerned");
    direct.advance(pause);
    assert_eq!(direct.gateway.reads_again_at(direct.sessions[0].id, direct.now), None);
}

#[test]
fn past_its_octets_per_second_a_session_is_not_read() {
    let rate = Rate { per_second: 100_000, burst: 25_000 };
    let mut direct = direct();
    direct.open(&peer("fast", Allowance { uplink_octets: rate, ..Allowance::SESSION }, Allowance::PEER)).unwrap();
    let pause = send(&mut direct, 0, 100, 1000);
    assert!((Duration::from_millis(750)..Duration::from_millis(900)).contains(&pause), "{pause:?}");
}

#[test]
fn who_is_read_all_the_same_loses_packets_in_the_end() {
    let rate = Rate { per_second: 10_000, burst: 10_000 };
    let mut direct = direct();
    direct.open(&peer("deaf", Allowance { uplink_octets: rate, ..Allowance::SESSION }, Allowance::PEER)).unwrap();
    for _ in 0..10 {
        send(&mut direct, 0, 50, 1000);
    }
    let carried = direct.egress.len();
    assert!((100..=200).contains(&carried), "ten seconds' worth of debt and a message: {carried}");
    assert_eq!(direct.gateway.stats().drops(DropReason::UplinkRate), 500 - carried as u64);
}

#[test]
fn sessions_of_a_peer_share_its_total() {
    let total = Allowance { uplink_packets: Rate { per_second: 100, burst: 100 }, ..Allowance::PEER };
    let both = peer("both", Allowance::SESSION, total);
    let mut direct = direct();
    direct.open(&both).unwrap();
    direct.open(&both).unwrap();
    direct.open(&Peer::new("other")).unwrap();
    assert!(send(&mut direct, 0, 150, 10) > Duration::ZERO);
    assert!(send(&mut direct, 1, 1, 10) > Duration::ZERO, "the total is used up for both");
    assert_eq!(send(&mut direct, 2, 150, 10), Duration::ZERO);
}

/// Lets so many packets come from outside, and returns how many the session got.
fn receive(direct: &mut Direct, session: usize, count: usize, len: usize) -> usize {
    let packet = packets(direct, session, 1, 1).remove(0);
    direct.send_packets(session, &[packet]).unwrap();
    let sent = direct.egress.pop_back().unwrap();
    let mapped = View::parse(&sent).unwrap().source_endpoint();
    let before = direct.sessions[session].packets.len();
    for _ in 0..count {
        direct.receive(udp(remote(), mapped, &vec![7; len]));
    }
    direct.sessions[session].packets.len() - before
}

#[test]
fn past_its_downlink_rate_packets_wait_and_then_come() {
    let rate = Rate { per_second: 100_000, burst: 25_000 };
    let mut direct = direct();
    direct.open(&peer("slow", Allowance { downlink_octets: rate, ..Allowance::SESSION }, Allowance::PEER)).unwrap();
    let at_once = receive(&mut direct, 0, 125, 1000);
    assert!((24..=26).contains(&at_once), "a quarter of a second's worth: {at_once}");
    direct.advance(Duration::from_millis(500));
    let half = direct.sessions[0].packets.len();
    assert!((70..=80).contains(&half), "half a second's worth more: {half}");
    direct.advance(Duration::from_secs(1));
    assert_eq!((direct.sessions[0].packets.len(), direct.gateway.stats().total_drops()), (125, 0));
}

#[test]
fn queues_of_a_peer_share_its_total() {
    let total = Allowance { queue_octets: 150_000, ..Allowance::PEER };
    let both = peer("both", Allowance::SESSION, total);
    let mut direct = direct();
    direct.open(&both).unwrap();
    direct.open(&both).unwrap();
    for session in 0..2 {
        // The mapping is made first: without a connection nothing comes in either.
        receive(&mut direct, session, 0, 0);
    }
    let mapped: Vec<SocketAddr> = (0..2)
        .map(|session| {
            let packet = packets(&direct, session, 1, 1).remove(0);
            direct.send_packets(session, &[packet]).unwrap();
            View::parse(&direct.egress.pop_back().unwrap()).unwrap().source_endpoint()
        })
        .collect();
    direct.disconnect(0);
    direct.disconnect(1);
    for to in mapped.iter().flat_map(|to| [*to; 100]) {
        direct.receive(udp(remote(), to, &[7; 972]));
    }
    let dropped = direct.gateway.stats().drops(DropReason::QueueFull);
    assert_eq!(dropped, 200 - 150_000 / 1064, "both together hold no more");
    direct.resume(0).unwrap();
    direct.resume(1).unwrap();
    let held: usize = direct.sessions.iter().map(|session| session.packets.len()).sum();
    assert_eq!(held as u64, 200 - dropped);
}

/// Sends one datagram from each of so many ports; returns how many left.
fn begin_flows(direct: &mut Direct, session: usize, count: u16) -> usize {
    let packets: Vec<_> =
        (0..count).map(|port| udp(direct.sessions[session].endpoint(false, 5000 + port), remote(), b"?")).collect();
    direct.send_packets(session, &packets).unwrap();
    core::mem::take(&mut direct.egress).len()
}

#[test]
fn new_flows_are_counted_and_old_ones_go_on() {
    let each = Allowance { new_flows: Rate { per_second: 10, burst: 20 }, ..Allowance::SESSION };
    let mut direct = direct();
    direct.open(&peer("scanner", each, Allowance::PEER)).unwrap();
    direct.open(&Peer::new("other")).unwrap();
    assert_eq!(begin_flows(&mut direct, 0, 50), 20);
    assert_eq!(direct.gateway.stats().drops(DropReason::NewFlowRate), 30);
    assert!(direct.sessions[0].denied.iter().any(|denied| denied.reason == DenyReason::Limit), "the client is told");
    assert_eq!(begin_flows(&mut direct, 0, 20), 20, "what has begun goes on");
    assert_eq!(begin_flows(&mut direct, 1, 50), 50, "the other session is not concerned");
    direct.advance(Duration::from_secs(1));
    assert_eq!(begin_flows(&mut direct, 0, 50), 30);
}

#[test]
fn sessions_of_a_peer_share_its_new_flows() {
    let total = Allowance { new_flows: Rate { per_second: 10, burst: 20 }, ..Allowance::PEER };
    let both = peer("both", Allowance::SESSION, total);
    let mut direct = direct();
    direct.open(&both).unwrap();
    direct.open(&both).unwrap();
    assert_eq!((begin_flows(&mut direct, 0, 15), begin_flows(&mut direct, 1, 15)), (15, 5));
}

#[test]
fn who_does_not_answer_is_not_flooded() {
    let each = Allowance { unanswered_octets: Rate { per_second: 1000, burst: 10_280 }, ..Allowance::SESSION };
    let mut direct = direct();
    direct.open(&peer("flooder", each, Allowance::PEER)).unwrap();
    send(&mut direct, 0, 50, 1000);
    assert_eq!((direct.egress.len(), direct.gateway.stats().drops(DropReason::Unanswered)), (10, 40));
    let mapped = View::parse(&direct.egress[0]).unwrap().source_endpoint();
    direct.advance(Duration::from_secs(2));
    send(&mut direct, 0, 50, 1000);
    assert_eq!(direct.egress.len(), 11, "a second's worth is a packet");
    // One answer, and there is no limit any more.
    direct.receive(udp(remote(), mapped, b"!"));
    send(&mut direct, 0, 50, 1000);
    assert_eq!(direct.egress.len(), 61);
}

#[test]
fn mappings_and_flows_of_a_peer_are_counted_together() {
    for (total, reason) in [
        (Allowance { mappings: 20, ..Allowance::PEER }, DropReason::MappingLimit),
        (Allowance { flows: 20, ..Allowance::PEER }, DropReason::FlowLimit),
        (Allowance { blocks: 2, ..Allowance::PEER }, DropReason::NoPorts),
    ] {
        let both = peer("both", Allowance::SESSION, total);
        let mut direct = direct();
        direct.open(&both).unwrap();
        direct.open(&both).unwrap();
        direct.open(&Peer::new("other")).unwrap();
        let count = if reason == DropReason::NoPorts { 300 } else { 15 };
        let began = begin_flows(&mut direct, 0, count) + begin_flows(&mut direct, 1, count);
        assert_eq!(began, if reason == DropReason::NoPorts { 256 } else { 20 }, "{reason}");
        assert_eq!(direct.gateway.stats().drops(reason), u64::from(count) * 2 - began as u64);
        assert_eq!(begin_flows(&mut direct, 2, count), usize::from(count), "another peer is not concerned");
    }
}

//! NAT64 at the dataplane: what a session sends over IPv6 leaves as IPv4, and the way back. Payloads, ports and checksums
//! of every kind of packet are compared with packets made anew by the fuzz target `nat_rewrite`.

use bytes::BytesMut;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use webtun_gateway::dataplane::{Action, DropReason, ExternalAddress, GatewayConfig, Peer, Pref64, Rule};
use webtun_tests::direct::Direct;
use webtun_tests::packet::{
    IcmpError, Segment, Transport, View, echo, fragment, icmp_error, raw, tcp, tcp_with_mss, udp, with_hop_limit,
    without_udp_checksum,
};

const EXTERNAL: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(45, 34, 0, 1));
const REMOTE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(45, 33, 0, 1));

fn config() -> GatewayConfig {
    GatewayConfig::new(vec![ExternalAddress { address: EXTERNAL, announced: EXTERNAL }])
}

fn start(config: GatewayConfig) -> Direct {
    let mut direct = Direct::new(config, [3; 32]);
    direct.open(&Peer::new("six")).unwrap();
    direct
}

fn embedded(address: IpAddr) -> IpAddr {
    let IpAddr::V4(v4) = address else { panic!("not IPv4") };
    Pref64::WELL_KNOWN.embed(v4).into()
}

/// The session's IPv6 endpoint, and the remote host as it knows it.
fn ends(direct: &Direct, port: u16) -> (SocketAddr, SocketAddr) {
    (direct.sessions[0].endpoint(true, port), SocketAddr::new(embedded(REMOTE), 53))
}

fn sent(direct: &mut Direct, packet: BytesMut) -> BytesMut {
    direct.send_packets(0, &[packet]).unwrap();
    direct.egress.pop_front().expect("it leaves")
}

fn came(direct: &mut Direct) -> BytesMut {
    direct.sessions[0].packets.pop_front().expect("it is delivered")
}

fn drops(direct: &Direct, reason: DropReason) -> u64 {
    direct.gateway.stats().drops(reason)
}

#[test]
fn it_works_without_any_ipv6_outside_and_is_announced() {
    let mut direct = start(config());
    let (internal, remote) = ends(&direct, 4000);
    let left = sent(&mut direct, udp(internal, remote, b"question"));
    let view = View::parse(&left).unwrap();
    assert_eq!((view.source, view.destination, view.hop_limit), (EXTERNAL, REMOTE, 63));
    assert!(!view.dont_fragment, "a packet of less than 1260 octets may be cut");
    assert!(direct.sessions[0].owns_port(view.source_endpoint()), "the port is of the session's IPv4 block");
    let answer = udp(SocketAddr::new(REMOTE, 53), view.source_endpoint(), b"answer");
    for answer in [answer.clone(), without_udp_checksum(answer)] {
        direct.receive(answer);
        let back = came(&mut direct);
        let view = View::parse(&back).unwrap();
        assert_eq!((view.source_endpoint(), view.destination_endpoint(), view.hop_limit), (remote, internal, 63));
        assert!(matches!(view.transport, Transport::Udp { payload: b"answer", .. }));
    }
    let prefix = Pref64::WELL_KNOWN.prefix();
    assert_eq!(direct.sessions[0].pref64, [(IpAddr::V6(prefix.network()), 96)]);
}

#[test]
fn endpoints_of_both_families_never_share_a_mapping() {
    let mut direct = start(config());
    let (six, remote) = ends(&direct, 4000);
    let four = direct.sessions[0].endpoint(false, 4000);
    let from_six = sent(&mut direct, udp(six, remote, b"6"));
    let from_four = sent(&mut direct, udp(four, SocketAddr::new(REMOTE, 53), b"4"));
    let (from_six, from_four) = (View::parse(&from_six).unwrap(), View::parse(&from_four).unwrap());
    assert_ne!(from_six.source_endpoint(), from_four.source_endpoint());
    direct.receive(udp(SocketAddr::new(REMOTE, 53), from_six.source_endpoint(), b""));
    direct.receive(udp(SocketAddr::new(REMOTE, 53), from_four.source_endpoint(), b""));
    for expected in [six, four] {
        let back = came(&mut direct);
        assert_eq!(View::parse(&back).unwrap().destination_endpoint(), expected);
    }
}

#[test]
fn fragments_are_put_together_and_cut_again() {
    let mut direct = start(config());
    let (internal, remote) = ends(&direct, 4000);
    let payload = webtun_tests::pattern::octets(1, 5000);
    direct.send_packets(0, &fragment(udp(internal, remote, &payload), 1280, 77)).unwrap();
    let mut whole = None;
    let mut reassembler = webtun_tests::packet::Reassembler::default();
    for piece in direct.egress.drain(..) {
        assert!(piece.len() <= 1500);
        whole = reassembler.push(piece);
    }
    let whole = whole.expect("all of it left");
    let external = View::parse(&whole).unwrap().source_endpoint();
    for piece in fragment(udp(SocketAddr::new(REMOTE, 53), external, &payload), 576, 9).into_iter().rev() {
        direct.receive(piece);
    }
    let back = came(&mut direct);
    let Transport::Udp { payload: received, .. } = View::parse(&back).unwrap().transport else { panic!("UDP") };
    assert_eq!(received, payload);
}

#[test]
fn the_embedded_address_is_what_the_policy_judges() {
    let mut config = config();
    let destination = Some("45.33.7.0/24".parse().unwrap());
    config.rules.push(Rule { destination, ..Rule::new(Action::Deny) });
    let all = Rule::new(Action::Allow);
    for (target, rules, reason) in [
        ("64:ff9b::a00:1", vec![], DropReason::DestinationClass),
        ("64:ff9b::a00:1", vec![all.clone()], DropReason::DestinationClass),
        ("64:ff9b::2d21:707", vec![], DropReason::DeniedByRule),
        ("64:ff9b::7f00:1", vec![all.clone()], DropReason::DestinationClass),
        ("64:ff9b::6440:1", vec![all], DropReason::DestinationClass),
    ] {
        let mut config = config.clone();
        config.rules.extend(rules);
        let mut direct = start(config);
        let (internal, _) = ends(&direct, 4000);
        let packet = udp(internal, SocketAddr::new(target.parse().unwrap(), 80), b"x");
        direct.send_packets(0, std::slice::from_ref(&packet)).unwrap();
        assert_eq!((drops(&direct, reason), direct.egress.len()), (1, 0), "{target}");
        let error = came(&mut direct);
        let view = View::parse(&error).unwrap();
        assert_eq!(view.source, direct.gateway.config().inner_host_v6());
        let Transport::Icmp { kind: 1, code: 1, quoted, .. } = view.transport else { panic!("{view:?}") };
        assert_eq!(quoted, &packet[..], "the packet is quoted as it was sent");
        assert_eq!(direct.sessions[0].denied[0].destination, target.parse::<IpAddr>().unwrap());
    }
}

#[test]
fn a_prefix_of_ones_own_reaches_what_a_rule_allows_and_never_the_inner_side() {
    let own = Pref64::new("fd00:64::/48".parse().unwrap()).unwrap();
    let mut config = config();
    config.nat64 = Some(own);
    config.rules.push(Rule::new(Action::Allow));
    let mut direct = start(config);
    let (internal, _) = ends(&direct, 4000);
    let to = |v4: [u8; 4]| SocketAddr::new(own.embed(v4.into()).into(), 80);
    let left = sent(&mut direct, udp(internal, to([10, 0, 0, 1]), b""));
    assert_eq!(View::parse(&left).unwrap().destination, IpAddr::from([10, 0, 0, 1]));
    for inner in [[100, 64, 0, 1], [100, 64, 0, 2], [127, 0, 0, 1], [240, 0, 0, 3]] {
        direct.send_packets(0, &[udp(internal, to(inner), b"")]).unwrap();
    }
    let garbled = SocketAddr::new(Ipv6Addr::new(0xfd00, 0x64, 0, 0x2d21, 0, 0x100, 0, 1).into(), 80);
    direct.send_packets(0, &[udp(internal, garbled, b"")]).unwrap();
    assert_eq!((drops(&direct, DropReason::Unroutable), direct.egress.len(), direct.local.len()), (5, 0, 0));
}

#[test]
fn errors_about_our_packets_come_back_in_ipv6() {
    let mut direct = start(config());
    let (internal, remote) = ends(&direct, 4000);
    let packet = udp(internal, remote, b"question");
    let left = sent(&mut direct, packet.clone());
    let router = IpAddr::from([45, 33, 9, 9]);
    for (error, expected) in [
        (IcmpError::NetUnreachable, (1, 0)),
        (IcmpError::HostUnreachable, (1, 0)),
        (IcmpError::PortUnreachable, (1, 4)),
        (IcmpError::Prohibited, (1, 1)),
        (IcmpError::TimeExceeded, (3, 0)),
        (IcmpError::TooBig(1400), (2, 0)),
        (IcmpError::TooBig(576), (2, 0)),
        (IcmpError::TooBig(0), (2, 0)),
    ] {
        direct.receive(icmp_error(router, error, &left));
        let back = came(&mut direct);
        let view = View::parse(&back).unwrap();
        let Transport::Icmp { kind, code, mtu: rest, quoted, .. } = view.transport else { panic!("{view:?}") };
        assert_eq!((view.source, (kind, code)), (embedded(router), expected));
        // One hop fewer: it was quoted on the way.
        assert_eq!(quoted, &with_hop_limit(packet.clone(), 63)[..]);
        if let IcmpError::TooBig(mtu) = error {
            assert_eq!(rest, (mtu + 20).max(1280));
        }
    }
    // The well-known prefix has no address for this router (RFC 6052 section 3.1).
    direct.receive(icmp_error(IpAddr::from([192, 168, 1, 1]), IcmpError::TimeExceeded, &left));
    let back = came(&mut direct);
    assert_eq!(View::parse(&back).unwrap().source, direct.gateway.config().inner_host_v6());
}

#[test]
fn an_error_that_quotes_a_fragment_comes_back_too() {
    let mut direct = start(config());
    let (internal, remote) = ends(&direct, 4000);
    direct.send_packets(0, &fragment(udp(internal, remote, &[7; 4000]), 2500, 5)).unwrap();
    let first = direct.egress.pop_front().unwrap();
    direct.receive(icmp_error(IpAddr::from([45, 33, 9, 9]), IcmpError::HostUnreachable, &first));
    let back = came(&mut direct);
    let Transport::Icmp { quoted, .. } = View::parse(&back).unwrap().transport else { panic!("an error") };
    assert_eq!((quoted[6], quoted[40], quoted[43]), (44, 17, 1), "a fragment header, of UDP, with more to follow");
    assert_eq!(quoted[48..52], [0x0f, 0xa0, 0, 53]);
}

#[test]
fn errors_from_the_session_leave_in_ipv4() {
    let mut direct = start(config());
    let (internal, remote) = ends(&direct, 4000);
    let left = sent(&mut direct, udp(internal, remote, b"question"));
    let external = View::parse(&left).unwrap().source_endpoint();
    let answer = udp(SocketAddr::new(REMOTE, 53), external, b"answer");
    direct.receive(answer.clone());
    let back = came(&mut direct);
    let complaint = icmp_error(internal.ip(), IcmpError::PortUnreachable, &back);
    let left = sent(&mut direct, complaint.clone());
    let view = View::parse(&left).unwrap();
    let Transport::Icmp { kind: 3, code: 3, quoted, .. } = view.transport else { panic!("{view:?}") };
    assert_eq!((view.source, view.destination), (EXTERNAL, REMOTE));
    assert_eq!(quoted, &with_hop_limit(answer, 63)[..]);
    // About a packet that never was for this session.
    let other = udp(remote, SocketAddr::new("2600::9".parse().unwrap(), 4000), b"");
    let mut complaint = icmp_error(internal.ip(), IcmpError::PortUnreachable, &back);
    complaint.truncate(48);
    complaint.extend_from_slice(&other);
    direct.send_packets(0, &[raw(internal.ip(), remote.ip(), 58, &complaint[40..])]).unwrap();
    assert!(direct.egress.is_empty());
}

#[test]
fn what_is_too_big_is_told_in_octets_of_ipv6_and_the_mss_fits() {
    let mut direct = start(config());
    let (internal, remote) = ends(&direct, 4000);
    let left = sent(&mut direct, tcp_with_mss(internal, remote, Segment::flags(Segment::SYN), 65_000));
    let Transport::Tcp { mss, .. } = View::parse(&left).unwrap().transport else { panic!("TCP") };
    assert_eq!(mss, Some(1460));
    let fits = tcp(internal, remote, Segment::flags(Segment::ACK), &[0; 1460]);
    assert_eq!((fits.len(), sent(&mut direct, fits).len()), (1520, 1500));
    direct.send_packets(0, &[tcp(internal, remote, Segment::flags(Segment::ACK), &[0; 1461])]).unwrap();
    let error = came(&mut direct);
    let Transport::Icmp { kind: 2, mtu: 1520, .. } = View::parse(&error).unwrap().transport else { panic!("too big") };
    direct.send_packets(0, &[udp(internal, remote, &[0; 1473])]).unwrap();
    let error = came(&mut direct);
    let Transport::Icmp { kind: 2, mtu: 1520, .. } = View::parse(&error).unwrap().transport else { panic!("too big") };
}

#[test]
fn the_hop_limit_ends_at_the_gateway_and_goes_down_by_one() {
    let mut direct = start(config());
    let (internal, remote) = ends(&direct, 4000);
    direct.send_packets(0, &[with_hop_limit(udp(internal, remote, b""), 1)]).unwrap();
    let error = came(&mut direct);
    let Transport::Icmp { kind: 3, code: 0, .. } = View::parse(&error).unwrap().transport else { panic!("exceeded") };
    let left = sent(&mut direct, with_hop_limit(udp(internal, remote, b""), 2));
    assert_eq!(View::parse(&left).unwrap().hop_limit, 1);
}

#[test]
fn sessions_meet_by_their_external_endpoints() {
    let mut direct = start(config());
    direct.open(&Peer::new("another")).unwrap();
    let (first, second) = (direct.sessions[0].endpoint(true, 4000), direct.sessions[1].endpoint(true, 5000));
    direct.send_packets(1, &[udp(second, SocketAddr::new(embedded(EXTERNAL), 9), b"")]).unwrap();
    let (_, remote) = ends(&direct, 4000);
    direct.send_packets(1, &[udp(second, remote, b"opens")]).unwrap();
    let opened = View::parse(&direct.egress.pop_back().unwrap()).unwrap().source_endpoint();
    direct.send_packets(0, &[udp(first, remote, b"opens")]).unwrap();
    let other = View::parse(&direct.egress.pop_back().unwrap()).unwrap().source_endpoint();
    direct.send_packets(1, &[udp(second, SocketAddr::new(embedded(EXTERNAL), other.port()), b"punch")]).unwrap();
    direct.send_packets(0, &[udp(first, SocketAddr::new(embedded(EXTERNAL), opened.port()), b"hello")]).unwrap();
    let packet = direct.sessions[1].packets.pop_back().expect("it is delivered");
    let view = View::parse(&packet).unwrap();
    assert_eq!(view.destination_endpoint(), second);
    assert_eq!(view.source_endpoint(), SocketAddr::new(embedded(EXTERNAL), other.port()));
}

#[test]
fn what_is_not_translated_is_dropped_and_counted() {
    let mut direct = start(config());
    let (internal, remote) = ends(&direct, 4000);
    let (from, to) = (internal.ip(), remote.ip());
    let mut routed = udp(internal, remote, b"");
    routed.splice_routing_header();
    let mut bare = udp(internal, remote, b"x");
    bare[46..48].fill(0);
    let bad = [
        (raw(from, to, 132, &[0; 32]), DropReason::Protocol),
        (raw(from, to, 58, &[135, 0, 0, 0, 0, 0, 0, 0]), DropReason::Protocol),
        (routed, DropReason::Protocol),
        (bare, DropReason::Checksum),
    ];
    for (packet, reason) in bad {
        let before = drops(&direct, reason);
        direct.send_packets(0, &[packet]).unwrap();
        assert_eq!((drops(&direct, reason) - before, direct.egress.len()), (1, 0));
    }
    let ping = sent(&mut direct, echo(from, to, 7, 1, true, b"ping"));
    let view = View::parse(&ping).unwrap();
    direct.receive(echo(REMOTE, EXTERNAL, view.source_endpoint().port(), 1, false, b"ping"));
    let back = came(&mut direct);
    assert!(matches!(View::parse(&back).unwrap().transport, Transport::Echo { id: 7, request: false, .. }));
}

trait Splice {
    fn splice_routing_header(&mut self);
}

impl Splice for BytesMut {
    /// A routing header of type 4 with a segment left.
    fn splice_routing_header(&mut self) {
        let tail = self.split_off(40);
        self.extend_from_slice(&[17, 0, 4, 1, 0, 0, 0, 0]);
        self.extend_from_slice(&tail);
        self[6] = 43;
        self[5] += 8;
    }
}

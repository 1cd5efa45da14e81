//! IPv6 by a routed prefix: translated (RFC 6296) or as it is, and filtered like everything else.

use bytes::BytesMut;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;
use webtun_gateway::dataplane::{DropReason, GatewayConfig, Peer};
use webtun_tests::direct::Direct;
use webtun_tests::packet::{IcmpError, Segment, Transport, View, echo, icmp_error, tcp, udp, with_hop_limit};
use webtun_wire::{Capsule, PortMapRequest, PortMapResult};

const TRANSLATED: (&str, &str) = ("fd77:6562:7475::/64", "2600:9::/56");
const ROUTED: (&str, &str) = ("2600:9::/64", "2600:9::/64");
const MODES: [(&str, &str); 2] = [TRANSLATED, ROUTED];

fn start((inner, outer): (&str, &str)) -> Direct {
    let mut config = GatewayConfig::new(Vec::new());
    config.inner_v6 = inner.parse().unwrap();
    config.external_prefix = Some(outer.parse().unwrap());
    let mut direct = Direct::new(config, [3; 32]);
    direct.open(&Peer::new("first")).unwrap();
    direct.open(&Peer::new("second")).unwrap();
    direct
}

fn remote(port: u16) -> SocketAddr {
    SocketAddr::new("2600:1f00::1".parse().unwrap(), port)
}

fn external(direct: &Direct, session: usize, port: u16) -> SocketAddr {
    SocketAddr::new(direct.sessions[session].blocks[0].address, port)
}

fn sent(direct: &mut Direct, packet: BytesMut) -> BytesMut {
    direct.send_packets(0, &[packet]).unwrap();
    direct.egress.pop_front().expect("it leaves")
}

fn came(direct: &mut Direct, session: usize) -> BytesMut {
    direct.sessions[session].packets.pop_front().expect("it is delivered")
}

#[test]
fn each_session_has_an_address_of_its_own_and_all_its_ports() {
    for mode in MODES {
        let mut direct = start(mode);
        let prefix: ipnet::Ipv6Net = mode.1.parse().unwrap();
        let (first, second) = (external(&direct, 0, 4000), external(&direct, 1, 4000));
        assert_ne!(first, second);
        for session in 0..2 {
            let block = direct.sessions[session].blocks[0];
            assert_eq!((block.first, block.count), (1024, 64_512));
            let IpAddr::V6(v6) = block.address else { panic!("IPv6") };
            assert!(prefix.contains(&v6));
        }
        let is_inner = first.ip() == direct.sessions[0].endpoint(true, 0).ip();
        assert_eq!(is_inner, mode == ROUTED);
        let inside = direct.sessions[0].endpoint(true, 4000);
        let left = sent(&mut direct, udp(inside, remote(53), b"question"));
        assert_eq!(View::parse(&left).unwrap().source_endpoint(), first);
    }
}

#[test]
fn nothing_above_ip_changes_either_way() {
    for mode in MODES {
        for port in [1, 25_000, 65_535] {
            let mut direct = start(mode);
            let (inside, outside) = (direct.sessions[0].endpoint(true, port), external(&direct, 0, port));
            for (out, back) in [
                (udp(inside, remote(53), b"question"), udp(remote(53), outside, b"answer")),
                (
                    tcp(inside, remote(80), Segment::flags(Segment::SYN), b""),
                    tcp(remote(80), outside, Segment::flags(Segment::SYN | Segment::ACK), b""),
                ),
                (
                    echo(inside.ip(), remote(0).ip(), port, 1, true, b"ping"),
                    echo(remote(0).ip(), outside.ip(), port, 1, false, b"ping"),
                ),
            ] {
                let left = sent(&mut direct, out.clone());
                View::parse(&left).unwrap();
                assert_eq!(left[40..], out[40..], "checksum-neutral");
                direct.receive(back.clone());
                let came = came(&mut direct, 0);
                assert_eq!(View::parse(&came).unwrap().destination_endpoint(), inside);
                assert_eq!(came[40..], back[40..]);
            }
        }
    }
}

#[test]
fn what_was_not_asked_for_is_filtered_and_a_mapped_port_opens() {
    for mode in MODES {
        let mut direct = start(mode);
        let (inside, outside) = (direct.sessions[0].endpoint(true, 4000), external(&direct, 0, 4000));
        let drops = |direct: &Direct, reason| direct.gateway.stats().drops(reason);
        direct.receive(udp(remote(53), outside, b"unasked"));
        direct.receive(tcp(remote(53), outside, Segment::flags(Segment::SYN), b""));
        direct.receive(echo(remote(0).ip(), outside.ip(), 7, 1, true, b""));
        assert_eq!(drops(&direct, DropReason::NoMapping), 3);
        sent(&mut direct, udp(inside, remote(53), b"question"));
        direct.receive(udp(SocketAddr::new("2600:2f00::2".parse().unwrap(), 53), outside, b"a stranger"));
        assert_eq!((drops(&direct, DropReason::Filtered), direct.sessions[0].packets.len()), (1, 0));
        let ask = PortMapRequest {
            request_id: 1,
            protocol: 17,
            ipv6: true,
            internal_port: 4000,
            external_port: 9999,
            lifetime: 600,
        };
        direct.send_capsules(0, &[Capsule::PortMapRequest(ask)]).unwrap();
        let granted = direct.sessions[0].port_maps[0];
        assert_eq!((granted.result, granted.external_port), (PortMapResult::Success, 4000));
        assert_eq!(granted.external_address, outside.ip());
        direct.receive(udp(SocketAddr::new("2600:2f00::2".parse().unwrap(), 53), outside, b"a guest"));
        assert_eq!(View::parse(&came(&mut direct, 0)).unwrap().destination_endpoint(), inside);
        direct.advance(Duration::from_secs(601));
        direct.receive(udp(remote(53), outside, b"too late"));
        assert_eq!(direct.sessions[0].packets.len(), 0);
        assert_eq!(direct.gateway.stats().mappings, 0);
    }
}

#[test]
fn errors_are_translated_with_what_they_quote_both_ways() {
    for mode in MODES {
        let mut direct = start(mode);
        let inside = direct.sessions[0].endpoint(true, 4000);
        let packet = udp(inside, remote(53), b"question");
        let left = sent(&mut direct, packet.clone());
        direct.receive(icmp_error("2600:3f00::3".parse().unwrap(), IcmpError::TooBig(1300), &left));
        let back = came(&mut direct, 0);
        let Transport::Icmp { mtu: 1300, quoted, .. } = View::parse(&back).unwrap().transport else {
            panic!("too big")
        };
        assert_eq!(quoted, &with_hop_limit(packet, 63)[..]);
        let answer = udp(remote(53), external(&direct, 0, 4000), b"answer");
        direct.receive(answer.clone());
        let back = came(&mut direct, 0);
        let left = sent(&mut direct, icmp_error(inside.ip(), IcmpError::PortUnreachable, &back));
        let view = View::parse(&left).unwrap();
        let Transport::Icmp { kind: 1, code: 4, quoted, .. } = view.transport else { panic!("{view:?}") };
        assert_eq!((view.source, quoted), (external(&direct, 0, 0).ip(), &with_hop_limit(answer, 63)[..]));
    }
}

#[test]
fn sources_are_checked_on_both_sides_and_sessions_meet_outside() {
    for mode in MODES {
        let mut direct = start(mode);
        let (first, second) = (direct.sessions[0].endpoint(true, 4000), direct.sessions[1].endpoint(true, 5000));
        let (outside, other) = (external(&direct, 0, 4000), external(&direct, 1, 5000));
        direct.send_packets(0, &[udp(second, remote(53), b"spoofed")]).unwrap();
        direct.receive(udp(other, outside, b"spoofed"));
        direct.receive(udp(second, outside, b"spoofed"));
        assert_eq!(direct.gateway.stats().drops(DropReason::SpoofedSource), 3);
        direct.send_packets(1, &[udp(second, outside, b"opens")]).unwrap();
        direct.send_packets(0, &[udp(first, other, b"hello")]).unwrap();
        let hello = came(&mut direct, 1);
        let view = View::parse(&hello).unwrap();
        assert_eq!((view.source_endpoint(), view.destination_endpoint(), view.hop_limit), (outside, second, 63));
        assert!(direct.egress.is_empty());
    }
}

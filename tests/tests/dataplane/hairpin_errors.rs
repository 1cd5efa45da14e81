//! ICMP errors between sessions that meet at their external endpoints, where the outside knows the gateway by another
//! address than its egress does.

use std::net::{IpAddr, SocketAddr};
use webtun_gateway::dataplane::{ExternalAddress, Filtering, GatewayConfig, Peer, Pref64};
use webtun_tests::direct::Direct;
use webtun_tests::packet::{IcmpError, Transport, View, echo, icmp_error, udp, with_hop_limit};

const ANNOUNCED: [&str; 2] = ["45.34.0.1", "2600:9::1"];

fn start() -> Direct {
    let external = |address: &str, announced: &str| ExternalAddress {
        address: address.parse().unwrap(),
        announced: announced.parse().unwrap(),
    };
    let mut config = GatewayConfig::new(vec![
        external("100.127.255.1", ANNOUNCED[0]),
        external("fd77:6562:7475:ffff::1", ANNOUNCED[1]),
    ]);
    config.nat.filtering = Filtering::EndpointIndependent;
    let mut direct = Direct::new(config, [3; 32]);
    direct.open(&Peer::new("caller")).unwrap();
    direct.open(&Peer::new("called")).unwrap();
    direct
}

/// The address under which sessions reach the gateway's external one: itself, or by NAT64.
fn announced(ipv6: bool, translated: bool) -> IpAddr {
    let address: IpAddr = ANNOUNCED[usize::from(ipv6 && !translated)].parse().unwrap();
    match address {
        IpAddr::V4(v4) if translated => Pref64::WELL_KNOWN.embed(v4).into(),
        _ => address,
    }
}

/// A mapping of the called session: what its port is outside.
fn open_port(direct: &mut Direct, from: SocketAddr, translated: bool) -> u16 {
    let mut remote: IpAddr = if from.is_ipv6() && !translated { "2600:1f00::1" } else { "45.33.0.1" }.parse().unwrap();
    if let (IpAddr::V4(v4), true) = (remote, translated) {
        remote = Pref64::WELL_KNOWN.embed(v4).into();
    }
    direct.send_packets(1, &[udp(from, SocketAddr::new(remote, 9), b"")]).unwrap();
    View::parse(&direct.egress.pop_front().unwrap()).unwrap().source_endpoint().port()
}

#[test]
fn a_port_unreachable_reaches_the_session_that_has_sent() {
    for (ipv6, translated) in [(false, false), (true, false), (true, true)] {
        let mut direct = start();
        let gateway = announced(ipv6, translated);
        let (caller, called) = (direct.sessions[0].endpoint(ipv6, 4000), direct.sessions[1].endpoint(ipv6, 5000));
        let port = open_port(&mut direct, called, translated);
        let packet = udp(caller, SocketAddr::new(gateway, port), b"hello");
        direct.send_packets(0, std::slice::from_ref(&packet)).unwrap();
        let came = direct.sessions[1].packets.pop_front().expect("it is delivered");
        let view = View::parse(&came).unwrap();
        assert_eq!((view.source, view.destination_endpoint()), (gateway, called));

        direct.send_packets(1, &[icmp_error(called.ip(), IcmpError::PortUnreachable, &came)]).unwrap();
        let error = direct.sessions[0].packets.pop_front().expect("the error is delivered");
        let view = View::parse(&error).unwrap();
        let Transport::Icmp { kind, code, quoted, .. } = view.transport else { panic!("{view:?}") };
        assert_eq!((kind, code), if ipv6 { (1, 4) } else { (3, 3) });
        assert_eq!((view.source, view.destination), (gateway, caller.ip()));
        let quoted = View::parse(quoted).expect("with every checksum right");
        let expected = with_hop_limit(packet, 63);
        let expected = View::parse(&expected).unwrap();
        assert_eq!(quoted.source_endpoint(), expected.source_endpoint());
        assert_eq!(quoted.destination_endpoint(), expected.destination_endpoint());
        assert_eq!((quoted.hop_limit, &quoted.transport), (63, &expected.transport));
        assert!(direct.egress.is_empty());
    }
}

#[test]
fn what_the_session_was_never_sent_cannot_be_complained_about() {
    let mut direct = start();
    let gateway = announced(false, false);
    let called = direct.sessions[1].endpoint(false, 5000);
    open_port(&mut direct, called, false);
    for forged in [
        udp(SocketAddr::new(gateway, 4000), direct.sessions[0].endpoint(false, 5000), b""),
        udp(SocketAddr::new("45.33.0.9".parse().unwrap(), 4000), called, b""),
        echo(gateway, called.ip(), 5000, 1, false, b""),
    ] {
        let mut error = icmp_error(called.ip(), IcmpError::PortUnreachable, &forged);
        // To the gateway's external address, whatever is quoted.
        let IpAddr::V4(v4) = gateway else { panic!("IPv4") };
        error[16..20].copy_from_slice(&v4.octets());
        let error = with_hop_limit(error, 64);
        direct.send_packets(1, &[error]).unwrap();
    }
    assert!(direct.sessions[0].packets.is_empty() && direct.egress.is_empty());
}

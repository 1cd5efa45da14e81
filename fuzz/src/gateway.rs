//! The small gateway that the targets of the dataplane drive.

use std::net::{IpAddr, SocketAddr};
use webtun_gateway::dataplane::{EgressOffload, ExternalAddress, GatewayConfig, Peer};
use webtun_tests::direct::Direct;
use webtun_tests::packet::{View, udp};

/// A gateway with both families and one session.
pub fn with_session() -> Direct {
    with_device(EgressOffload::None)
}

/// The same before a device that takes so much over.
pub fn with_device(egress_offload: EgressOffload) -> Direct {
    let external = externals().map(|a| ExternalAddress { address: a, announced: a });
    let config = GatewayConfig { egress_offload, ..GatewayConfig::new(external.to_vec()) };
    let mut direct = Direct::new(config, [7; 32]);
    direct.open(&Peer::new("fuzz")).expect("the first session");
    direct
}

/// The gateway's external addresses.
pub fn externals() -> [IpAddr; 2] {
    [external(false), external(true)]
}

/// A packet of the session still leaves.
pub fn works(direct: &mut Direct) {
    let packet = udp(direct.sessions[0].endpoint(false, 40_000), remote(false, 53), b"?");
    direct.egress.clear();
    direct.send_packets(0, &[packet]).expect("the session lives");
    let sent = direct.egress.pop_front().expect("a good packet leaves");
    assert!(View::parse(&sent).is_ok());
}

/// A host behind the gateway.
pub fn remote(ipv6: bool, port: u16) -> SocketAddr {
    let address = if ipv6 { IpAddr::from([0x2600, 0x1f00, 0, 0, 0, 0, 0, 1]) } else { IpAddr::from([45, 33, 0, 1]) };
    SocketAddr::new(address, port)
}

/// The IPv6 address below the well-known prefix that stands for an IPv4 address.
pub fn embedded(address: IpAddr) -> IpAddr {
    let IpAddr::V4(v4) = address else { return address };
    let [a, b, c, d] = v4.octets().map(u16::from);
    IpAddr::from([0x64, 0xff9b, 0, 0, 0, 0, a << 8 | b, c << 8 | d])
}

/// The gateway's inner address.
pub fn inner_host(ipv6: bool) -> IpAddr {
    if ipv6 { IpAddr::from([0xfd77, 0x6562, 0x7475, 0, 0, 0, 0, 1]) } else { IpAddr::from([100, 64, 0, 1]) }
}

/// Whether there is an IP header to write addresses into.
pub fn is_whole_header(packet: &[u8]) -> bool {
    match packet.first() {
        Some(first) if first >> 4 == 4 => {
            packet.len() >= 20 && packet.len() >= usize::from(first & 15) * 4 && first & 15 >= 5
        }
        Some(first) if first >> 4 == 6 => packet.len() >= 40,
        Some(_) | None => false,
    }
}

fn external(ipv6: bool) -> IpAddr {
    if ipv6 { IpAddr::from([0xfd77, 0x6562, 0x7475, 0xffff, 0, 0, 0, 1]) } else { IpAddr::from([100, 127, 255, 1]) }
}

/// The transport checksum of rubbish stays wrong on its way; everything below it is right.
pub fn check_ip(packet: &[u8]) {
    if let Err(problem) = View::parse(packet) {
        let is_above_ip = ["TCP", "UDP", "ICMP"].iter().any(|protocol| problem.starts_with(protocol));
        assert!(is_above_ip, "{problem}: {packet:x?}");
    }
}

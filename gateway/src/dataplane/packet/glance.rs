//! What a packet seems to say, before it is parsed: enough to ask memory for what it will need.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::{Side, protocol};

/// One endpoint of a packet, read from where it lies in packets without extension headers, and not checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::dataplane) struct Glance {
    pub protocol: u8,
    pub address: IpAddr,
    /// The port, or the identifier of an ICMP echo.
    pub port: u16,
}

impl Glance {
    /// `None` where the octets are too few.
    pub(in crate::dataplane) fn of(octets: &[u8], side: Side) -> Option<Self> {
        let first = *octets.first()?;
        let (number, address, ports) = if first >> 4 == 4 {
            let at = if side == Side::Source { 12 } else { 16 };
            let address: [u8; 4] = octets.get(at..at + 4)?.try_into().ok()?;
            (octets[9], Ipv4Addr::from_octets(address).into(), usize::from(first & 0x0F) * 4)
        } else {
            let at = if side == Side::Source { 8 } else { 24 };
            let address: [u8; 16] = octets.get(at..at + 16)?.try_into().ok()?;
            (octets[6], Ipv6Addr::from_octets(address).into(), 40)
        };
        let at = match (number, side) {
            (protocol::ICMP | protocol::ICMPV6, _) => 4,
            (_, Side::Source) => 0,
            (_, Side::Destination) => 2,
        };
        let port = octets.get(ports + at..ports + at + 2)?.try_into().ok()?;
        Some(Self { protocol: number, address, port: u16::from_be_bytes(port) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dataplane::packet::Headers;
    use etherparse::PacketBuilder;

    #[test]
    fn it_sees_what_the_parser_sees() {
        let v4 = || PacketBuilder::ipv4([10, 0, 0, 1], [192, 0, 2, 7], 64);
        let v6 = || PacketBuilder::ipv6([1; 16], [2; 16], 64);
        let mut packets: [Vec<u8>; 4] = Default::default();
        let wrote = [
            v4().udp(4000, 53).write(&mut packets[0], b"x"),
            v6().tcp(4000, 80, 1, 1000).ack(1).write(&mut packets[1], b""),
            v4().icmpv4_echo_request(77, 1).write(&mut packets[2], b"x"),
            v6().icmpv6_echo_reply(77, 1).write(&mut packets[3], b"x"),
        ];
        wrote.into_iter().for_each(|wrote| wrote.expect("a packet"));
        for octets in &packets {
            let headers = Headers::parse(octets).expect("a packet");
            let (source, destination) = headers.ports();
            let glance = |address, port| Some(Glance { protocol: headers.protocol, address, port });
            assert_eq!(Glance::of(octets, Side::Source), glance(headers.source, source));
            assert_eq!(Glance::of(octets, Side::Destination), glance(headers.destination, destination));
            for len in 0..octets.len() {
                let _ = Glance::of(&octets[..len], Side::Source);
            }
        }
    }
}

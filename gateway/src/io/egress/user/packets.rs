//! What packets the sessions send, and what is answered: pure, without sockets.

use bytes::{Bytes, BytesMut};
use etherparse::{
    IcmpEchoHeader, Icmpv4Header, Icmpv4Type, Icmpv6Header, Icmpv6Type, IpNumber, IpSlice, PacketBuilder, UdpSlice,
};
use std::net::{IpAddr, SocketAddr};

/// TTL or hop limit of what we send.
const HOP_LIMIT: u8 = 64;
/// Octets of an offending packet that an ICMP error quotes: its headers, and enough to be told from others.
const QUOTE: usize = 64;

const TCP: u8 = 6;
const UDP: u8 = 17;
const ICMP: u8 = 1;
const ICMPV6: u8 = 58;

/// A packet of a session, as far as it matters here.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Flight<'a> {
    /// For the TCP/IP end.
    Tcp,
    /// A datagram.
    Datagram { from: SocketAddr, to: SocketAddr, payload: &'a [u8] },
    /// An echo request; the port of `from` is its identifier.
    Echo { from: SocketAddr, to: IpAddr, sequence: u16, payload: &'a [u8] },
    /// Whatever ordinary sockets do not send.
    Other,
}

/// Looks at a packet that the dataplane has made, whose lengths are right.
pub(super) fn read(packet: &[u8]) -> Flight<'_> {
    look(packet).unwrap_or(Flight::Other)
}

fn look(packet: &[u8]) -> Option<Flight<'_>> {
    let ip = IpSlice::from_slice(packet).ok()?;
    let (source, to) = (ip.source_addr(), ip.destination_addr());
    let payload = ip.payload();
    match payload.ip_number.0 {
        _ if ip.is_fragmenting_payload() => None,
        TCP => Some(Flight::Tcp),
        UDP => {
            let udp = UdpSlice::from_slice(payload.payload).ok()?;
            let (from, to) = (SocketAddr::new(source, udp.source_port()), SocketAddr::new(to, udp.destination_port()));
            Some(Flight::Datagram { from, to, payload: udp.payload() })
        }
        ICMP if to.is_ipv4() => echo(8, source, to, payload.payload),
        ICMPV6 if to.is_ipv6() => echo(128, source, to, payload.payload),
        _ => None,
    }
}

fn echo(kind: u8, source: IpAddr, to: IpAddr, message: &[u8]) -> Option<Flight<'_>> {
    let (header, payload) = message.split_first_chunk::<8>()?;
    let id = u16::from_be_bytes([header[4], header[5]]);
    let sequence = u16::from_be_bytes([header[6], header[7]]);
    let from = SocketAddr::new(source, id);
    (header[..2] == [kind, 0]).then_some(Flight::Echo { from, to, sequence, payload })
}

/// A datagram; `None` where it does not fit in a packet, or the families differ.
pub(super) fn datagram(from: SocketAddr, to: SocketAddr, payload: &[u8]) -> Option<BytesMut> {
    let mut packet = Vec::with_capacity(48 + payload.len());
    let builder = match (from.ip(), to.ip()) {
        (IpAddr::V4(source), IpAddr::V4(target)) => PacketBuilder::ipv4(source.octets(), target.octets(), HOP_LIMIT),
        (IpAddr::V6(source), IpAddr::V6(target)) => PacketBuilder::ipv6(source.octets(), target.octets(), HOP_LIMIT),
        _ => return None,
    };
    builder.udp(from.port(), to.port()).write_to_vec(&mut packet, payload).ok()?;
    whole(packet)
}

/// An echo request as a ping socket takes it: the kernel puts its identifier and, where it needs one, the checksum in.
pub(super) fn echo_request(to: IpAddr, sequence: u16, payload: &[u8]) -> Vec<u8> {
    let kind = if to.is_ipv4() { 8 } else { 128 };
    let mut message = Vec::with_capacity(8 + payload.len());
    message.extend_from_slice(&[kind, 0, 0, 0, 0, 0]);
    message.extend_from_slice(&sequence.to_be_bytes());
    message.extend_from_slice(payload);
    message
}

/// The packet of an echo reply that a ping socket has got from `from`; the port of `to` is the identifier.
pub(super) fn echo_reply(from: IpAddr, to: SocketAddr, message: &[u8]) -> Option<BytesMut> {
    // Some systems put the IPv4 header before it.
    let message = match message.first()? >> 4 {
        4 if from.is_ipv4() => message.get(usize::from(message[0] & 15) * 4..)?,
        _ => message,
    };
    let (header, payload) = message.split_first_chunk::<8>()?;
    let echo = IcmpEchoHeader { id: to.port(), seq: u16::from_be_bytes([header[6], header[7]]) };
    match (header[0], from, to.ip()) {
        (0, IpAddr::V4(_), IpAddr::V4(_)) => icmp(from, to.ip(), &echo_header_v4(echo, payload), payload),
        (129, IpAddr::V6(source), IpAddr::V6(target)) => {
            let kind = Icmpv6Type::EchoReply(echo);
            let header = Icmpv6Header::with_checksum(kind, source.octets(), target.octets(), payload).ok()?;
            icmp(from, to.ip(), &header.to_bytes(), payload)
        }
        _ => None,
    }
}

fn echo_header_v4(echo: IcmpEchoHeader, payload: &[u8]) -> impl core::ops::Deref<Target = [u8]> {
    Icmpv4Header::with_checksum(Icmpv4Type::EchoReply(echo), payload).to_bytes()
}

/// An ICMP error, as a router or the destination has said it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Problem {
    /// Who says it.
    pub from: IpAddr,
    /// ICMP's type and code.
    pub kind: (u8, u8),
    /// The second word of the message: an MTU, or 0.
    pub detail: u32,
}

/// Destinations that the machine knows to be unreachable: no route, and no host.
pub(super) fn unreachable(about: IpAddr, by_filter: bool, no_route: bool) -> Problem {
    let kind = match (about.is_ipv4(), by_filter, no_route) {
        (true, true, _) => (3, 13),
        (true, _, true) => (3, 0),
        (true, ..) => (3, 1),
        (false, true, _) => (1, 1),
        (false, _, true) => (1, 0),
        (false, ..) => (1, 3),
    };
    Problem { from: about, kind, detail: 0 }
}

/// The packet with which the sender of `offending` is told of a problem.
pub(super) fn error(problem: &Problem, offending: &[u8]) -> Option<BytesMut> {
    let to = IpSlice::from_slice(offending).ok()?.source_addr();
    let quote = &offending[..offending.len().min(QUOTE)];
    let (kind, code) = problem.kind;
    let detail = problem.detail.to_be_bytes();
    match (problem.from, to) {
        (IpAddr::V4(_), IpAddr::V4(_)) => {
            let kind = Icmpv4Type::Unknown { type_u8: kind, code_u8: code, bytes5to8: detail };
            icmp(problem.from, to, &Icmpv4Header::with_checksum(kind, quote).to_bytes(), quote)
        }
        (IpAddr::V6(source), IpAddr::V6(target)) => {
            let kind = Icmpv6Type::Unknown { type_u8: kind, code_u8: code, bytes5to8: detail };
            let header = Icmpv6Header::with_checksum(kind, source.octets(), target.octets(), quote).ok()?;
            icmp(problem.from, to, &header.to_bytes(), quote)
        }
        _ => None,
    }
}

/// The head of an echo request with this identifier, for an error to quote.
pub(super) fn echo_packet(from: SocketAddr, to: IpAddr, message: &[u8]) -> Option<BytesMut> {
    let mut head = *message.first_chunk::<8>()?;
    head[4..6].copy_from_slice(&from.port().to_be_bytes());
    icmp(from.ip(), to, &head, message.get(8..)?)
}

fn icmp(from: IpAddr, to: IpAddr, header: &[u8], payload: &[u8]) -> Option<BytesMut> {
    let mut packet = Vec::with_capacity(48 + payload.len());
    let (builder, protocol) = match (from, to) {
        (IpAddr::V4(from), IpAddr::V4(to)) => (PacketBuilder::ipv4(from.octets(), to.octets(), HOP_LIMIT), ICMP),
        (IpAddr::V6(from), IpAddr::V6(to)) => (PacketBuilder::ipv6(from.octets(), to.octets(), HOP_LIMIT), ICMPV6),
        _ => return None,
    };
    let message = [header, payload].concat();
    builder.write_to_vec(&mut packet, IpNumber(protocol), &message).ok()?;
    whole(packet)
}

/// IPv6 could be longer than what the dataplane carries.
fn whole(packet: Vec<u8>) -> Option<BytesMut> {
    (packet.len() <= webtun_wire::MAX_PACKET_LEN).then(|| BytesMut::from(Bytes::from(packet)))
}

#[cfg(test)]
mod tests {
    use super::*;

    const INNER: [&str; 2] = ["100.127.255.1:20000", "[fd77:6562:7475:ffff::1]:20000"];
    const OUTER: [&str; 2] = ["203.0.113.9:53", "[2001:db8::9]:53"];

    fn ends() -> impl Iterator<Item = (SocketAddr, SocketAddr)> {
        let parse = |text: &str| text.parse().expect("an endpoint");
        INNER.into_iter().zip(OUTER).map(move |(inner, outer)| (parse(inner), parse(outer)))
    }

    #[test]
    fn datagrams_of_every_length_are_read_as_they_were_written() {
        for (inner, outer) in ends() {
            for len in [0, 1, 1472, 65_487] {
                let payload = vec![7; len];
                let packet = datagram(inner, outer, &payload).expect("it fits");
                assert_eq!(read(&packet), Flight::Datagram { from: inner, to: outer, payload: &payload });
            }
            assert_eq!(datagram(inner, outer, &vec![0; 65_528]), None);
        }
        let (v4, v6) = (ends().next().expect("two").0, ends().nth(1).expect("two").1);
        assert_eq!(datagram(v4, v6, b"x"), None);
        let largest = vec![1; 65_507];
        assert_eq!(
            datagram(v4, "203.0.113.9:7".parse().expect("an endpoint"), &largest).map(|it| it.len()),
            Some(65_535)
        );
    }

    #[test]
    fn echoes_get_their_identifier_back() {
        for (inner, outer) in ends() {
            let request = echo_request(outer.ip(), 7, b"payload");
            let packet = echo_packet(inner, outer.ip(), &request).expect("it fits");
            let echo = Flight::Echo { from: inner, to: outer.ip(), sequence: 7, payload: b"payload" };
            assert_eq!(read(&packet), echo);

            let mut reply = request;
            reply[0] = if outer.is_ipv4() { 0 } else { 129 };
            let packet = echo_reply(outer.ip(), inner, &reply).expect("a reply");
            let message = &packet[if outer.is_ipv4() { 20 } else { 40 }..];
            assert_eq!(message[0], reply[0]);
            assert_eq!(message[4..8], [(inner.port() >> 8) as u8, inner.port() as u8, 0, 7]);
            assert_eq!(message[8..], *b"payload");
            assert_eq!(echo_reply(outer.ip(), inner, &[3; 20]), None, "no reply");
            assert_eq!(echo_reply(outer.ip(), inner, &[]), None);
        }
    }

    #[test]
    fn errors_quote_what_they_are_about() {
        for (inner, outer) in ends() {
            let about = datagram(inner, outer, &[9; 200]).expect("it fits");
            let told = error(&unreachable(outer.ip(), false, true), &about).expect("an error");
            let header = if outer.is_ipv4() { 28 } else { 48 };
            assert_eq!(told[header..], about[..QUOTE]);
            assert_eq!(error(&unreachable(inner.ip(), true, false), b"x"), None);
        }
    }

    #[test]
    fn whatever_is_no_datagram_and_no_echo_is_something_else() {
        assert_eq!(read(b""), Flight::Other);
        assert_eq!(read(&[0x45; 19]), Flight::Other);
        for (inner, outer) in ends() {
            let packet = datagram(inner, outer, b"x").expect("it fits");
            for end in 0..packet.len() {
                assert_eq!(read(&packet[..end]), Flight::Other);
            }
        }
    }
}

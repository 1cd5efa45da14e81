use bytes::BytesMut;
use std::net::{IpAddr, SocketAddr};

use super::{address_octets, checksum, protocol, pseudo_header};

const HOP_LIMIT: u8 = 64;
/// How much of the offending packet an ICMP error quotes: what RFC 1812 section 4.3.2.3 and RFC 4443 section 2.4 allow.
const QUOTE_LEN: usize = 548;

/// What a TCP segment without data says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Segment {
    /// Control bits (RFC 9293 section 3.1).
    pub flags: u8,
    /// Sequence number.
    pub sequence: u32,
    /// Acknowledgment number.
    pub acknowledgment: u32,
}

impl Segment {
    /// FIN.
    pub const FIN: u8 = 0x01;
    /// SYN.
    pub const SYN: u8 = 0x02;
    /// RST.
    pub const RST: u8 = 0x04;
    /// ACK.
    pub const ACK: u8 = 0x10;

    /// A segment with these control bits.
    pub const fn flags(flags: u8) -> Self {
        Self { flags, sequence: 1000, acknowledgment: 2000 }
    }
}

/// An ICMP error, in the words of both families.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IcmpError {
    /// Net unreachable; no route.
    NetUnreachable,
    /// Host unreachable; address unreachable.
    HostUnreachable,
    /// Port unreachable.
    PortUnreachable,
    /// Administratively prohibited.
    Prohibited,
    /// The hop limit ran out on the way.
    TimeExceeded,
    /// Fragmentation needed; packet too big.
    TooBig(u16),
}

/// A UDP datagram, of both addresses' family.
pub fn udp(source: SocketAddr, destination: SocketAddr, payload: &[u8]) -> BytesMut {
    let mut segment = Vec::with_capacity(8 + payload.len());
    segment.extend_from_slice(&source.port().to_be_bytes());
    segment.extend_from_slice(&destination.port().to_be_bytes());
    segment.extend_from_slice(&((8 + payload.len()) as u16).to_be_bytes());
    segment.extend_from_slice(&[0, 0]);
    segment.extend_from_slice(payload);
    seal(&mut segment, 6, source.ip(), destination.ip(), protocol::UDP);
    if segment[6..8] == [0, 0] {
        // RFC 768: a computed zero is sent as ones.
        segment[6..8].copy_from_slice(&[0xff, 0xff]);
    }
    ip(source.ip(), destination.ip(), protocol::UDP, &segment)
}

/// The same datagram over IPv4 without a checksum, as RFC 768 allows.
pub fn without_udp_checksum(mut packet: BytesMut) -> BytesMut {
    packet[26..28].fill(0);
    packet
}

/// A TCP segment.
pub fn tcp(source: SocketAddr, destination: SocketAddr, head: Segment, payload: &[u8]) -> BytesMut {
    tcp_with_options(source, destination, head, &[], payload)
}

/// A TCP segment with the MSS option (RFC 9293 section 3.7.1).
pub fn tcp_with_mss(source: SocketAddr, destination: SocketAddr, head: Segment, mss: u16) -> BytesMut {
    let [high, low] = mss.to_be_bytes();
    tcp_with_options(source, destination, head, &[2, 4, high, low], &[])
}

/// An echo request or reply.
pub fn echo(source: IpAddr, destination: IpAddr, id: u16, sequence: u16, request: bool, payload: &[u8]) -> BytesMut {
    let (kind, protocol) = match (source.is_ipv4(), request) {
        (true, true) => (8, protocol::ICMP),
        (true, false) => (0, protocol::ICMP),
        (false, true) => (128, protocol::ICMPV6),
        (false, false) => (129, protocol::ICMPV6),
    };
    let mut message = vec![kind, 0, 0, 0];
    message.extend_from_slice(&id.to_be_bytes());
    message.extend_from_slice(&sequence.to_be_bytes());
    message.extend_from_slice(payload);
    seal(&mut message, 2, source, destination, protocol);
    ip(source, destination, protocol, &message)
}

/// An error about `quoted`, from `from` to its source.
pub fn icmp_error(from: IpAddr, error: IcmpError, quoted: &[u8]) -> BytesMut {
    let (kind, code, mtu) = error.numbers(from.is_ipv4());
    let [high, low] = mtu.to_be_bytes();
    icmp(from, source_of(quoted), [kind, code, 0, 0, 0, 0, high, low], &quoted[..quoted.len().min(QUOTE_LEN)])
}

/// An ICMP message of any type. The checksum in `head` (its third and fourth octet) is filled in.
pub fn icmp(source: IpAddr, destination: IpAddr, head: [u8; 8], body: &[u8]) -> BytesMut {
    let mut message = head.to_vec();
    message[2..4].fill(0);
    message.extend_from_slice(body);
    let protocol = if source.is_ipv4() { protocol::ICMP } else { protocol::ICMPV6 };
    seal(&mut message, 2, source, destination, protocol);
    ip(source, destination, protocol, &message)
}

/// The same packet with another TTL or hop limit.
pub fn with_hop_limit(mut packet: BytesMut, hop_limit: u8) -> BytesMut {
    if packet[0] >> 4 == 4 {
        packet[8] = hop_limit;
        seal_ipv4(&mut packet);
    } else {
        packet[7] = hop_limit;
    }
    packet
}

/// The same packet from another source; the checksum above IP is left wrong.
pub fn with_source(mut packet: BytesMut, source: IpAddr) -> BytesMut {
    let octets = address_octets(source);
    if source.is_ipv4() {
        packet[12..16].copy_from_slice(&octets);
        seal_ipv4(&mut packet);
    } else {
        packet[8..24].copy_from_slice(&octets);
    }
    packet
}

/// A packet of any protocol.
pub fn raw(source: IpAddr, destination: IpAddr, protocol: u8, payload: &[u8]) -> BytesMut {
    ip(source, destination, protocol, payload)
}

/// Puts an IP header before `payload`. IPv4 may be fragmented.
pub(super) fn ip(source: IpAddr, destination: IpAddr, protocol: u8, payload: &[u8]) -> BytesMut {
    let mut packet = BytesMut::with_capacity(40 + payload.len());
    match source {
        IpAddr::V4(_) => {
            packet.extend_from_slice(&[0x45, 0]);
            packet.extend_from_slice(&((20 + payload.len()) as u16).to_be_bytes());
            packet.extend_from_slice(&[0, 0, 0, 0, HOP_LIMIT, protocol, 0, 0]);
        }
        IpAddr::V6(_) => {
            packet.extend_from_slice(&[0x60, 0, 0, 0]);
            packet.extend_from_slice(&(payload.len() as u16).to_be_bytes());
            packet.extend_from_slice(&[protocol, HOP_LIMIT]);
        }
    }
    packet.extend_from_slice(&address_octets(source));
    packet.extend_from_slice(&address_octets(destination));
    packet.extend_from_slice(payload);
    if source.is_ipv4() {
        seal_ipv4(&mut packet);
    }
    packet
}

/// Computes the header checksum anew.
pub(super) fn seal_ipv4(packet: &mut [u8]) {
    let header_len = usize::from(packet[0] & 0x0f) * 4;
    packet[10..12].copy_from_slice(&[0, 0]);
    let sum = checksum(&[&packet[..header_len]]);
    packet[10..12].copy_from_slice(&sum.to_be_bytes());
}

impl IcmpError {
    fn numbers(self, ipv4: bool) -> (u8, u8, u16) {
        match (self, ipv4) {
            (Self::NetUnreachable, true) => (3, 0, 0),
            (Self::HostUnreachable, true) => (3, 1, 0),
            (Self::PortUnreachable, true) => (3, 3, 0),
            (Self::TooBig(mtu), true) => (3, 4, mtu),
            (Self::Prohibited, true) => (3, 13, 0),
            (Self::TimeExceeded, true) => (11, 0, 0),
            (Self::NetUnreachable, false) => (1, 0, 0),
            (Self::Prohibited, false) => (1, 1, 0),
            (Self::HostUnreachable, false) => (1, 3, 0),
            (Self::PortUnreachable, false) => (1, 4, 0),
            (Self::TooBig(mtu), false) => (2, 0, mtu),
            (Self::TimeExceeded, false) => (3, 0, 0),
        }
    }
}

fn tcp_with_options(
    source: SocketAddr,
    destination: SocketAddr,
    head: Segment,
    options: &[u8],
    payload: &[u8],
) -> BytesMut {
    let mut segment = Vec::with_capacity(20 + options.len() + payload.len());
    segment.extend_from_slice(&source.port().to_be_bytes());
    segment.extend_from_slice(&destination.port().to_be_bytes());
    segment.extend_from_slice(&head.sequence.to_be_bytes());
    segment.extend_from_slice(&head.acknowledgment.to_be_bytes());
    segment.extend_from_slice(&[((20 + options.len()) as u8 / 4) << 4, head.flags, 0xff, 0xff, 0, 0, 0, 0]);
    segment.extend_from_slice(options);
    segment.extend_from_slice(payload);
    seal(&mut segment, 16, source.ip(), destination.ip(), protocol::TCP);
    ip(source.ip(), destination.ip(), protocol::TCP, &segment)
}

/// Fills in the checksum at `at`; that of ICMP for IPv4 knows no pseudo-header.
fn seal(message: &mut [u8], at: usize, source: IpAddr, destination: IpAddr, protocol: u8) {
    let pseudo = match protocol {
        protocol::ICMP => Vec::new(),
        _ => pseudo_header(source, destination, protocol, message.len()),
    };
    let sum = checksum(&[&pseudo, message]);
    message[at..at + 2].copy_from_slice(&sum.to_be_bytes());
}

fn source_of(packet: &[u8]) -> IpAddr {
    if packet[0] >> 4 == 4 {
        IpAddr::from([packet[12], packet[13], packet[14], packet[15]])
    } else {
        let mut octets = [0; 16];
        octets.copy_from_slice(&packet[8..24]);
        IpAddr::from(octets)
    }
}

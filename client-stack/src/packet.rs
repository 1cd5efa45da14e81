//! IP packets as the host sees them: parsed on arrival, and built where smoltcp does not (UDP and ICMP).

use std::net::{IpAddr, Ipv4Addr};

use bytes::BytesMut;
use etherparse::checksum::Sum16BitWords;
use etherparse::{
    Icmpv4Header, Icmpv4Type, Icmpv6Header, Icmpv6Type, IpNumber, IpSlice, Ipv4Header, Ipv6Header, UdpHeader, UdpSlice,
};
use webtun_wire::PacketShape;

use crate::demux::Flow;
use crate::time_wait::Finished;

/// IP protocol numbers that occur here.
pub(crate) const TCP: u8 = 6;
pub(crate) const UDP: u8 = 17;
pub(crate) const ICMP: u8 = 1;
pub(crate) const ICMPV6: u8 = 58;

/// TTL or hop limit of what we send (RFC 1700's recommendation).
pub(crate) const HOP_LIMIT: u8 = 64;

/// Octets of an IP header without options or extension headers.
pub(crate) const IPV4_HEADER_LEN: usize = 20;
pub(crate) const IPV6_HEADER_LEN: usize = 40;

/// Of a packet that we have made: its IP header has nothing optional.
pub(crate) fn ip_header_len(packet: &[u8]) -> usize {
    if packet.first().is_some_and(|octet| octet >> 4 == 4) { IPV4_HEADER_LEN } else { IPV6_HEADER_LEN }
}

/// One whole IP packet. Lengths are consistent; no fragment.
#[derive(Clone, Copy)]
pub(crate) struct IpPacket<'a> {
    pub source: IpAddr,
    pub destination: IpAddr,
    pub protocol: u8,
    pub hop_limit: u8,
    /// Where the payload begins.
    pub transport: usize,
    pub payload: &'a [u8],
    /// Whether the checksum of TCP or UDP is to be verified, or is known to be good.
    pub verify: bool,
}

/// Parses a packet; `None` where it is malformed or a fragment (the gateway reassembles).
pub(crate) fn parse(packet: &[u8]) -> Option<IpPacket<'_>> {
    let slice = IpSlice::from_slice(packet).ok()?;
    if slice.is_fragmenting_payload() {
        return None;
    }
    let (hop_limit, transport) = match &slice {
        IpSlice::Ipv4(ipv4) => {
            let authentication = ipv4.extensions().auth.as_ref().map_or(0, |header| header.slice().len());
            (ipv4.header().ttl(), ipv4.header().slice().len() + authentication)
        }
        IpSlice::Ipv6(ipv6) => (ipv6.header().hop_limit(), IPV6_HEADER_LEN + ipv6.extensions().slice().len()),
    };
    let payload = slice.payload();
    Some(IpPacket {
        source: slice.source_addr(),
        destination: slice.destination_addr(),
        protocol: payload.ip_number.0,
        hop_limit,
        transport,
        payload: payload.payload,
        verify: true,
    })
}

impl IpPacket<'_> {
    /// What the offload header of a packet of `len` octets is checked against; `None` where octets follow the packet.
    pub fn shape(&self, len: usize) -> Option<PacketShape> {
        let transport_header = match self.protocol {
            TCP => usize::from(self.payload.get(12).copied().unwrap_or_default() >> 4) * 4,
            UDP => UdpHeader::LEN,
            _ => 0,
        };
        (self.transport + self.payload.len() == len).then_some(PacketShape {
            is_ipv6: self.destination.is_ipv6(),
            protocol: self.protocol,
            is_fragment: false,
            transport: self.transport,
            header_len: self.transport + transport_header,
            len,
        })
    }

    /// True where the checksum over pseudo-header and payload comes out right (RFC 9293 section 3.1).
    pub fn tcp_checksum_valid(&self) -> bool {
        let sum = add_address(add_address(Sum16BitWords::new(), self.source), self.destination);
        let sum = sum.add_2bytes([0, TCP]).add_4bytes((self.payload.len() as u32).to_be_bytes());
        sum.add_slice(self.payload).ones_complement() == 0
    }
}

fn add_address(mut sum: Sum16BitWords, address: IpAddr) -> Sum16BitWords {
    match address {
        IpAddr::V4(address) => sum.add_4bytes(address.octets()),
        IpAddr::V6(address) => sum.add_16bytes(address.octets()),
    }
}

/// The checksum of what begins at `transport` in a packet of ours, as one to be written into a field that is 0 so far.
pub(crate) fn transport_checksum(packet: &[u8], transport: usize, protocol: u8) -> u16 {
    let Some((header, payload)) = packet.split_at_checked(transport) else { return 0 };
    // Both families have their addresses last.
    let addresses = header.get(if transport == IPV4_HEADER_LEN { 12 } else { 8 }..).unwrap_or_default();
    let mut sum = Sum16BitWords::new().add_slice(addresses).add_2bytes([0, protocol]);
    sum.add_4bytes((payload.len() as u32).to_be_bytes()).add_slice(payload).ones_complement().to_be()
}

/// Makes the checksum of an IPv4 header without options.
pub(crate) fn fill_ipv4_checksum(packet: &mut [u8]) {
    let Some(header) = packet.first_chunk_mut::<IPV4_HEADER_LEN>() else { return };
    header[10..12].fill(0);
    let checksum = Sum16BitWords::new().add_slice(header).ones_complement();
    header[10..12].copy_from_slice(&checksum.to_ne_bytes());
}

/// Where a packet goes, read without looking at anything else.
pub(crate) fn destination(packet: &[u8]) -> Option<IpAddr> {
    match packet.first()? >> 4 {
        4 => Some(IpAddr::from(<[u8; 4]>::try_from(packet.get(16..20)?).ok()?)),
        6 => Some(IpAddr::from(<[u8; 16]>::try_from(packet.get(24..40)?).ok()?)),
        _ => None,
    }
}

/// Octets of the IP header that we write towards an address of this family.
pub(crate) const fn header_len(address: IpAddr) -> usize {
    if address.is_ipv4() { 20 } else { 40 }
}

/// Ports and payload of a UDP datagram with consistent length and a right checksum (RFC 768; RFC 8200 section 8.1: it
/// is mandatory over IPv6).
pub(crate) fn parse_udp<'a>(packet: &IpPacket<'a>) -> Option<(u16, u16, &'a [u8])> {
    let udp = UdpSlice::from_slice(packet.payload).ok()?;
    let header = udp.to_header();
    if !packet.verify {
        return Some((header.source_port, header.destination_port, udp.payload()));
    }
    let expected = match (packet.source, packet.destination) {
        (IpAddr::V4(source), IpAddr::V4(destination)) if header.checksum != 0 => {
            header.calc_checksum_ipv4_raw(source.octets(), destination.octets(), udp.payload()).ok()?
        }
        (IpAddr::V4(_), IpAddr::V4(_)) => 0,
        (IpAddr::V6(source), IpAddr::V6(destination)) => {
            header.calc_checksum_ipv6_raw(source.octets(), destination.octets(), udp.payload()).ok()?
        }
        _ => return None,
    };
    (header.checksum == expected).then(|| (header.source_port, header.destination_port, udp.payload()))
}

/// True where the checksum of an ICMP or ICMPv6 message is right.
pub(crate) fn icmp_checksum_valid(packet: &IpPacket<'_>) -> bool {
    let mut sum = Sum16BitWords::new();
    if let (IpAddr::V6(source), IpAddr::V6(destination)) = (packet.source, packet.destination) {
        let Ok(len) = u32::try_from(packet.payload.len()) else { return false };
        sum = sum.add_16bytes(source.octets()).add_16bytes(destination.octets());
        sum = sum.add_4bytes(len.to_be_bytes()).add_2bytes([0, ICMPV6]);
    }
    sum.add_slice(packet.payload).ones_complement() == 0
}

/// A UDP packet; `None` where it does not fit 65,535 octets or the families differ.
#[cfg(any(feature = "bridge", test))]
pub(crate) fn build_udp(source: (IpAddr, u16), destination: (IpAddr, u16), payload: &[u8]) -> Option<BytesMut> {
    build_udp_with(source, destination, HOP_LIMIT, payload)
}

/// As [`build_udp`], with a TTL or hop limit of its own.
pub(crate) fn build_udp_with(
    source: (IpAddr, u16),
    destination: (IpAddr, u16),
    hop_limit: u8,
    payload: &[u8],
) -> Option<BytesMut> {
    let ((source, source_port), (destination, destination_port)) = (source, destination);
    let length = u16::try_from(UdpHeader::LEN + payload.len()).ok()?;
    let mut header = UdpHeader { source_port, destination_port, length, checksum: 0 };
    let checksum = match (source, destination) {
        (IpAddr::V4(source), IpAddr::V4(destination)) => {
            header.calc_checksum_ipv4_raw(source.octets(), destination.octets(), payload)
        }
        (IpAddr::V6(source), IpAddr::V6(destination)) => {
            header.calc_checksum_ipv6_raw(source.octets(), destination.octets(), payload)
        }
        _ => return None,
    };
    header.checksum = checksum.ok()?;
    build_ip(source, destination, hop_limit, UDP, &header.to_bytes(), payload)
}

/// An ICMP message towards an IPv4 address; `None` where it does not fit 65,535 octets or the families differ.
pub(crate) fn build_icmpv4(
    source: IpAddr,
    destination: IpAddr,
    hop_limit: u8,
    kind: Icmpv4Type,
    payload: &[u8],
) -> Option<BytesMut> {
    let header = Icmpv4Header::with_checksum(kind, payload).to_bytes();
    build_ip(source, destination, hop_limit, ICMP, &header, payload).filter(|_| source.is_ipv4())
}

/// An ICMPv6 message; `None` where it does not fit 65,535 octets or the families differ.
pub(crate) fn build_icmpv6(
    source: IpAddr,
    destination: IpAddr,
    hop_limit: u8,
    kind: Icmpv6Type,
    payload: &[u8],
) -> Option<BytesMut> {
    let (IpAddr::V6(from), IpAddr::V6(to)) = (source, destination) else { return None };
    let header = Icmpv6Header::with_checksum(kind, from.octets(), to.octets(), payload).ok()?.to_bytes();
    build_ip(source, destination, hop_limit, ICMPV6, &header, payload)
}

/// The ACK of a connection in TIME-WAIT; nothing more is received on it.
pub(crate) fn build_ack(flow: &Flow, finished: Finished) -> Option<BytesMut> {
    let mut header = [0; 20];
    header[..2].copy_from_slice(&flow.local.port().to_be_bytes());
    header[2..4].copy_from_slice(&flow.remote.port().to_be_bytes());
    header[4..8].copy_from_slice(&finished.send_next.to_be_bytes());
    header[8..12].copy_from_slice(&finished.receive_next.to_be_bytes());
    // Five words of header, and the ACK flag.
    header[12..14].copy_from_slice(&[5 << 4, 0x10]);
    let mut packet = build_ip(flow.local.ip(), flow.remote.ip(), HOP_LIMIT, TCP, &header, &[])?;
    let transport = header_len(flow.local.ip());
    let checksum = transport_checksum(&packet, transport, TCP);
    packet[transport + 16..transport + 18].copy_from_slice(&checksum.to_be_bytes());
    Some(packet)
}

/// The segment of the peer's in `parsed` as it would be if it had this sequence number, acknowledged `acknowledgment`, and
/// did nothing else. TCP has no checksum.
pub(crate) fn with_acknowledgment(parsed: &IpPacket<'_>, sequence: u32, acknowledgment: u32) -> Option<BytesMut> {
    let mut header = *parsed.payload.first_chunk::<20>()?;
    header[4..8].copy_from_slice(&sequence.to_be_bytes());
    header[8..12].copy_from_slice(&acknowledgment.to_be_bytes());
    header[12..14].copy_from_slice(&[5 << 4, 0x10]);
    build_ip(parsed.source, parsed.destination, parsed.hop_limit, TCP, &header, &[])
}

/// Header by header: etherparse's `PacketBuilder` would bring all kinds of headers into the WebAssembly module.
fn build_ip(
    source: IpAddr,
    destination: IpAddr,
    hop_limit: u8,
    protocol: u8,
    header: &[u8],
    payload: &[u8],
) -> Option<BytesMut> {
    let len = u16::try_from(header.len() + payload.len()).ok()?;
    let mut packet = BytesMut::with_capacity(header_len(source) + usize::from(len));
    match (source, destination) {
        (IpAddr::V4(source), IpAddr::V4(destination)) => {
            let mut ip =
                Ipv4Header::new(len, hop_limit, IpNumber(protocol), source.octets(), destination.octets()).ok()?;
            // Whoever finds the packet too long for the path may cut it.
            ip.dont_fragment = false;
            ip.header_checksum = ip.calc_header_checksum();
            packet.extend_from_slice(&ip.to_bytes());
        }
        (IpAddr::V6(source), IpAddr::V6(destination)) => {
            let ip = Ipv6Header {
                payload_length: len,
                next_header: IpNumber(protocol),
                hop_limit,
                source: source.octets(),
                destination: destination.octets(),
                ..Ipv6Header::default()
            };
            packet.extend_from_slice(&ip.to_bytes());
        }
        _ => return None,
    }
    packet.extend_from_slice(header);
    packet.extend_from_slice(payload);
    Some(packet)
}

/// True where a packet may be sent to this address by a program: one host, not a group and not nobody.
pub(crate) fn is_unicast(address: IpAddr) -> bool {
    !address.is_unspecified() && !address.is_multicast() && address != IpAddr::V4(Ipv4Addr::BROADCAST)
}

//! ICMP errors through NAT64 (RFC 7915 sections 4.2, 4.3, 5.2 and 5.3): type, code, MTU and pointer, and the quoted
//! packet. What RFC 4884 may append to the quotation is left out.

use bytes::{BufMut, BytesMut};
use core::net::IpAddr;

use super::icmp::{ERROR_HEADER, icmp_checksum};
use super::nat64::{GROWTH, IPV4_HEADER, IPV6_HEADER, Nat64, convert_transport};
use crate::dataplane::packet::{Headers, Packet, protocol};
use crate::dataplane::{DropReason, IPV6_MIN_MTU};

/// Type, code, and the second word of the header.
type Fields = (u8, u8, u32);

impl Nat64 {
    pub(super) fn error_to_ipv4(self, packet: &Packet) -> Result<Packet, DropReason> {
        let (fields, quoted) = open(packet)?;
        let fields = fields_to_ipv4(fields).ok_or(DropReason::IcmpType)?;
        let mut header = self.header_to_ipv4(&packet.octets, &packet.headers)?;
        let quoted = self.quotation_to_ipv4(quoted)?;
        header.len = ERROR_HEADER + quoted.len();
        let mut octets = BytesMut::with_capacity(IPV4_HEADER + header.len);
        octets.put_slice(&header.octets());
        put_message(&mut octets, fields, &quoted);
        close(octets, IPV4_HEADER)
    }

    pub(super) fn error_to_ipv6(self, packet: &Packet) -> Result<Packet, DropReason> {
        let (fields, quoted) = open(packet)?;
        let fields = fields_to_ipv6(fields, quoted).ok_or(DropReason::IcmpType)?;
        let mut quoted = self.quotation_to_ipv6(quoted)?;
        quoted.truncate(usize::from(IPV6_MIN_MTU) - IPV6_HEADER - ERROR_HEADER);
        let len = ERROR_HEADER + quoted.len();
        let mut header = self.header_to_ipv6(&packet.octets, &packet.headers, len)?;
        if let IpAddr::V4(router) = packet.headers.source
            && !self.prefix.may_represent(router)
        {
            header.source = self.host;
        }
        let mut octets = BytesMut::with_capacity(IPV6_HEADER + len);
        header.put(&mut octets);
        put_message(&mut octets, fields, &quoted);
        close(octets, IPV6_HEADER)
    }

    /// A quoted packet may be cut, and a fragment; its length fields are those of the whole.
    fn quotation_to_ipv4(self, quoted: &[u8]) -> Result<Vec<u8>, DropReason> {
        let headers = Headers::parse_quoted(quoted)?;
        let mut header = self.header_to_ipv4(quoted, &headers)?;
        let whole = IPV6_HEADER + usize::from(u16::from_be_bytes([quoted[4], quoted[5]]));
        header.len = whole.saturating_sub(headers.payload);
        let mut octets = header.octets().to_vec();
        octets.extend_from_slice(&quoted[headers.payload..]);
        let addresses = (header.source.into(), header.destination.into());
        convert_transport(&headers, &mut octets[IPV4_HEADER..], addresses, header.len);
        Ok(octets)
    }

    fn quotation_to_ipv6(self, quoted: &[u8]) -> Result<Vec<u8>, DropReason> {
        let headers = Headers::parse_quoted(quoted)?;
        let whole = usize::from(u16::from_be_bytes([quoted[2], quoted[3]]));
        let header = self.header_to_ipv6(quoted, &headers, whole.saturating_sub(headers.payload))?;
        let mut octets = Vec::with_capacity(IPV6_HEADER + quoted.len());
        header.put(&mut octets);
        let payload = octets.len();
        octets.extend_from_slice(&quoted[headers.payload..]);
        let addresses = (header.source.into(), header.destination.into());
        convert_transport(&headers, &mut octets[payload..], addresses, header.len);
        Ok(octets)
    }
}

/// Verifies an error's checksum, which covers what is to be changed, and takes it apart.
fn open(packet: &Packet) -> Result<(Fields, &[u8]), DropReason> {
    let message = &packet.octets[packet.headers.payload..];
    if icmp_checksum(&packet.headers, message) != 0 {
        return Err(DropReason::Checksum);
    }
    let word = u32::from_be_bytes([message[4], message[5], message[6], message[7]]);
    let quoted = &message[ERROR_HEADER..];
    let (length, unit) = if packet.headers.source.is_ipv4() { (message[5], 4) } else { (message[4], 8) };
    // Packet-too-big and parameter problem of IPv6 have no such field (RFC 4884 section 4.5).
    let may_extend = matches!((packet.headers.protocol, message[0]), (protocol::ICMP, _) | (protocol::ICMPV6, 1 | 3));
    let kept = usize::from(length) * unit;
    let is_extended = may_extend && (1..quoted.len()).contains(&kept);
    Ok(((message[0], message[1], word), if is_extended { &quoted[..kept] } else { quoted }))
}

fn put_message(out: &mut BytesMut, (kind, code, word): Fields, quoted: &[u8]) {
    out.put_slice(&[kind, code, 0, 0]);
    out.put_u32(word);
    out.put_slice(quoted);
}

fn close(mut octets: BytesMut, at: usize) -> Result<Packet, DropReason> {
    let headers = Headers::parse(&octets)?;
    let sum = icmp_checksum(&headers, &octets[at..]);
    octets[at + 2..at + 4].copy_from_slice(&sum.to_be_bytes());
    Packet::parse(octets)
}

/// RFC 7915 section 5.2.
fn fields_to_ipv4((kind, code, word): Fields) -> Option<Fields> {
    Some(match (kind, code) {
        (1, 0 | 2 | 3) => (3, 1, 0),
        (1, 1) => (3, 10, 0),
        (1, 4) => (3, 3, 0),
        (2, _) => (3, 4, word.saturating_sub(u32::from(GROWTH)).clamp(68, 65_535)),
        (3, code @ (0 | 1)) => (11, code, 0),
        (4, 0) => (12, 0, u32::from(pointer_to_ipv4(word)?) << 24),
        (4, 1) => (3, 2, 0),
        _ => return None,
    })
}

/// RFC 7915 section 4.2.
fn fields_to_ipv6((kind, code, word): Fields, quoted: &[u8]) -> Option<Fields> {
    Some(match (kind, code) {
        (3, 2) => (4, 1, 6),
        (3, 3) => (1, 4, 0),
        (3, 4) => (2, 0, u32::from(mtu_to_ipv6(word as u16, quoted))),
        (3, 0 | 1 | 5..=8 | 11 | 12) => (1, 0, 0),
        (3, 9 | 10 | 13 | 15) => (1, 1, 0),
        (11, code @ (0 | 1)) => (3, code, 0),
        (12, 0 | 2) => (4, 0, u32::from(pointer_to_ipv6((word >> 24) as u8)?)),
        _ => return None,
    })
}

/// Routers older than RFC 1191 tell no MTU: it is the next plateau below the packet's length (RFC 7915 section 4.2).
fn mtu_to_ipv6(mtu: u16, quoted: &[u8]) -> u16 {
    const PLATEAUS: [u16; 10] = [32_000, 17_914, 8166, 4352, 2002, 1492, 1006, 508, 296, 68];
    let mtu = if mtu == 0 {
        let total = quoted.get(2..4).map_or(0, |len| u16::from_be_bytes([len[0], len[1]]));
        PLATEAUS.into_iter().find(|plateau| *plateau < total).unwrap_or(68)
    } else {
        mtu
    };
    mtu.saturating_add(GROWTH).max(IPV6_MIN_MTU)
}

/// RFC 7915 figure 6.
fn pointer_to_ipv4(pointer: u32) -> Option<u8> {
    Some(match pointer {
        0 => 0,
        1 => 1,
        4 | 5 => 2,
        6 => 9,
        7 => 8,
        8..=23 => 12,
        24..=39 => 16,
        _ => return None,
    })
}

/// RFC 7915 figure 3.
fn pointer_to_ipv6(pointer: u8) -> Option<u8> {
    Some(match pointer {
        0 => 0,
        1 => 1,
        2 | 3 => 4,
        8 => 7,
        9 => 6,
        12..=15 => 8,
        16..=19 => 24,
        _ => return None,
    })
}

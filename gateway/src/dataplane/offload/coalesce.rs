//! Making one packet of many segments out of those that wait behind each other (generic receive offload).
//!
//! Only what cutting brings back is put together: a segment that continues the one before it, in a packet whose headers differ
//! in nothing but what cutting writes. Checksums are verified first, since they are made anew at the other end. What comes as
//! a packet of several segments already is treated likewise: on a line of 20 Mbit/s a kernel makes them of two.

use bytes::BytesMut;
use core::net::IpAddr;
use webtun_wire::{OffloadChecksum, OffloadHeader, Segmentation, SegmentationKind};

use crate::dataplane::checksum;
use crate::dataplane::gather::LONG;
use crate::dataplane::packet::{protocol, tcp_flag};

const IPV4: usize = 20;
const IPV6: usize = 40;
/// Don't Fragment, and nothing else, in the octets of flags and fragment offset.
const DF: [u8; 2] = [0x40, 0];
/// End what is put together: cutting gives them to the last segment alone.
const LAST: u8 = tcp_flag::FIN | tcp_flag::PSH;
const ECE: u8 = 0x40;

/// A TCP segment in a packet without options of IP or extension headers.
#[derive(Clone, Copy)]
struct Segment<'a> {
    packet: &'a [u8],
    /// Where TCP begins.
    tcp: usize,
    payload: usize,
}

impl<'a> Segment<'a> {
    fn parse(packet: &'a [u8]) -> Option<Self> {
        let (tcp, number) = match *packet.first()? {
            0x45 => (IPV4, 9),
            first if first >> 4 == 6 => (IPV6, 6),
            _ => return None,
        };
        let offset = packet.get(tcp + 12)?;
        let payload = tcp + usize::from(offset >> 4) * 4;
        let is_whole = tcp == IPV6 || packet[6..8] == DF || packet[6..8] == [0, 0];
        let is_tcp = packet[number] == protocol::TCP && payload >= tcp + 20 && payload <= packet.len();
        (is_tcp && is_whole).then_some(Self { packet, tcp, payload })
    }

    fn is_ipv4(self) -> bool {
        self.tcp == IPV4
    }

    fn sequence(self) -> u32 {
        let at = &self.packet[self.tcp + 4..self.tcp + 8];
        u32::from_be_bytes([at[0], at[1], at[2], at[3]])
    }

    fn identification(self) -> u16 {
        u16::from_be_bytes([self.packet[4], self.packet[5]])
    }

    fn flags(self) -> u8 {
        self.packet[self.tcp + 13]
    }

    fn len(self) -> usize {
        self.packet.len() - self.payload
    }

    fn has_right_checksum(self) -> bool {
        let address = |v4: usize, v6: usize| -> IpAddr {
            match self.packet[v6..].first_chunk::<16>() {
                Some(octets) if !self.is_ipv4() => IpAddr::from(*octets),
                _ => IpAddr::from([0, 1, 2, 3].map(|at| self.packet[v4 + at])),
            }
        };
        checksum::transport(address(12, 8), address(16, 24), protocol::TCP, &self.packet[self.tcp..]) == 0
    }

    /// Whether `next` differs in nothing but lengths, checksums, identification, sequence number and the flags of the last
    /// one.
    fn is_like(self, next: Self) -> bool {
        let (a, b, tcp) = (self.packet, next.packet, self.tcp);
        let ip = if self.is_ipv4() {
            a[..2] == b[..2] && a[6..10] == b[6..10] && a[12..20] == b[12..20]
        } else {
            a[..4] == b[..4] && a[6..40] == b[6..40]
        };
        let (first, second) = (&a[tcp..self.payload], &b[tcp..next.payload.min(b.len())]);
        let flags = (self.flags() ^ next.flags()) & !LAST;
        // Ports; acknowledgement and data offset; window; urgent pointer and options.
        let ranges = [0..4, 8..13, 14..16, 18..self.payload - tcp];
        self.tcp == next.tcp
            && self.payload == next.payload
            && ip
            && flags == 0
            && ranges.into_iter().all(|range| first[range.clone()] == second[range])
    }

    /// Whether cutting gives the packet at this place behind this one the identification that it has, or one that means as
    /// little (RFC 6864 section 4.1).
    fn numbers(self, next: Self, place: usize) -> bool {
        let expected = self.identification().wrapping_add(place as u16);
        let is_constant = self.packet[6..8] == DF && next.identification() == self.identification();
        !self.is_ipv4() || next.identification() == expected || is_constant
    }
}

/// Appends a packet to the one before it, where the two together are what a packet of many segments stands for, of at most
/// `longest` octets. Otherwise both stay as they are.
pub(in crate::dataplane) fn coalesce(
    whole: &mut BytesMut,
    header: &mut OffloadHeader,
    packet: &[u8],
    packet_header: &OffloadHeader,
    longest: usize,
) -> bool {
    let Some(together) = fit(whole, header, packet, packet_header) else { return false };
    let (Some(first), Some(next)) = (Segment::parse(whole), Segment::parse(packet)) else { return false };
    let (len, flags, is_ipv4, tcp, payload) =
        (whole.len() + next.len(), next.flags(), first.is_ipv4(), first.tcp, next.payload);
    if len > longest.min(webtun_wire::MAX_PACKET_LEN) {
        return false;
    }
    *header = together;
    whole.extend_from_slice(&packet[payload..]);
    whole[tcp + 13] |= flags & LAST;
    if is_ipv4 {
        whole[2..4].copy_from_slice(&(len as u16).to_be_bytes());
        whole[10..12].fill(0);
        let sum = checksum::checksum(&whole[..IPV4]);
        whole[10..12].copy_from_slice(&sum.to_be_bytes());
    } else {
        whole[4..6].copy_from_slice(&((len - IPV6) as u16).to_be_bytes());
    }
    true
}

/// The header of both together, where they fit.
fn fit(whole: &[u8], header: &OffloadHeader, packet: &[u8], packet_header: &OffloadHeader) -> Option<OffloadHeader> {
    let (first, next) = (Segment::parse(whole)?, Segment::parse(packet)?);
    let size = header.segmentation.map_or(first.len(), |it| it.segment_size.into());
    let is_plain = |flags: u8| flags & !(LAST | ECE) == tcp_flag::ACK;
    let is_open = size > 0 && first.len().is_multiple_of(size) && first.flags() & LAST == 0 && is_plain(first.flags());
    let is_of_size = match packet_header.segmentation {
        None => (1..=size).contains(&next.len()),
        // Moving long ones would cost more than their headers do.
        Some(it) => {
            let is_short = whole.len().max(packet.len()) < LONG;
            is_short && it.kind != SegmentationKind::Udp && !it.ecn && usize::from(it.segment_size) == size
        }
    };
    let fits = is_of_size
        && header.segmentation.is_none_or(|it| it.kind != SegmentationKind::Udp && !it.ecn)
        && first.sequence().wrapping_add(first.len() as u32) == next.sequence()
        && first.is_like(next)
        && first.numbers(next, first.len() / size.max(1));
    let is_made = |header: &OffloadHeader| !matches!(header.checksum, OffloadChecksum::Partial { .. });
    let is_right = |segment: Segment<'_>, header| !is_made(header) || segment.has_right_checksum();
    // The dear part comes last.
    if !is_open || !fits || !is_right(first, header) || !is_right(next, packet_header) {
        return None;
    }
    let kind = if first.is_ipv4() { SegmentationKind::TcpV4 } else { SegmentationKind::TcpV6 };
    Some(OffloadHeader {
        checksum: OffloadChecksum::Partial { start: first.tcp as u16, offset: 16 },
        segmentation: Some(Segmentation {
            kind,
            ecn: false,
            header_len: first.payload as u16,
            segment_size: u16::try_from(size).ok()?,
        }),
    })
}

#[cfg(test)]
mod tests;

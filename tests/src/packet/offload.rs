use bytes::BytesMut;
use std::net::SocketAddr;
use webtun_wire::{OffloadChecksum, OffloadHeader, Segmentation, SegmentationKind};

use super::build::seal_ipv4;
use super::{Segment, protocol, tcp, udp};

/// A packet with its offload header.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Offloaded {
    /// What is left to be done to it.
    pub header: OffloadHeader,
    /// The packet. Where its transport checksum is not made, its field may hold anything.
    pub packet: BytesMut,
}

/// PSH and CWR, which segmentation leaves on one segment alone.
const PSH: u8 = 0x08;
const CWR: u8 = 0x80;

impl Offloaded {
    /// One TCP packet for segments of `size` octets; at most 65,535 octets in all.
    pub fn tcp(from: SocketAddr, to: SocketAddr, head: Segment, size: u16, payload: &[u8]) -> Self {
        Self::new(tcp(from, to, head, payload), Some(size))
    }

    /// One UDP packet for datagrams of `size` octets.
    pub fn udp(from: SocketAddr, to: SocketAddr, size: u16, payload: &[u8]) -> Self {
        Self::new(udp(from, to, payload), Some(size))
    }

    /// Without its checksum, but for one segment.
    #[must_use]
    pub fn without_segments(self) -> Self {
        Self::new(self.packet, None)
    }

    /// A whole TCP or UDP packet without options; its checksum is spoilt, since nobody may look at it.
    fn new(mut packet: BytesMut, size: Option<u16>) -> Self {
        let (is_ipv6, start) = if packet[0] >> 4 == 6 { (true, 40) } else { (false, 20) };
        let is_tcp = packet[if is_ipv6 { 6 } else { 9 }] == protocol::TCP;
        let (kind, transport_len, offset) = match (is_tcp, is_ipv6) {
            (true, false) => (SegmentationKind::TcpV4, 20, 16),
            (true, true) => (SegmentationKind::TcpV6, 20, 16),
            (false, _) => (SegmentationKind::Udp, 8, 6),
        };
        let at = usize::from(start + offset);
        packet[at..at + 2].fill(0xA5);
        let header_len = start + transport_len;
        let segmentation = size.map(|segment_size| Segmentation { kind, ecn: false, header_len, segment_size });
        Self { header: OffloadHeader { checksum: OffloadChecksum::Partial { start, offset }, segmentation }, packet }
    }

    /// What a sender without offload would have sent, made anew from the addresses and the payload.
    pub fn tcp_segments(from: SocketAddr, to: SocketAddr, head: Segment, size: u16, payload: &[u8]) -> Vec<BytesMut> {
        let count = payload.len().div_ceil(usize::from(size));
        let segments = payload.chunks(usize::from(size)).enumerate().map(|(index, data)| {
            let sequence = head.sequence.wrapping_add((index * usize::from(size)) as u32);
            let mut flags = head.flags;
            if index > 0 {
                flags &= !CWR;
            }
            if index + 1 < count {
                flags &= !(Segment::FIN | PSH);
            }
            numbered(tcp(from, to, Segment { flags, sequence, ..head }, data), index)
        });
        segments.collect()
    }

    /// Likewise for UDP.
    pub fn udp_segments(from: SocketAddr, to: SocketAddr, size: u16, payload: &[u8]) -> Vec<BytesMut> {
        let datagrams = payload.chunks(usize::from(size)).enumerate();
        datagrams.map(|(index, data)| numbered(udp(from, to, data), index)).collect()
    }
}

/// With this identification, for IPv4.
fn numbered(mut packet: BytesMut, id: usize) -> BytesMut {
    if packet[0] >> 4 == 4 {
        packet[4..6].copy_from_slice(&(id as u16).to_be_bytes());
        seal_ipv4(&mut packet);
    }
    packet
}

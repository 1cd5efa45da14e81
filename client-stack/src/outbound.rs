//! Packets on their way out, in a form that suits a link with segmentation offload and one without.
//!
//! smoltcp's segments are made without checksums and may hold the data of many: what is fixed at `Interface::new` cannot
//! follow a link whose abilities show later, so the choice is made here, when a packet leaves. With offload it goes as it
//! is, behind a header that says how to cut it; without, it is cut and its checksums are made.

use bytes::{BufMut, BytesMut};
use webtun_wire::{OffloadChecksum, OffloadHeader, Segmentation, SegmentationKind};

use crate::packet;

/// Of the fields within a TCP header: sequence number, data offset, flags, checksum.
const SEQUENCE: usize = 4;
const DATA_OFFSET: usize = 12;
const FLAGS: usize = 13;
const CHECKSUM: usize = 16;
const SHORTEST_HEADER: usize = 20;

const FIN: u8 = 0x01;
const PSH: u8 = 0x08;
const CWR: u8 = 0x80;

/// One packet that waits to leave.
#[derive(Debug)]
pub(crate) enum Outbound {
    /// With all checksums.
    Complete(BytesMut),
    /// From smoltcp.
    Tcp(TcpPacket),
}

impl Outbound {
    pub fn octets(&self) -> &BytesMut {
        match self {
            Self::Complete(octets) | Self::Tcp(TcpPacket { octets, .. }) => octets,
        }
    }

    /// For a link with offload. What carries no data is made complete: the checksum costs less than the header.
    pub fn offloaded(self) -> (OffloadHeader, BytesMut) {
        match self {
            Self::Complete(octets) => (OffloadHeader::default(), octets),
            Self::Tcp(packet) if packet.payload_len() == 0 => (OffloadHeader::default(), packet.completed()),
            Self::Tcp(packet) => (packet.offload_header(), packet.octets),
        }
    }

    /// For a link without: hands on what it becomes, in order.
    pub fn plain(self, mut send: impl FnMut(BytesMut)) {
        match self {
            Self::Complete(octets) => send(octets),
            Self::Tcp(packet) => packet.segments(send),
        }
    }
}

/// A TCP packet without options in its IP header and without a TCP checksum.
#[derive(Debug)]
pub(crate) struct TcpPacket {
    pub octets: BytesMut,
    /// Of the IP header.
    transport: usize,
    /// Of both headers.
    header_len: usize,
    /// Octets of data that one segment may carry; not 0.
    segment_size: u16,
}

impl TcpPacket {
    /// `None` where it is too short for its headers. A `segment_size` of 0 counts as 1.
    pub fn new(octets: BytesMut, segment_size: u16) -> Option<Self> {
        let transport = packet::ip_header_len(&octets);
        let header_len = transport + usize::from(octets.get(transport + DATA_OFFSET)? >> 4) * 4;
        let fits = header_len >= transport + SHORTEST_HEADER && header_len <= octets.len();
        fits.then_some(Self { octets, transport, header_len, segment_size: segment_size.max(1) })
    }

    fn payload_len(&self) -> usize {
        self.octets.len() - self.header_len
    }

    fn is_ipv4(&self) -> bool {
        self.transport == packet::IPV4_HEADER_LEN
    }

    /// What the link needs to know to finish it.
    pub fn offload_header(&self) -> OffloadHeader {
        let kind = if self.is_ipv4() { SegmentationKind::TcpV4 } else { SegmentationKind::TcpV6 };
        let (header_len, segment_size) = (self.header_len as u16, self.segment_size);
        let checksum = OffloadChecksum::Partial { start: self.transport as u16, offset: CHECKSUM as u16 };
        let segmentation = Some(Segmentation { kind, ecn: false, header_len, segment_size });
        OffloadHeader { checksum, segmentation }.normalized(self.octets.len())
    }

    fn completed(mut self) -> BytesMut {
        fill_checksum(&mut self.octets, self.transport);
        self.octets
    }

    /// Cuts it into segments, as it would have been sent without offload: FIN and PSH go with the last one, CWR with the
    /// first.
    fn segments(self, mut send: impl FnMut(BytesMut)) {
        let size = usize::from(self.segment_size);
        if self.payload_len() <= size {
            return send(self.completed());
        }
        let (header, payload) = self.octets.split_at(self.header_len);
        let last = (payload.len() - 1) / size;
        for (index, part) in payload.chunks(size).enumerate() {
            let mut segment = BytesMut::with_capacity(header.len() + part.len());
            segment.put_slice(header);
            segment.put_slice(part);
            self.adapt(&mut segment, index * size, index == 0, index == last);
            send(segment);
        }
    }

    /// Writes what tells a segment from the others: lengths, sequence number, flags, checksums.
    fn adapt(&self, segment: &mut BytesMut, offset: usize, is_first: bool, is_last: bool) {
        let len = segment.len();
        if self.is_ipv4() {
            segment[2..4].copy_from_slice(&(len as u16).to_be_bytes());
            packet::fill_ipv4_checksum(segment);
        } else {
            segment[4..6].copy_from_slice(&((len - self.transport) as u16).to_be_bytes());
        }
        let at = self.transport + SEQUENCE;
        if let Some(field) = segment[at..].first_chunk_mut() {
            *field = u32::from_be_bytes(*field).wrapping_add(offset as u32).to_be_bytes();
        }
        let (late, early) = (if is_last { 0 } else { FIN | PSH }, if is_first { 0 } else { CWR });
        segment[self.transport + FLAGS] &= !(late | early);
        fill_checksum(segment, self.transport);
    }
}

fn fill_checksum(packet: &mut [u8], transport: usize) {
    let at = transport + CHECKSUM;
    packet[at..at + 2].fill(0);
    let checksum = packet::transport_checksum(packet, transport, packet::TCP);
    packet[at..at + 2].copy_from_slice(&checksum.to_be_bytes());
}

#[cfg(test)]
mod tests {
    use etherparse::{IpSlice, PacketBuilder, TcpSlice};
    use proptest::prelude::*;

    use super::*;

    const START: u32 = u32::MAX - 100;

    /// The naive twin: one segment made from scratch, by another library.
    fn segment(is_ipv4: bool, sequence: u32, last: bool, payload: &[u8]) -> Vec<u8> {
        let mut packet = Vec::new();
        let builder = if is_ipv4 {
            let ip = etherparse::Ipv4Header {
                time_to_live: 64,
                source: [100, 64, 0, 2],
                destination: [192, 0, 2, 80],
                ..Default::default()
            };
            PacketBuilder::ip(etherparse::IpHeaders::Ipv4(ip, Default::default())).tcp(1000, 80, sequence, 5000)
        } else {
            PacketBuilder::ipv6([1; 16], [2; 16], 64).tcp(1000, 80, sequence, 5000)
        };
        let builder = builder.ack(77);
        let builder = if last { builder.psh().fin() } else { builder };
        builder.write_to_vec(&mut packet, payload).unwrap();
        packet
    }

    /// As smoltcp gives it: the checksum is not there.
    fn packet(is_ipv4: bool, payload: &[u8], segment_size: u16) -> Outbound {
        let mut octets = BytesMut::from(&segment(is_ipv4, START, true, payload)[..]);
        let at = if is_ipv4 { 36 } else { 56 };
        octets[at..at + 2].fill(0);
        Outbound::Tcp(TcpPacket::new(octets, segment_size).expect("a TCP packet"))
    }

    proptest! {
        #[test]
        fn what_is_cut_equals_what_is_made_in_pieces(
            is_ipv4: bool,
            payload in prop::collection::vec(any::<u8>(), 0..9000),
            size in 48u16..3000,
        ) {
            let mut cut = Vec::new();
            packet(is_ipv4, &payload, size).plain(|piece| cut.push(piece.to_vec()));
            let mut made = Vec::new();
            let mut rest = &payload[..];
            loop {
                let (part, others) = rest.split_at(rest.len().min(size.into()));
                let sequence = START.wrapping_add((payload.len() - rest.len()) as u32);
                made.push(segment(is_ipv4, sequence, others.is_empty(), part));
                rest = others;
                if rest.is_empty() {
                    break;
                }
            }
            prop_assert_eq!(cut, made);
        }
    }

    #[test]
    fn the_header_says_what_is_left_to_do() {
        for is_ipv4 in [true, false] {
            let transport = if is_ipv4 { 20 } else { 40 };
            let checksum = OffloadChecksum::Partial { start: transport, offset: 16 };
            let (header, octets) = packet(is_ipv4, &[1; 1460], 1460).offloaded();
            assert_eq!(header, OffloadHeader { checksum, segmentation: None });
            assert_eq!(octets.len(), usize::from(transport) + 20 + 1460);
            let (header, _) = packet(is_ipv4, &[1; 1461], 1460).offloaded();
            let kind = if is_ipv4 { SegmentationKind::TcpV4 } else { SegmentationKind::TcpV6 };
            let segmentation = Segmentation { kind, ecn: false, header_len: transport + 20, segment_size: 1460 };
            assert_eq!(header, OffloadHeader { checksum, segmentation: Some(segmentation) });
        }
    }

    #[test]
    fn what_carries_no_data_leaves_complete() {
        for is_ipv4 in [true, false] {
            let (header, octets) = packet(is_ipv4, b"", 1460).offloaded();
            assert_eq!(header, OffloadHeader::default());
            assert_eq!(octets, segment(is_ipv4, START, true, b""));
        }
    }

    #[test]
    fn the_first_segment_alone_carries_cwr() {
        let Outbound::Tcp(mut packet) = packet(true, &[7; 300], 100) else { unreachable!() };
        packet.octets[33] |= CWR;
        let mut flags = Vec::new();
        Outbound::Tcp(packet).plain(|piece| {
            let ip = IpSlice::from_slice(&piece).unwrap();
            let tcp = TcpSlice::from_slice(ip.payload().payload).unwrap();
            flags.push((tcp.cwr(), tcp.psh(), tcp.fin()));
        });
        assert_eq!(flags, [(true, false, false), (false, false, false), (false, true, true)]);
    }

    #[test]
    fn what_is_no_packet_is_refused() {
        for len in 0..60 {
            let mut octets = BytesMut::from(&vec![0x50; len][..]);
            octets.iter_mut().take(1).for_each(|octet| *octet = 0x45);
            assert_eq!(TcpPacket::new(octets, 0).is_some(), len >= 40, "{len}");
        }
        let short_offset = BytesMut::from(&[&[0x45; 20][..], &[0x10; 40]].concat()[..]);
        assert!(TcpPacket::new(short_offset, 1460).is_none());
    }
}

//! Segmentation and checksum offload: what a packet leaves to whoever sends it at last (wire/README.md section 6).
//!
//! A packet that stands for many segments passes the gateway once. Where it leaves to something that does not segment, it
//! is cut here, into what the kernel would make of it.

mod coalesce;
mod segment;

use bytes::BytesMut;
use webtun_wire::{
    MAX_PACKET_LEN, OffloadChecksum, OffloadError, OffloadHeader, PacketShape, Segmentation, SegmentationKind,
};

pub(super) use self::coalesce::coalesce;
use super::checksum;
use super::packet::{Headers, Packet, Transport, protocol};
use super::{Destination, DropReason};

/// A packet longer than this, with its headers, is cut by kernels that shall pass it on in one piece, since some devices
/// add a header of their own to the 65,536 octets that they take.
pub(super) const KERNEL_MOST: usize = 65_000;

/// What is left to be done to a packet.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::dataplane) struct Offload {
    /// The transport checksum is not made; what stands in its field means nothing.
    pub is_partial: bool,
    /// Where the packet stands for several segments, or may be made to. Then its checksum is not made.
    pub segments: Option<Segments>,
}

/// How a packet is to be cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::dataplane) struct Segments {
    /// Payload octets of each but the last, not 0.
    pub size: u16,
    /// See [`Segmentation::ecn`].
    pub ecn: bool,
}

/// What the device at the egress takes over.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum EgressOffload {
    /// Nothing.
    #[default]
    None,
    /// Checksums, and TCP segmentation.
    Tcp,
    /// The segmentation of UDP too.
    All,
}

impl From<OffloadError> for DropReason {
    fn from(error: OffloadError) -> Self {
        match error {
            OffloadError::Short => Self::Truncated,
            OffloadError::Flags | OffloadError::NotZero => Self::OffloadFlags,
            OffloadError::GsoType | OffloadError::NoChecksum | OffloadError::SegmentSize => Self::OffloadSegments,
            OffloadError::HeaderLength => Self::OffloadHeaderLength,
            OffloadError::ChecksumStart | OffloadError::ChecksumOffset => Self::OffloadChecksum,
            OffloadError::TooLong => Self::TooBig,
        }
    }
}

impl Packet {
    /// A packet with what a client has said about it.
    pub(in crate::dataplane) fn parse_offload(octets: BytesMut, header: &OffloadHeader) -> Result<Self, DropReason> {
        let headers = Headers::parse(&octets)?;
        header.check(&shape(&headers, &octets), MAX_PACKET_LEN)?;
        Self::with_header(octets, headers, header)
    }

    /// A packet with what the kernel has said about it: its header length is a hint.
    pub(in crate::dataplane) fn parse_device(octets: BytesMut, header: &OffloadHeader) -> Result<Self, DropReason> {
        if *header == OffloadHeader::default() && octets.len() <= MAX_PACKET_LEN {
            return Self::parse(octets);
        }
        let headers = Headers::parse(&octets)?;
        let shape = shape(&headers, &octets);
        let header_len = u16::try_from(shape.header_len).map_err(|_| DropReason::OffloadHeaderLength)?;
        let segmentation = header.segmentation.map(|it| Segmentation { header_len, ..it });
        let header = OffloadHeader { segmentation, ..*header };
        header.check(&shape, MAX_PACKET_LEN)?;
        Self::with_header(octets, headers, &header)
    }

    fn with_header(octets: BytesMut, headers: Headers, header: &OffloadHeader) -> Result<Self, DropReason> {
        let is_partial = matches!(header.checksum, OffloadChecksum::Partial { .. });
        let is_udp = matches!(headers.transport, Transport::Udp { .. });
        if is_partial && is_udp && udp_len(&headers, &octets) != octets.len() - headers.payload {
            // What a checksum up to the end of the packet would cover is not what the datagram's own length says.
            return Err(DropReason::Truncated);
        }
        let segments = header.segmentation.map(|it| Segments { size: it.segment_size, ecn: it.ecn });
        Ok(Self { offload: Offload { is_partial, segments }, ..Self::from_parts(octets, headers) })
    }

    /// What the next one has to know. What fits into one segment is none of many.
    pub(in crate::dataplane) fn offload_header(&self) -> OffloadHeader {
        if !self.offload.is_partial {
            return OffloadHeader::default();
        }
        let is_tcp = self.headers.protocol == protocol::TCP;
        let kind = match (is_tcp, self.headers.source.is_ipv4()) {
            (true, true) => SegmentationKind::TcpV4,
            (true, false) => SegmentationKind::TcpV6,
            (false, _) => SegmentationKind::Udp,
        };
        let header_len = self.header_len() as u16;
        OffloadHeader {
            checksum: OffloadChecksum::Partial {
                start: self.headers.payload as u16,
                offset: if is_tcp { 16 } else { 6 },
            },
            segmentation: self.offload.segments.map(|it| Segmentation {
                kind,
                ecn: it.ecn,
                header_len,
                segment_size: it.size,
            }),
        }
        .normalized(self.octets.len())
    }

    /// Octets of all headers up to the payload of TCP or UDP.
    fn header_len(&self) -> usize {
        header_len(&self.headers, &self.octets)
    }

    /// Octets of the longest packet that it becomes.
    pub(in crate::dataplane) fn longest(&self) -> usize {
        let len = self.octets.len();
        self.offload.segments.map_or(len, |it| len.min(self.header_len() + usize::from(it.size)))
    }

    /// How many packets it becomes.
    pub(in crate::dataplane) fn segment_count(&self) -> usize {
        self.offload.segments.map_or(1, |it| {
            let payload = self.octets.len() - self.header_len().min(self.octets.len());
            payload.div_ceil(usize::from(it.size)).max(1)
        })
    }

    /// Makes TCP's segments small enough for a path: the receiver sees the same octets. The datagrams of UDP are what
    /// their sender has made them.
    pub(in crate::dataplane) fn clamp_segments(&mut self, mtu: u16) -> Result<(), DropReason> {
        let Transport::Tcp { .. } = self.headers.transport else { return Ok(()) };
        if self.offload.segments.is_none() {
            return Ok(());
        }
        let header_len = self.header_len();
        let Some(segments) = &mut self.offload.segments else { return Ok(()) };
        let most = usize::from(mtu).checked_sub(header_len).filter(|most| *most > 0).ok_or(DropReason::TooBig)?;
        segments.size = segments.size.min(most as u16);
        Ok(())
    }

    /// Makes the transport checksum, where it is not made.
    pub(in crate::dataplane) fn complete_checksum(&mut self) {
        if self.offload.is_partial {
            let sum = !self.checksum_with(0, true);
            // UDP without a checksum would have zero there (RFC 768); TCP has no such case, and both zeros mean the same.
            let sum = if sum == 0 && self.headers.protocol == protocol::UDP { 0xFFFF } else { sum };
            self.write_checksum(sum);
            self.offload.is_partial = false;
        }
    }

    /// Writes the sum of the pseudo-header into the checksum's field, where a device makes the rest.
    pub(in crate::dataplane) fn seed_checksum(&mut self) {
        if self.offload.is_partial {
            let sum = self.checksum_with(0, false);
            self.write_checksum(sum);
        }
    }

    /// The folded sum of the pseudo-header, and of the segment too if wanted, with `field` for the checksum.
    fn checksum_with(&mut self, field: u16, with_segment: bool) -> u16 {
        self.write_checksum(field);
        let headers = &self.headers;
        let segment = &self.octets[headers.payload..];
        let pseudo = checksum::pseudo_header(headers.source, headers.destination, headers.protocol, segment.len());
        checksum::fold(pseudo + if with_segment { checksum::sum(segment) } else { 0 })
    }

    fn write_checksum(&mut self, sum: u16) {
        let at = self.headers.payload + if self.headers.protocol == protocol::TCP { 16 } else { 6 };
        self.octets[at..at + 2].copy_from_slice(&sum.to_be_bytes());
    }

    /// The packets that this one is, with their checksums.
    pub(in crate::dataplane) fn into_plain(mut self) -> Vec<Self> {
        let Some(segments) = self.offload.segments else {
            self.complete_checksum();
            return vec![self];
        };
        let mut pieces: Vec<_> = self.split(usize::from(segments.size)).collect();
        pieces.iter_mut().for_each(Self::complete_checksum);
        pieces
    }

    /// The packets that this one becomes on its way to `to`, where `device` says what is taken over there: each either
    /// done, or with the sum of its pseudo-header.
    pub(in crate::dataplane) fn into_transmits(mut self, to: Destination, device: EgressOffload) -> Vec<Self> {
        let is_udp = matches!(self.headers.transport, Transport::Udp { .. });
        let wanted = if is_udp { EgressOffload::All } else { EgressOffload::Tcp };
        match (to, self.offload.segments) {
            // A host takes TCP segments of any length.
            (Destination::Local, Some(_)) if !is_udp => {
                self.offload.segments = None;
                self.into_plain()
            }
            (Destination::Egress, Some(segments)) if device >= wanted => {
                let size = usize::from(segments.size);
                let most = KERNEL_MOST.saturating_sub(self.header_len()) / size * size;
                let mut pieces =
                    if self.octets.len() > KERNEL_MOST && most > 0 { self.split(most).collect() } else { vec![self] };
                pieces.iter_mut().for_each(Self::seed_checksum);
                pieces
            }
            (Destination::Egress, None) if device >= EgressOffload::Tcp => {
                self.seed_checksum();
                vec![self]
            }
            _ => self.into_plain(),
        }
    }
}

/// What a queued packet is for a client that takes no offload. Only what this gateway has queued is asked for, so that
/// it parses.
pub(super) fn plain(octets: BytesMut, header: &OffloadHeader) -> Vec<BytesMut> {
    if *header == OffloadHeader::default() {
        return vec![octets];
    }
    let packets = Packet::parse_offload(octets, header).map(Packet::into_plain).unwrap_or_default();
    packets.into_iter().map(|packet| packet.octets).collect()
}

/// A queued packet of many segments in pieces of at most `longest` octets each, or of one segment. Only what this gateway
/// has queued is asked for, so that it parses.
pub(super) fn cut(octets: BytesMut, header: &OffloadHeader, longest: usize) -> Vec<(BytesMut, OffloadHeader)> {
    let Ok(packet) = Packet::parse_offload(octets, header) else { return Vec::new() };
    let size = packet.offload.segments.map_or(usize::from(u16::MAX), |it| usize::from(it.size));
    let most = longest.saturating_sub(packet.header_len()) / size * size;
    let with_header = |piece: Packet| {
        let header = piece.offload_header();
        (piece.octets, header)
    };
    packet.split(most.max(size)).map(with_header).collect()
}

fn shape(headers: &Headers, octets: &[u8]) -> PacketShape {
    PacketShape {
        is_ipv6: headers.source.is_ipv6(),
        protocol: headers.protocol,
        // Packets in one piece lose their fragment header, and with it the offsets that the offload header names.
        is_fragment: headers.fragment.is_some() || headers.atomic.is_some(),
        transport: headers.payload,
        header_len: header_len(headers, octets),
        len: octets.len(),
    }
}

fn header_len(headers: &Headers, octets: &[u8]) -> usize {
    let transport = match headers.transport {
        Transport::Tcp { .. } => usize::from(octets[headers.payload + 12] >> 4) * 4,
        Transport::Udp { .. } => 8,
        _ => 0,
    };
    headers.payload + transport
}

fn udp_len(headers: &Headers, octets: &[u8]) -> usize {
    usize::from(u16::from_be_bytes([octets[headers.payload + 4], octets[headers.payload + 5]]))
}

#[cfg(test)]
mod tests;

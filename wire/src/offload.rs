//! What stands before a packet in a context of kind OFFLOAD (README section 6).

use core::fmt;

/// Octets before the packet.
pub const OFFLOAD_HEADER_LEN: usize = 10;

const NEEDS_CSUM: u8 = 0x01;
const DATA_VALID: u8 = 0x02;
const ECN: u8 = 0x80;
const SHORTEST_IP_HEADER: usize = 20;
const LONGEST_PACKET: usize = crate::MAX_PACKET_LEN;
const TCP: u8 = 6;
const UDP: u8 = 17;

/// The offload header, without the combinations that no packet may have.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct OffloadHeader {
    /// How much of the transport checksum is made.
    pub checksum: OffloadChecksum,
    /// Present where the packet stands for several segments; then the checksum is [`OffloadChecksum::Partial`].
    pub segmentation: Option<Segmentation>,
}

/// The state of a packet's transport checksum.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum OffloadChecksum {
    /// Made, and not verified.
    #[default]
    Complete,
    /// Made, and verified by the sender (DATA_VALID).
    Verified,
    /// Not made (NEEDS_CSUM); what stands in its field means nothing.
    Partial {
        /// Where the transport header begins, in octets from the start of the packet.
        start: u16,
        /// Where the field lies, in octets from there: 16 for TCP, 6 for UDP.
        offset: u16,
    },
}

/// How a packet is to be cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Segmentation {
    /// Into what.
    pub kind: SegmentationKind,
    /// Every segment but the first is sent without CWR (RFC 3168 section 6.1.2); for TCP alone.
    pub ecn: bool,
    /// IP and transport headers, in octets. Every segment gets them.
    pub header_len: u16,
    /// Payload octets of each segment but the last, which may have fewer; not 0.
    pub segment_size: u16,
}

/// What a packet is cut into. The numbers are those of virtio 1.2 section 5.1.6.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum SegmentationKind {
    /// TCP segments over IPv4.
    TcpV4 = 1,
    /// TCP segments over IPv6.
    TcpV6 = 4,
    /// UDP datagrams, each with a header of its own.
    Udp = 5,
}

/// What [`OffloadHeader::check`] has to know about a packet: whoever parses its headers fills it in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PacketShape {
    /// IPv6, otherwise IPv4.
    pub is_ipv6: bool,
    /// The protocol above IP, behind any extension header.
    pub protocol: u8,
    /// A piece of a larger datagram.
    pub is_fragment: bool,
    /// Where the transport header begins, in octets: the length of the IP header with options or extension headers.
    pub transport: usize,
    /// Octets of all headers up to the payload of TCP or UDP; of no interest for other protocols.
    pub header_len: usize,
    /// Octets of the whole packet.
    pub len: usize,
}

/// Why a datagram of an OFFLOAD context is to be dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum OffloadError {
    /// Shorter than an offload header and an IP header.
    Short,
    /// A flag that is not known, or both NEEDS_CSUM and DATA_VALID.
    Flags,
    /// A GSO type that is not known, or that does not fit the packet.
    GsoType,
    /// A field that must be 0 is not.
    NotZero,
    /// Segments without NEEDS_CSUM: each has a checksum of its own.
    NoChecksum,
    /// A segment size of 0.
    SegmentSize,
    /// The header length is not that of the packet's headers, or exceeds the packet.
    HeaderLength,
    /// The checksum does not start at the transport header, or the packet is a fragment.
    ChecksumStart,
    /// The checksum's field is not that of the packet's protocol, or lies beyond the packet.
    ChecksumOffset,
    /// The packet, or each of its segments, exceeds the tunnel's MTU.
    TooLong,
}

impl OffloadHeader {
    /// Decodes the header at the start of a datagram's payload; the packet follows at [`OFFLOAD_HEADER_LEN`]. Whether
    /// the two fit together says [`OffloadHeader::check`].
    ///
    /// # Errors
    ///
    /// [`OffloadError`] for every rule that can be seen without the packet.
    pub fn decode(payload: &[u8]) -> Result<Self, OffloadError> {
        if payload.len() < OFFLOAD_HEADER_LEN + SHORTEST_IP_HEADER {
            return Err(OffloadError::Short);
        }
        let (flags, gso_type) = (payload[0], payload[1]);
        let field = |at: usize| u16::from_be_bytes([payload[at], payload[at + 1]]);
        let checksum = match flags {
            0 => OffloadChecksum::Complete,
            DATA_VALID => OffloadChecksum::Verified,
            NEEDS_CSUM => OffloadChecksum::Partial { start: field(6), offset: field(8) },
            _ => return Err(OffloadError::Flags),
        };
        let is_partial = matches!(checksum, OffloadChecksum::Partial { .. });
        if !is_partial && (field(6) != 0 || field(8) != 0) {
            return Err(OffloadError::NotZero);
        }
        if gso_type == 0 {
            let is_zero = field(2) == 0 && field(4) == 0;
            return if is_zero { Ok(Self { checksum, segmentation: None }) } else { Err(OffloadError::NotZero) };
        }
        let kind = SegmentationKind::from_number(gso_type & !ECN).ok_or(OffloadError::GsoType)?;
        let ecn = gso_type & ECN != 0;
        if ecn && kind == SegmentationKind::Udp {
            return Err(OffloadError::GsoType);
        }
        if !is_partial {
            return Err(OffloadError::NoChecksum);
        }
        let (header_len, segment_size) = (field(2), field(4));
        if segment_size == 0 {
            return Err(OffloadError::SegmentSize);
        }
        Ok(Self { checksum, segmentation: Some(Segmentation { kind, ecn, header_len, segment_size }) })
    }

    /// The header as it stands before the packet.
    pub fn encode(&self) -> [u8; OFFLOAD_HEADER_LEN] {
        let (flags, start, offset) = match self.checksum {
            OffloadChecksum::Complete => (0, 0, 0),
            OffloadChecksum::Verified => (DATA_VALID, 0, 0),
            OffloadChecksum::Partial { start, offset } => (NEEDS_CSUM, start, offset),
        };
        let (gso_type, header_len, segment_size) = match self.segmentation {
            None => (0, 0, 0),
            Some(it) => (it.kind as u8 | if it.ecn { ECN } else { 0 }, it.header_len, it.segment_size),
        };
        let mut octets = [0; OFFLOAD_HEADER_LEN];
        (octets[0], octets[1]) = (flags, gso_type);
        for (field, value) in octets[2..].chunks_exact_mut(2).zip([header_len, segment_size, start, offset]) {
            field.copy_from_slice(&value.to_be_bytes());
        }
        octets
    }

    /// Whether the header describes this packet, and both fit a tunnel with this MTU, in octets.
    ///
    /// # Errors
    ///
    /// [`OffloadError`] for the first rule that is broken.
    pub fn check(&self, packet: &PacketShape, mtu: usize) -> Result<(), OffloadError> {
        if let OffloadChecksum::Partial { start, offset } = self.checksum {
            check_partial(packet, usize::from(start), usize::from(offset))?;
        }
        let mut longest = packet.len;
        if let Some(it) = self.segmentation {
            if !it.kind.fits(packet) {
                return Err(OffloadError::GsoType);
            }
            let header_len = usize::from(it.header_len);
            if header_len != packet.header_len || header_len > packet.len {
                return Err(OffloadError::HeaderLength);
            }
            longest = longest.min(header_len + usize::from(it.segment_size));
        }
        if longest > mtu || packet.len > LONGEST_PACKET { Err(OffloadError::TooLong) } else { Ok(()) }
    }

    /// The same without segmentation where a packet of `len` octets fits into one segment.
    #[must_use]
    pub fn normalized(self, len: usize) -> Self {
        Self { segmentation: self.segmentation.filter(|it| it.count(len) > 1), ..self }
    }
}

fn check_partial(packet: &PacketShape, start: usize, offset: usize) -> Result<(), OffloadError> {
    if packet.is_fragment || start != packet.transport {
        return Err(OffloadError::ChecksumStart);
    }
    let expected = match packet.protocol {
        TCP => 16,
        UDP => 6,
        _ => return Err(OffloadError::ChecksumOffset),
    };
    if offset != expected || start + offset + 2 > packet.len { Err(OffloadError::ChecksumOffset) } else { Ok(()) }
}

impl Segmentation {
    /// How many segments a packet of `len` octets, headers included, becomes; at least 1.
    pub fn count(&self, len: usize) -> usize {
        let payload = len.saturating_sub(usize::from(self.header_len));
        payload.div_ceil(usize::from(self.segment_size).max(1)).max(1)
    }
}

impl SegmentationKind {
    fn from_number(number: u8) -> Option<Self> {
        [Self::TcpV4, Self::TcpV6, Self::Udp].into_iter().find(|kind| *kind as u8 == number)
    }

    fn fits(self, packet: &PacketShape) -> bool {
        let fits = match self {
            Self::TcpV4 => packet.protocol == TCP && !packet.is_ipv6,
            Self::TcpV6 => packet.protocol == TCP && packet.is_ipv6,
            Self::Udp => packet.protocol == UDP,
        };
        fits && !packet.is_fragment
    }
}

impl fmt::Display for OffloadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Short => "shorter than its headers",
            Self::Flags => "flags that do not go together or are not known",
            Self::GsoType => "a GSO type that does not fit the packet or is not known",
            Self::NotZero => "a field that must be 0 is not",
            Self::NoChecksum => "segments without NEEDS_CSUM",
            Self::SegmentSize => "a segment size of 0",
            Self::HeaderLength => "not the length of the packet's headers",
            Self::ChecksumStart => "not where the transport header begins",
            Self::ChecksumOffset => "not where the protocol has its checksum",
            Self::TooLong => "longer than the tunnel allows",
        })
    }
}

impl core::error::Error for OffloadError {}

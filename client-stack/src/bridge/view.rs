use std::net::IpAddr;

use etherparse::{IpSlice, Ipv6ExtensionSlice};
use webtun_wire::PacketShape;

use crate::packet::{ICMP, ICMPV6, TCP, UDP};

/// Where things are in an IP packet whose lengths are consistent.
#[derive(Clone, Copy, Debug)]
pub(super) struct View {
    pub source: IpAddr,
    pub destination: IpAddr,
    /// Above IP and its extension headers; in a fragment but the first, what its first one begins with.
    pub protocol: u8,
    pub hop_limit: u8,
    pub is_fragment: bool,
    /// Whether a transport header begins at `transport`: not in a fragment but the first.
    pub has_transport: bool,
    /// Where the IP header and its extensions end, in octets.
    pub transport: usize,
    /// Octets of the packet; a frame may be padded behind it.
    pub len: usize,
}

impl View {
    /// `None` where the packet is malformed or its transport header, if it has one, is cut off.
    pub fn parse(octets: &[u8]) -> Option<Self> {
        let slice = IpSlice::from_slice(octets).ok()?;
        let (hop_limit, len, offset) = match &slice {
            IpSlice::Ipv4(it) => {
                let header = it.header();
                (header.ttl(), usize::from(header.total_len()), header.fragments_offset().value())
            }
            IpSlice::Ipv6(it) => {
                let fragment = it.extensions().clone().into_iter().find_map(|extension| match extension {
                    Ipv6ExtensionSlice::Fragment(head) => Some(head.fragment_offset().value()),
                    _ => None,
                });
                let header = it.header();
                (header.hop_limit(), 40 + usize::from(header.payload_length()), fragment.unwrap_or(0))
            }
        };
        let payload = slice.payload();
        let transport = len.checked_sub(payload.payload.len())?;
        let view = Self {
            source: slice.source_addr(),
            destination: slice.destination_addr(),
            protocol: payload.ip_number.0,
            hop_limit,
            is_fragment: slice.is_fragmenting_payload(),
            has_transport: offset == 0,
            transport,
            len,
        };
        (len <= octets.len() && view.is_whole(octets)).then_some(view)
    }

    fn is_whole(&self, octets: &[u8]) -> bool {
        let room = self.len - self.transport;
        match self.protocol {
            _ if !self.has_transport => true,
            TCP => {
                let header = octets.get(self.transport + 12).map_or(0, |it| usize::from(it >> 4) * 4);
                room >= 20 && (20..=room).contains(&header)
            }
            UDP => room >= 8,
            ICMP | ICMPV6 => room >= 8,
            _ => true,
        }
    }

    pub fn is_ipv4(&self) -> bool {
        self.source.is_ipv4()
    }

    /// Whether this is a transport header of the protocol.
    pub fn is(&self, protocol: u8) -> bool {
        self.has_transport && self.protocol == protocol
    }

    /// Whether this is a whole TCP segment.
    pub fn is_segment(&self) -> bool {
        self.is(TCP) && !self.is_fragment
    }

    /// Source and destination port of TCP or UDP; 0 where there are none.
    pub fn ports(&self, octets: &[u8]) -> (u16, u16) {
        match octets.get(self.transport..self.transport + 4) {
            Some(&[a, b, c, d]) if self.is(TCP) || self.is(UDP) => {
                (u16::from_be_bytes([a, b]), u16::from_be_bytes([c, d]))
            }
            _ => (0, 0),
        }
    }

    /// Octets up to the payload of TCP or UDP.
    pub fn header_len(&self, octets: &[u8]) -> usize {
        match self.protocol {
            TCP if self.has_transport => self.transport + usize::from(octets[self.transport + 12] >> 4) * 4,
            UDP if self.has_transport => self.transport + 8,
            _ => self.transport,
        }
    }

    /// Octets of IP options or extension headers, which an MSS does not count (RFC 6691).
    pub fn ip_options(&self) -> usize {
        self.transport - if self.is_ipv4() { 20 } else { 40 }
    }

    pub fn shape(&self, octets: &[u8]) -> PacketShape {
        PacketShape {
            is_ipv6: !self.is_ipv4(),
            protocol: self.protocol,
            is_fragment: self.is_fragment,
            transport: self.transport,
            header_len: self.header_len(octets),
            len: self.len,
        }
    }
}

//! One IP packet: octets, and what its validated headers say.
//!
//! [`Packet::parse`] is the only door: every offset in [`Headers`] lies within the packet, so that later stages rewrite
//! without looking again. IPv6 extension headers are skipped.

use bytes::BytesMut;
use core::net::IpAddr;
use etherparse::{
    Ipv4HeaderSlice, Ipv6FragmentHeaderSlice, Ipv6HeaderSlice, Ipv6RawExtHeaderSlice, TcpHeaderSlice, UdpHeaderSlice,
};

use super::DropReason;
use super::checksum::{self, Delta};

/// IP protocol numbers, as IANA assigns them.
pub(super) mod protocol {
    pub const ICMP: u8 = 1;
    pub const TCP: u8 = 6;
    pub const UDP: u8 = 17;
    pub const HOP_BY_HOP: u8 = 0;
    pub const ROUTING: u8 = 43;
    pub const FRAGMENT: u8 = 44;
    pub const ICMPV6: u8 = 58;
    pub const DESTINATION_OPTIONS: u8 = 60;
}

/// TCP control bits (RFC 9293 3.1).
pub(super) mod tcp_flag {
    pub const FIN: u8 = 0x01;
    pub const SYN: u8 = 0x02;
    pub const RST: u8 = 0x04;
}

/// A packet with validated headers.
#[derive(Debug)]
pub(super) struct Packet {
    pub octets: BytesMut,
    pub headers: Headers,
}

/// What a packet's headers say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Headers {
    pub source: IpAddr,
    pub destination: IpAddr,
    /// The protocol above IP, behind any extension header.
    pub protocol: u8,
    pub hop_limit: u8,
    /// Where the field lies that names the protocol; for an IPv6 fragment, the one that names the fragment header.
    pub next_header: usize,
    /// Where that protocol's header (or a fragment's piece of it) begins.
    pub payload: usize,
    pub fragment: Option<Fragment>,
    pub transport: Transport,
}

/// A packet's place in a fragmented datagram.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Fragment {
    pub id: u32,
    /// In octets.
    pub offset: usize,
    pub more: bool,
}

/// What lies above IP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Transport {
    Tcp {
        source: u16,
        destination: u16,
        flags: u8,
    },
    Udp {
        source: u16,
        destination: u16,
    },
    Echo {
        id: u16,
        request: bool,
    },
    /// An ICMP error that quotes a packet.
    IcmpError {
        kind: u8,
        code: u8,
    },
    /// Some other ICMP message.
    IcmpOther,
    /// A protocol without ports that we know of.
    Other,
    /// A piece of a datagram; its ports are known once it is whole.
    Piece,
}

/// Which endpoint of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Side {
    Source,
    Destination,
}

impl Packet {
    /// Takes a packet apart. It has to be exactly as long as its header says.
    pub(super) fn parse(octets: BytesMut) -> Result<Self, DropReason> {
        let headers = Headers::parse(&octets)?;
        Ok(Self { octets, headers })
    }

    /// Rewrites one endpoint, with the checksums that cover it.
    pub(super) fn set_endpoint(&mut self, side: Side, address: IpAddr, port: u16) {
        self.headers.rewrite(&mut self.octets, side, address, port);
    }

    /// Takes one hop off. The caller has seen that the limit exceeds 1.
    pub(super) fn decrement_hop_limit(&mut self) {
        let limit = self.headers.hop_limit.saturating_sub(1);
        self.headers.hop_limit = limit;
        if self.headers.source.is_ipv4() {
            let old = u16::from_be_bytes([self.octets[8], self.octets[9]]);
            self.octets[8] = limit;
            let mut delta = Delta::default();
            delta.word(old, u16::from_be_bytes([limit, self.octets[9]]));
            update(&mut self.octets, 10, delta);
        } else {
            self.octets[7] = limit;
        }
    }

    /// Whether this is IPv4 without "don't fragment".
    pub(super) fn may_fragment(&self) -> bool {
        self.headers.source.is_ipv4() && self.octets[6] & 0x40 == 0
    }

    /// Writes another identification into an IPv4 header.
    pub(super) fn set_ipv4_id(&mut self, id: u16) {
        let mut delta = Delta::default();
        delta.word(word(&self.octets, 4), id);
        self.octets[4..6].copy_from_slice(&id.to_be_bytes());
        update(&mut self.octets, 10, delta);
    }

    /// The ports (or the echo identifier, twice) of source and destination; zeros where there are none.
    pub(super) fn ports(&self) -> (u16, u16) {
        self.headers.ports()
    }
}

impl Headers {
    /// Parses a whole packet.
    pub(super) fn parse(octets: &[u8]) -> Result<Self, DropReason> {
        let (mut headers, total_len) = Self::parse_ip(octets)?;
        if total_len != octets.len() {
            return Err(DropReason::Truncated);
        }
        if headers.source.is_ipv4() && checksum::checksum(&octets[..headers.ipv4_header_len(octets)]) != 0 {
            return Err(DropReason::Checksum);
        }
        headers.transport = match headers.fragment {
            Some(_) => Transport::Piece,
            None => parse_transport(headers.protocol, &octets[headers.payload..])?,
        };
        Ok(headers)
    }

    /// Parses a packet that an ICMP error quotes: cut anywhere behind the ports, and not to be trusted in its lengths.
    pub(super) fn parse_quoted(octets: &[u8]) -> Result<Self, DropReason> {
        let (mut headers, _) = Self::parse_ip(octets)?;
        if headers.fragment.is_some_and(|f| f.offset != 0) {
            return Err(DropReason::IcmpType);
        }
        headers.transport = quoted_transport(headers.protocol, &octets[headers.payload..])?;
        Ok(headers)
    }

    fn parse_ip(octets: &[u8]) -> Result<(Self, usize), DropReason> {
        match octets.first().map(|o| o >> 4) {
            Some(4) => Self::parse_ipv4(octets),
            Some(6) => Self::parse_ipv6(octets),
            Some(_) => Err(DropReason::Version),
            None => Err(DropReason::Truncated),
        }
    }

    fn parse_ipv4(octets: &[u8]) -> Result<(Self, usize), DropReason> {
        let header = Ipv4HeaderSlice::from_slice(octets).map_err(|_| DropReason::Truncated)?;
        if has_source_route(header.options()) {
            return Err(DropReason::SourceRoute);
        }
        let header_len = header.slice().len();
        let total_len = usize::from(header.total_len());
        if total_len < header_len {
            return Err(DropReason::Truncated);
        }
        let fragment = header.is_fragmenting_payload().then(|| Fragment {
            id: u32::from(header.identification()),
            offset: usize::from(header.fragments_offset().value()) * 8,
            more: header.more_fragments(),
        });
        let headers = Self {
            source: header.source_addr().into(),
            destination: header.destination_addr().into(),
            protocol: header.protocol().0,
            hop_limit: header.ttl(),
            next_header: 9,
            payload: header_len,
            fragment,
            transport: Transport::Other,
        };
        Ok((headers, total_len))
    }

    fn parse_ipv6(octets: &[u8]) -> Result<(Self, usize), DropReason> {
        let header = Ipv6HeaderSlice::from_slice(octets).map_err(|_| DropReason::Truncated)?;
        let chain = Chain::walk(octets, header.next_header().0)?;
        let headers = Self {
            source: header.source_addr().into(),
            destination: header.destination_addr().into(),
            protocol: chain.protocol,
            hop_limit: header.hop_limit(),
            next_header: chain.next_header,
            payload: chain.payload,
            fragment: chain.fragment,
            transport: Transport::Other,
        };
        Ok((headers, 40 + usize::from(header.payload_length())))
    }

    /// The ports (or the echo identifier, twice) of source and destination; zeros where there are none.
    pub(super) fn ports(&self) -> (u16, u16) {
        match self.transport {
            Transport::Tcp { source, destination, .. } | Transport::Udp { source, destination } => {
                (source, destination)
            }
            Transport::Echo { id, .. } => (id, id),
            _ => (0, 0),
        }
    }

    /// Rewrites one endpoint of the packet that these headers describe, with every checksum that is present and covers
    /// it. `octets` may be cut (a quotation); the address is of the packet's family.
    pub(super) fn rewrite(&mut self, octets: &mut [u8], side: Side, address: IpAddr, port: u16) {
        let mut addresses = Delta::default();
        let old = match side {
            Side::Source => core::mem::replace(&mut self.source, address),
            Side::Destination => core::mem::replace(&mut self.destination, address),
        };
        addresses.address(old, address);
        write_address(octets, side, address);
        if address.is_ipv4() {
            update(octets, 10, addresses);
        }
        let mut ports = Delta::default();
        if let Some((at, old_port)) = self.port_field(side) {
            ports.word(old_port, port);
            octets[at..at + 2].copy_from_slice(&port.to_be_bytes());
            self.set_port(side, port);
        }
        self.update_transport_checksum(octets, addresses, ports);
    }

    fn port_field(&self, side: Side) -> Option<(usize, u16)> {
        match (self.transport, side) {
            (Transport::Tcp { source, .. } | Transport::Udp { source, .. }, Side::Source) => {
                Some((self.payload, source))
            }
            (Transport::Tcp { destination, .. } | Transport::Udp { destination, .. }, Side::Destination) => {
                Some((self.payload + 2, destination))
            }
            (Transport::Echo { id, .. }, _) => Some((self.payload + 4, id)),
            _ => None,
        }
    }

    fn set_port(&mut self, side: Side, port: u16) {
        match (&mut self.transport, side) {
            (Transport::Tcp { source, .. } | Transport::Udp { source, .. }, Side::Source) => *source = port,
            (Transport::Tcp { destination, .. } | Transport::Udp { destination, .. }, Side::Destination) => {
                *destination = port;
            }
            (Transport::Echo { id, .. }, _) => *id = port,
            _ => {}
        }
    }

    /// ICMP for IPv4 is the one protocol without a pseudo-header: addresses do not count there.
    fn update_transport_checksum(&self, octets: &mut [u8], addresses: Delta, ports: Delta) {
        match (self.transport, self.protocol) {
            (Transport::Tcp { .. }, _) => update(octets, self.payload + 16, addresses + ports),
            (Transport::Udp { .. }, _) => update_udp(octets, self.payload + 6, addresses + ports),
            (_, protocol::ICMPV6) => update(octets, self.payload + 2, addresses + ports),
            (Transport::Echo { .. }, _) => update(octets, self.payload + 2, ports),
            _ => {}
        }
    }

    fn ipv4_header_len(&self, octets: &[u8]) -> usize {
        usize::from(octets[0] & 0x0F) * 4
    }
}

fn word(octets: &[u8], at: usize) -> u16 {
    u16::from_be_bytes([octets[at], octets[at + 1]])
}

/// Loose and strict source route (RFC 791), in any position among the options.
fn has_source_route(mut options: &[u8]) -> bool {
    while let Some((&kind, rest)) = options.split_first() {
        match kind {
            0 => return false,
            1 => options = rest,
            131 | 137 => return true,
            _ => match rest.first() {
                Some(&len) if len >= 2 => options = options.get(usize::from(len)..).unwrap_or_default(),
                _ => return false,
            },
        }
    }
    false
}

/// What a chain of IPv6 extension headers leads to.
struct Chain {
    protocol: u8,
    next_header: usize,
    payload: usize,
    fragment: Option<Fragment>,
}

impl Chain {
    /// More headers than any honest sender puts into a packet; what is longer is refused.
    const MAX_HEADERS: usize = 8;

    /// Follows the chain up to the first header that is none of hop-by-hop, routing, destination options and (atomic)
    /// fragment. What follows a true fragment header is a piece of data, whatever it calls itself.
    fn walk(octets: &[u8], first: u8) -> Result<Self, DropReason> {
        let mut chain = Self { protocol: first, next_header: 6, payload: 40, fragment: None };
        for _ in 0..Self::MAX_HEADERS {
            let rest = octets.get(chain.payload..).unwrap_or_default();
            let len = match chain.protocol {
                protocol::HOP_BY_HOP if chain.payload != 40 => return Err(DropReason::Protocol),
                protocol::HOP_BY_HOP | protocol::ROUTING | protocol::DESTINATION_OPTIONS => {
                    let header = Ipv6RawExtHeaderSlice::from_slice(rest).map_err(|_| DropReason::Truncated)?;
                    if chain.protocol == protocol::ROUTING && header.slice().get(2) == Some(&0) {
                        return Err(DropReason::SourceRoute);
                    }
                    chain.protocol = header.next_header().0;
                    header.slice().len()
                }
                protocol::FRAGMENT => {
                    let header = Ipv6FragmentHeaderSlice::from_slice(rest).map_err(|_| DropReason::Truncated)?;
                    chain.protocol = header.next_header().0;
                    if header.is_fragmenting_payload() {
                        chain.fragment = Some(Fragment {
                            id: header.identification(),
                            offset: usize::from(header.fragment_offset().value()) * 8,
                            more: header.more_fragments(),
                        });
                        chain.payload += 8;
                        return Ok(chain);
                    }
                    8
                }
                _ => return Ok(chain),
            };
            chain.next_header = chain.payload;
            chain.payload += len;
        }
        Err(DropReason::Protocol)
    }
}

fn parse_transport(number: u8, segment: &[u8]) -> Result<Transport, DropReason> {
    match number {
        protocol::TCP => {
            let header = TcpHeaderSlice::from_slice(segment).map_err(|_| DropReason::Truncated)?;
            let (source, destination) = (header.source_port(), header.destination_port());
            nonzero_ports(source, destination)?;
            Ok(Transport::Tcp { source, destination, flags: segment[13] })
        }
        protocol::UDP => {
            let header = UdpHeaderSlice::from_slice(segment).map_err(|_| DropReason::Truncated)?;
            if !(8..=segment.len()).contains(&usize::from(header.length())) {
                return Err(DropReason::Truncated);
            }
            let (source, destination) = (header.source_port(), header.destination_port());
            nonzero_ports(source, destination)?;
            Ok(Transport::Udp { source, destination })
        }
        protocol::ICMP | protocol::ICMPV6 if segment.len() < 8 => Err(DropReason::Truncated),
        protocol::ICMP | protocol::ICMPV6 => Ok(icmp(number, segment)),
        _ => Ok(Transport::Other),
    }
}

fn nonzero_ports(source: u16, destination: u16) -> Result<(), DropReason> {
    if source == 0 || destination == 0 { Err(DropReason::PortZero) } else { Ok(()) }
}

/// The first 8 octets of an ICMP message (RFC 792, RFC 4443).
fn icmp(number: u8, message: &[u8]) -> Transport {
    let (kind, code) = (message[0], message[1]);
    match (number, kind) {
        (protocol::ICMP, 8) | (protocol::ICMPV6, 128) => Transport::Echo { id: word(message, 4), request: true },
        (protocol::ICMP, 0) | (protocol::ICMPV6, 129) => Transport::Echo { id: word(message, 4), request: false },
        (protocol::ICMP, 3 | 11 | 12) | (protocol::ICMPV6, 1..=4) => Transport::IcmpError { kind, code },
        _ => Transport::IcmpOther,
    }
}

/// A quotation is promised 8 octets of the transport header (RFC 792), enough for ports and identifiers.
fn quoted_transport(number: u8, segment: &[u8]) -> Result<Transport, DropReason> {
    if segment.len() < 8 {
        return Err(DropReason::Truncated);
    }
    let (source, destination) = (word(segment, 0), word(segment, 2));
    Ok(match number {
        protocol::TCP => Transport::Tcp { source, destination, flags: segment.get(13).copied().unwrap_or(0) },
        protocol::UDP => Transport::Udp { source, destination },
        protocol::ICMP | protocol::ICMPV6 => icmp(number, segment),
        _ => Transport::Other,
    })
}

fn write_address(octets: &mut [u8], side: Side, address: IpAddr) {
    match (address, side) {
        (IpAddr::V4(v4), Side::Source) => octets[12..16].copy_from_slice(&v4.octets()),
        (IpAddr::V4(v4), Side::Destination) => octets[16..20].copy_from_slice(&v4.octets()),
        (IpAddr::V6(v6), Side::Source) => octets[8..24].copy_from_slice(&v6.octets()),
        (IpAddr::V6(v6), Side::Destination) => octets[24..40].copy_from_slice(&v6.octets()),
    }
}

/// Applies a difference to the checksum at `at`, where a quotation reaches that far.
fn update(octets: &mut [u8], at: usize, delta: Delta) {
    if let Some(field) = octets.get_mut(at..at + 2) {
        let new = delta.apply(u16::from_be_bytes([field[0], field[1]]));
        field.copy_from_slice(&new.to_be_bytes());
    }
}

/// As [`update`]; zero means "no checksum" both before and after (RFC 768).
fn update_udp(octets: &mut [u8], at: usize, delta: Delta) {
    if let Some(field) = octets.get_mut(at..at + 2) {
        let old = u16::from_be_bytes([field[0], field[1]]);
        if old != 0 {
            let new = delta.apply(old);
            field.copy_from_slice(&(if new == 0 { 0xFFFF } else { new }).to_be_bytes());
        }
    }
}

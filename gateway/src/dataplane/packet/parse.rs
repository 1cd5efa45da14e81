//! From octets to [`Headers`], with etherparse's slices: what they accept is never looked at beyond its end.

use etherparse::{
    Ipv4HeaderSlice, Ipv6FragmentHeaderSlice, Ipv6HeaderSlice, Ipv6RawExtHeaderSlice, TcpHeaderSlice, UdpHeaderSlice,
};

use super::{Atomic, Fragment, Headers, Transport, options, protocol, tcp_flag, word};
use crate::dataplane::{DropReason, checksum};

impl Headers {
    /// Parses a whole packet.
    pub(in crate::dataplane) fn parse(octets: &[u8]) -> Result<Self, DropReason> {
        let (mut headers, total_len) = Self::parse_ip(octets)?;
        if total_len != octets.len() {
            return Err(DropReason::Truncated);
        }
        if headers.source == headers.destination {
            return Err(DropReason::Land);
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
    pub(in crate::dataplane) fn parse_quoted(octets: &[u8]) -> Result<Self, DropReason> {
        let (mut headers, _) = Self::parse_ip(octets)?;
        if headers.fragment.is_some_and(|f| f.offset != 0) {
            return Err(DropReason::IcmpType);
        }
        headers.transport = quoted_transport(headers.protocol, &octets[headers.payload..])?;
        Ok(headers)
    }

    /// Where the IPv6 header chain ends that begins with a header of this type at the start of `octets`: what follows it, and
    /// at which offset. `None` where it is cut.
    pub(in crate::dataplane) fn end_of_chain(first: u8, octets: &[u8]) -> Option<(u8, usize)> {
        let (mut number, mut at) = (first, 0);
        while matches!(number, protocol::HOP_BY_HOP | protocol::ROUTING | protocol::DESTINATION_OPTIONS) {
            let rest = octets.get(at..)?;
            let header = Ipv6RawExtHeaderSlice::from_slice(rest).ok()?;
            number = header.next_header().0;
            at += header.slice().len();
        }
        Some((number, at))
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
        if header.slice()[6] & 0x80 != 0 {
            return Err(DropReason::ReservedBit);
        }
        options::check_ipv4(header.options())?;
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
            atomic: None,
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
            atomic: chain.atomic,
            transport: Transport::Other,
        };
        Ok((headers, 40 + usize::from(header.payload_length())))
    }

    fn ipv4_header_len(&self, octets: &[u8]) -> usize {
        usize::from(octets[0] & 0x0F) * 4
    }
}

/// What a chain of IPv6 extension headers leads to.
struct Chain {
    protocol: u8,
    next_header: usize,
    payload: usize,
    fragment: Option<Fragment>,
    atomic: Option<Atomic>,
}

impl Chain {
    /// More headers than any honest sender puts into a packet; what is longer is refused.
    const MAX_HEADERS: usize = 8;

    /// Follows the chain up to the first header that is none of hop-by-hop, routing, destination options and (atomic)
    /// fragment, of which there is one at most. What follows a true fragment header is a piece of data, whatever it calls
    /// itself.
    fn walk(octets: &[u8], first: u8) -> Result<Self, DropReason> {
        let mut chain = Self { protocol: first, next_header: 6, payload: 40, fragment: None, atomic: None };
        for _ in 0..Self::MAX_HEADERS {
            let rest = octets.get(chain.payload..).unwrap_or_default();
            let len = match chain.protocol {
                protocol::HOP_BY_HOP if chain.payload != 40 => return Err(DropReason::Protocol),
                protocol::HOP_BY_HOP | protocol::ROUTING | protocol::DESTINATION_OPTIONS => {
                    let header = Ipv6RawExtHeaderSlice::from_slice(rest).map_err(|_| DropReason::Truncated)?;
                    if chain.protocol == protocol::ROUTING && header.slice().get(2) == Some(&0) {
                        return Err(DropReason::SourceRoute);
                    }
                    if chain.protocol != protocol::ROUTING {
                        options::check_ipv6(&header.slice()[2..])?;
                    }
                    chain.protocol = header.next_header().0;
                    header.slice().len()
                }
                protocol::FRAGMENT if chain.atomic.is_some() => return Err(DropReason::Protocol),
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
                    chain.atomic = Some(Atomic { named_at: chain.next_header, at: chain.payload });
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
            check_flags(segment[13])?;
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

/// A connection begins with SYN alone, and everything after it but a RST acknowledges (RFC 9293 section 3.10.7): what is
/// otherwise comes from scanners that want to tell systems apart.
fn check_flags(flags: u8) -> Result<(), DropReason> {
    use tcp_flag::{ACK, FIN, RST, SYN};
    match (flags & SYN != 0, flags & RST != 0, flags & FIN != 0, flags & ACK != 0) {
        (true, false, false, _) | (false, true, false, _) | (false, false, _, true) => Ok(()),
        _ => Err(DropReason::TcpFlags),
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dataplane::packet::Packet;
    use bytes::BytesMut;

    fn parse(octets: &[u8]) -> Result<Headers, DropReason> {
        Packet::parse(BytesMut::from(octets)).map(|packet| packet.headers)
    }

    /// IPv6 with a chain of extension headers before a UDP datagram; each is given by its type and its octets behind
    /// the next-header field.
    fn chain(extensions: &[(u8, &[u8])]) -> Vec<u8> {
        let udp = [0x0F, 0xA0, 0x13, 0x88, 0, 9, 0, 0, 7];
        let numbers: Vec<u8> = extensions.iter().map(|(number, _)| *number).chain([protocol::UDP]).collect();
        let mut payload = Vec::new();
        for ((_, rest), next) in extensions.iter().zip(&numbers[1..]) {
            payload.push(*next);
            payload.extend(*rest);
        }
        payload.extend(udp);
        let mut packet = vec![0x60, 0, 0, 0, 0, payload.len() as u8, numbers[0], 64];
        packet.extend([0x20; 16]);
        packet.extend([0x21; 16]);
        packet.extend(payload);
        packet
    }

    const OPTIONS: &[u8] = &[0, 1, 4, 0, 0, 0, 0];
    const ATOMIC: &[u8] = &[0, 0, 0, 0, 0, 0, 9];

    #[test]
    fn extension_headers_are_skipped() {
        for (extensions, payload, next_header) in [
            (vec![], 40, 6),
            (vec![(0, OPTIONS)], 48, 40),
            (vec![(0, OPTIONS), (60, OPTIONS), (44, ATOMIC), (60, OPTIONS)], 64, 56),
            (vec![(43, &[0, 4, 0, 0, 0, 0, 0][..])], 48, 40),
        ] {
            let headers = parse(&chain(&extensions)).expect("a packet");
            assert_eq!((headers.payload, headers.next_header), (payload, next_header));
            assert_eq!(headers.transport, Transport::Udp { source: 4000, destination: 5000 });
        }
    }

    #[test]
    fn chains_that_no_one_sends_are_refused() {
        for (extensions, reason) in [
            (vec![(43, &[0, 0, 0, 0, 0, 0, 0][..])], DropReason::SourceRoute),
            (vec![(60, OPTIONS), (0, OPTIONS)], DropReason::Protocol),
            (vec![(60, OPTIONS); 9], DropReason::Protocol),
            (vec![(60, &[200, 1, 4, 0, 0, 0, 0][..])], DropReason::Truncated),
            (vec![(60, &[0, 1, 5, 0, 0, 0, 0][..])], DropReason::Options),
        ] {
            assert_eq!(parse(&chain(&extensions)), Err(reason));
        }
    }

    #[test]
    fn what_follows_a_fragment_header_is_data() {
        // The piece looks like a routing header of type 0, which it is not.
        let packet = chain(&[(44, &[0, 0, 9, 0, 0, 0, 5]), (43, &[0, 0, 0, 0, 0, 0, 0])]);
        let headers = parse(&packet).expect("a fragment");
        assert_eq!(headers.fragment, Some(Fragment { id: 5, offset: 8, more: true }));
        assert_eq!((headers.payload, headers.next_header, headers.transport), (48, 6, Transport::Piece));
    }

    fn ipv4(options: &[u8]) -> Vec<u8> {
        let len = 20 + options.len();
        let mut packet = vec![0x40 | (len / 4) as u8, 0, 0, (len + 8) as u8, 0, 0, 0, 0, 64, 17, 0, 0];
        packet.extend([10, 0, 0, 1, 10, 0, 0, 2]);
        packet.extend(options);
        let sum = checksum::checksum(&packet);
        packet[10..12].copy_from_slice(&sum.to_be_bytes());
        packet.extend([0x0F, 0xA0, 0x13, 0x88, 0, 8, 0, 0]);
        packet
    }

    #[test]
    fn ipv4_headers_are_checked() {
        assert!(parse(&ipv4(&[])).is_ok());
        assert_eq!(parse(&ipv4(&[7, 3, 4, 0])).map(|headers| headers.payload), Ok(24));
        assert_eq!(parse(&ipv4(&[1, 131, 3, 4])), Err(DropReason::SourceRoute));
        assert_eq!(parse(&ipv4(&[7, 3, 4, 137])).map(|headers| headers.payload), Err(DropReason::SourceRoute));
        assert_eq!(parse(&ipv4(&[7, 1, 4, 0])), Err(DropReason::Options));
        let change = |at: usize, value: u8| {
            let mut packet = ipv4(&[]);
            packet[at] = value;
            parse(&packet)
        };
        assert_eq!(change(0, 0x55), Err(DropReason::Version));
        assert_eq!(change(3, 29), Err(DropReason::Truncated));
        assert_eq!(change(8, 63), Err(DropReason::Checksum));
        assert_eq!(change(6, 0x80), Err(DropReason::ReservedBit));
        assert_eq!(change(19, 1), Err(DropReason::Land));
        assert_eq!(
            change(21, 0).map(|headers| headers.transport),
            Ok(Transport::Udp { source: 3840, destination: 5000 })
        );
        assert_eq!(change(25, 7), Err(DropReason::Truncated));
        assert_eq!(change(25, 9), Err(DropReason::Truncated));
        assert_eq!(parse(&[]), Err(DropReason::Truncated));
    }

    #[test]
    fn control_bits_make_sense_or_the_segment_is_refused() {
        // In the order FIN 1, SYN 2, RST 4, PSH 8, ACK 16, URG 32, ECE 64, CWR 128.
        for good in [0x02, 0xC2, 0x12, 0x10, 0x18, 0x11, 0x19, 0x30, 0x04, 0x14] {
            assert_eq!(check_flags(good), Ok(()), "{good:#x}");
        }
        for bad in [0x00, 0x01, 0x03, 0x13, 0x06, 0x16, 0x05, 0x15, 0x08, 0x20, 0x29, 0xFF] {
            assert_eq!(check_flags(bad), Err(DropReason::TcpFlags), "{bad:#x}");
        }
    }

    #[test]
    fn port_zero_is_refused() {
        let mut packet = ipv4(&[]);
        packet[20..22].fill(0);
        assert_eq!(parse(&packet), Err(DropReason::PortZero));
    }

    #[test]
    fn a_quotation_needs_its_ports_only() {
        let packet = ipv4(&[]);
        assert!(parse(&packet[..28 - 1]).is_err());
        let quoted = Headers::parse_quoted(&packet[..28]).expect("a quotation");
        assert_eq!(quoted.ports(), (4000, 5000));
        assert_eq!(Headers::parse_quoted(&packet[..27]), Err(DropReason::Truncated));
    }
}

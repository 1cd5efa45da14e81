//! ICMP (RFC 792) and ICMPv6 (RFC 4443): what we say, what we hear, and whom it concerns.

use std::net::{IpAddr, SocketAddr};

use bytes::BytesMut;
use etherparse::{IcmpEchoHeader, Icmpv4Slice, Icmpv4Type, Icmpv6Slice, Icmpv6Type, Ipv4HeaderSlice, Ipv6HeaderSlice};
use etherparse::{icmpv4, icmpv6};

use crate::packet::{self, IpPacket};
use crate::{ConnectError, PingError, UdpError, Unreachable};

/// One ICMP message, reduced to what a host acts on.
pub(crate) enum Message<'a> {
    EchoRequest(IcmpEchoHeader, &'a [u8]),
    EchoReply(IcmpEchoHeader, &'a [u8]),
    /// A report about a packet of ours.
    Error(Report),
    Other,
}

/// A report about a packet that we sent.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Report {
    pub problem: Problem,
    pub protocol: u8,
    /// As in the reported packet: ours. For an echo request the port is the identifier.
    pub local: SocketAddr,
    /// As in the reported packet. For an echo request the port is the sequence number.
    pub remote: SocketAddr,
}

/// What a packet met.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Problem {
    Port,
    Host,
    Net,
    Prohibited,
    HopLimit,
    /// The next hop forwards so many octets at most; 0 where it does not say.
    TooBig(u32),
    /// From FLOW_DENIED: no mapping, or a limit.
    Limit,
}

impl Problem {
    /// For a connection that is being opened; `None` where it goes on, in smaller packets.
    pub const fn connect_error(self) -> Option<ConnectError> {
        match self {
            Self::Port => Some(ConnectError::Refused),
            Self::Host | Self::HopLimit => Some(ConnectError::HostUnreachable),
            Self::Net => Some(ConnectError::NetUnreachable),
            Self::Prohibited => Some(ConnectError::Denied),
            Self::Limit => Some(ConnectError::LimitReached),
            Self::TooBig(_) => None,
        }
    }

    pub const fn udp_error(self) -> UdpError {
        match self {
            Self::Port => UdpError::Refused,
            Self::Host | Self::HopLimit => UdpError::HostUnreachable,
            Self::Net => UdpError::NetUnreachable,
            Self::Prohibited => UdpError::Denied,
            Self::TooBig(_) => UdpError::TooLong,
            Self::Limit => UdpError::LimitReached,
        }
    }

    pub const fn ping_error(self) -> PingError {
        match self {
            Self::Port | Self::Host => PingError::HostUnreachable,
            Self::Net => PingError::NetUnreachable,
            Self::Prohibited => PingError::Denied,
            Self::HopLimit => PingError::HopLimitExceeded,
            Self::TooBig(_) => PingError::TooLong,
            Self::Limit => PingError::LimitReached,
        }
    }
}

/// Reads the ICMP message of a packet; `None` where it is malformed or its checksum is wrong.
pub(crate) fn parse<'a>(packet: &IpPacket<'a>) -> Option<Message<'a>> {
    if !packet::icmp_checksum_valid(packet) {
        return None;
    }
    if packet.destination.is_ipv4() { parse_v4(packet.payload) } else { parse_v6(packet.payload) }
}

fn parse_v4(message: &[u8]) -> Option<Message<'_>> {
    let slice = Icmpv4Slice::from_slice(message).ok()?;
    let problem = match slice.icmp_type() {
        Icmpv4Type::EchoRequest(echo) => return Some(Message::EchoRequest(echo, slice.payload())),
        Icmpv4Type::EchoReply(echo) => return Some(Message::EchoReply(echo, slice.payload())),
        Icmpv4Type::DestinationUnreachable(header) => {
            use icmpv4::DestUnreachableHeader as Code;
            match header {
                Code::Port | Code::Protocol => Problem::Port,
                Code::FragmentationNeeded { next_hop_mtu } => Problem::TooBig(next_hop_mtu.into()),
                Code::NetworkProhibited | Code::HostProhibited | Code::FilterProhibited => Problem::Prohibited,
                Code::Network | Code::NetworkUnknown | Code::TosNetwork => Problem::Net,
                _ => Problem::Host,
            }
        }
        Icmpv4Type::TimeExceeded(_) => Problem::HopLimit,
        _ => return Some(Message::Other),
    };
    let reported = slice.payload();
    let header = Ipv4HeaderSlice::from_slice(reported).ok()?;
    if header.is_fragmenting_payload() && header.fragments_offset().value() != 0 {
        return Some(Message::Other);
    }
    let (source, destination) = (header.source_addr().into(), header.destination_addr().into());
    report(problem, header.protocol().0, source, destination, reported.get(header.slice().len()..)?)
}

fn parse_v6(message: &[u8]) -> Option<Message<'_>> {
    let slice = Icmpv6Slice::from_slice(message).ok()?;
    let problem = match slice.icmp_type() {
        Icmpv6Type::EchoRequest(echo) => return Some(Message::EchoRequest(echo, slice.payload())),
        Icmpv6Type::EchoReply(echo) => return Some(Message::EchoReply(echo, slice.payload())),
        Icmpv6Type::DestinationUnreachable(code) => {
            use icmpv6::DestUnreachableCode as Code;
            match code {
                Code::Port => Problem::Port,
                Code::NoRoute | Code::BeyondScope => Problem::Net,
                Code::Address => Problem::Host,
                _ => Problem::Prohibited,
            }
        }
        Icmpv6Type::PacketTooBig { mtu } => Problem::TooBig(mtu),
        Icmpv6Type::TimeExceeded(_) => Problem::HopLimit,
        _ => return Some(Message::Other),
    };
    let reported = slice.payload();
    let header = Ipv6HeaderSlice::from_slice(reported).ok()?;
    let (source, destination) = (header.source_addr().into(), header.destination_addr().into());
    report(problem, header.next_header().0, source, destination, reported.get(header.slice().len()..)?)
}

/// Of the reported packet's transport header only the first 8 octets are certain to be there.
fn report(
    problem: Problem,
    protocol: u8,
    source: IpAddr,
    destination: IpAddr,
    start: &[u8],
) -> Option<Message<'static>> {
    let number = |at: usize| Some(u16::from_be_bytes(start.get(at..at + 2)?.try_into().ok()?));
    let (local, remote) = match protocol {
        packet::TCP | packet::UDP => (number(0)?, number(2)?),
        packet::ICMP | packet::ICMPV6 => (number(4)?, number(6)?),
        _ => return Some(Message::Other),
    };
    let (local, remote) = (SocketAddr::new(source, local), SocketAddr::new(destination, remote));
    Some(Message::Error(Report { problem, protocol, local, remote }))
}

/// An echo request; `None` where the payload does not fit.
pub(crate) fn echo_request(
    source: IpAddr,
    target: IpAddr,
    hop_limit: u8,
    echo: IcmpEchoHeader,
    payload: &[u8],
) -> Option<BytesMut> {
    if target.is_ipv4() {
        packet::build_icmpv4(source, target, hop_limit, Icmpv4Type::EchoRequest(echo), payload)
    } else {
        packet::build_icmpv6(source, target, hop_limit, Icmpv6Type::EchoRequest(echo), payload)
    }
}

/// An echo request as a program has written it: its identifier and its checksum are ours.
pub(crate) fn request_of_program(
    source: IpAddr,
    target: IpAddr,
    hop_limit: u8,
    identifier: u16,
    message: &[u8],
) -> Result<BytesMut, UdpError> {
    let (header, payload) = message.split_first_chunk::<8>().ok_or(UdpError::NotAnEchoRequest)?;
    let kind = if target.is_ipv4() { icmpv4::TYPE_ECHO_REQUEST } else { icmpv6::TYPE_ECHO_REQUEST };
    let [_, _, _, _, _, _, seq @ ..] = *header;
    if header[..2] != [kind, 0] {
        return Err(UdpError::NotAnEchoRequest);
    }
    let echo = IcmpEchoHeader { id: identifier, seq: u16::from_be_bytes(seq) };
    echo_request(source, target, hop_limit, echo, payload).ok_or(UdpError::TooLong)
}

/// The answer to an echo request.
pub(crate) fn echo_reply(request: &IpPacket<'_>, echo: IcmpEchoHeader, payload: &[u8]) -> Option<BytesMut> {
    let (source, target) = (request.destination, request.source);
    if target.is_ipv4() {
        packet::build_icmpv4(source, target, packet::HOP_LIMIT, Icmpv4Type::EchoReply(echo), payload)
    } else {
        packet::build_icmpv6(source, target, packet::HOP_LIMIT, Icmpv6Type::EchoReply(echo), payload)
    }
}

/// Destination unreachable about a packet that has come, with as much of it as RFC 1812 section 4.3.2.3 (576 octets in all)
/// and RFC 4443 section 2.4 (1,280 octets) allow.
pub(crate) fn unreachable(why: Unreachable, offending: &[u8], about: &IpPacket<'_>) -> Option<BytesMut> {
    let (source, target) = (about.destination, about.source);
    if target.is_ipv4() {
        use icmpv4::DestUnreachableHeader as Code;
        let code = match why {
            Unreachable::Port => Code::Port,
            Unreachable::Host => Code::Host,
            Unreachable::Net => Code::Network,
            Unreachable::Prohibited => Code::FilterProhibited,
        };
        let quote = &offending[..offending.len().min(576 - 28)];
        packet::build_icmpv4(source, target, packet::HOP_LIMIT, Icmpv4Type::DestinationUnreachable(code), quote)
    } else {
        use icmpv6::DestUnreachableCode as Code;
        let code = match why {
            Unreachable::Port => Code::Port,
            Unreachable::Host => Code::Address,
            Unreachable::Net => Code::NoRoute,
            Unreachable::Prohibited => Code::Prohibited,
        };
        let quote = &offending[..offending.len().min(1280 - 48)];
        packet::build_icmpv6(source, target, packet::HOP_LIMIT, Icmpv6Type::DestinationUnreachable(code), quote)
    }
}

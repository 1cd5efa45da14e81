//! NAT64 (RFC 6146): packets change between IPv6 and IPv4 without state (RFC 7915), before the NAT on the way out and
//! behind it on the way back.
//!
//! In between, a session's IPv6 address goes by an IPv4 address of its own that no packet outside of the gateway ever
//! carries. So the NAT's table, its port blocks, timers, filters and hairpinning serve NAT64 as they are, and endpoints
//! of the session's IPv4 and IPv6 addresses never meet in one mapping.
//!
//! Packets are whole: fragments have been put together before, and what no longer fits is cut behind.

use bytes::{Buf, BufMut, BytesMut};
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use webtun_wire::MAX_PACKET_LEN;

use super::nat64_prefix::Pref64;
use crate::dataplane::checksum::{self, Delta};
use crate::dataplane::packet::{Fragment, Headers, Packet, Transport, protocol, update, update_udp};
use crate::dataplane::{DropReason, IPV6_MIN_MTU};

pub(super) const IPV4_HEADER: usize = 20;
pub(super) const IPV6_HEADER: usize = 40;
const FRAGMENT_HEADER: usize = 8;
/// IPv4 packets up to this length may be cut although they come from an IPv6 host (RFC 7915 section 5.1).
const MAY_BE_CUT: usize = IPV6_MIN_MTU as usize - IPV4_HEADER;
/// By how much a packet grows when it becomes IPv6.
pub(in crate::dataplane) const GROWTH: u16 = 20;

/// Translates for one session.
#[derive(Clone, Copy, Debug)]
pub(in crate::dataplane) struct Nat64 {
    pub prefix: Pref64,
    /// The session's address.
    pub inner: Ipv6Addr,
    /// What stands for it on the IPv4 side.
    pub alias: Ipv4Addr,
    /// The gateway's own address: for routers whose addresses the prefix may not stand for.
    pub host: Ipv6Addr,
}

/// What goes into a new IP header.
pub(super) struct NewHeader<A> {
    pub source: A,
    pub destination: A,
    pub traffic_class: u8,
    pub hop_limit: u8,
    pub protocol: u8,
    /// Octets behind the header (and behind the fragment header).
    pub len: usize,
    pub fragment: Option<Fragment>,
    /// Meaningful for IPv4 alone.
    pub may_fragment: bool,
}

impl Nat64 {
    /// Turns a packet of the session's into IPv4, in place. Where that fails it stays as it was.
    pub(in crate::dataplane) fn to_ipv4(self, packet: &mut Packet) -> Result<(), DropReason> {
        let headers = packet.headers;
        if !is_translated(&headers) || has_segments_left(&packet.octets, &headers) {
            return Err(DropReason::Protocol);
        }
        if matches!(headers.transport, Transport::IcmpError { .. }) {
            *packet = self.error_to_ipv4(packet)?;
            return Ok(());
        }
        let is_udp = matches!(headers.transport, Transport::Udp { .. });
        if is_udp && !packet.offload.is_partial && packet.octets[headers.payload + 6..headers.payload + 8] == [0, 0] {
            // For IPv4 it would mean that there is none, which IPv6 does not allow (RFC 8200 section 8.1).
            return Err(DropReason::Checksum);
        }
        let mut header = self.header_to_ipv4(&packet.octets, &headers)?;
        header.len = packet.octets.len() - headers.payload;
        convert_transport(
            &headers,
            &mut packet.octets[headers.payload..],
            (header.source.into(), header.destination.into()),
            header.len,
        );
        let wire_len = packet.longest() - headers.payload + IPV4_HEADER;
        header.may_fragment = packet.may_fragment || wire_len <= MAY_BE_CUT;
        packet.octets.advance(headers.payload - IPV4_HEADER);
        packet.octets[..IPV4_HEADER].copy_from_slice(&header.octets());
        packet.headers = Headers::parse(&packet.octets)?;
        packet.may_fragment = packet.octets[6] & 0x40 == 0;
        Ok(())
    }

    /// The IPv6 packet that the session gets for an IPv4 packet to its alias, or that it has sent as one from there.
    pub(in crate::dataplane) fn to_ipv6(self, packet: &Packet) -> Result<Packet, DropReason> {
        let headers = packet.headers;
        if !is_translated(&headers) {
            return Err(DropReason::Protocol);
        }
        if matches!(headers.transport, Transport::IcmpError { .. }) {
            return self.error_to_ipv6(packet);
        }
        let payload = &packet.octets[headers.payload..];
        if IPV6_HEADER + payload.len() > MAX_PACKET_LEN {
            return Err(DropReason::TooBig);
        }
        let header = self.header_to_ipv6(&packet.octets, &headers, payload.len())?;
        let mut octets = BytesMut::with_capacity(IPV6_HEADER + payload.len());
        header.put(&mut octets);
        octets.put_slice(payload);
        let addresses = (header.source.into(), header.destination.into());
        let segment = &mut octets[IPV6_HEADER..];
        if packet.offload.is_partial {
            return Ok(Packet { offload: packet.offload, ..Packet::parse(octets)? });
        }
        if matches!(headers.transport, Transport::Udp { .. }) && segment[6..8] == [0, 0] {
            // IPv6 has no UDP without a checksum (RFC 7915 section 4.5).
            let len = usize::from(u16::from_be_bytes([segment[4], segment[5]]));
            let sum = checksum::transport(addresses.0, addresses.1, protocol::UDP, &segment[..len]);
            segment[6..8].copy_from_slice(&(if sum == 0 { 0xFFFF } else { sum }).to_be_bytes());
        } else {
            convert_transport(&headers, segment, addresses, payload.len());
        }
        Packet::parse(octets)
    }

    pub(super) fn header_to_ipv4(self, octets: &[u8], headers: &Headers) -> Result<NewHeader<Ipv4Addr>, DropReason> {
        Ok(NewHeader {
            source: self.v4_of(headers.source)?,
            destination: self.v4_of(headers.destination)?,
            traffic_class: octets[0] << 4 | octets[1] >> 4,
            hop_limit: headers.hop_limit,
            protocol: if headers.protocol == protocol::ICMPV6 { protocol::ICMP } else { headers.protocol },
            len: 0,
            fragment: headers.fragment,
            may_fragment: false,
        })
    }

    pub(super) fn header_to_ipv6(
        self,
        octets: &[u8],
        headers: &Headers,
        len: usize,
    ) -> Result<NewHeader<Ipv6Addr>, DropReason> {
        Ok(NewHeader {
            source: self.v6_of(headers.source)?,
            destination: self.v6_of(headers.destination)?,
            traffic_class: octets[1],
            hop_limit: headers.hop_limit,
            protocol: if headers.protocol == protocol::ICMP { protocol::ICMPV6 } else { headers.protocol },
            len,
            fragment: headers.fragment,
            may_fragment: false,
        })
    }

    fn v4_of(self, address: IpAddr) -> Result<Ipv4Addr, DropReason> {
        match address {
            IpAddr::V6(v6) if v6 == self.inner => Ok(self.alias),
            IpAddr::V6(v6) => self.prefix.extract(v6).ok_or(DropReason::NoMapping),
            IpAddr::V4(_) => Err(DropReason::Version),
        }
    }

    fn v6_of(self, address: IpAddr) -> Result<Ipv6Addr, DropReason> {
        match address {
            IpAddr::V4(v4) if v4 == self.alias => Ok(self.inner),
            IpAddr::V4(v4) => Ok(self.prefix.embed(v4)),
            IpAddr::V6(_) => Err(DropReason::Version),
        }
    }
}

impl NewHeader<Ipv4Addr> {
    /// RFC 7915 section 5.1. "Don't fragment" is set on what an IPv6 host has to be told about when it is too big: what
    /// exceeds the minimum MTU of IPv6.
    pub(super) fn octets(&self) -> [u8; IPV4_HEADER] {
        const DONT_FRAGMENT: u16 = 0x4000;
        const MORE_FRAGMENTS: u16 = 0x2000;
        let total = IPV4_HEADER + self.len;
        let (id, flags) = match self.fragment {
            Some(it) => (it.id as u16, (it.offset / 8) as u16 | if it.more { MORE_FRAGMENTS } else { 0 }),
            None if !self.may_fragment && total > MAY_BE_CUT => (0, DONT_FRAGMENT),
            None => (0, 0),
        };
        let mut octets = [0; IPV4_HEADER];
        octets[0] = 0x45;
        octets[1] = self.traffic_class;
        octets[2..4].copy_from_slice(&(total as u16).to_be_bytes());
        octets[4..6].copy_from_slice(&id.to_be_bytes());
        octets[6..8].copy_from_slice(&flags.to_be_bytes());
        octets[8] = self.hop_limit;
        octets[9] = self.protocol;
        octets[12..16].copy_from_slice(&self.source.octets());
        octets[16..20].copy_from_slice(&self.destination.octets());
        let sum = checksum::checksum(&octets);
        octets[10..12].copy_from_slice(&sum.to_be_bytes());
        octets
    }
}

impl NewHeader<Ipv6Addr> {
    /// RFC 7915 section 4.1. A fragment header stands before fragments alone.
    pub(super) fn put(&self, out: &mut impl BufMut) {
        let len = self.len + if self.fragment.is_some() { FRAGMENT_HEADER } else { 0 };
        out.put_u32(6 << 28 | u32::from(self.traffic_class) << 20);
        out.put_u16(len as u16);
        out.put_u8(if self.fragment.is_some() { protocol::FRAGMENT } else { self.protocol });
        out.put_u8(self.hop_limit);
        out.put_slice(&self.source.octets());
        out.put_slice(&self.destination.octets());
        if let Some(fragment) = self.fragment {
            out.put_slice(&[self.protocol, 0]);
            out.put_u16(fragment.offset as u16 | u16::from(fragment.more));
            out.put_u32(fragment.id);
        }
    }
}

/// Adapts the transport header at the start of `segment`, which may be cut (a quotation), to new addresses. `len` is
/// the length of the whole segment.
pub(super) fn convert_transport(headers: &Headers, segment: &mut [u8], new: (IpAddr, IpAddr), len: usize) {
    let mut delta = Delta::default();
    match headers.transport {
        Transport::Tcp { .. } | Transport::Udp { .. } => {
            delta.address(headers.source, new.0);
            delta.address(headers.destination, new.1);
        }
        // ICMP has a pseudo-header in IPv6 alone.
        Transport::Echo { request, .. } => {
            let old = u16::from_be_bytes([segment[0], segment[1]]);
            if new.0.is_ipv4() {
                segment[0] = if request { 8 } else { 0 };
                delta.exclude(checksum::pseudo_header(headers.source, headers.destination, protocol::ICMPV6, len));
            } else {
                segment[0] = if request { 128 } else { 129 };
                delta.include(checksum::pseudo_header(new.0, new.1, protocol::ICMPV6, len));
            }
            delta.word(old, u16::from_be_bytes([segment[0], segment[1]]));
        }
        _ => {}
    }
    match headers.transport {
        Transport::Tcp { .. } => update(segment, 16, delta),
        Transport::Udp { .. } => update_udp(segment, 6, delta),
        Transport::Echo { .. } => update(segment, 2, delta),
        _ => {}
    }
}

/// What stateful NAT64 translates: TCP, UDP, ICMP echo and errors.
fn is_translated(headers: &Headers) -> bool {
    let is_known = !matches!(headers.transport, Transport::IcmpOther | Transport::Other | Transport::Piece);
    let is_own_icmp = match headers.protocol {
        protocol::ICMP => headers.source.is_ipv4(),
        protocol::ICMPV6 => headers.source.is_ipv6(),
        _ => true,
    };
    is_known && is_own_icmp
}

/// Whether a routing header still has somewhere else to go (RFC 7915 section 5.1).
fn has_segments_left(octets: &[u8], headers: &Headers) -> bool {
    let mut number = octets[6];
    let mut at = IPV6_HEADER;
    while at < headers.payload {
        if number == protocol::ROUTING && octets[at + 3] != 0 {
            return true;
        }
        // An atomic fragment header has no length; its second octet is reserved.
        let is_fragment = core::mem::replace(&mut number, octets[at]) == protocol::FRAGMENT;
        at += if is_fragment { FRAGMENT_HEADER } else { (usize::from(octets[at + 1]) + 1) * 8 };
    }
    false
}

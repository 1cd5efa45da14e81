//! ICMP errors about translated flows, both ways (RFC 5508 section 4): the outer addresses, the quoted packet and the
//! checksums. An error never ends or refreshes a mapping (RFC 4787 REQ-12, RFC 5382 REQ-9).

use core::net::IpAddr;
use webtun_wire::Instant;

use super::flows::Remote;
use super::prefix::external_address;
use super::{DropReason, MappingIndex, NatTable, Protocol, SessionId};
use crate::dataplane::checksum;
use crate::dataplane::packet::{Headers, Packet, Side, Transport, protocol};

/// Octets of an ICMP error before the packet that it quotes.
pub(in crate::dataplane) const ERROR_HEADER: usize = 8;

impl NatTable {
    /// An error from the outside about a packet that a session has sent.
    pub(super) fn inbound_error(&mut self, packet: &mut Packet, now: Instant) -> Result<SessionId, DropReason> {
        let mut quoted = open(packet)?;
        if quoted.source != packet.headers.destination {
            return Err(DropReason::NoMapping);
        }
        let (port, remote_port) = quoted.ports();
        let protocol = protocol_of(&quoted, true)?;
        let index = self.find_external(protocol, quoted.source, port).ok_or(DropReason::NoMapping)?;
        self.check_contact(index, (quoted.destination, remote_port), now)?;
        let mapping = self.mapping(index).ok_or(DropReason::NoMapping)?;
        let (session, internal) = (mapping.session, mapping.internal());
        let at = packet.headers.payload + ERROR_HEADER;
        quoted.rewrite(&mut packet.octets[at..], Side::Source, internal.0, internal.1);
        // From another session (hairpinning): the packet was sent to the address that the outside knows.
        if let Some(announced) = self.announced_of(quoted.destination) {
            let (_, port) = quoted.ports();
            quoted.rewrite(&mut packet.octets[at..], Side::Destination, announced, port);
        }
        close(packet, Side::Destination, internal.0);
        Ok(session)
    }

    /// An error from a session about a packet that it has received.
    pub(super) fn outbound_error(
        &mut self,
        session: SessionId,
        packet: &mut Packet,
        now: Instant,
    ) -> Result<(), DropReason> {
        let mut quoted = open(packet)?;
        // A session is a host: it complains to the sender, about what was sent to itself.
        // The destination is an address of the egress by now, what is quoted as it came: where the other one is a session
        // too (hairpinning), it came from the address that the outside knows.
        let sender = self.by_announced(quoted.source).unwrap_or(quoted.source);
        if quoted.destination != packet.headers.source || sender != packet.headers.destination {
            return Err(DropReason::NoMapping);
        }
        let (remote_port, port) = quoted.ports();
        let protocol = protocol_of(&quoted, false)?;
        let internal = (protocol, quoted.destination, port);
        let index = self.mappings.by_internal(internal).ok_or(DropReason::NoMapping)?;
        let mapping = self.mapping(index).filter(|m| m.session == session).ok_or(DropReason::NoMapping)?;
        let key = mapping.key((sender, remote_port));
        mapping.flows.get(key, now).ok_or(DropReason::NoMapping)?;
        let external = (external_address(&self.pools, self.prefix, mapping).address, mapping.port);
        let at = packet.headers.payload + ERROR_HEADER;
        if sender != quoted.source {
            quoted.rewrite(&mut packet.octets[at..], Side::Source, sender, remote_port);
        }
        quoted.rewrite(&mut packet.octets[at..], Side::Destination, external.0, external.1);
        close(packet, Side::Source, external.0);
        Ok(())
    }

    /// An error is believed only about a remote endpoint that the mapping would hear: a guess from elsewhere is not.
    fn check_contact(&self, index: MappingIndex, remote: Remote, now: Instant) -> Result<(), DropReason> {
        let mapping = self.mapping(index).ok_or(DropReason::NoMapping)?;
        if mapping.admits(remote, now) { Ok(()) } else { Err(DropReason::Filtered) }
    }
}

/// Gives the addresses of a translated packet, and of the one that it quotes, other names where `name` has one.
pub(in crate::dataplane) fn rename(
    packet: &mut Packet,
    name: impl Fn(IpAddr) -> Option<IpAddr>,
) -> Result<(), DropReason> {
    let renamed = |headers: &Headers| {
        let (source, destination) = headers.ports();
        let sides = [(Side::Source, headers.source, source), (Side::Destination, headers.destination, destination)];
        sides.into_iter().filter_map(|(side, address, port)| Some((side, name(address)?, port)))
    };
    if !matches!(packet.headers.transport, Transport::IcmpError { .. }) {
        for (side, address, port) in renamed(&packet.headers).collect::<Vec<_>>() {
            packet.set_endpoint(side, address, port);
        }
        return Ok(());
    }
    let mut quoted = open(packet)?;
    let at = packet.headers.payload + ERROR_HEADER;
    for (side, address, port) in renamed(&quoted).collect::<Vec<_>>() {
        quoted.rewrite(&mut packet.octets[at..], side, address, port);
    }
    for (side, address, _) in renamed(&packet.headers).collect::<Vec<_>>() {
        close(packet, side, address);
    }
    Ok(())
}

/// Verifies an ICMP error (RFC 5508 REQ-3) and parses what it quotes.
fn open(packet: &Packet) -> Result<Headers, DropReason> {
    let message = &packet.octets[packet.headers.payload..];
    if icmp_checksum(&packet.headers, message) != 0 {
        return Err(DropReason::Checksum);
    }
    let quoted = Headers::parse_quoted(&message[ERROR_HEADER..])?;
    if quoted.source.is_ipv4() != packet.headers.source.is_ipv4() {
        return Err(DropReason::IcmpType);
    }
    // RFC 5508 REQ-3 a). The checksum above IP is not looked at (REQ-3 c).
    let header_len = usize::from(message[ERROR_HEADER] & 0x0F) * 4;
    if quoted.source.is_ipv4() && checksum::checksum(&message[ERROR_HEADER..ERROR_HEADER + header_len]) != 0 {
        return Err(DropReason::Checksum);
    }
    Ok(quoted)
}

/// Rewrites an error's own address, and makes its checksum anew: the quotation has changed in many places.
fn close(packet: &mut Packet, side: Side, address: IpAddr) {
    packet.set_endpoint(side, address, 0);
    let at = packet.headers.payload;
    packet.octets[at + 2..at + 4].fill(0);
    let sum = icmp_checksum(&packet.headers, &packet.octets[at..]);
    packet.octets[at + 2..at + 4].copy_from_slice(&sum.to_be_bytes());
}

/// The checksum of an ICMP message: zero where it contains its own, correct one.
pub(super) fn icmp_checksum(headers: &Headers, message: &[u8]) -> u16 {
    if headers.protocol == protocol::ICMPV6 {
        checksum::transport(headers.source, headers.destination, protocol::ICMPV6, message)
    } else {
        checksum::checksum(message)
    }
}

/// What the quoted packet's mapping is made for. A session's echo requests are quoted to it, replies by it.
fn protocol_of(quoted: &Headers, is_inbound: bool) -> Result<Protocol, DropReason> {
    match quoted.transport {
        Transport::Tcp { .. } => Ok(Protocol::Tcp),
        Transport::Udp { .. } => Ok(Protocol::Udp),
        Transport::Echo { request, .. } if request == is_inbound => Ok(Protocol::Icmp),
        _ => Err(DropReason::IcmpType),
    }
}

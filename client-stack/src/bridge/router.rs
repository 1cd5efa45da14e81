//! Between the segment and the tunnels: addresses are translated, and what is too long is cut.
//!
//! The hop limit is left alone: the gateway at the tunnel's other end lowers it, and answers from the address that the
//! segment's router stands for. The two are one router.

use std::net::{IpAddr, Ipv4Addr};

use bytes::BytesMut;
use webtun_wire::{MAX_PACKET_LEN, OffloadChecksum, OffloadHeader, Segmentation, SegmentationKind};

use super::cut::{complete_checksum, fragments, is_checksum_right, segments};
use super::flows::mss_of;
use super::frame::build_ip;
use super::guest::{Guest, is_link_local};
use super::pcp;
use super::translate::translate;
use super::view::View;
use super::{FrameDrop, GuestId, MacAddress, Segment, SegmentConfig, Uplink};
use crate::packet::UDP;

const CWR: u8 = 0x80;

impl Segment {
    /// Takes a packet from a guest's tunnel; `offload` is the empty header where none came with it.
    pub fn handle_packet(&mut self, guest: GuestId, packet: BytesMut, offload: OffloadHeader) {
        self.stats.packets_received += 1;
        let taken = self.receive_packet(guest, packet, offload);
        self.count(taken);
    }

    /// A packet that a guest has given to the router. `octets` are as long as the packet.
    pub(super) fn route(&mut self, guest: GuestId, octets: &[u8], view: &View) -> Result<(), FrameDrop> {
        let to = view.destination;
        let is_local = match to {
            IpAddr::V4(v4) => self.config.in_subnet(v4),
            IpAddr::V6(v6) => self.config.in_prefix(v6) || is_link_local(v6),
        };
        if !is_local && is_routable(to) && !is_unroutable_source(view.source) {
            return self.send_to_tunnel(guest, octets, view);
        }
        if is_local && self.is_router(to) {
            // The link-local address stands for nobody behind the tunnel.
            let stands = !matches!(to, IpAddr::V6(v6) if is_link_local(v6)) && !is_unroutable_source(view.source);
            return if stands { self.send_to_tunnel(guest, octets, view) } else { Err(FrameDrop::NotRoutable) };
        }
        if !is_local || self.is_broadcast(to) {
            return Err(FrameDrop::NotRoutable);
        }
        let owner = self.owners.get(&to).copied().ok_or(FrameDrop::UnknownDestination)?;
        let from = self.guests.get(&guest).filter(|it| it.is_host).map_or(self.config.router_mac, |it| it.mac);
        self.deliver(owner, octets, view, from)
    }

    fn send_to_tunnel(&mut self, id: GuestId, octets: &[u8], view: &View) -> Result<(), FrameDrop> {
        let guest = self.guests.get_mut(&id).ok_or(FrameDrop::NoSuchPort)?;
        let uplink = guest.uplink.ok_or(FrameDrop::NoUplink)?;
        let own = uplink.own(view.is_ipv4()).ok_or(FrameDrop::NoUplink)?;
        let map = |address| outward(&self.config, &uplink, (view.source, own), address);
        let destination = map(view.destination);
        if destination == view.destination && self.config.is_of_segment(destination) {
            // No gateway stands behind the router.
            return Err(FrameDrop::NoUplink);
        }
        let mut packet = BytesMut::from(octets);
        translate(&mut packet, view, map);
        if destination != view.destination && pcp::is_request(&packet, view) {
            pcp::translate_client(&mut packet, view, view.source, own);
        }
        let inner = View { source: own, destination, ..*view };
        let path_mss = mss_of(self.config.path_mtu, view.is_ipv4());
        if view.is_segment() {
            let said = guest.flows.outbound(&mut packet, &inner, view.source, destination, path_mss);
            if let Some(mss) = said {
                // Whoever asks for such segments has a link for them.
                let mtu = mss.saturating_add(if view.is_ipv4() { 40 } else { 60 });
                guest.mtu = guest.mtu.max(mtu.min(self.config.mtu));
            }
        }
        let pieces = cut_for_path(guest, packet, &inner, path_mss, uplink.offload)?;
        for (packet, header) in pieces {
            let len = packet.len();
            if guest.outbox.push((packet, header), len)? {
                self.ready_guests.insert(id);
            }
            self.stats.packets_sent += 1;
        }
        Ok(())
    }

    fn receive_packet(&mut self, id: GuestId, mut packet: BytesMut, offload: OffloadHeader) -> Result<(), FrameDrop> {
        let view = View::parse(&packet).ok_or(FrameDrop::Malformed)?;
        packet.truncate(view.len);
        offload.check(&view.shape(&packet), MAX_PACKET_LEN).map_err(|_| FrameDrop::Offload)?;
        let guest = self.guests.get_mut(&id).ok_or(FrameDrop::NoSuchPort)?;
        let uplink = guest.uplink.ok_or(FrameDrop::NoUplink)?;
        let own = uplink.own(view.is_ipv4()).ok_or(FrameDrop::NoUplink)?;
        if view.destination != own
            || (self.config.is_of_segment(view.source) && Some(view.source) != uplink.host(view.is_ipv4()))
        {
            return Err(FrameDrop::Misdelivered);
        }
        if guest.flows.too_big(&packet, &view) {
            return Ok(());
        }
        let address = match own {
            IpAddr::V4(_) => guest.v4.map(IpAddr::V4),
            IpAddr::V6(_) => {
                let known = guest.flows.address(&packet, &view).filter(|it| guest.v6.contains(it));
                known.or_else(|| guest.v6_below_prefix()).map(IpAddr::V6)
            }
        };
        let address = address.ok_or(FrameDrop::UnknownDestination)?;
        let mut room = usize::MAX;
        if view.is_segment() {
            let mss = |mtu| mss_of(mtu, view.is_ipv4());
            guest.flows.inbound(&mut packet, &view, mss(self.config.path_mtu), mss(guest.mtu));
            room = guest.flows.room_inbound(&packet, &view, mss(guest.mtu));
        }
        let map = |it| inward(&self.config, &uplink, (own, address), it);
        translate(&mut packet, &view, map);
        let inside = View { source: map(view.source), destination: address, ..view };
        self.deliver_cut(id, packet, &inside, offload, room)
    }

    /// `room`: octets of a TCP segment's payload that the guest takes.
    fn deliver_cut(
        &mut self,
        id: GuestId,
        mut packet: BytesMut,
        view: &View,
        offload: OffloadHeader,
        room: usize,
    ) -> Result<(), FrameDrop> {
        let router = self.config.router_mac;
        if let OffloadChecksum::Partial { .. } = offload.checksum {
            complete_checksum(&mut packet, view);
        }
        let payload = view.len - view.header_len(&packet);
        let size = match offload.segmentation {
            Some(it) if view.is(UDP) && !view.is_fragment => usize::from(it.segment_size),
            _ if view.is_segment() => room,
            _ => usize::MAX,
        };
        if payload <= size {
            return self.deliver(id, &packet, view, router);
        }
        if !is_checksum_right(&packet, view) {
            return Err(FrameDrop::Malformed);
        }
        let mut result = Ok(());
        segments(&packet, view, size, |piece| {
            let piece_view = View { len: piece.len(), ..*view };
            result = result.and(self.deliver(id, &piece, &piece_view, router));
        });
        result
    }

    /// Sends a packet to a guest, in fragments where it is too long for its link.
    fn deliver(&mut self, id: GuestId, octets: &[u8], view: &View, from: MacAddress) -> Result<(), FrameDrop> {
        let guest = self.guests.get(&id).ok_or(FrameDrop::UnknownDestination)?;
        let (port, mac, mtu) = (guest.port, guest.mac, usize::from(guest.mtu));
        if view.len <= mtu {
            return self.send(port, build_ip(mac, from, octets));
        }
        let identification = self.next_datagram;
        self.next_datagram = self.next_datagram.wrapping_add(1);
        let pieces = fragments(octets, view, mtu, identification).ok_or(FrameDrop::TooLong)?;
        for piece in pieces {
            self.send(port, build_ip(mac, from, &piece))?;
        }
        Ok(())
    }
}

impl SegmentConfig {
    /// An address of the segment, which nobody behind a tunnel can have.
    fn is_of_segment(&self, address: IpAddr) -> bool {
        match address {
            IpAddr::V4(v4) => self.in_subnet(v4),
            IpAddr::V6(v6) => self.in_prefix(v6) || is_link_local(v6),
        }
    }
}

/// A packet for the tunnel, in segments where it is longer than the path takes.
fn cut_for_path(
    guest: &Guest,
    packet: BytesMut,
    view: &View,
    path_mss: u16,
    offload: bool,
) -> Result<Vec<(BytesMut, OffloadHeader)>, FrameDrop> {
    let header_len = view.header_len(&packet);
    let room = if view.is_segment() { guest.flows.room_outbound(&packet, view, path_mss) } else { usize::MAX };
    if view.len - header_len <= room {
        return Ok(vec![(packet, OffloadHeader::default())]);
    }
    // New checksums are made for the pieces: they must not cover up a wrong one.
    if !is_checksum_right(&packet, view) {
        return Err(FrameDrop::Malformed);
    }
    if !offload {
        let mut pieces = Vec::with_capacity((view.len - header_len).div_ceil(room));
        segments(&packet, view, room, |piece| pieces.push((piece, OffloadHeader::default())));
        return Ok(pieces);
    }
    let header = OffloadHeader {
        checksum: OffloadChecksum::Partial { start: view.transport as u16, offset: 16 },
        segmentation: Some(Segmentation {
            kind: if view.is_ipv4() { SegmentationKind::TcpV4 } else { SegmentationKind::TcpV6 },
            ecn: packet[view.transport + 13] & CWR != 0,
            header_len: header_len as u16,
            segment_size: room as u16,
        }),
    };
    Ok(vec![(packet, header)])
}

/// The address that stands behind the tunnel for one of the segment.
fn outward(config: &SegmentConfig, uplink: &Uplink, (inside, own): (IpAddr, IpAddr), address: IpAddr) -> IpAddr {
    if address == inside {
        return own;
    }
    let host = || uplink.host(address.is_ipv4()).unwrap_or(address);
    match address {
        IpAddr::V4(v4) if v4 == config.router_v4 => host(),
        IpAddr::V4(v4) => {
            config.aliases.iter().find(|(it, _)| *it == v4).map_or(address, |(_, behind)| (*behind).into())
        }
        IpAddr::V6(v6) if v6 == config.router_v6() => host(),
        IpAddr::V6(_) => address,
    }
}

/// The address on the segment that stands for one behind the tunnel.
fn inward(config: &SegmentConfig, uplink: &Uplink, (own, inside): (IpAddr, IpAddr), address: IpAddr) -> IpAddr {
    if address == own {
        return inside;
    }
    if uplink.host(address.is_ipv4()) == Some(address) {
        return if address.is_ipv4() { config.router_v4.into() } else { config.router_v6().into() };
    }
    let IpAddr::V4(v4) = address else { return address };
    config.aliases.iter().find(|(_, behind)| *behind == v4).map_or(address, |(it, _)| (*it).into())
}

/// One host somewhere else: no group, not this host, not this link (RFC 1122 section 3.2.1.3, RFC 4291 section 2.5). That
/// nobody has the rest of 0.0.0.0/8 and 169.254.0.0/16 is for the gateway to say: programs ask there for a cloud's metadata,
/// and would wait.
fn is_routable(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => !v4.is_loopback() && !v4.is_unspecified() && !v4.is_multicast() && v4 != Ipv4Addr::BROADCAST,
        IpAddr::V6(v6) => !(v6.is_loopback() || v6.is_unspecified() || v6.is_multicast() || is_link_local(v6)),
    }
}

/// A link-local source does not leave the link (RFC 4291 section 2.5.6).
fn is_unroutable_source(address: IpAddr) -> bool {
    matches!(address, IpAddr::V6(v6) if is_link_local(v6))
}

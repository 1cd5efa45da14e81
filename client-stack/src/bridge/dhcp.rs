//! The DHCP server (RFC 2131, RFC 2132). It needs no session: a guest that boots while the gateway is away has its
//! address.

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use smoltcp::wire::{
    DHCP_CLIENT_PORT, DHCP_SERVER_PORT, DhcpFlags, DhcpMessageType, DhcpOpCode, DhcpOption, DhcpPacket, DhcpRepr,
    EthernetAddress,
};
use webtun_wire::Instant;

use super::cut::is_checksum_right;
use super::frame::{EtherType, build};
use super::view::View;
use super::{Event, FrameDrop, GuestId, MacAddress, Segment};
use crate::packet::build_udp;

const MAGIC: u32 = 0x6382_5363;
const DNS_SERVERS: u8 = 6;
const HOST_NAME: u8 = 12;
const INTERFACE_MTU: u8 = 26;
const REQUESTED_ADDRESS: u8 = 50;
const MESSAGE_TYPE: u8 = 53;
const SERVER_IDENTIFIER: u8 = 54;
const RENEWAL_TIME: u8 = 58;
const REBINDING_TIME: u8 = 59;
const CLIENT_IDENTIFIER: u8 = 61;
/// How long an offer stands.
const OFFERED_FOR: Duration = Duration::from_secs(60);
/// Longer names are not answered with, so that no answer exceeds the 576 octets that every client takes.
const MAX_HOST_NAME: usize = 63;
/// As a DUID with its IAID (RFC 4361); longer ones find no answer.
const MAX_CLIENT_IDENTIFIER: usize = 160;

/// What a client says. smoltcp's own representation refuses identifiers that are not a MAC address, hence its packet
/// is read option by option.
struct Request<'a> {
    kind: DhcpMessageType,
    xid: u32,
    secs: u16,
    is_broadcast: bool,
    /// `ciaddr`, where the client has an address.
    current: Option<Ipv4Addr>,
    requested: Option<Ipv4Addr>,
    server: Option<Ipv4Addr>,
    client: &'a [u8],
    host_name: &'a [u8],
}

impl<'a> Request<'a> {
    fn parse(packet: &'a DhcpPacket<&'a [u8]>, mac: MacAddress) -> Result<Self, FrameDrop> {
        let is_request = packet.opcode() == DhcpOpCode::Request && packet.magic_number() == MAGIC;
        if !is_request || packet.hardware_len() != 6 {
            return Err(FrameDrop::Malformed);
        }
        if packet.client_hardware_address().0 != mac.0 {
            return Err(FrameDrop::SpoofedHardware);
        }
        // Nobody else is between us and the guest.
        if !packet.relay_agent_ip().is_unspecified() {
            return Err(FrameDrop::DhcpIgnored);
        }
        let option = |kind: u8| packet.options().find(|it| it.kind == kind).map(|it| it.data);
        let address = |kind| option(kind).and_then(|it| <[u8; 4]>::try_from(it).ok()).map(Ipv4Addr::from);
        let Some(&[kind]) = option(MESSAGE_TYPE) else { return Err(FrameDrop::Malformed) };
        let client = option(CLIENT_IDENTIFIER).unwrap_or_default();
        if client.len() > MAX_CLIENT_IDENTIFIER {
            return Err(FrameDrop::DhcpIgnored);
        }
        Ok(Self {
            kind: kind.into(),
            xid: packet.transaction_id(),
            secs: packet.secs(),
            is_broadcast: packet.flags().contains(DhcpFlags::BROADCAST),
            current: Some(packet.client_ip()).filter(|it| !it.is_unspecified()),
            requested: address(REQUESTED_ADDRESS),
            server: address(SERVER_IDENTIFIER),
            client,
            host_name: option(HOST_NAME).filter(|it| it.len() <= MAX_HOST_NAME).unwrap_or_default(),
        })
    }
}

impl Segment {
    pub(super) fn receive_dhcp(
        &mut self,
        guest: GuestId,
        packet: &[u8],
        view: &View,
        now: Instant,
    ) -> Result<(), FrameDrop> {
        let has_checksum = packet[view.transport + 6..view.transport + 8] != [0, 0];
        if has_checksum && !is_checksum_right(packet, view) {
            return Err(FrameDrop::Malformed);
        }
        let mac = self.guests.get(&guest).map(|it| it.mac).ok_or(FrameDrop::NoSuchPort)?;
        let message = DhcpPacket::new_checked(&packet[view.header_len(packet)..]).map_err(|_| FrameDrop::Malformed)?;
        let request = Request::parse(&message, mac)?;
        // Whoever speaks from an address has to have it.
        if !view.source.is_unspecified() {
            self.claim(guest, view.source, now)?;
        }
        let for_us = request.server.is_none_or(|it| it == self.config.router_v4);
        if !for_us {
            return Err(FrameDrop::DhcpIgnored);
        }
        match request.kind {
            DhcpMessageType::Discover => self.dhcp_discover(guest, mac, &request, now),
            DhcpMessageType::Request => self.dhcp_request(guest, mac, &request, now),
            DhcpMessageType::Inform => self.dhcp_reply(guest, &request, DhcpMessageType::Ack, None),
            DhcpMessageType::Release => {
                if let Some(address) = request.current {
                    self.leases.release(address, mac, now);
                }
                Ok(())
            }
            DhcpMessageType::Decline => {
                if let Some(address) = request.requested.filter(|it| self.leases.decline(*it, mac, now)) {
                    self.disown(guest, address);
                }
                Ok(())
            }
            _ => Err(FrameDrop::DhcpIgnored),
        }
    }

    fn dhcp_discover(
        &mut self,
        guest: GuestId,
        mac: MacAddress,
        request: &Request<'_>,
        now: Instant,
    ) -> Result<(), FrameDrop> {
        let address =
            self.choose_address(guest, mac, request, request.requested, now).ok_or(FrameDrop::PoolExhausted)?;
        self.leases.offer(address, mac, request.client, now, OFFERED_FOR);
        self.dhcp_reply(guest, request, DhcpMessageType::Offer, Some(address))
    }

    /// Selecting, coming back after a reboot, renewing or rebinding (RFC 2131 section 4.3.2): in each case the client
    /// names an address. One of which nothing is known is given where it is free: this segment may have been made anew.
    fn dhcp_request(
        &mut self,
        guest: GuestId,
        mac: MacAddress,
        request: &Request<'_>,
        now: Instant,
    ) -> Result<(), FrameDrop> {
        let address = request.requested.or(request.current).ok_or(FrameDrop::Malformed)?;
        let mut allowed = self.choose_address(guest, mac, request, Some(address), now) == Some(address);
        if allowed {
            self.leases.commit(address, mac, request.client, now, self.config.lease_time);
            allowed = self.claim(guest, address.into(), now).is_ok();
        }
        if !allowed {
            self.leases.remove(address, mac);
            return self.dhcp_reply(guest, request, DhcpMessageType::Nak, None);
        }
        let host_name = readable(request.host_name);
        self.events.push_back(Event::LeaseGiven { guest, address, host_name });
        self.dhcp_reply(guest, request, DhcpMessageType::Ack, Some(address))
    }

    fn choose_address(
        &self,
        guest: GuestId,
        mac: MacAddress,
        request: &Request<'_>,
        wanted: Option<Ipv4Addr>,
        now: Instant,
    ) -> Option<Ipv4Addr> {
        let port = self.guests.get(&guest)?.port;
        let is_taken = |it: Ipv4Addr| self.owners.get(&IpAddr::V4(it)).is_some_and(|owner| *owner != guest);
        self.leases.choose(mac, request.client, wanted, now, is_taken, |it| self.standing(it, port))
    }

    fn disown(&mut self, guest: GuestId, address: Ipv4Addr) {
        self.owners.remove(&IpAddr::V4(address));
        if let Some(it) = self.guests.get_mut(&guest) {
            it.v4 = it.v4.filter(|own| *own != address);
        }
    }

    fn dhcp_reply(
        &mut self,
        guest: GuestId,
        request: &Request<'_>,
        kind: DhcpMessageType,
        address: Option<Ipv4Addr>,
    ) -> Result<(), FrameDrop> {
        let (port, mac) = self.guests.get(&guest).map(|it| (it.port, it.mac)).ok_or(FrameDrop::NoSuchPort)?;
        let message = self.dhcp_message(mac, request, kind, address).ok_or(FrameDrop::TooLong)?;
        let is_nak = kind == DhcpMessageType::Nak;
        let direct =
            request.current.or(address).filter(|_| !is_nak && (!request.is_broadcast || request.current.is_some()));
        let to = (direct.unwrap_or(Ipv4Addr::BROADCAST).into(), DHCP_CLIENT_PORT);
        let packet =
            build_udp((self.config.router_v4.into(), DHCP_SERVER_PORT), to, &message).ok_or(FrameDrop::TooLong)?;
        let to_mac = if direct.is_some() { mac } else { MacAddress::BROADCAST };
        self.send(port, build(to_mac, self.config.router_mac, EtherType::Ipv4, &packet))
    }

    fn dhcp_message(
        &self,
        mac: MacAddress,
        request: &Request<'_>,
        kind: DhcpMessageType,
        address: Option<Ipv4Addr>,
    ) -> Option<Vec<u8>> {
        let seconds = u32::try_from(self.config.lease_time.as_secs()).unwrap_or(u32::MAX);
        let (renew, rebind) = ((seconds / 2).to_be_bytes(), (seconds / 8 * 7).to_be_bytes());
        let dns: Vec<u8> = self.config.dns_v4.iter().flat_map(Ipv4Addr::octets).collect();
        let mtu = self.config.mtu.to_be_bytes();
        let mut options = Vec::new();
        let is_nak = kind == DhcpMessageType::Nak;
        if !is_nak {
            options.extend([(DNS_SERVERS, &dns[..]), (INTERFACE_MTU, &mtu[..])]);
        }
        if address.is_some() {
            options.extend([(RENEWAL_TIME, &renew[..]), (REBINDING_TIME, &rebind[..])]);
        }
        options.extend([(HOST_NAME, request.host_name)].into_iter().filter(|(_, it)| !it.is_empty() && !is_nak));
        // RFC 6842.
        options.extend([(CLIENT_IDENTIFIER, request.client)].into_iter().filter(|(_, it)| !it.is_empty()));
        let options: Vec<DhcpOption<'_>> = options.into_iter().map(|(kind, data)| DhcpOption { kind, data }).collect();
        let repr = DhcpRepr {
            message_type: kind,
            transaction_id: request.xid,
            secs: request.secs,
            client_hardware_address: EthernetAddress(mac.0),
            client_ip: request.current.filter(|_| !is_nak).unwrap_or(Ipv4Addr::UNSPECIFIED),
            your_ip: address.unwrap_or(Ipv4Addr::UNSPECIFIED),
            server_ip: Ipv4Addr::UNSPECIFIED,
            router: (!is_nak).then_some(self.config.router_v4),
            subnet_mask: (!is_nak).then_some(self.config.netmask()),
            relay_agent_ip: Ipv4Addr::UNSPECIFIED,
            broadcast: request.is_broadcast,
            requested_ip: None,
            client_identifier: None,
            server_identifier: Some(self.config.router_v4),
            parameter_request_list: None,
            dns_servers: None,
            max_size: None,
            lease_duration: address.map(|_| seconds),
            renew_duration: None,
            rebind_duration: None,
            additional_options: &options,
        };
        // Old clients expect the 300 octets of BOOTP (RFC 951).
        let mut message = vec![0; repr.buffer_len().max(300)];
        repr.emit(&mut DhcpPacket::new_unchecked(&mut message[..])).ok()?;
        Some(message)
    }
}

fn readable(name: &[u8]) -> Option<String> {
    let kept: String = String::from_utf8_lossy(name).chars().filter(|it| !it.is_control()).collect();
    let end = (0..=kept.len().min(MAX_HOST_NAME)).rev().find(|at| kept.is_char_boundary(*at))?;
    Some(kept[..end].to_owned()).filter(|it| !it.is_empty())
}

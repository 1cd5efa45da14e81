//! ARP (RFC 826): the router answers for itself and for hosts, learns, and passes on what is true.

use std::net::{IpAddr, Ipv4Addr};

use smoltcp::wire::{ArpOperation, ArpPacket, ArpRepr, EthernetAddress};
use webtun_wire::Instant;

use super::frame::{EtherType, Frame, build};
use super::{FrameDrop, GuestId, MacAddress, PortId, Segment};

const LEN: usize = 28;

impl Segment {
    pub(super) fn receive_arp(&mut self, guest: GuestId, frame: &Frame<'_>, now: Instant) -> Result<(), FrameDrop> {
        let packet = ArpPacket::new_checked(frame.payload).map_err(|_| FrameDrop::Malformed)?;
        let repr = ArpRepr::parse(&packet).map_err(|_| FrameDrop::Malformed)?;
        let ArpRepr::EthernetIpv4 {
            operation, source_hardware_addr, source_protocol_addr, target_protocol_addr, ..
        } = repr
        else {
            return Err(FrameDrop::Malformed);
        };
        if source_hardware_addr.0 != frame.source.0 {
            return Err(FrameDrop::SpoofedHardware);
        }
        // An ARP probe (RFC 5227) asks whether an address is free, and claims nothing.
        if !source_protocol_addr.is_unspecified() {
            self.claim(guest, source_protocol_addr.into(), now)?;
        }
        let port = self.guests.get(&guest).map(|it| it.port).ok_or(FrameDrop::NoSuchPort)?;
        if operation == ArpOperation::Request
            && let Some(mac) = self.answers_for(target_protocol_addr)
        {
            let reply = arp(ArpOperation::Reply, (mac, target_protocol_addr), (frame.source, source_protocol_addr));
            return self.send(port, build(frame.source, mac, EtherType::Arp, &reply));
        }
        if frame.destination == self.config.router_mac {
            return Ok(());
        }
        self.forward(port, frame, now)
    }

    /// The MAC address to be told for an address that the segment speaks for.
    fn answers_for(&self, address: Ipv4Addr) -> Option<MacAddress> {
        if self.config.is_router(address) {
            return Some(self.config.router_mac);
        }
        let owner = self.owners.get(&IpAddr::V4(address)).and_then(|id| self.guests.get(id))?;
        owner.is_host.then_some(owner.mac)
    }

    /// Asks a network card for the address that it has.
    pub(super) fn ask_by_arp(&mut self, port: PortId, mac: MacAddress, address: Ipv4Addr) -> Result<(), FrameDrop> {
        let router = (self.config.router_mac, self.config.router_v4);
        let request = arp(ArpOperation::Request, router, (MacAddress([0; 6]), address));
        self.send(port, build(mac, router.0, EtherType::Arp, &request))
    }
}

fn arp(operation: ArpOperation, source: (MacAddress, Ipv4Addr), target: (MacAddress, Ipv4Addr)) -> [u8; LEN] {
    let mut octets = [0; LEN];
    let repr = ArpRepr::EthernetIpv4 {
        operation,
        source_hardware_addr: EthernetAddress(source.0.0),
        source_protocol_addr: source.1,
        target_hardware_addr: EthernetAddress(target.0.0),
        target_protocol_addr: target.1,
    };
    repr.emit(&mut ArpPacket::new_unchecked(&mut octets[..]));
    octets
}

//! Rewriting endpoints in place, by the difference to each checksum (RFC 1624).

use core::net::IpAddr;

use super::{Headers, Side, Transport, protocol};
use crate::dataplane::checksum::Delta;

impl Headers {
    /// Rewrites one endpoint of the packet that these headers describe, with every checksum that is present and covers
    /// it. `octets` may be cut (a quotation); the address is of the packet's family.
    pub(in crate::dataplane) fn rewrite(&mut self, octets: &mut [u8], side: Side, address: IpAddr, port: u16) {
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
pub(in crate::dataplane) fn update(octets: &mut [u8], at: usize, delta: Delta) {
    if let Some(field) = octets.get_mut(at..at + 2) {
        let new = delta.apply(u16::from_be_bytes([field[0], field[1]]));
        field.copy_from_slice(&new.to_be_bytes());
    }
}

/// As [`update`]; zero means "no checksum" both before and after (RFC 768).
pub(in crate::dataplane) fn update_udp(octets: &mut [u8], at: usize, delta: Delta) {
    if let Some(field) = octets.get_mut(at..at + 2) {
        let old = u16::from_be_bytes([field[0], field[1]]);
        if old != 0 {
            let new = delta.apply(old);
            field.copy_from_slice(&(if new == 0 { 0xFFFF } else { new }).to_be_bytes());
        }
    }
}

//! Basic NAT (RFC 3022 section 2.1): addresses are exchanged one for one, ports stay, and nothing is remembered.

use std::net::IpAddr;

use super::checksum::{Delta, address_sum, adjust, sum};
use super::view::View;
use crate::packet::{ICMP, ICMPV6, TCP, UDP};

/// Exchanges the addresses of a packet, and of the packet that an ICMP error quotes; every checksum that was right stays
/// right, and those that were wrong stay wrong. `map` keeps the family.
pub(super) fn translate(octets: &mut [u8], view: &View, map: impl Fn(IpAddr) -> IpAddr) {
    let delta = exchange(octets, view.is_ipv4(), &map);
    if !view.has_transport {
        return;
    }
    let (ipv4, transport) = (view.is_ipv4(), &mut octets[view.transport..view.len]);
    adjust_transport(transport, view.protocol, ipv4, delta);
    if is_error(transport, view.protocol, ipv4) {
        let before = sum(&transport[8..]);
        translate_quoted(&mut transport[8..], ipv4, &map);
        let mut delta = Delta::default();
        delta.change(before, sum(&transport[8..]));
        adjust(transport, 2, delta);
    }
}

/// The addresses of a packet whose first header is there, and its header checksum.
fn exchange(octets: &mut [u8], ipv4: bool, map: &impl Fn(IpAddr) -> IpAddr) -> Delta {
    let (first, len) = if ipv4 { (12, 4) } else { (8, 16) };
    let mut delta = Delta::default();
    for at in [first, first + len] {
        let Some(old) = read_address(&octets[at..at + len]) else { continue };
        let new = map(old);
        delta.change(address_sum(old), address_sum(new));
        match new {
            IpAddr::V4(new) if ipv4 => octets[at..at + len].copy_from_slice(&new.octets()),
            IpAddr::V6(new) if !ipv4 => octets[at..at + len].copy_from_slice(&new.octets()),
            _ => {}
        }
    }
    if ipv4 {
        adjust(octets, 10, delta);
    }
    delta
}

fn read_address(octets: &[u8]) -> Option<IpAddr> {
    let v4 = <[u8; 4]>::try_from(octets).map(IpAddr::from);
    v4.or_else(|_| <[u8; 16]>::try_from(octets).map(IpAddr::from)).ok()
}

fn adjust_transport(transport: &mut [u8], protocol: u8, ipv4: bool, delta: Delta) {
    match protocol {
        TCP => adjust(transport, 16, delta),
        // No checksum (RFC 768); over IPv6 there is always one.
        UDP if ipv4 && transport.get(6..8) == Some(&[0, 0]) => {}
        UDP => {
            adjust(transport, 6, delta);
            if transport.get(6..8) == Some(&[0, 0]) {
                transport[6..8].fill(0xff);
            }
        }
        ICMPV6 if !ipv4 => adjust(transport, 2, delta),
        _ => {}
    }
}

fn is_error(transport: &[u8], protocol: u8, ipv4: bool) -> bool {
    match (protocol, transport.first()) {
        (ICMP, Some(kind)) if ipv4 => matches!(kind, 3 | 4 | 5 | 11 | 12),
        (ICMPV6, Some(kind)) if !ipv4 => *kind < 128,
        _ => false,
    }
}

/// A quotation may end anywhere.
fn translate_quoted(quoted: &mut [u8], ipv4: bool, map: &impl Fn(IpAddr) -> IpAddr) {
    let Some((protocol, transport)) = quoted_transport(quoted, ipv4) else { return };
    let delta = exchange(quoted, ipv4, map);
    if let Some(transport) = quoted.get_mut(transport..) {
        adjust_transport(transport, protocol, ipv4, delta);
    }
}

/// Protocol and place of the quoted packet's transport header; `None` without a whole IP header. Behind a fragment but the
/// first there is none, so that its place is beyond the quotation.
pub(super) fn quoted_transport(quoted: &[u8], ipv4: bool) -> Option<(u8, usize)> {
    if ipv4 {
        let header = quoted.get(..20)?;
        let is_later = (u16::from_be_bytes([header[6], header[7]]) & 0x1fff) != 0;
        let len = usize::from(header[0] & 15) * 4;
        let is_sound = header[0] >> 4 == 4 && len >= 20;
        return is_sound.then_some((header[9], if is_later { quoted.len() } else { len }));
    }
    let header = quoted.get(..40).filter(|it| it[0] >> 4 == 6)?;
    let (mut protocol, mut at) = (header[6], 40);
    // Hop-by-hop, routing, fragment and destination options; a packet has no more than one of each, and one again.
    for _ in 0..5 {
        let Some(extension) = quoted.get(at..at + 8) else { break };
        match protocol {
            0 | 43 | 60 => at += 8 + usize::from(extension[1]) * 8,
            44 if u16::from_be_bytes([extension[2], extension[3]]) & 0xfff8 != 0 => {
                return Some((extension[0], quoted.len()));
            }
            44 => at += 8,
            _ => break,
        }
        protocol = extension[0];
    }
    Some((protocol, at))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::packet::{build_icmpv4, build_icmpv6, build_udp};
    use etherparse::{Icmpv4Type, Icmpv6Type, PacketBuilder};
    use proptest::prelude::*;

    /// A packet that can be made with any addresses: the naive twin makes it again instead of translating it.
    #[derive(Clone, Debug)]
    struct Recipe {
        kind: u8,
        ipv4: bool,
        payload: Vec<u8>,
        /// Where the quotation in an error ends.
        cut: usize,
    }

    impl Recipe {
        fn make(&self, source: IpAddr, destination: IpAddr) -> Vec<u8> {
            match self.kind {
                0 => tcp(source, destination, &self.payload),
                1 => build_udp((source, 4000), (destination, 53), &self.payload).unwrap().to_vec(),
                2 => {
                    let mut packet = build_udp((source, 4000), (destination, 53), &self.payload).unwrap().to_vec();
                    if self.ipv4 {
                        packet[26..28].fill(0);
                    }
                    packet
                }
                3 => self.icmp(source, destination, (8, 128), &self.payload),
                kind => {
                    let mut quoted = Self { kind: kind - 4, ..self.clone() }.make(destination, source);
                    quoted.truncate(self.cut);
                    self.icmp(source, destination, (3, 1), &quoted)
                }
            }
        }

        fn icmp(&self, source: IpAddr, destination: IpAddr, (v4, v6): (u8, u8), body: &[u8]) -> Vec<u8> {
            let (code_u8, bytes5to8) = (0, [0, 7, 0, 9]);
            if self.ipv4 {
                let kind = Icmpv4Type::Unknown { type_u8: v4, code_u8, bytes5to8 };
                build_icmpv4(source, destination, 64, kind, body).unwrap().to_vec()
            } else {
                let kind = Icmpv6Type::Unknown { type_u8: v6, code_u8, bytes5to8 };
                build_icmpv6(source, destination, 64, kind, body).unwrap().to_vec()
            }
        }
    }

    fn tcp(source: IpAddr, destination: IpAddr, payload: &[u8]) -> Vec<u8> {
        let builder = match (source, destination) {
            (IpAddr::V4(source), IpAddr::V4(destination)) => {
                PacketBuilder::ipv4(source.octets(), destination.octets(), 64)
            }
            (IpAddr::V6(source), IpAddr::V6(destination)) => {
                PacketBuilder::ipv6(source.octets(), destination.octets(), 64)
            }
            _ => unreachable!("one family"),
        };
        let mut packet = Vec::new();
        builder.tcp(4000, 80, 7, 1000).ack(8).write_to_vec(&mut packet, payload).unwrap();
        packet
    }

    fn address(ipv4: bool, octets: [u8; 16]) -> IpAddr {
        if ipv4 { IpAddr::from(<[u8; 4]>::try_from(&octets[..4]).unwrap()) } else { IpAddr::from(octets) }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(1500))]
        #[test]
        fn it_is_as_if_made_with_the_other_addresses(
            kind in 0..8_u8,
            ipv4 in any::<bool>(),
            octets in any::<[[u8; 16]; 4]>(),
            payload in proptest::collection::vec(any::<u8>(), 0..60),
            cut in 0..160_usize,
            is_damaged in any::<bool>(),
        ) {
            let [inside, router, own, host] = octets.map(|it| address(ipv4, it));
            prop_assume!(inside != router && own != host);
            // Half an address or checksum cannot be translated.
            let cut = if cut < 18 { cut & !1 } else { cut };
            let recipe = Recipe { kind, ipv4, payload, cut: cut + if ipv4 { 20 } else { 40 } };
            let map = |it| if it == inside { own } else if it == router { host } else { it };
            let (mut packet, mut twin) = (recipe.make(inside, router), recipe.make(own, host));
            if is_damaged && !recipe.payload.is_empty() && kind < 4 {
                // Both are wrong by the same, also in their checksum.
                *packet.last_mut().unwrap() ^= 0x10;
                *twin.last_mut().unwrap() ^= 0x10;
            }
            let view = View::parse(&packet).unwrap();
            translate(&mut packet, &view, map);
            prop_assert_eq!(packet, twin);
        }

        #[test]
        fn rubbish_with_an_ip_header_is_survived(
            ipv4 in any::<bool>(),
            kind in 4..8_u8,
            faults in proptest::collection::vec((0..200_usize, any::<u8>()), 0..12),
            cut in 0..160_usize,
        ) {
            let (a, b) = (address(ipv4, [1; 16]), address(ipv4, [2; 16]));
            let mut packet = Recipe { kind, ipv4, payload: vec![5; 40], cut }.make(a, b);
            for (at, value) in faults {
                if let Some(octet) = packet.get_mut(at) {
                    *octet = value;
                }
            }
            if let Some(view) = View::parse(&packet) {
                let len = packet.len();
                translate(&mut packet, &view, |it| if it.is_ipv4() { [9; 4].into() } else { [9; 16].into() });
                prop_assert_eq!(packet.len(), len);
            }
        }
    }
}

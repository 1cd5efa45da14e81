//! What the SYNs of a guest's TCP connections have said about segment sizes.
//!
//! A guest whose link carries 65,000 octets is told that its peers take such segments too; what it then sends in one
//! piece is cut to what the peer has really said, here or wherever the tunnel's offload ends.

use std::collections::{BTreeMap, VecDeque};
use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use super::checksum::{Delta, adjust, sum};
use super::translate::quoted_transport;
use super::view::View;
use crate::packet::{ICMP, ICMPV6, TCP};

/// Connections remembered per guest. Beyond it the one that has been silent longest is forgotten, roughly; its segments
/// are then cut to the path's MTU.
const MAX_FLOWS: usize = 1024;

const SYN: u8 = 0x02;

/// The guest's port, and the peer as the tunnel sees it.
type Key = (u16, SocketAddr);

#[derive(Debug)]
struct Flow {
    /// Octets of payload and TCP options that the peer and the path take.
    peer_mss: u16,
    /// The same of the guest, where its SYN was seen.
    guest_mss: Option<u16>,
    /// Which of its IPv6 addresses the guest uses.
    address: Option<Ipv6Addr>,
    is_recent: bool,
}

/// The TCP connections of one guest.
#[derive(Debug, Default)]
pub(super) struct Flows {
    known: BTreeMap<Key, Flow>,
    /// For second chances, the next to be looked at in front.
    ring: VecDeque<Key>,
}

/// The MSS of a link or path (RFC 6691).
pub(super) fn mss_of(mtu: u16, ipv4: bool) -> u16 {
    mtu.saturating_sub(if ipv4 { 40 } else { 60 })
}

impl Flows {
    /// A segment from the guest, `octets` with translated addresses: lowers the MSS of a SYN to `path_mss`, and returns
    /// what it was.
    pub fn outbound(
        &mut self,
        octets: &mut [u8],
        view: &View,
        guest: IpAddr,
        remote: IpAddr,
        path_mss: u16,
    ) -> Option<u16> {
        let (local, port) = view.ports(octets);
        let key = (local, SocketAddr::new(remote, port));
        if octets[view.transport + 13] & SYN != 0 {
            let said = mss_option(octets, view).map(|at| read(octets, at));
            let flow = self.insert(key, path_mss);
            flow.guest_mss = Some(said.unwrap_or(default_mss(view.is_ipv4())));
            flow.address = if let IpAddr::V6(address) = guest { Some(address) } else { None };
            set_mss(octets, view, |old| old.min(path_mss));
            return said;
        }
        if let Some(flow) = self.known.get_mut(&key) {
            flow.is_recent = true;
        }
        None
    }

    /// A segment for the guest: learns the MSS of a SYN, and raises it to the guest's where that is worth it.
    pub fn inbound(&mut self, octets: &mut [u8], view: &View, path_mss: u16, guest_mss: u16) {
        let (port, local) = view.ports(octets);
        let key = (local, SocketAddr::new(view.source, port));
        if octets[view.transport + 13] & SYN == 0 {
            if let Some(flow) = self.known.get_mut(&key) {
                flow.is_recent = true;
            }
            return;
        }
        let said = mss_option(octets, view).map_or(default_mss(view.is_ipv4()), |at| read(octets, at));
        let flow = self.insert(key, path_mss);
        flow.peer_mss = said.clamp(64, path_mss.max(64));
        let (peer, guest) = (flow.peer_mss, flow.guest_mss.unwrap_or(guest_mss));
        // Less than two segments in one only make small ones.
        if guest / 2 >= peer {
            set_mss(octets, view, |old| old.max(guest));
        }
    }

    /// Octets of payload that a segment from the guest may have on the path. An MSS does not count options (RFC 6691).
    pub fn room_outbound(&self, octets: &[u8], view: &View, path_mss: u16) -> usize {
        let (local, port) = view.ports(octets);
        let mss = self.known.get(&(local, SocketAddr::new(view.destination, port))).map_or(path_mss, |it| it.peer_mss);
        room(octets, view, mss)
    }

    /// Octets of payload that a segment may have on its way to the guest.
    pub fn room_inbound(&self, octets: &[u8], view: &View, guest_mss: u16) -> usize {
        let (port, local) = view.ports(octets);
        let flow = self.known.get(&(local, SocketAddr::new(view.source, port)));
        let said = flow.and_then(|it| it.guest_mss).map_or(guest_mss, |said| said.min(guest_mss));
        room(octets, view, said.max(64))
    }

    /// The IPv6 address behind which the guest has this connection; `view` is that of a segment for it, or of an error
    /// about one from it.
    pub fn address(&self, octets: &[u8], view: &View) -> Option<Ipv6Addr> {
        let key = if view.is(TCP) {
            let (port, local) = view.ports(octets);
            (local, SocketAddr::new(view.source, port))
        } else if view.is(ICMPV6) {
            quoted_key(&octets[view.transport..view.len], false)?
        } else {
            return None;
        };
        self.known.get(&key)?.address
    }

    /// A router's word that a segment was too long (RFC 1191, RFC 8201): true where cutting more finely takes care of
    /// it, so that the guest need not know.
    pub fn too_big(&mut self, octets: &[u8], view: &View) -> bool {
        let ipv4 = view.is_ipv4();
        let message = &octets[view.transport..view.len];
        let mtu = match message {
            [3, 4, _, _, _, _, a, b, ..] if view.is(ICMP) && ipv4 => u32::from(u16::from_be_bytes([*a, *b])),
            [2, _, _, _, a, b, c, d, ..] if view.is(ICMPV6) && !ipv4 => u32::from_be_bytes([*a, *b, *c, *d]),
            _ => return false,
        };
        let Some(flow) = quoted_key(message, ipv4).and_then(|key| self.known.get_mut(&key)) else { return false };
        // Below this it is not believed (RFC 5927 section 7.2).
        let told = mss_of(u16::try_from(mtu).unwrap_or(u16::MAX), ipv4).max(default_mss(ipv4));
        let is_news = told < flow.peer_mss;
        flow.peer_mss = flow.peer_mss.min(told);
        // Echoes of the same loss are of no use to the guest either.
        (is_news || told == flow.peer_mss) && flow.guest_mss.is_some_and(|guest| guest / 2 >= told)
    }

    fn insert(&mut self, key: Key, path_mss: u16) -> &mut Flow {
        if !self.known.contains_key(&key) {
            while self.known.len() >= MAX_FLOWS {
                let Some(oldest) = self.ring.pop_front() else { break };
                match self.known.get_mut(&oldest) {
                    Some(flow) if flow.is_recent => {
                        flow.is_recent = false;
                        self.ring.push_back(oldest);
                    }
                    _ => {
                        self.known.remove(&oldest);
                    }
                }
            }
            self.ring.push_back(key);
        }
        let new = || Flow { peer_mss: path_mss, guest_mss: None, address: None, is_recent: false };
        self.known.entry(key).or_insert_with(new)
    }
}

/// What a host takes that says nothing: RFC 9293 section 3.7.1.
const fn default_mss(ipv4: bool) -> u16 {
    if ipv4 { 536 } else { 1220 }
}

fn room(octets: &[u8], view: &View, mss: u16) -> usize {
    let options = view.header_len(octets) - view.transport - 20 + view.ip_options();
    usize::from(mss).saturating_sub(options).max(8)
}

/// The connection of the guest's segment that an ICMP error quotes; the quotation is as the tunnel sees it.
fn quoted_key(message: &[u8], ipv4: bool) -> Option<Key> {
    let quoted = message.get(8..)?;
    let (protocol, at) = quoted_transport(quoted, ipv4)?;
    let ports = quoted.get(at..at + 4).filter(|_| protocol == TCP)?;
    let remote: IpAddr = if ipv4 {
        <[u8; 4]>::try_from(quoted.get(16..20)?).ok()?.into()
    } else {
        <[u8; 16]>::try_from(quoted.get(24..40)?).ok()?.into()
    };
    let port = u16::from_be_bytes([ports[2], ports[3]]);
    Some((u16::from_be_bytes([ports[0], ports[1]]), SocketAddr::new(remote, port)))
}

fn read(octets: &[u8], at: usize) -> u16 {
    u16::from_be_bytes([octets[at], octets[at + 1]])
}

/// Where the value of the MSS option (kind 2, length 4) is.
fn mss_option(octets: &[u8], view: &View) -> Option<usize> {
    let (mut at, end) = (view.transport + 20, view.header_len(octets));
    while at < end {
        match octets[at] {
            0 => return None,
            1 => at += 1,
            kind => {
                let len = usize::from(*octets.get(at + 1).filter(|_| at + 1 < end)?);
                if len < 2 || at + len > end {
                    return None;
                }
                if kind == 2 && len == 4 {
                    return Some(at + 2);
                }
                at += len;
            }
        }
    }
    None
}

/// Rewrites the MSS option and the checksum over it.
fn set_mss(octets: &mut [u8], view: &View, change: impl FnOnce(u16) -> u16) {
    let Some(at) = mss_option(octets, view) else { return };
    // Options need not be aligned: the words that the value touches are taken whole, from the transport header on.
    let first = at - (at - view.transport) % 2;
    let words = first..(first + 4).min(view.len);
    let before = sum(&octets[words.clone()]);
    let new = change(read(octets, at));
    octets[at..at + 2].copy_from_slice(&new.to_be_bytes());
    let mut delta = Delta::default();
    delta.change(before, sum(&octets[words]));
    adjust(octets, view.transport + 16, delta);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bridge::cut::is_checksum_right;
    use etherparse::PacketBuilder;

    fn syn(local: u16, mss: Option<u16>, ack: bool, lead: &[u8]) -> Vec<u8> {
        let (from, to) = ([100, 64, 0, 2], [192, 0, 2, 7]);
        let mut options = lead.to_vec();
        if let Some(mss) = mss {
            options.extend([&[2, 4][..], &mss.to_be_bytes()].concat());
        }
        let mut octets = Vec::new();
        let builder = if ack {
            PacketBuilder::ipv4(to, from, 64).tcp(80, local, 1, 1000).ack(9)
        } else {
            PacketBuilder::ipv4(from, to, 64).tcp(local, 80, 1, 1000)
        };
        builder.syn().options_raw(&options).unwrap().write_to_vec(&mut octets, &[]).unwrap();
        octets
    }

    fn mss(octets: &[u8]) -> Option<u16> {
        let view = View::parse(octets).unwrap();
        assert!(is_checksum_right(octets, &view));
        mss_option(octets, &view).map(|at| read(octets, at))
    }

    fn exchange(flows: &mut Flows, guest: Option<u16>, peer: Option<u16>, lead: &[u8]) -> (Option<u16>, Option<u16>) {
        let (mut out, mut back) = (syn(4000, guest, false, lead), syn(4000, peer, true, lead));
        let view = View::parse(&out).unwrap();
        flows.outbound(&mut out, &view, view.source, view.destination, 1460);
        let view = View::parse(&back).unwrap();
        flows.inbound(&mut back, &view, 1460, 1460);
        (mss(&out), mss(&back))
    }

    #[test]
    fn each_end_hears_what_suits_it() {
        for lead in [&[][..], &[1], &[1, 1], &[4, 2, 1], &[3, 3, 7]] {
            let mut flows = Flows::default();
            assert_eq!(exchange(&mut flows, Some(64_960), Some(1460), lead), (Some(1460), Some(64_960)));
            assert_eq!(exchange(&mut flows, Some(1460), Some(1400), lead), (Some(1460), Some(1400)), "not worth it");
            assert_eq!(exchange(&mut flows, Some(1460), Some(700), lead), (Some(1460), Some(1460)));
            assert_eq!(exchange(&mut flows, Some(64_960), None, lead), (Some(1460), None));
            assert_eq!(exchange(&mut flows, None, Some(1460), lead), (None, Some(1460)));
        }
    }

    #[test]
    fn segments_follow_the_peer_and_the_path() {
        let mut flows = Flows::default();
        exchange(&mut flows, Some(64_960), Some(1300), &[]);
        let mut data = Vec::new();
        let builder = PacketBuilder::ipv4([100, 64, 0, 2], [192, 0, 2, 7], 64).tcp(4000, 80, 1, 1000);
        builder.options_raw(&[1; 12]).unwrap().write_to_vec(&mut data, &[7; 9000]).unwrap();
        let view = View::parse(&data).unwrap();
        assert_eq!(flows.room_outbound(&data, &view, 1460), 1288);
        let mut error = Vec::new();
        let too_big = etherparse::Icmpv4Type::Unknown { type_u8: 3, code_u8: 4, bytes5to8: [0, 0, 4, 176] };
        let builder = PacketBuilder::ipv4([192, 0, 2, 1], [100, 64, 0, 2], 64).icmpv4(too_big);
        builder.write_to_vec(&mut error, &data[..28]).unwrap();
        assert!(flows.too_big(&error, &View::parse(&error).unwrap()));
        assert_eq!(flows.room_outbound(&data, &view, 1460), 1200 - 40 - 12);
        assert!(flows.too_big(&error, &View::parse(&error).unwrap()), "again");
        assert!(!Flows::default().too_big(&error, &View::parse(&error).unwrap()), "of an unknown connection");
    }

    #[test]
    fn the_table_is_bounded_and_keeps_what_is_used() {
        let mut flows = Flows::default();
        let mut keep = syn(1, Some(9000), true, &[]);
        for local in 1..3000 {
            let mut packet = syn(local, Some(9000), false, &[]);
            let view = View::parse(&packet).unwrap();
            flows.outbound(&mut packet, &view, view.source, view.destination, 1460);
            let view = View::parse(&keep).unwrap();
            keep[view.transport + 13] = 0x10;
            flows.inbound(&mut keep, &view, 1460, 1460);
        }
        assert_eq!((flows.known.len(), flows.ring.len()), (MAX_FLOWS, MAX_FLOWS));
        assert!(flows.known.keys().any(|(local, _)| *local == 1));
        assert!(!flows.known.keys().any(|(local, _)| *local == 2));
    }
}

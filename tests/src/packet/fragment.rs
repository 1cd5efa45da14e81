use bytes::BytesMut;
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::ops::Range;

use super::build::{ip, seal_ipv4};
use super::{Transport, View, protocol};

/// Cuts a packet into fragments of at most `mtu` octets, as a sending host does; one that fits stays as it is.
///
/// Don't Fragment is not looked at: whoever sends a packet may cut it.
pub fn fragment(packet: BytesMut, mtu: usize, id: u32) -> Vec<BytesMut> {
    if packet.len() <= mtu {
        return vec![packet];
    }
    let ipv4 = packet[0] >> 4 == 4;
    let header_len = if ipv4 { usize::from(packet[0] & 0x0f) * 4 } else { 40 };
    let room = (mtu - header_len - if ipv4 { 0 } else { 8 }) & !7;
    let payload = &packet[header_len..];
    let count = payload.len().div_ceil(room);
    let pieces = payload.chunks(room).enumerate();
    pieces.map(|(index, piece)| one(&packet[..header_len], piece, index * room, index + 1 < count, id)).collect()
}

/// One fragment, of the octets of `packet` behind its IP header that lie in `range`. It may be one that no host would send.
///
/// # Panics
///
/// Panics where the range does not lie within the packet.
pub fn piece(packet: &[u8], range: Range<usize>, more: bool, id: u32) -> BytesMut {
    let header_len = if packet[0] >> 4 == 4 { usize::from(packet[0] & 0x0f) * 4 } else { 40 };
    let (header, payload) = packet.split_at(header_len);
    one(header, &payload[range.clone()], range.start, more, id)
}

fn one(header: &[u8], piece: &[u8], offset: usize, more: bool, id: u32) -> BytesMut {
    let mut out = BytesMut::from(header);
    if header[0] >> 4 == 4 {
        out.extend_from_slice(piece);
        let len = out.len() as u16;
        out[2..4].copy_from_slice(&len.to_be_bytes());
        out[4..6].copy_from_slice(&(id as u16).to_be_bytes());
        out[6..8].copy_from_slice(&((offset / 8) as u16 | if more { 0x2000 } else { 0 }).to_be_bytes());
        seal_ipv4(&mut out);
    } else {
        out[4..6].copy_from_slice(&((8 + piece.len()) as u16).to_be_bytes());
        out[6] = protocol::FRAGMENT;
        out.extend_from_slice(&[header[6], 0]);
        out.extend_from_slice(&(offset as u16 | u16::from(more)).to_be_bytes());
        out.extend_from_slice(&id.to_be_bytes());
        out.extend_from_slice(piece);
    }
    out
}

/// Puts datagrams together again. It keeps what never becomes whole: a run is short.
#[derive(Debug, Default)]
pub struct Reassembler {
    datagrams: BTreeMap<Key, Pieces>,
}

/// Source, destination, protocol and identification (RFC 791 section 3.2).
type Key = (IpAddr, IpAddr, u8, u32);
/// By offset: whether more follow, and the octets.
type Pieces = BTreeMap<usize, (bool, Vec<u8>)>;

impl Reassembler {
    /// Takes a packet; gives back a whole one where there is one now.
    pub fn push(&mut self, packet: BytesMut) -> Option<BytesMut> {
        let view = View::parse(&packet).ok()?;
        let (Some(piece), Transport::Octets(octets)) = (view.piece, &view.transport) else { return Some(packet) };
        let key = (view.source, view.destination, view.protocol, piece.id);
        let pieces = self.datagrams.entry(key).or_default();
        pieces.insert(piece.offset, (piece.more, octets.to_vec()));
        let payload = whole(pieces)?;
        self.datagrams.remove(&key);
        Some(ip(view.source, view.destination, view.protocol, &payload))
    }
}

fn whole(pieces: &Pieces) -> Option<Vec<u8>> {
    let mut payload = Vec::new();
    for (offset, (more, octets)) in pieces {
        if *offset != payload.len() {
            return None;
        }
        payload.extend_from_slice(octets);
        if !more {
            return Some(payload);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::super::udp;
    use super::*;

    #[test]
    fn a_datagram_survives_its_pieces_in_any_order() {
        for (from, to) in [("192.0.2.1:1", "192.0.2.2:2"), ("[2001:db8::1]:1", "[2001:db8::2]:2")] {
            let payload = crate::pattern::octets(1, 5000);
            let packet = udp(from.parse().unwrap(), to.parse().unwrap(), &payload);
            let mut pieces = fragment(packet.clone(), 1500, 77);
            assert_eq!(pieces.len(), 4);
            pieces.reverse();
            let mut reassembler = Reassembler::default();
            let mut whole: Vec<_> = pieces.into_iter().filter_map(|piece| reassembler.push(piece)).collect();
            assert_eq!(whole.len(), 1);
            assert_eq!(whole.remove(0), packet);
        }
    }
}

//! What is too long for the next link is cut: TCP into segments, UDP super-datagrams into datagrams, all else into
//! fragments.

use bytes::{BufMut, BytesMut};

use super::checksum::{fold, sum, transport};
use super::view::View;
use crate::packet::{TCP, UDP};

const FIN: u8 = 0x01;
const PSH: u8 = 0x08;
const CWR: u8 = 0x80;
const FRAGMENT_HEADER: u8 = 44;

/// Fills in the checksum of a whole TCP segment or UDP datagram.
pub(super) fn complete_checksum(octets: &mut [u8], view: &View) {
    let at = view.transport + if view.protocol == TCP { 16 } else { 6 };
    octets[at..at + 2].fill(0);
    let made = transport(view.source, view.destination, view.protocol, &octets[view.transport..view.len]);
    // A UDP checksum of 0 would mean that there is none (RFC 768).
    let made = if made == 0 && view.protocol == UDP { 0xffff } else { made };
    octets[at..at + 2].copy_from_slice(&made.to_be_bytes());
}

/// Whether the checksum of a whole TCP segment or UDP datagram is right.
pub(super) fn is_checksum_right(octets: &[u8], view: &View) -> bool {
    transport(view.source, view.destination, view.protocol, &octets[view.transport..view.len]) == 0
}

/// Cuts a TCP segment or a UDP super-datagram into pieces of `size` octets of payload, headers and checksums complete.
pub(super) fn segments(octets: &[u8], view: &View, size: usize, mut send: impl FnMut(BytesMut)) {
    let (headers, payload) = octets[..view.len].split_at(view.header_len(octets));
    let last = payload.len().div_ceil(size.max(1)).saturating_sub(1);
    for (index, part) in payload.chunks(size.max(1)).enumerate() {
        let mut piece = BytesMut::with_capacity(headers.len() + part.len());
        piece.put_slice(headers);
        piece.put_slice(part);
        set_length(&mut piece, view.is_ipv4(), index);
        if view.protocol == TCP {
            patch_segment(&mut piece[view.transport..], index * size, index == 0, index == last);
        } else {
            let len = piece.len() - view.transport;
            piece[view.transport + 4..view.transport + 6].copy_from_slice(&(len as u16).to_be_bytes());
        }
        let len = piece.len();
        complete_checksum(&mut piece, &View { len, ..*view });
        send(piece);
    }
}

fn patch_segment(segment: &mut [u8], offset: usize, is_first: bool, is_last: bool) {
    let sequence = u32::from_be_bytes([segment[4], segment[5], segment[6], segment[7]]);
    segment[4..8].copy_from_slice(&sequence.wrapping_add(offset as u32).to_be_bytes());
    if !is_last {
        segment[13] &= !(FIN | PSH);
    }
    if !is_first {
        // RFC 3168 section 6.1.2: the window was reduced once.
        segment[13] &= !CWR;
    }
}

/// Lengths, identification and checksum of the IP header of piece `index`.
fn set_length(piece: &mut [u8], ipv4: bool, index: usize) {
    let len = piece.len();
    if !ipv4 {
        piece[4..6].copy_from_slice(&((len - 40) as u16).to_be_bytes());
        return;
    }
    piece[2..4].copy_from_slice(&(len as u16).to_be_bytes());
    let id = u16::from_be_bytes([piece[4], piece[5]]).wrapping_add(index as u16);
    piece[4..6].copy_from_slice(&id.to_be_bytes());
    complete_header(piece);
}

fn complete_header(ipv4: &mut [u8]) {
    let header = usize::from(ipv4[0] & 15) * 4;
    ipv4[10..12].fill(0);
    let made = !fold(sum(&ipv4[..header]));
    ipv4[10..12].copy_from_slice(&made.to_be_bytes());
}

/// Cuts a packet into fragments of at most `mtu` octets. The tunnel carries longer packets than any path: what is too
/// long here was put together at its other end, and its source is content with pieces; so Don't Fragment is not asked,
/// and IPv6 is cut too. `None` where it has IP options or extension headers, or is an IPv6 fragment.
pub(super) fn fragments(octets: &[u8], view: &View, mtu: usize, id: u32) -> Option<Vec<BytesMut>> {
    let header = if view.is_ipv4() { 20 } else { 40 };
    let has_extras = if view.is_ipv4() { octets[0] & 15 != 5 } else { view.transport != header };
    if has_extras {
        return None;
    }
    let extra = if view.is_ipv4() { 0 } else { 8 };
    let room = (mtu.checked_sub(header + extra)? / 8 * 8).max(8);
    let data = &octets[header..view.len];
    let count = data.len().div_ceil(room);
    let piece = |(index, part): (usize, &[u8])| {
        let more = index + 1 < count;
        if view.is_ipv4() {
            fragment_v4(&octets[..header], part, index * room, more, id as u16)
        } else {
            fragment_v6(&octets[..header], part, index * room, more, id)
        }
    };
    Some(data.chunks(room).enumerate().map(piece).collect())
}

/// RFC 791 section 3.2; a fragment is cut further in the same way.
fn fragment_v4(header: &[u8], part: &[u8], offset: usize, more: bool, id: u16) -> BytesMut {
    let mut piece = BytesMut::with_capacity(header.len() + part.len());
    piece.put_slice(header);
    piece.put_slice(part);
    let old = u16::from_be_bytes([header[6], header[7]]);
    let is_whole = old & 0x3fff == 0;
    let more = more || old & 0x2000 != 0;
    let place = (old & 0x1fff) + (offset / 8) as u16;
    piece[6..8].copy_from_slice(&(place & 0x1fff | u16::from(more) << 13).to_be_bytes());
    if is_whole {
        piece[4..6].copy_from_slice(&id.to_be_bytes());
    }
    let len = piece.len() as u16;
    piece[2..4].copy_from_slice(&len.to_be_bytes());
    complete_header(&mut piece);
    piece
}

/// RFC 8200 section 4.5.
fn fragment_v6(header: &[u8], part: &[u8], offset: usize, more: bool, id: u32) -> BytesMut {
    let mut piece = BytesMut::with_capacity(header.len() + 8 + part.len());
    piece.put_slice(header);
    piece[4..6].copy_from_slice(&((8 + part.len()) as u16).to_be_bytes());
    piece[6] = FRAGMENT_HEADER;
    piece.put_slice(&[header[6], 0]);
    piece.put_u16(offset as u16 | u16::from(more));
    piece.put_u32(id);
    piece.put_slice(part);
    piece
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::packet::build_udp;
    use etherparse::PacketBuilder;
    use std::net::IpAddr;

    fn segment(ipv4: bool, payload: &[u8]) -> Vec<u8> {
        let builder =
            if ipv4 { PacketBuilder::ipv4([1; 4], [2; 4], 9) } else { PacketBuilder::ipv6([1; 16], [2; 16], 9) };
        let mut packet = Vec::new();
        let builder = builder.tcp(1, 2, u32::MAX - 100, 500).ack(3).psh().fin().cwr();
        builder.options_raw(&[1; 12]).unwrap().write_to_vec(&mut packet, payload).unwrap();
        packet
    }

    #[test]
    fn segments_carry_what_the_whole_did() {
        let payload: Vec<u8> = (0..5000_u32).map(|it| (it * 3) as u8).collect();
        for ipv4 in [true, false] {
            let whole = segment(ipv4, &payload);
            let view = View::parse(&whole).unwrap();
            let mut pieces = Vec::new();
            segments(&whole, &view, 1448, |piece| pieces.push(piece));
            let mut seen = Vec::new();
            for (index, piece) in pieces.iter().enumerate() {
                let it = View::parse(piece).unwrap();
                assert_eq!((it.len, it.header_len(piece)), (piece.len(), view.header_len(&whole)));
                assert!(is_checksum_right(piece, &it));
                assert!(!ipv4 || sum_of_header(piece) == 0xffff);
                let head = &piece[it.transport..];
                let sequence = u32::from_be_bytes([head[4], head[5], head[6], head[7]]);
                assert_eq!(sequence, (u32::MAX - 100).wrapping_add(seen.len() as u32));
                let (first, last) = (index == 0, index + 1 == pieces.len());
                assert_eq!((head[13] & CWR != 0, head[13] & (FIN | PSH) == FIN | PSH), (first, last));
                seen.extend_from_slice(&piece[it.header_len(piece)..]);
            }
            assert_eq!((pieces.len(), seen), (4, payload.clone()));
        }
    }

    #[test]
    fn a_super_datagram_becomes_datagrams() {
        for (from, to) in [([1; 4].into(), [2; 4].into()), (IpAddr::from([1; 16]), IpAddr::from([2; 16]))] {
            let whole = build_udp((from, 1), (to, 2), &[7; 2500]).unwrap();
            let mut sizes = Vec::new();
            segments(&whole, &View::parse(&whole).unwrap(), 1000, |piece| {
                let view = View::parse(&piece).unwrap();
                assert!(is_checksum_right(&piece, &view));
                let len = u16::from_be_bytes([piece[view.transport + 4], piece[view.transport + 5]]);
                sizes.push(usize::from(len) - 8);
            });
            assert_eq!(sizes, [1000, 1000, 500]);
        }
    }

    #[test]
    fn fragments_of_fragments_make_the_datagram() {
        for (from, to) in [([1; 4].into(), [2; 4].into()), (IpAddr::from([1; 16]), IpAddr::from([2; 16]))] {
            let payload: Vec<u8> = (0..9001_u32).map(|it| (it * 7) as u8).collect();
            let whole = build_udp((from, 1), (to, 2), &payload).unwrap();
            let view = View::parse(&whole).unwrap();
            let mut pieces = fragments(&whole, &view, 4000, 77).unwrap();
            if from.is_ipv4() {
                let cut = |piece: &BytesMut| fragments(piece, &View::parse(piece).unwrap(), 1500, 1).unwrap();
                pieces = pieces.iter().flat_map(cut).collect();
            }
            let (mut data, count) = (Vec::new(), pieces.len());
            for (index, piece) in pieces.iter().enumerate() {
                let it = View::parse(piece).unwrap();
                assert!(it.is_fragment && it.has_transport == (index == 0) && it.len <= 4000);
                let (place, more) = if from.is_ipv4() {
                    assert_eq!((sum_of_header(piece), &piece[4..6]), (0xffff, &[0, 77][..]));
                    let field = u16::from_be_bytes([piece[6], piece[7]]);
                    (usize::from(field & 0x1fff) * 8, field & 0x2000 != 0)
                } else {
                    let field = u16::from_be_bytes([piece[42], piece[43]]);
                    (usize::from(field & 0xfff8), field & 1 != 0)
                };
                assert_eq!((place, more), (data.len(), index + 1 < count));
                data.extend_from_slice(&piece[it.transport..]);
            }
            assert_eq!(data, whole[view.transport..]);
        }
    }

    #[test]
    fn options_are_not_cut() {
        let mut packet = segment(true, &[0; 3000]);
        packet[0] = 0x46;
        complete_header(&mut packet);
        let view = View::parse(&packet).unwrap();
        assert_eq!(fragments(&packet, &view, 1500, 1), None);
    }

    fn sum_of_header(packet: &[u8]) -> u16 {
        fold(sum(&packet[..20]))
    }
}

//! Fragmentation (RFC 791 section 3.2, RFC 8200 section 4.5).

use bytes::{BufMut, BytesMut};

use crate::dataplane::packet::{Packet, protocol};
use crate::dataplane::{DropReason, checksum};

/// Cuts a packet, which is longer than `mtu`, into fragments of at most `mtu` octets. `id` is unique among the datagrams
/// between these two addresses for as long as fragments live.
///
/// For IPv4 "don't fragment" does not count: the caller decides what it means. For IPv6 all headers up to the transport
/// header are repeated in each fragment.
pub(in crate::dataplane) fn split(packet: &Packet, mtu: usize, id: u32) -> Result<Vec<BytesMut>, DropReason> {
    let headers = &packet.headers;
    let header = &packet.octets[..headers.payload];
    let payload = &packet.octets[headers.payload..];
    let is_ipv4 = headers.source.is_ipv4();
    let overhead = header.len() + if is_ipv4 { 0 } else { 8 };
    let room = mtu.saturating_sub(overhead) & !7;
    if room == 0 {
        return Err(DropReason::TooBig);
    }
    let count = payload.len().div_ceil(room);
    let pieces = payload.chunks(room).enumerate().map(|(index, piece)| {
        let mut octets = BytesMut::with_capacity(overhead + piece.len());
        octets.put_slice(header);
        let offset = (index * room) as u16;
        let more = index + 1 < count;
        if is_ipv4 {
            finish_ipv4(&mut octets, piece.len(), id as u16, offset, more);
        } else {
            octets[4..6].copy_from_slice(&((overhead - 40 + piece.len()) as u16).to_be_bytes());
            octets[headers.next_header] = protocol::FRAGMENT;
            octets.put_slice(&[headers.protocol, 0]);
            octets.put_u16(offset | u16::from(more));
            octets.put_u32(id);
        }
        octets.put_slice(piece);
        octets
    });
    Ok(pieces.collect())
}

fn finish_ipv4(header: &mut [u8], piece_len: usize, id: u16, offset: u16, more: bool) {
    const MORE_FRAGMENTS: u16 = 0x2000;
    let total = (header.len() + piece_len) as u16;
    header[2..4].copy_from_slice(&total.to_be_bytes());
    header[4..6].copy_from_slice(&id.to_be_bytes());
    let flags = if more { MORE_FRAGMENTS } else { 0 };
    header[6..8].copy_from_slice(&(flags | (offset / 8)).to_be_bytes());
    header[10..12].fill(0);
    let sum = checksum::checksum(header);
    header[10..12].copy_from_slice(&sum.to_be_bytes());
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub(in crate::dataplane::fragment) fn udp_v4(len: usize) -> BytesMut {
        let mut packet = Vec::new();
        let payload: Vec<u8> = (0..len).map(|i| (i * 7) as u8).collect();
        let builder = etherparse::PacketBuilder::ipv4([10, 0, 0, 1], [192, 0, 2, 7], 64).udp(4000, 5000);
        builder.write(&mut packet, &payload).expect("a packet");
        BytesMut::from(&packet[..])
    }

    pub(in crate::dataplane::fragment) fn udp_v6(len: usize) -> BytesMut {
        let mut packet = Vec::new();
        let payload: Vec<u8> = (0..len).map(|i| (i * 5) as u8).collect();
        let builder = etherparse::PacketBuilder::ipv6([1; 16], [2; 16], 64).udp(4000, 5000);
        builder.write(&mut packet, &payload).expect("a packet");
        BytesMut::from(&packet[..])
    }

    #[test]
    fn fragments_keep_to_the_mtu_and_parse() {
        for (packet, expected) in [(udp_v4(65_507), 45), (udp_v6(65_487), 46), (udp_v4(1473), 2), (udp_v6(1453), 2)] {
            let packet = Packet::parse(packet).expect("a packet");
            let pieces = split(&packet, 1500, 9).expect("pieces");
            assert_eq!(pieces.len(), expected);
            for piece in pieces {
                assert!(piece.len() <= 1500);
                let piece = Packet::parse(piece).expect("a fragment");
                assert_eq!(piece.headers.fragment.expect("a fragment").id, 9);
            }
        }
    }

    /// RFC 6946: a packet may come with a fragment header although it is in one piece.
    #[test]
    fn a_packet_has_one_fragment_header_at_most() {
        let plain = udp_v6(3000);
        let mut packet = BytesMut::from(&plain[..40]);
        packet.extend_from_slice(&[packet[6], 0, 0, 0, 0, 0, 0, 77]);
        packet.extend_from_slice(&plain[40..]);
        packet[4..6].copy_from_slice(&(plain.len() as u16 - 32).to_be_bytes());
        packet[6] = protocol::FRAGMENT;
        let packet = Packet::parse(packet).expect("an atomic fragment");
        assert_eq!(packet.headers.fragment, None);
        assert_eq!(packet.octets, plain);
        assert_eq!(packet.headers, Packet::parse(plain.clone()).expect("a packet").headers);
        for piece in split(&packet, 1500, 9).expect("pieces") {
            let headers = Packet::parse(piece).expect("a fragment").headers;
            assert_eq!((headers.next_header, headers.payload), (6, 48));
        }
    }
}

use bytes::{BufMut, BytesMut};

use crate::packet;

/// What every IPv6 path carries (RFC 8200 section 5): up to here nobody has to cut.
const MIN_MTU: usize = 1280;
const HEADER_LEN: usize = 40;
const FRAGMENT_HEADER: u8 = 44;
/// Octets of data per piece at most, so that no piece is longer than a packet may be.
const MAX_DATA: usize = 32_768;

/// Cuts long IPv6 packets in two or three (RFC 8200 section 4.5). Only their source may do that; a router, as the gateway
/// is one, may cut to its path's MTU what it has put together from pieces, but has to refuse a packet that is too long.
#[derive(Debug)]
pub(crate) struct Fragmenter {
    next_id: u32,
}

impl Fragmenter {
    /// Identifications begin at a random one (RFC 7739).
    pub const fn new(first_id: u32) -> Self {
        Self { next_id: first_id }
    }

    /// Hands the packet on, in pieces where it is long IPv6. TCP is left alone: it cuts its segments itself.
    pub fn cut(&mut self, packet: BytesMut, mut send: impl FnMut(BytesMut)) {
        if packet.len() <= MIN_MTU || packet[0] >> 4 != 6 || packet[6] == packet::TCP {
            return send(packet);
        }
        let (header, data) = packet.split_at(HEADER_LEN);
        let room = data.len().div_ceil(2).next_multiple_of(8).min(MAX_DATA);
        let count = data.len().div_ceil(room);
        for (index, piece) in data.chunks(room).enumerate() {
            let mut octets = BytesMut::with_capacity(HEADER_LEN + 8 + piece.len());
            octets.put_slice(header);
            octets[4..6].copy_from_slice(&((8 + piece.len()) as u16).to_be_bytes());
            octets[6] = FRAGMENT_HEADER;
            octets.put_slice(&[header[6], 0]);
            octets.put_u16((index * room) as u16 | u16::from(index + 1 < count));
            octets.put_u32(self.next_id);
            octets.put_slice(piece);
            send(octets);
        }
        self.next_id = self.next_id.wrapping_add(1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use etherparse::{Ipv6FragmentHeaderSlice, Ipv6HeaderSlice};
    use std::net::Ipv6Addr;

    #[test]
    fn pieces_make_the_packet_again() {
        let from = (Ipv6Addr::from([1; 16]).into(), 4000);
        let to = (Ipv6Addr::from([2; 16]).into(), 5000);
        for (len, pieces) in [(0, 1), (1232, 1), (1233, 2), (1240, 2), (65_480, 2), (65_487, 2)] {
            let payload: Vec<u8> = (0..len).map(|at| (at * 7) as u8).collect();
            let packet = packet::build_udp(from, to, &payload).expect("it fits");
            let mut sent = Vec::new();
            Fragmenter::new(u32::MAX).cut(packet.clone(), |piece| sent.push(piece));
            assert_eq!(sent.len(), pieces, "{len} octets");
            if pieces == 1 {
                assert_eq!(sent[0], packet);
                continue;
            }
            let mut data = Vec::new();
            for piece in &sent {
                let ip = Ipv6HeaderSlice::from_slice(piece).expect("a header");
                assert_eq!(usize::from(ip.payload_length()) + HEADER_LEN, piece.len());
                let head = Ipv6FragmentHeaderSlice::from_slice(&piece[HEADER_LEN..]).expect("a fragment header");
                assert_eq!(
                    (usize::from(head.fragment_offset().value()) * 8, head.identification()),
                    (data.len(), u32::MAX)
                );
                data.extend_from_slice(&piece[HEADER_LEN + 8..]);
                assert_eq!(head.more_fragments(), data.len() < packet.len() - HEADER_LEN);
            }
            assert_eq!(data, packet[HEADER_LEN..]);
        }
    }

    #[test]
    fn other_packets_stay_whole() {
        let v4 = ([10, 0, 0, 1].into(), 4000);
        let packet = packet::build_udp(v4, v4, &[0; 2000]).expect("it fits");
        let mut count = 0;
        Fragmenter::new(0).cut(packet, |_| count += 1);
        assert_eq!(count, 1);
    }
}

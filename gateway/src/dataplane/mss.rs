//! The maximum segment size in SYN segments, lowered to what the path carries (RFC 879, RFC 6691): neither end of a
//! connection learns of the other's MTU otherwise where ICMP is filtered.

use super::checksum::Delta;
use super::packet::{Packet, Transport, tcp_flag};

/// Lowers the MSS option of a SYN to `path_mtu` without the IP and TCP headers; leaves every other packet alone.
pub(super) fn clamp(packet: &mut Packet, path_mtu: u16) {
    let Transport::Tcp { flags, .. } = packet.headers.transport else { return };
    if flags & tcp_flag::SYN == 0 {
        return;
    }
    let overhead = if packet.headers.source.is_ipv4() { 40 } else { 60 };
    let limit = path_mtu - overhead;
    let segment = &mut packet.octets[packet.headers.payload..];
    let header_len = usize::from(segment[12] >> 4) * 4;
    let Some(at) = find_option(&segment[20..header_len]).map(|at| at + 20) else { return };
    let old = u16::from_be_bytes([segment[at + 2], segment[at + 3]]);
    if old <= limit {
        return;
    }
    // Options need not be aligned: the words that the value touches are taken whole.
    let (first, last) = ((at + 2) & !1, (at + 4).next_multiple_of(2).min(segment.len() & !1));
    let words = |segment: &[u8]| -> Vec<u16> {
        segment[first..last].chunks_exact(2).map(|pair| u16::from_be_bytes([pair[0], pair[1]])).collect()
    };
    let before = words(segment);
    segment[at + 2..at + 4].copy_from_slice(&limit.to_be_bytes());
    let mut delta = Delta::default();
    for (old, new) in before.into_iter().zip(words(segment)) {
        delta.word(old, new);
    }
    let sum = delta.apply(u16::from_be_bytes([segment[16], segment[17]]));
    segment[16..18].copy_from_slice(&sum.to_be_bytes());
}

/// Where the MSS option (kind 2, length 4) begins.
fn find_option(options: &[u8]) -> Option<usize> {
    let mut at = 0;
    loop {
        match options.get(at)? {
            0 => return None,
            1 => at += 1,
            2 if options.get(at + 1) == Some(&4) && at + 4 <= options.len() => return Some(at),
            _ => match options.get(at + 1)? {
                0 | 1 => return None,
                len => at += usize::from(*len),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dataplane::checksum;
    use bytes::BytesMut;

    fn syn(options: &[u8]) -> Packet {
        let mut octets = Vec::new();
        let builder = etherparse::PacketBuilder::ipv4([10, 0, 0, 1], [192, 0, 2, 7], 64)
            .tcp(4000, 80, 1, 1000)
            .syn()
            .options_raw(options)
            .expect("options");
        builder.write(&mut octets, &[]).expect("a packet");
        Packet::parse(BytesMut::from(&octets[..])).expect("a packet")
    }

    #[test]
    fn only_larger_values_are_lowered_and_the_checksum_holds() {
        for (options, expected) in [
            (&[2, 4, 0xFF, 0xD7][..], Some(1460u16)),
            (&[1, 2, 4, 0xFF, 0xD7, 1, 1, 1][..], Some(1460)),
            (&[1, 1, 4, 2, 2, 4, 0xFF, 0xD7][..], Some(1460)),
            (&[2, 4, 2, 24][..], Some(536)),
            (&[1, 1, 4, 2][..], None),
            (&[2, 3, 9, 1][..], None),
        ] {
            let mut packet = syn(options);
            clamp(&mut packet, 1500);
            let headers = packet.headers;
            let segment = &packet.octets[headers.payload..];
            let found = find_option(&segment[20..]).map(|at| u16::from_be_bytes([segment[at + 22], segment[at + 23]]));
            assert_eq!(found, expected);
            assert_eq!(checksum::transport(headers.source, headers.destination, 6, segment), 0);
        }
    }
}

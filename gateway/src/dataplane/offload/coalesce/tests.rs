use super::*;
use crate::dataplane::offload::plain;
use proptest::prelude::*;

/// A segment of a flow, as a sender makes it.
fn segment(ipv6: bool, number: u16, sequence: u32, flags: u8, payload: &[u8]) -> BytesMut {
    let len = 20 + payload.len();
    let mut packet = if ipv6 {
        let mut ip = vec![0x60, 0, 0, 7];
        ip.extend_from_slice(&(len as u16).to_be_bytes());
        ip.extend_from_slice(&[6, 63]);
        ip.extend_from_slice(&[0x20; 16]);
        ip.extend_from_slice(&[0x26; 16]);
        ip
    } else {
        let mut ip = vec![0x45, 0];
        ip.extend_from_slice(&(20 + len as u16).to_be_bytes());
        ip.extend_from_slice(&number.to_be_bytes());
        ip.extend_from_slice(&[0x40, 0, 63, 6, 0, 0, 192, 0, 2, 1, 192, 0, 2, 2]);
        ip
    };
    let tcp = packet.len();
    packet.extend_from_slice(&[0, 80, 0x10, 0]);
    packet.extend_from_slice(&sequence.to_be_bytes());
    packet.extend_from_slice(&[0, 0, 0, 9, 0x50, flags, 1, 0, 0, 0, 0, 0]);
    packet.extend_from_slice(payload);
    seal(&mut packet, tcp);
    packet.as_slice().into()
}

/// Makes both checksums.
fn seal(packet: &mut [u8], tcp: usize) {
    packet[tcp + 16..tcp + 18].fill(0);
    if tcp == IPV4 {
        seal_ip(packet);
    }
    let (source, destination): (IpAddr, IpAddr) = if tcp == IPV4 {
        ([192, 0, 2, 1].into(), [192, 0, 2, 2].into())
    } else {
        ([0x20; 16].into(), [0x26; 16].into())
    };
    let sum = checksum::transport(source, destination, protocol::TCP, &packet[tcp..]);
    packet[tcp + 16..tcp + 18].copy_from_slice(&sum.to_be_bytes());
}

fn seal_ip(packet: &mut [u8]) {
    packet[10..12].fill(0);
    let sum = checksum::checksum(&packet[..IPV4]);
    packet[10..12].copy_from_slice(&sum.to_be_bytes());
}

/// Puts together what can be, in order.
fn coalesced(packets: &[BytesMut], longest: usize) -> Vec<(BytesMut, OffloadHeader)> {
    together(packets.iter().map(|packet| (packet.clone(), OffloadHeader::default())), longest)
}

/// The same for packets that may be of several segments already.
fn together(
    packets: impl IntoIterator<Item = (BytesMut, OffloadHeader)>,
    longest: usize,
) -> Vec<(BytesMut, OffloadHeader)> {
    let mut all: Vec<(BytesMut, OffloadHeader)> = Vec::new();
    for (packet, offload) in packets {
        let is_taken =
            all.last_mut().is_some_and(|(whole, header)| coalesce(whole, header, &packet, &offload, longest));
        if !is_taken {
            all.push((packet, offload));
        }
    }
    all
}

fn cut(all: Vec<(BytesMut, OffloadHeader)>) -> Vec<BytesMut> {
    all.into_iter().flat_map(|(packet, header)| plain(packet, &header)).collect()
}

fn flow(ipv6: bool, count: u16, last: usize) -> Vec<BytesMut> {
    let data: Vec<u8> = (0..1448).map(|at| (at % 251) as u8).collect();
    let one = |number: u16| {
        let len = if number + 1 == count { last } else { 1448 };
        let flags = if number + 1 == count { 0x18 } else { 0x10 };
        segment(ipv6, 500 + number, (u32::MAX - 5000).wrapping_add(1448 * u32::from(number)), flags, &data[..len])
    };
    (0..count).map(one).collect()
}

#[test]
fn a_flight_becomes_one_packet_and_comes_back() {
    for ipv6 in [false, true] {
        for last in [1448, 1] {
            let sent = flow(ipv6, 40, last);
            let all = coalesced(&sent, usize::MAX);
            assert_eq!(all.len(), 1);
            assert_eq!(all[0].1.segmentation.map(|it| it.segment_size), Some(1448));
            assert!(cut(all) == sent);
        }
    }
}

#[test]
fn packets_of_two_segments_become_one_while_they_are_short() {
    for ipv6 in [false, true] {
        for last in [1448, 1] {
            let sent = flow(ipv6, 40, last);
            let pairs = coalesced(&sent, 3000);
            assert_eq!(pairs.len(), 20);
            let all = together(pairs, usize::MAX);
            assert_eq!(all.len(), 4, "of 12 segments");
            assert!(cut(all) == sent);
        }
    }
    let mut pairs = coalesced(&flow(false, 4, 1448), 3000);
    pairs[1].1.segmentation.as_mut().expect("it has two").segment_size = 1000;
    assert_eq!(together(pairs, usize::MAX).len(), 2, "segments of another size");
}

#[test]
fn no_packet_is_longer_than_it_may_be() {
    let sent = flow(false, 60, 1448);
    for longest in [1, 3000, 16_384, usize::MAX] {
        let all = coalesced(&sent, longest);
        let most = longest.clamp(1488, 65_535);
        assert!(all.iter().all(|(packet, _)| packet.len() <= most), "{longest}");
        assert!(all.len() <= 60 && (longest < 3000 || all.len() < 60));
        assert!(cut(all) == sent);
    }
}

#[test]
fn each_difference_that_cutting_would_lose_keeps_packets_apart() {
    for (what, at, value) in [
        ("type of service", 1, 1),
        ("identification", 5, 99),
        ("fragmentation", 6, 0),
        ("hop limit", 8, 62),
        ("port", 21, 81),
        ("sequence", 27, 0),
        ("acknowledgement", 31, 8),
        ("URG", 33, 0x30),
        ("SYN", 33, 0x12),
        ("window", 35, 1),
    ] {
        let mut pair = flow(false, 2, 1448);
        pair[1][at] = value;
        seal(&mut pair[1], IPV4);
        assert_eq!(coalesced(&pair, usize::MAX).len(), 2, "{what}");
    }
    let mut pair = flow(false, 2, 1448);
    pair[1][100] ^= 1;
    assert_eq!(coalesced(&pair, usize::MAX).len(), 2, "a wrong checksum");
    let mut pair = flow(false, 2, 1448);
    pair[0][100] ^= 1;
    assert_eq!(coalesced(&pair, usize::MAX).len(), 2, "a wrong checksum of the first");
    let mut pair = flow(false, 2, 1448);
    pair[0][33] |= tcp_flag::PSH;
    seal(&mut pair[0], IPV4);
    assert_eq!(coalesced(&pair, usize::MAX).len(), 2, "PSH ends it");
}

#[test]
fn an_identification_that_stays_the_same_means_nothing_where_nobody_cuts() {
    let mut sent = flow(false, 3, 1448);
    for packet in &mut sent {
        packet[4..6].fill(0);
        seal(packet, IPV4);
    }
    assert_eq!(coalesced(&sent, usize::MAX).len(), 1);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]
    /// Whatever comes, putting together and cutting gives the same octets.
    #[test]
    fn cutting_is_the_inverse(
        ipv6 in any::<bool>(),
        size in 1usize..300,
        parts in prop::collection::vec((0usize..300, prop::sample::select(vec![0x10u8, 0x10, 0x10, 0x18, 0x11, 0x50, 0x12, 0x14]), 0u8..12, 0usize..60), 1..40),
        longest in prop::sample::select(vec![100usize, 1000, 65_535]),
    ) {
        let (mut sequence, mut number, mut sent) = (u32::MAX - 500, 65_530u16, Vec::new());
        for (len, flags, oddity, at) in parts {
            let len = if oddity < 8 { size } else { len };
            let data: Vec<u8> = (0..len).map(|octet| (octet + at) as u8).collect();
            let mut packet = segment(ipv6, number, sequence, flags, &data);
            let tcp = if ipv6 { IPV6 } else { IPV4 };
            match oddity {
                9 => {
                    // Its length and checksum are right, or it would not have come this far. An identification can happen to be the
                    // first one's, and then means nothing.
                    let (kept, at) = (if ipv6 { 4..6 } else { 2..6 }, at % tcp);
                    packet[at] ^= u8::from(!kept.contains(&at));
                    if !ipv6 {
                        seal_ip(&mut packet);
                    }
                }
                10 => {
                    let at = tcp + at % 20;
                    packet[at] ^= 1;
                    // The length of the header stays what it is.
                    packet[tcp + 12] = 0x50;
                    seal(&mut packet, tcp);
                }
                11 => sequence = sequence.wrapping_add(1),
                _ => {}
            }
            sequence = sequence.wrapping_add(len as u32);
            number = number.wrapping_add(1);
            sent.push(packet);
        }
        let all = coalesced(&sent, longest);
        prop_assert!(all.len() <= sent.len());
        let again = together(all.clone(), 65_535);
        prop_assert!(again.len() <= all.len());
        prop_assert_eq!(cut(again), sent.clone());
        prop_assert_eq!(cut(all), sent);
    }
}

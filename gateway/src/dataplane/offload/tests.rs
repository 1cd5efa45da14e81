use super::*;
use bytes::BytesMut;
use proptest::prelude::*;

/// A packet that is easy to describe.
#[derive(Clone, Debug)]
struct Super {
    ipv6: bool,
    udp: bool,
    /// Extension headers for IPv6, options for IPv4, in units of 8 and 4 octets.
    extra: usize,
    flags: u8,
    options: usize,
    number: u32,
    id: u16,
    payload: Vec<u8>,
    size: u16,
    garbage: u16,
}

fn supers() -> impl Strategy<Value = Super> {
    let first = (any::<bool>(), any::<bool>(), 0..3usize, any::<u8>(), 0..10usize);
    let payload = proptest::collection::vec(any::<u8>(), 1..3000);
    (first, any::<u32>(), any::<u16>(), payload, 1..2000u16, any::<u16>()).prop_map(
        |(first, number, id, payload, size, garbage)| {
            let (ipv6, udp, extra, flags, options) = first;
            // SYN, RST and FIN without ACK are refused by the parser.
            let flags = (flags | 0x10) & !0x06;
            Super { ipv6, udp, extra, flags, options, number, id, payload, size, garbage }
        },
    )
}

impl Super {
    fn transport_len(&self) -> usize {
        if self.udp { 8 } else { 20 + 4 * self.options }
    }

    fn ip_len(&self) -> usize {
        if self.ipv6 { 40 + 8 * self.extra } else { 20 + 4 * self.extra }
    }

    /// One packet with these parts; `sum` is the field of the transport checksum, or none to make it.
    fn build(&self, id: u16, number: u32, flags: u8, payload: &[u8], sum: Option<u16>) -> Vec<u8> {
        let protocol = if self.udp { 17 } else { 6 };
        let transport_len = self.transport_len();
        let total = self.ip_len() + transport_len + payload.len();
        let mut packet = Vec::new();
        let (source, destination): (Vec<u8>, Vec<u8>) =
            if self.ipv6 { (vec![0x20; 16], vec![0x21; 16]) } else { (vec![10, 0, 0, 1], vec![192, 0, 2, 7]) };
        if self.ipv6 {
            packet.extend([0x60, 0, 0, 0]);
            packet.extend(((total - 40) as u16).to_be_bytes());
            packet.extend([if self.extra > 0 { 60 } else { protocol }, 64]);
            packet.extend([&source[..], &destination].concat());
            for left in (0..self.extra).rev() {
                packet.extend([if left > 0 { 60 } else { protocol }, 0, 1, 4, 0, 0, 0, 0]);
            }
        } else {
            packet.extend([0x40 | (5 + self.extra) as u8, 0]);
            packet.extend((total as u16).to_be_bytes());
            packet.extend(id.to_be_bytes());
            packet.extend([0x40, 0, 64, protocol, 0, 0]);
            packet.extend([&source[..], &destination].concat());
            packet.extend(vec![1; 4 * self.extra]);
            let sum = naive(&[&packet]);
            packet[10..12].copy_from_slice(&sum.to_be_bytes());
        }
        let mut segment = vec![0x9C, 0x40, 0x00, 0x50];
        if self.udp {
            segment.extend(((8 + payload.len()) as u16).to_be_bytes());
            segment.extend([0, 0]);
        } else {
            segment.extend(number.to_be_bytes());
            segment.extend([0, 0, 0, 9, ((5 + self.options) << 4) as u8, flags, 1, 0, 0, 0, 0, 0]);
            segment.extend(vec![1; 4 * self.options]);
        }
        segment.extend(payload);
        let at = if self.udp { 6 } else { 16 };
        let sum = sum.unwrap_or_else(|| {
            let len = (segment.len() as u32).to_be_bytes();
            let sum = naive(&[&source, &destination, &len, &[0, 0, 0, protocol], &segment]);
            if sum == 0 && self.udp { 0xFFFF } else { sum }
        });
        segment[at..at + 2].copy_from_slice(&sum.to_be_bytes());
        packet.extend(segment);
        packet
    }

    fn header(&self) -> OffloadHeader {
        let kind = match (self.udp, self.ipv6) {
            (true, _) => SegmentationKind::Udp,
            (false, true) => SegmentationKind::TcpV6,
            (false, false) => SegmentationKind::TcpV4,
        };
        OffloadHeader {
            checksum: OffloadChecksum::Partial { start: self.ip_len() as u16, offset: if self.udp { 6 } else { 16 } },
            segmentation: Some(Segmentation {
                kind,
                ecn: false,
                header_len: (self.ip_len() + self.transport_len()) as u16,
                segment_size: self.size,
            }),
        }
    }

    fn octets(&self) -> BytesMut {
        BytesMut::from(&self.build(self.id, self.number, self.flags, &self.payload, Some(self.garbage))[..])
    }

    fn packet(&self) -> Packet {
        Packet::parse_offload(self.octets(), &self.header()).expect("a good packet")
    }

    /// What the sender would have sent without offload, one packet after the other.
    fn segments(&self) -> Vec<Vec<u8>> {
        let mut segments = Vec::new();
        let mut rest = &self.payload[..];
        while !rest.is_empty() {
            let (data, behind) = rest.split_at(rest.len().min(usize::from(self.size)));
            let index = segments.len();
            let mut flags = self.flags;
            if index > 0 {
                flags &= 0x7F;
            }
            if !behind.is_empty() {
                flags &= !0x09;
            }
            let number = self.number.wrapping_add((index * usize::from(self.size)) as u32);
            segments.push(self.build(self.id.wrapping_add(index as u16), number, flags, data, None));
            rest = behind;
        }
        segments
    }
}

fn naive(parts: &[&[u8]]) -> u16 {
    let mut total = 0u32;
    for pair in parts.concat().chunks(2) {
        total += u32::from(pair[0]) << 8 | u32::from(*pair.get(1).unwrap_or(&0));
        total = (total & 0xFFFF) + (total >> 16);
    }
    !(total as u16)
}

fn octets(packets: Vec<Packet>) -> Vec<Vec<u8>> {
    packets.into_iter().map(|packet| packet.octets.to_vec()).collect()
}

/// Everything that `Packet::parse` finds out must be what a piece says of itself.
fn assert_parsed(packet: &Packet) {
    let again = Packet::parse(packet.octets.clone()).expect("a piece is a packet");
    assert_eq!((again.headers, again.may_fragment), (packet.headers, packet.may_fragment));
}

proptest! {
    #[test]
    fn segments_are_what_a_sender_without_offload_sends(it in supers()) {
        let packet = it.packet();
        prop_assert_eq!(packet.segment_count(), it.segments().len());
        let longest = it.segments().iter().map(Vec::len).max();
        prop_assert_eq!(Some(packet.longest()), longest);
        let plain = packet.into_plain();
        plain.iter().for_each(assert_parsed);
        prop_assert_eq!(octets(plain), it.segments());
    }

    #[test]
    fn pieces_of_several_segments_are_cut_into_the_same(it in supers(), count in 1..5usize) {
        let pieces: Vec<_> = it.packet().split(count * usize::from(it.size)).collect();
        let mut segments = Vec::new();
        for piece in pieces {
            let again = Packet::parse_offload(piece.octets.clone(), &piece.offload_header()).expect("a good packet");
            prop_assert_eq!(again.offload, piece.offload);
            segments.extend(octets(piece.into_plain()));
        }
        prop_assert_eq!(segments, it.segments());
    }

    #[test]
    fn what_the_device_finishes_is_what_is_finished_here(it in supers(), device in 0..3usize) {
        let device = [EgressOffload::None, EgressOffload::Tcp, EgressOffload::All][device];
        let mut sent = Vec::new();
        for packet in it.packet().into_transmits(Destination::Egress, device) {
            let header = packet.offload_header();
            let is_left = header.segmentation.is_some();
            prop_assert!(!is_left || device == EgressOffload::All || device == EgressOffload::Tcp && !it.udp);
            prop_assert!(device != EgressOffload::None || header == OffloadHeader::default());
            if packet.offload.is_partial {
                // The sum of the field and of all that is covered is what the device takes the complement of.
                let mut whole = packet.octets.to_vec();
                let at = packet.headers.payload;
                let sum = naive(&[&whole[at..]]);
                let at = at + if it.udp { 6 } else { 16 };
                if !is_left {
                    let sum = if sum == 0 && it.udp { 0xFFFF } else { sum };
                    whole[at..at + 2].copy_from_slice(&sum.to_be_bytes());
                    prop_assert_eq!(&[whole][..], &it.segments()[..]);
                }
            }
            sent.extend(plain(packet.octets, &header));
        }
        prop_assert_eq!(sent.iter().map(|octets| octets.to_vec()).collect::<Vec<_>>(), it.segments());
    }

    #[test]
    fn a_host_gets_tcp_whole_and_udp_as_datagrams(it in supers()) {
        let sent = it.packet().into_transmits(Destination::Local, EgressOffload::All);
        sent.iter().for_each(assert_parsed);
        let whole = it.build(it.id, it.number, it.flags, &it.payload, None);
        prop_assert_eq!(octets(sent), if it.udp { it.segments() } else { vec![whole] });
    }

    #[test]
    fn clamping_changes_the_size_of_tcp_segments_alone(it in supers(), mtu in 1280..2000u16) {
        let mut packet = it.packet();
        let before = packet.longest();
        packet.clamp_segments(mtu).expect("headers fit");
        if it.udp {
            prop_assert_eq!(packet.longest(), before);
        } else {
            prop_assert_eq!(packet.longest(), before.min(usize::from(mtu)));
            let data: Vec<u8> = packet.into_plain().iter().flat_map(|it| it.octets[it.header_len()..].to_vec()).collect();
            prop_assert_eq!(data, it.payload);
        }
    }

    #[test]
    fn damaged_headers_are_refused_or_mean_something(
        it in supers(),
        at in 0..10usize,
        change in 1..=255u8,
        cut in any::<proptest::sample::Index>(),
    ) {
        let mut payload = [&it.header().encode()[..], &it.octets()].concat();
        payload[at] ^= change;
        for payload in [&payload[..], &payload[..cut.index(payload.len())]] {
            let Ok(header) = OffloadHeader::decode(payload) else { continue };
            let octets = BytesMut::from(&payload[webtun_wire::OFFLOAD_HEADER_LEN..]);
            let from_device = Packet::parse_device(octets.clone(), &header);
            if let Ok(packet) = Packet::parse_offload(octets, &header) {
                prop_assert!(from_device.is_ok());
                packet.into_plain().iter().for_each(assert_parsed);
            }
        }
    }
}

/// Whatever is longer goes to the kernel in pieces of whole segments.
#[test]
fn long_packets_reach_the_kernel_in_two_pieces() {
    let payload = (0..65_400).map(|number| number as u8).collect();
    let it = Super {
        ipv6: false,
        udp: false,
        extra: 0,
        flags: 0x98,
        options: 3,
        number: u32::MAX - 70,
        id: 65_500,
        payload,
        size: 1448,
        garbage: 7,
    };
    let pieces = it.packet().into_transmits(Destination::Egress, EgressOffload::Tcp);
    assert_eq!(pieces.len(), 2);
    assert!(pieces.iter().all(|piece| piece.octets.len() <= KERNEL_MOST));
    let plain = pieces.into_iter().flat_map(|piece| plain(piece.octets.clone(), &piece.offload_header()));
    assert_eq!(plain.map(|octets| octets.to_vec()).collect::<Vec<_>>(), it.segments());
}

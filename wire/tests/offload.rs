//! The offload header: its golden vectors, and properties of its codec.

use proptest::prelude::*;
use serde_json::{Value, json};
use webtun_wire::{
    BatchWriter, Capsule, OFFLOAD_HEADER_LEN, OffloadChecksum, OffloadError, OffloadHeader, PacketShape, Segmentation,
    SegmentationKind, capsules,
};

const MTU: usize = 65_535;

fn octets(hex: &Value) -> Vec<u8> {
    let digits: Vec<u8> = hex.as_str().expect("hex").chars().map(|c| c.to_digit(16).expect("hex") as u8).collect();
    digits.chunks_exact(2).map(|pair| pair[0] << 4 | pair[1]).collect()
}

fn vectors(list: &str) -> Vec<Value> {
    let file: Value = serde_json::from_str(include_str!("vectors/offload.json")).expect("JSON");
    let vectors = file[list].as_array().expect("a list").clone();
    assert!(vectors.len() > 5);
    vectors
}

/// Of IPv4 without options and IPv6 with at most one extension header, which is all that the vectors have.
fn shape(packet: &[u8]) -> PacketShape {
    let is_ipv6 = packet[0] >> 4 == 6;
    let (protocol, transport) = match (is_ipv6, packet[6]) {
        (false, _) => (packet[9], 20),
        (true, 60) => (packet[40], 48),
        (true, protocol) => (protocol, 40),
    };
    PacketShape {
        is_ipv6,
        protocol,
        is_fragment: !is_ipv6 && (packet[6] & 0x3F != 0 || packet[7] != 0),
        transport,
        header_len: transport + if protocol == 6 { 20 } else { 8 },
        len: packet.len(),
    }
}

fn as_json(header: &OffloadHeader) -> Value {
    let checksum = match header.checksum {
        OffloadChecksum::Complete => json!("complete"),
        OffloadChecksum::Verified => json!("verified"),
        OffloadChecksum::Partial { start, offset } => json!({ "start": start, "offset": offset }),
    };
    let segmentation = header.segmentation.map(|it| {
        let kind = match it.kind {
            SegmentationKind::TcpV4 => "TCPv4",
            SegmentationKind::TcpV6 => "TCPv6",
            SegmentationKind::Udp => "UDP_L4",
        };
        json!({ "kind": kind, "ecn": it.ecn, "header_length": it.header_len, "segment_size": it.segment_size })
    });
    json!({ "checksum": checksum, "segmentation": segmentation })
}

fn error_name(error: OffloadError) -> &'static str {
    match error {
        OffloadError::Short => "short",
        OffloadError::Flags => "flags",
        OffloadError::GsoType => "gso_type",
        OffloadError::NotZero => "not_zero",
        OffloadError::NoChecksum => "no_checksum",
        OffloadError::SegmentSize => "segment_size",
        OffloadError::HeaderLength => "header_length",
        OffloadError::ChecksumStart => "checksum_start",
        OffloadError::ChecksumOffset => "checksum_offset",
        OffloadError::TooLong => "too_long",
    }
}

fn judge(payload: &[u8]) -> Result<OffloadHeader, OffloadError> {
    let header = OffloadHeader::decode(payload)?;
    header.check(&shape(&payload[OFFLOAD_HEADER_LEN..]), MTU).map(|()| header)
}

#[test]
fn valid_datagrams_are_what_the_vector_says_and_what_the_writer_writes() {
    for vector in vectors("valid") {
        let message = octets(&vector["hex"]);
        let Some(Ok(Capsule::Datagram { context, payload })) = capsules(&message).next() else {
            panic!("{}: no datagram", vector["name"]);
        };
        let header = judge(payload).unwrap_or_else(|error| panic!("{}: {error}", vector["name"]));
        assert_eq!(as_json(&header), vector["offload"], "{}", vector["name"]);
        let mut writer = BatchWriter::new(message.len());
        assert!(writer.push_offload(context, &header, &payload[OFFLOAD_HEADER_LEN..]));
        assert_eq!(writer.finish(), message, "{}", vector["name"]);
    }
}

#[test]
fn refused_datagrams_break_the_rule_that_the_vector_names() {
    for vector in vectors("refused") {
        let error = judge(&octets(&vector["payload"])).expect_err("it is to be refused");
        assert_eq!(error_name(error), vector["error"], "{}", vector["name"]);
    }
}

#[test]
fn the_mtu_bounds_each_segment_and_a_packet_in_one() {
    let partial = OffloadChecksum::Partial { start: 20, offset: 16 };
    let tcp = |len| PacketShape { is_ipv6: false, protocol: 6, is_fragment: false, transport: 20, header_len: 40, len };
    let with = |segment_size| OffloadHeader {
        checksum: partial,
        segmentation: Some(Segmentation { kind: SegmentationKind::TcpV4, ecn: false, header_len: 40, segment_size }),
    };
    let plain = OffloadHeader { checksum: partial, segmentation: None };
    assert_eq!(plain.check(&tcp(1500), 1500), Ok(()));
    assert_eq!(plain.check(&tcp(1501), 1500), Err(OffloadError::TooLong));
    assert_eq!(with(1460).check(&tcp(65_535), 1500), Ok(()));
    assert_eq!(with(1461).check(&tcp(65_535), 1500), Err(OffloadError::TooLong));
    assert_eq!(with(65_535).check(&tcp(1500), 1500), Ok(()));
    assert_eq!(with(1460).check(&tcp(65_536), 1500), Err(OffloadError::TooLong));
    assert_eq!(with(1460).normalized(1500).segmentation, None);
    assert_eq!(with(1460).normalized(1501), with(1460));
    assert_eq!(with(1460).segmentation.map(|it| it.count(40 + 2 * 1460 + 1)), Some(3));
}

#[test]
fn datagrams_that_do_not_fit_leave_the_batch_as_it_was() {
    let packet = [0x45; 100];
    let mut writer = BatchWriter::new(1 + 2 + 1 + OFFLOAD_HEADER_LEN + 99);
    assert!(!writer.push_offload(2, &OffloadHeader::default(), &packet));
    assert!(writer.is_empty());
    assert!(writer.push_offload(2, &OffloadHeader::default(), &packet[1..]));
}

fn header() -> impl Strategy<Value = OffloadHeader> {
    let kind = prop::sample::select(vec![SegmentationKind::TcpV4, SegmentationKind::TcpV6, SegmentationKind::Udp]);
    let segmentation =
        (kind, any::<bool>(), any::<u16>(), 1..=u16::MAX).prop_map(|(kind, ecn, header_len, segment_size)| {
            let ecn = ecn && kind != SegmentationKind::Udp;
            Segmentation { kind, ecn, header_len, segment_size }
        });
    let partial =
        (any::<u16>(), any::<u16>(), prop::option::of(segmentation)).prop_map(|(start, offset, segmentation)| {
            OffloadHeader { checksum: OffloadChecksum::Partial { start, offset }, segmentation }
        });
    let whole = prop::sample::select(vec![OffloadChecksum::Complete, OffloadChecksum::Verified])
        .prop_map(|checksum| OffloadHeader { checksum, segmentation: None });
    prop_oneof![partial, whole]
}

proptest! {
    #[test]
    fn headers_survive_the_round_trip(header in header()) {
        let payload = [&header.encode()[..], &[0x45; 20]].concat();
        prop_assert_eq!(OffloadHeader::decode(&payload), Ok(header));
    }

    #[test]
    fn what_is_understood_is_said_in_the_same_octets(payload in prop::collection::vec(any::<u8>(), 0..40), flags in 0..4u8) {
        let mut payload = payload;
        payload.first_mut().into_iter().for_each(|octet| *octet = flags);
        if let Ok(header) = OffloadHeader::decode(&payload) {
            prop_assert_eq!(&header.encode()[..], &payload[..OFFLOAD_HEADER_LEN]);
        }
    }
}

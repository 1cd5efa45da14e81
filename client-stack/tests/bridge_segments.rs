//! Long packets: what guests with a large MTU send and get.

#![cfg(feature = "bridge")]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod bridge_support;

use bridge_support::*;
use bytes::BytesMut;
use webtun_stack::bridge::FrameDrop;
use webtun_wire::OffloadHeader;

#[test]
fn a_large_segment_leaves_whole_where_the_tunnel_takes_it() {
    let payload: Vec<u8> = (0..40_000_u32).map(|it| it as u8).collect();
    for offload in [true, false] {
        let (mut lab, guest) = with_uplink(65_000, offload);
        let a = lab.a;
        assert_eq!(handshake(&mut lab, guest, 64_960, 1400), (1460, 64_960));
        lab.send(a, &frame(ROUTER, A, 0x0800, &tcp(true, (A_V4, REMOTE), None, &payload)));
        let out: Vec<_> = std::iter::from_fn(|| lab.segment.poll_packet(guest)).collect();
        if !offload {
            assert_eq!((out.len(), out[0].0.len()), (29, 1440));
            assert!(out.iter().all(|(_, header)| *header == OffloadHeader::default()));
            assert_eq!(out.iter().flat_map(|(packet, _)| packet[40..].to_vec()).collect::<Vec<_>>(), payload);
            continue;
        }
        let [(packet, header)] = &out[..] else { panic!("{} packets", out.len()) };
        let segmentation = header.segmentation.unwrap();
        assert_eq!((segmentation.segment_size, segmentation.header_len), (1400, 40));
        assert_eq!(packet[..20], tcp(true, (OWN, REMOTE), None, &payload)[..20]);
        // What damages a segment must not be covered up by a new checksum.
        let mut broken = frame(ROUTER, A, 0x0800, &tcp(true, (A_V4, REMOTE), None, &payload));
        broken[1000] ^= 1;
        lab.refuses(a, &broken, FrameDrop::Malformed);
    }
}

#[test]
fn a_super_segment_arrives_as_the_guest_can_take_it() {
    let payload: Vec<u8> = (0..40_000_u32).map(|it| it as u8).collect();
    for (mtu, frames) in [(65_000, 1), (9000, 5), (1500, 28)] {
        let (mut lab, guest) = with_uplink(mtu, true);
        handshake(&mut lab, guest, mtu - 40, 1460);
        let mut packet = BytesMut::from(&tcp(false, (REMOTE, OWN), None, &payload)[..]);
        packet[36..38].fill(0xee);
        let header = OffloadHeader {
            checksum: webtun_wire::OffloadChecksum::Partial { start: 20, offset: 16 },
            segmentation: Some(webtun_wire::Segmentation {
                kind: webtun_wire::SegmentationKind::TcpV4,
                ecn: false,
                header_len: 40,
                segment_size: 1460,
            }),
        };
        lab.segment.handle_packet(guest, packet, header);
        let a = lab.a;
        let came = lab.frames(a);
        assert_eq!(came.len(), frames, "MTU {mtu}");
        assert_eq!(came.iter().flat_map(|it| it[54..].to_vec()).collect::<Vec<_>>(), payload);
        if frames == 1 {
            assert_eq!(came[0][14..], tcp(false, (REMOTE, A_V4), None, &payload));
        }
    }
}

#[test]
fn a_long_datagram_comes_in_fragments() {
    let (mut lab, guest) = with_uplink(1500, false);
    let packet = BytesMut::from(&udp(A, A, (REMOTE, OWN), (53, 4000), &[7; 4000])[14..]);
    lab.segment.handle_packet(guest, packet, OffloadHeader::default());
    let a = lab.a;
    let came = lab.frames(a);
    assert_eq!(came.iter().map(|it| it.len() - 34).collect::<Vec<_>>(), [1480, 1480, 1048]);
    assert!(came.iter().all(|it| it[30..34] == A_V4.octets()));
}

#[test]
fn fragments_and_unknown_protocols_pass() {
    let (mut lab, guest) = with_uplink(1500, false);
    let a = lab.a;
    let whole = udp(ROUTER, A, (A_V4, REMOTE), (1, 2), &[7; 1000]);
    let mut later = whole.clone();
    (later[20], later[21]) = (0, 100);
    let sum = u16::from_be_bytes([later[24], later[25]]).wrapping_sub(100);
    later[24..26].copy_from_slice(&sum.to_be_bytes());
    lab.send(a, &later);
    let (packet, _) = lab.segment.poll_packet(guest).unwrap();
    assert_eq!((&packet[12..16], &packet[20..]), (&OWN.octets()[..], &later[34..]), "the rest is data");
    let mut other = whole;
    other[23] = 132;
    lab.send(a, &other);
    let (packet, _) = lab.segment.poll_packet(guest).unwrap();
    assert_eq!(packet[20..], other[34..]);
}

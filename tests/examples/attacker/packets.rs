use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use bytes::BytesMut;
use webtun_tests::packet::{Segment, fragment, raw, tcp_with_mss, udp, with_hop_limit, with_source};
use webtun_tests::rng::SimRng;
use webtun_wire::{BatchWriter, Capsule};

use crate::Attack;

/// Octets of a message: large enough that the WebSocket costs nothing, small enough to be one of many.
const MESSAGE_LEN: usize = 64 * 1024;
/// Where the attack is aimed.
const REMOTE: [IpAddr; 2] =
    [IpAddr::V4(Ipv4Addr::new(198, 18, 0, 2)), IpAddr::V6(Ipv6Addr::new(0x2001, 2, 0, 0, 0, 0, 0, 2))];

/// A message full of the packets that come next; `count` says which.
pub fn message(attack: Attack, count: &mut u64, own: [IpAddr; 2], (number, received): (u64, u64)) -> Vec<u8> {
    let mut batch = BatchWriter::with_sequence(MESSAGE_LEN, number);
    let mut room = batch.push(&Capsule::Ack { next: received });
    while room {
        let packets = packets(attack, *count, own);
        room = packets.iter().all(|packet| batch.push_packet(0, packet));
        *count += 1;
    }
    batch.finish()
}

fn packets(attack: Attack, index: u64, own: [IpAddr; 2]) -> Vec<BytesMut> {
    let family = usize::from(index % 2 == 1);
    let (source, remote) = (own[family], REMOTE[family]);
    let at = |address, port: u64| SocketAddr::new(address, (port % 65_535 + 1) as u16);
    let syn = Segment { sequence: index as u32, ..Segment::flags(Segment::SYN) };
    match attack {
        Attack::PortScan => {
            vec![tcp_with_mss(at(source, 40_000 + index % 7), at(remote, index / 2), syn, 1460)]
        }
        Attack::SynFlood => vec![tcp_with_mss(at(source, index * 7919), at(remote, 79), syn, 1460)],
        // 50,000 of each family.
        Attack::UdpFlows => vec![udp(at(source, index / 2 % 50_000), at(remote, 8 + index / 100_000 % 2), b"flow")],
        Attack::Deaf => vec![udp(at(source, 5000), at(remote, 6), &[7; 1400])],
        Attack::Spoofed => vec![spoofed(index, source, remote)],
        Attack::Fragments => fragments(index, source, remote),
        _ => vec![malformed(index, source, remote)],
    }
}

fn spoofed(index: u64, source: IpAddr, remote: IpAddr) -> BytesMut {
    let random = SimRng::new(index, "spoofed").vec(16);
    let v4 = |octets: [u8; 4]| IpAddr::from(octets);
    let v6 = |first: u16, last: u16| IpAddr::from([first, 0x6562, 0x7475, 0, 0, 0, 0, last]);
    let claimed = match (source.is_ipv4(), index / 2 % 6) {
        (true, 0) => v4([100, 64, 0, random[0]]),
        (true, 1) => v4([100, 64, 0, 1]),
        (true, 2) => v4([100, 127, 255, 1]),
        (true, 3) => v4([127, 0, 0, 1]),
        (true, 4) => v4([random[0], random[1], random[2], random[3]]),
        (false, 0) => v6(0xfd77, u16::from(random[0])),
        (false, 1) => v6(0xfd77, 1),
        (false, 2) => IpAddr::from([0xfd77, 0x6562, 0x7475, 0xffff, 0, 0, 0, 1]),
        (false, 3) => IpAddr::V6(Ipv6Addr::LOCALHOST),
        (false, 4) => v6(0xfe80, u16::from(random[0])),
        // "Land": from the destination to itself.
        _ => remote,
    };
    let port = 1 + (index % 60_000) as u16;
    let destination = SocketAddr::new(remote, if index.is_multiple_of(3) { port } else { 9 });
    with_source(udp(SocketAddr::new(source, port), destination, b"spoofed"), claimed)
}

fn fragments(index: u64, source: IpAddr, remote: IpAddr) -> Vec<BytesMut> {
    let whole = udp(SocketAddr::new(source, 7000), SocketAddr::new(remote, 9), &[7; 4000]);
    let id = index as u32;
    let mut pieces = fragment(whole.clone(), 1280, id);
    match index / 2 % 7 {
        // First ones alone, last ones alone, all but one.
        0 => pieces.truncate(1),
        1 => drop(pieces.drain(..pieces.len() - 1)),
        2 => drop(pieces.remove(1)),
        // The same piece with other octets; pieces of another size over them.
        3 => {
            let mut other = pieces[1].clone();
            *other.last_mut().expect("a packet has octets") ^= 0xff;
            pieces.insert(1, other);
        }
        4 => pieces.extend(fragment(whole, 1000, id)),
        // As small as they get: each costs more to keep than it holds.
        5 => pieces = fragment(whole, if source.is_ipv4() { 28 } else { 56 }, id),
        // Beyond the largest packet there is.
        _ => pieces.iter_mut().for_each(beyond_the_end),
    }
    pieces
}

fn beyond_the_end(piece: &mut BytesMut) {
    if piece[0] >> 4 == 4 {
        piece[6..8].copy_from_slice(&0x3ffe_u16.to_be_bytes());
        // Its header checksum is made anew with the hop limit.
        *piece = with_hop_limit(std::mem::take(piece), 64);
    } else {
        piece[42..44].copy_from_slice(&0xfff9_u16.to_be_bytes());
    }
}

/// Every other one is right but for some octets; the rest never was a packet.
fn malformed(index: u64, source: IpAddr, remote: IpAddr) -> BytesMut {
    let mut rng = SimRng::new(index, "malformed");
    let random = rng.vec(64 + (index % 200) as usize);
    if (index / 2).is_multiple_of(2) {
        return raw(source, remote, random[0], &random);
    }
    let mut packet = udp(SocketAddr::new(source, 8000), SocketAddr::new(remote, 9), &random);
    for change in random.chunks_exact(2).take(3) {
        let at = usize::from(change[0]) % 48.min(packet.len());
        packet[at] = change[1];
    }
    packet.truncate(packet.len() - usize::from(random[6]) % 40);
    packet
}

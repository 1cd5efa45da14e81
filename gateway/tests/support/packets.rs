//! Packets made and judged without the gateway's own code.

use etherparse::PacketBuilder;
use std::net::IpAddr;

pub type Endpoint = (IpAddr, u16);

pub const SYN: u8 = 0x02;
pub const RST: u8 = 0x04;
pub const ACK: u8 = 0x10;
pub const FIN: u8 = 0x01;

fn ip(from: IpAddr, to: IpAddr, ttl: u8) -> etherparse::PacketBuilderStep<etherparse::IpHeaders> {
    match (from, to) {
        (IpAddr::V4(from), IpAddr::V4(to)) => PacketBuilder::ipv4(from.octets(), to.octets(), ttl),
        (IpAddr::V6(from), IpAddr::V6(to)) => PacketBuilder::ipv6(from.octets(), to.octets(), ttl),
        _ => panic!("two families"),
    }
}

/// Any octets under an IP header that names any protocol.
pub fn raw(from: IpAddr, to: IpAddr, protocol: u8, payload: &[u8]) -> Vec<u8> {
    const EXPERIMENT: u8 = 253;
    let mut packet = Vec::new();
    ip(from, to, 64).write(&mut packet, EXPERIMENT.into(), payload).expect("a packet");
    let at = if is_v4(&packet) { 9 } else { 6 };
    packet[at] = protocol;
    if at == 9 {
        packet[10..12].fill(0);
        let header = !fold(sum(&packet[..20]));
        packet[10..12].copy_from_slice(&header.to_be_bytes());
    }
    packet
}

pub fn udp(from: Endpoint, to: Endpoint, payload: &[u8]) -> Vec<u8> {
    udp_ttl(from, to, payload, 64)
}

pub fn udp_ttl(from: Endpoint, to: Endpoint, payload: &[u8], ttl: u8) -> Vec<u8> {
    let mut packet = Vec::new();
    ip(from.0, to.0, ttl).udp(from.1, to.1).write(&mut packet, payload).expect("a packet");
    packet
}

pub fn tcp(from: Endpoint, to: Endpoint, flags: u8, payload: &[u8]) -> Vec<u8> {
    tcp_options(from, to, flags, &[], payload)
}

pub fn tcp_options(from: Endpoint, to: Endpoint, flags: u8, options: &[u8], payload: &[u8]) -> Vec<u8> {
    let mut header = etherparse::TcpHeader::new(from.1, to.1, 1000, 4096);
    header.syn = flags & SYN != 0;
    header.rst = flags & RST != 0;
    header.ack = flags & ACK != 0;
    header.fin = flags & FIN != 0;
    header.set_options_raw(options).expect("options");
    let mut packet = Vec::new();
    ip(from.0, to.0, 64).tcp_header(header).write(&mut packet, payload).expect("a packet");
    packet
}

pub fn echo(from: IpAddr, to: IpAddr, id: u16, is_request: bool) -> Vec<u8> {
    let mut packet = Vec::new();
    let step = ip(from, to, 64);
    let write = match (from.is_ipv4(), is_request) {
        (true, true) => step.icmpv4_echo_request(id, 1).write(&mut packet, b"ping"),
        (true, false) => step.icmpv4_echo_reply(id, 1).write(&mut packet, b"ping"),
        (false, true) => step.icmpv6_echo_request(id, 1).write(&mut packet, b"ping"),
        (false, false) => step.icmpv6_echo_reply(id, 1).write(&mut packet, b"ping"),
    };
    write.expect("a packet");
    packet
}

/// "Port unreachable" about `quoted`, of which `len` octets are quoted.
pub fn unreachable(from: IpAddr, to: IpAddr, quoted: &[u8], len: usize) -> Vec<u8> {
    let mut packet = Vec::new();
    let step = ip(from, to, 64);
    let quoted = &quoted[..len.min(quoted.len())];
    let write = if from.is_ipv4() {
        step.icmpv4_raw(3, 3, [0; 4]).write(&mut packet, quoted)
    } else {
        step.icmpv6_raw(1, 4, [0; 4]).write(&mut packet, quoted)
    };
    write.expect("a packet");
    packet
}

pub fn source(packet: &[u8]) -> Endpoint {
    (address(packet, true), port(packet, true))
}

pub fn destination(packet: &[u8]) -> Endpoint {
    (address(packet, false), port(packet, false))
}

pub fn is_v4(packet: &[u8]) -> bool {
    packet[0] >> 4 == 4
}

fn address(packet: &[u8], is_source: bool) -> IpAddr {
    if is_v4(packet) {
        let at = if is_source { 12 } else { 16 };
        <[u8; 4]>::try_from(&packet[at..at + 4]).expect("four octets").into()
    } else {
        let at = if is_source { 8 } else { 24 };
        <[u8; 16]>::try_from(&packet[at..at + 16]).expect("sixteen octets").into()
    }
}

/// The transport's number and where it begins, without extension headers other than a fragment header.
pub fn transport(packet: &[u8]) -> (u8, usize) {
    if is_v4(packet) {
        (packet[9], usize::from(packet[0] & 15) * 4)
    } else if packet[6] == 44 {
        (packet[40], 48)
    } else {
        (packet[6], 40)
    }
}

fn port(packet: &[u8], is_source: bool) -> u16 {
    let (number, at) = transport(packet);
    let at = match number {
        1 | 58 => at + 4,
        _ if is_source => at,
        _ => at + 2,
    };
    packet.get(at..at + 2).map_or(0, |field| u16::from_be_bytes([field[0], field[1]]))
}

/// A long packet as its source sends it that lets it be cut: IPv4 by its flag, IPv6 in pieces.
pub fn cuttable(mut packet: Vec<u8>) -> Vec<Vec<u8>> {
    if is_v4(&packet) {
        packet[6] &= !0x40;
        packet[10..12].fill(0);
        let header = !fold(sum(&packet[..20]));
        packet[10..12].copy_from_slice(&header.to_be_bytes());
        return vec![packet];
    }
    let (header, data) = packet.split_at(40);
    let room = data.len().div_ceil(2).next_multiple_of(8);
    let pieces = data.chunks(room).enumerate().map(|(index, piece)| {
        let mut octets = header.to_vec();
        octets[4..6].copy_from_slice(&((8 + piece.len()) as u16).to_be_bytes());
        octets[6] = 44;
        octets.extend([header[6], 0]);
        octets.extend(((index * room) as u16 | u16::from(index == 0)).to_be_bytes());
        octets.extend([0, 0, 0, 5]);
        octets.extend(piece);
        octets
    });
    pieces.collect()
}

pub fn is_fragment(packet: &[u8]) -> bool {
    if is_v4(packet) { u16::from_be_bytes([packet[6], packet[7]]) & 0x3FFF != 0 } else { packet[6] == 44 }
}

fn sum(octets: &[u8]) -> u64 {
    octets.chunks(2).map(|pair| u64::from(pair[0]) << 8 | u64::from(*pair.get(1).unwrap_or(&0))).sum()
}

fn fold(mut total: u64) -> u16 {
    while total > 0xFFFF {
        total = (total >> 16) + (total & 0xFFFF);
    }
    total as u16
}

/// Whether lengths and every checksum of a packet are right, by the definition.
pub fn is_sound(packet: &[u8]) -> bool {
    let (number, at) = transport(packet);
    if packet.len() < at {
        return false;
    }
    let (length, header_ok, pseudo) = if is_v4(packet) {
        let length = usize::from(u16::from_be_bytes([packet[2], packet[3]]));
        (length, fold(sum(&packet[..at])) == 0xFFFF, sum(&packet[12..20]))
    } else {
        (40 + usize::from(u16::from_be_bytes([packet[4], packet[5]])), true, sum(&packet[8..40]))
    };
    if length != packet.len() || !header_ok {
        return false;
    }
    let segment = &packet[at..];
    if is_fragment(packet) || (number == 17 && segment[6..8] == [0, 0]) {
        return true;
    }
    let pseudo = if number == 1 { 0 } else { pseudo + u64::from(number) + segment.len() as u64 };
    !matches!(number, 1 | 6 | 17 | 58) || fold(pseudo + sum(segment)) == 0xFFFF
}

/// Corrects the checksums of a packet that has been tampered with, as far as its headers still make sense.
pub fn heal(packet: &mut [u8]) {
    if packet.len() < 48 {
        return;
    }
    let (number, at) = transport(packet);
    if is_v4(packet) && (20..=packet.len()).contains(&at) {
        packet[10..12].fill(0);
        let header = !fold(sum(&packet[..at]));
        packet[10..12].copy_from_slice(&header.to_be_bytes());
    }
    let field = match number {
        1 | 58 => at + 2,
        6 => at + 16,
        17 => at + 6,
        _ => return,
    };
    if field + 2 > packet.len() || is_fragment(packet) {
        return;
    }
    packet[field..field + 2].fill(0);
    let addresses = if is_v4(packet) { 12..20 } else { 8..40 };
    let pseudo = sum(&packet[addresses]) + u64::from(number) + (packet.len() - at) as u64;
    let total = !fold(sum(&packet[at..]) + if number == 1 { 0 } else { pseudo });
    let total = if number == 17 && total == 0 { 0xFFFF } else { total };
    packet[field..field + 2].copy_from_slice(&total.to_be_bytes());
}

pub fn verify(packet: &[u8]) {
    assert!(is_sound(packet), "a packet with a wrong length or checksum: {packet:02x?}");
}

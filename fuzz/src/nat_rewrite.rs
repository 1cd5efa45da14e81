use bytes::BytesMut;
use std::net::{IpAddr, SocketAddr};
use webtun_tests::direct::{Direct, OFFLOAD_CONTEXT};
use webtun_tests::packet::{
    IcmpError, Offloaded, Segment, Transport, View, echo, icmp_error, tcp, tcp_with_mss, udp, without_udp_checksum,
};
use webtun_wire::Capsule;

use crate::gateway;

const ERRORS: [IcmpError; 4] =
    [IcmpError::PortUnreachable, IcmpError::HostUnreachable, IcmpError::TimeExceeded, IcmpError::TooBig(1400)];

/// A correct packet goes out, a reply and an ICMP error about it come in: addresses and ports change as they should,
/// nothing else does, and every checksum is right, as if the packet had been made anew.
///
/// An IPv6 packet may be for an IPv4 host (NAT64): then it is made anew in IPv4 outside. Or it stands for many segments,
/// which leave one by one. Seven octets choose the packet, the rest is its payload.
pub fn nat_rewrite(data: &[u8]) {
    let Some((&[choice, a, b, c, d, error, flags], payload)) = data.split_first_chunk() else { return };
    let (ipv6, kind) = (choice & 4 != 0, choice & 3);
    let ports = (u16::from_be_bytes([a, b]).max(1), u16::from_be_bytes([c, d]).max(1));
    // Port 25 is refused by default, and what does not fit the path is fragmented: neither is the question here.
    let ports = (ports.0, if ports.1 == 25 { 26 } else { ports.1 });
    let payload = &payload[..payload.len().min(1200)];
    let mut direct = gateway::with_session();
    let translated = ipv6 && choice & 16 != 0;
    let (internal, remote) =
        (direct.sessions[0].endpoint(ipv6, ports.0), gateway::remote(ipv6 && !translated, ports.1));
    // What the session calls an address of the outside.
    let inside = |address: IpAddr| if translated { gateway::embedded(address) } else { address };
    // What else there is, no honest host sends.
    let control = [Segment::SYN, Segment::ACK, Segment::FIN | Segment::ACK, Segment::SYN | Segment::ACK];
    let flags = flags & !0x17 | control[usize::from(flags & 3)];

    if choice & 32 != 0 && kind < 2 {
        let outside = SocketAddr::new(inside(remote.ip()), remote.port());
        return segments(&mut direct, kind, choice, [internal, outside, remote], 8 + u16::from(error), payload);
    }
    let sent = build(kind, choice, internal, SocketAddr::new(inside(remote.ip()), remote.port()), flags, payload);
    direct.send_packets(0, &[sent]).expect("a packet is no protocol error");
    let left = direct.egress.pop_front().expect("it leaves");
    let seen = check(&left, kind, payload);
    assert_eq!(seen.destination_endpoint().ip(), remote.ip());
    assert_eq!(seen.hop_limit, 63);
    assert!(direct.sessions[0].owns_port(seen.source_endpoint()));
    let external = seen.source_endpoint();
    let from = if kind == 2 { SocketAddr::new(remote.ip(), external.port()) } else { remote };

    direct.receive(reply(kind, choice, from, external, flags, payload));
    let came = taken(&mut direct);
    let seen = check(&came, kind, payload);
    assert_eq!((seen.destination_endpoint(), seen.source.to_owned()), (internal, inside(remote.ip())));

    direct.receive(icmp_error(remote.ip(), ERRORS[usize::from(error % 4)], &left));
    let came = taken(&mut direct);
    let seen = View::parse(&came).expect("a correct error");
    let Transport::Icmp { quoted, .. } = seen.transport else { panic!("not an error: {seen:?}") };
    assert_eq!(seen.destination, internal.ip());
    // A long packet is quoted in part, and its length and checksum are those of the whole.
    if left.len() <= 548 {
        let quoted = View::parse(quoted).expect("what it quotes is correct too");
        assert_eq!((quoted.source_endpoint(), quoted.destination), (internal, inside(remote.ip())));
    }
}

/// A packet that stands for segments of `size` octets goes out, and one comes back. The ends are the session's own, and the
/// other one as the session and as the outside call it.
fn segments(direct: &mut Direct, kind: u8, choice: u8, ends: [SocketAddr; 3], size: u16, payload: &[u8]) {
    let [internal, called, remote] = ends;
    if payload.len() <= usize::from(size) {
        return;
    }
    let head = Segment { flags: Segment::ACK, sequence: u32::MAX - 500, acknowledgment: 1 };
    let build = |from, to| match kind {
        0 => Offloaded::udp(from, to, size, payload),
        _ => Offloaded::tcp(from, to, head, size, payload),
    };
    direct.open_offload(0);
    direct.send_offloaded(0, &[build(internal, called)]).expect("a packet is no protocol error");
    let left: Vec<_> = direct.egress.drain(..).collect();
    let external = joined(&left, payload, |seen| assert_eq!(seen.destination_endpoint(), remote));
    assert!(direct.sessions[0].owns_port(external));
    let is_closed = choice & 64 != 0;
    if is_closed {
        let close = Capsule::ContextClose { context: OFFLOAD_CONTEXT };
        direct.send_capsules(0, &[close]).expect("the context was open");
    }
    direct.receive_offloaded(build(remote, external));
    if let Some(whole) = direct.sessions[0].offloaded.pop_front() {
        assert!(!is_closed && whole.packet.ends_with(payload), "{whole:x?}");
        return;
    }
    let came: Vec<_> = direct.sessions[0].packets.drain(..).collect();
    let from = joined(&came, payload, |seen| assert_eq!(seen.destination_endpoint(), internal));
    assert_eq!(from, called);
}

/// The source of packets that carry this together.
fn joined(packets: &[BytesMut], expected: &[u8], check: impl Fn(&View<'_>)) -> SocketAddr {
    let mut found = Vec::new();
    let mut source = None;
    for packet in packets {
        let view = View::parse(packet).unwrap_or_else(|problem| panic!("{problem}: {packet:x?}"));
        check(&view);
        assert!(source.is_none_or(|source| source == view.source_endpoint()), "two sources");
        source = Some(view.source_endpoint());
        match &view.transport {
            Transport::Udp { payload, .. } | Transport::Tcp { payload, .. } => found.extend_from_slice(payload),
            other => panic!("it became something else: {other:?}"),
        }
    }
    assert_eq!(found, expected);
    source.expect("something leaves")
}

fn taken(direct: &mut Direct) -> BytesMut {
    direct.sessions[0].packets.pop_front().expect("it is delivered")
}

fn check<'a>(packet: &'a [u8], kind: u8, expected: &[u8]) -> View<'a> {
    let view = View::parse(packet).unwrap_or_else(|problem| panic!("{problem}: {packet:x?}"));
    let payload = match &view.transport {
        Transport::Udp { payload, .. } | Transport::Tcp { payload, .. } | Transport::Echo { payload, .. } => *payload,
        Transport::Icmp { .. } | Transport::Octets(_) => panic!("it became something else: {view:?}"),
    };
    // A SYN with an MSS carries no data here.
    assert!(kind == 3 || payload == expected, "the payload has changed");
    view
}

fn build(kind: u8, choice: u8, from: SocketAddr, to: SocketAddr, flags: u8, payload: &[u8]) -> BytesMut {
    match kind {
        0 if choice & 8 != 0 && from.is_ipv4() => without_udp_checksum(udp(from, to, payload)),
        0 => udp(from, to, payload),
        1 => tcp(from, to, Segment::flags(flags), payload),
        2 => echo(from.ip(), to.ip(), from.port(), to.port(), true, payload),
        _ => tcp_with_mss(from, to, Segment::flags(Segment::SYN), u16::from(choice) * 256 + to.port() % 256),
    }
}

fn reply(kind: u8, choice: u8, from: SocketAddr, to: SocketAddr, flags: u8, payload: &[u8]) -> BytesMut {
    match kind {
        2 => echo(from.ip(), to.ip(), to.port(), 9, false, payload),
        _ => build(kind, choice, from, to, flags, payload),
    }
}

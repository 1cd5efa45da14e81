use bytes::BytesMut;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use webtun_tests::direct::Direct;
use webtun_tests::packet::{Segment, Transport, View, echo, icmp as message, tcp, udp};

use crate::gateway;

/// An ICMP message of any type about a packet that went out or came in, which it quotes in part and with faults, in both
/// families and across NAT64.
///
/// Eight octets choose, the rest are faults: pairs of where and what. At most one packet comes of it, correct in every
/// length and checksum; where the quotation is right, an error reaches the end that it is about, quoting what that end sent.
pub fn icmp(data: &[u8]) {
    let Some((&[choice, kind, code, m, t, u, cut, last], faults)) = data.split_first_chunk() else { return };
    let case = Case { ipv6: choice & 1 != 0, nat64: choice & 0x11 == 0x11, transport: choice >> 1 & 3 };
    let mut direct = gateway::with_session();
    let (left, came) = case.exchange(&mut direct);
    let is_downlink = choice & 8 == 0;
    let mut quoted = if is_downlink { left } else { came };
    let is_ipv4 = quoted[0] >> 4 == 4;
    let destination = View::parse(&quoted).expect("it is correct").source;
    // From a router on the way, or from the quoted packet's destination.
    let reporter = View::parse(&quoted).expect("it is correct").destination;
    let reporter = if last & 1 != 0 && is_downlink { gateway::remote(!is_ipv4, 0).ip() } else { reporter };
    for [at, value] in faults.as_chunks().0 {
        if let Some(octet) = quoted.get_mut(usize::from(*at)) {
            *octet = *value;
        }
    }
    quoted.truncate(if cut == 0 { quoted.len() } else { usize::from(cut) });
    let error = message(reporter, destination, [kind, code, 0, 0, m, t, u, last], &quoted);

    if is_downlink {
        direct.receive(error);
    } else {
        direct.send_packets(0, &[error]).expect("no packet ends a session");
    }
    let out: Vec<_> =
        if is_downlink { direct.sessions[0].packets.drain(..).collect() } else { direct.egress.drain(..).collect() };
    assert!(out.len() <= 1, "{} packets for one", out.len());
    out.iter().for_each(|packet| check(packet));
    // Where these two are not 0 they may be the length of a quotation with extensions behind it (RFC 4884).
    let is_whole = faults.len() < 2 && cut == 0 && [m, t] == [0, 0];
    if is_downlink && is_whole && is_error(is_ipv4, kind, code) {
        let [packet] = &out[..] else { panic!("type {kind} code {code} has not arrived") };
        let view = View::parse(packet).unwrap_or_else(|problem| panic!("{problem}: {packet:x?}"));
        let Transport::Icmp { quoted, .. } = view.transport else { panic!("not an error: {view:?}") };
        assert_eq!(view.destination, case.internal(&direct).ip());
        let quoted = View::parse(quoted).unwrap_or_else(|problem| panic!("what it quotes: {problem}"));
        assert_eq!(quoted.source_endpoint(), case.internal(&direct));
        assert_eq!(quoted.destination, case.remote().ip());
    }
    gateway::works(&mut direct);
}

/// What the outside says of a packet in flight, as far as both families have words for it.
fn is_error(is_ipv4: bool, kind: u8, code: u8) -> bool {
    match (is_ipv4, kind) {
        (true, 3) => code <= 1 || code == 3,
        (true, 11) | (false, 3) => code <= 1,
        (false, 1) => matches!(code, 0 | 1 | 3 | 4),
        _ => false,
    }
}

fn check(packet: &[u8]) {
    let view = View::parse(packet).unwrap_or_else(|problem| panic!("{problem}: {packet:x?}"));
    assert!(view.hop_limit > 0);
}

struct Case {
    ipv6: bool,
    nat64: bool,
    transport: u8,
}

impl Case {
    fn internal(&self, direct: &Direct) -> SocketAddr {
        direct.sessions[0].endpoint(self.ipv6, 4000)
    }

    fn remote(&self) -> SocketAddr {
        let native = gateway::remote(self.ipv6 && !self.nat64, 53);
        match native.ip() {
            IpAddr::V4(v4) if self.nat64 => {
                let [a, b, c, d] = v4.octets().map(u16::from);
                let mapped = Ipv6Addr::new(0x64, 0xff9b, 0, 0, 0, 0, a << 8 | b, c << 8 | d);
                SocketAddr::new(mapped.into(), native.port())
            }
            _ => native,
        }
    }

    /// A packet that left, as the outside saw it, and one that came back, as the session saw it.
    fn exchange(&self, direct: &mut Direct) -> (BytesMut, BytesMut) {
        let (internal, remote) = (self.internal(direct), self.remote());
        direct.send_packets(0, &[self.packet(internal, remote, true)]).expect("a packet is no protocol error");
        let left = direct.egress.pop_front().expect("it leaves");
        let seen = View::parse(&left).expect("it is correct");
        let outside = SocketAddr::new(seen.destination, 53);
        direct.receive(self.packet(outside, seen.source_endpoint(), false));
        let came = direct.sessions[0].packets.pop_front().expect("it is delivered");
        (left, came)
    }

    fn packet(&self, from: SocketAddr, to: SocketAddr, goes_out: bool) -> BytesMut {
        match self.transport {
            0 => udp(from, to, b"some payload"),
            1 => tcp(from, to, Segment::flags(if goes_out { Segment::SYN } else { Segment::SYN | Segment::ACK }), b""),
            _ => {
                let id = if goes_out { from.port() } else { to.port() };
                echo(from.ip(), to.ip(), id, 1, goes_out, b"some payload")
            }
        }
    }
}

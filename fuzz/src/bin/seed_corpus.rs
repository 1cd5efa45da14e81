//! Writes the first inputs of the targets that work on packets; those of `wire_decode` come from the golden vectors.
//!
//! `cargo run --manifest-path fuzz/Cargo.toml --bin seed_corpus`

#![forbid(unsafe_code)]

use std::fs;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use webtun_tests::packet::{
    IcmpError, Offloaded, Segment, echo, fragment, icmp, icmp_error, tcp, tcp_with_mss, udp, with_hop_limit,
};
use webtun_tests::rng::SimRng;
use webtun_wire::{OffloadChecksum, OffloadHeader, Segmentation, SegmentationKind};

fn main() -> io::Result<()> {
    for (name, packet) in packets() {
        for (from, choice) in [("uplink", 0x81), ("downlink", 0x82), ("local", 0x83)] {
            // The target takes the remainder by three.
            save("packet_parse", &format!("{from}-{name}"), &[&[choice][..], &packet].concat())?;
        }
    }
    for (name, it) in super_segments() {
        // With 0x20 the device takes segments over.
        for (from, choice) in [("uplink", 0xc0), ("downlink", 0xc1), ("uplink-device", 0xe1), ("downlink-device", 0xe2)]
        {
            save(
                "packet_parse",
                &format!("{from}-{name}"),
                &[&[choice][..], &it.header.encode(), &it.packet].concat(),
            )?;
        }
    }
    for kind in 0..4_u8 {
        for (family, bit) in [("ipv4", 0), ("ipv6", 4), ("nat64", 20)] {
            for (len, what) in [(0, "empty"), (1, "odd"), (601, "long")] {
                let head = [kind | bit | 8, 0x0f, 0xa0, 0, 53, kind, Segment::ACK];
                let name = format!("{}-{family}-{what}", ["udp", "tcp", "echo", "syn"][usize::from(kind)]);
                save("nat_rewrite", &name, &[&head[..], &vec![0xff; len]].concat())?;
            }
            // One packet for many segments, there and back; back in one or, with 64, in many.
            for (closed, what) in [(0, "one"), (64, "many")].into_iter().filter(|_| kind < 2) {
                let head = [kind | bit | 32 | closed, 0x0f, 0xa0, 0, 53, 80, 0];
                let name = format!("{}-{family}-segments-{what}", ["udp", "tcp"][usize::from(kind)]);
                save("nat_rewrite", &name, &[&head[..], &[7; 900]].concat())?;
            }
        }
    }
    for (name, actions) in streams() {
        save("streams", name, &[&[255][..], actions.as_flattened()].concat())?;
        save("streams", &format!("{name}-small-credit"), &[&[20][..], actions.as_flattened()].concat())?;
    }
    for seed in 0..24 {
        let mut rng = SimRng::new(seed, "streams");
        let len = 1 + 4 * rng.within(100, 400) as usize;
        save("streams", &format!("random-{seed}"), &rng.vec(len))?;
    }
    for direction in 0..4_u8 {
        for (name, pieces) in PIECES {
            save(
                "fragments",
                &format!("{name}-{direction}"),
                &[&[direction, 120, 3, 255][..], pieces.as_flattened()].concat(),
            )?;
        }
    }
    for choice in (0..16_u8).chain([0x11, 0x13, 0x15, 0x19]) {
        for (kind, code) in [(1, 4), (2, 0), (3, 1), (3, 3), (3, 4), (4, 1), (5, 0), (11, 0), (12, 0)] {
            let head = [choice, kind, code, 0, 0, 5];
            // Cut within the quotation; a fault in its port.
            let (short, fault) = ([&head[..], &[40, 1]].concat(), [&head[..], &[0, 1, 20, 7]].concat());
            let whole = [&head[..], &[0, 1]].concat();
            for (what, octets) in [("whole", whole), ("short", short), ("fault", fault)] {
                save("icmp", &format!("{choice}-{kind}-{code}-{what}"), &octets)?;
            }
        }
    }
    for (name, scene) in scenes() {
        let octets: Vec<u8> = scene.iter().flat_map(|(choice, it)| framed(*choice, it)).collect();
        save("bridge_frame", name, &octets)?;
    }
    for (name, requests) in port_requests() {
        save("pcp", name, &requests.concat())?;
    }
    for seed in 0..24 {
        let actions = SimRng::new(seed, "corpus").vec(1 + 8 * 60);
        save("gateway_model", &format!("seed-{seed}"), &actions)?;
    }
    Ok(())
}

fn framed(choice: u8, octets: &[u8]) -> Vec<u8> {
    let [high, low] = (octets.len() as u16).to_be_bytes();
    [&[high, low, choice][..], octets].concat()
}

/// For `bridge_frame`: who says what. 0 and 128 are frames at the two ports, 5 a packet from the first guest's tunnel, 6
/// one with an offload header, 7 lets time pass.
fn scenes() -> Vec<Scene> {
    let (router, guest, own) = ("192.168.127.1:53", "192.168.127.2:4000", "100.64.0.2:4000");
    let [router, guest, own] = [router, guest, own].map(|it| it.parse().expect("v4"));
    let (remote, remote6): (SocketAddr, SocketAddr) =
        ("45.33.0.1:80".parse().expect("v4"), "[2600:1f00::1]:80".parse().expect("v6"));
    let guest6: SocketAddr = "[fd77:6562:746e:6574::a]:4000".parse().expect("v6");
    let syn = Segment::flags(Segment::SYN);
    let syn_ack = Segment::flags(Segment::SYN | Segment::ACK);
    let ack = Segment::flags(Segment::ACK);
    let arp = || (0, arp(1, [192, 168, 127, 2], [192, 168, 127, 1]));
    let to_router = |packet: &[u8]| (0, frame(ROUTER, packet));
    let offload = OffloadHeader {
        checksum: OffloadChecksum::Partial { start: 20, offset: 16 },
        segmentation: Some(Segmentation {
            kind: SegmentationKind::TcpV4,
            ecn: false,
            header_len: 40,
            segment_size: 1460,
        }),
    };
    let large = [&offload.encode()[..], &tcp_with_payload(remote, own, ack)].concat();
    let group = [0x33, 0x33, 0, 0, 0, 2];
    let (link_local, all_routers) = ("fe80::a".parse().expect("v6"), "ff02::2".parse().expect("v6"));
    let solicit = icmp(link_local, all_routers, [133, 0, 0, 0, 0, 0, 0, 0], &[]);
    let neighbor = |kind: u8, target: SocketAddr| {
        let IpAddr::V6(target) = target.ip() else { unreachable!("IPv6") };
        let message = icmp(link_local, all_routers, [kind, 0, 0, 0, 0, 0, 0, 0], &target.octets());
        (0, frame(group, &with_hop_limit(message, 255)))
    };
    vec![
        ("arp", vec![arp(), (128, self::arp(2, [192, 168, 127, 2], [192, 168, 127, 1]))]),
        ("arp-spoofing", vec![arp(), (0, self::arp(2, [192, 168, 127, 1], [192, 168, 127, 2]))]),
        ("dhcp-discover", vec![(0, dhcp(1, &[])), (0, dhcp(3, &[50, 4, 192, 168, 127, 2]))]),
        ("dhcp-request", vec![(0, dhcp(3, &[50, 4, 192, 168, 127, 9, 61, 3, 0, 1, 2])), (7, vec![0; 255])]),
        ("dhcp-decline", vec![(0, dhcp(3, &[50, 4, 192, 168, 127, 2])), (0, dhcp(4, &[50, 4, 192, 168, 127, 2]))]),
        ("router-solicitation", vec![(0, frame(group, &with_hop_limit(solicit, 255)))]),
        ("neighbor-solicitation", vec![neighbor(135, guest6), neighbor(136, guest6), neighbor(134, guest6)]),
        ("dns", vec![arp(), to_router(&udp(guest, router, b"question")), (5, udp(remote, own, b"answer").to_vec())]),
        (
            "tcp",
            vec![
                arp(),
                to_router(&tcp_with_mss(guest, remote, syn, 8960)),
                (5, tcp_with_mss(remote, own, syn_ack, 1400).to_vec()),
                to_router(&tcp_with_payload(guest, remote, ack)),
                (6, large),
            ],
        ),
        ("tcp-ipv6", vec![neighbor(136, guest6), to_router(&tcp_with_mss(guest6, remote6, syn, 8940))]),
        (
            "errors",
            vec![
                arp(),
                to_router(&tcp_with_mss(guest, remote, syn, 8960)),
                (5, icmp_error(remote.ip(), IcmpError::TooBig(1300), &tcp_with_mss(own, remote, syn, 1460)).to_vec()),
                to_router(&icmp_error(guest.ip(), IcmpError::PortUnreachable, &udp(remote, guest, b"?"))),
            ],
        ),
        ("fragments", fragment(udp(guest, remote, &[7; 2000]), 1500, 1).iter().map(|it| to_router(it)).collect()),
        ("long-datagram", vec![arp(), (5, udp(remote, own, &[7; 12_000]).to_vec())]),
        ("broadcast", vec![arp(), (0, frame([0xff; 6], &udp(guest, router, b"hear")))]),
        ("silence", vec![arp(), (7, vec![0; 60_000]), (7, vec![0; 2000])]),
    ]
}

/// Its name, and who says what.
type Scene = (&'static str, Vec<(u8, Vec<u8>)>);

const ROUTER: [u8; 6] = [2, 0x77, 0x74, 0, 0, 1];
const CARD: [u8; 6] = [0, 0x22, 0x15, 0, 0, 1];

fn frame(to: [u8; 6], packet: &[u8]) -> Vec<u8> {
    let kind: [u8; 2] = if packet[0] >> 4 == 4 { [8, 0] } else { [0x86, 0xdd] };
    [&to[..], &CARD, &kind, packet].concat()
}

fn arp(operation: u8, sender: [u8; 4], target: [u8; 4]) -> Vec<u8> {
    let head = [8, 6, 0, 1, 8, 0, 6, 4, 0, operation];
    [&[0xff; 6][..], &CARD, &head, &CARD, &sender, &[0; 6], &target].concat()
}

fn dhcp(kind: u8, options: &[u8]) -> Vec<u8> {
    let mut message = vec![0; 236];
    message[..3].copy_from_slice(&[1, 1, 6]);
    message[28..34].copy_from_slice(&CARD);
    message.extend([0x63, 0x82, 0x53, 0x63, 53, 1, kind]);
    message.extend(options);
    message.push(255);
    let (from, to) = ("0.0.0.0:68".parse().expect("v4"), "255.255.255.255:67".parse().expect("v4"));
    frame([0xff; 6], &udp(from, to, &message))
}

fn tcp_with_payload(from: SocketAddr, to: SocketAddr, head: Segment) -> Vec<u8> {
    tcp(from, to, head, &[7; 6000]).to_vec()
}

/// For `fragments`: which datagram and how, where, how long, what is changed.
const PIECES: [(&str, &[[u8; 4]]); 5] = [
    ("in-order", &[[0x10, 0, 3, 0], [0x10, 4, 3, 0], [1, 0, 9, 0]]),
    ("last-first", &[[0x10, 4, 3, 0], [0x10, 0, 3, 0]]),
    ("repeated", &[[0x10, 0, 3, 0], [0x10, 0, 3, 0], [0x10, 4, 3, 0]]),
    (
        "overlapping",
        &[[0x10, 0, 3, 0], [0x10, 3, 3, 0], [0x10, 4, 3, 0], [3, 0, 0, 0], [0x10, 0, 3, 0], [0x10, 4, 3, 0]],
    ),
    ("damaged", &[[0x14, 0, 3, 9], [0x18, 4, 3, 0], [2, 0, 255, 0], [3, 0, 0, 0], [0x12, 0, 15, 0]]),
];

/// For `pcp`: what chooses, and what is asked.
fn port_requests() -> Vec<(&'static str, Vec<Vec<u8>>)> {
    let ask = |choice: u8, request: &[u8]| {
        let cut = (request.len() % 4) as u8;
        [&[choice | cut << 6, (request.len() / 4) as u8][..], request].concat()
    };
    let map = |opcode: u8, fields: [u8; 8], lifetime: u8, suggested: [u8; 16], options: &[u8]| {
        let head = [&[2, opcode, 0, 0, 0, 0, lifetime, 0][..], &[0; 16], &[7; 12], &fields].concat();
        [&head[..], &suggested, options].concat()
    };
    let (tcp, udp) = ([6, 0, 0, 0, 0, 80, 0, 0], [17, 0, 0, 0, 0, 53, 0x75, 0x30]);
    let any_v4 = std::net::Ipv4Addr::UNSPECIFIED.to_ipv6_mapped().octets();
    let prefer_failure = [2, 0, 0, 0];
    vec![
        ("announce-ipv4", vec![ask(2, &[&[2, 0][..], &[0; 22]].concat())]),
        ("announce-ipv6", vec![ask(3, &[&[2, 0][..], &[0; 22]].concat())]),
        ("announce-response", vec![ask(3, &[&[2, 0x80][..], &[0; 22]].concat())]),
        ("map-renew-end", [9, 3, 0].map(|time| ask(6, &map(1, tcp, time, any_v4, &[]))).to_vec()),
        ("map-suggested", vec![ask(2, &map(1, udp, 9, any_v4, &[]))]),
        ("map-or-none", vec![ask(2, &map(1, udp, 9, any_v4, &prefer_failure))]),
        ("map-none-suggested", vec![ask(2, &map(1, tcp, 9, any_v4, &prefer_failure))]),
        ("map-ipv6", vec![ask(3, &map(1, tcp, 9, [0; 16], &[]))]),
        ("map-nat64-and-end", [9, 0].map(|time| ask(3, &map(1, tcp, time, any_v4, &[]))).to_vec()),
        ("map-optional-option", vec![ask(2, &map(1, tcp, 9, any_v4, &[200, 0, 0, 1, 7, 0, 0, 0]))]),
        ("map-third-party", vec![ask(2, &map(1, tcp, 9, any_v4, &[&[1, 0, 0, 16][..], &[0; 16]].concat()))]),
        ("map-all-protocols", vec![ask(2, &map(1, [0; 8], 9, any_v4, &[]))]),
        ("map-anothers", vec![ask(0, &map(1, tcp, 9, any_v4, &[]))]),
        ("peer", vec![ask(2, &[map(2, tcp, 9, any_v4, &[]), vec![1; 20]].concat())]),
        ("version-1", vec![ask(0, &[&[1, 0][..], &[0; 22]].concat())]),
        ("nat-pmp-address", vec![ask(0, &[0, 0])]),
        ("nat-pmp-map-and-end", [2, 0].map(|time| ask(4, &[0, 1, 0, 0, 0, 80, 0, 0, 0, 0, time, 0])).to_vec()),
        (
            "nat-pmp-end-all",
            vec![ask(0, &[0, 2, 0, 0, 0, 80, 0, 0, 0, 0, 9, 0]), ask(0, &[0, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0])],
        ),
    ]
}

fn packets() -> Vec<(&'static str, Vec<u8>)> {
    let (v4, r4) = ("100.64.0.2:4000".parse().expect("v4"), "45.33.0.1:53".parse().expect("v4"));
    let (v6, r6) = ("[fd77:6562:7475::2]:4000".parse().expect("v6"), "[2600:1f00::1]:53".parse().expect("v6"));
    let (long4, long6) = (udp(v4, r4, &[7; 2000]), udp(v6, r6, &[7; 2000]));
    let all = [
        ("udp-ipv4", udp(v4, r4, b"question")),
        ("udp-ipv6", udp(v6, r6, b"question")),
        ("syn-ipv4", tcp_with_mss(v4, r4, Segment::flags(Segment::SYN), 1460)),
        ("syn-ipv6", tcp_with_mss(v6, r6, Segment::flags(Segment::SYN), 8000)),
        ("echo-ipv4", echo(v4.ip(), r4.ip(), 1, 2, true, b"ping")),
        ("echo-ipv6", echo(v6.ip(), r6.ip(), 1, 2, false, b"pong")),
        ("last-hop-ipv4", with_hop_limit(udp(v4, r4, b"far"), 1)),
        ("last-hop-ipv6", with_hop_limit(udp(v6, r6, b"far"), 1)),
        ("error-ipv4", icmp_error(r4.ip(), IcmpError::PortUnreachable, &udp(v4, r4, b"?"))),
        ("error-ipv6", icmp_error(r6.ip(), IcmpError::TooBig(1280), &udp(v6, r6, b"?"))),
        ("first-fragment-ipv4", fragment(long4.clone(), 1500, 1).swap_remove(0)),
        ("last-fragment-ipv4", fragment(long4, 1500, 1).swap_remove(1)),
        ("first-fragment-ipv6", fragment(long6.clone(), 1500, 1).swap_remove(0)),
        ("last-fragment-ipv6", fragment(long6, 1500, 1).swap_remove(1)),
    ];
    all.into_iter().map(|(name, packet)| (name, packet.to_vec())).collect()
}

/// Actions of four octets: what, which, how much.
fn streams() -> Vec<(&'static str, Vec<[u8; 4]>)> {
    const ANSWER: [u8; 4] = [16, 0, 0x40, 0];
    const AWAY: [u8; 4] = [12, 0, 0, 0];
    const BACK: [u8; 4] = [13, 0, 0, 0];
    const CONNECT: [u8; 4] = [7, 0, 0, 0];
    const CREDIT: [u8; 4] = [5, 0, 0x80, 0];
    const DATA: [u8; 4] = [2, 0, 0x30, 0];
    const END: [u8; 4] = [18, 0, 0, 0];
    const FAIL: [u8; 4] = [9, 0, 0, 1];
    const FINISH: [u8; 4] = [4, 0, 0, 0];
    const FLOOD: [u8; 4] = [2, 0, 255, 255];
    const FULL: [u8; 4] = [3, 0, 0xf0, 0];
    const OPEN: [u8; 4] = [0, 0, 0, 100];
    const OPEN_AGAIN: [u8; 4] = [0, 255, 0, 0];
    const RESET: [u8; 4] = [6, 0, 0, 0];
    const TAKE: [u8; 4] = [10, 0, 0x20, 0];
    const TAKE_ALL: [u8; 4] = [19, 0, 0, 0];
    const WAIT: [u8; 4] = [14, 0, 0xc0, 0];
    const WAIT_LONG: [u8; 4] = [14, 0, 255, 255];
    let many = |action: fn(u8) -> [u8; 4]| (0..12).map(action);
    vec![
        ("whole", vec![OPEN, CONNECT, DATA, TAKE, ANSWER, FINISH, TAKE_ALL, END]),
        ("server-ends-first", vec![OPEN, CONNECT, ANSWER, END, DATA, TAKE_ALL, FINISH, TAKE_ALL, DATA, CREDIT, RESET]),
        ("early-data", vec![OPEN, DATA, FULL, FINISH, CONNECT, TAKE, TAKE_ALL, ANSWER, END]),
        ("refused", vec![OPEN, DATA, FAIL, DATA, FINISH, RESET, CONNECT]),
        ("aborted", vec![OPEN, CONNECT, ANSWER, FAIL, DATA, END, ANSWER]),
        ("client-resets", vec![OPEN, CONNECT, ANSWER, RESET, DATA, ANSWER, END, CONNECT]),
        ("reset-before-connection", vec![OPEN, RESET, CONNECT, OPEN, CONNECT]),
        (
            "credit-runs-out",
            vec![OPEN, CONNECT, ANSWER, ANSWER, CREDIT, ANSWER, [17, 0, 255, 0], CREDIT, [17, 0, 255, 0]],
        ),
        ("window", [vec![OPEN, CONNECT], [FULL, TAKE_ALL].repeat(40), vec![FINISH]].concat()),
        ("cut", vec![OPEN, CONNECT, DATA, ANSWER, AWAY, ANSWER, TAKE, END, TAKE_ALL, WAIT, BACK, FINISH, TAKE_ALL]),
        ("cut-and-failed", vec![OPEN, CONNECT, AWAY, ANSWER, FAIL, BACK, DATA, OPEN, CONNECT]),
        ("session-lost", vec![OPEN, CONNECT, DATA, OPEN, AWAY, ANSWER, WAIT_LONG]),
        ("beyond-credit", vec![OPEN, CONNECT, OPEN, FLOOD]),
        ("data-behind-end", vec![OPEN, CONNECT, FINISH, FLOOD]),
        ("id-again", vec![OPEN, CONNECT, OPEN_AGAIN]),
        (
            "many",
            many(|_| OPEN)
                .chain(many(|which| [7, which, 0, 0]))
                .chain([AWAY])
                .chain(many(|which| [16, which, 255, 0]))
                .chain(many(|which| [17, which, 255, 0]))
                .chain([BACK])
                .chain(many(|which| [2, which, 0x30, 0]))
                .collect(),
        ),
    ]
}

/// Packets that stand for many segments.
fn super_segments() -> Vec<(&'static str, Offloaded)> {
    let (v4, r4) = ("100.64.0.2:4000".parse().expect("v4"), "45.33.0.1:53".parse().expect("v4"));
    let (v6, r6) = ("[fd77:6562:7475::2]:4000".parse().expect("v6"), "[2600:1f00::1]:53".parse().expect("v6"));
    let head = Segment::flags(Segment::ACK);
    vec![
        ("segments-tcp-ipv4", Offloaded::tcp(v4, r4, head, 1000, &[7; 2500])),
        ("segments-tcp-ipv6", Offloaded::tcp(v6, r6, head, 1000, &[7; 2500])),
        ("segments-udp-ipv4", Offloaded::udp(v4, r4, 1000, &[7; 2500])),
        ("segments-udp-ipv6", Offloaded::udp(v6, r6, 1000, &[7; 2500])),
        ("no-checksum-tcp-ipv4", Offloaded::tcp(v4, r4, head, 1000, &[7; 20]).without_segments()),
    ]
}

fn save(target: &str, name: &str, octets: &[u8]) -> io::Result<()> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(target);
    fs::create_dir_all(&folder)?;
    fs::write(folder.join(name), octets)
}

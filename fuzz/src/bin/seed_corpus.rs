//! Writes the first inputs of the targets that work on packets; those of `wire_decode` come from the golden vectors.
//!
//! `cargo run --manifest-path fuzz/Cargo.toml --bin seed_corpus`

#![forbid(unsafe_code)]

use std::fs;
use std::io;
use std::path::Path;
use webtun_tests::packet::{IcmpError, Segment, echo, fragment, icmp_error, tcp_with_mss, udp, with_hop_limit};
use webtun_tests::rng::SimRng;

fn main() -> io::Result<()> {
    for (name, packet) in packets() {
        for (from, choice) in [("uplink", 0x81), ("downlink", 0x82), ("local", 0x83)] {
            // The target takes the remainder by three.
            save("packet_parse", &format!("{from}-{name}"), &[&[choice][..], &packet].concat())?;
        }
    }
    for kind in 0..4_u8 {
        for (family, bit) in [("ipv4", 0), ("ipv6", 4), ("nat64", 20)] {
            for (len, what) in [(0, "empty"), (1, "odd"), (601, "long")] {
                let head = [kind | bit | 8, 0x0f, 0xa0, 0, 53, kind, Segment::ACK];
                let name = format!("{}-{family}-{what}", ["udp", "tcp", "echo", "syn"][usize::from(kind)]);
                save("nat_rewrite", &name, &[&head[..], &vec![0xff; len]].concat())?;
            }
        }
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
    for seed in 0..24 {
        let actions = SimRng::new(seed, "corpus").vec(1 + 8 * 60);
        save("gateway_model", &format!("seed-{seed}"), &actions)?;
    }
    Ok(())
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

fn save(target: &str, name: &str, octets: &[u8]) -> io::Result<()> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(target);
    fs::create_dir_all(&folder)?;
    fs::write(folder.join(name), octets)
}

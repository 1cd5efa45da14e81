//! A guest that sends whatever it likes: it is contained in its room, and within bounds there.

mod door_support;

use door_support::{Vm, block_on, echo_request, figure, frame};
use futures_util::SinkExt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;
use webtun_tests::lab::{Lab, REMOTE};
use webtun_tests::rng::SimRng;

const PREFIX: &str = "wt-doorh";
/// In everything that the attacker sends.
const MARK: &[u8] = b"this-is-the-attacker";
const ROUTER: [u8; 6] = [2, 0x77, 0x74, 0, 0, 1];
const BROADCAST: [u8; 6] = [0xff; 6];
const VICTIM: [u8; 6] = [2, 0, 0, 0, 0, 1];
const NEIGHBOUR: [u8; 6] = [2, 0, 0, 0, 0, 2];
const OWN: [u8; 6] = [2, 0, 0, 0, 0, 66];
const ROUNDS: u8 = 40;
const ROUTER_LINK_LOCAL: Ipv6Addr = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 1);

/// An IPv4 packet with a right header.
fn ipv4(protocol: u8, from: Ipv4Addr, to: Ipv4Addr, payload: &[u8]) -> Vec<u8> {
    let mut packet = vec![0x45, 0, 0, 0, 0, 0, 0, 0, 64, protocol, 0, 0];
    packet.extend_from_slice(&from.octets());
    packet.extend_from_slice(&to.octets());
    packet[2..4].copy_from_slice(&(20 + payload.len() as u16).to_be_bytes());
    let sum: u32 = packet.chunks(2).map(|pair| u32::from(u16::from_be_bytes([pair[0], pair[1]]))).sum();
    let sum = !((sum & 0xffff) + (sum >> 16)) as u16;
    packet[10..12].copy_from_slice(&sum.to_be_bytes());
    packet.extend_from_slice(payload);
    packet
}

fn udp(from: u16, to: u16) -> Vec<u8> {
    let mut datagram = [from.to_be_bytes(), to.to_be_bytes(), (8 + MARK.len() as u16).to_be_bytes(), [0; 2]].concat();
    datagram.extend_from_slice(MARK);
    datagram
}

/// An ARP reply that says who has an address.
fn arp(mac: [u8; 6], address: Ipv4Addr) -> Vec<u8> {
    let mut payload = vec![0, 1, 8, 0, 6, 4, 0, 2];
    payload.extend_from_slice(&mac);
    payload.extend_from_slice(&address.octets());
    payload.extend_from_slice(&VICTIM);
    payload.extend_from_slice(&[192, 168, 127, 2]);
    payload.extend_from_slice(MARK);
    payload
}

/// A request of DHCP that the attacker's card sends for another one.
fn dhcp_for(card: [u8; 6], wanted: Ipv4Addr) -> Vec<u8> {
    let mut message = vec![0; 236];
    message[..3].copy_from_slice(&[1, 1, 6]);
    message[28..34].copy_from_slice(&card);
    message.extend_from_slice(&[0x63, 0x82, 0x53, 0x63, 53, 1, 3, 50, 4]);
    message.extend_from_slice(&wanted.octets());
    message.push(255);
    message.extend_from_slice(MARK);
    let head = [[0, 68], [0, 67], (8 + message.len() as u16).to_be_bytes(), [0; 2]].concat();
    let packet = ipv4(17, Ipv4Addr::UNSPECIFIED, Ipv4Addr::BROADCAST, &[head, message].concat());
    frame(BROADCAST, OWN, 0x0800, &packet)
}

/// A message of neighbour discovery (RFC 4861) that is right but for what it says.
fn ndp(from: Ipv6Addr, kind: u8, target: Ipv6Addr) -> Vec<u8> {
    let to = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);
    let mut message = vec![kind, 0, 0, 0, 0x20, 0, 0, 0];
    message.extend_from_slice(&target.octets());
    // The end of a redirect's destination, or an option that nobody knows.
    message.extend_from_slice(&[200, 4, 0, 0]);
    message.extend_from_slice(MARK);
    message.resize(24 + 32, 0);
    let pseudo = [&from.octets()[..], &to.octets(), &[0, 0, 0, message.len() as u8, 0, 0, 0, 58], &message].concat();
    let sum: u32 = pseudo.chunks(2).map(|pair| u32::from(u16::from_be_bytes([pair[0], pair[1]]))).sum();
    message[2..4].copy_from_slice(&(!((sum & 0xffff) + (sum >> 16)) as u16).to_be_bytes());
    let head = [&[0x60, 0, 0, 0, 0, message.len() as u8, 58, 255][..], &from.octets(), &to.octets()].concat();
    frame([0x33, 0x33, 0, 0, 0, 1], OWN, 0x86dd, &[head, message].concat())
}

/// What tells lies about the link: four about others' cards, and one of a router and one of a redirect.
fn lies(neighbour: (Ipv4Addr, Ipv6Addr)) -> Vec<Vec<u8>> {
    let own = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 0x66);
    vec![
        dhcp_for(NEIGHBOUR, neighbour.0),
        ndp(own, 134, Ipv6Addr::UNSPECIFIED),
        ndp(own, 137, ROUTER_LINK_LOCAL),
        ndp(own, 136, ROUTER_LINK_LOCAL),
        ndp(own, 136, neighbour.1),
        ndp(neighbour.1, 135, own),
    ]
}

/// In the name of a session's inner address, and to it.
fn tunnelled(inner: Ipv4Addr, own: Ipv4Addr) -> Vec<Vec<u8>> {
    let remote = REMOTE[0].parse().expect("an address");
    [ipv4(17, inner, remote, &udp(1, 7)), ipv4(17, own, inner, &udp(5, 4000)), ipv4(17, inner, own, &udp(7, 4000))]
        .map(|packet| frame(ROUTER, OWN, 0x0800, &packet))
        .to_vec()
}

/// The inner address of the session that was opened first.
fn first_inner(lab: &mut Lab) -> Ipv4Addr {
    loop {
        let line = lab.gateway_process.wait_for_line("{");
        if line.contains("\"session_opened\"") {
            let (_, rest) = line.split_once("\"inner_v4\":\"").expect("an address");
            return rest.split('"').next().and_then(|it| it.parse().ok()).expect("an address");
        }
    }
}

/// One of each kind, to everybody and to the victim's card.
fn attacks(victim: Ipv4Addr, own: Ipv4Addr) -> Vec<Vec<u8>> {
    let router = Ipv4Addr::new(192, 168, 127, 1);
    let all = Ipv4Addr::BROADCAST;
    let mut frames = Vec::new();
    for to in [BROADCAST, VICTIM, ROUTER] {
        frames.push(frame(to, OWN, 0x0806, &arp(OWN, router)));
        frames.push(frame(to, OWN, 0x0806, &arp(OWN, victim)));
        frames.push(frame(to, ROUTER, 0x0806, &arp(ROUTER, router)));
        frames.push(frame(to, OWN, 0x0800, &ipv4(17, router, all, &udp(67, 68))));
        frames.push(frame(to, OWN, 0x0800, &ipv4(17, victim, REMOTE[0].parse().expect("an address"), &udp(1, 9))));
        frames.push(frame(to, OWN, 0x0800, &ipv4(17, Ipv4Addr::new(8, 8, 8, 8), victim, &udp(53, 4000))));
        frames.push(frame(to, OWN, 0x0800, &ipv4(17, own, victim, &udp(5, 4000))));
        frames.push(frame(to, VICTIM, 0x0800, &ipv4(17, victim, all, &udp(5, 4000))));
        frames.push(frame(to, OWN, 0x8100, &[&[0, 7, 8, 0][..], MARK].concat()));
        frames.push(frame(to, OWN, 0x88cc, MARK));
        frames.push(frame(to, OWN, 0x0800, &ipv4(17, own, all, &[MARK, &[0; 4000]].concat())));
        frames.push(frame(to, [1, 0, 0, 0, 0, 1], 0x0800, &ipv4(17, own, all, &udp(5, 5))));
        frames.push(to.to_vec());
    }
    frames
}

#[test]
fn a_hostile_guest_stays_in_its_room_and_does_little_there() {
    let Some(mut lab) = Lab::start_if_available(PREFIX, &["--set", "audit.output=stdout"]) else { return };
    block_on(async {
        let remote: IpAddr = REMOTE[0].parse().expect("an address");
        let mut victim = Vm::new(&lab, "/ethernet/quiet", 1, 1500).await;
        let (address, ..) = victim.boot().await;
        victim.ping(remote).await;
        let inner = first_inner(&mut lab);
        let mut neighbour = Vm::new(&lab, "/ethernet/loud", 2, 1500).await;
        let mut attacker = Vm::new(&lab, "/qemu/loud", 66, 1500).await;
        let (beside, ..) = neighbour.boot().await;
        neighbour.run_until("IPv6", |guest| guest.has_v6_route() && guest.v6().is_some()).await;
        let beside = (beside, neighbour.guest.v6().expect("there is one"));
        let (own, ..) = attacker.boot().await;
        let mut rng = SimRng::new(1, "attacker");
        for round in 0..ROUNDS {
            for attack in [attacks(address, own), lies(beside), tunnelled(inner, own)].concat() {
                attacker.send(&attack).await;
            }
            // Cards without end, and those of the others in turn.
            let card = [2, 9, 9, 9, 9, round];
            attacker.send(&frame(BROADCAST, card, 0x0800, &ipv4(17, own, address, &udp(7, 7)))).await;
            attacker.send(&frame(BROADCAST, NEIGHBOUR, 0x0806, &arp(NEIGHBOUR, beside.0))).await;
            attacker.send(&rng.vec(200)).await;
            for _ in 0..20 {
                let storm = ipv4(17, own, Ipv4Addr::new(192, 168, 127, 255), &udp(9, 9));
                attacker.send(&frame(BROADCAST, OWN, 0x0800, &storm)).await;
            }
            attacker.socket.flush().await.expect("sending");
            neighbour.idle(Duration::from_millis(1)).await;
        }
        victim.ping(remote).await;
        neighbour.ping(remote).await;
        // Long enough for whatever is on the way.
        let until = tokio::time::Instant::now() + Duration::from_millis(500);
        victim.run_until("the end of the storm", |_| tokio::time::Instant::now() > until).await;
        let is_marked = |it: &&Vec<u8>| it.windows(MARK.len()).any(|part| part == MARK);
        assert_eq!(victim.seen.iter().find(is_marked), None, "another room's frame");
        neighbour.run_until("the storm", |_| tokio::time::Instant::now() > until).await;
        let heard = neighbour.seen.iter().filter(is_marked).count();
        assert!(heard < 800, "{heard} of 800 broadcasts and more");
        for bad in neighbour.seen.iter().filter(is_marked) {
            // The router passes on what is sent from the attacker's own address.
            let is_routed = bad[12..14] == [8, 0] && bad[26..30] == own.octets();
            assert!(bad[6..12] != ROUTER || is_routed, "in the router's name: {bad:02x?}");
            assert_ne!(bad[12..14], [0x81, 0], "with a tag");
            assert_ne!(bad[12..14], [0x86, 0xdd], "a lie about the link");
        }
        assert_eq!((neighbour.guest.lease.map(|it| it.0), neighbour.guest.v6()), (Some(beside.0), Some(beside.1)));
        attacker.guest.send_icmp(&echo_request(), IpAddr::V4(address));
        tokio::time::sleep(Duration::from_millis(1100)).await;
        let drops = |reason| figure(&lab, &format!("webtun_door_dropped_frames_total{{reason=\"{reason}\"}}"));
        for reason in ["runt", "giant", "vlan", "ether_type", "source_mac", "storm", "too_many_guests"] {
            assert!(drops(reason) > 0, "{reason}");
        }
        // Of each round, all of these and nothing else.
        let each = |reason| (drops(reason) / u64::from(ROUNDS), drops(reason) % u64::from(ROUNDS));
        for (reason, count) in [
            ("spoofed_router", 3 + 1),
            ("rogue_server", 3 + 2),
            ("spoofed_hardware", 1),
            ("spoofed_guest", 3 + 3 + 3 + 2),
            ("foreign_source", 3 + 2),
            ("foreign_mac", 1),
        ] {
            assert_eq!(each(reason), (count, 0), "{reason}");
        }
        let to_inner = figure(&lab, "webtun_dropped_packets_total{reason=\"unroutable\"}");
        assert!(to_inner > 0, "packets to the inner address have come to the gateway, and no further");
        let sessions = figure(&lab, "webtun_sessions{state=\"connected\"}");
        assert!((3..=2 + 16).contains(&sessions), "{sessions}: cards of one port are bounded");
    });
}

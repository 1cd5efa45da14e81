//! A guest that sends whatever it likes: it is contained in its room, and within bounds there.

mod door_support;

use door_support::{Vm, block_on, echo_request, figure, frame};
use futures_util::SinkExt;
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;
use webtun_tests::lab::{Lab, REMOTE};
use webtun_tests::rng::SimRng;

const PREFIX: &str = "wt-doorh";
/// In everything that the attacker sends.
const MARK: &[u8] = b"this-is-the-attacker";
const ROUTER: [u8; 6] = [2, 0x77, 0x74, 0, 0, 1];
const BROADCAST: [u8; 6] = [0xff; 6];
const VICTIM: [u8; 6] = [2, 0, 0, 0, 0, 1];
const OWN: [u8; 6] = [2, 0, 0, 0, 0, 66];

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
    let Some(lab) = Lab::start_if_available(PREFIX, &[]) else { return };
    block_on(async {
        let mut victim = Vm::new(&lab, "/ethernet/quiet", 1, 1500).await;
        let mut neighbour = Vm::new(&lab, "/ethernet/loud", 2, 1500).await;
        let mut attacker = Vm::new(&lab, "/qemu/loud", 66, 1500).await;
        let (address, ..) = victim.boot().await;
        neighbour.boot().await;
        let (own, ..) = attacker.boot().await;
        let mut rng = SimRng::new(1, "attacker");
        for round in 0..40_u8 {
            for attack in attacks(address, own) {
                attacker.send(&attack).await;
            }
            // Cards without end, and those of the others in turn.
            let card = [2, 9, 9, 9, 9, round];
            attacker.send(&frame(BROADCAST, card, 0x0800, &ipv4(17, own, address, &udp(7, 7)))).await;
            attacker.send(&frame(BROADCAST, [2, 0, 0, 0, 0, 2], 0x0806, &arp(OWN, address))).await;
            attacker.send(&rng.vec(200)).await;
            for _ in 0..20 {
                let storm = ipv4(17, own, Ipv4Addr::new(192, 168, 127, 255), &udp(9, 9));
                attacker.send(&frame(BROADCAST, OWN, 0x0800, &storm)).await;
            }
            attacker.socket.flush().await.expect("sending");
        }
        let remote: IpAddr = REMOTE[0].parse().expect("an address");
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
        }
        attacker.guest.send_icmp(&echo_request(), IpAddr::V4(address));
        tokio::time::sleep(Duration::from_millis(1100)).await;
        for reason in ["runt", "giant", "vlan", "ether_type", "source_mac", "spoofed_router", "rogue_server", "storm"] {
            let count = figure(&lab, &format!("webtun_door_dropped_frames_total{{reason=\"{reason}\"}}"));
            assert!(count > 0, "{reason}");
        }
        let sessions = figure(&lab, "webtun_sessions{state=\"connected\"}");
        assert!((3..=2 + 16).contains(&sessions), "{sessions}: cards of one port are bounded");
    });
}

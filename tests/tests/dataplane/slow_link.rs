//! Packets of many segments on a slow connection, in virtual time: nothing may wait behind 64 KiB that it could overtake.

use std::net::SocketAddr;
use std::time::Duration;
use webtun_gateway::dataplane::{Action, ExternalAddress, Filtering, GatewayConfig, Gather, NatConfig, Peer, Rule};
use webtun_tests::direct::{Direct, OFFLOAD_CONTEXT};
use webtun_tests::packet::{Offloaded, Segment, View, udp};
use webtun_wire::{Capsule, OFFLOAD_HEADER_LEN, OffloadHeader, capsules};

const HEAD: Segment = Segment { flags: 0x18, sequence: 1, acknowledgment: 1 };
/// 20 Mbit/s.
const OCTETS_PER_S: f64 = 2.5e6;
/// 5 ms of that, and not below what `io::pace` asks for.
const ROOM: usize = 16 * 1024;
const SUPER: usize = 60_000;

/// A session with the offload context that asks for messages from now on by itself, and two of its external endpoints.
fn session(room: Option<usize>) -> (Direct, SocketAddr, SocketAddr) {
    let external = "45.34.0.1".parse().unwrap();
    let nat = NatConfig { filtering: Filtering::EndpointIndependent, ..NatConfig::default() };
    let external = vec![ExternalAddress { address: external, announced: external }];
    let rules = vec![Rule::new(Action::Allow)];
    let mut direct = Direct::new(GatewayConfig { nat, rules, ..GatewayConfig::new(external) }, [5; 32]);
    direct.open(&Peer::new("a")).unwrap();
    direct.open_offload(0);
    let own = direct.sessions[0].endpoint(false, 4000);
    let opening = webtun_tests::packet::tcp(own, remote(), Segment { flags: 2, ..HEAD }, b"");
    direct.send_packets(0, &[opening, udp(direct.sessions[0].endpoint(false, 5000), remote(), b"ping")]).unwrap();
    let mapped = |packet| View::parse(packet).unwrap().source_endpoint();
    let ends = [mapped(&direct.egress[0]), mapped(&direct.egress[1])];
    direct.egress.clear();
    if let Some(room) = room {
        let id = direct.sessions[0].id;
        direct.gateway.set_message_room(id, room as u64);
    }
    // The test is the connection.
    direct.sessions[0].connected = false;
    (direct, ends[0], ends[1])
}

fn remote() -> SocketAddr {
    "45.33.0.1:80".parse().unwrap()
}

/// What a message carries: packets with their headers.
fn packets(message: &[u8]) -> Vec<Offloaded> {
    let carried = capsules(message).filter_map(|capsule| match capsule.unwrap() {
        Capsule::Datagram { context: 0, payload } => {
            Some(Offloaded { header: OffloadHeader::default(), packet: payload.into() })
        }
        Capsule::Datagram { context: OFFLOAD_CONTEXT, payload } => {
            let header = OffloadHeader::decode(payload).unwrap();
            Some(Offloaded { header, packet: payload[OFFLOAD_HEADER_LEN..].into() })
        }
        _ => None,
    });
    carried.collect()
}

fn is_ping(it: &Offloaded) -> bool {
    it.packet[9] == 17
}

/// How long a datagram takes that comes while a download of ten packets of many segments is under way.
fn delay(room: Option<usize>) -> Duration {
    let (mut direct, bulk, echo) = session(room);
    let data = vec![7; SUPER];
    for number in 0..10 {
        let head = Segment { sequence: 1 + number * SUPER as u32, ..HEAD };
        direct.receive_offloaded(Offloaded::tcp(remote(), bulk, head, 1448, &data));
    }
    let id = direct.sessions[0].id;
    let mut came = None;
    loop {
        let message = direct.gateway.poll_message(id, direct.now).expect("the datagram has not left yet").into_bytes();
        let start = direct.now;
        direct.now += Duration::from_secs_f64(message.len() as f64 / OCTETS_PER_S);
        let carried = packets(&message);
        if carried.iter().any(is_ping) {
            return direct.now.saturating_duration_since(came.unwrap());
        }
        if came.is_none() {
            // In the middle of the first message.
            let middle = Duration::from_secs_f64(message.len() as f64 / OCTETS_PER_S / 2.0);
            came = Some(start + middle);
            direct.receive(udp(remote(), echo, b"pong"));
        }
    }
}

#[test]
fn a_datagram_waits_for_a_few_short_messages() {
    let short = delay(Some(ROOM));
    assert!(short <= Duration::from_millis(20), "{short:?}");
    let long = delay(None);
    assert!(long > Duration::from_millis(60), "without a bound it is worse, or the test shows nothing: {long:?}");
}

#[test]
fn pieces_are_what_the_whole_was() {
    let data: Vec<u8> = (0..SUPER).map(|at| (at % 251) as u8).collect();
    for room in [1, 1000, 1448 + 40, 5000, ROOM, SUPER + 39, SUPER + 40] {
        let (mut direct, bulk, _) = session(Some(room));
        direct.receive_offloaded(Offloaded::tcp(remote(), bulk, HEAD, 1448, &data));
        let id = direct.sessions[0].id;
        let messages: Vec<_> =
            std::iter::from_fn(|| direct.gateway.poll_message(id, direct.now)).map(Gather::into_bytes).collect();
        let mut received = Vec::new();
        for it in messages.iter().flat_map(|message| packets(message)) {
            assert!(it.packet.len() <= room.max(1448 + 40), "{} octets for {room}", it.packet.len());
            let head = u32::from_be_bytes(it.packet[24..28].try_into().unwrap());
            assert_eq!(head as usize, 1 + received.len(), "in order");
            let is_last = received.len() + it.packet.len() - 40 == SUPER;
            assert_eq!(it.packet[33], if is_last { 0x18 } else { 0x10 }, "PSH is the last one's");
            received.extend_from_slice(&it.packet[40..]);
        }
        assert!(received == data, "the same octets with {room}");
    }
}

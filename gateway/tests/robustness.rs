//! Whatever comes in: nothing panics, what goes out is sound, and another session does not notice.

mod support;

use bytes::BytesMut;
use proptest::prelude::*;
use support::packets::{self, ACK, SYN, destination, echo, source, tcp, tcp_options, udp, unreachable};
use support::{Client, EXTERNAL_V4, EXTERNAL_V6, World, config, hello};
use webtun_gateway::dataplane::{Filtering, Peer};

/// A world whose client has mappings of every kind, and packets of every kind in both directions.
fn populated() -> (World, Client, Vec<Vec<u8>>, Vec<Vec<u8>>) {
    let mut config = config();
    config.nat.filtering = Filtering::EndpointIndependent;
    let mut world = World::new(config);
    let client = world.connect();
    let mut uplink = Vec::new();
    for remote in ["8.8.4.4", "2600::4"] {
        let remote = remote.parse().expect("an address");
        let from = (client.address(remote), 4000);
        uplink.push(udp(from, (remote, 9), b"some data"));
        uplink.extend(packets::cuttable(udp(from, (remote, 9), &[9; 4000])));
        uplink.push(tcp_options(from, (remote, 80), SYN, &[1, 2, 4, 0xFF, 0xD7, 1, 1, 1], b""));
        uplink.push(tcp(from, (remote, 80), ACK, b"more data"));
        uplink.push(echo(client.address(remote), remote, 4000, true));
    }
    world.send(&client, &uplink);
    let out = world.take_outside();
    let mut downlink = Vec::new();
    for packet in &out {
        let (from, to) = (destination(packet), source(packet));
        downlink.push(unreachable(from.0, to.0, packet, 200));
        if packets::is_fragment(packet) {
            let mut piece = packet.clone();
            let (at, len) = if packets::is_v4(packet) { (12, 4) } else { (8, 16) };
            let (first, second) = piece[at..at + 2 * len].split_at_mut(len);
            first.swap_with_slice(second);
            downlink.push(piece);
            continue;
        }
        downlink.push(match packets::transport(packet).0 {
            6 => tcp(from, to, SYN | ACK, b"answer"),
            17 => udp(from, to, b"answer"),
            _ => echo(from.0, to.0, to.1, false),
        });
    }
    for packet in &downlink {
        world.receive(packet);
    }
    for packet in world.packets(&client) {
        uplink.push(unreachable(destination(&packet).0, source(&packet).0, &packet, 200));
    }
    (world, client, uplink, downlink)
}

/// Where an octet is changed, and to what.
type Mutations = Vec<(prop::sample::Index, u8)>;

fn mutations() -> impl Strategy<Value = Mutations> {
    prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4)
}

fn mutate(packet: &[u8], mutations: &Mutations, cut: Option<prop::sample::Index>) -> Vec<u8> {
    let mut packet = packet.to_vec();
    for (index, value) in mutations {
        // Headers are where it matters.
        let len = packet.len().min(96);
        packet[index.index(len)] = *value;
    }
    if let Some(cut) = cut {
        packet.truncate(cut.index(packet.len() + 1));
    }
    packet
}

/// Empties the gateway; packets made of unsound ones may be unsound themselves.
fn drain(world: &mut World, client: &Client) -> Vec<Vec<u8>> {
    let mut out: Vec<_> =
        std::iter::from_fn(|| world.gateway.poll_transmit()).map(|transmit| transmit.packet.to_vec()).collect();
    while let Some(message) = world.poll(client.id) {
        for capsule in webtun_wire::capsules(&message) {
            if let webtun_wire::Capsule::Datagram { payload, .. } = capsule.expect("a sound capsule") {
                out.push(payload.to_vec());
            }
        }
    }
    while world.gateway.poll_event().is_some() {}
    out
}

proptest! {
    #![proptest_config(support::cases(500))]

    #[test]
    fn any_octets_from_outside(octets in prop::collection::vec(any::<u8>(), 0..200), protocol in any::<u8>()) {
        let (mut world, client, ..) = populated();
        let stranger = ("9.9.9.9".parse().expect("an address"), "2600::9".parse().expect("an address"));
        let packets = [
            octets.clone(),
            packets::raw(stranger.0, EXTERNAL_V4, protocol, &octets),
            packets::raw(stranger.1, EXTERNAL_V6, protocol, &octets),
        ];
        for packet in packets {
            world.gateway.process_downlink(BytesMut::from(&packet[..]), &webtun_wire::OffloadHeader::default(), world.now);
            world.gateway.process_local(BytesMut::from(&packet[..]), world.now);
        }
        drain(&mut world, &client);
    }

    #[test]
    fn any_message_from_a_client(message in prop::collection::vec(any::<u8>(), 0..300)) {
        let (mut world, client, ..) = populated();
        let other = world.connect();
        let _ = world.gateway.process_uplink(client.id, BytesMut::from(&message[..]), world.now);
        let _ = world.gateway.handshake(&message, &Peer::new("peer"), world.now);
        drain(&mut world, &client);
        prop_assert!(world.gateway.sessions().any(|session| session.id == other.id && session.connected));
    }

    #[test]
    fn a_handshake_cut_or_changed(mutations in mutations(), cut in any::<Option<prop::sample::Index>>()) {
        let mut world = World::new(config());
        let message = mutate(&hello(None), &mutations, cut);
        let _ = world.gateway.handshake(&message, &Peer::new("peer"), world.now);
    }

    #[test]
    fn changed_packets_both_ways(
        picks in prop::collection::vec(
            (any::<bool>(), any::<prop::sample::Index>(), mutations(), any::<Option<prop::sample::Index>>()), 1..20),
        heals in any::<bool>(),
    ) {
        let (mut world, client, uplink, downlink) = populated();
        let mut is_clean = true;
        for (up, pick, mutations, cut) in picks {
            let pool = if up { &uplink } else { &downlink };
            let original = &pool[pick.index(pool.len())];
            let mut packet = mutate(original, &mutations, cut);
            if heals {
                packets::heal(&mut packet);
            }
            // A piece has no checksum of its own that would tell what its datagram will be.
            is_clean &= packet == *original
                || (packet.len() >= 48 && packets::is_sound(&packet) && !packets::is_fragment(&packet));
            if up {
                let mut writer = client.message();
                prop_assert!(writer.push_packet(0, &packet));
                world.gateway.process_uplink(client.id, BytesMut::from(&writer.finish()[..]), world.now).expect("sound");
            } else {
                world.gateway.process_downlink(BytesMut::from(&packet[..]), &webtun_wire::OffloadHeader::default(), world.now);
            }
            for packet in drain(&mut world, &client) {
                prop_assert!(!is_clean || packets::is_sound(&packet), "{packet:02x?}");
                let is_inner = source(&packet).0 == client.v4 || source(&packet).0 == client.v6;
                prop_assert!(!is_inner, "an inner address got out: {packet:02x?}");
            }
        }
    }

    /// The client's packets leave from the external addresses alone, whatever becomes of them.
    #[test]
    fn sources_are_external(
        port in 1..=u16::MAX,
        remote_port in 1..=u16::MAX,
        v6 in any::<bool>(),
        len in 0..3000usize,
    ) {
        let (mut world, client, ..) = populated();
        let remote = if v6 { "2600::77" } else { "8.8.77.77" }.parse().expect("an address");
        world.send(&client, &[udp((client.address(remote), port), (remote, remote_port), &vec![1; len])]);
        for packet in world.take_outside() {
            let (from, to) = (source(&packet).0, destination(&packet).0);
            prop_assert_eq!((from, to), (if v6 { EXTERNAL_V6 } else { EXTERNAL_V4 }, remote));
        }
    }
}

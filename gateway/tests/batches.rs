//! Packets that come together fare as they do one by one.

mod support;

use bytes::BytesMut;
use proptest::prelude::*;
use std::net::IpAddr;
use std::time::Duration;
use support::packets::{ACK, Endpoint, FIN, RST, SYN, destination, echo, source, tcp, transport, udp};
use support::{Client, EXTERNAL_V4, EXTERNAL_V6, World, cases, patient};
use webtun_gateway::dataplane::{DropReason, Filtering, GatewayConfig};
use webtun_wire::OffloadHeader;

#[derive(Clone, Debug)]
enum Step {
    /// Packets of a client: protocol, family, port and remote endpoint, control bits.
    Up(usize, Vec<(u8, bool, u16, u8, u8)>),
    /// Answers to packets that have left, by their number, or packets to some port: protocol, port, remote endpoint,
    /// control bits.
    Down(Vec<(Option<prop::sample::Index>, u8, u16, u8, u8)>),
    Pass(u64),
}

fn step() -> impl Strategy<Value = Step> {
    let protocol = || prop::sample::select(vec![6u8, 17, 1]);
    let flags = || prop::sample::select(vec![SYN, ACK, FIN | ACK, RST]);
    let up = (protocol(), any::<bool>(), 0..40u16, 0..6u8, flags());
    let down = (any::<Option<prop::sample::Index>>(), protocol(), 0..600u16, 0..6u8, flags());
    prop_oneof![
        4 => (0..2usize, prop::collection::vec(up, 1..80)).prop_map(|(client, packets)| Step::Up(client, packets)),
        4 => prop::collection::vec(down, 1..80).prop_map(Step::Down),
        1 => (1..400u64).prop_map(Step::Pass),
    ]
}

fn remote(number: u8, v4: bool) -> Endpoint {
    let address = if v4 { format!("9.9.9.{}", 1 + number / 2) } else { format!("2600::{}", 1 + number / 2) };
    (address.parse().expect("an address"), 443 + u16::from(number % 2))
}

fn packet(protocol: u8, from: Endpoint, to: Endpoint, flags: u8, is_request: bool) -> Vec<u8> {
    match protocol {
        6 => tcp(from, to, flags, b"x"),
        17 => udp(from, to, b"x"),
        _ => echo(from.0, to.0, if is_request { from.1 } else { to.1 }, is_request),
    }
}

/// The same gateway twice: one takes packets together, the other one by one.
struct Twins {
    worlds: [World; 2],
    clients: [Vec<Client>; 2],
    sent: Vec<Vec<u8>>,
}

impl Twins {
    fn new(config: &GatewayConfig) -> Self {
        let mut worlds = [World::new(config.clone()), World::new(config.clone())];
        let clients = [0, 1].map(|which| (0..2).map(|_| worlds[which].connect()).collect());
        Self { worlds, clients, sent: Vec::new() }
    }

    fn up(&mut self, which: usize, packets: &[(u8, bool, u16, u8, u8)]) {
        let client = &self.clients[0][which];
        let packets: Vec<_> = packets
            .iter()
            .map(|&(protocol, v4, port, to, flags)| {
                let own: IpAddr = if v4 { client.v4 } else { client.v6 };
                packet(protocol, (own, client.blocks[0].first + port), remote(to, v4), flags, true)
            })
            .collect();
        self.worlds[0].send(client, &packets);
        packets.iter().for_each(|packet| self.worlds[1].send(&self.clients[1][which], std::slice::from_ref(packet)));
    }

    fn down(&mut self, packets: &[(Option<prop::sample::Index>, u8, u16, u8, u8)]) {
        let packets: Vec<_> = packets
            .iter()
            .map(|(answered, protocol, port, from, flags)| match answered {
                Some(index) if !self.sent.is_empty() => {
                    let sent = index.get(&self.sent);
                    let (protocol, _) = transport(sent);
                    packet(protocol, destination(sent), source(sent), *flags, false)
                }
                _ => {
                    let v4 = from % 2 == 0;
                    let first = self.clients[0][0].blocks[0].first;
                    let to = (if v4 { EXTERNAL_V4 } else { EXTERNAL_V6 }, first + port);
                    packet(*protocol, remote(*from, v4), to, *flags, false)
                }
            })
            .collect();
        let now = self.worlds[0].now;
        let octets = packets.iter().map(|packet| (BytesMut::from(&packet[..]), OffloadHeader::default()));
        self.worlds[0].gateway.process_downlink_batch(octets, now);
        self.worlds[0].settle();
        packets.iter().for_each(|packet| self.worlds[1].receive(packet));
    }

    fn compare(&mut self) {
        let [left, right] = self.worlds.each_mut().map(World::take_outside);
        assert_eq!(left, right);
        self.sent.extend(left);
        for (one, other) in self.clients[0].iter().zip(&self.clients[1]) {
            let (left, right) = (self.worlds[0].collect(one), self.worlds[1].collect(other));
            assert_eq!(left, right);
        }
        let [left, right] = self.worlds.each_ref().map(|world| {
            let stats = world.gateway.stats();
            (stats.mappings, stats.mappings_created, DropReason::ALL.map(|reason| stats.drops(reason)))
        });
        assert_eq!(left, right);
    }
}

proptest! {
    #![proptest_config(cases(64))]
    #[test]
    fn packets_together_fare_as_one_by_one(
        steps in prop::collection::vec(step(), 1..20),
        filtering in prop::sample::select(vec![
            Filtering::EndpointIndependent, Filtering::AddressDependent, Filtering::AddressAndPortDependent,
        ]),
    ) {
        let mut config = patient();
        config.nat.filtering = filtering;
        let mut twins = Twins::new(&config);
        for step in &steps {
            match step {
                Step::Up(which, packets) => twins.up(*which, packets),
                Step::Down(packets) => twins.down(packets),
                Step::Pass(seconds) => twins.worlds.iter_mut().for_each(|world| world.pass(Duration::from_secs(*seconds))),
            }
            twins.compare();
        }
    }
}

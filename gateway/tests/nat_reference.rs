//! The NAT against a naive twin: a list of flows, searched from one end to the other, under random actions.
//!
//! The twin does not know which external port a mapping gets: it learns it from the first packet, and checks that it
//! is one of the session's, that nobody else has it, and that it never changes while the mapping lives.

mod support;

use proptest::prelude::*;
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;
use support::packets::{ACK, Endpoint, FIN, RST, SYN, destination, echo, source, tcp, udp};
use support::{Client, World, config};
use webtun_gateway::dataplane::{Filtering, NatTimeouts};
use webtun_wire::Instant;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    Tcp(u8),
    Udp,
    Echo,
}

#[derive(Clone, Debug)]
enum Action {
    /// Client, kind, internal port, remote host, remote port.
    Out(usize, Kind, u16, usize, u16),
    /// Which mapping's external endpoint, kind, remote host, remote port.
    In(prop::sample::Index, u8, usize, u16),
    Pass(u64),
    Reconnect(usize),
}

/// The protocol's place in a key; TCP's control bits do not belong there.
fn number(kind: Kind) -> u8 {
    match kind {
        Kind::Tcp(_) => 6,
        Kind::Udp => 17,
        Kind::Echo => 1,
    }
}

/// The state of a TCP connection, in words.
#[derive(Clone, Copy, Debug, Default)]
struct Tcp {
    inside: bool,
    outside: bool,
    inside_fin: bool,
    outside_fin: bool,
    reset: bool,
}

impl Tcp {
    fn see(&mut self, from_inside: bool, flags: u8) {
        if flags & RST != 0 {
            self.reset = self.inside || self.outside;
            (if from_inside { &mut self.inside } else { &mut self.outside }).clone_from(&true);
            return;
        }
        let both_closed = self.inside_fin && self.outside_fin;
        if (both_closed || self.reset) && flags & SYN != 0 {
            *self = Self::default();
        } else if both_closed && !self.reset {
            return;
        } else if self.reset {
            *self = Self { inside: true, outside: true, ..Self::default() };
        }
        *(if from_inside { &mut self.inside } else { &mut self.outside }) = true;
        if flags & FIN != 0 && self.inside && self.outside {
            *(if from_inside { &mut self.inside_fin } else { &mut self.outside_fin }) = true;
        }
    }

    fn lifetime(&self) -> Duration {
        let timeouts = NatTimeouts::default();
        let is_open = self.inside && self.outside && !self.reset && !(self.inside_fin && self.outside_fin);
        if is_open { timeouts.tcp_established } else { timeouts.tcp_transitory }
    }
}

#[derive(Clone, Debug)]
struct Flow {
    remote: Endpoint,
    tcp: Tcp,
    expires: Instant,
}

#[derive(Clone, Debug)]
struct Mapping {
    external: Endpoint,
    flows: Vec<Flow>,
}

/// (protocol, internal endpoint) to mapping.
#[derive(Default)]
struct Reference {
    mappings: BTreeMap<(u8, Endpoint), Mapping>,
}

impl Reference {
    fn expire(&mut self, now: Instant) {
        for mapping in self.mappings.values_mut() {
            mapping.flows.retain(|flow| flow.expires > now);
        }
        self.mappings.retain(|_, mapping| !mapping.flows.is_empty());
    }

    fn touch(mapping: &mut Mapping, kind: Kind, remote: Endpoint, from_inside: bool, now: Instant) {
        let position = mapping.flows.iter().position(|flow| flow.remote == remote).unwrap_or_else(|| {
            mapping.flows.push(Flow { remote, tcp: Tcp::default(), expires: now });
            mapping.flows.len() - 1
        });
        let flow = &mut mapping.flows[position];
        let timeouts = NatTimeouts::default();
        let lifetime = match kind {
            Kind::Udp => timeouts.udp,
            Kind::Echo => timeouts.icmp,
            Kind::Tcp(flags) => {
                flow.tcp.see(from_inside, flags);
                flow.tcp.lifetime()
            }
        };
        flow.expires = now + lifetime;
    }

    fn admits(mapping: &Mapping, filtering: Filtering, kind: Kind, remote: Endpoint) -> bool {
        match filtering {
            Filtering::EndpointIndependent => true,
            Filtering::AddressDependent => mapping.flows.iter().any(|flow| flow.remote.0 == remote.0),
            Filtering::AddressAndPortDependent if kind == Kind::Echo => {
                mapping.flows.iter().any(|flow| flow.remote.0 == remote.0)
            }
            Filtering::AddressAndPortDependent => mapping.flows.iter().any(|flow| flow.remote == remote),
        }
    }
}

fn remote(index: usize) -> IpAddr {
    ["8.8.4.4", "9.9.9.9", "2600::4", "2600::9"][index].parse().expect("an address")
}

fn packet(kind: Kind, from: Endpoint, to: Endpoint, is_request: bool) -> Vec<u8> {
    match kind {
        Kind::Tcp(flags) => tcp(from, to, flags, b"data"),
        Kind::Udp => udp(from, to, b"data"),
        Kind::Echo => echo(from.0, to.0, if is_request { from.1 } else { to.1 }, is_request),
    }
}

struct Twins {
    world: World,
    reference: Reference,
    clients: Vec<Client>,
    filtering: Filtering,
}

impl Twins {
    fn new(filtering: Filtering) -> Self {
        let mut config = config();
        config.nat.filtering = filtering;
        config.ping_interval = Duration::from_secs(1_000_000);
        let mut world = World::new(config);
        let clients = (0..3).map(|_| world.connect()).collect();
        Self { world, reference: Reference::default(), clients, filtering }
    }

    fn run(&mut self, action: &Action) {
        match action {
            Action::Out(client, kind, port, host, remote_port) => self.out(*client, *kind, *port, *host, *remote_port),
            Action::In(which, flags, host, port) => self.inward(which, *flags, *host, *port),
            Action::Pass(seconds) => {
                self.world.pass(Duration::from_secs(*seconds));
                self.reference.expire(self.world.now);
            }
            Action::Reconnect(client) => {
                let gone = &self.clients[*client];
                self.world.gateway.close_session(gone.id, webtun_wire::CloseCode::Normal, self.world.now);
                let (v4, v6) = (gone.v4, gone.v6);
                self.reference.mappings.retain(|(_, (address, _)), _| *address != v4 && *address != v6);
                self.clients[*client] = self.world.connect();
            }
        }
        assert_eq!(self.world.gateway.stats().mappings, self.reference.mappings.len() as u64);
    }

    fn out(&mut self, client: usize, kind: Kind, port: u16, host: usize, remote_port: u16) {
        let client = &self.clients[client];
        let host = remote(host);
        let from = (client.address(host), port);
        // An echo has one identifier at both ends.
        let to = (host, if kind == Kind::Echo { port } else { remote_port });
        self.world.send(client, &[packet(kind, from, to, true)]);
        let out = self.world.take_outside();
        let key = (number(kind), from);
        let known = self.reference.mappings.get(&key).map(|mapping| mapping.external);
        if known.is_none() && matches!(kind, Kind::Tcp(flags) if flags & RST != 0) {
            return assert!(out.is_empty());
        }
        assert_eq!(out.len(), 1);
        let external = source(&out[0]);
        if kind != Kind::Echo {
            assert_eq!(destination(&out[0]), to);
        }
        match known {
            Some(known) => assert_eq!(external, known, "a mapping has moved"),
            None => {
                let is_taken = self.reference.mappings.iter().any(|((n, _), m)| *n == key.0 && m.external == external);
                assert!(!is_taken, "two mappings share {external:?}");
                let is_own = client.blocks.iter().any(|block| {
                    block.address == external.0 && (block.first..=block.first + (block.count - 1)).contains(&external.1)
                });
                assert!(is_own, "{external:?} is not the session's");
                self.reference.mappings.insert(key, Mapping { external, flows: Vec::new() });
            }
        }
        let flow = self.key(kind, to);
        let mapping = self.reference.mappings.get_mut(&key).expect("just made");
        Reference::touch(mapping, kind, flow, true, self.world.now);
    }

    /// What the twin tells flows apart by.
    fn key(&self, kind: Kind, remote: Endpoint) -> Endpoint {
        let by_port = match kind {
            Kind::Tcp(_) => true,
            Kind::Udp => self.filtering == Filtering::AddressAndPortDependent,
            Kind::Echo => false,
        };
        (remote.0, if by_port { remote.1 } else { 0 })
    }

    fn inward(&mut self, which: &prop::sample::Index, flags: u8, host: usize, port: u16) {
        if self.reference.mappings.is_empty() {
            return;
        }
        let (key, mapping) =
            self.reference.mappings.iter().nth(which.index(self.reference.mappings.len())).expect("one");
        let (key, external) = (*key, mapping.external);
        let kind = match key.0 {
            6 => Kind::Tcp(flags),
            17 => Kind::Udp,
            _ => Kind::Echo,
        };
        let from = (remote(host), port);
        if from.0.is_ipv4() != external.0.is_ipv4() {
            return;
        }
        self.world.receive(&packet(kind, from, external, false));
        let client = self.clients.iter().find(|c| c.v4 == key.1.0 || c.v6 == key.1.0).expect("a client").clone();
        let delivered = self.world.packets(&client);
        let mapping = self.reference.mappings.get_mut(&key).expect("it was there");
        if !Reference::admits(mapping, self.filtering, kind, from) {
            return assert!(delivered.is_empty());
        }
        assert_eq!(delivered.len(), 1);
        assert_eq!(destination(&delivered[0]), key.1);
        if matches!(kind, Kind::Tcp(_)) {
            Reference::touch(mapping, kind, from, false, self.world.now);
        }
    }
}

fn kind() -> impl Strategy<Value = Kind> {
    prop_oneof![4 => flags().prop_map(Kind::Tcp), 2 => Just(Kind::Udp), 1 => Just(Kind::Echo)]
}

fn flags() -> impl Strategy<Value = u8> {
    prop_oneof![3 => Just(SYN), 4 => Just(ACK), 2 => Just(FIN | ACK), 1 => Just(RST), 2 => Just(SYN | ACK)]
}

fn action() -> impl Strategy<Value = Action> {
    prop_oneof![
        10 => (0..3usize, kind(), 1000..1004u16, 0..4usize, 50..53u16).prop_map(|(c, k, p, h, r)| Action::Out(c, k, p, h, r)),
        10 => (any::<prop::sample::Index>(), flags(), 0..4usize, 50..53u16).prop_map(|(w, f, h, p)| Action::In(w, f, h, p)),
        2 => prop_oneof![1..100u64, Just(239u64), Just(240), Just(300), 1000..8000u64].prop_map(Action::Pass),
        1 => (0..3usize).prop_map(Action::Reconnect),
    ]
}

proptest! {
    #![proptest_config(support::cases(200))]

    #[test]
    fn the_nat_does_what_its_twin_does(
        filtering in prop_oneof![
            Just(Filtering::EndpointIndependent),
            Just(Filtering::AddressDependent),
            Just(Filtering::AddressAndPortDependent),
        ],
        actions in prop::collection::vec(action(), 1..150),
    ) {
        let mut twins = Twins::new(filtering);
        for action in &actions {
            twins.run(action);
        }
    }
}

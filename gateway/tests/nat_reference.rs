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
use support::{Client, World, hello, patient};
use webtun_gateway::dataplane::{ExternalAddress, Filtering, NatTimeouts, Peer, PeerLimits};
use webtun_wire::{Instant, PortBlock};

/// Each client's.
const FILTERS: [Filtering; 3] =
    [Filtering::EndpointIndependent, Filtering::AddressDependent, Filtering::AddressAndPortDependent];
/// RFC 6888 REQ-8.
const HOLD: Duration = Duration::from_secs(120);

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
        if is_open { timeouts.tcp_established } else { timeouts.tcp_closing }
    }
}

#[derive(Clone, Debug)]
struct Flow {
    remote: Endpoint,
    tcp: Tcp,
    expires: Instant,
    /// The client has sent something: only then does it count for the filter and for the mapping's life.
    spoke: bool,
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
    /// Protocol and internal endpoint, external endpoint, and when nobody had it any longer.
    released: Vec<((u8, Endpoint), Endpoint, Instant)>,
    /// Blocks of sessions that are over, and since when.
    returned: Vec<(PortBlock, Instant)>,
}

impl Reference {
    fn expire(&mut self, now: Instant) {
        let released = &mut self.released;
        self.mappings.retain(|key, mapping| {
            let end = mapping.flows.iter().filter(|flow| flow.spoke).map(|flow| flow.expires).max();
            mapping.flows.retain(|flow| flow.expires > now);
            let end = end.expect("something has made it");
            if end <= now {
                released.push((*key, mapping.external, end));
            }
            end > now
        });
    }

    /// Whether something is mapped in a block.
    fn is_used(&self, block: &PortBlock) -> bool {
        let ports = block.first..=block.first + (block.count - 1);
        self.mappings.values().any(|m| m.external.0 == block.address && ports.contains(&m.external.1))
    }

    /// RFC 6888 REQ-8: 120 seconds between two internal endpoints at one external one.
    fn has_rested(&self, key: (u8, Endpoint), external: Endpoint, now: Instant) -> bool {
        let mut former =
            self.released.iter().filter(|(old, port, _)| (old.0, *port) == (key.0, external) && *old != key);
        former.all(|(_, _, end)| *end + HOLD <= now)
    }

    fn touch(mapping: &mut Mapping, kind: Kind, remote: Endpoint, from_inside: bool, now: Instant) {
        let is_reset = matches!(kind, Kind::Tcp(flags) if flags & RST != 0);
        let known = mapping.flows.iter().position(|flow| flow.remote == remote);
        if known.is_none() && is_reset {
            return;
        }
        let position = known.unwrap_or_else(|| {
            mapping.flows.push(Flow { remote, tcp: Tcp::default(), expires: now, spoke: from_inside });
            mapping.flows.len() - 1
        });
        let flow = &mut mapping.flows[position];
        let timeouts = NatTimeouts::default();
        if known.is_some() && !flow.spoke && from_inside && is_reset {
            return;
        }
        if known.is_some() && !flow.spoke && !from_inside {
            flow.expires = now + if kind == Kind::Udp { timeouts.udp } else { timeouts.tcp_opening };
            return;
        }
        if flow.spoke && !from_inside && !matches!(kind, Kind::Tcp(_)) {
            return;
        }
        flow.spoke |= from_inside;
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
            Filtering::AddressAndPortDependent if kind != Kind::Echo => {
                mapping.flows.iter().any(|flow| flow.spoke && flow.remote == remote)
            }
            Filtering::AddressDependent | Filtering::AddressAndPortDependent => {
                mapping.flows.iter().any(|flow| flow.spoke && flow.remote.0 == remote.0)
            }
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
}

impl Twins {
    fn new() -> Self {
        let mut config = patient();
        config.nat.block_size = 64;
        config.nat.first_port = 20_000;
        config.nat.last_port = 20_000 + 8 * 64 - 1;
        for last in 2..=4u8 {
            for address in
                [IpAddr::from([198, 51, 100, last]), IpAddr::from([0x2001, 0xdb8, 0, 0, 0, 0, 0, last.into()])]
            {
                config.external.push(ExternalAddress { address, announced: address });
            }
        }
        let mut twins = Self { world: World::new(config), reference: Reference::default(), clients: Vec::new() };
        for client in 0..FILTERS.len() {
            let client = twins.connect(client);
            twins.clients.push(client);
        }
        twins
    }

    /// A session, of a peer with a filter of its own; after the blocks that rest have rested, where there may be no other.
    fn connect(&mut self, client: usize) -> Client {
        let limits = PeerLimits { sessions: 1000, ..PeerLimits::default() };
        let peer = Peer { filtering: Some(FILTERS[client]), limits, ..Peer::new("peer") };
        if self.reference.returned.iter().filter(|(_, at)| *at + HOLD > self.world.now).count() > 8 {
            self.pass(HOLD);
        }
        let client = self.world.handshake(&hello(None), &peer).expect("a session");
        let now = self.world.now;
        for block in &client.blocks {
            let mut former = self.reference.returned.iter().filter(|(old, _)| old == block);
            assert!(former.all(|(_, at)| *at + HOLD <= now), "{block:?} has not rested");
        }
        client
    }

    fn pass(&mut self, time: Duration) {
        self.world.pass(time);
        // Unsolicited SYNs have been answered; `nat_flows` looks at that.
        self.world.take_outside();
        self.reference.expire(self.world.now);
    }

    fn run(&mut self, action: &Action) {
        match action {
            Action::Out(client, kind, port, host, remote_port) => self.out(*client, *kind, *port, *host, *remote_port),
            Action::In(which, flags, host, port) => self.inward(which, *flags, *host, *port),
            Action::Pass(seconds) => self.pass(Duration::from_secs(*seconds)),
            Action::Reconnect(client) => {
                let gone = &self.clients[*client];
                self.world.gateway.close_session(gone.id, webtun_wire::CloseCode::Normal, self.world.now);
                let (v4, v6) = (gone.v4, gone.v6);
                let now = self.world.now;
                let used = |block: &&PortBlock| self.reference.is_used(block);
                let returned: Vec<_> = gone.blocks.iter().filter(used).map(|block| (*block, now)).collect();
                self.reference.returned.extend(returned);
                self.reference.mappings.retain(|(_, (address, _)), _| *address != v4 && *address != v6);
                self.clients[*client] = self.connect(*client);
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
                assert!(self.reference.has_rested(key, external, self.world.now), "{external:?} has not rested");
                self.reference.mappings.insert(key, Mapping { external, flows: Vec::new() });
            }
        }
        let flow = flow_key(kind, to);
        let mapping = self.reference.mappings.get_mut(&key).expect("just made");
        Reference::touch(mapping, kind, flow, true, self.world.now);
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
        let place = self.clients.iter().position(|c| c.v4 == key.1.0 || c.v6 == key.1.0).expect("a client");
        let client = self.clients[place].clone();
        let delivered = self.world.packets(&client);
        let mapping = self.reference.mappings.get_mut(&key).expect("it was there");
        if !Reference::admits(mapping, FILTERS[place], kind, from) {
            return assert!(delivered.is_empty());
        }
        assert_eq!(delivered.len(), 1);
        assert_eq!(destination(&delivered[0]), key.1);
        if kind != Kind::Echo {
            Reference::touch(mapping, kind, from, false, self.world.now);
        }
    }
}

/// What flows are told apart by.
fn flow_key(kind: Kind, remote: Endpoint) -> Endpoint {
    (remote.0, if kind == Kind::Echo { 0 } else { remote.1 })
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
    fn the_nat_does_what_its_twin_does(actions in prop::collection::vec(action(), 1..150)) {
        let mut twins = Twins::new();
        for action in &actions {
            twins.run(action);
        }
    }
}

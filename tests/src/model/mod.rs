//! The model test: random actions against the gateway and the [`Reference`], step by step, and nothing may differ.

mod downlink;
mod flow;
mod port_map;
mod uplink;

use bytes::BytesMut;
use std::collections::{BTreeSet, VecDeque};
use std::iter;
use std::net::SocketAddr;
use std::time::Duration;
use webtun_gateway::dataplane::{
    Allowance, DropReason, Event, ExternalAddress, Filtering, Gateway, GatewayConfig, NatConfig, Peer, PeerLimits,
    SessionId, Slice, Stats,
};
use webtun_wire::{CloseCode, Instant, PortBlock};

use self::downlink::check_delivery;
use self::flow::externals;
use crate::action::Action;
use crate::direct::Direct;
use crate::packet::{IcmpError, Transport, View};
use crate::reference::{Protocol, Reference};

/// Small, so that the limits are met.
const LIMITS: PeerLimits = PeerLimits {
    sessions: 2,
    each: Allowance { mappings: 90, flows: 120, blocks: 2, mapped_ports: 2, ..Allowance::UNLIMITED },
    total: Allowance::UNLIMITED,
};
/// Who there is, and what filter each has chosen. Of two shards the first one has bert.
const PEERS: [(&str, Option<Filtering>); 3] =
    [("ada", None), ("bert", Some(Filtering::EndpointIndependent)), ("cleo", Some(Filtering::AddressAndPortDependent))];
/// Those of one network.
const NEIGHBOURS: [&str; 2] = ["ada", "bert"];
/// Blocks of the smallest size, and few of them, so that they run out.
const BLOCK: u16 = 64;
const BLOCKS: u16 = 4;
const FIRST_PORT: u16 = 20_000;
const ERRORS: [IcmpError; 4] =
    [IcmpError::HostUnreachable, IcmpError::PortUnreachable, IcmpError::TimeExceeded, IcmpError::TooBig(1400)];

/// Runs the actions that `input` means: its first octet chooses the filter, and whether there are two shards.
///
/// # Panics
///
/// Panics where the gateway does something else than the reference.
pub fn run(input: &[u8]) {
    let Some((choice, actions)) = input.split_first() else { return };
    let mut model = Model::new(*choice);
    let mut trail = Trail::default();
    for (step, action) in Action::decode_all(actions).enumerate() {
        trail.0 = Some((step, action.clone()));
        model.apply(&action);
        model.check(&format!("step {step}: {action:?}"));
    }
}

/// What a shard has on the outside.
fn slice(shard: usize, shards: usize) -> Vec<ExternalAddress> {
    let addresses = [false, true].into_iter().flat_map(|ipv6| {
        let all = externals(ipv6);
        let size = all.len() / shards;
        all[shard * size..][..size].to_vec()
    });
    addresses.map(|address| ExternalAddress { address, announced: address }).collect()
}

/// Says where a run was when it failed.
#[derive(Default)]
struct Trail(Option<(usize, Action)>);

impl Drop for Trail {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("the model failed at {:?}", self.0);
        }
    }
}

/// A packet that a session has to get.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Due {
    Packet { protocol: Protocol, from: SocketAddr, to: SocketAddr, hop_limit: u8, number: u32 },
    Error { about: SocketAddr },
}

#[derive(Debug, Default)]
struct Life {
    alive: bool,
    detached: Option<Instant>,
    due: VecDeque<Due>,
}

struct Model {
    direct: Direct,
    reference: Reference,
    lives: Vec<Life>,
    closed: Vec<SessionId>,
    /// Blocks that have gone back, with the session that had them.
    returned: Vec<(usize, PortBlock)>,
    last_egress: Option<BytesMut>,
    number: u32,
}

impl Model {
    fn new(choice: u8) -> Self {
        let filtering = match choice % 3 {
            0 => Filtering::AddressDependent,
            1 => Filtering::EndpointIndependent,
            _ => Filtering::AddressAndPortDependent,
        };
        let nat = NatConfig {
            filtering,
            first_port: FIRST_PORT,
            last_port: FIRST_PORT + BLOCKS * BLOCK - 1,
            block_size: BLOCK,
            ..NatConfig::default()
        };
        let shards = if choice & 0x80 == 0 { 1 } else { 2 };
        let slices: Vec<_> = (0..shards).map(|shard| slice(shard, shards)).collect();
        let reference = Reference::new(nat, LIMITS.each, &slices);
        let config = GatewayConfig { nat, ..GatewayConfig::new(slices.concat()) };
        let ports = nat.first_port..=nat.last_port;
        let slices: Vec<_> = slices.into_iter().map(|external| Slice { external, ports: ports.clone() }).collect();
        let configs = if shards == 1 { vec![config] } else { config.shards(&slices) };
        Self {
            direct: Direct::sharded(configs, [choice; 32]),
            reference,
            lives: Vec::new(),
            closed: Vec::new(),
            returned: Vec::new(),
            last_egress: None,
            number: 0,
        }
    }

    fn apply(&mut self, action: &Action) {
        match action {
            Action::Open { peer } => self.open(usize::from(*peer) % PEERS.len()),
            Action::Burst { session, ipv6, first, count, remote } => {
                self.burst(*session, *ipv6, *first, *count, *remote)
            }
            Action::Disconnect { session } => self.disconnect(*session),
            Action::Resume { session } => self.resume(*session),
            Action::Close { session } => {
                if let Some(index) = self.pick(*session, |_| true) {
                    let (id, now) = (self.direct.sessions[index].id, self.direct.now);
                    self.direct.of(id).close_session(id, CloseCode::Normal, now);
                    self.direct.drain();
                    self.end(index, now);
                }
            }
            Action::Uplink(sent) => self.uplink(sent),
            Action::Downlink(received) => self.downlink(received),
            Action::Local { session, ipv6 } => self.local(*session, *ipv6),
            Action::Complain { error } => self.complain(ERRORS[usize::from(*error) % ERRORS.len()]),
            Action::MapPort(request) => self.map_port(request),
            Action::Wait(time) => self.wait(*time),
            Action::Garbage { session, octets } => self.garbage(*session, octets.repeat(8)),
        }
    }

    /// What holds after every action.
    fn check(&mut self, what: &str) {
        self.take_events();
        for id in std::mem::take(&mut self.closed) {
            let index = self.direct.sessions.iter().position(|session| session.id == id);
            assert!(index.is_some_and(|index| !self.lives[index].alive), "{what}: a session died by itself");
        }
        let sorted = |mut returned: Vec<(usize, PortBlock)>| {
            returned.sort_by_key(|(session, block)| (*session, block.address, block.first));
            returned
        };
        let (seen, expected) = (std::mem::take(&mut self.returned), std::mem::take(&mut self.reference.returned));
        assert_eq!(sorted(seen), sorted(expected), "{what}: blocks that go back");
        for (index, life) in self.lives.iter().enumerate().filter(|(_, life)| life.alive && life.detached.is_none()) {
            let session = &self.direct.sessions[index];
            for block in self.reference.blocks.iter().filter(|block| block.owner == Some(index)) {
                assert!(
                    session.owns_port((block.address, block.first).into()),
                    "{what}: {life:?} does not know {block:?}"
                );
            }
        }
        for (session, life) in self.direct.sessions.iter_mut().zip(&mut self.lives) {
            while session.connected
                && let Some(packet) = session.packets.pop_front()
            {
                check_delivery(what, &packet, &mut life.due);
            }
            assert!(!session.connected || life.due.is_empty(), "{what}: not delivered: {:?}", life.due);
        }
        for info in iter::once(&self.direct.gateway).chain(&self.direct.others).flat_map(Gateway::sessions) {
            let index =
                self.direct.sessions.iter().position(|session| session.id == info.id).expect("a session of ours");
            assert_eq!(info.flows, self.reference.flows(index), "{what}: flows of session {index}");
        }
        let alive = self.lives.iter().filter(|life| life.alive).count();
        let sum = |figure: fn(&Stats) -> u64| self.direct.sum(figure);
        assert_eq!(sum(|stats| stats.sessions), alive as u64, "{what}: sessions");
        let mappings = &self.reference.mappings;
        assert_eq!(sum(|stats| stats.mappings), mappings.len() as u64, "{what}: mappings, expected {mappings:?}");
        assert_eq!(sum(|stats| stats.mapped_ports), self.reference.mapped_ports(None) as u64, "{what}: mapped ports");
        assert!(self.direct.egress.is_empty(), "{what}: unexpected packets leave");
        assert!(self.direct.local.is_empty(), "{what}: unexpected packets to the inner host");
    }

    fn open(&mut self, peer: usize) {
        let (name, filtering) = PEERS[peer];
        let network = NEIGHBOURS.contains(&name).then(|| "room".into());
        let peer = Peer { limits: LIMITS, filtering, network, ..Peer::new(name) };
        let has_room = self.reference.has_room(self.direct.shard_of(&peer));
        let has = self.direct.sessions.iter().zip(&self.lives).filter(|(s, l)| l.alive && s.peer == peer).count();
        match self.direct.open(&peer) {
            Ok(index) => {
                assert!(has < LIMITS.sessions, "a session beyond the peer's limit");
                assert!(has_room, "a session beyond the blocks that there are");
                self.lives.push(Life { alive: true, ..Life::default() });
                self.check_lease(index);
            }
            Err(CloseCode::Exhausted) => assert!(!has_room, "a session without a reason refused"),
            Err(code) => assert!(has >= LIMITS.sessions && code == CloseCode::Limit, "refused with {code:?}"),
        }
    }

    /// No two sessions share an inner address or an external port.
    fn check_lease(&self, index: usize) {
        let new = &self.direct.sessions[index];
        // Who is away has not heard of the blocks that have gone back meanwhile.
        let knows = |life: &Life| life.alive && life.detached.is_none();
        for (other, _) in self.direct.sessions[..index].iter().zip(&self.lives).filter(|(_, life)| knows(life)) {
            assert!(!new.addresses.iter().any(|address| other.addresses.contains(address)), "shared address");
            let overlaps = |block: &&webtun_wire::PortBlock| other.owns_port((block.address, block.first).into());
            assert!(new.blocks.iter().find(overlaps).is_none(), "shared block");
        }
    }

    /// Blocks that are assigned are noted at once: what comes next may be a port of theirs.
    fn take_events(&mut self) {
        for event in std::mem::take(&mut self.direct.events) {
            let place =
                |id| self.direct.sessions.iter().position(|session| session.id == id).expect("a session of ours");
            match event {
                Event::BlockAssigned { id, inner, block, .. } => {
                    let session = place(id);
                    assert!(self.direct.sessions[session].addresses.contains(&inner), "whose block it is");
                    self.reference.assigned(session, &block, self.direct.now);
                }
                Event::BlockReturned { id, block, .. } => self.returned.push((place(id), block)),
                Event::SessionClosed { id, .. } => self.closed.push(id),
                _ => {}
            }
        }
    }

    fn disconnect(&mut self, session: u8) {
        let Some(index) = self.pick(session, |life| life.detached.is_none()) else { return };
        self.lives[index].detached = Some(self.direct.now);
        self.direct.disconnect(index);
    }

    fn resume(&mut self, session: u8) {
        if self.lives.is_empty() {
            return;
        }
        let index = usize::from(session) % self.lives.len();
        let result = self.direct.resume(index);
        if self.lives[index].alive {
            assert_eq!(result, Ok(()), "a session that lives can be resumed");
            self.lives[index].detached = None;
        } else {
            assert_eq!(result, Err(CloseCode::UnknownSession));
        }
    }

    fn garbage(&mut self, session: u8, octets: Vec<u8>) {
        let Some(index) = self.pick(session, |life| life.detached.is_none()) else { return };
        let is_closed = self.direct.send_octets(index, &octets).is_err() || self.direct.closed(index).is_some();
        if is_closed {
            self.end(index, self.direct.now);
        }
    }

    fn wait(&mut self, time: Duration) {
        self.direct.advance(time);
        let (now, grace) = (self.direct.now, self.direct.gateway.config().grace);
        let end = |life: &Life| life.detached.filter(|_| life.alive).map(|at| at + grace);
        let mut over: Vec<_> =
            self.lives.iter().enumerate().filter_map(|(index, life)| Some((end(life)?, index))).collect();
        over.sort_unstable();
        let mut answered = Vec::new();
        for (at, index) in over.into_iter().filter(|(at, _)| *at <= now) {
            answered.extend(self.reference.expire(at));
            self.end(index, at);
        }
        answered.extend(self.reference.expire(now));
        self.check_answered(&answered);
    }

    /// Unsolicited SYNs were answered, as far as the limit of errors per second allows.
    fn check_answered(&mut self, expected: &[(SocketAddr, SocketAddr)]) {
        // Of shards neither one is first.
        let mut expected = expected.to_vec();
        expected.sort_unstable();
        let mut expected = expected.iter();
        let is_exact = expected.len() <= 20;
        let mut seen: Vec<_> = std::mem::take(&mut self.direct.egress).into();
        seen.sort_by_key(|packet| answered_endpoints(packet));
        for packet in seen {
            let view = View::parse(&packet).expect("a correct packet");
            let answered = answered_endpoints(&packet);
            assert_eq!((view.source, view.destination), (answered.0.ip(), answered.1.ip()));
            let next = if is_exact { expected.next() } else { expected.find(|next| **next == answered) };
            assert_eq!(next, Some(&answered), "an answer to a SYN");
        }
        assert!(!is_exact || expected.next().is_none(), "a SYN without an answer");
    }

    /// Exactly one packet more was dropped, for one of these reasons.
    fn check_drop(&self, before: &[(DropReason, u64)], reasons: &BTreeSet<DropReason>) {
        let mut more = Vec::new();
        for (reason, count) in self.direct.drops() {
            let earlier = before.iter().find(|(other, _)| *other == reason).map_or(0, |(_, count)| *count);
            more.extend((earlier..count).map(|_| reason));
        }
        let is_expected = matches!(more[..], [reason] if reasons.contains(&reason));
        assert!(is_expected, "dropped for {more:?}, expected one of {reasons:?}");
    }

    fn end(&mut self, index: usize, at: Instant) {
        self.lives[index].alive = false;
        self.lives[index].due.clear();
        self.reference.close(index, at);
        self.direct.sessions[index].connected = false;
    }

    /// A session that lives and fits.
    fn pick(&self, number: u8, fits: impl Fn(&Life) -> bool) -> Option<usize> {
        let all: Vec<_> = (0..self.lives.len()).filter(|i| self.lives[*i].alive && fits(&self.lives[*i])).collect();
        if all.is_empty() { None } else { Some(all[usize::from(number) % all.len()]) }
    }
}

/// The external and remote endpoint of the SYN that an error answers.
fn answered_endpoints(packet: &[u8]) -> (SocketAddr, SocketAddr) {
    let view = View::parse(packet).expect("a correct packet");
    let Transport::Icmp { quoted, .. } = view.transport else { panic!("a packet out of nothing: {view:?}") };
    let quoted = View::parse(quoted).expect("the SYN is quoted as it was");
    (quoted.destination_endpoint(), quoted.source_endpoint())
}

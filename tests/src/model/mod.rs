//! The model test: random actions against the gateway and the [`Reference`], step by step, and nothing may differ.

mod downlink;
mod flow;
mod port_map;
mod uplink;

use bytes::BytesMut;
use std::collections::{BTreeSet, VecDeque};
use std::net::SocketAddr;
use std::time::Duration;
use webtun_gateway::dataplane::{
    Allowance, DropReason, Event, ExternalAddress, Filtering, GatewayConfig, NatConfig, Peer, PeerLimits,
};
use webtun_wire::{CloseCode, Instant};

use self::downlink::check_delivery;
use self::flow::external;
use crate::action::Action;
use crate::direct::Direct;
use crate::packet::IcmpError;
use crate::reference::Reference;

/// Small, so that the limits are met.
const LIMITS: PeerLimits = PeerLimits {
    sessions: 2,
    each: Allowance { mappings: 6, flows: 9, blocks: 2, mapped_ports: 2, ..Allowance::SESSION },
    total: Allowance::PEER,
};
const PEERS: [&str; 3] = ["ada", "bert", "cleo"];
const ERRORS: [IcmpError; 4] =
    [IcmpError::HostUnreachable, IcmpError::PortUnreachable, IcmpError::TimeExceeded, IcmpError::TooBig(1400)];

/// Runs the actions that `input` means: its first octet chooses the filter.
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
    Packet { from: SocketAddr, to: SocketAddr, hop_limit: u8, number: u32 },
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
    events_seen: usize,
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
        let nat = NatConfig { filtering, ..NatConfig::default() };
        let external = [external(false), external(true)].map(|a| ExternalAddress { address: a, announced: a });
        let config = GatewayConfig { nat, ..GatewayConfig::new(external.to_vec()) };
        Self {
            direct: Direct::new(config, [choice; 32]),
            reference: Reference::new(nat, LIMITS.each),
            lives: Vec::new(),
            events_seen: 0,
            last_egress: None,
            number: 0,
        }
    }

    fn apply(&mut self, action: &Action) {
        match action {
            Action::Open { peer } => self.open(usize::from(*peer) % PEERS.len()),
            Action::Disconnect { session } => self.disconnect(*session),
            Action::Resume { session } => self.resume(*session),
            Action::Close { session } => {
                if let Some(index) = self.pick(*session, |_| true) {
                    let (id, now) = (self.direct.sessions[index].id, self.direct.now);
                    self.direct.gateway.close_session(id, CloseCode::Normal, now);
                    self.direct.drain();
                    self.end(index);
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
        for event in self.direct.events.drain(self.events_seen..) {
            if let Event::SessionClosed { id, .. } = event {
                let index = self.direct.sessions.iter().position(|session| session.id == id);
                assert!(index.is_some_and(|index| !self.lives[index].alive), "{what}: a session died by itself");
            }
        }
        self.events_seen = self.direct.events.len();
        for (session, life) in self.direct.sessions.iter_mut().zip(&mut self.lives) {
            while session.connected
                && let Some(packet) = session.packets.pop_front()
            {
                check_delivery(what, &packet, &mut life.due);
            }
            assert!(!session.connected || life.due.is_empty(), "{what}: not delivered: {:?}", life.due);
        }
        let stats = self.direct.gateway.stats();
        let alive = self.lives.iter().filter(|life| life.alive).count();
        assert_eq!(stats.sessions, alive as u64, "{what}: sessions");
        let mappings = &self.reference.mappings;
        assert_eq!(stats.mappings, mappings.len() as u64, "{what}: mappings, expected {mappings:?}");
        assert_eq!(stats.mapped_ports, self.reference.mapped_ports(None) as u64, "{what}: mapped ports");
        assert!(self.direct.egress.is_empty(), "{what}: unexpected packets leave");
        assert!(self.direct.local.is_empty(), "{what}: unexpected packets to the inner host");
    }

    fn open(&mut self, peer: usize) {
        let peer = Peer { limits: LIMITS, ..Peer::new(PEERS[peer]) };
        let has = self.direct.sessions.iter().zip(&self.lives).filter(|(s, l)| l.alive && s.peer == peer).count();
        match self.direct.open(&peer) {
            Ok(index) => {
                assert!(has < LIMITS.sessions, "a session beyond the peer's limit");
                self.lives.push(Life { alive: true, ..Life::default() });
                self.check_lease(index);
            }
            Err(code) => assert!(has >= LIMITS.sessions && code == CloseCode::Limit, "refused with {code:?}"),
        }
    }

    /// No two sessions share an inner address or an external port.
    fn check_lease(&self, index: usize) {
        let new = &self.direct.sessions[index];
        for (other, _) in self.direct.sessions[..index].iter().zip(&self.lives).filter(|(_, life)| life.alive) {
            assert!(!new.addresses.iter().any(|address| other.addresses.contains(address)), "shared address");
            let overlaps = |block: &&webtun_wire::PortBlock| other.owns_port((block.address, block.first).into());
            assert!(new.blocks.iter().find(overlaps).is_none(), "shared block");
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
            self.end(index);
        }
    }

    fn wait(&mut self, time: Duration) {
        self.direct.advance(time);
        let (now, grace) = (self.direct.now, self.direct.gateway.config().grace);
        for index in 0..self.lives.len() {
            if self.lives[index].alive && self.lives[index].detached.is_some_and(|at| at + grace <= now) {
                self.end(index);
            }
        }
        self.reference.expire(now);
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

    fn end(&mut self, index: usize) {
        self.lives[index].alive = false;
        self.lives[index].due.clear();
        self.reference.close(index);
        self.direct.sessions[index].connected = false;
    }

    /// A session that lives and fits.
    fn pick(&self, number: u8, fits: impl Fn(&Life) -> bool) -> Option<usize> {
        let all: Vec<_> = (0..self.lives.len()).filter(|i| self.lives[*i].alive && fits(&self.lives[*i])).collect();
        if all.is_empty() { None } else { Some(all[usize::from(number) % all.len()]) }
    }
}

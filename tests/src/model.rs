//! The model test: random actions against the gateway and the [`Reference`], step by step, and nothing may differ.

use bytes::BytesMut;
use std::collections::{BTreeSet, VecDeque};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;
use webtun_gateway::dataplane::{
    DropReason, Event, ExternalAddress, Filtering, GatewayConfig, NatConfig, Peer, PeerLimits,
};
use webtun_wire::{Capsule, CloseCode, Instant, PortMapRequest, PortMapResult};

use crate::action::{Action, Kind, MapPort, Received, Sent};
use crate::direct::Direct;
use crate::packet::{IcmpError, Segment, Transport, View, echo, icmp_error, protocol, raw, tcp, udp, with_hop_limit};
use crate::path::Path;
use crate::reference::{Protocol, Reference, destination_drop};

/// Small, so that the limits are met.
const LIMITS: PeerLimits = PeerLimits { sessions: 2, mappings: 6, flows: 9, blocks: 2, mapped_ports: 2 };
const PEERS: [&str; 3] = ["ada", "bert", "cleo"];
const ERRORS: [IcmpError; 4] =
    [IcmpError::HostUnreachable, IcmpError::PortUnreachable, IcmpError::TimeExceeded, IcmpError::TooBig(1400)];
const REMOTE_PORTS: [u16; 8] = [80, 53, 443, 80, 53, 25, 7, 0];

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

/// A packet about to be sent, in the model's words.
struct Flow {
    protocol: Option<Protocol>,
    source: SocketAddr,
    destination: SocketAddr,
    flags: u8,
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
            reference: Reference::new(nat, LIMITS),
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
        let peer = Peer { name: PEERS[peer].into(), limits: LIMITS };
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

    fn uplink(&mut self, sent: &Sent) {
        let Some(index) = self.pick(sent.session, |life| life.detached.is_none()) else { return };
        let flow = self.sent_flow(index, sent);
        let is_hairpin = flow.destination.ip() == external(sent.ipv6);
        let is_identity = self.direct.sessions[index].owns_port((external(sent.ipv6), flow.source.port()).into());
        let identity = SocketAddr::new(external(sent.ipv6), flow.source.port());
        let predicted = match flow.protocol {
            Some(protocol) => match self.reference.by_internal(protocol, flow.source) {
                Some(mapping) => Some(self.reference.mappings[mapping].external),
                None => Some(identity).filter(|at| is_identity && self.reference.by_external(protocol, *at).is_none()),
            },
            None => None,
        };
        // Where the port cannot be known beforehand and never shows, there is nothing to compare with.
        if is_hairpin && predicted.is_none() {
            return;
        }
        let packet = self.build(sent.kind, &flow, true);
        let packet = if sent.last_hop { with_hop_limit(packet, 1) } else { packet };
        let reasons = self.uplink_reasons(index, sent, &flow);
        let before = self.direct.drops();
        self.direct.send_packets(index, &[packet]).expect("a packet is no protocol error");
        if flow.destination.ip() == inner_host(sent.ipv6) && reasons.is_empty() {
            assert!(self.direct.local.pop_front().is_some(), "the inner host gets it");
        } else if !reasons.is_empty() {
            self.check_drop(&before, &reasons);
        } else if let (true, Some(protocol), Some(source)) = (is_hairpin, flow.protocol, predicted) {
            self.hairpin(index, protocol, &flow, source, &before);
        } else {
            self.left(index, &flow, predicted);
        }
    }

    fn uplink_reasons(&self, index: usize, sent: &Sent, flow: &Flow) -> BTreeSet<DropReason> {
        let mut reasons = BTreeSet::new();
        let session = &self.direct.sessions[index];
        let has_ports = matches!(sent.kind, Kind::Udp | Kind::Tcp(_));
        if has_ports && (flow.source.port() == 0 || flow.destination.port() == 0) {
            reasons.insert(DropReason::PortZero);
        }
        if !session.addresses.contains(&flow.source.ip()) {
            reasons.insert(DropReason::SpoofedSource);
        }
        if flow.destination.ip() == inner_host(sent.ipv6) {
            return reasons;
        }
        let is_inner = self.direct.sessions.iter().any(|s| s.addresses.contains(&flow.destination.ip()));
        if is_inner {
            reasons.insert(DropReason::Unroutable);
        } else if flow.destination.ip() != external(sent.ipv6) {
            let protocol = flow.protocol.unwrap_or(Protocol::Icmp);
            reasons.extend(destination_drop(flow.destination.ip(), protocol, flow.destination.port()));
        }
        if sent.last_hop {
            reasons.insert(DropReason::HopLimit);
        }
        match (sent.kind, flow.protocol) {
            (Kind::Other, _) | (_, None) => drop(reasons.insert(DropReason::Protocol)),
            (Kind::WrongEcho, _) => drop(reasons.insert(DropReason::IcmpType)),
            (_, Some(protocol)) => {
                let checked = self.reference.check_outbound(index, protocol, flow.source, flow.destination, flow.flags);
                reasons.extend(checked.err());
            }
        }
        reasons
    }

    /// A packet must have left, from the endpoint that its mapping has.
    fn left(&mut self, index: usize, flow: &Flow, predicted: Option<SocketAddr>) {
        let packet = self.direct.egress.pop_front().expect("the packet leaves");
        let view = View::parse(&packet).expect("a correct packet");
        assert_eq!((view.destination_endpoint().ip(), view.hop_limit), (flow.destination.ip(), 63));
        assert_eq!(number_of(&view.transport), self.number, "the payload is what it was");
        let seen = view.source_endpoint();
        assert!(predicted.is_none_or(|predicted| predicted == seen), "from {seen}, expected {predicted:?}");
        let protocol = flow.protocol.expect("only what is translated leaves");
        if self.reference.by_internal(protocol, flow.source).is_none() {
            assert!(self.direct.sessions[index].owns_port(seen), "{seen} is not the session's");
        }
        let endpoints = (flow.source, flow.destination);
        self.reference.outbound(index, protocol, endpoints, seen, flow.flags, self.direct.now);
        self.last_egress = Some(packet);
    }

    fn hairpin(
        &mut self,
        index: usize,
        protocol: Protocol,
        flow: &Flow,
        source: SocketAddr,
        before: &[(DropReason, u64)],
    ) {
        let now = self.direct.now;
        self.reference.outbound(index, protocol, (flow.source, flow.destination), source, flow.flags, now);
        let result = match protocol {
            // A request from outside reaches nobody, and one that turns round comes from outside.
            Protocol::Icmp => Err(DropReason::NoMapping),
            Protocol::Tcp | Protocol::Udp => self.reference.check_inbound(protocol, flow.destination, source),
        };
        match result {
            Ok(mapping) => {
                self.reference.inbound(mapping, source, flow.flags, now);
                let due = Due::Packet {
                    from: source,
                    to: self.reference.mappings[mapping].internal,
                    hop_limit: 62,
                    number: self.number,
                };
                self.lives[self.reference.mappings[mapping].session].due.push_back(due);
            }
            Err(reason) => self.check_drop(before, &BTreeSet::from([reason])),
        }
    }

    fn downlink(&mut self, received: &Received) {
        let target = self.target(received.target);
        let (protocol, external) = match target {
            Some(mapping) => (self.reference.mappings[mapping].protocol, self.reference.mappings[mapping].external),
            None => {
                let port = 20_000 + u16::from(received.target);
                (kind_protocol(received.kind).unwrap_or(Protocol::Udp), (external(received.ipv6), port).into())
            }
        };
        let kind = match (protocol, received.kind) {
            (_, Kind::Other) => Kind::Other,
            (Protocol::Udp, _) => Kind::Udp,
            (Protocol::Tcp, Kind::Tcp(flags)) => Kind::Tcp(flags),
            (Protocol::Tcp, _) => Kind::Tcp(Segment::ACK),
            (Protocol::Icmp, Kind::WrongEcho) => Kind::WrongEcho,
            (Protocol::Icmp, _) => Kind::Echo,
        };
        let remote_port = match protocol {
            Protocol::Icmp => external.port(),
            Protocol::Tcp | Protocol::Udp => REMOTE_PORTS[usize::from(received.remote_port) % 5],
        };
        let is_spoofed = received.remote >= 240;
        let address =
            if is_spoofed { inner_host(external.is_ipv6()) } else { remote(received.remote, external.is_ipv6()) };
        let flow = Flow {
            protocol: Some(protocol),
            source: (address, remote_port).into(),
            destination: external,
            flags: flags_of(kind),
        };
        let packet = self.build(kind, &flow, false);
        let mut reasons = BTreeSet::new();
        if is_spoofed {
            reasons.insert(DropReason::SpoofedSource);
        }
        let checked = self.reference.check_inbound(protocol, external, flow.source);
        match kind {
            Kind::Other => drop(reasons.insert(DropReason::Protocol)),
            Kind::WrongEcho => drop(reasons.insert(DropReason::NoMapping)),
            Kind::Udp | Kind::Tcp(_) | Kind::Echo => reasons.extend(checked.err()),
        }
        let before = self.direct.drops();
        self.direct.receive(packet);
        match checked {
            Ok(mapping) if reasons.is_empty() => {
                assert_eq!(self.direct.drops(), before, "nothing is dropped");
                self.reference.inbound(mapping, flow.source, flow.flags, self.direct.now);
                let mapping = &self.reference.mappings[mapping];
                // The identifier of an echo is the port of both ends.
                let port = if protocol == Protocol::Icmp { mapping.internal.port() } else { remote_port };
                let from = SocketAddr::new(address, port);
                let due = Due::Packet { from, to: mapping.internal, hop_limit: 63, number: self.number };
                self.lives[mapping.session].due.push_back(due);
            }
            Ok(_) | Err(_) => self.check_drop(&before, &reasons),
        }
    }

    fn local(&mut self, session: u8, ipv6: bool) {
        self.number += 1;
        let alive = self.pick(session, |_| true).filter(|_| session < 250);
        let to = match alive {
            Some(index) => self.direct.sessions[index].endpoint(ipv6, 5353),
            None => SocketAddr::new(nobody(ipv6), 5353),
        };
        let from = SocketAddr::new(inner_host(ipv6), 53);
        let before = self.direct.drops();
        self.direct.receive_local(udp(from, to, &self.number.to_be_bytes()));
        match alive {
            Some(index) => {
                self.lives[index].due.push_back(Due::Packet { from, to, hop_limit: 64, number: self.number });
            }
            None => self.check_drop(&before, &BTreeSet::from([DropReason::NoSession])),
        }
    }

    fn complain(&mut self, error: IcmpError) {
        let Some(quoted) = self.last_egress.clone() else { return };
        let view = View::parse(&quoted).expect("it was correct when it left");
        let protocol = match view.transport {
            Transport::Tcp { .. } => Protocol::Tcp,
            Transport::Udp { .. } => Protocol::Udp,
            Transport::Echo { .. } => Protocol::Icmp,
            Transport::Icmp { .. } | Transport::Octets(_) => return,
        };
        let before = self.direct.drops();
        self.direct.receive(icmp_error(Path::router(1, view.source.is_ipv6()), error, &quoted));
        let mapping = self.reference.by_external(protocol, view.source_endpoint()).ok_or(DropReason::NoMapping);
        let heard = mapping.and_then(|index| {
            self.reference.check_filter(index, view.destination_endpoint())?;
            Ok(index)
        });
        match heard {
            Ok(index) => {
                let mapping = &self.reference.mappings[index];
                self.lives[mapping.session].due.push_back(Due::Error { about: mapping.internal });
            }
            Err(reason) => self.check_drop(&before, &BTreeSet::from([reason])),
        }
    }

    fn map_port(&mut self, wanted: &MapPort) {
        let Some(index) = self.pick(wanted.session, |life| life.detached.is_none()) else { return };
        let (number, protocol) = match wanted.kind {
            Kind::Udp => (protocol::UDP, Some(Protocol::Udp)),
            Kind::Tcp(_) => (protocol::TCP, Some(Protocol::Tcp)),
            Kind::Echo | Kind::WrongEcho | Kind::Other => (47, None),
        };
        let internal = SocketAddr::new(
            self.direct.sessions[index].endpoint(wanted.ipv6, 0).ip(),
            self.port(index, wanted.ipv6, wanted.port),
        );
        let external_port = match (wanted.external, self.target(wanted.external)) {
            (0..100, _) => 0,
            (_, Some(mapping)) => self.reference.mappings[mapping].external.port(),
            (_, None) => 20_000 + u16::from(wanted.external),
        };
        let request = PortMapRequest {
            request_id: 7,
            protocol: number,
            ipv6: wanted.ipv6,
            internal_port: internal.port(),
            external_port,
            lifetime: wanted.lifetime,
        };
        let sent = self.direct.send_capsules(index, &[Capsule::PortMapRequest(request)]);
        sent.expect("a request is no protocol error");
        let response = self.direct.sessions[index].port_maps.pop().expect("an answer");
        let Some(protocol) = protocol.filter(|_| internal.port() != 0) else {
            assert!(matches!(response.result, PortMapResult::UnsupportedProtocol | PortMapResult::MalformedRequest));
            return;
        };
        let now = self.direct.now;
        if wanted.lifetime == 0 {
            assert_eq!(response.result, PortMapResult::Success);
            self.reference.unmap(protocol, internal, now);
            return;
        }
        if !self.may_map(index, protocol, internal) {
            assert_eq!(response.result, PortMapResult::UserExceededQuota);
            return;
        }
        assert_eq!(response.result, PortMapResult::Success, "{request:?}");
        let external = SocketAddr::new(response.external_address, response.external_port);
        let is_fitting = self.direct.sessions[index].owns_port(external) || external.port() == external_port;
        let is_kept = self.reference.by_internal(protocol, internal).is_some();
        assert!(is_fitting || is_kept, "{external} is neither the session's nor what it wanted");
        assert!(response.lifetime > 0 && response.lifetime <= wanted.lifetime);
        let until = now + Duration::from_secs(response.lifetime.into());
        self.reference.map(index, protocol, internal, external, until);
    }

    fn may_map(&self, index: usize, protocol: Protocol, internal: SocketAddr) -> bool {
        let mapping = self.reference.by_internal(protocol, internal).map(|mapping| &self.reference.mappings[mapping]);
        let count = self.reference.mappings.iter().filter(|mapping| mapping.session == index).count();
        let has_room = mapping.is_some() || count < LIMITS.mappings;
        let is_mapped = mapping.is_some_and(|mapping| mapping.mapped_until.is_some());
        has_room && (is_mapped || self.reference.mapped_ports(Some(index)) < LIMITS.mapped_ports)
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

    fn target(&self, number: u8) -> Option<usize> {
        let count = self.reference.mappings.len();
        (number < 220 && count > 0).then(|| usize::from(number) % count)
    }

    fn sent_flow(&self, index: usize, sent: &Sent) -> Flow {
        let ipv6 = sent.ipv6;
        let session = &self.direct.sessions[index];
        let address = match sent.source {
            0..235 => session.endpoint(ipv6, 0).ip(),
            235..245 => {
                self.direct.sessions[usize::from(sent.source) % self.direct.sessions.len()].endpoint(ipv6, 0).ip()
            }
            245..250 => external(ipv6),
            250.. => remote(sent.source, ipv6),
        };
        let source = SocketAddr::new(address, self.port(index, ipv6, sent.port));
        let protocol = kind_protocol(sent.kind);
        let to = match sent.remote % 32 {
            0..20 => remote(sent.remote, ipv6),
            20..26 => external(ipv6),
            26 => inner_host(ipv6),
            27 => {
                self.direct.sessions[usize::from(sent.remote_port) % self.direct.sessions.len()].endpoint(ipv6, 0).ip()
            }
            28 => pair(ipv6, [10, 0, 0, 1], [0xfd00, 0, 0, 0, 0, 0, 0, 1]),
            29 => pair(ipv6, [224, 0, 0, 5], [0xff02, 0, 0, 0, 0, 0, 0, 5]),
            30 => pair(ipv6, [127, 0, 0, 1], [0, 0, 0, 0, 0, 0, 0, 1]),
            _ => pair(ipv6, [169, 254, 169, 254], [0xfe80, 0, 0, 0, 0, 0, 0, 1]),
        };
        let port = match (protocol, self.target(sent.remote_port)) {
            (Some(Protocol::Icmp), _) => source.port(),
            (_, Some(mapping)) if to == external(ipv6) => self.reference.mappings[mapping].external.port(),
            _ => REMOTE_PORTS[usize::from(sent.remote_port) % REMOTE_PORTS.len()],
        };
        Flow { protocol, source, destination: (to, port).into(), flags: flags_of(sent.kind) }
    }

    /// Few ports, so that they meet again; half of them are the session's own, and one is zero.
    fn port(&self, index: usize, ipv6: bool, number: u8) -> u16 {
        let blocks = &self.direct.sessions[index].blocks;
        let first = blocks.iter().find(|block| block.address.is_ipv6() == ipv6).map_or(0, |block| block.first);
        match number {
            0..3 => 0,
            3..150 => first + u16::from(number % 6),
            150.. => 2000 + u16::from(number % 6),
        }
    }

    fn build(&mut self, kind: Kind, flow: &Flow, outbound: bool) -> BytesMut {
        self.number += 1;
        let payload = self.number.to_be_bytes();
        let (source, destination) = (flow.source, flow.destination);
        let echo = |request| echo(source.ip(), destination.ip(), destination.port(), 1, request, &payload);
        match kind {
            Kind::Udp => udp(source, destination, &payload),
            Kind::Tcp(flags) => tcp(source, destination, Segment::flags(flags), &payload),
            Kind::Echo => echo(outbound),
            Kind::WrongEcho => echo(!outbound),
            Kind::Other => raw(source.ip(), destination.ip(), 99, &payload),
        }
    }
}

fn check_delivery(what: &str, packet: &BytesMut, due: &mut VecDeque<Due>) {
    let view = View::parse(packet).unwrap_or_else(|problem| panic!("{what}: delivered with a bad {problem}"));
    let seen = match &view.transport {
        // What the gateway itself has to say about a refused packet is not foretold.
        Transport::Icmp { .. } if view.source == inner_host(view.source.is_ipv6()) => return,
        Transport::Icmp { quoted, .. } => Due::Error { about: quoted_source(quoted) },
        other => Due::Packet {
            from: view.source_endpoint(),
            to: view.destination_endpoint(),
            hop_limit: view.hop_limit,
            number: number_of(other),
        },
    };
    assert_eq!(due.pop_front(), Some(seen), "{what}: delivery");
}

/// The source of a quoted packet, which is whole here: the tests' packets are short.
fn quoted_source(quoted: &[u8]) -> SocketAddr {
    View::parse(quoted).expect("a quoted packet stays correct").source_endpoint()
}

fn number_of(transport: &Transport<'_>) -> u32 {
    let payload = match transport {
        Transport::Tcp { payload, .. } | Transport::Udp { payload, .. } | Transport::Echo { payload, .. } => payload,
        Transport::Icmp { .. } | Transport::Octets(_) => return 0,
    };
    payload.first_chunk().map_or(0, |octets| u32::from_be_bytes(*octets))
}

fn kind_protocol(kind: Kind) -> Option<Protocol> {
    match kind {
        Kind::Udp => Some(Protocol::Udp),
        Kind::Tcp(_) => Some(Protocol::Tcp),
        Kind::Echo | Kind::WrongEcho => Some(Protocol::Icmp),
        Kind::Other => None,
    }
}

fn flags_of(kind: Kind) -> u8 {
    match kind {
        Kind::Tcp(flags) => flags,
        Kind::Udp | Kind::Echo | Kind::WrongEcho | Kind::Other => 0,
    }
}

fn pair(ipv6: bool, v4: [u8; 4], v6: [u16; 8]) -> IpAddr {
    if ipv6 { Ipv6Addr::from(v6).into() } else { Ipv4Addr::from(v4).into() }
}

fn external(ipv6: bool) -> IpAddr {
    pair(ipv6, [100, 127, 255, 1], [0xfd77, 0x6562, 0x7475, 0xffff, 0, 0, 0, 1])
}

fn inner_host(ipv6: bool) -> IpAddr {
    pair(ipv6, [100, 64, 0, 1], [0xfd77, 0x6562, 0x7475, 0, 0, 0, 0, 1])
}

/// An inner address that no session gets in so short a run.
fn nobody(ipv6: bool) -> IpAddr {
    pair(ipv6, [100, 64, 250, 250], [0xfd77, 0x6562, 0x7475, 0, 0, 0, 0xffff, 0xffff])
}

fn remote(number: u8, ipv6: bool) -> IpAddr {
    pair(ipv6, [45, 33, 0, number % 4 + 1], [0x2600, 0x1f00, 0, 0, 0, 0, 0, u16::from(number % 4) + 1])
}

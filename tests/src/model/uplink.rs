//! Packets of sessions.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use webtun_gateway::dataplane::{DropReason, Filtering};

use super::flow::{
    Flow, externals, flags_of, inner_host, is_external, kind_protocol, neighbour, number_of, pair, remote,
};
use super::{BLOCK, BLOCKS, Due, FIRST_PORT, Model, PEERS};
use crate::action::{Kind, Sent};
use crate::packet::{View, with_hop_limit};
use crate::reference::{Passing, Protocol, destination_drop};

const REMOTE_PORTS: [u16; 8] = [80, 53, 443, 80, 53, 25, 7, 0];

impl Model {
    pub(super) fn uplink(&mut self, sent: &Sent) {
        let Some(index) = self.pick(sent.session, |life| life.detached.is_none()) else { return };
        let flow = self.sent_flow(index, sent);
        self.send(index, sent, &flow);
    }

    /// A datagram from each of many ports.
    pub(super) fn burst(&mut self, session: u8, ipv6: bool, first: u8, count: u8, to: u8) {
        let Some(index) = self.pick(session, |life| life.detached.is_none()) else { return };
        let sent =
            Sent { session, kind: Kind::Udp, ipv6, source: 0, port: 0, remote: to, remote_port: 0, last_hop: false };
        for port in (3000 + 10 * u16::from(first)..).take(count.into()) {
            let source = self.direct.sessions[index].endpoint(ipv6, port);
            let destination = SocketAddr::new(remote(to, ipv6), 53);
            self.send(index, &sent, &Flow { protocol: Some(Protocol::Udp), source, destination, flags: 0 });
        }
    }

    /// The session of the same network that a packet is for.
    fn neighbour(&self, index: usize, flow: &Flow) -> Option<usize> {
        let network = |index: usize| self.direct.sessions[index].peer.network.as_ref();
        let is_near = |other: &usize| {
            self.lives[*other].alive
                && self.direct.sessions[*other].addresses.contains(&flow.destination.ip())
                && network(*other).is_some_and(|theirs| network(index) == Some(theirs))
        };
        (0..self.lives.len()).find(is_near).filter(|other| *other != index)
    }

    /// A packet to a session of the same network arrives as it is.
    fn send_to_neighbour(&mut self, index: usize, to: usize, sent: &Sent, flow: &Flow) {
        // What has neither ports nor an identifier has nothing to be known by.
        let Some(protocol) = flow.protocol.filter(|_| sent.kind != Kind::WrongEcho) else { return };
        let packet = self.build(sent.kind, flow, true);
        let packet = if sent.last_hop { with_hop_limit(packet, 1) } else { packet };
        let mut reasons = self.malformed(index, sent, flow);
        if sent.last_hop {
            reasons.insert(DropReason::HopLimit);
        }
        let before = self.direct.drops();
        self.direct.send_packets(index, &[packet]).expect("a packet is no protocol error");
        if !reasons.is_empty() {
            return self.check_drop(&before, &reasons);
        }
        let is_echo = protocol == Protocol::Icmp;
        let port = if is_echo { flow.destination.port() } else { flow.source.port() };
        let from = SocketAddr::new(flow.source.ip(), port);
        let due = Due::Packet { protocol, from, to: flow.destination, hop_limit: 63, number: self.number };
        self.lives[to].due.push_back(due);
    }

    fn send(&mut self, index: usize, sent: &Sent, flow: &Flow) {
        if let Some(to) = self.neighbour(index, flow) {
            return self.send_to_neighbour(index, to, sent, flow);
        }
        let is_hairpin = is_external(flow.destination.ip());
        let predicted = flow.protocol.and_then(|protocol| match self.reference.by_internal(protocol, flow.source) {
            Some(mapping) => Some(self.reference.mappings[mapping].external),
            None => self.reference.identity(protocol, index, flow.source),
        });
        // Where the port cannot be known beforehand and never shows, there is nothing to compare with.
        if is_hairpin && predicted.is_none() {
            return;
        }
        let packet = self.build(sent.kind, flow, true);
        let packet = if sent.last_hop { with_hop_limit(packet, 1) } else { packet };
        let reasons = self.uplink_reasons(index, sent, flow);
        let before = self.direct.drops();
        self.direct.send_packets(index, &[packet]).expect("a packet is no protocol error");
        if flow.destination.ip() == inner_host(sent.ipv6) && reasons.is_empty() {
            assert!(self.direct.local.pop_front().is_some(), "the inner host gets it");
        } else if !reasons.is_empty() {
            self.check_drop(&before, &reasons);
        } else if let (true, Some(protocol), Some(source)) = (is_hairpin, flow.protocol, predicted) {
            self.hairpin(index, protocol, flow, source, &before);
        } else {
            self.left(index, flow, predicted);
        }
    }

    /// What is wrong with a packet wherever it goes.
    fn malformed(&self, index: usize, sent: &Sent, flow: &Flow) -> BTreeSet<DropReason> {
        let mut reasons = BTreeSet::new();
        let session = &self.direct.sessions[index];
        let has_ports = matches!(sent.kind, Kind::Udp | Kind::Tcp(_));
        if has_ports && (flow.source.port() == 0 || flow.destination.port() == 0) {
            reasons.insert(DropReason::PortZero);
        }
        if !session.addresses.contains(&flow.source.ip()) {
            reasons.insert(DropReason::SpoofedSource);
        }
        if flow.source.ip() == flow.destination.ip() {
            reasons.insert(DropReason::Land);
        }
        reasons
    }

    fn uplink_reasons(&self, index: usize, sent: &Sent, flow: &Flow) -> BTreeSet<DropReason> {
        let mut reasons = self.malformed(index, sent, flow);
        let has_ports = matches!(sent.kind, Kind::Udp | Kind::Tcp(_));
        if flow.destination.ip() == inner_host(sent.ipv6) {
            return reasons;
        }
        let is_inner = self.direct.sessions.iter().any(|s| s.addresses.contains(&flow.destination.ip()));
        if is_inner {
            reasons.insert(DropReason::Unroutable);
        } else if is_external(flow.destination.ip()) {
            let is_ours = (FIRST_PORT..FIRST_PORT + BLOCKS * BLOCK).contains(&flow.destination.port());
            if has_ports && !is_ours {
                reasons.insert(DropReason::OwnAddress);
            }
        } else {
            let protocol = flow.protocol.unwrap_or(Protocol::Icmp);
            let answers = has_ports && self.reference.answers(flow.source, flow.destination, self.passing(flow));
            let reason = destination_drop(flow.destination.ip(), protocol, flow.destination.port());
            reasons.extend(reason.filter(|reason| !answers || *reason == DropReason::Unroutable));
        }
        if sent.last_hop {
            reasons.insert(DropReason::HopLimit);
        }
        match (sent.kind, flow.protocol) {
            (Kind::Other, _) | (_, None) => drop(reasons.insert(DropReason::Protocol)),
            (Kind::WrongEcho, _) => drop(reasons.insert(DropReason::IcmpType)),
            (_, Some(_)) => {
                let passing = self.passing(flow);
                reasons.extend(self.reference.check_outbound(index, passing, flow.source, flow.destination).err());
            }
        }
        reasons
    }

    fn passing(&self, flow: &Flow) -> Passing {
        let protocol = flow.protocol.unwrap_or(Protocol::Icmp);
        Passing { protocol, flags: flow.flags, now: self.direct.now }
    }

    /// The mapping of an internal endpoint, which `external` shows where it is new.
    fn mapping(&mut self, index: usize, protocol: Protocol, internal: SocketAddr, external: SocketAddr) -> usize {
        if let Some(mapping) = self.reference.by_internal(protocol, internal) {
            let known = self.reference.mappings[mapping].external;
            assert_eq!(known, external, "mapping depends on the endpoint (RFC 4787 REQ-1)");
            return mapping;
        }
        let has_parity = self.reference.has_port(protocol, index, internal, Some(internal.port()));
        self.take_events();
        assert!(
            self.reference.blocks_of(index, internal.is_ipv6()).any(|b| b.contains(external)),
            "{external} is foreign"
        );
        assert!(!has_parity || external.port() % 2 == internal.port() % 2, "parity (RFC 4787 REQ-4)");
        self.reference.add(index, protocol, internal, external, self.filtering(index))
    }

    /// The filter of a session.
    pub(super) fn filtering(&self, index: usize) -> Filtering {
        let name = &*self.direct.sessions[index].peer.name;
        let chosen = PEERS.iter().find(|(other, _)| *other == name).and_then(|(_, filtering)| *filtering);
        chosen.unwrap_or(self.direct.gateway.config().nat.filtering)
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
        let mapping = self.mapping(index, protocol, flow.source, seen);
        self.reference.outbound(mapping, flow.destination, self.passing(flow));
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
        let passing = self.passing(flow);
        let mapping = self.mapping(index, protocol, flow.source, source);
        self.reference.outbound(mapping, flow.destination, passing);
        let result = match protocol {
            // A request from outside reaches nobody, and one that turns round comes from outside.
            Protocol::Icmp => Err(DropReason::NoMapping),
            Protocol::Tcp | Protocol::Udp => self.reference.check_inbound(flow.destination, source, passing),
        };
        match result {
            Ok(mapping) => {
                self.reference.inbound(mapping, source, passing);
                let due = Due::Packet {
                    protocol,
                    from: source,
                    to: self.reference.mappings[mapping].internal,
                    hop_limit: 63,
                    number: self.number,
                };
                self.lives[self.reference.mappings[mapping].session].due.push_back(due);
            }
            Err(reason) => self.check_drop(before, &BTreeSet::from([reason])),
        }
    }

    fn sent_flow(&self, index: usize, sent: &Sent) -> Flow {
        let ipv6 = sent.ipv6;
        let session = &self.direct.sessions[index];
        let address = match sent.source {
            0..235 => session.endpoint(ipv6, 0).ip(),
            235..245 => {
                self.direct.sessions[usize::from(sent.source) % self.direct.sessions.len()].endpoint(ipv6, 0).ip()
            }
            245..250 => externals(ipv6)[0],
            250.. => remote(sent.source, ipv6),
        };
        let source = SocketAddr::new(address, self.port(index, ipv6, sent.port));
        let protocol = kind_protocol(sent.kind);
        let to = match sent.remote % 32 {
            0..20 => remote(sent.remote, ipv6),
            20..26 => externals(ipv6)[usize::from(sent.remote_port) % externals(ipv6).len()],
            26 => inner_host(ipv6),
            27 => {
                self.direct.sessions[usize::from(sent.remote_port) % self.direct.sessions.len()].endpoint(ipv6, 0).ip()
            }
            28 => neighbour(ipv6),
            29 => pair(ipv6, [224, 0, 0, 5], [0xff02, 0, 0, 0, 0, 0, 0, 5]),
            30 => pair(ipv6, [127, 0, 0, 1], [0, 0, 0, 0, 0, 0, 0, 1]),
            _ => pair(ipv6, [169, 254, 169, 254], [0xfe80, 0, 0, 0, 0, 0, 0, 1]),
        };
        let target = self.target(sent.remote_port).map(|mapping| self.reference.mappings[mapping].external);
        let to =
            target.map(|external| external.ip()).filter(|ip| is_external(to) && ip.is_ipv6() == ipv6).unwrap_or(to);
        let port = match (protocol, target) {
            (Some(Protocol::Icmp), _) => source.port(),
            (_, Some(external)) if is_external(to) => external.port(),
            _ => REMOTE_PORTS[usize::from(sent.remote_port) % REMOTE_PORTS.len()],
        };
        Flow { protocol, source, destination: (to, port).into(), flags: flags_of(sent.kind) }
    }
}

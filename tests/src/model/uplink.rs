//! Packets of sessions.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use webtun_gateway::dataplane::DropReason;

use super::flow::{Flow, external, flags_of, inner_host, kind_protocol, number_of, pair, remote};
use super::{Due, Model};
use crate::action::{Kind, Sent};
use crate::packet::{View, with_hop_limit};
use crate::reference::{Protocol, destination_drop};

const REMOTE_PORTS: [u16; 8] = [80, 53, 443, 80, 53, 25, 7, 0];

impl Model {
    pub(super) fn uplink(&mut self, sent: &Sent) {
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
        if flow.source.ip() == flow.destination.ip() {
            reasons.insert(DropReason::Land);
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
        } else if has_ports && flow.destination.port() < self.direct.gateway.config().nat.first_port {
            // No session can have such a port of the gateway's.
            reasons.insert(DropReason::OwnAddress);
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
}

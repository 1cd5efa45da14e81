//! Packets from outside and from the inner host.

use bytes::BytesMut;
use std::collections::{BTreeSet, VecDeque};
use std::net::SocketAddr;
use webtun_gateway::dataplane::DropReason;

use super::flow::{Flow, externals, flags_of, inner_host, kind_protocol, neighbour, nobody, number_of, remote};
use super::{Due, Model};
use crate::action::{Kind, Received};
use crate::packet::{IcmpError, Segment, Transport, View, icmp_error, udp};
use crate::path::Path;
use crate::reference::{Passing, Protocol};

const REMOTE_PORTS: [u16; 6] = [80, 53, 443, 80, 53, 25];
const SYN: u8 = Segment::SYN;

impl Model {
    pub(super) fn downlink(&mut self, received: &Received) {
        let (protocol, kind, flow) = self.received_flow(received);
        let packet = self.build(kind, &flow, false);
        let mut reasons = BTreeSet::new();
        if flow.source.ip() == inner_host(flow.source.is_ipv6()) {
            reasons.insert(DropReason::SpoofedSource);
        }
        let passing = Passing { protocol, flags: flow.flags, now: self.direct.now };
        let checked = self.reference.check_inbound(flow.destination, flow.source, passing);
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
                self.reference.inbound(mapping, flow.source, passing);
                let mapping = &self.reference.mappings[mapping];
                // The identifier of an echo is the port of both ends.
                let is_echo = protocol == Protocol::Icmp;
                let port = if is_echo { mapping.internal.port() } else { flow.source.port() };
                let from = SocketAddr::new(flow.source.ip(), port);
                let due = Due::Packet { protocol, from, to: mapping.internal, hop_limit: 63, number: self.number };
                self.lives[mapping.session].due.push_back(due);
            }
            Ok(_) | Err(_) => {
                self.check_drop(&before, &reasons);
                let is_unsolicited = matches!(checked, Err(DropReason::NoMapping | DropReason::Filtered));
                if matches!(kind, Kind::Tcp(SYN)) && is_unsolicited && reasons.len() == 1 {
                    self.reference.wait(flow.destination, flow.source, self.direct.now);
                }
            }
        }
    }

    /// The packet that is meant, fit to the protocol of the mapping that it is for.
    fn received_flow(&self, received: &Received) -> (Protocol, Kind, Flow) {
        let target = self.target(received.target);
        let (protocol, external) = match target {
            Some(mapping) => (self.reference.mappings[mapping].protocol, self.reference.mappings[mapping].external),
            None => {
                let port = 20_000 + u16::from(received.target);
                (
                    kind_protocol(received.kind).unwrap_or(Protocol::Udp),
                    (externals(received.ipv6)[usize::from(received.target) % 2], port).into(),
                )
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
            Protocol::Tcp | Protocol::Udp => REMOTE_PORTS[usize::from(received.remote_port) % REMOTE_PORTS.len()],
        };
        let is_spoofed = received.remote >= 240;
        let address = match received.remote {
            _ if is_spoofed => inner_host(external.is_ipv6()),
            200.. => neighbour(external.is_ipv6()),
            number => remote(number, external.is_ipv6()),
        };
        let flow = Flow {
            protocol: Some(protocol),
            source: (address, remote_port).into(),
            destination: external,
            flags: flags_of(kind),
        };
        (protocol, kind, flow)
    }

    pub(super) fn local(&mut self, session: u8, ipv6: bool) {
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
                self.lives[index].due.push_back(Due::Packet {
                    protocol: Protocol::Udp,
                    from,
                    to,
                    hop_limit: 64,
                    number: self.number,
                });
            }
            None => self.check_drop(&before, &BTreeSet::from([DropReason::NoSession])),
        }
    }

    pub(super) fn complain(&mut self, error: IcmpError) {
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

    pub(super) fn target(&self, number: u8) -> Option<usize> {
        let count = self.reference.mappings.len();
        (number < 220 && count > 0).then(|| usize::from(number) % count)
    }
}

pub(super) fn check_delivery(what: &str, packet: &BytesMut, due: &mut VecDeque<Due>) {
    let view = View::parse(packet).unwrap_or_else(|problem| panic!("{what}: delivered with a bad {problem}"));
    let seen = match &view.transport {
        // What the gateway itself has to say about a refused packet is not foretold.
        Transport::Icmp { .. } if view.source == inner_host(view.source.is_ipv6()) => return,
        Transport::Icmp { quoted, .. } => Due::Error { about: quoted_source(quoted) },
        other => Due::Packet {
            protocol: match other {
                Transport::Tcp { .. } => Protocol::Tcp,
                Transport::Udp { .. } => Protocol::Udp,
                Transport::Echo { .. } | Transport::Icmp { .. } | Transport::Octets(_) => Protocol::Icmp,
            },
            from: view.source_endpoint(),
            to: view.destination_endpoint(),
            hop_limit: view.hop_limit,
            number: number_of(other),
        },
    };
    // Flows take turns, but within each the order stays.
    let first = due.iter().position(|due| is_same_flow(due, &seen)).and_then(|index| due.remove(index));
    assert_eq!(first, Some(seen), "{what}: delivery");
}

fn is_same_flow(one: &Due, other: &Due) -> bool {
    match (one, other) {
        (
            Due::Packet { protocol, from, to, .. },
            Due::Packet { protocol: other, from: source, to: destination, .. },
        ) => (protocol, from, to) == (other, source, destination),
        (Due::Error { about }, Due::Error { about: other }) => about == other,
        _ => false,
    }
}

/// The source of a quoted packet, which is whole here: the tests' packets are short.
fn quoted_source(quoted: &[u8]) -> SocketAddr {
    View::parse(quoted).expect("a quoted packet stays correct").source_endpoint()
}

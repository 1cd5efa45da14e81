//! What a NAT with a policy has to do, written down without regard to speed: the oracle of the model test.
//!
//! The rules are those of RFC 4787, 5382, 5508, 6146 and 7857, of RFC 6887 for mapped ports, and of the gateway's own
//! policy. Everything lies in one list and is searched from its beginning; what has expired is removed before anything
//! else is asked. Which free port a mapping gets is the gateway's choice: the reference takes note of it, and checks
//! that it was free and the session's own.

mod ports;

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;
use webtun_gateway::dataplane::{Allowance, DropReason, ExternalAddress, Filtering, NatConfig};
use webtun_wire::{Instant, PortBlock};

use self::ports::{Block, Hold};

use crate::packet::Segment;

/// What has ports of its own. The identifier of an ICMP echo is its port.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Protocol {
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
    /// ICMP echo, of either family.
    Icmp,
}

/// The reference NAT. Sessions are named by their place in the test's list.
#[derive(Clone, Debug)]
pub struct Reference {
    config: NatConfig,
    limits: Allowance,
    /// The external addresses of each shard.
    slices: Vec<Vec<IpAddr>>,
    /// All that live.
    pub mappings: Vec<Mapping>,
    /// All blocks of all external addresses.
    pub blocks: Vec<Block>,
    /// Ports that rest.
    pub holds: Vec<Hold>,
    /// Blocks that have gone back, with who had them, for the test to take.
    pub returned: Vec<(usize, PortBlock)>,
    /// SYNs that nobody has asked for: external and remote endpoint, and when they are answered.
    waiting: Vec<(SocketAddr, SocketAddr, Instant)>,
}

/// One internal endpoint and its external one.
#[derive(Clone, Debug)]
pub struct Mapping {
    /// Whose it is.
    pub session: usize,
    /// Of which protocol.
    pub protocol: Protocol,
    /// Inside.
    pub internal: SocketAddr,
    /// Outside, as packets at the egress carry it.
    pub external: SocketAddr,
    /// Until when it is mapped explicitly.
    pub mapped_until: Option<Instant>,
    /// What its session's peer has chosen.
    pub filtering: Filtering,
    flows: BTreeMap<SocketAddr, Flow>,
}

#[derive(Clone, Copy, Debug)]
struct Flow {
    expires: Instant,
    tcp: Tcp,
    /// Whether the session has sent something. Otherwise the flow neither keeps the mapping nor counts for the filter.
    is_wanted: bool,
    /// Whether the first packet came from outside.
    is_incoming: bool,
}

/// What both ends of a TCP connection have said so far; index 0 is inside, 1 outside.
#[derive(Clone, Copy, Debug, Default)]
struct Tcp {
    spoke: [bool; 2],
    finished: [bool; 2],
    reset: bool,
}

/// A packet, as far as a flow goes.
#[derive(Clone, Copy, Debug)]
pub struct Passing {
    /// Of which protocol.
    pub protocol: Protocol,
    /// TCP's control bits.
    pub flags: u8,
    /// When.
    pub now: Instant,
}

impl Mapping {
    /// When it is over, unless something happens; `None`: at once.
    fn end(&self) -> Option<Instant> {
        let wanted = self.flows.values().filter(|flow| flow.is_wanted).map(|flow| flow.expires);
        wanted.chain(self.mapped_until).max()
    }
}

impl Reference {
    /// Without mappings; `slices` are the external addresses of each shard.
    pub fn new(config: NatConfig, limits: Allowance, slices: &[Vec<ExternalAddress>]) -> Self {
        let blocks = ports::blocks(&slices.concat(), &config);
        let slices = slices.iter().map(|slice| slice.iter().map(|external| external.address).collect()).collect();
        let (mappings, holds, returned, waiting) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        Self { config, limits, slices, mappings, blocks, holds, returned, waiting }
    }

    /// Forgets what is over, in the order in which it was. Returns the SYNs that were answered meanwhile: external and
    /// remote endpoint.
    pub fn expire(&mut self, now: Instant) -> Vec<(SocketAddr, SocketAddr)> {
        let answered = self.answer_waiting(now);
        while let Some(at) = self.next_end().filter(|at| *at <= now) {
            while let Some(place) = self.mappings.iter().position(|mapping| mapping.end().is_none_or(|end| end <= at)) {
                self.remove(place, at);
            }
            self.return_idle(at);
        }
        for mapping in &mut self.mappings {
            mapping.flows.retain(|_, flow| flow.expires > now);
            mapping.mapped_until = mapping.mapped_until.filter(|until| *until > now);
        }
        self.holds.retain(|hold| hold.until > now);
        answered
    }

    fn next_end(&self) -> Option<Instant> {
        let mappings = self.mappings.iter().map(|mapping| mapping.end().unwrap_or(Instant::ZERO));
        mappings.chain(self.blocks.iter().filter_map(|block| block.idle_at)).min()
    }

    fn answer_waiting(&mut self, now: Instant) -> Vec<(SocketAddr, SocketAddr)> {
        let due: Vec<_> = self.waiting.extract_if(.., |(_, _, at)| *at <= now).collect();
        let is_wanted = |external: SocketAddr, remote: SocketAddr, at: Instant| {
            let mapping = self.by_external(Protocol::Tcp, external).map(|place| &self.mappings[place]);
            let flow = mapping.and_then(|mapping| mapping.flows.get(&remote));
            flow.is_some_and(|flow| flow.is_wanted && flow.expires > at)
        };
        let refused = due.into_iter().filter(|(external, remote, at)| !is_wanted(*external, *remote, *at));
        refused.map(|(external, remote, _)| (external, remote)).collect()
    }

    /// A SYN came that nobody has asked for (RFC 5382 REQ-4).
    pub fn wait(&mut self, external: SocketAddr, remote: SocketAddr, now: Instant) {
        self.waiting.push((external, remote, now + Duration::from_secs(6)));
    }

    /// A mapping is over: its port rests, its block may have become empty.
    fn remove(&mut self, place: usize, at: Instant) {
        let gone = self.mappings.remove(place);
        let block = self.block_of(gone.external).map(|place| &self.blocks[place]);
        self.holds.push(Hold {
            protocol: gone.protocol,
            external: gone.external,
            session: gone.session,
            internal: gone.internal,
            until: at + self.config.port_hold,
            is_single: block.is_none_or(|block| block.owner.is_none()),
        });
        self.emptied(gone.external, at);
    }

    /// Forgets a session.
    pub fn close(&mut self, session: usize, now: Instant) {
        while let Some(place) = self.mappings.iter().position(|mapping| mapping.session == session) {
            self.remove(place, now);
        }
        for place in 0..self.blocks.len() {
            if self.blocks[place].owner == Some(session) {
                self.give_back(place, now);
            }
        }
    }

    /// The mapping of an internal endpoint.
    pub fn by_internal(&self, protocol: Protocol, internal: SocketAddr) -> Option<usize> {
        self.mappings.iter().position(|m| m.protocol == protocol && m.internal == internal)
    }

    /// The mapping of an external endpoint.
    pub fn by_external(&self, protocol: Protocol, external: SocketAddr) -> Option<usize> {
        self.mappings.iter().position(|m| m.protocol == protocol && m.external == external)
    }

    /// How many explicitly mapped ports there are, of one session or of all.
    pub fn mapped_ports(&self, session: Option<usize>) -> usize {
        let of = self.mappings.iter().filter(|m| session.is_none_or(|session| m.session == session));
        of.filter(|mapping| mapping.mapped_until.is_some()).count()
    }

    /// Whether a packet from inside may be translated.
    ///
    /// # Errors
    ///
    /// Why not.
    pub fn check_outbound(
        &self,
        session: usize,
        passing: Passing,
        internal: SocketAddr,
        remote: SocketAddr,
    ) -> Result<(), DropReason> {
        let is_reset = passing.is_reset();
        let mapping = self.by_internal(passing.protocol, internal).map(|index| &self.mappings[index]);
        let is_known = mapping.is_some_and(|m| m.flows.contains_key(&key(passing.protocol, remote)));
        if is_reset && mapping.is_none() {
            return Err(DropReason::NoMapping);
        }
        if !is_known && !is_reset {
            self.check_flows(session, self.limits.flows)?;
        }
        if mapping.is_none() {
            if self.mappings.iter().filter(|m| m.session == session).count() >= self.limits.mappings {
                return Err(DropReason::MappingLimit);
            }
            if !self.can_assign(passing.protocol, session, internal, passing.now) {
                return Err(DropReason::NoPorts);
            }
        }
        Ok(())
    }

    /// A packet from inside was translated to the external endpoint of its mapping.
    pub fn outbound(&mut self, index: usize, remote: SocketAddr, passing: Passing) {
        self.touch(index, remote, 0, passing);
    }

    /// Whether a packet from inside answers what came from outside, which policy does not judge. A bare SYN answers nothing.
    pub fn answers(&self, internal: SocketAddr, remote: SocketAddr, passing: Passing) -> bool {
        const SYN_ACK: u8 = Segment::SYN | Segment::ACK;
        let may_answer = match passing.protocol {
            Protocol::Tcp => passing.flags & SYN_ACK != Segment::SYN,
            Protocol::Udp => true,
            Protocol::Icmp => false,
        };
        let mapping = self.by_internal(passing.protocol, internal).map(|index| &self.mappings[index]);
        may_answer && mapping.is_some_and(|m| m.flows.get(&remote).is_some_and(|flow| flow.is_incoming))
    }

    /// Which mapping admits a packet from outside.
    ///
    /// # Errors
    ///
    /// Why none does.
    pub fn check_inbound(
        &self,
        external: SocketAddr,
        remote: SocketAddr,
        passing: Passing,
    ) -> Result<usize, DropReason> {
        let index = self.by_external(passing.protocol, external).ok_or(DropReason::NoMapping)?;
        self.check_filter(index, remote)?;
        if passing.protocol == Protocol::Tcp && !passing.is_reset() && !self.mappings[index].flows.contains_key(&remote)
        {
            // What strangers begin may use up half, so that the session can always begin something itself.
            self.check_flows(self.mappings[index].session, self.limits.flows / 2)?;
        }
        Ok(index)
    }

    /// Whether a mapping would hear `remote`.
    ///
    /// # Errors
    ///
    /// [`DropReason::Filtered`] where it would not.
    pub fn check_filter(&self, index: usize, remote: SocketAddr) -> Result<(), DropReason> {
        let mapping = &self.mappings[index];
        let mut wanted = mapping.flows.iter().filter(|(_, flow)| flow.is_wanted).map(|(key, _)| *key);
        let admitted = mapping.mapped_until.is_some()
            || match mapping.filtering {
                Filtering::EndpointIndependent => true,
                Filtering::AddressDependent => wanted.any(|key| key.ip() == remote.ip()),
                Filtering::AddressAndPortDependent => wanted.any(|wanted| wanted == key(mapping.protocol, remote)),
            };
        if admitted { Ok(()) } else { Err(DropReason::Filtered) }
    }

    /// A packet from outside was translated.
    pub fn inbound(&mut self, index: usize, remote: SocketAddr, passing: Passing) {
        let session = self.mappings[index].session;
        let is_known = self.mappings[index].flows.contains_key(&remote);
        let has_record = is_known || self.check_flows(session, self.limits.flows / 2).is_ok();
        if passing.protocol != Protocol::Icmp && has_record {
            self.touch(index, remote, 1, passing);
        }
    }

    /// A session has a port mapped until `until`.
    pub fn map(&mut self, index: usize, until: Instant) {
        self.mappings[index].mapped_until = Some(until);
    }

    /// A session gives a mapped port back.
    pub fn unmap(&mut self, protocol: Protocol, internal: SocketAddr, now: Instant) {
        if let Some(index) = self.by_internal(protocol, internal) {
            self.mappings[index].mapped_until = None;
            if self.mappings[index].end().is_none_or(|end| end <= now) {
                self.remove(index, now);
            }
        }
    }

    /// A mapping has been made; returns its place.
    ///
    /// # Panics
    ///
    /// Panics where the external endpoint is not one that it may have.
    pub fn add(
        &mut self,
        session: usize,
        protocol: Protocol,
        internal: SocketAddr,
        external: SocketAddr,
        filtering: Filtering,
    ) -> usize {
        let is_available = self.is_available(protocol, session, internal, external);
        assert!(is_available, "{external} of {protocol:?} is not free: {:?} {:?}", self.mappings, self.holds);
        self.holds.retain(|hold| (hold.protocol, hold.external) != (protocol, external));
        if let Some(place) = self.block_of(external) {
            self.blocks[place].idle_at = None;
            self.blocks[place].was_used = true;
        }
        let (mapped_until, flows) = (None, BTreeMap::new());
        self.mappings.push(Mapping { session, protocol, internal, external, mapped_until, filtering, flows });
        self.mappings.len() - 1
    }

    /// How many remote endpoints the mappings of a session track.
    pub fn flows(&self, session: usize) -> usize {
        self.mappings.iter().filter(|m| m.session == session).map(|m| m.flows.len()).sum()
    }

    fn check_flows(&self, session: usize, limit: usize) -> Result<(), DropReason> {
        if self.flows(session) < limit { Ok(()) } else { Err(DropReason::FlowLimit) }
    }

    fn touch(&mut self, index: usize, remote: SocketAddr, side: usize, passing: Passing) {
        let timeouts = self.config.timeouts;
        let (is_inside, is_reset) = (side == 0, passing.is_reset());
        let flows = &mut self.mappings[index].flows;
        let key = key(passing.protocol, remote);
        let known = flows.get(&key).copied();
        let mut flow = match known {
            None if is_reset => return,
            None => Flow { expires: passing.now, tcp: Tcp::default(), is_wanted: is_inside, is_incoming: !is_inside },
            // RFC 7857 section 7.1: a refusal is no interest.
            Some(flow) if is_reset && is_inside && !flow.is_wanted => return,
            // RFC 4787 REQ-6: what comes in refreshes nothing of the session's.
            Some(flow) if !is_inside && flow.is_wanted && passing.protocol != Protocol::Tcp => return,
            Some(flow) => flow,
        };
        if known.is_none() || is_inside || flow.is_wanted {
            let was_over = flow.tcp.is_over();
            flow.tcp.follow(side, passing.flags);
            if was_over && !flow.tcp.is_over() && passing.flags & Segment::SYN != 0 {
                flow.is_incoming = !is_inside;
            }
        }
        flow.is_wanted |= is_inside;
        let lifetime: Duration = match passing.protocol {
            Protocol::Udp => timeouts.udp,
            Protocol::Icmp => timeouts.icmp,
            Protocol::Tcp if flow.tcp.is_established() => timeouts.tcp_established,
            Protocol::Tcp if flow.tcp.is_over() => timeouts.tcp_closing,
            Protocol::Tcp => timeouts.tcp_opening,
        };
        flow.expires = passing.now + lifetime;
        flows.insert(key, flow);
    }
}

/// What flows are told apart by: the identifier of an echo says nothing about the remote end.
fn key(protocol: Protocol, remote: SocketAddr) -> SocketAddr {
    SocketAddr::new(remote.ip(), if protocol == Protocol::Icmp { 0 } else { remote.port() })
}

impl Passing {
    fn is_reset(self) -> bool {
        self.protocol == Protocol::Tcp && self.flags & Segment::RST != 0
    }
}

impl Tcp {
    fn follow(&mut self, side: usize, flags: u8) {
        let is_first = self.spoke == [false; 2];
        let is_over = self.finished == [true; 2];
        if is_first {
            self.spoke[side] = true;
        } else if flags & Segment::RST != 0 {
            self.reset = true;
        } else if (self.reset || is_over) && flags & Segment::SYN != 0 {
            *self = Self::default();
            self.spoke[side] = true;
        } else if self.reset {
            // RFC 7857 section 2.2: data after a RST shows that the connection is still there.
            *self = Self { spoke: [true; 2], finished: [false; 2], reset: false };
            self.finished[side] = flags & Segment::FIN != 0;
        } else if !is_over {
            self.spoke[side] = true;
            let both = self.spoke == [true; 2];
            self.finished[side] |= both && flags & Segment::FIN != 0;
        }
    }

    fn is_over(&self) -> bool {
        self.reset || self.finished == [true; 2]
    }

    fn is_established(&self) -> bool {
        !self.reset && self.spoke == [true; 2] && self.finished != [true; 2]
    }
}

/// What the default policy says about a destination, by its first octets alone: the test uses few destinations.
pub fn destination_drop(destination: IpAddr, protocol: Protocol, port: u16) -> Option<DropReason> {
    match destination {
        IpAddr::V4(v4) => match v4.octets() {
            [0 | 127 | 224.., ..] | [169, 254, ..] => return Some(DropReason::Unroutable),
            [10, ..] | [192, 168, ..] | [100, 64..=127, ..] => return Some(DropReason::DestinationClass),
            _ => {}
        },
        IpAddr::V6(v6) => {
            if v6.is_multicast() || v6.is_loopback() || v6.is_unicast_link_local() {
                return Some(DropReason::Unroutable);
            }
            if v6.segments()[0] & 0xe000 != 0x2000 || v6.segments()[..2] == [0x2001, 0xdb8] {
                return Some(DropReason::DestinationClass);
            }
        }
    }
    (protocol == Protocol::Tcp && port == 25).then_some(DropReason::DeniedByRule)
}

//! Network address and port translation, one table for IPv4 and IPv6, TCP, UDP and ICMP echo. `README.md` goes through
//! the requirements of RFC 4787, 5382, 5508, 6888 and 7857 one by one.
//!
//! Mapping is endpoint-independent (RFC 4787 REQ-1), filtering is configured. A client that draws its ports from its own
//! blocks keeps them, so that its mappings hold nothing that its next packet could not rebuild.
//!
//! Bounds: mappings, flows, blocks and mapped ports per session by [`Allowance`](super::Allowance); the ports of an external
//! address by its range; resting ports by [`NatConfig::held_ports`]; SYNs that wait for their answer by
//! [`unsolicited::LIMIT`]. At a bound the packet is dropped with the bound's reason, and what exists stays as it is.

mod ahead;
mod assign;
mod block;
mod flows;
mod hold;
mod icmp;
mod index;
mod mapping;
mod mappings;
mod nat64;
mod nat64_icmp;
mod nat64_prefix;
mod portmap;
mod ports;
mod prefix;
mod subscriber;
mod table;
mod tcp_state;
mod timeouts;
pub(super) mod unsolicited;

use core::net::IpAddr;
use rand::rngs::ChaCha8Rng;
use rand::{Rng, SeedableRng};
use std::collections::VecDeque;
use webtun_wire::Instant;

use self::hold::HoldDown;
use self::mapping::Mapping;
use self::mappings::Mappings;
use self::ports::{AddressIndex, AddressPool};
use self::prefix::{PrefixTranslation, external_address};
use self::subscriber::{Subscribers, family};
use self::tcp_state::Origin;
use super::packet::{Packet, Side, Transport, protocol, tcp_flag};
use super::timer::{TimerQueue, Wake};
use super::{DropReason, Event, GatewayConfig, Map, NatConfig, SessionId};

pub(super) use self::ahead::{BATCH, Guess};
pub(super) use self::icmp::{ERROR_HEADER, rename};
pub(super) use self::nat64::{GROWTH, Nat64};
pub use self::nat64_prefix::Pref64;
pub(in crate::dataplane) use self::portmap::refusal;
pub use self::portmap::{MapRequest, MapResponse};
pub(super) use self::prefix::to_external_prefix;
pub use self::timeouts::NatTimeouts;

/// What has ports of its own. The identifier of an ICMP echo is its port.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Protocol {
    Tcp = 0,
    Udp = 1,
    Icmp = 2,
}

impl Protocol {
    const COUNT: usize = 3;

    /// The IP protocol number; ICMP stands for that of both families.
    fn number(self) -> u8 {
        match self {
            Self::Tcp => protocol::TCP,
            Self::Udp => protocol::UDP,
            Self::Icmp => protocol::ICMP,
        }
    }
}

/// A mapping that has more flows than this is pruned once a second at most, since pruning visits all of them.
const EXACT_FLOWS: usize = 64;
const PRUNE_INTERVAL: core::time::Duration = core::time::Duration::from_secs(1);

type MappingIndex = u32;
type ExternalPort = (Protocol, AddressIndex, u16);

/// What has passed between a session's endpoint and a remote one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Contact {
    /// The packet begins no flow and belongs to none by itself, as errors and resets.
    None,
    /// Nothing yet.
    New,
    /// Packets from the session alone.
    Unanswered,
    /// Packets from the remote endpoint.
    Answered,
}

/// The translator.
#[derive(Debug)]
pub(super) struct NatTable {
    config: NatConfig,
    pools: Vec<AddressPool>,
    prefix: Option<PrefixTranslation>,
    subscribers: Subscribers,
    mappings: Mappings,
    by_address: Map<IpAddr, AddressIndex>,
    by_announced: Map<IpAddr, AddressIndex>,
    hold: HoldDown,
    timers: TimerQueue<MappingIndex>,
    block_timers: TimerQueue<(AddressIndex, u16)>,
    events: VecDeque<Event>,
    rng: ChaCha8Rng,
    created: u64,
    mapped_ports: u64,
}

impl NatTable {
    pub(super) fn new(config: &GatewayConfig, seed: [u8; 32]) -> Self {
        let mut rng = ChaCha8Rng::from_seed(seed);
        let external = &config.external;
        let pools = external.iter().map(|address| AddressPool::new(*address, &config.nat, &mut rng)).collect();
        let (mut by_address, mut by_announced) = (super::map(&mut rng), super::map(&mut rng));
        for (index, external) in (0..).zip(external) {
            by_address.insert(external.address, index);
            by_announced.insert(external.announced, index);
        }
        Self {
            config: config.nat,
            pools,
            by_address,
            by_announced,
            hold: HoldDown::new(&config.nat, super::map(&mut rng)),
            block_timers: TimerQueue::new(),
            prefix: PrefixTranslation::new(config),
            subscribers: Subscribers::new(&mut rng),
            mappings: Mappings::new(rng.next_u64()),
            timers: TimerQueue::new(),
            events: VecDeque::new(),
            rng,
            created: 0,
            mapped_ports: 0,
        }
    }

    /// Translates a packet from a session to the outside.
    pub(super) fn outbound(&mut self, session: SessionId, packet: &mut Packet, now: Instant) -> Result<(), DropReason> {
        self.expire(now);
        let (source, destination) = packet.ports();
        let (protocol, flags) = match packet.headers.transport {
            Transport::Tcp { flags, .. } => (Protocol::Tcp, flags),
            Transport::Udp { .. } => (Protocol::Udp, 0),
            Transport::Echo { request: true, .. } => (Protocol::Icmp, 0),
            Transport::IcmpError { .. } => return self.outbound_error(session, packet, now),
            Transport::Echo { .. } | Transport::IcmpOther => return Err(DropReason::IcmpType),
            Transport::Other | Transport::Piece => return Err(DropReason::Protocol),
        };
        let internal = (packet.headers.source, source);
        let remote = (packet.headers.destination, destination);
        let index = match self.mappings.by_internal_near(packet.guess, (protocol, internal.0, internal.1)) {
            Some(index) => index,
            // A RST cannot begin anything (RFC 7857 section 2.2).
            None if flags & tcp_flag::RST != 0 => return Err(DropReason::NoMapping),
            None => {
                let subscriber = self.subscribers.get(session).ok_or(DropReason::NoSession)?;
                if subscriber.flows >= subscriber.limits.flows {
                    return Err(DropReason::FlowLimit);
                }
                self.create(session, protocol, internal, None, now)?
            }
        };
        self.touch(index, remote, Origin::Inside, flags, now)?;
        let mapping = self.mapping(index).ok_or(DropReason::NoMapping)?;
        let external = external_address(&self.pools, self.prefix, mapping);
        packet.set_endpoint(Side::Source, external.address, mapping.port);
        Ok(())
    }

    /// Translates a packet from the outside, to an external address; returns the session that it is for.
    pub(super) fn inbound(&mut self, packet: &mut Packet, now: Instant) -> Result<SessionId, DropReason> {
        self.expire(now);
        let external = packet.headers.destination;
        let (source, destination) = packet.ports();
        let (protocol, flags) = match packet.headers.transport {
            Transport::Tcp { flags, .. } => (Protocol::Tcp, flags),
            Transport::Udp { .. } => (Protocol::Udp, 0),
            Transport::Echo { request: false, .. } => (Protocol::Icmp, 0),
            Transport::Echo { .. } => return Err(DropReason::NoMapping),
            Transport::IcmpError { .. } => return self.inbound_error(packet, now),
            Transport::IcmpOther => return Err(DropReason::IcmpType),
            Transport::Other | Transport::Piece => return Err(DropReason::Protocol),
        };
        let remote = (packet.headers.source, source);
        let index = self.find_external_near(packet.guess, protocol, external, destination);
        let index = index.ok_or(DropReason::NoMapping)?;
        let mapping = self.mapping(index).ok_or(DropReason::NoMapping)?;
        if !mapping.admits(remote, now) {
            return Err(DropReason::Filtered);
        }
        match protocol {
            Protocol::Tcp => self.touch(index, remote, Origin::Outside, flags, now)?,
            // A datagram is delivered without a record too; only the answers to it are then judged as if the session had
            // begun. That is for whoever lets strangers begin very many flows.
            Protocol::Udp => drop(self.touch(index, remote, Origin::Outside, flags, now)),
            Protocol::Icmp => {}
        }
        let mapping = self.mapping(index).ok_or(DropReason::NoMapping)?;
        let (session, internal) = (mapping.session, mapping.internal());
        packet.set_endpoint(Side::Destination, internal.0, internal.1);
        Ok(session)
    }

    /// Removes what has expired.
    pub(super) fn expire(&mut self, now: Instant) {
        while let Some((at, index)) = self.timers.pop_due(now) {
            let mapping = self.mappings.get_mut(index);
            if self.timers.fired(mapping.map(|mapping| &mut mapping.wake), at) {
                self.prune(index, now);
            }
        }
    }

    /// When [`NatTable::expire`] or [`NatTable::return_idle_blocks`] has work to do.
    pub(super) fn next_timeout(&self) -> Option<Instant> {
        self.timers.next().into_iter().chain(self.block_timers.next()).min()
    }

    /// What has passed so far between the two ends of a packet from a session.
    pub(super) fn contact(&self, packet: &Packet, now: Instant) -> Contact {
        let protocol = match packet.headers.transport {
            Transport::Tcp { flags, .. } if flags & tcp_flag::RST == 0 => Protocol::Tcp,
            Transport::Udp { .. } => Protocol::Udp,
            Transport::Echo { request: true, .. } => Protocol::Icmp,
            _ => return Contact::None,
        };
        let (source, destination) = packet.ports();
        let index = self.mappings.by_internal_near(packet.guess, (protocol, packet.headers.source, source));
        let mapping = index.and_then(|index| self.mapping(index));
        let remote = (packet.headers.destination, destination);
        match mapping.and_then(|mapping| mapping.flows.get(mapping.key(remote), now)) {
            Some(flow) if flow.outside_spoke() => Contact::Answered,
            Some(_) => Contact::Unanswered,
            None => Contact::New,
        }
    }

    /// Whether a packet of a session belongs to a flow that the outside has begun. What policy says about where sessions
    /// may go does not concern it. A SYN without ACK always begins something: whoever forges a SYN from an address cannot
    /// open the way to it.
    pub(super) fn answers(&self, packet: &Packet, now: Instant) -> bool {
        let protocol = match packet.headers.transport {
            // The NAT lets an error out only about a flow that there is, to the other end of it.
            Transport::IcmpError { .. } => return true,
            Transport::Tcp { flags, .. } if flags & (tcp_flag::SYN | tcp_flag::ACK) != tcp_flag::SYN => Protocol::Tcp,
            Transport::Udp { .. } => Protocol::Udp,
            _ => return false,
        };
        let (source, destination) = packet.ports();
        let index = self.mappings.by_internal_near(packet.guess, (protocol, packet.headers.source, source));
        let mapping = index.and_then(|index| self.mapping(index));
        let flow = mapping.and_then(|mapping| mapping.flows.get((packet.headers.destination, destination), now));
        flow.is_some_and(|flow| flow.origin == Origin::Outside)
    }

    /// Whether `address` is an external address as packets at the egress carry it.
    pub(super) fn is_external(&self, address: IpAddr) -> bool {
        self.by_address.contains_key(&address) || self.internal_by_prefix(address).is_some()
    }

    /// The external address that the outside knows as `announced`.
    pub(super) fn by_announced(&self, announced: IpAddr) -> Option<IpAddr> {
        let index = self.by_announced.get(&announced);
        let address = index.map(|index| self.pools[usize::from(*index)].address.address);
        address.or_else(|| self.internal_by_prefix(announced).map(|_| announced))
    }

    /// Blocks that nobody has, of all external addresses.
    pub(super) fn free_blocks(&self) -> usize {
        self.pools.iter().map(|pool| pool.spare_blocks().0).sum()
    }

    /// How the outside knows an external address.
    pub(super) fn announced_of(&self, address: IpAddr) -> Option<IpAddr> {
        self.address_index(address).map(|index| self.pools[usize::from(index)].address.announced)
    }

    pub(super) fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    pub(super) fn mapping_count(&self) -> u64 {
        self.mappings.len() as u64
    }

    pub(super) fn created(&self) -> u64 {
        self.created
    }

    pub(super) fn mapped_ports(&self) -> u64 {
        self.mapped_ports
    }

    fn mapping(&self, index: MappingIndex) -> Option<&Mapping> {
        self.mappings.get(index)
    }

    fn address_index(&self, address: IpAddr) -> Option<AddressIndex> {
        self.by_address.get(&address).copied()
    }
}

//! Network address and port translation, one table for IPv4 and IPv6, TCP, UDP and ICMP echo.
//!
//! Mapping is endpoint-independent (RFC 4787 REQ-1), filtering is configured. A client that draws its ports from its own
//! blocks keeps them, so that its mappings hold nothing that its next packet could not rebuild.
//!
//! Bounds: mappings, flows, blocks and mapped ports per session by [`Allowance`]; the ports of an external address by
//! its range. At a bound the packet is dropped with the bound's reason, and what exists stays as it is.

mod icmp;
mod mapping;
mod nat64;
mod nat64_icmp;
mod nat64_prefix;
mod portmap;
mod ports;
mod prefix;
mod table;
mod tcp_state;
mod timeouts;

use core::net::IpAddr;
use rand::SeedableRng;
use rand::rngs::ChaCha8Rng;
use std::collections::VecDeque;
use webtun_wire::{Instant, PortBlock};

use self::mapping::{Explicit, Flow, Flows, Mapping, Remote};
use self::ports::{AddressIndex, AddressPool, Block, least_used};
use self::prefix::{PrefixTranslation, external_address};
use self::tcp_state::{Origin, TcpState};
use super::packet::{Packet, Side, Transport, protocol, tcp_flag};
use super::timer::{TimerQueue, Wake};
use super::{Allowance, DropReason, Event, GatewayConfig, Map, NatConfig, SessionId};

pub(super) use self::nat64::{GROWTH, Nat64};
pub use self::nat64_prefix::Pref64;
pub use self::portmap::{MapRequest, MapResponse};
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

/// The translator.
#[derive(Debug)]
pub(super) struct NatTable {
    config: NatConfig,
    pools: Vec<AddressPool>,
    prefix: Option<PrefixTranslation>,
    subscribers: Map<SessionId, Subscriber>,
    mappings: Vec<Option<Mapping>>,
    unused: Vec<MappingIndex>,
    by_internal: Map<(Protocol, IpAddr, u16), MappingIndex>,
    by_external: Map<(Protocol, AddressIndex, u16), MappingIndex>,
    timers: TimerQueue<MappingIndex>,
    events: VecDeque<Event>,
    rng: ChaCha8Rng,
    created: u64,
    mapped_ports: u64,
}

/// What the table knows of a session.
#[derive(Debug)]
struct Subscriber {
    limits: Allowance,
    /// The external address that the session is paired with, per family.
    paired: [Option<AddressIndex>; 2],
    blocks: [Vec<Block>; 2],
    mappings: Vec<MappingIndex>,
    flows: usize,
    mapped_ports: usize,
    blocks_changed: bool,
}

impl NatTable {
    pub(super) fn new(config: &GatewayConfig, seed: [u8; 32]) -> Self {
        let mut rng = ChaCha8Rng::from_seed(seed);
        let pools = config.external.iter().map(|address| AddressPool::new(*address, &config.nat, &mut rng)).collect();
        Self {
            config: config.nat,
            pools,
            prefix: PrefixTranslation::new(config),
            subscribers: super::map(&mut rng),
            mappings: Vec::new(),
            unused: Vec::new(),
            by_internal: super::map(&mut rng),
            by_external: super::map(&mut rng),
            timers: TimerQueue::new(),
            events: VecDeque::new(),
            rng,
            created: 0,
            mapped_ports: 0,
        }
    }

    /// Gives a new session its first block in each family that there is an address for, with the same numbers in both
    /// where that is possible.
    ///
    /// # Errors
    ///
    /// [`DropReason::NoPorts`] where a family has addresses but no free block.
    pub(super) fn open(&mut self, session: SessionId, limits: Allowance) -> Result<(), DropReason> {
        let paired = [true, false].map(|ipv4| least_used(&self.pools, ipv4));
        let subscriber = Subscriber {
            limits,
            paired,
            blocks: [Vec::new(), Vec::new()],
            mappings: Vec::new(),
            flows: 0,
            mapped_ports: 0,
            blocks_changed: false,
        };
        self.subscribers.insert(session, subscriber);
        for (family, address) in paired.iter().enumerate() {
            if address.is_some() && !self.add_block(session, family) {
                self.close(session);
                return Err(DropReason::NoPorts);
            }
        }
        self.take_blocks_changed(session);
        Ok(())
    }

    /// Forgets a session and all its mappings.
    pub(super) fn close(&mut self, session: SessionId) {
        let indices = self.subscribers.get(&session).map(|s| s.mappings.clone()).unwrap_or_default();
        for index in indices {
            self.remove(index);
        }
        let Some(subscriber) = self.subscribers.remove(&session) else { return };
        for (family, blocks) in subscriber.blocks.iter().enumerate() {
            let Some(address) = subscriber.paired[family] else { continue };
            for block in blocks {
                self.pools[usize::from(address)].return_block(block);
                let block = self.announced(address, block);
                self.events.push_back(Event::BlockReleased { id: session, block });
            }
        }
        self.sweep();
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
        let index = match self.by_internal.get(&(protocol, internal.0, internal.1)) {
            Some(index) => *index,
            // A RST cannot begin anything (RFC 7857 section 2.2).
            None if flags & tcp_flag::RST != 0 => return Err(DropReason::NoMapping),
            None => self.create(session, protocol, internal, None)?,
        };
        if let Err(reason) = self.touch(index, remote, Origin::Inside, flags, now) {
            self.remove_unused(index);
            return Err(reason);
        }
        let mapping = self.mapping(index).ok_or(DropReason::NoMapping)?;
        let external = external_address(&self.pools, self.prefix, mapping);
        packet.set_endpoint(Side::Source, external.address, mapping.port);
        Ok(())
    }

    /// Translates a packet from the outside; returns the session that it is for.
    pub(super) fn inbound(&mut self, packet: &mut Packet, now: Instant) -> Result<SessionId, DropReason> {
        self.expire(now);
        let external = packet.headers.destination;
        if !self.is_external(external) {
            return Err(DropReason::NotExternal);
        }
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
        let index = self.find_external(protocol, external, destination).ok_or(DropReason::NoMapping)?;
        let mapping = self.mapping(index).ok_or(DropReason::NoMapping)?;
        if !mapping.admits(self.config.filtering, remote, now) {
            return Err(DropReason::Filtered);
        }
        // UDP and ICMP are kept alive by what goes out alone (RFC 4787 REQ-6).
        if protocol == Protocol::Tcp {
            self.touch(index, remote, Origin::Outside, flags, now)?;
        }
        let mapping = self.mapping(index).ok_or(DropReason::NoMapping)?;
        let (session, internal) = (mapping.session, mapping.internal);
        packet.set_endpoint(Side::Destination, internal.0, internal.1);
        Ok(session)
    }

    /// Removes what has expired.
    pub(super) fn expire(&mut self, now: Instant) {
        while let Some((at, index)) = self.timers.pop_due(now) {
            let slot = self.mappings.get_mut(index as usize).and_then(Option::as_mut);
            if self.timers.fired(slot.map(|mapping| &mut mapping.wake), at) {
                self.prune(index, now);
            }
        }
    }

    /// When [`NatTable::expire`] has work to do.
    pub(super) fn next_timeout(&self) -> Option<Instant> {
        self.timers.next()
    }

    /// Whether `address` is an external address as packets at the egress carry it.
    pub(super) fn is_external(&self, address: IpAddr) -> bool {
        self.address_index(address).is_some() || self.internal_by_prefix(address).is_some()
    }

    /// The external address that the outside knows as `announced`.
    pub(super) fn by_announced(&self, announced: IpAddr) -> Option<IpAddr> {
        let address = self.pools.iter().map(|pool| pool.address).find(|a| a.announced == announced).map(|a| a.address);
        address.or_else(|| self.internal_by_prefix(announced).map(|_| announced))
    }

    /// How the outside knows an external address.
    pub(super) fn announced_of(&self, address: IpAddr) -> Option<IpAddr> {
        self.address_index(address).map(|index| self.pools[usize::from(index)].address.announced)
    }

    /// The blocks of a session, as the outside sees them.
    pub(super) fn blocks(&self, session: SessionId) -> Vec<PortBlock> {
        let Some(subscriber) = self.subscribers.get(&session) else { return Vec::new() };
        let families = subscriber.paired.iter().zip(&subscriber.blocks);
        families
            .flat_map(|(address, blocks)| address.map(|address| blocks.iter().map(move |block| (address, block))))
            .flatten()
            .map(|(address, block)| self.announced(address, block))
            .collect()
    }

    /// True once after each change of the session's blocks.
    pub(super) fn take_blocks_changed(&mut self, session: SessionId) -> bool {
        self.subscribers.get_mut(&session).is_some_and(|s| core::mem::take(&mut s.blocks_changed))
    }

    pub(super) fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    pub(super) fn mapping_count(&self) -> u64 {
        self.by_internal.len() as u64
    }

    pub(super) fn created(&self) -> u64 {
        self.created
    }

    pub(super) fn mapped_ports(&self) -> u64 {
        self.mapped_ports
    }

    /// How many mappings a session has.
    pub(super) fn session_mappings(&self, session: SessionId) -> usize {
        self.subscribers.get(&session).map_or(0, |s| s.mappings.len())
    }

    fn mapping(&self, index: MappingIndex) -> Option<&Mapping> {
        self.mappings.get(index as usize)?.as_ref()
    }

    fn mapping_mut(&mut self, index: MappingIndex) -> Option<&mut Mapping> {
        self.mappings.get_mut(index as usize)?.as_mut()
    }

    fn address_index(&self, address: IpAddr) -> Option<AddressIndex> {
        let index = self.pools.iter().position(|pool| pool.address.address == address)?;
        AddressIndex::try_from(index).ok()
    }

    fn announced(&self, address: AddressIndex, block: &Block) -> PortBlock {
        let address = self.pools[usize::from(address)].address.announced;
        PortBlock { address, first: block.first, count: block.size }
    }
}

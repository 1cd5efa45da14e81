//! The gateway as a pure state machine: sessions, NAT and policy, without a clock, randomness, sockets or threads.
//!
//! # Contract
//!
//! After any call that takes `&mut self`: drain [`Gateway::poll_transmit`] and, where there are shards,
//! [`Gateway::poll_transfer`], then [`Gateway::poll_event`], then, for each
//! session that was announced as ready and whose connection can take a message, [`Gateway::poll_message`]; then wait for
//! [`Gateway::poll_timeout`] or for input. Extra calls are harmless. Calls with the id of a session that is gone do
//! nothing.
//!
//! `now` must not go backwards. The seed must be unpredictable: session secrets and external ports are drawn from it.
//!
//! # Data paths
//!
//! ```text
//! message -> uplink.rs   -> poll_transmit (egress, inner host), or another session's queue (hairpin), maybe by poll_transfer
//! egress  -> downlink.rs -> session queue -> poll_message
//! message -> streams/    -> poll_event (the shell's connections) -> session queue -> poll_message
//! ```
//!
//! Packets are rewritten in place and handed on without a copy; they are copied once, into the message that carries
//! them to a client. One that stands for many segments (`offload/`) is rewritten once for all of them. Replies that the gateway makes up leave by the session's queue.
//!
//! # Bounds
//!
//! Everything that outlives a call is bounded, per session where a session can fill it:
//!
//! | what | bound | at the bound |
//! |---|---|---|
//! | downlink queue | `queue_octets` of the peer's [`Allowance`] | the flow with the most waiting loses its newest packet |
//! | streams | 4,096 and the flows of the [`Allowance`] | a new one is refused |
//! | octets of streams | a credit for each, 16 MiB together and 64 KiB each; 1 MiB in the queue | their sender waits |
//! | unacknowledged messages | `unacknowledged` octets and one message | packets wait in the queue |
//! | memory of what was delivered, for what is read next | 64 buffers | the oldest is let go |
//! | control capsules | 256 | notices are dropped; a request too many closes the session |
//! | uplink fragments | 32 datagrams, 512 KiB, and what is left of 64 MiB for all | the session's oldest datagram is given up |
//! | downlink fragments | 1024 datagrams, 16 MiB, for all | the oldest datagram is given up |
//! | path MTUs that routers have told | 1024 destinations, for all | the oldest is forgotten |
//! | NAT | [`Allowance`] | the packet is dropped, the client is told |
//! | external ports that rest | `NatConfig::held_ports` | the one that has rested longest is free early |
//! | SYNs that nobody has asked for | 1024, for all | they get no answer |
//! | ICMP errors and FLOW_DENIED | 100 per second, 50 at once; as many to the outside, for all | silence |
//! | transmit, transfer and event queues | what one call makes of its input | the caller drains them |

mod antispoof;
mod checksum;
mod config;
mod contexts;
mod downlink;
mod event;
mod fragment;
mod gather;
mod handshake;
mod icmp_error;
mod lease;
mod lifecycle;
mod message;
mod meter;
mod mss;
mod nat;
mod network;
mod offload;
mod packet;
mod path_mtu;
mod peer;
mod peers;
mod policy;
mod portcontrol;
mod queue;
mod ratelimit;
mod session;
mod shards;
mod special;
mod stats;
mod streams;
mod timer;
mod tunnel;
mod uplink;
mod verdict;

use bytes::BytesMut;
use core::net::IpAddr;
use core::time::Duration;
use rand::rngs::ChaCha20Rng;
use rand::{Rng, SeedableRng};
use std::collections::{BTreeMap, VecDeque};
use webtun_wire::{AddressRange, Instant, OffloadHeader};

use self::fragment::{Reassembler, ReassemblyLimits};
use self::gather::Spare;
use self::icmp_error::Budget;
use self::lease::LeasePool;
use self::nat::NatTable;
use self::nat::unsolicited::Unsolicited;
use self::path_mtu::PathMtus;
use self::peers::Peers;
use self::policy::Policy;
use self::session::Session;
use self::shards::Shards;
use self::timer::TimerQueue;

pub use self::config::{ConfigError, ExternalAddress, Filtering, GatewayConfig, NatConfig, Split};
pub use self::event::{Destination, Event, Transmit};
pub use self::gather::Gather;
pub use self::handshake::{Reject, close_message};
pub use self::message::SessionError;
pub use self::nat::{MapRequest, MapResponse, NatTimeouts, Pref64};
pub use self::offload::EgressOffload;
pub use self::peer::{Allowance, Peer, PeerLimits};
pub use self::policy::{Action, OwnAddresses, Rule};
pub use self::portcontrol::{PORT as PORT_CONTROL, PORTS_TRIED};
pub use self::ratelimit::Rate;
pub use self::session::{SessionId, SessionInfo};
pub use self::shards::{MAX_SHARDS, ShardConfig, Slice, Transfer};
pub use self::stats::{Delays, Stats, Traffic};
pub use self::streams::{StreamEvent, StreamHost, Uplink};
pub use self::verdict::DropReason;

/// A hash map whose order depends on the gateway's seed alone; whoever does not know it finds no collisions cheaply.
type Map<K, V> = hashbrown::HashMap<K, V, foldhash::fast::FixedState>;

fn map<K, V>(rng: &mut impl Rng) -> Map<K, V> {
    Map::with_hasher(foldhash::fast::FixedState::with_seed(rng.next_u64()))
}

/// DATAGRAMs of this context are whole IP packets (RFC 9484 section 6).
const PACKET_CONTEXT: u64 = 0;

/// What every IPv6 link carries, in octets (RFC 8200 section 5).
const IPV6_MIN_MTU: u16 = 1280;

/// Fragments that wait in the downlink, all sessions together: until the ports are known they belong to nobody.
const DOWNLINK_REASSEMBLY: ReassemblyLimits =
    ReassemblyLimits { datagrams: 1024, octets: 16 << 20, timeout: Duration::from_secs(30) };

/// The gateway. See the [module](self) for how to drive it.
#[derive(Debug)]
pub struct Gateway {
    config: GatewayConfig,
    policy: Policy,
    routes: Vec<AddressRange>,
    resolvers: Vec<IpAddr>,
    leases: LeasePool,
    nat: NatTable,
    unsolicited: Unsolicited,
    shards: Shards,
    sessions: Map<SessionId, Session>,
    by_inner: Map<IpAddr, SessionId>,
    identities: Map<[u8; 16], SessionId>,
    peers: Peers,
    timers: TimerQueue<SessionId>,
    reassembler: Reassembler,
    /// In the uplinks of all sessions.
    fragment_octets: usize,
    path_mtus: PathMtus,
    /// ICMP errors to the outside.
    outside_budget: Budget,
    transmits: VecDeque<Transmit>,
    transfers: VecDeque<Transfer>,
    /// Room for packets that are dealt with together; empty between calls.
    batch: Vec<(BytesMut, OffloadHeader)>,
    /// Memory of what was delivered.
    spare: Spare,
    events: VecDeque<Event>,
    /// The CLOSE messages of sessions that are gone.
    farewells: BTreeMap<SessionId, bytes::Bytes>,
    draining: Option<Duration>,
    next_session: u64,
    /// Identification of the next datagram that is fragmented or may be.
    next_datagram: u32,
    rng: ChaCha20Rng,
    stats: Stats,
}

impl Gateway {
    /// A gateway without sessions.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] where the configuration contradicts itself.
    pub fn new(config: GatewayConfig, seed: [u8; 32], now: Instant) -> Result<Self, ConfigError> {
        config.validate()?;
        let mut rng = ChaCha20Rng::from_seed(seed);
        let mut nat_seed = [0; 32];
        rng.fill_bytes(&mut nat_seed);
        let mut resolvers = config.dns_servers.clone();
        if resolvers.is_empty() {
            resolvers = vec![config.inner_host_v4().into(), config.inner_host_v6().into()];
        }
        Ok(Self {
            policy: Policy::new(&config),
            routes: handshake::routes(&config),
            resolvers,
            leases: LeasePool::new(&config),
            nat: NatTable::new(&config, nat_seed),
            unsolicited: Unsolicited::default(),
            shards: Shards::new(&config, map(&mut rng)),
            sessions: map(&mut rng),
            by_inner: map(&mut rng),
            identities: map(&mut rng),
            peers: Peers::default(),
            timers: TimerQueue::new(),
            reassembler: Reassembler::new(DOWNLINK_REASSEMBLY),
            fragment_octets: 0,
            path_mtus: PathMtus::default(),
            outside_budget: Budget::of_errors(now),
            transmits: VecDeque::new(),
            transfers: VecDeque::new(),
            batch: Vec::new(),
            spare: Spare::default(),
            events: VecDeque::new(),
            farewells: BTreeMap::new(),
            draining: None,
            next_session: config.shard.index as u64,
            next_datagram: rng.next_u32(),
            rng,
            stats: Stats::default(),
            config,
        })
    }

    /// The next packet to be sent.
    pub fn poll_transmit(&mut self) -> Option<Transmit> {
        self.transmits.pop_front()
    }

    /// The next event.
    pub fn poll_event(&mut self) -> Option<Event> {
        // What becomes of a mapped port, before the session is told of it.
        let begins_message = matches!(self.events.front(), Some(Event::MessagesReady(_)));
        let settled = if begins_message { self.nat.poll_event() } else { None };
        settled.or_else(|| self.events.pop_front()).or_else(|| self.nat.poll_event())
    }

    /// When [`Gateway::handle_timeout`] wants to be called.
    pub fn poll_timeout(&self) -> Option<Instant> {
        let timers = [
            self.timers.next(),
            self.nat.next_timeout(),
            self.unsolicited.next_timeout(),
            self.reassembler.next_timeout(),
        ];
        timers.into_iter().flatten().min()
    }

    /// The machine has other addresses now.
    pub fn set_own_addresses(&mut self, own: OwnAddresses) {
        self.policy.own = own;
    }

    /// The egress has lost a packet that it was handed.
    pub fn count_egress_drop(&mut self, reason: DropReason) {
        self.stats.count_drop(reason);
    }

    /// What the gateway has done so far.
    pub fn stats(&self) -> &Stats {
        &self.stats
    }

    /// Port blocks that no session has, of all external addresses.
    pub fn free_port_blocks(&self) -> usize {
        self.nat.free_blocks()
    }

    /// The configuration in force.
    pub fn config(&self) -> &GatewayConfig {
        &self.config
    }

    /// All sessions, in no particular order.
    pub fn sessions(&self) -> impl Iterator<Item = SessionInfo> {
        self.sessions.iter().map(|(id, session)| SessionInfo {
            id: *id,
            peer: session.peer.name.clone(),
            inner_v4: session.lease.v4,
            inner_v6: session.lease.v6,
            connected: session.tunnel.is_attached(),
            rtt: session.tunnel.rtt,
            mappings: self.nat.session_mappings(*id),
            flows: self.nat.session_flows(*id),
        })
    }

    /// The inner address of the gateway, of the family that `like` is of.
    fn inner_host(&self, like: IpAddr) -> IpAddr {
        if like.is_ipv4() { self.config.inner_host_v4().into() } else { self.config.inner_host_v6().into() }
    }

    /// The first of so many identifications in a row.
    fn next_datagram_ids(&mut self, count: usize) -> u32 {
        let first = self.next_datagram.wrapping_add(1);
        self.next_datagram = self.next_datagram.wrapping_add(count as u32);
        first
    }
}

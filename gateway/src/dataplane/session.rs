//! A session: one client with its addresses, its tunnel and its share of everything.

use core::fmt;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use core::time::Duration;
use std::collections::VecDeque;
use std::sync::Arc;
use webtun_wire::{FlowDenied, Instant};

use super::Peer;
use super::fragment::{Reassembler, ReassemblyLimits};
use super::icmp_error::Budget;
use super::lease::Lease;
use super::meter::Meter;
use super::packet::protocol;
use super::peers::PeerIndex;
use super::queue::Queue;
use super::streams::Streams;
use super::timer::Wake;
use super::tunnel::{Control, Tunnel};

/// Names a session within its gateway, all shards of it together. Never used again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SessionId(pub(super) u64);

impl SessionId {
    /// The shard that has it, where there are so many.
    pub fn shard(self, count: usize) -> usize {
        (self.0 % count.max(1) as u64) as usize
    }
}

impl fmt::Display for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// A session as an operator sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SessionInfo {
    /// Its name.
    pub id: SessionId,
    /// Whose it is.
    pub peer: Arc<str>,
    /// Its inner IPv4 address.
    pub inner_v4: Ipv4Addr,
    /// Its inner IPv6 address.
    pub inner_v6: Ipv6Addr,
    /// False during grace.
    pub connected: bool,
    /// Round trip of the last answered PING.
    pub rtt: Option<Duration>,
    /// NAT mappings.
    pub mappings: usize,
    /// Remote endpoints that they track.
    pub flows: usize,
}

/// Fragments that wait in one session's uplink.
const REASSEMBLY: ReassemblyLimits =
    ReassemblyLimits { datagrams: 32, octets: 512 * 1024, timeout: Duration::from_secs(30) };

#[derive(Debug)]
pub(super) struct Session {
    pub peer: Peer,
    pub peer_index: PeerIndex,
    pub meter: Meter,
    pub lease: Lease,
    pub tunnel: Tunnel,
    pub queue: Queue,
    pub streams: Streams,
    pub reassembler: Reassembler,
    /// ICMP errors.
    pub errors: Budget,
    pub denials: Denials,
    pub wake: Wake,
    /// MessagesReady has been emitted, and poll_message has not said "none" since.
    pub is_announced: bool,
    /// Octets of packets per message.
    pub message_room: u64,
}

impl Session {
    pub(super) fn new(
        peer: Peer,
        peer_index: PeerIndex,
        seed: u64,
        lease: Lease,
        tunnel: Tunnel,
        now: Instant,
    ) -> Self {
        let queue_octets = peer.limits.each.queue_octets.max(super::config::SMALLEST_WINDOW);
        Self {
            meter: Meter::new(&peer.limits.each, now),
            peer,
            peer_index,
            lease,
            tunnel,
            queue: Queue::new(queue_octets, seed),
            streams: Streams::default(),
            reassembler: Reassembler::new(REASSEMBLY),
            errors: Budget::of_errors(now),
            denials: Denials::new(now),
            wake: Wake::default(),
            is_announced: false,
            message_room: u64::MAX,
        }
    }

    /// Something from each of the cache lines that a packet needs, but for those of the queue's lanes; what it returns means
    /// nothing.
    pub(super) fn look_at(&self) -> u64 {
        let peer = u64::from(self.peer.network.is_some()) ^ u64::from(self.peer.group.is_some());
        let rest = u64::from(self.is_announced) ^ u64::from(self.lease.v4.to_bits()) ^ self.message_room;
        let queues = self.queue.octets() ^ self.reassembler.octets();
        self.meter.look_at() ^ self.tunnel.look_at() ^ queues as u64 ^ peer ^ rest
    }

    /// When the session wants to be looked at.
    pub(super) fn next_timeout(&self, now: Instant) -> Instant {
        let tunnel = self.tunnel.next_timeout(&self.queue, now);
        self.reassembler.next_timeout().into_iter().chain(self.queue.next_timeout()).fold(tunnel, Instant::min)
    }
}

/// The flows whose denial a client has been told of. At the bound the oldest is forgotten, and told again if it goes on.
#[derive(Debug)]
pub(super) struct Denials {
    told: VecDeque<(u8, u16, IpAddr, u16)>,
    budget: Budget,
}

impl Denials {
    const LIMIT: usize = 128;

    fn new(now: Instant) -> Self {
        Self { told: VecDeque::new(), budget: Budget::of_denials(now) }
    }

    /// Has `tunnel` tell the client, unless it has been told. What finds no room is told when the flow goes on. Of pings
    /// each is told: all of a client have one identifier, so that several programs' can look like one flow.
    pub(super) fn tell(&mut self, denied: FlowDenied, tunnel: &mut Tunnel, now: Instant) {
        let flow = (denied.protocol, denied.source_port, denied.destination, denied.destination_port);
        let is_ping = matches!(denied.protocol, protocol::ICMP | protocol::ICMPV6);
        // Whoever goes on with a flow does so at once, so it is among the last.
        let is_told = !is_ping && self.told.iter().rev().any(|told| *told == flow);
        if is_told || !self.budget.take(now) {
            return;
        }
        if tunnel.notify(Control::FlowDenied(denied)) && !is_ping {
            if self.told.len() == Self::LIMIT {
                self.told.pop_front();
            }
            self.told.push_back(flow);
        }
    }
}

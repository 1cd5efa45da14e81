//! The network stack in packets. It knows nothing of the tunnel.
//!
//! Contract: after any `&mut` call drain [`Host::poll_packet`], then [`Host::poll_event`], then wait for
//! [`Host::poll_timeout`] or input. Extra calls are harmless.

mod egress;
mod ingress;
mod ping;
mod reports;
mod requests;
mod tcp;
mod tcp_io;
mod udp;

use std::collections::{BinaryHeap, VecDeque};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::ops::RangeInclusive;

use foldhash::fast::FixedState;
use rand::rngs::ChaCha12Rng;
use rand::{Rng, SeedableRng};
use webtun_wire::Instant;

use crate::arrival::Arrival;
use crate::buffers::Budget;
use crate::demux::{Bindings, Flow, SeededMap, SeededSet};
use crate::device::TxQueue;
use crate::engine::{Engine, MAX_ADDRESSES, Share};
use crate::fragment::Fragmenter;
use crate::ports::EphemeralPorts;
use crate::socket::listener::Listener;
use crate::socket::tcp::TcpSocket;
use crate::socket::udp::UdpSocket;
use crate::time_wait::TimeWait;
use crate::timers::Timers;
use crate::turns::Turns;
use crate::{CloseReason, HostConfig, HostStats, PingError, SocketEvent, SocketId, UdpError, packet};

const LOOPBACK_V4: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
const LOOPBACK_V6: IpAddr = IpAddr::V6(Ipv6Addr::LOCALHOST);

/// Connections that their programs have closed and that still say goodbye. Beyond it the oldest is reset.
const MAX_ORPHANS: usize = 4096;

/// Standing in for others is a feature: what pages load does without.
const STANDS_IN: bool = cfg!(feature = "stand-in");

/// Whose timer it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum TimerKey {
    Tcp(SocketId),
    Pings,
}

/// A network stack: packets in, packets out, sockets between. Pure: time and randomness are arguments.
pub struct Host {
    config: HostConfig,
    engine: Engine,
    queue: TxQueue,
    addresses: Vec<(IpAddr, u8)>,
    budget: Budget,
    tcp: SeededMap<SocketId, TcpSocket>,
    flows: SeededMap<Flow, SocketId>,
    orphans: SeededSet<SocketId>,
    listeners: SeededMap<SocketId, Listener>,
    listening: Bindings,
    udp: SeededMap<SocketId, UdpSocket>,
    udp_bound: Bindings,
    echo_bound: Bindings,
    udp_blocked: VecDeque<SocketId>,
    pings: ping::Pings,
    time_wait: TimeWait,
    requests: requests::Requests,
    ports: EphemeralPorts,
    /// TCP sockets that may have something to send.
    turns: Turns,
    /// One of these has ourselves at its other end.
    talks_to_itself: bool,
    share: Share,
    timers: Timers<TimerKey>,
    events: VecDeque<SocketEvent>,
    reports: reports::RateLimit,
    stats: HostStats,
    arrival: Arrival,
    next_id: u32,
}

impl Host {
    /// A host without addresses (but the loopback ones), whose link is up.
    pub fn new(config: HostConfig, now: Instant) -> Self {
        let mut rng = ChaCha12Rng::from_seed(config.seed);
        let mut secret = [0; 32];
        rng.fill_bytes(&mut secret);
        let fragmenter = config.fragments.then(|| Fragmenter::new(rng.next_u64() as u32));
        let mut queue = TxQueue::new(config.queue_octets, fragmenter);
        let mtu = clamp_mtu(config.mtu);
        let engine = Engine::new(mtu, rng.next_u64(), STANDS_IN && config.stands_in, &mut queue, now);
        let mut host = Self {
            engine,
            queue,
            addresses: Vec::new(),
            budget: Budget::default(),
            tcp: SeededMap::with_hasher(FixedState::with_seed(rng.next_u64())),
            flows: SeededMap::with_hasher(FixedState::with_seed(rng.next_u64())),
            orphans: SeededSet::default(),
            listeners: SeededMap::default(),
            listening: Bindings::default(),
            udp: SeededMap::default(),
            udp_bound: Bindings::default(),
            echo_bound: Bindings::default(),
            udp_blocked: VecDeque::new(),
            pings: ping::Pings::new(rng.next_u32()),
            time_wait: TimeWait::new(rng.next_u64()),
            requests: requests::Requests::new(rng.next_u64()),
            ports: EphemeralPorts::new(secret),
            turns: Turns::default(),
            talks_to_itself: false,
            share: egress::SHARE,
            timers: Timers::new(),
            events: VecDeque::new(),
            reports: reports::RateLimit::new(),
            stats: HostStats::default(),
            arrival: Arrival::default(),
            next_id: 1,
            config: HostConfig { mtu, ..config },
        };
        host.install_addresses();
        host
    }

    /// Replaces the addresses; beyond six, the rest is ignored, as is what is not unicast. TCP connections on an
    /// address that vanishes end with [`CloseReason::AddressLost`], sockets bound to it report it.
    pub fn set_addresses(&mut self, addresses: &[(IpAddr, u8)], now: Instant) {
        let fit = addresses.iter().filter(|(address, _)| packet::is_unicast(*address) && !address.is_loopback());
        self.addresses = fit.copied().take(MAX_ADDRESSES).collect();
        self.install_addresses();
        let lost = sorted(self.tcp.iter().filter(|(_, socket)| !self.is_own(socket.flow.local.ip())));
        self.end_connections(lost, CloseReason::AddressLost, false, now);
        let gone = |address: IpAddr| !address.is_unspecified() && !self.is_own(address);
        let listeners = sorted(self.listeners.iter().filter(|(_, it)| gone(it.binding.address)));
        let bound = sorted(self.udp.iter().filter(|(_, it)| gone(it.binding.address)));
        self.events.extend(listeners.into_iter().map(|id| SocketEvent::TcpClosed(id, CloseReason::AddressLost)));
        self.fail_udp(bound, UdpError::AddressLost);
    }

    fn install_addresses(&mut self) {
        let own: Vec<IpAddr> = self.addresses.iter().map(|(own, _)| *own).chain([LOOPBACK_V4, LOOPBACK_V6]).collect();
        self.engine.set_addresses(&own);
        self.queue.set_own(own);
    }

    /// Everything that depends on the path behind the tunnel ends: connections, pings and what waits to be sent. UDP
    /// sockets are told and go on, listeners go on.
    pub fn drop_flows(&mut self, reason: CloseReason, now: Instant) {
        self.queue.clear();
        self.time_wait.clear();
        let remote = |flow: &Flow| !self.is_own(flow.remote.ip());
        let all = sorted(self.tcp.iter().filter(|(_, socket)| remote(&socket.flow)));
        self.end_connections(all, reason, false, now);
        let closed = reason == CloseReason::TunnelClosed;
        self.fail_pings(if closed { PingError::TunnelClosed } else { PingError::AddressLost });
        let bound = sorted(self.udp.iter());
        self.fail_udp(bound, if closed { UdpError::TunnelClosed } else { UdpError::AddressLost });
    }

    /// Ends the connections that leave this host, as the tunnel is about to close, and tells their peers by a RST.
    pub(crate) fn reset_flows(&mut self, now: Instant) {
        let all = sorted(self.tcp.iter().filter(|(_, it)| !self.is_own(it.flow.remote.ip())));
        self.end_connections(all, CloseReason::TunnelClosed, true, now);
    }

    fn end_connections(&mut self, ids: Vec<SocketId>, reason: CloseReason, tell: bool, now: Instant) {
        for id in ids {
            self.end_tcp(id, reason, tell, now);
        }
    }

    fn fail_udp(&mut self, ids: Vec<SocketId>, error: UdpError) {
        for id in ids {
            let Some(socket) = self.udp.get(&id) else { continue };
            let nobody = SocketAddr::new(if socket.binding.address.is_ipv4() { ANY_V4 } else { ANY_V6 }, 0);
            self.events.push_back(SocketEvent::UdpError(id, error, socket.binding.remote.unwrap_or(nobody)));
        }
    }

    /// The addresses with their prefix lengths, without the loopback ones.
    pub fn addresses(&self) -> &[(IpAddr, u8)] {
        &self.addresses
    }

    /// Where ephemeral ports are taken from (RFC 6056); empty: 49152-65535.
    pub fn set_port_ranges(&mut self, ipv4: &[RangeInclusive<u16>], ipv6: &[RangeInclusive<u16>]) {
        self.ports.set_ranges(ipv4, ipv6);
    }

    /// Changes the largest packet, in octets; 1,280 to 65,535 are possible. Connections follow from their next segment
    /// on.
    pub fn set_mtu(&mut self, mtu: usize, _now: Instant) {
        let mtu = clamp_mtu(mtu);
        if mtu != self.config.mtu {
            self.config.mtu = mtu;
            self.engine.set_mtu(mtu);
        }
    }

    /// How many octets shall be taken at once, so that little waits where it cannot be overtaken: packets become as short
    /// as that takes, and so do turns. At most what the configuration says.
    pub(crate) fn set_pace(&mut self, octets: usize) {
        self.queue.set_limit(octets.min(self.config.queue_octets));
        self.engine.limit_packets(octets / 2);
        self.share = egress::SHARE.within(octets / 2);
    }

    /// A port of the ephemeral ranges, by a random number of the caller's.
    pub(crate) fn random_port(&self, ipv4: bool, random: u32) -> u16 {
        self.ports.at(ipv4, random)
    }

    /// Says whether packets can leave. While the link is down nothing is sent (but to ourselves) and no peer counts as
    /// silent. When it
    /// comes back every connection has its turn at once, so that none sits out a retransmission timer.
    pub fn set_link(&mut self, up: bool, now: Instant) {
        if up && !self.queue.link_up() {
            for id in sorted(self.tcp.iter()) {
                if let Some(socket) = self.tcp.get_mut(&id) {
                    socket.heard(now);
                }
                self.mark_dirty(id);
            }
        }
        self.queue.set_link(up);
        self.wake_udp_writers();
    }

    /// The packets that follow lie in this message, until [`end_message`](Self::end_message):
    /// [`tcp_arrival`](Self::tcp_arrival) will find them there.
    pub fn begin_message(&mut self, message: &[u8]) {
        self.arrival.begin(message);
    }

    /// The packets that follow lie elsewhere.
    pub fn end_message(&mut self) {
        self.arrival.end();
    }

    /// The next event.
    pub fn poll_event(&mut self) -> Option<SocketEvent> {
        self.events.pop_front()
    }

    /// Counts since the host was made.
    pub fn stats(&self) -> HostStats {
        let buffer_octets = self.budget.reserved() as u64;
        HostStats { replies_dropped: self.queue.dropped(), buffer_octets, ..self.stats }
    }

    /// The local address of a connection, a listener or a UDP socket.
    pub fn local_address(&self, id: SocketId) -> Option<SocketAddr> {
        let binding = |binding: crate::demux::Binding| SocketAddr::new(binding.address, binding.port);
        let tcp = self.owned(id).map(|socket| socket.flow.local);
        let listener = || self.listeners.get(&id).map(|listener| binding(listener.binding));
        let udp = || self.udp.get(&id).map(|socket| binding(socket.binding));
        tcp.or_else(listener).or_else(udp)
    }

    /// Forgets a socket of any kind. A connection ends gracefully and lingers inside; where received data was not
    /// read it is reset (RFC 9293 section 3.10.4, RFC 1122 section 4.2.2.13). What a listener has not handed out is
    /// reset.
    pub fn close(&mut self, id: SocketId, now: Instant) {
        if self.owned(id).is_some() {
            self.close_tcp(id, now);
        } else if let Some(listener) = self.listeners.remove(&id) {
            self.listening.remove(listener.binding.port, id);
            self.close_pending(id, now);
        } else if let Some(socket) = self.udp.remove(&id) {
            self.bound_mut(socket.content).remove(socket.binding.port, id);
        }
    }

    /// Whether an address is this host's: loopback, or one that it was given.
    pub(crate) fn is_own(&self, address: IpAddr) -> bool {
        address == LOOPBACK_V4 || address == LOOPBACK_V6 || self.addresses.iter().any(|(own, _)| *own == address)
    }

    /// True where the host has this address, or stands in for it.
    fn is_for_us(&self, address: IpAddr) -> bool {
        self.is_own(address) || (self.stands_in() && packet::is_unicast(address))
    }

    /// The address from which `remote` is spoken to: itself where it is ours, else the first of its family.
    fn source_for(&self, remote: IpAddr) -> Option<IpAddr> {
        if self.is_own(remote) {
            return Some(remote);
        }
        self.addresses.iter().map(|(own, _)| *own).find(|own| own.is_ipv4() == remote.is_ipv4())
    }

    fn has_room_for_socket(&self) -> bool {
        let connections = self.tcp.len() - self.orphans.len() + self.requests.len();
        connections + self.listeners.len() + self.udp.len() < self.config.max_sockets
    }

    /// An id that no socket has, for one that is kept elsewhere.
    pub(crate) fn reserve_id(&mut self) -> SocketId {
        self.new_id()
    }

    /// Whether it takes what is for others as its own.
    fn stands_in(&self) -> bool {
        STANDS_IN && self.config.stands_in
    }

    fn new_id(&mut self) -> SocketId {
        loop {
            let id = SocketId::from_u32(self.next_id);
            self.next_id = self.next_id.wrapping_add(1);
            let taken = self.tcp.contains_key(&id) || self.listeners.contains_key(&id) || self.udp.contains_key(&id);
            let is_request = self.stands_in() && self.requests.contains(id);
            if !taken && !is_request {
                return id;
            }
        }
    }
}

/// The sockets in the order of their making, whatever the hash table's.
fn sorted<'a, S: 'a>(sockets: impl Iterator<Item = (&'a SocketId, &'a S)>) -> Vec<SocketId> {
    // The sort of slices is five times as much code.
    sockets.map(|(id, _)| *id).collect::<BinaryHeap<_>>().into_sorted_vec()
}

/// Below 1280 octets there is no IPv6 (RFC 8200 section 5); above 65,535 there is no packet.
fn clamp_mtu(mtu: usize) -> usize {
    mtu.clamp(1280, webtun_wire::MAX_PACKET_LEN)
}

const ANY_V4: IpAddr = IpAddr::V4(Ipv4Addr::UNSPECIFIED);
const ANY_V6: IpAddr = IpAddr::V6(Ipv6Addr::UNSPECIFIED);

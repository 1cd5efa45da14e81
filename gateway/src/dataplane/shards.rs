//! One gateway of several that serve together: each has its own sessions, addresses or ports, and shares no
//! table with the others. What one has for a session of another leaves as a [`Transfer`], by the shell's bounded channel.
//!
//! A shard knows by arithmetic, and not by asking, whose an address is: inner addresses lie in equal slices of the pool,
//! external ones, or the ports at one, are the shard's by configuration. In a transfer, external addresses go by the name
//! that the outside knows them by, since the same one can have a name of its own at each shard's device.

use core::net::IpAddr;
use core::ops::RangeInclusive;
use ipnet::Ipv6Net;
use std::collections::BTreeSet;
use std::sync::Arc;
use webtun_wire::Instant;

use super::lease::Slices;
use super::packet::{Headers, Packet, Transport};
use super::policy::Subject;
use super::{ConfigError, DropReason, ExternalAddress, Gateway, GatewayConfig, Map, SessionId};

/// What one shard has on the outside.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Slice {
    /// Addresses that its sessions appear from.
    pub external: Vec<ExternalAddress>,
    /// Its ports at each of them, from 1024 on.
    pub ports: RangeInclusive<u16>,
}

impl Slice {
    fn overlaps(&self, other: &Self) -> bool {
        let is_shared = |it: &ExternalAddress| other.external.iter().any(|theirs| theirs.announced == it.announced);
        let ports_meet = self.ports.start() <= other.ports.end() && other.ports.start() <= self.ports.end();
        ports_meet && self.external.iter().any(is_shared)
    }
}

/// A gateway's place among others.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ShardConfig {
    /// Which of `slices` is this one's.
    pub index: usize,
    /// Those of all shards; empty where there is one gateway alone.
    pub slices: Vec<Slice>,
}

impl ShardConfig {
    /// How many shards there are, at least one.
    pub fn count(&self) -> usize {
        self.slices.len().max(1)
    }

    /// No endpoint of the outside belongs to two shards, and each has a few inner addresses.
    pub(super) fn validate(&self, config: &GatewayConfig) -> Result<(), ConfigError> {
        let is_alone = self.slices.is_empty() && self.index == 0;
        let is_own = self.slices.get(self.index).is_some_and(|slice| {
            slice.external == config.external && slice.ports == (config.nat.first_port..=config.nat.last_port)
        });
        let has_room = self.slices.len() <= MAX_SHARDS && (self.slices.len() < 2 || Slices::new(config).bits() >= 3);
        let others = |index: usize| self.slices.iter().skip(index + 1);
        let overlaps = |(index, slice): (usize, &Slice)| others(index).any(|other| slice.overlaps(other));
        let is_wrong = !has_room || self.slices.iter().enumerate().any(overlaps);
        if (is_alone || is_own) && !is_wrong { Ok(()) } else { Err(ConfigError::Shards) }
    }
}

/// Shards at most: the number has to fit the first octet of a session's identity.
pub const MAX_SHARDS: usize = 64;

impl GatewayConfig {
    /// The configurations of shards that together are this gateway, each with its slice in place of `external` and the
    /// range of ports.
    #[must_use]
    pub fn shards(&self, slices: &[Slice]) -> Vec<Self> {
        let shard = |(index, slice): (usize, &Slice)| {
            let mut config = self.clone();
            config.external.clone_from(&slice.external);
            (config.nat.first_port, config.nat.last_port) = (*slice.ports.start(), *slice.ports.end());
            config.shard = ShardConfig { index, slices: slices.to_vec() };
            config
        };
        slices.iter().enumerate().map(shard).collect()
    }

    /// The part of [`external_prefix`](Self::external_prefix) that the sessions of the shard of this number appear from,
    /// where they have addresses of their own.
    pub fn shard_prefix(&self, index: usize) -> Option<Ipv6Net> {
        let slices = Slices::new(self);
        super::nat::to_external_prefix(self, slices.first_v6(index), slices.bits())
    }
}

/// Who has what, for all shards.
#[derive(Debug)]
pub(super) struct Shards {
    index: usize,
    count: usize,
    inner: Slices,
    /// By the address as the outside knows it.
    by_announced: Map<IpAddr, Vec<(usize, RangeInclusive<u16>)>>,
    /// Those of the other shards, by both names, as far as they are not also this one's.
    external: BTreeSet<IpAddr>,
}

impl Shards {
    pub(super) fn new(
        config: &GatewayConfig,
        mut by_announced: Map<IpAddr, Vec<(usize, RangeInclusive<u16>)>>,
    ) -> Self {
        let ShardConfig { index, slices } = &config.shard;
        let mut external = BTreeSet::new();
        for (number, slice) in slices.iter().enumerate() {
            for address in &slice.external {
                by_announced.entry(address.announced).or_default().push((number, slice.ports.clone()));
            }
            if number != *index {
                let is_ours = |name: IpAddr| config.external.iter().any(|own| own.announced == name);
                let names = slice.external.iter().flat_map(|it| [it.address, it.announced]);
                external.extend(names.filter(|name| !is_ours(*name)));
            }
        }
        Self { index: *index, count: config.shard.count(), inner: Slices::new(config), by_announced, external }
    }

    pub(super) fn index(&self) -> usize {
        self.index
    }

    pub(super) fn count(&self) -> usize {
        self.count
    }

    /// Whether this address is another shard's alone.
    pub(super) fn is_external(&self, address: IpAddr) -> bool {
        self.external.contains(&address)
    }

    /// The other shard that serves this inner address.
    fn other_by_inner(&self, address: IpAddr) -> Option<usize> {
        if self.count == 1 {
            return None;
        }
        self.inner.index_of(address).filter(|index| *index != self.index)
    }

    /// The other shard that has this port at an announced address.
    fn other_by_announced(&self, address: IpAddr, port: u16) -> Option<usize> {
        if self.count == 1 {
            return None;
        }
        let owners = self.by_announced.get(&address)?;
        let owner = owners.iter().find(|(_, ports)| ports.contains(&port)).or(owners.first());
        owner.map(|(index, _)| *index).filter(|index| *index != self.index)
    }
}

/// A packet on its way from one shard to another.
#[derive(Debug)]
pub struct Transfer {
    to: usize,
    kind: Kind,
    packet: Packet,
}

#[derive(Debug)]
enum Kind {
    /// Translated by the sender's NAT; external addresses as announced.
    Hairpin,
    /// As the session `from` has sent it to what may be a neighbour's address.
    Neighbour { from: SessionId, network: Arc<str>, group: Option<Arc<str>> },
    /// Back to the session that has sent it.
    Refused { from: SessionId, reason: DropReason },
}

impl Transfer {
    /// The number of the shard that it is for.
    pub fn to(&self) -> usize {
        self.to
    }
}

/// Where a packet to an external address of our own turns round.
#[derive(Clone, Copy, Debug)]
pub(super) struct Turn {
    /// The destination as this shard's NAT calls it.
    pub address: IpAddr,
    /// The shard whose it is, where that is another one.
    pub shard: Option<usize>,
}

impl Gateway {
    /// Whether packets at the egress, of this shard or another, carry this address as a session's.
    pub(super) fn is_external(&self, address: IpAddr) -> bool {
        self.nat.is_external(address) || self.shards.is_external(address)
    }

    /// The next packet for another shard, whose [`Gateway::process_transfer`] takes it.
    pub fn poll_transfer(&mut self) -> Option<Transfer> {
        self.transfers.pop_front()
    }

    /// A packet from another shard.
    pub fn process_transfer(&mut self, transfer: Transfer, now: Instant) {
        let Transfer { kind, packet, .. } = transfer;
        match kind {
            Kind::Hairpin => self.take_hairpin(packet, now),
            Kind::Neighbour { from, network, group } => {
                self.take_neighbour(from, &network, group.as_deref(), packet, now)
            }
            Kind::Refused { from, reason } => self.refuse(from, &packet, reason, now),
        }
        self.refresh_gauges();
    }

    /// The channel to another shard was full: the packet is lost, as in a network.
    pub fn lose_transfer(&mut self, _transfer: Transfer) {
        self.stats.count_drop(DropReason::ShardFull);
    }

    /// Where a packet to one of our own external addresses goes.
    pub(super) fn turn(&self, packet: &Packet) -> Option<Turn> {
        let destination = packet.headers.destination;
        let own = self.nat.by_announced(destination);
        let other = match self.nat.internal_by_prefix(destination) {
            Some(inner) => self.shards.other_by_inner(inner),
            None => self.shards.other_by_announced(destination, steering_port(packet)),
        };
        if own.is_none() && other.is_none() {
            return None;
        }
        Some(Turn { address: own.unwrap_or(destination), shard: other })
    }

    /// Hands a packet that the NAT has translated to the shard that has its destination.
    pub(super) fn send_hairpin(&mut self, to: usize, mut packet: Packet) {
        let nat = &self.nat;
        let result = super::nat::rename(&mut packet, |address| nat.announced_of(address));
        match result {
            Ok(()) => self.transfer(to, Kind::Hairpin, packet),
            Err(reason) => self.stats.count_drop(reason),
        }
    }

    fn take_hairpin(&mut self, mut packet: Packet, now: Instant) {
        let nat = &self.nat;
        match super::nat::rename(&mut packet, |address| nat.by_announced(address)) {
            Ok(()) => self.hairpin(&mut packet, now),
            Err(reason) => self.stats.count_drop(reason),
        }
    }

    /// The shard to ask about a destination that may be a neighbour's of this session.
    pub(super) fn neighbouring_shard(&self, from: SessionId, address: IpAddr) -> Option<usize> {
        let shard = self.shards.other_by_inner(address)?;
        self.sessions.get(&from)?.peer.network.as_ref().map(|_| shard)
    }

    /// Hands a packet over as its session has sent it. Only the other shard knows whether there is a neighbour.
    pub(super) fn send_to_neighbouring(&mut self, from: SessionId, to: usize, packet: Packet) {
        let Some(peer) = self.sessions.get(&from).map(|session| &session.peer) else { return };
        let (Some(network), group) = (peer.network.clone(), peer.group.clone()) else { return };
        self.transfer(to, Kind::Neighbour { from, network, group }, packet);
    }

    fn take_neighbour(
        &mut self,
        from: SessionId,
        network: &str,
        group: Option<&str>,
        mut packet: Packet,
        now: Instant,
    ) {
        match self.admit_neighbour(network, group, &packet) {
            Ok(to) => {
                packet.decrement_hop_limit();
                self.deliver_to_neighbour(to, &mut packet, now);
            }
            Err(reason) => self.transfer(from.shard(self.shards.count()), Kind::Refused { from, reason }, packet),
        }
    }

    fn admit_neighbour(&self, network: &str, group: Option<&str>, packet: &Packet) -> Result<SessionId, DropReason> {
        let to = self.by_inner.get(&packet.headers.destination).copied();
        let is_near = |id: &SessionId| {
            self.sessions.get(id).is_some_and(|session| session.peer.network.as_deref() == Some(network))
        };
        let to = to.filter(is_near).ok_or(DropReason::Unroutable)?;
        self.check_neighbour(Subject { group, ..self.subject(to, packet) }, packet)?;
        Ok(to)
    }

    fn transfer(&mut self, to: usize, kind: Kind, mut packet: Packet) {
        self.stats.shards.count(packet.octets.len());
        packet.detach();
        self.transfers.push_back(Transfer { to, kind, packet });
    }
}

/// The port by which a packet to an external address finds its shard: an error's is that of what it quotes.
fn steering_port(packet: &Packet) -> u16 {
    if !matches!(packet.headers.transport, Transport::IcmpError { .. }) {
        return packet.ports().1;
    }
    let quoted = packet.octets.get(packet.headers.payload + super::nat::ERROR_HEADER..).unwrap_or_default();
    Headers::parse_quoted(quoted).map_or(0, |quoted| quoted.ports().0)
}

/// The number in the identity of a session, by which a resumption finds its shard.
pub(super) fn shard_of_identity(identity: &[u8; 16], count: usize) -> usize {
    usize::from(identity[0]) % count.max(1)
}

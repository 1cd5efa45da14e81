//! A session as the NAT knows it: a subscriber (RFC 6888 section 2).

use core::net::IpAddr;
use rand::Rng;
use std::sync::Arc;
use webtun_wire::Instant;

use super::ports::{AddressIndex, least_used};
use super::{MappingIndex, NatTable};
use crate::dataplane::lease::Lease;
use crate::dataplane::{Allowance, DropReason, Filtering, Map, Peer, SessionId, map};

/// What the table knows of a session.
#[derive(Debug)]
pub(super) struct Subscriber {
    pub peer: Arc<str>,
    pub limits: Allowance,
    /// Of all sessions of the peer.
    pub total: Allowance,
    pub filtering: Filtering,
    /// Inner addresses, per family.
    pub inner: [IpAddr; 2],
    /// The external address that the session is paired with, per family (RFC 4787 REQ-2).
    pub paired: [Option<AddressIndex>; 2],
    /// The numbers of its blocks, per family.
    pub blocks: [Vec<u16>; 2],
    pub mappings: Vec<MappingIndex>,
    pub flows: usize,
    pub mapped_ports: usize,
    pub blocks_changed: bool,
}

/// What all sessions of one peer have.
#[derive(Debug, Default)]
pub(super) struct Totals {
    sessions: usize,
    pub mappings: usize,
    pub flows: usize,
    pub mapped_ports: usize,
    /// Per family.
    pub blocks: [usize; 2],
}

/// The sessions, and what their peers have together. Whoever changes a session's part of it changes the peer's with it.
#[derive(Debug)]
pub(super) struct Subscribers {
    by_session: Map<SessionId, Subscriber>,
    by_peer: Map<Arc<str>, Totals>,
}

impl Subscribers {
    pub(super) fn new(rng: &mut impl Rng) -> Self {
        Self { by_session: map(rng), by_peer: map(rng) }
    }

    pub(super) fn get(&self, session: SessionId) -> Option<&Subscriber> {
        self.by_session.get(&session)
    }

    pub(super) fn get_mut(&mut self, session: SessionId) -> Option<&mut Subscriber> {
        self.by_session.get_mut(&session)
    }

    /// A session with what its peer has.
    pub(super) fn both_mut(&mut self, session: SessionId) -> Option<(&mut Subscriber, &mut Totals)> {
        let subscriber = self.by_session.get_mut(&session)?;
        let totals = self.by_peer.get_mut(&subscriber.peer)?;
        Some((subscriber, totals))
    }

    fn insert(&mut self, session: SessionId, subscriber: Subscriber) {
        self.by_peer.entry(subscriber.peer.clone()).or_default().sessions += 1;
        self.by_session.insert(session, subscriber);
    }

    /// Forgets a session, which has given everything back.
    fn remove(&mut self, session: SessionId) {
        let Some(subscriber) = self.by_session.remove(&session) else { return };
        let Some(totals) = self.by_peer.get_mut(&subscriber.peer) else { return };
        totals.sessions -= 1;
        if totals.sessions == 0 {
            self.by_peer.remove(&subscriber.peer);
        }
    }
}

/// The place of an address in per-family arrays.
pub(super) fn family(address: IpAddr) -> usize {
    usize::from(address.is_ipv6())
}

impl NatTable {
    /// Whether a session's peer may have one more of something with all its sessions.
    pub(super) fn has_total_room(
        &self,
        session: SessionId,
        limit: impl Fn(&Allowance) -> usize,
        used: impl Fn(&Totals) -> usize,
    ) -> bool {
        let Some(asking) = self.subscribers.get(session) else { return false };
        let totals = self.subscribers.by_peer.get(&asking.peer);
        totals.is_some_and(|totals| used(totals) < limit(&asking.total))
    }

    /// Whether a session's peer may have one more flow.
    pub(in crate::dataplane) fn has_room_for_flow(&self, session: SessionId) -> bool {
        self.has_total_room(session, |total| total.flows, |totals| totals.flows)
    }

    /// Gives a new session its first block in each family that there is an address for, with the same numbers in both
    /// where that is possible.
    ///
    /// # Errors
    ///
    /// [`DropReason::NoPorts`] where a family has addresses but no free block.
    pub(in crate::dataplane) fn open(
        &mut self,
        session: SessionId,
        peer: &Peer,
        lease: &Lease,
        now: Instant,
    ) -> Result<(), DropReason> {
        self.free_rested(now);
        for pool in &mut self.pools {
            pool.wake_blocks(now);
        }
        let paired = [least_used(&self.pools, true), least_used(&self.pools, false)];
        if paired.into_iter().flatten().any(|address| self.pools[usize::from(address)].spare_blocks() == (0, 0)) {
            return Err(DropReason::NoPorts);
        }
        let subscriber = Subscriber {
            peer: peer.name.clone(),
            limits: peer.limits.each,
            total: peer.limits.total,
            filtering: peer.filtering.unwrap_or(self.config.filtering),
            inner: [lease.v4.into(), lease.v6.into()],
            paired,
            blocks: [Vec::new(), Vec::new()],
            mappings: Vec::new(),
            flows: 0,
            mapped_ports: 0,
            blocks_changed: false,
        };
        self.subscribers.insert(session, subscriber);
        for (family, address) in paired.iter().enumerate() {
            if address.is_some() && !self.add_block(session, family, now) {
                self.close(session, now);
                return Err(DropReason::NoPorts);
            }
        }
        self.take_blocks_changed(session);
        Ok(())
    }

    /// Forgets a session and all its mappings. Its blocks rest as a whole.
    pub(in crate::dataplane) fn close(&mut self, session: SessionId, now: Instant) {
        let indices = self.subscribers.get(session).map(|s| s.mappings.clone()).unwrap_or_default();
        for index in indices {
            let needs_rest = self.mapping(index).is_some_and(|mapping| mapping.is_single);
            self.remove(index, needs_rest, now);
        }
        let blocks = self.subscribers.get(session).map(|s| s.blocks.clone()).unwrap_or_default();
        for (family, numbers) in blocks.into_iter().enumerate() {
            for number in numbers {
                self.return_block(session, family, number, now);
            }
        }
        self.subscribers.remove(session);
        self.sweep();
    }

    /// True once after each change of the session's blocks.
    pub(in crate::dataplane) fn take_blocks_changed(&mut self, session: SessionId) -> bool {
        self.subscribers.get_mut(session).is_some_and(|s| core::mem::take(&mut s.blocks_changed))
    }

    /// How many mappings a session has.
    pub(in crate::dataplane) fn session_mappings(&self, session: SessionId) -> usize {
        self.subscribers.get(session).map_or(0, |s| s.mappings.len())
    }

    /// How many remote endpoints they track.
    pub(in crate::dataplane) fn session_flows(&self, session: SessionId) -> usize {
        self.subscribers.get(session).map_or(0, |s| s.flows)
    }
}

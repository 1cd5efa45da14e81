//! Which external port a mapping gets, and how blocks come to sessions and go back.

use core::net::IpAddr;
use webtun_wire::{Instant, PortBlock};

use super::hold::Tenant;
use super::ports::AddressIndex;
use super::prefix::BY_PREFIX;
use super::{DropReason, Event, ExternalPort, Mapping, NatTable, Protocol, SessionId, family};

/// An external port that has been set aside for a mapping.
pub(super) struct Port {
    pub address: AddressIndex,
    pub number: u16,
    pub is_single: bool,
}

impl NatTable {
    /// The port asked for, otherwise the internal port itself where it is the session's, otherwise one of the session's
    /// ports of the same parity, otherwise any of them, otherwise one of a new block.
    pub(super) fn take_port(
        &mut self,
        protocol: Protocol,
        tenant: Tenant,
        wanted: Option<u16>,
        now: Instant,
    ) -> Result<Port, DropReason> {
        let (session, internal) = (tenant.session, tenant.internal);
        if let (IpAddr::V6(v6), true) = (internal.0, self.prefix.is_some()) {
            self.external_by_prefix(v6).ok_or(DropReason::NoExternalAddress)?;
            return Ok(Port { address: BY_PREFIX, number: internal.1, is_single: false });
        }
        self.free_rested(now);
        let family = family(internal.0);
        let subscriber = self.subscribers.get(session).ok_or(DropReason::NoSession)?;
        let address = subscriber.paired[family].ok_or(DropReason::NoExternalAddress)?;
        let exact = wanted.into_iter().chain([internal.1]).find_map(|number| {
            let is_single = self.take_exact((protocol, address, number), tenant, wanted.is_some(), now)?;
            Some(Port { address, number, is_single })
        });
        if let Some(port) = exact {
            return Ok(port);
        }
        if let Some(number) = self.take_any(protocol, tenant, address) {
            return Ok(Port { address, number, is_single: false });
        }
        if !self.add_block(session, family, now) {
            return Err(DropReason::NoPorts);
        }
        let number = self.take_any(protocol, tenant, address).ok_or(DropReason::NoPorts)?;
        Ok(Port { address, number, is_single: false })
    }

    /// Takes this very port: of the session's blocks, or, where it was asked for, of none. `Some(true)`: of none.
    fn take_exact(&mut self, port: ExternalPort, tenant: Tenant, is_wanted: bool, now: Instant) -> Option<bool> {
        let (protocol, address, number) = port;
        let pool = self.pools.get_mut(usize::from(address))?;
        if let Some(block) = pool.block_mut(number) {
            let is_own = block.owner == tenant.session;
            let is_taken = is_own && (block.take_port(protocol, number) || self.hold.reclaim(port, tenant));
            return is_taken.then_some(false);
        }
        let is_taken = is_wanted
            && match self.hold.contains(port) {
                true => self.hold.reclaim(port, tenant),
                false => self.mappings.by_external(port).is_none() && pool.take_single(number, now),
            };
        is_taken.then_some(true)
    }

    /// Takes some port of the session's blocks.
    fn take_any(&mut self, protocol: Protocol, tenant: Tenant, address: AddressIndex) -> Option<u16> {
        let blocks = &self.subscribers.get(tenant.session)?.blocks[family(tenant.internal.0)];
        let pool = self.pools.get_mut(usize::from(address))?;
        for parity in [Some(tenant.internal.1), None] {
            for number in blocks {
                let block = pool.block_by_number_mut(*number);
                if let Some(port) = block.and_then(|block| block.take_any(protocol, parity, &mut self.rng)) {
                    return Some(port);
                }
            }
        }
        None
    }

    /// A mapping lies in its block from now on.
    pub(super) fn occupy(&mut self, port: &Port) {
        let pool = self.pools.get_mut(usize::from(port.address)).filter(|_| !port.is_single);
        if let Some(block) = pool.and_then(|pool| pool.block_mut(port.number)) {
            block.mappings += 1;
            block.was_used = true;
            block.idle_at = None;
        }
    }

    /// The port of a mapping that is gone: it is free after its rest, or at once where nothing can have passed by it. A
    /// block with nothing else in it begins to wait for its return.
    pub(super) fn release(&mut self, mapping: &Mapping, needs_rest: bool, now: Instant) {
        let port = mapping.external_port();
        if needs_rest {
            self.hold.hold(port, Tenant { session: mapping.session, internal: mapping.internal() }, now);
        } else {
            self.free(port);
        }
        self.free_rested(now);
        let Some(pool) = self.pools.get_mut(usize::from(mapping.address)) else { return };
        let Some(block) = pool.block_mut(mapping.port).filter(|_| !mapping.is_single) else { return };
        block.mappings = block.mappings.saturating_sub(1);
        if block.mappings == 0 {
            let at = now + self.config.block_idle;
            block.idle_at = Some(at);
            self.block_timers.set(&mut block.wake, (mapping.address, block.number), at);
        }
    }

    pub(super) fn free_rested(&mut self, now: Instant) {
        while let Some(port) = self.hold.next_free(now) {
            self.free(port);
        }
    }

    fn free(&mut self, (protocol, address, number): ExternalPort) {
        let Some(pool) = self.pools.get_mut(usize::from(address)) else { return };
        match pool.block_mut(number) {
            Some(block) => block.free_port(protocol, number),
            None => pool.return_single(number),
        }
    }

    /// Gives a session another block of ports, within its limit. The first one of IPv6 follows that of IPv4.
    pub(super) fn add_block(&mut self, session: SessionId, family: usize, now: Instant) -> bool {
        let has_total = self.has_total_room(session, |total| total.blocks, |totals| totals.blocks[family]);
        let Some((subscriber, totals)) = self.subscribers.both_mut(session) else { return false };
        let Some(address) = subscriber.paired[family] else { return false };
        let held = subscriber.blocks[family].len();
        // The first one comes with the session, whose number is limited.
        if held >= subscriber.limits.blocks || (held > 0 && !has_total) {
            return false;
        }
        let twin = subscriber.blocks[1 - family].get(subscriber.blocks[family].len()).copied();
        let Some(number) = self.pools[usize::from(address)].take_block(session, twin, now) else { return false };
        subscriber.blocks[family].push(number);
        totals.blocks[family] += 1;
        subscriber.blocks_changed = true;
        if let Some(block) = self.pools[usize::from(address)].block(number) {
            self.hold.forget(address, block.first..=block.first + (block.size - 1));
        }
        let (peer, inner) = (subscriber.peer.clone(), subscriber.inner[family]);
        let Some(block) = self.announced(address, number) else { return false };
        self.events.push_back(Event::BlockAssigned { id: session, peer, inner, block });
        true
    }

    /// Takes a block back from the session that has it.
    pub(super) fn return_block(&mut self, session: SessionId, family: usize, number: u16, now: Instant) {
        let Some((subscriber, totals)) = self.subscribers.both_mut(session) else { return };
        let Some(address) = subscriber.paired[family] else { return };
        let held = subscriber.blocks[family].len();
        subscriber.blocks[family].retain(|other| *other != number);
        totals.blocks[family] -= held - subscriber.blocks[family].len();
        subscriber.blocks_changed = true;
        let (peer, inner) = (subscriber.peer.clone(), subscriber.inner[family]);
        let Some(block) = self.announced(address, number) else { return };
        let rested = self.hold.rested(now);
        if let Some(mut gone) = self.pools[usize::from(address)].return_block(number, rested) {
            self.block_timers.forget(&mut gone.wake);
            self.events.push_back(Event::BlockReturned { id: session, peer, inner, block });
        }
    }

    /// Takes back the blocks in which nothing has been mapped for long enough, but for the last one of a session and
    /// family, which its client draws its next ports from. Returns the sessions concerned.
    pub(in crate::dataplane) fn return_idle_blocks(&mut self, now: Instant) -> Vec<SessionId> {
        let mut sessions = Vec::new();
        while let Some((at, (address, number))) = self.block_timers.pop_due(now) {
            let Some(pool) = self.pools.get_mut(usize::from(address)) else { continue };
            let family = usize::from(pool.address.address.is_ipv6());
            let mut block = pool.block_by_number_mut(number);
            if !self.block_timers.fired(block.as_deref_mut().map(|block| &mut block.wake), at) {
                continue;
            }
            let Some((block, idle_at)) = block.and_then(|block| block.idle_at.map(|at| (block, at))) else { continue };
            if idle_at > now {
                self.block_timers.set(&mut block.wake, (address, number), idle_at);
                continue;
            }
            block.idle_at = None;
            let owner = block.owner;
            if self.subscribers.get(owner).is_some_and(|subscriber| subscriber.blocks[family].len() > 1) {
                self.return_block(owner, family, number, now);
                sessions.push(owner);
            }
        }
        let pools = &self.pools;
        self.block_timers.sweep(|(address, number), wake| {
            pools.get(usize::from(address)).and_then(|pool| pool.block(number)).is_some_and(|block| block.wake == wake)
        });
        sessions
    }

    /// The blocks of a session, as the outside sees them.
    pub(in crate::dataplane) fn blocks(&self, session: SessionId) -> Vec<PortBlock> {
        let Some(subscriber) = self.subscribers.get(session) else { return Vec::new() };
        let families = subscriber.paired.iter().zip(&subscriber.blocks);
        families
            .flat_map(|(address, blocks)| address.map(|address| blocks.iter().map(move |number| (address, *number))))
            .flatten()
            .filter_map(|(address, number)| self.announced(address, number))
            .collect()
    }

    fn announced(&self, address: AddressIndex, number: u16) -> Option<PortBlock> {
        let pool = self.pools.get(usize::from(address))?;
        let block = pool.block(number)?;
        Some(PortBlock { address: pool.address.announced, first: block.first, count: block.size })
    }

    /// The external address that a session is paired with, as the outside sees it.
    pub(super) fn paired_address(&self, session: SessionId, like: IpAddr) -> Option<IpAddr> {
        let address = self.subscribers.get(session)?.paired[family(like)]?;
        Some(self.pools[usize::from(address)].address.announced)
    }
}

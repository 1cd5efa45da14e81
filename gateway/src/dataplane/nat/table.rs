//! The life of a mapping: made, touched, pruned, removed.

use core::net::IpAddr;
use webtun_wire::Instant;

use super::ports::{AddressIndex, family};
use super::prefix::BY_PREFIX;
use super::{
    DropReason, EXACT_FLOWS, Event, Flow, Flows, Mapping, MappingIndex, NatTable, Origin, PRUNE_INTERVAL, Protocol,
    Remote, SessionId, TcpState, Wake,
};

/// An external port that has been set aside for a mapping.
struct Port {
    address: AddressIndex,
    number: u16,
    is_single: bool,
}

impl NatTable {
    /// Makes a mapping for an internal endpoint that has none. `wanted` is an external port asked for explicitly.
    pub(super) fn create(
        &mut self,
        session: SessionId,
        protocol: Protocol,
        internal: (IpAddr, u16),
        wanted: Option<u16>,
    ) -> Result<MappingIndex, DropReason> {
        let subscriber = self.subscribers.get(&session).ok_or(DropReason::NoSession)?;
        if subscriber.mappings.len() >= subscriber.limits.mappings {
            return Err(DropReason::MappingLimit);
        }
        let port = self.take_port(session, protocol, internal, wanted)?;
        let index = self.unused.pop().unwrap_or_else(|| {
            self.mappings.push(None);
            (self.mappings.len() - 1) as MappingIndex
        });
        let subscriber = self.subscribers.get_mut(&session).ok_or(DropReason::NoSession)?;
        let place = subscriber.mappings.len();
        subscriber.mappings.push(index);
        self.by_internal.insert((protocol, internal.0, internal.1), index);
        if port.address != BY_PREFIX {
            self.by_external.insert((protocol, port.address, port.number), index);
        }
        self.mappings[index as usize] = Some(Mapping {
            session,
            protocol,
            internal,
            address: port.address,
            port: port.number,
            flows: Flows::default(),
            explicit: None,
            is_single: port.is_single,
            wake: Wake::default(),
            place,
        });
        self.created += 1;
        Ok(index)
    }

    /// The port asked for, otherwise the internal port itself where it is the session's, otherwise one of the session's
    /// ports of the same parity, otherwise any of them, otherwise one of a new block.
    fn take_port(
        &mut self,
        session: SessionId,
        protocol: Protocol,
        internal: (IpAddr, u16),
        wanted: Option<u16>,
    ) -> Result<Port, DropReason> {
        if let (IpAddr::V6(v6), true) = (internal.0, self.prefix.is_some()) {
            self.external_by_prefix(v6).ok_or(DropReason::NoExternalAddress)?;
            return Ok(Port { address: BY_PREFIX, number: internal.1, is_single: false });
        }
        let family = family(internal.0);
        let subscriber = self.subscribers.get_mut(&session).ok_or(DropReason::NoSession)?;
        let address = subscriber.paired[family].ok_or(DropReason::NoExternalAddress)?;
        let blocks = &mut subscriber.blocks[family];
        for exact in wanted.into_iter().chain([internal.1]) {
            if let Some(block) = blocks.iter_mut().find(|block| block.contains(exact)) {
                if block.take_port(protocol, exact) {
                    return Ok(Port { address, number: exact, is_single: false });
                }
            } else if wanted == Some(exact)
                && !self.by_external.contains_key(&(protocol, address, exact))
                && self.pools[usize::from(address)].take_single(exact)
            {
                return Ok(Port { address, number: exact, is_single: true });
            }
        }
        for parity in [Some(internal.1), None] {
            if let Some(number) = blocks.iter_mut().find_map(|b| b.take_any(protocol, parity, &mut self.rng)) {
                return Ok(Port { address, number, is_single: false });
            }
        }
        if !self.add_block(session, family) {
            return Err(DropReason::NoPorts);
        }
        let blocks = self.subscribers.get_mut(&session).map(|s| &mut s.blocks[family]);
        let block = blocks.and_then(|blocks| blocks.last_mut()).ok_or(DropReason::NoPorts)?;
        let number = block
            .take_any(protocol, Some(internal.1), &mut self.rng)
            .or_else(|| block.take_any(protocol, None, &mut self.rng))
            .ok_or(DropReason::NoPorts)?;
        Ok(Port { address, number, is_single: false })
    }

    /// Gives a session another block of ports, within its limit. The first one of IPv6 follows that of IPv4.
    pub(super) fn add_block(&mut self, session: SessionId, family: usize) -> bool {
        let Some(subscriber) = self.subscribers.get_mut(&session) else { return false };
        let Some(address) = subscriber.paired[family] else { return false };
        if subscriber.blocks[family].len() >= subscriber.limits.blocks {
            return false;
        }
        let twin = subscriber.blocks[1 - family].get(subscriber.blocks[family].len()).map(|block| block.number);
        let Some(block) = self.pools[usize::from(address)].take_block(twin) else { return false };
        subscriber.blocks[family].push(block.clone());
        subscriber.blocks_changed = true;
        let block = self.announced(address, &block);
        self.events.push_back(Event::BlockAssigned { id: session, block });
        true
    }

    /// Notes a packet of a mapping: the flow is made or refreshed, its TCP state followed, the timer set.
    pub(super) fn touch(
        &mut self,
        index: MappingIndex,
        remote: Remote,
        from: Origin,
        flags: u8,
        now: Instant,
    ) -> Result<(), DropReason> {
        let (config, timers) = (&self.config, &mut self.timers);
        let slot = self.mappings.get_mut(index as usize).and_then(Option::as_mut);
        let mapping = slot.ok_or(DropReason::NoMapping)?;
        let key = mapping.key(config.filtering, remote);
        let lifetime = |state: TcpState| match mapping.protocol {
            Protocol::Tcp => state.timeout(&config.timeouts),
            Protocol::Udp => config.timeouts.udp,
            Protocol::Icmp => config.timeouts.icmp,
        };
        let expires = match mapping.flows.get_mut(key) {
            Some(flow) => {
                flow.state = if flow.expires > now { flow.state.after(from, flags) } else { TcpState::first(from) };
                flow.expires = now + lifetime(flow.state);
                flow.expires
            }
            None => {
                let subscriber = self.subscribers.get_mut(&mapping.session).ok_or(DropReason::NoSession)?;
                // What strangers begin, at mapped ports, must not keep the session from beginning anything itself.
                let limit = match from {
                    Origin::Inside => subscriber.limits.flows,
                    Origin::Outside => subscriber.limits.flows / 2,
                };
                if subscriber.flows >= limit {
                    return Err(DropReason::FlowLimit);
                }
                let state = TcpState::first(from);
                let expires = now + lifetime(state);
                subscriber.flows += 1;
                mapping.flows.insert(key, Flow { expires, state });
                expires
            }
        };
        timers.set(&mut mapping.wake, index, expires);
        Ok(())
    }

    /// Forgets what has expired of a mapping whose timer has fired, and the mapping where nothing is left.
    pub(super) fn prune(&mut self, index: MappingIndex, now: Instant) {
        let Some(mapping) = self.mappings.get_mut(index as usize).and_then(Option::as_mut) else { return };
        let pruned = mapping.flows.prune(now);
        let session = mapping.session;
        if let Some(subscriber) = self.subscribers.get_mut(&session) {
            subscriber.flows -= pruned;
        }
        if mapping.mapped_until().is_some_and(|until| until <= now) {
            self.unmap(index);
        }
        let Some(mapping) = self.mappings.get_mut(index as usize).and_then(Option::as_mut) else { return };
        let mut next = mapping.flows.next_expiry();
        if mapping.flows.len() > EXACT_FLOWS {
            next = next.map(|at| at.max(now + PRUNE_INTERVAL));
        }
        match next.into_iter().chain(mapping.mapped_until()).min() {
            Some(at) => self.timers.set(&mut mapping.wake, index, at),
            None => self.remove(index),
        }
    }

    /// Undoes [`NatTable::create`] where nothing came of it.
    pub(super) fn remove_unused(&mut self, index: MappingIndex) {
        if self.mapping(index).is_some_and(|m| m.flows.len() == 0 && m.explicit.is_none()) {
            self.remove(index);
        }
    }

    /// Removes a mapping, whatever it is used for.
    pub(super) fn remove(&mut self, index: MappingIndex) {
        self.unmap(index);
        let Some(mut mapping) = self.mappings.get_mut(index as usize).and_then(Option::take) else { return };
        self.timers.forget(&mut mapping.wake);
        self.unused.push(index);
        self.by_internal.remove(&(mapping.protocol, mapping.internal.0, mapping.internal.1));
        if mapping.address != BY_PREFIX {
            self.by_external.remove(&(mapping.protocol, mapping.address, mapping.port));
        }
        if mapping.is_single {
            self.pools[usize::from(mapping.address)].return_single(mapping.port);
        }
        let Some(subscriber) = self.subscribers.get_mut(&mapping.session) else { return };
        subscriber.flows -= mapping.flows.len();
        let blocks = &mut subscriber.blocks[family(mapping.internal.0)];
        if let Some(block) = blocks.iter_mut().find(|block| !mapping.is_single && block.contains(mapping.port)) {
            block.return_port(mapping.protocol, mapping.port);
        }
        subscriber.mappings.swap_remove(mapping.place);
        if let Some(moved) = subscriber.mappings.get(mapping.place).copied()
            && let Some(moved) = self.mapping_mut(moved)
        {
            moved.place = mapping.place;
        }
        self.sweep();
    }

    /// Drops timers of mappings that are gone, where they have become many.
    pub(super) fn sweep(&mut self) {
        let mappings = &self.mappings;
        self.timers.sweep(|index, wake| {
            mappings.get(index as usize).and_then(Option::as_ref).is_some_and(|mapping| mapping.wake == wake)
        });
    }
}

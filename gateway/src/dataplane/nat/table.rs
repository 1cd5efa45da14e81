//! The life of a mapping: made, touched, pruned, removed.

use core::net::IpAddr;
use webtun_wire::Instant;

use super::flows::{Flow, Flows, Remote};
use super::hold::Tenant;
use super::prefix::BY_PREFIX;
use super::tcp_state::{Origin, TcpState};
use super::{DropReason, EXACT_FLOWS, Mapping, MappingIndex, NatTable, PRUNE_INTERVAL, Protocol, SessionId, Wake};
use crate::dataplane::NatTimeouts;
use crate::dataplane::packet::tcp_flag::{RST, SYN};

impl NatTable {
    /// Makes a mapping for an internal endpoint that has none. `wanted` is an external port asked for explicitly.
    pub(super) fn create(
        &mut self,
        session: SessionId,
        protocol: Protocol,
        internal: (IpAddr, u16),
        wanted: Option<u16>,
        now: Instant,
    ) -> Result<MappingIndex, DropReason> {
        let subscriber = self.subscribers.get(session).ok_or(DropReason::NoSession)?;
        let has_total = self.has_total_room(session, |total| total.mappings, |totals| totals.mappings);
        if !has_total || subscriber.mappings.len() >= subscriber.limits.mappings {
            return Err(DropReason::MappingLimit);
        }
        let port = self.take_port(protocol, Tenant { session, internal }, wanted, now)?;
        self.occupy(&port);
        let (subscriber, totals) = self.subscribers.both_mut(session).ok_or(DropReason::NoSession)?;
        let index = self.mappings.insert(Mapping {
            session,
            address: port.address,
            port: port.number,
            internal_port: (protocol, internal.0, internal.1),
            flows: Flows::default(),
            explicit: None,
            wake: Wake::default(),
            place: subscriber.mappings.len() as u32,
            filtering: subscriber.filtering,
            is_single: port.is_single,
        });
        subscriber.mappings.push(index);
        totals.mappings += 1;
        self.created += 1;
        Ok(index)
    }

    /// Notes a packet of a mapping: the flow is made or refreshed, its TCP state followed, the timer set.
    ///
    /// A RST begins no flow, and one that refuses what came from outside refreshes none (RFC 7857 section 7.1). What comes
    /// in refreshes UDP and ICMP only before the session has answered, when it keeps the flow but not the mapping.
    pub(super) fn touch(
        &mut self,
        index: MappingIndex,
        remote: Remote,
        from: Origin,
        flags: u8,
        now: Instant,
    ) -> Result<(), DropReason> {
        let (timeouts, timers) = (&self.config.timeouts, &mut self.timers);
        let mapping = self.mappings.get_mut(index).ok_or(DropReason::NoMapping)?;
        let (key, protocol) = (mapping.key(remote), mapping.protocol());
        let is_reset = protocol == Protocol::Tcp && flags & RST != 0;
        let expires = match mapping.flows.get_mut(key) {
            Some(flow) if flow.expires() > now => {
                let before = flow.expires();
                flow.follow(protocol, from, flags, timeouts, now);
                if flow.expires() >= before {
                    // The timer that there is will find that there is time left.
                    return Ok(());
                }
                flow.expires()
            }
            _ if is_reset => return Ok(()),
            // It has expired, and nobody has swept it up yet.
            Some(flow) => {
                *flow = Flow::begin(protocol, from, timeouts, now);
                flow.expires()
            }
            None => {
                let both = self.subscribers.both_mut(mapping.session);
                let (subscriber, totals) = both.ok_or(DropReason::NoSession)?;
                // What strangers begin, at mapped ports, must not keep the session from beginning anything itself.
                let limit = match from {
                    Origin::Inside => subscriber.limits.flows,
                    Origin::Outside => subscriber.limits.flows / 2,
                };
                if subscriber.flows >= limit {
                    return Err(DropReason::FlowLimit);
                }
                let flow = Flow::begin(protocol, from, timeouts, now);
                subscriber.flows += 1;
                totals.flows += 1;
                mapping.flows.insert(key, flow);
                flow.expires()
            }
        };
        timers.set(&mut mapping.wake, index, expires);
        Ok(())
    }

    /// Forgets what has expired of a mapping whose timer has fired, and the mapping where nothing is left that keeps it.
    pub(super) fn prune(&mut self, index: MappingIndex, now: Instant) {
        let Some(mapping) = self.mappings.get_mut(index) else { return };
        let pruned = mapping.flows.prune(now);
        let session = mapping.session;
        if let Some((subscriber, totals)) = self.subscribers.both_mut(session) {
            subscriber.flows -= pruned;
            totals.flows -= pruned;
        }
        if mapping.mapped_until().is_some_and(|until| until <= now) {
            self.unmap(index);
        }
        let Some(mapping) = self.mappings.get_mut(index) else { return };
        if mapping.explicit.is_none() && !mapping.flows.keep_mapping() {
            return self.remove(index, true, now);
        }
        let mut next = mapping.flows.next_expiry();
        if mapping.flows.len() > EXACT_FLOWS {
            next = next.map(|at| at.max(now + PRUNE_INTERVAL));
        }
        if let Some(at) = next.into_iter().chain(mapping.mapped_until()).min() {
            self.timers.set(&mut mapping.wake, index, at);
        }
    }

    /// Undoes [`NatTable::create`] where nothing came of it.
    pub(super) fn remove_unused(&mut self, index: MappingIndex, now: Instant) {
        if self.mapping(index).is_some_and(|m| m.flows.len() == 0 && m.explicit.is_none()) {
            self.remove(index, false, now);
        }
    }

    /// Removes a mapping, whatever it is used for.
    pub(super) fn remove(&mut self, index: MappingIndex, needs_rest: bool, now: Instant) {
        self.unmap(index);
        let Some(mut mapping) = self.mappings.remove(index) else { return };
        self.timers.forget(&mut mapping.wake);
        if mapping.address != BY_PREFIX {
            self.release(&mapping, needs_rest, now);
        }
        let Some((subscriber, totals)) = self.subscribers.both_mut(mapping.session) else { return };
        subscriber.flows -= mapping.flows.len();
        totals.flows -= mapping.flows.len();
        let place = mapping.place as usize;
        subscriber.mappings.swap_remove(place);
        totals.mappings -= 1;
        if let Some(moved) = subscriber.mappings.get(place).copied()
            && let Some(moved) = self.mappings.get_mut(moved)
        {
            moved.place = mapping.place;
        }
        self.sweep();
    }

    /// Drops timers of mappings that are gone, where they have become many.
    pub(super) fn sweep(&mut self) {
        let mappings = &self.mappings;
        self.timers.sweep(|index, wake| mappings.get(index).is_some_and(|mapping| mapping.wake == wake));
    }
}

impl Flow {
    fn begin(protocol: Protocol, from: Origin, timeouts: &NatTimeouts, now: Instant) -> Self {
        Self::new(from, now + lifetime(protocol, TcpState::first(from), timeouts))
    }

    /// A packet of a flow that lives. Until the session has spoken there is no connection whose state could be followed.
    fn follow(&mut self, protocol: Protocol, from: Origin, flags: u8, timeouts: &NatTimeouts, now: Instant) {
        let is_inside = from == Origin::Inside;
        let inside_spoke = self.inside_spoke();
        if !is_inside {
            self.note(from);
        }
        if is_inside || inside_spoke {
            let is_tcp = protocol == Protocol::Tcp;
            let refuses = is_tcp && flags & RST != 0 && !inside_spoke;
            if refuses || (!is_tcp && !is_inside) {
                return;
            }
            let before = self.state;
            self.state = before.after(from, flags);
            if before.is_over() && !self.state.is_over() && flags & SYN != 0 {
                self.origin = from;
            }
            self.note(from);
        }
        self.set_expires(now + lifetime(protocol, self.state, timeouts));
    }
}

fn lifetime(protocol: Protocol, state: TcpState, timeouts: &NatTimeouts) -> core::time::Duration {
    match protocol {
        Protocol::Tcp => state.timeout(timeouts),
        Protocol::Udp => timeouts.udp,
        Protocol::Icmp => timeouts.icmp,
    }
}

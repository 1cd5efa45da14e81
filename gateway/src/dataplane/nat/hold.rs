//! Ports that were in use a moment ago: nobody else gets them before they have rested (RFC 6888 REQ-8), so that late
//! packets of the old mapping reach nobody.
//!
//! Bound: `held_ports` of the configuration; beyond it the port that has rested longest is free early.

use core::net::IpAddr;
use core::ops::RangeInclusive;
use core::time::Duration;
use std::collections::VecDeque;
use webtun_wire::Instant;

use super::ports::AddressIndex;
use super::{ExternalPort, NatConfig, Protocol};
use crate::dataplane::{Map, SessionId};

/// Who had a port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Tenant {
    pub session: SessionId,
    pub internal: (IpAddr, u16),
}

#[derive(Debug)]
pub(super) struct HoldDown {
    time: Duration,
    limit: usize,
    held: Map<ExternalPort, (Tenant, Instant)>,
    /// In the order of their release, which is that of their freedom too. Entries of reclaimed ports are out of date.
    order: VecDeque<(Instant, ExternalPort)>,
}

impl HoldDown {
    pub(super) fn new(config: &NatConfig, held: Map<ExternalPort, (Tenant, Instant)>) -> Self {
        Self { time: config.port_hold, limit: config.held_ports, held, order: VecDeque::new() }
    }

    /// Until when something rests that is released now.
    pub(super) fn rested(&self, now: Instant) -> Instant {
        now + self.time
    }

    /// A port is released. [`HoldDown::next_free`] says when it is free.
    pub(super) fn hold(&mut self, port: ExternalPort, tenant: Tenant, now: Instant) {
        let until = self.rested(now);
        self.held.insert(port, (tenant, until));
        self.order.push_back((until, port));
    }

    pub(super) fn contains(&self, port: ExternalPort) -> bool {
        self.held.contains_key(&port)
    }

    /// The very endpoint that had the port gets it back at once: what comes late is its own.
    pub(super) fn reclaim(&mut self, port: ExternalPort, tenant: Tenant) -> bool {
        let is_its_own = self.held.get(&port).is_some_and(|(former, _)| *former == tenant);
        if is_its_own {
            self.held.remove(&port);
        }
        is_its_own
    }

    /// Not even the endpoint that had the port gets it back early.
    pub(super) fn disown(&mut self, port: ExternalPort) {
        if let Some((former, _)) = self.held.get_mut(&port) {
            // Nobody asks for a port for this one.
            former.internal.1 = 0;
        }
    }

    /// These ports have been given to someone as a block, which may have been before their time.
    pub(super) fn forget(&mut self, address: AddressIndex, ports: RangeInclusive<u16>) {
        if self.held.is_empty() {
            return;
        }
        for port in ports {
            for protocol in [Protocol::Tcp, Protocol::Udp, Protocol::Icmp] {
                self.held.remove(&(protocol, address, port));
            }
        }
    }

    /// A port that has rested, or for which there is no room.
    pub(super) fn next_free(&mut self, now: Instant) -> Option<ExternalPort> {
        loop {
            let (until, port) = *self.order.front()?;
            let is_current = self.held.get(&port).is_some_and(|(_, current)| *current == until);
            let is_over = until <= now || self.held.len() > self.limit || self.order.len() > 2 * self.limit;
            if is_current && !is_over {
                return None;
            }
            self.order.pop_front();
            if is_current {
                self.held.remove(&port);
                return Some(port);
            }
        }
    }
}

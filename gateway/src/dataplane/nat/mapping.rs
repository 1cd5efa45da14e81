//! A mapping: one internal endpoint, one external endpoint, and the remote endpoints it has spoken with.
//!
//! The mapping does not depend on the remote endpoint (RFC 4787 REQ-1, RFC 5382 REQ-1). What it has spoken with decides
//! how long it lives and, unless filtering is endpoint-independent, what it admits.

use core::net::IpAddr;
use std::collections::BTreeMap;
use webtun_wire::Instant;

use super::Protocol;
use super::ports::AddressIndex;
use super::tcp_state::TcpState;
use crate::dataplane::timer::Wake;
use crate::dataplane::{Filtering, SessionId};

/// A remote endpoint. UDP and ICMP track ports only where the filter asks for them; the port is 0 otherwise.
pub(super) type Remote = (IpAddr, u16);

#[derive(Debug)]
pub(super) struct Mapping {
    pub session: SessionId,
    pub protocol: Protocol,
    pub internal: (IpAddr, u16),
    pub address: AddressIndex,
    pub port: u16,
    pub flows: Flows,
    pub explicit: Option<Box<Explicit>>,
    /// The port lies outside the session's blocks.
    pub is_single: bool,
    pub wake: Wake,
    /// Where the session's list names this mapping.
    pub place: usize,
}

/// What makes a mapping an explicit one (RFC 6887 section 2.3). Few are, so the others pay for a pointer only.
#[derive(Debug)]
pub(super) struct Explicit {
    pub until: Instant,
    /// Who may renew and delete it, where its maker has said so.
    pub nonce: Option<[u8; 12]>,
}

impl Mapping {
    pub(super) fn is_mapped(&self, now: Instant) -> bool {
        self.mapped_until().is_some_and(|until| until > now)
    }

    /// Until when the port is mapped explicitly.
    pub(super) fn mapped_until(&self) -> Option<Instant> {
        self.explicit.as_ref().map(|explicit| explicit.until)
    }

    /// Whether a packet from `remote` may come in.
    pub(super) fn admits(&self, filtering: Filtering, remote: Remote, now: Instant) -> bool {
        self.is_mapped(now)
            || match filtering {
                Filtering::EndpointIndependent => true,
                Filtering::AddressDependent => self.flows.knows_address(remote.0, now),
                Filtering::AddressAndPortDependent => self.flows.get(self.key(filtering, remote), now).is_some(),
            }
    }

    /// Under which key the flow with `remote` is tracked.
    pub(super) fn key(&self, filtering: Filtering, remote: Remote) -> Remote {
        let by_port = match self.protocol {
            Protocol::Tcp => true,
            Protocol::Udp => filtering == Filtering::AddressAndPortDependent,
            // The identifier is the port of both ends: it says nothing about the remote one.
            Protocol::Icmp => false,
        };
        if by_port { remote } else { (remote.0, 0) }
    }
}

/// One remote endpoint of a mapping.
#[derive(Clone, Copy, Debug)]
pub(super) struct Flow {
    pub expires: Instant,
    /// Meaningful for TCP alone.
    pub state: TcpState,
}

/// The remote endpoints of a mapping. Most have one, which needs no allocation.
#[derive(Debug, Default)]
pub(super) struct Flows {
    first: Option<(Remote, Flow)>,
    more: BTreeMap<Remote, Flow>,
}

impl Flows {
    pub(super) fn len(&self) -> usize {
        usize::from(self.first.is_some()) + self.more.len()
    }

    /// The flow, unless it has expired.
    pub(super) fn get(&self, remote: Remote, now: Instant) -> Option<&Flow> {
        let flow = match &self.first {
            Some((key, flow)) if *key == remote => Some(flow),
            _ => self.more.get(&remote),
        };
        flow.filter(|flow| flow.expires > now)
    }

    /// The flow, expired or not.
    pub(super) fn get_mut(&mut self, remote: Remote) -> Option<&mut Flow> {
        match &mut self.first {
            Some((key, flow)) if *key == remote => Some(flow),
            _ => self.more.get_mut(&remote),
        }
    }

    pub(super) fn insert(&mut self, remote: Remote, flow: Flow) {
        if self.first.is_none() {
            self.first = Some((remote, flow));
        } else {
            self.more.insert(remote, flow);
        }
    }

    pub(super) fn knows_address(&self, address: IpAddr, now: Instant) -> bool {
        let is_live = |flow: &Flow| flow.expires > now;
        self.first.as_ref().is_some_and(|(key, flow)| key.0 == address && is_live(flow))
            || self.more.range((address, 0)..=(address, u16::MAX)).any(|(_, flow)| is_live(flow))
    }

    /// Forgets what has expired; returns how many.
    pub(super) fn prune(&mut self, now: Instant) -> usize {
        let before = self.len();
        self.first.take_if(|(_, flow)| flow.expires <= now);
        self.more.retain(|_, flow| flow.expires > now);
        before - self.len()
    }

    /// When the next flow expires.
    pub(super) fn next_expiry(&self) -> Option<Instant> {
        let rest = self.more.values().map(|flow| flow.expires).min();
        self.first.as_ref().map(|(_, flow)| flow.expires).into_iter().chain(rest).min()
    }
}

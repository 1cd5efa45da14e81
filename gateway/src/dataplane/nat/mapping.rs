//! A mapping: one internal endpoint, one external endpoint, and the remote endpoints it has spoken with.
//!
//! The mapping does not depend on the remote endpoint (RFC 4787 REQ-1, RFC 5382 REQ-1). What it has spoken with decides
//! how long it lives and, unless filtering is endpoint-independent, what it admits.

use core::net::IpAddr;
use webtun_wire::Instant;

use super::flows::{Flows, Remote};
use super::mappings::InternalPort;
use super::ports::AddressIndex;
use super::{ExternalPort, Protocol};
use crate::dataplane::timer::Wake;
use crate::dataplane::{Filtering, SessionId};

/// Two cache lines. A packet of the first flow looks at the first one alone, which ends with that flow.
#[derive(Debug)]
#[repr(C, align(64))]
pub(super) struct Mapping {
    pub session: SessionId,
    pub address: AddressIndex,
    pub port: u16,
    pub internal_port: InternalPort,
    pub flows: Flows,
    pub explicit: Option<Box<Explicit>>,
    pub wake: Wake,
    /// Where the session's list names this mapping.
    pub place: u32,
    /// The session's; the strictest one once an explicit mapping has ended.
    pub filtering: Filtering,
    /// The port lies outside the session's blocks.
    pub is_single: bool,
}

/// What makes a mapping an explicit one (RFC 6887 section 2.3). Few are, so the others pay for a pointer only.
#[derive(Debug)]
pub(super) struct Explicit {
    pub until: Instant,
    /// Who may renew and delete it, where its maker has said so.
    pub nonce: Option<[u8; 12]>,
}

impl Mapping {
    pub(super) fn protocol(&self) -> Protocol {
        self.internal_port.0
    }

    /// The session's endpoint.
    pub(super) fn internal(&self) -> (IpAddr, u16) {
        (self.internal_port.1, self.internal_port.2)
    }

    pub(super) fn external_port(&self) -> ExternalPort {
        (self.protocol(), self.address, self.port)
    }

    pub(super) fn is_mapped(&self, now: Instant) -> bool {
        self.mapped_until().is_some_and(|until| until > now)
    }

    /// Until when the port is mapped explicitly.
    pub(super) fn mapped_until(&self) -> Option<Instant> {
        self.explicit.as_ref().map(|explicit| explicit.until)
    }

    /// Whether a packet from `remote` may come in. Only what the session has sent counts: who was let in by a mapped port
    /// is no better known for it.
    pub(super) fn admits(&self, remote: Remote, now: Instant) -> bool {
        let key = self.key(remote);
        // First what every filter lets in.
        self.flows.get(key, now).is_some_and(|flow| flow.inside_spoke())
            || self.is_mapped(now)
            || match self.filtering {
                Filtering::EndpointIndependent => true,
                Filtering::AddressDependent => self.flows.has_sent_to(key, now),
                Filtering::AddressAndPortDependent => false,
            }
    }

    /// Under which key the flow with `remote` is tracked.
    pub(super) fn key(&self, remote: Remote) -> Remote {
        // The identifier of an echo is the port of both ends: it says nothing about the remote one.
        if self.protocol() == Protocol::Icmp { (remote.0, 0) } else { remote }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The README states this size; a field more is a field in each of 100,000.
    #[test]
    fn a_mapping_is_small() {
        assert!(size_of::<Mapping>() <= 128, "{} octets", size_of::<Mapping>());
    }

    #[test]
    fn the_first_flow_is_in_the_first_cache_line() {
        assert_eq!(core::mem::offset_of!(Mapping, flows) + Flows::FIRST, 64);
    }
}

//! The remote endpoints of a mapping, and what has passed between it and them.

use core::net::IpAddr;
use std::collections::BTreeMap;
use webtun_wire::Instant;

use super::tcp_state::{Origin, TcpState};

/// Flows with one address that are looked at to find one that the session has begun or answered.
const SCAN: usize = 256;

/// A remote endpoint; the port is 0 for ICMP.
pub(super) type Remote = (IpAddr, u16);

/// What passes between a mapping and one remote endpoint.
#[derive(Clone, Copy, Debug)]
pub(super) struct Flow {
    expires: Packed,
    /// Meaningful for TCP alone.
    pub state: TcpState,
    /// Who has sent the first packet.
    pub origin: Origin,
    spoke: Spoke,
}

/// Who has sent something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Spoke {
    One(Origin),
    Both,
}

/// An instant that needs no alignment to eight octets, which would make a flow too large for its cache line.
#[derive(Clone, Copy, Debug)]
struct Packed([u32; 2]);

impl Flow {
    pub(super) fn new(origin: Origin, expires: Instant) -> Self {
        let mut flow =
            Self { expires: Packed([0; 2]), state: TcpState::first(origin), origin, spoke: Spoke::One(origin) };
        flow.set_expires(expires);
        flow
    }

    /// Someone has sent something.
    pub(super) fn note(&mut self, origin: Origin) {
        if self.spoke != Spoke::One(origin) {
            self.spoke = Spoke::Both;
        }
    }

    /// The session has sent something. Without that a flow neither keeps the mapping nor opens its filter.
    pub(super) fn inside_spoke(&self) -> bool {
        self.spoke != Spoke::One(Origin::Outside)
    }

    /// The outside has sent something.
    pub(super) fn outside_spoke(&self) -> bool {
        self.spoke != Spoke::One(Origin::Inside)
    }

    pub(super) fn expires(&self) -> Instant {
        let [high, low] = self.expires.0;
        Instant::from_micros(u64::from(high) << 32 | u64::from(low))
    }

    pub(super) fn set_expires(&mut self, at: Instant) {
        let micros = at.as_micros();
        self.expires = Packed([(micros >> 32) as u32, micros as u32]);
    }
}

/// The flows of a mapping. Most have one, which needs no allocation.
#[derive(Debug, Default)]
#[repr(C)]
pub(super) struct Flows {
    first: Option<(Remote, Flow)>,
    #[expect(
        clippy::box_collection,
        reason = "few mappings have more, and a pointer is 16 octets less in each of the others"
    )]
    more: Option<Box<BTreeMap<Remote, Flow>>>,
}

impl Flows {
    /// Octets of the first flow and its key.
    #[cfg(test)]
    pub(super) const FIRST: usize = core::mem::offset_of!(Flows, more);

    pub(super) fn len(&self) -> usize {
        usize::from(self.first.is_some()) + self.more.as_ref().map_or(0, |more| more.len())
    }

    /// The flow, unless it has expired.
    pub(super) fn get(&self, remote: Remote, now: Instant) -> Option<&Flow> {
        let flow = match &self.first {
            Some((key, flow)) if *key == remote => Some(flow),
            _ => self.more.as_ref()?.get(&remote),
        };
        flow.filter(|flow| flow.expires() > now)
    }

    /// The flow, expired or not.
    pub(super) fn get_mut(&mut self, remote: Remote) -> Option<&mut Flow> {
        match &mut self.first {
            Some((key, flow)) if *key == remote => Some(flow),
            _ => self.more.as_mut()?.get_mut(&remote),
        }
    }

    /// Adds a flow that is not there yet.
    pub(super) fn insert(&mut self, remote: Remote, flow: Flow) {
        if self.first.is_none() {
            self.first = Some((remote, flow));
        } else {
            self.more.get_or_insert_default().insert(remote, flow);
        }
    }

    /// Whether the session has sent something to the address of `remote`, by a flow that lives. Looks at this very flow
    /// first, and then at no more than [`SCAN`]: else whoever is let in could make each of its packets a long search.
    pub(super) fn has_sent_to(&self, remote: Remote, now: Instant) -> bool {
        let counts = |flow: &Flow| flow.inside_spoke() && flow.expires() > now;
        let address = remote.0;
        self.get(remote, now).is_some_and(counts)
            || self.first.as_ref().is_some_and(|(key, flow)| key.0 == address && counts(flow))
            || self.more.as_ref().is_some_and(|more| {
                more.range((address, 0)..=(address, u16::MAX)).take(SCAN).any(|(_, flow)| counts(flow))
            })
    }

    /// Forgets what has expired; returns how many.
    pub(super) fn prune(&mut self, now: Instant) -> usize {
        let before = self.len();
        self.first.take_if(|(_, flow)| flow.expires() <= now);
        if let Some(more) = &mut self.more {
            more.retain(|_, flow| flow.expires() > now);
        }
        self.more.take_if(|more| more.is_empty());
        before - self.len()
    }

    /// Whether one of them keeps the mapping.
    pub(super) fn keep_mapping(&self) -> bool {
        self.iter().any(Flow::inside_spoke)
    }

    /// When the next flow expires.
    pub(super) fn next_expiry(&self) -> Option<Instant> {
        self.iter().map(Flow::expires).min()
    }

    fn iter(&self) -> impl Iterator<Item = &Flow> {
        let more = self.more.as_ref().map(|more| more.values());
        self.first.as_ref().map(|(_, flow)| flow).into_iter().chain(more.into_iter().flatten())
    }
}

//! What a session, or a peer with all its sessions, has used of its rates.
//!
//! Messages from clients are charged once they are there: past a limit the shell is asked to read no more for a while
//! ([`Gateway::reads_again_at`]), and TCP holds the client back. A shell, or a rate that is small beside a message,
//! could leave a debt that only grows: beyond [`DEBT`] its packets are dropped. In the downlink, packets wait in the
//! session's queue.

use core::time::Duration;
use webtun_wire::Instant;

use super::ratelimit::TokenBucket;
use super::{Allowance, Gateway, SessionId};

/// How far a session may be in debt before its packets are dropped, as the time that it takes to earn it.
const DEBT: Duration = Duration::from_secs(10);

#[derive(Debug)]
pub(super) struct Meter {
    uplink: Direction,
    downlink: Direction,
}

#[derive(Debug)]
struct Direction {
    packets: TokenBucket,
    octets: TokenBucket,
}

impl Direction {
    fn charge(&mut self, packets: u64, octets: u64, now: Instant) {
        self.packets.charge(packets, now);
        self.octets.charge(octets, now);
    }

    fn ready_at(&mut self, now: Instant) -> Option<Instant> {
        self.packets.ready_at(now).max(self.octets.ready_at(now))
    }
}

impl Meter {
    pub(super) fn new(allowance: &Allowance, now: Instant) -> Self {
        let bucket = |rate| TokenBucket::new(rate, now);
        Self {
            uplink: Direction { packets: bucket(allowance.uplink_packets), octets: bucket(allowance.uplink_octets) },
            downlink: Direction {
                packets: bucket(allowance.downlink_packets),
                octets: bucket(allowance.downlink_octets),
            },
        }
    }

    /// The rates from now on.
    pub(super) fn set_rates(&mut self, allowance: &Allowance, now: Instant) {
        self.uplink.packets.set_rate(allowance.uplink_packets, now);
        self.uplink.octets.set_rate(allowance.uplink_octets, now);
        self.downlink.packets.set_rate(allowance.downlink_packets, now);
        self.downlink.octets.set_rate(allowance.downlink_octets, now);
    }

    /// Packets that have been put into a message to a client.
    pub(super) fn charge_downlink(&mut self, packets: u64, octets: u64, now: Instant) {
        self.downlink.charge(packets, octets, now);
    }

    /// How many packets and octets may be put into the next message.
    pub(super) fn downlink_room(&mut self, now: Instant) -> [u64; 2] {
        [self.downlink.packets.room(now), self.downlink.octets.room(now)]
    }

    /// When more packets may be put into messages; `None`: at once.
    pub(super) fn downlink_ready_at(&mut self, now: Instant) -> Option<Instant> {
        self.downlink.ready_at(now)
    }
}

impl Gateway {
    /// When the shell may read on from a session's connection, to be asked after [`Gateway::process_uplink`]; `None`: at
    /// once. At most ten seconds from `now`, so that keep-alives pass.
    pub fn reads_again_at(&mut self, id: SessionId, now: Instant) -> Option<Instant> {
        let session = self.sessions.get_mut(&id)?;
        let peer = self.peers.get_mut(session.peer_index)?;
        let at = session.meter.uplink.ready_at(now).max(peer.meter.uplink.ready_at(now));
        at.map(|at| at.min(now + DEBT))
    }

    /// A message from a client, with the capsules in it, whatever they are.
    pub(super) fn charge_uplink(&mut self, id: SessionId, capsules: u64, octets: u64, now: Instant) {
        let Some(session) = self.sessions.get_mut(&id) else { return };
        session.meter.uplink.charge(capsules, octets, now);
        if let Some(peer) = self.peers.get_mut(session.peer_index) {
            peer.meter.uplink.charge(capsules, octets, now);
        }
    }

    /// Whether so much has come in spite of [`Gateway::reads_again_at`] that packets have to be dropped.
    pub(super) fn is_overdrawn(&mut self, id: SessionId, now: Instant) -> bool {
        let Some(session) = self.sessions.get_mut(&id) else { return false };
        let Some(peer) = self.peers.get_mut(session.peer_index) else { return false };
        let at = session.meter.uplink.ready_at(now).max(peer.meter.uplink.ready_at(now));
        at.is_some_and(|at| at > now + DEBT)
    }
}

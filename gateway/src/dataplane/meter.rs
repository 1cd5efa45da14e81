//! What a session, or a peer with all its sessions, has used of its rates.
//!
//! Messages from clients are charged once they are there: past a limit the shell is asked to read no more for a while
//! ([`Gateway::reads_again_at`]), and TCP holds the client back. A shell, or a rate that is small beside a message,
//! could leave a debt that only grows: beyond [`DEBT`] its packets are dropped. In the downlink, packets wait in the
//! session's queue. New flows and octets to destinations that do not answer are asked for, and refused.

use core::time::Duration;
use webtun_wire::Instant;

use super::packet::Packet;
use super::ratelimit::TokenBucket;
use super::{Allowance, DropReason, Gateway, SessionId};

/// How far a session may be in debt before its packets are dropped, as the time that it takes to earn it.
const DEBT: Duration = Duration::from_secs(10);

#[derive(Debug)]
pub(super) struct Meter {
    new_flows: TokenBucket,
    unanswered_octets: TokenBucket,
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
            new_flows: bucket(allowance.new_flows),
            unanswered_octets: bucket(allowance.unanswered_octets),
            uplink: Direction { packets: bucket(allowance.uplink_packets), octets: bucket(allowance.uplink_octets) },
            downlink: Direction {
                packets: bucket(allowance.downlink_packets),
                octets: bucket(allowance.downlink_octets),
            },
        }
    }

    /// Something from each bucket; what it returns means nothing.
    pub(super) fn look_at(&self) -> u64 {
        let Self { new_flows, unanswered_octets, uplink, downlink } = self;
        let buckets =
            [new_flows, unanswered_octets, &uplink.packets, &uplink.octets, &downlink.packets, &downlink.octets];
        buckets.into_iter().fold(0, |sum, bucket| sum ^ bucket.look_at())
    }

    /// The rates from now on.
    pub(super) fn set_rates(&mut self, allowance: &Allowance, now: Instant) {
        self.new_flows.set_rate(allowance.new_flows, now);
        self.unanswered_octets.set_rate(allowance.unanswered_octets, now);
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

    /// A message from a client, with the capsules in it, whatever they are; packets of many segments by their [`price`].
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

/// How many packets a packet of a client is charged as. Many segments in one cost the gateway little more than one
/// does, and the network what they are: an eighth of them counts, or each where they are so small that nobody gains by it.
pub(super) fn price(packet: &Packet) -> u64 {
    const SMALL: u16 = 512;
    match packet.offload.segments {
        Some(segments) if segments.size >= SMALL => packet.segment_count().div_ceil(8) as u64,
        Some(_) => packet.segment_count() as u64,
        None => 1,
    }
}

/// The meters that a packet from a client is charged to.
#[derive(Debug)]
pub(super) struct Meters<'a> {
    pub session: &'a mut Meter,
    pub peer: &'a mut Meter,
}

impl Meters<'_> {
    /// One more flow, if both allow it.
    pub(super) fn take_flow(&mut self, now: Instant) -> Result<(), DropReason> {
        let both = [&mut self.session.new_flows, &mut self.peer.new_flows];
        take(both, 1, now).ok_or(DropReason::NewFlowRate)
    }

    /// Octets to a destination that has not answered, if both allow it.
    pub(super) fn take_unanswered(&mut self, octets: usize, now: Instant) -> Result<(), DropReason> {
        let both = [&mut self.session.unanswered_octets, &mut self.peer.unanswered_octets];
        take(both, octets as u64, now).ok_or(DropReason::Unanswered)
    }
}

/// From both or from neither.
fn take(mut buckets: [&mut TokenBucket; 2], tokens: u64, now: Instant) -> Option<()> {
    if !buckets.iter_mut().all(|bucket| bucket.holds(tokens, now)) {
        return None;
    }
    buckets.into_iter().for_each(|bucket| bucket.charge(tokens, now));
    Some(())
}

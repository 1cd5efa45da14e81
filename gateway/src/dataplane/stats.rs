//! Counters. Plain integers: the state machine has one owner at a time, whoever shows them takes a copy.

use core::ops::AddAssign;
use core::time::Duration;

use super::DropReason;

/// Packets and octets of one direction.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Traffic {
    /// IP packets.
    pub packets: u64,
    /// Their octets, IP headers included.
    pub octets: u64,
}

impl AddAssign for Traffic {
    fn add_assign(&mut self, other: Self) {
        self.packets += other.packets;
        self.octets += other.octets;
    }
}

impl AddAssign<&Stats> for Stats {
    /// What two shards have done together.
    fn add_assign(&mut self, other: &Stats) {
        let Stats {
            uplink,
            downlink,
            egress,
            local,
            network,
            shards,
            delivered,
            sessions,
            sessions_opened,
            sessions_resumed,
            handshakes_rejected,
            protocol_errors,
            duplicate_messages,
            mappings,
            mappings_created,
            mapped_ports,
            icmp_errors,
            streams,
            streams_opened,
            stream_uplink_octets,
            stream_downlink_octets,
            queue_delay,
            drops,
        } = other;
        self.uplink += *uplink;
        self.downlink += *downlink;
        self.egress += *egress;
        self.local += *local;
        self.network += *network;
        self.shards += *shards;
        self.delivered += *delivered;
        self.sessions += sessions;
        self.sessions_opened += sessions_opened;
        self.sessions_resumed += sessions_resumed;
        self.handshakes_rejected += handshakes_rejected;
        self.protocol_errors += protocol_errors;
        self.duplicate_messages += duplicate_messages;
        self.mappings += mappings;
        self.mappings_created += mappings_created;
        self.mapped_ports += mapped_ports;
        self.icmp_errors += icmp_errors;
        self.streams += streams;
        self.streams_opened += streams_opened;
        self.stream_uplink_octets += stream_uplink_octets;
        self.stream_downlink_octets += stream_downlink_octets;
        self.queue_delay.sum_us = self.queue_delay.sum_us.saturating_add(queue_delay.sum_us);
        let counts = self.queue_delay.counts.iter_mut().zip(queue_delay.counts);
        let drops = self.drops.0.iter_mut().zip(drops.0);
        counts.chain(drops).for_each(|(sum, count)| *sum += count);
    }
}

impl Traffic {
    pub(super) fn count(&mut self, octets: usize) {
        self.packets += 1;
        self.octets += octets as u64;
    }
}

/// What a gateway has done so far. Everything only grows, except where "now" is said.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Packets taken from sessions, dropped ones included.
    pub uplink: Traffic,
    /// Packets taken from the egress, dropped ones included.
    pub downlink: Traffic,
    /// Packets handed to the egress, after fragmentation.
    pub egress: Traffic,
    /// Packets handed to the gateway's inner host.
    pub local: Traffic,
    /// Packets between sessions of one network.
    pub network: Traffic,
    /// Packets handed to other shards, those that come back refused included.
    pub shards: Traffic,
    /// Packets put into messages to sessions.
    pub delivered: Traffic,
    /// Sessions now, detached ones included.
    pub sessions: u64,
    /// Sessions opened.
    pub sessions_opened: u64,
    /// Connections that went on with an earlier session.
    pub sessions_resumed: u64,
    /// Handshakes refused.
    pub handshakes_rejected: u64,
    /// Sessions closed because their peer broke the protocol.
    pub protocol_errors: u64,
    /// Messages received a second time after a resumption, and skipped.
    pub duplicate_messages: u64,
    /// NAT mappings now.
    pub mappings: u64,
    /// NAT mappings made.
    pub mappings_created: u64,
    /// Explicitly mapped ports now.
    pub mapped_ports: u64,
    /// ICMP errors that this gateway made.
    pub icmp_errors: u64,
    /// Streams now.
    pub streams: u64,
    /// Streams that clients have opened.
    pub streams_opened: u64,
    /// Octets of streams from clients.
    pub stream_uplink_octets: u64,
    /// Octets of streams put into messages to sessions.
    pub stream_downlink_octets: u64,
    /// How long packets have waited in sessions' queues.
    pub queue_delay: Delays,
    drops: Drops,
}

/// A histogram of durations.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Delays {
    /// By [`Delays::BOUNDS`], each without those of the bounds before it; the last counts what is longer than all.
    pub counts: [u64; Self::BOUNDS.len() + 1],
    /// In microseconds.
    pub sum_us: u64,
}

impl Delays {
    /// Inclusive upper bounds in microseconds.
    pub const BOUNDS: [u64; 9] = [100, 300, 1_000, 3_000, 10_000, 30_000, 100_000, 300_000, 1_000_000];

    pub(super) fn observe(&mut self, delay: Duration) {
        let micros = u64::try_from(delay.as_micros()).unwrap_or(u64::MAX);
        let bucket = Self::BOUNDS.partition_point(|bound| *bound < micros);
        self.counts[bucket] += 1;
        self.sum_us = self.sum_us.saturating_add(micros);
    }
}

/// By reason, in declaration order.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Drops([u64; DropReason::COUNT]);

impl Default for Drops {
    // Arrays have it up to 32 elements only.
    fn default() -> Self {
        Self([0; DropReason::COUNT])
    }
}

impl Stats {
    /// Packets dropped for `reason`.
    pub fn drops(&self, reason: DropReason) -> u64 {
        self.drops.0[reason as usize]
    }

    /// Packets dropped for any reason.
    pub fn total_drops(&self) -> u64 {
        self.drops.0.iter().sum()
    }

    pub(super) fn count_drop(&mut self, reason: DropReason) {
        self.count_drops(reason, 1);
    }

    pub(super) fn count_drops(&mut self, reason: DropReason, packets: u64) {
        self.drops.0[reason as usize] += packets;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_delay_at_a_bound_is_within_it() {
        let mut delays = Delays::default();
        for micros in [0, 100, 101, 1_000_000, 1_000_001] {
            delays.observe(Duration::from_micros(micros));
        }
        assert_eq!(delays.counts, [2, 1, 0, 0, 0, 0, 0, 0, 1, 1]);
        assert_eq!(delays.sum_us, 2_000_202);
    }
}

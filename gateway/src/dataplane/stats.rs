//! Counters. Plain integers: the state machine has one owner at a time, whoever shows them takes a copy.

use super::DropReason;

/// Packets and octets of one direction.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Traffic {
    /// IP packets.
    pub packets: u64,
    /// Their octets, IP headers included.
    pub octets: u64,
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
    drops: Drops,
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

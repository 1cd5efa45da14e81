//! What waits in a queue.

use bytes::BytesMut;
use webtun_wire::{Instant, OffloadHeader, ResetReason};

/// What a queued packet is taken to cost besides its octets, so that empty ones are bounded too.
pub(in crate::dataplane) const PACKET_OVERHEAD: usize = 64;

/// What it is that waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::dataplane) enum Content {
    /// An IP packet.
    Packet,
    /// Octets of a stream.
    Data(u64),
    /// The end of a stream's octets.
    Finish(u64),
    /// The end of a stream.
    Reset(u64, ResetReason),
}

/// A packet that waits, or a piece of a stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::dataplane) struct Queued {
    pub content: Content,
    pub packet: BytesMut,
    /// Not the default only where the session takes such packets.
    pub offload: OffloadHeader,
    /// When it came.
    pub since: Instant,
}

impl Queued {
    pub(super) fn cost(&self) -> usize {
        self.packet.len() + PACKET_OVERHEAD
    }
}

//! A session's streams.

use std::collections::BTreeMap;
use webtun_wire::StreamLimits;

use super::stream::{Room, Stream};

/// Octets that the connections of a session may leave in its queue together, and what the share of each is by their number.
const QUEUED: usize = 2 << 20;
const SMALLEST_SHARE: usize = 64 * 1024;
const LARGEST_SHARE: usize = 512 * 1024;
/// What a client may send on a stream before it hears more.
pub(super) const FIRST_CREDIT: u64 = 64 * 1024;
/// How far a client may be ahead of a connection, all streams together and each: the share of each is the first by their
/// number. A connection that has this much under way fills 100 Mbit/s at 320 ms.
const TOTAL_WINDOW: u64 = 16 << 20;
const LARGEST_WINDOW: u64 = 4 << 20;

#[derive(Debug, Default)]
pub(in crate::dataplane) struct Streams {
    table: BTreeMap<u64, Stream>,
    /// Ids below it have been used.
    next: u64,
    /// What the client has said in its handshake.
    client: Option<StreamLimits>,
    queued: usize,
    /// Who is first to be read when the queue was full: whoever is takes what room there is.
    turn: u64,
}

impl Streams {
    pub(in crate::dataplane) fn negotiate(&mut self, client: StreamLimits) {
        self.client = Some(client);
    }

    pub(in crate::dataplane) fn is_negotiated(&self) -> bool {
        self.client.is_some()
    }

    /// A stream of this id; `None` where it may not have that.
    pub(super) fn open(&mut self, id: u64) -> Option<&mut Stream> {
        let client = self.client?;
        if id < self.next {
            return None;
        }
        self.next = id + 1;
        Some(self.table.entry(id).or_insert_with(|| Stream::new(FIRST_CREDIT, client.credit)))
    }

    /// Whether there has been a stream of this id.
    pub(super) fn was(&self, id: u64) -> bool {
        id < self.next
    }

    pub(super) fn get(&self, id: u64) -> Option<&Stream> {
        self.table.get(&id)
    }

    pub(super) fn get_mut(&mut self, id: u64) -> Option<&mut Stream> {
        self.table.get_mut(&id)
    }

    pub(super) fn remove(&mut self, id: u64) -> Option<Stream> {
        self.table.remove(&id)
    }

    pub(super) fn len(&self) -> usize {
        self.table.len()
    }

    pub(super) fn ids(&self) -> Vec<u64> {
        self.table.keys().copied().collect()
    }

    /// How far a client may be ahead on each stream.
    pub(super) fn window(&self) -> u64 {
        (TOTAL_WINDOW / self.table.len().max(1) as u64).clamp(FIRST_CREDIT, LARGEST_WINDOW)
    }

    /// What the queue still takes.
    pub(super) fn room(&self) -> Room {
        let share = (QUEUED / self.table.len().max(1)).clamp(SMALLEST_SHARE, LARGEST_SHARE);
        // The rest, where it is little, is not worth a piece of a message.
        let all = QUEUED.saturating_sub(self.queued);
        Room { share, all: if all < SMALLEST_SHARE { 0 } else { all } }
    }

    pub(super) fn enqueued(&mut self, octets: usize) {
        self.queued += octets;
    }

    /// Octets of a stream have left the queue; the streams that may be read on.
    pub(super) fn left(&mut self, id: u64, octets: usize) -> Vec<u64> {
        let was_full = self.room().all == 0;
        self.queued = self.queued.saturating_sub(octets);
        let room = self.room();
        if let Some(stream) = self.table.get_mut(&id) {
            stream.left(octets);
        }
        if !was_full || room.all == 0 {
            let resumes = self.table.get_mut(&id).is_some_and(|stream| stream.resume(room));
            return if resumes { vec![id] } else { Vec::new() };
        }
        let mut resumed: Vec<_> =
            self.table.iter_mut().filter_map(|(id, stream)| stream.resume(room).then_some(*id)).collect();
        let first = resumed.partition_point(|id| *id < self.turn);
        resumed.rotate_left(first);
        self.turn = resumed.first().map_or(self.turn, |id| id + 1);
        resumed
    }
}

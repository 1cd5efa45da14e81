//! Packets that wait for a session's connection.

use bytes::BytesMut;
use std::collections::VecDeque;

use super::DropReason;

/// What a queued packet is taken to cost besides its octets, so that empty ones are bounded too.
const PACKET_OVERHEAD: usize = 64;

/// A session's downlink queue, first in first out, bounded in octets.
///
/// At the bound the newest packet is dropped, connected or not: the earlier ones are those that a receiver needs first,
/// and TCP takes the loss at the end of its flight as the signal to slow down.
#[derive(Debug)]
pub(super) struct Queue {
    packets: VecDeque<BytesMut>,
    octets: usize,
    limit: usize,
}

impl Queue {
    pub(super) fn new(limit: usize) -> Self {
        Self { packets: VecDeque::new(), octets: 0, limit }
    }

    pub(super) fn push(&mut self, packet: BytesMut) -> Result<(), DropReason> {
        let cost = packet.len() + PACKET_OVERHEAD;
        if self.octets + cost > self.limit {
            return Err(DropReason::QueueFull);
        }
        self.octets += cost;
        self.packets.push_back(packet);
        Ok(())
    }

    /// The packet that leaves next.
    pub(super) fn front(&self) -> Option<&BytesMut> {
        self.packets.front()
    }

    pub(super) fn pop(&mut self) -> Option<BytesMut> {
        let packet = self.packets.pop_front()?;
        self.octets -= packet.len() + PACKET_OVERHEAD;
        Some(packet)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.packets.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_is_dropped_at_the_bound() {
        let mut queue = Queue::new(300);
        assert_eq!(queue.push(BytesMut::zeroed(100)), Ok(()));
        assert_eq!(queue.push(BytesMut::zeroed(101)), Err(DropReason::QueueFull));
        assert_eq!(queue.push(BytesMut::zeroed(50)), Ok(()));
        assert_eq!(queue.pop().map(|p| p.len()), Some(100));
        assert_eq!(queue.front().map(|p| p.len()), Some(50));
        assert_eq!(queue.pop().map(|p| p.len()), Some(50));
        assert!(queue.is_empty());
        assert_eq!(queue.octets, 0);
    }
}

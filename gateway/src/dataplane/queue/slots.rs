//! Many short queues in one array, so that what is put in and taken out soon stays in the processor's cache.

use super::Queued;

/// Slots that stay when all are empty.
const KEPT: usize = 256;
const NONE: u32 = u32::MAX;

/// What several [`Chain`]s hold, each in its order.
#[derive(Debug, Default)]
pub(super) struct Slots {
    slots: Vec<Slot>,
    /// Empty slots.
    unused: Vec<u32>,
}

#[derive(Debug)]
struct Slot {
    queued: Option<Queued>,
    before: u32,
    after: u32,
}

/// The first and the last slot of a queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Chain {
    first: u32,
    last: u32,
}

impl Default for Chain {
    fn default() -> Self {
        Self { first: NONE, last: NONE }
    }
}

impl Chain {
    pub(super) fn is_empty(self) -> bool {
        self.first == NONE
    }
}

impl Slots {
    pub(super) fn front(&self, chain: Chain) -> Option<&Queued> {
        self.slots.get(chain.first as usize)?.queued.as_ref()
    }

    pub(super) fn front_mut(&mut self, chain: Chain) -> Option<&mut Queued> {
        self.slots.get_mut(chain.first as usize)?.queued.as_mut()
    }

    pub(super) fn back_mut(&mut self, chain: Chain) -> Option<&mut Queued> {
        self.slots.get_mut(chain.last as usize)?.queued.as_mut()
    }

    pub(super) fn push_back(&mut self, chain: &mut Chain, queued: Queued) {
        let index = self.take(Slot { queued: Some(queued), before: chain.last, after: NONE });
        match self.slots.get_mut(chain.last as usize) {
            Some(last) => last.after = index,
            None => chain.first = index,
        }
        chain.last = index;
    }

    pub(super) fn push_front(&mut self, chain: &mut Chain, queued: Queued) {
        let index = self.take(Slot { queued: Some(queued), before: NONE, after: chain.first });
        match self.slots.get_mut(chain.first as usize) {
            Some(first) => first.before = index,
            None => chain.last = index,
        }
        chain.first = index;
    }

    pub(super) fn pop_front(&mut self, chain: &mut Chain) -> Option<Queued> {
        let slot = self.slots.get_mut(chain.first as usize)?;
        let (queued, index) = (slot.queued.take(), core::mem::replace(&mut chain.first, slot.after));
        match self.slots.get_mut(chain.first as usize) {
            Some(first) => first.before = NONE,
            None => chain.last = NONE,
        }
        self.free(index);
        queued
    }

    pub(super) fn pop_back(&mut self, chain: &mut Chain) -> Option<Queued> {
        let slot = self.slots.get_mut(chain.last as usize)?;
        let (queued, index) = (slot.queued.take(), core::mem::replace(&mut chain.last, slot.before));
        match self.slots.get_mut(chain.last as usize) {
            Some(last) => last.after = NONE,
            None => chain.first = NONE,
        }
        self.free(index);
        queued
    }

    fn take(&mut self, slot: Slot) -> u32 {
        let Some(index) = self.unused.pop() else {
            self.slots.push(slot);
            return (self.slots.len() - 1) as u32;
        };
        self.slots[index as usize] = slot;
        index
    }

    /// Where all are empty, the next ones begin at the start again, in the order in which memory is read ahead.
    fn free(&mut self, index: u32) {
        self.unused.push(index);
        if self.unused.len() == self.slots.len() {
            self.slots.clear();
            self.unused.clear();
            self.slots.shrink_to(KEPT);
            self.unused.shrink_to(KEPT);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dataplane::queue::Content;
    use bytes::BytesMut;
    use proptest::prelude::*;
    use std::collections::VecDeque;
    use webtun_wire::{Instant, OffloadHeader};

    fn queued(len: usize) -> Queued {
        let (packet, offload) = (BytesMut::zeroed(len), OffloadHeader::default());
        Queued { content: Content::Packet, packet, offload, since: Instant::ZERO }
    }

    proptest! {
        #[test]
        fn chains_are_queues(steps in prop::collection::vec((0..3usize, 0..5u8), 1..300)) {
            let mut slots = Slots::default();
            let mut chains = [Chain::default(); 3];
            let mut models: [VecDeque<usize>; 3] = Default::default();
            for (len, (which, step)) in steps.into_iter().enumerate() {
                let (chain, model) = (&mut chains[which], &mut models[which]);
                match step {
                    0 | 1 => {
                        slots.push_back(chain, queued(len));
                        model.push_back(len);
                    }
                    2 => {
                        slots.push_front(chain, queued(len));
                        model.push_front(len);
                    }
                    3 => prop_assert_eq!(slots.pop_front(chain).map(|it| it.packet.len()), model.pop_front()),
                    _ => prop_assert_eq!(slots.pop_back(chain).map(|it| it.packet.len()), model.pop_back()),
                }
                prop_assert_eq!(slots.front(*chain).map(|it| it.packet.len()), model.front().copied());
                prop_assert_eq!(chain.is_empty(), model.is_empty());
                let waiting: usize = models.iter().map(VecDeque::len).sum();
                prop_assert!(slots.slots.len() - slots.unused.len() == waiting);
            }
        }
    }
}

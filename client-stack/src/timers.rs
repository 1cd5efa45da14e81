use std::cmp::Reverse;
use std::collections::BinaryHeap;

use webtun_wire::Instant;

/// A heap of deadlines that is corrected only when one comes due.
///
/// Most timers of TCP are moved on before they fire. So an owner remembers the earliest deadline that lies here for it,
/// adds one only when it wants an earlier one, and looks at its real deadline when it is called.
pub(crate) struct Timers<K> {
    heap: BinaryHeap<Reverse<(Instant, K)>>,
}

impl<K: Ord + Copy> Timers<K> {
    pub const fn new() -> Self {
        Self { heap: BinaryHeap::new() }
    }

    /// Makes sure that `key` is called at `wanted` or before. `scheduled` is the owner's memory.
    pub fn schedule(&mut self, key: K, wanted: Option<Instant>, scheduled: &mut Option<Instant>) {
        let Some(wanted) = wanted else { return };
        if scheduled.is_none_or(|earlier| wanted < earlier) {
            *scheduled = Some(wanted);
            self.heap.push(Reverse((wanted, key)));
        }
    }

    /// The next deadline that has come, with its owner.
    pub fn pop_due(&mut self, now: Instant) -> Option<(Instant, K)> {
        if self.heap.peek()?.0.0 > now {
            return None;
        }
        self.heap.pop().map(|Reverse(entry)| entry)
    }

    /// The earliest deadline. It may belong to an owner that has moved on or is gone: then the call is for nothing.
    pub fn next(&self) -> Option<Instant> {
        self.heap.peek().map(|Reverse((at, _))| *at)
    }
}

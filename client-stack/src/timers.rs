use std::cmp::Reverse;
use std::collections::BinaryHeap;

use webtun_wire::Instant;

/// A heap of deadlines that is corrected only when one comes due.
///
/// Most timers of TCP are moved on before they fire. So an owner remembers what lies here for it ([`Scheduled`]), adds an
/// entry only when it wants to be called earlier than that, and looks at its real deadline when it is called.
pub(crate) struct Timers<K> {
    heap: BinaryHeap<Reverse<(Instant, K)>>,
}

/// An owner's memory of its entries: the earliest, and the one that it has put before. Without the second, a short timer
/// that comes and goes would leave a new long one behind each time.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Scheduled {
    next: Option<Instant>,
    then: Option<Instant>,
}

impl Scheduled {
    /// An entry has come due; false where it was forgotten meanwhile.
    pub fn take(&mut self, at: Instant) -> bool {
        let expected = self.next == Some(at);
        if expected {
            self.next = self.then.take();
        }
        expected
    }
}

impl<K: Ord + Copy> Timers<K> {
    pub const fn new() -> Self {
        Self { heap: BinaryHeap::new() }
    }

    /// Makes sure that `key` is called at `wanted` or before.
    pub fn schedule(&mut self, key: K, wanted: Option<Instant>, scheduled: &mut Scheduled) {
        let Some(wanted) = wanted else { return };
        if scheduled.next.is_none_or(|next| wanted < next) {
            scheduled.then = scheduled.next;
            scheduled.next = Some(wanted);
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_short_timer_beside_a_long_one_leaves_nothing_behind() {
        let mut timers = Timers::new();
        let mut scheduled = Scheduled::default();
        for turn in 0..100 {
            let now = Instant::from_millis(turn * 10);
            timers.schedule(1, Some(now + std::time::Duration::from_secs(60)), &mut scheduled);
            timers.schedule(1, Some(now + std::time::Duration::from_millis(10)), &mut scheduled);
            let (at, _) = timers.pop_due(Instant::from_millis(turn * 10 + 10)).expect("the short one");
            assert!(scheduled.take(at));
        }
        assert_eq!(timers.heap.len(), 1);
    }
}

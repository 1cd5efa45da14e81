//! Timers in a heap with lazy deletion: setting a timer later costs nothing, and nothing ever scans all of them.

use core::cmp::Reverse;
use std::collections::BinaryHeap;
use webtun_wire::Instant;

/// Wake-up times of many keys.
///
/// Each key's owner keeps a [`Wake`] beside the thing that is timed. A timer that moves later keeps its old entry: the
/// owner finds, when it fires, that there is time left, and sets it again. One that moves earlier gets a second entry,
/// and the first one is stale; stale entries are dropped when they fire or outnumber the live ones.
#[derive(Debug)]
pub(super) struct TimerQueue<K> {
    heap: BinaryHeap<Reverse<(Instant, K)>>,
    stale: usize,
}

/// When a key's valid entry fires, if it has one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Wake(Option<Instant>);

impl<K: Ord + Copy> TimerQueue<K> {
    pub(super) fn new() -> Self {
        Self { heap: BinaryHeap::new(), stale: 0 }
    }

    /// Makes sure that `key` fires at `at` or earlier.
    pub(super) fn set(&mut self, wake: &mut Wake, key: K, at: Instant) {
        match wake.0 {
            Some(set) if set <= at => return,
            Some(_) => self.stale += 1,
            None => {}
        }
        wake.0 = Some(at);
        self.heap.push(Reverse((at, key)));
    }

    /// The thing that is timed is gone; its entry is stale.
    pub(super) fn forget(&mut self, wake: &mut Wake) {
        if wake.0.take().is_some() {
            self.stale += 1;
        }
    }

    /// The next entry that is due. The owner passes it to [`TimerQueue::fired`].
    pub(super) fn pop_due(&mut self, now: Instant) -> Option<(Instant, K)> {
        if self.next()? > now {
            return None;
        }
        self.heap.pop().map(|Reverse(entry)| entry)
    }

    /// Whether an entry that was popped is the key's valid one. `wake` is `None` where the key is gone.
    pub(super) fn fired(&mut self, wake: Option<&mut Wake>, at: Instant) -> bool {
        if let Some(wake) = wake
            && wake.0 == Some(at)
        {
            wake.0 = None;
            return true;
        }
        self.stale = self.stale.saturating_sub(1);
        false
    }

    /// When the earliest entry fires; it may be a stale one.
    pub(super) fn next(&self) -> Option<Instant> {
        self.heap.peek().map(|Reverse((at, _))| *at)
    }

    /// Sweeps stale entries out where they are the majority. `is_live` says whether a key still waits for this instant.
    pub(super) fn sweep(&mut self, is_live: impl Fn(K, Wake) -> bool) {
        if self.stale > 64 && self.stale * 2 > self.heap.len() {
            self.heap.retain(|Reverse((at, key))| is_live(*key, Wake(Some(*at))));
            self.stale = 0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: u64) -> Instant {
        Instant::from_millis(ms)
    }

    #[test]
    fn later_keeps_the_entry_and_earlier_adds_one() {
        let mut timers = TimerQueue::new();
        let mut wake = Wake::default();
        timers.set(&mut wake, 1, at(10));
        timers.set(&mut wake, 1, at(20));
        assert_eq!(timers.next(), Some(at(10)));
        timers.set(&mut wake, 1, at(5));
        assert_eq!(timers.pop_due(at(4)), None);
        let (first, key) = timers.pop_due(at(30)).expect("due");
        assert_eq!((first, key), (at(5), 1));
        assert!(timers.fired(Some(&mut wake), first));
        let (second, _) = timers.pop_due(at(30)).expect("the stale one");
        assert!(!timers.fired(Some(&mut wake), second));
        assert_eq!(timers.pop_due(at(30)), None);
    }

    #[test]
    fn the_stale_majority_is_swept() {
        let mut timers = TimerQueue::new();
        let mut wakes = vec![Wake::default(); 100];
        for (key, wake) in wakes.iter_mut().enumerate() {
            timers.set(wake, key, at(1000 + key as u64));
        }
        for wake in &mut wakes[..80] {
            timers.forget(wake);
        }
        timers.sweep(|key, wake| wakes[key] == wake);
        assert_eq!(timers.heap.len(), 20);
        assert_eq!(timers.next(), Some(at(1080)));
    }
}

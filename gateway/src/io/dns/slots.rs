use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Places of which each asker gets a share. Half of them are for askers who have none yet; of the other half an asker gets,
/// at most, half as many as are left. One alone gets a sixth of all, and to keep newcomers out more askers must hold on to
/// their places than half of these are.
#[derive(Debug)]
pub(in crate::io) struct Slots {
    count: usize,
    taken: Mutex<Taken>,
}

#[derive(Debug, Default)]
struct Taken {
    all: usize,
    by_asker: BTreeMap<u32, usize>,
}

/// A place that is taken; free again when it is dropped.
#[derive(Debug)]
pub(in crate::io) struct Slot {
    slots: Arc<Slots>,
    asker: u32,
}

impl Slots {
    pub(in crate::io) fn new(count: usize) -> Arc<Self> {
        Arc::new(Self { count, taken: Mutex::default() })
    }

    /// A place for `asker`, unless it has its share.
    pub(in crate::io) fn take(self: &Arc<Self>, asker: u32) -> Option<Slot> {
        let mut taken = self.lock();
        let own = taken.by_asker.get(&asker).copied().unwrap_or(0);
        let free = self.count.saturating_sub(taken.all);
        let share = free.saturating_sub(self.count / 2) / 2;
        if free == 0 || own > 0 && own >= share {
            return None;
        }
        taken.by_asker.insert(asker, own + 1);
        taken.all += 1;
        Some(Slot { slots: Arc::clone(self), asker })
    }

    fn lock(&self) -> MutexGuard<'_, Taken> {
        // Nothing panics while it is held.
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        let mut taken = self.slots.lock();
        taken.all = taken.all.saturating_sub(1);
        match taken.by_asker.get_mut(&self.asker) {
            Some(own) if *own > 1 => *own -= 1,
            _ => {
                taken.by_asker.remove(&self.asker);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all_of(slots: &Arc<Slots>, asker: u32) -> Vec<Slot> {
        std::iter::from_fn(|| slots.take(asker)).collect()
    }

    #[test]
    fn one_asker_gets_its_share_and_gives_it_back() {
        let slots = Slots::new(256);
        let share = all_of(&slots, 7);
        assert_eq!(share.len(), 43);
        drop(share);
        assert_eq!(slots.lock().by_asker.len(), 0);
        assert_eq!(all_of(&slots, 8).len(), 43);
        assert_eq!(all_of(&Slots::new(1), 8).len(), 1);
    }

    #[test]
    fn a_newcomer_finds_a_place_however_many_are_greedy() {
        let slots = Slots::new(256);
        let held: Vec<_> = (0..128).map(|asker| all_of(&slots, asker)).collect();
        assert!(held.iter().all(|places| !places.is_empty()));
        assert!(slots.take(1000).is_some());
    }
}

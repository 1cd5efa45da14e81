//! From hashes to numbers of slots: a hash table that asks memory for one cache line per question, and can be asked ahead.
//!
//! Entries are found by linear probing from the place that the upper bits of their hash name, and carry 32 bits of it, so
//! that a wrong one is rarely looked at, and so that the table grows without a look at what it leads to.

/// Entries, 0 for none: 32 bits of the hash, and the number plus one.
#[derive(Debug, Default)]
pub(super) struct Index {
    /// Of a power of two, or none.
    entries: Vec<u64>,
    len: usize,
}

const SMALLEST: usize = 16;
/// Entries that are looked at for a guess; few are further from their place.
const GUESSED: usize = 8;

fn entry(hash: u64, number: u32) -> u64 {
    tag(hash) << 32 | (u64::from(number) + 1)
}

fn tag(hash: u64) -> u64 {
    hash >> 32
}

fn number(entry: u64) -> u32 {
    (entry as u32).wrapping_sub(1)
}

impl Index {
    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// What stands where an entry with this hash is looked for first. To be called for many hashes before any of them is
    /// looked up: no call waits for another.
    pub(super) fn look_at(&self, hash: u64) -> u64 {
        self.entries.get(self.place(tag(hash))).copied().unwrap_or(0)
    }

    /// The number that is probably found under this hash: of the first of so many entries that have its bits. Without a branch
    /// that depends on the table, since nobody could foretell it.
    pub(super) fn guess(&self, hash: u64) -> Option<u32> {
        let (tag, mask) = (tag(hash), self.entries.len().checked_sub(1)?);
        let at = self.place(tag);
        let entry = (0..GUESSED).rev().fold(0, |guess, ahead| {
            let entry = self.entries[(at + ahead) & mask];
            core::hint::select_unpredictable(entry >> 32 == tag, entry, guess)
        });
        (entry as u32 != 0).then(|| number(entry))
    }

    /// The first number under this hash for which `is_it` says so.
    pub(super) fn find(&self, hash: u64, mut is_it: impl FnMut(u32) -> bool) -> Option<u32> {
        self.position(hash, |entry| is_it(number(entry))).map(|at| number(self.entries[at]))
    }

    /// Adds a number, less than [`u32::MAX`].
    pub(super) fn insert(&mut self, hash: u64, number: u32) {
        // Full up to four fifths, so that 100,000 entries take a megabyte.
        if (self.len + 1) * 5 > self.entries.len() * 4 {
            self.grow();
        }
        self.put(entry(hash, number));
        self.len += 1;
    }

    /// Takes a number out, where it is there under this hash.
    pub(super) fn remove(&mut self, hash: u64, number: u32) {
        let Some(mut gap) = self.position(hash, |other| other == entry(hash, number)) else { return };
        let mask = self.entries.len() - 1;
        self.len -= 1;
        // What follows moves up, unless it stands before its place then.
        let mut at = gap;
        loop {
            at = (at + 1) & mask;
            let entry = self.entries[at];
            if entry == 0 {
                break;
            }
            let distance = at.wrapping_sub(self.place(entry >> 32)) & mask;
            if distance >= at.wrapping_sub(gap) & mask {
                self.entries[gap] = entry;
                gap = at;
            }
        }
        self.entries[gap] = 0;
    }

    fn position(&self, hash: u64, mut is_it: impl FnMut(u64) -> bool) -> Option<usize> {
        let mask = self.entries.len().checked_sub(1)?;
        let mut at = self.place(tag(hash));
        loop {
            match self.entries[at & mask] {
                0 => return None,
                entry if entry >> 32 == tag(hash) && is_it(entry) => return Some(at & mask),
                _ => at += 1,
            }
        }
    }

    /// Where an entry belongs: the upper bits of its tag.
    fn place(&self, tag: u64) -> usize {
        ((tag * self.entries.len() as u64) >> 32) as usize
    }

    /// Puts an entry into the first free place; there is one.
    fn put(&mut self, entry: u64) {
        let mask = self.entries.len() - 1;
        let mut at = self.place(entry >> 32);
        while self.entries[at & mask] != 0 {
            at += 1;
        }
        self.entries[at & mask] = entry;
    }

    fn grow(&mut self) {
        let larger = vec![0; (self.entries.len() * 2).max(SMALLEST)];
        for entry in core::mem::replace(&mut self.entries, larger) {
            if entry != 0 {
                self.put(entry);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    proptest! {
        /// Few hashes, at both ends of the table, so that probing goes round and entries share a tag.
        #[test]
        fn it_is_a_map(steps in prop::collection::vec((0..4u64, 0..6u64, any::<bool>()), 1..400)) {
            let mut index = Index::default();
            let mut model: BTreeMap<u32, u64> = BTreeMap::new();
            for (number, (high, low, adds)) in (0..).zip(steps) {
                let hash = [0, u64::MAX, 0x8000 << 48, u64::MAX << 33][high as usize] ^ low << 31;
                if adds {
                    index.insert(hash, number);
                    model.insert(number, hash);
                } else if let Some((number, hash)) = model.pop_first() {
                    index.remove(hash, number);
                    index.remove(hash, number);
                }
                prop_assert_eq!(index.len(), model.len());
                for (number, hash) in &model {
                    prop_assert_eq!(index.find(*hash, |it| it == *number), Some(*number));
                    prop_assert!(index.look_at(*hash) != 0);
                }
                prop_assert_eq!(index.find(hash, |it| !model.contains_key(&it)), None);
            }
        }
    }
}

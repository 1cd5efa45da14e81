//! Whose turn it is to leave a queue.

use std::collections::VecDeque;

/// Lanes in two lines, as RFC 8290 section 4.2 has them: one that begins goes before those that keep the line busy, so that an
/// echo waits for no download. One that has nothing left after its turn waits once with the others, lest one that always
/// begins anew keep them waiting.
#[derive(Debug, Default)]
pub(super) struct Turns {
    new: VecDeque<u8>,
    old: VecDeque<u8>,
    /// A bit for each lane that is in one of them.
    listed: u64,
}

impl Turns {
    /// How many lanes there can be.
    pub(super) const LANES: usize = u64::BITS as usize;

    /// A lane has something. True where it had nothing and did not wait.
    pub(super) fn begin(&mut self, lane: u8) -> bool {
        let begins = self.listed & bit(lane) == 0;
        if begins {
            self.listed |= bit(lane);
            self.new.push_back(lane);
        }
        begins
    }

    /// Who is next.
    pub(super) fn first(&self) -> Option<u8> {
        self.new.front().or(self.old.front()).copied()
    }

    /// The first has had its turn, and has more.
    pub(super) fn go_on(&mut self) {
        if let Some(lane) = self.new.pop_front().or_else(|| self.old.pop_front()) {
            self.old.push_back(lane);
        }
    }

    /// The first has nothing left.
    pub(super) fn rest(&mut self) {
        match self.new.pop_front() {
            Some(lane) if !self.old.is_empty() => self.old.push_back(lane),
            Some(lane) => self.listed &= !bit(lane),
            None => self.listed &= !self.old.pop_front().map_or(0, bit),
        }
    }

    /// A lane has lost what it had.
    pub(super) fn forget(&mut self, lane: u8) {
        self.listed &= !bit(lane);
        self.new.retain(|other| *other != lane);
        self.old.retain(|other| *other != lane);
    }

    /// All that wait.
    pub(super) fn iter(&self) -> impl Iterator<Item = u8> {
        self.new.iter().chain(&self.old).copied()
    }

    /// How many wait.
    pub(super) fn len(&self) -> usize {
        self.new.len() + self.old.len()
    }
}

fn bit(lane: u8) -> u64 {
    1 << (usize::from(lane) % Turns::LANES)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_begins_goes_first_and_then_waits_with_the_others() {
        let mut turns = Turns::default();
        assert!(turns.begin(1) && !turns.begin(1));
        turns.go_on();
        assert!(turns.begin(2));
        assert_eq!(turns.first(), Some(2));
        turns.rest();
        assert!(!turns.begin(2), "it waits still");
        assert_eq!((turns.first(), turns.len()), (Some(1), 2));
        turns.go_on();
        assert_eq!(turns.first(), Some(2));
        turns.rest();
        assert!(turns.begin(2));
    }

    #[test]
    fn who_is_alone_need_not_wait() {
        let mut turns = Turns::default();
        turns.begin(63);
        turns.rest();
        assert_eq!((turns.first(), turns.len()), (None, 0));
        assert!(turns.begin(63));
        turns.forget(63);
        assert_eq!((turns.first(), turns.begin(63)), (None, true));
    }
}

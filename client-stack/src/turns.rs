//! Whose turn it is to send.

use std::collections::VecDeque;

use crate::SocketId;

/// Which line a connection has waited in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Line {
    /// It had nothing to send before.
    New,
    /// It had a turn already, and more to send.
    Old,
}

/// Connections that may have something to send, in two lines as RFC 8290 section 4.2 has them for flows: one that begins
/// goes before those that keep the line busy, so that an echo waits for no download. What has nothing left after its turn
/// waits once with the others, lest one that always begins anew keep them waiting. Each is in one line at most, which its
/// owner sees to.
#[derive(Debug, Default)]
pub(crate) struct Turns {
    new: VecDeque<SocketId>,
    old: VecDeque<SocketId>,
}

impl Turns {
    /// Lets one begin.
    pub fn begin(&mut self, id: SocketId) {
        self.new.push_back(id);
    }

    /// Lets one wait for another turn.
    pub fn go_on(&mut self, id: SocketId) {
        self.old.push_back(id);
    }

    /// After a turn that left nothing to be sent: true where it waits once more.
    pub fn rest(&mut self, id: SocketId, line: Line) -> bool {
        let waits = line == Line::New && !self.old.is_empty();
        if waits {
            self.old.push_back(id);
        }
        waits
    }

    /// Whether nobody waits.
    #[cfg(feature = "streams")]
    pub fn is_empty(&self) -> bool {
        self.new.is_empty() && self.old.is_empty()
    }

    /// Who is next.
    pub fn next(&mut self) -> Option<(SocketId, Line)> {
        let new = self.new.pop_front().map(|id| (id, Line::New));
        new.or_else(|| self.old.pop_front().map(|id| (id, Line::Old)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BULK: SocketId = SocketId::from_u32(1);
    const ECHO: SocketId = SocketId::from_u32(2);
    const OTHER: SocketId = SocketId::from_u32(3);

    #[test]
    fn who_begins_goes_before_who_goes_on() {
        let mut turns = Turns::default();
        [BULK, OTHER].into_iter().for_each(|id| turns.go_on(id));
        turns.begin(ECHO);
        let order: Vec<_> = std::iter::from_fn(|| turns.next()).collect();
        assert_eq!(order, [(ECHO, Line::New), (BULK, Line::Old), (OTHER, Line::Old)]);
    }

    #[test]
    fn who_begins_again_and_again_waits_with_the_others() {
        let mut turns = Turns::default();
        turns.go_on(BULK);
        turns.begin(ECHO);
        assert_eq!(turns.next(), Some((ECHO, Line::New)));
        assert!(turns.rest(ECHO, Line::New));
        assert_eq!(turns.next(), Some((BULK, Line::Old)));
        turns.go_on(BULK);
        assert_eq!(turns.next(), Some((ECHO, Line::Old)));
        assert!(!turns.rest(ECHO, Line::Old), "after that it may begin again");
    }

    #[test]
    fn nobody_waits_where_nobody_else_does() {
        let mut turns = Turns::default();
        assert!(!turns.rest(ECHO, Line::New));
        assert_eq!(turns.next(), None);
    }
}

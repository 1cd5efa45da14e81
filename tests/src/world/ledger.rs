//! The books of streams, kept apart from both ends: what each side may send, and what it has.

use std::collections::BTreeMap;
use webtun_gateway::dataplane::SessionId;
use webtun_wire::{Capsule, capsules};

/// One side of a stream.
#[derive(Debug, Default)]
struct Side {
    sent: u64,
    /// By the other side's word.
    allowed: u64,
    finished: bool,
    reset: bool,
}

/// One session's, client and gateway.
#[derive(Debug, Default)]
struct Session {
    /// The next message of either that was not seen before: those that are sent again after a cut count once.
    next: [u64; 2],
    /// What the other side takes of every stream at first.
    first: [u64; 2],
    streams: BTreeMap<u64, [Side; 2]>,
}

/// Whose a message is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sender {
    /// The client's, on its arrival.
    Client = 0,
    /// The gateway's, when it leaves.
    Gateway = 1,
}

/// All sessions'.
#[derive(Debug, Default)]
pub(super) struct Ledger(BTreeMap<SessionId, Session>);

impl Ledger {
    /// Sees a message, as the gateway does.
    ///
    /// # Panics
    ///
    /// Panics where a side sends beyond its credit, or after its end.
    pub(super) fn record(&mut self, id: SessionId, from: Sender, message: &[u8]) {
        let session = self.0.entry(id).or_default();
        for capsule in capsules(message).map_while(Result::ok) {
            if let Capsule::Sequence { number } = capsule {
                if number < session.next[from as usize] {
                    return;
                }
                session.next[from as usize] = number + 1;
            }
            session.record(from, &capsule);
        }
    }
}

impl Session {
    fn record(&mut self, from: Sender, capsule: &Capsule<'_>) {
        let (me, other) = (from as usize, 1 - from as usize);
        match capsule {
            Capsule::StreamLimits(limits) => self.first[other] = limits.credit,
            Capsule::StreamOpen(open) => {
                assert!(self.streams.last_key_value().is_none_or(|(last, _)| *last < open.stream), "ids go up");
                let sides = self.first.map(|allowed| Side { allowed, ..Side::default() });
                self.streams.insert(open.stream, sides);
                self.sent(me, open.stream, open.data);
            }
            Capsule::StreamData { stream, data } => self.sent(me, *stream, data),
            Capsule::StreamCredit { stream, limit } => {
                let side = &mut self.streams.get_mut(stream).expect("a stream")[other];
                side.allowed = side.allowed.max(*limit);
            }
            Capsule::StreamFinish { stream } => {
                let side = &mut self.streams.get_mut(stream).expect("a stream")[me];
                assert!(!side.finished && !side.reset, "stream {stream}: an end behind its end: {side:?}");
                side.finished = true;
            }
            Capsule::StreamReset { stream, .. } => {
                let side = &mut self.streams.get_mut(stream).expect("a stream")[me];
                assert!(!side.reset, "stream {stream} is reset twice: {side:?}");
                side.reset = true;
            }
            _ => {}
        }
    }

    fn sent(&mut self, me: usize, stream: u64, data: &[u8]) {
        let side = &mut self.streams.get_mut(&stream).expect("a stream that was opened")[me];
        side.sent += data.len() as u64;
        assert!(!side.finished && !side.reset, "stream {stream}: data behind its end: {side:?}");
        assert!(side.sent <= side.allowed, "stream {stream}: beyond its credit: {side:?}");
    }
}

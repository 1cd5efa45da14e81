//! A cut is not a loss: both halves of the replay of sequenced messages.

use alloc::collections::VecDeque;
use core::fmt;

/// Octets of sequenced messages after which an ACK is due, where the receiver has not chosen more.
const ACK_OCTETS: usize = 64 * 1024;
/// The part of what may be unacknowledged after which it is due at the latest.
const LARGEST_PART: usize = 4;
/// Sequenced messages after which an ACK is due.
const ACK_MESSAGES: u32 = 16;

/// Why the two ends of a session no longer fit together. Each of them ends it with CLOSE `Protocol`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ReplayError {
    /// The peer acknowledges, or expects after, a message that was never sent.
    Unsent,
    /// The peer asks again for a message that it had acknowledged and that is gone.
    Forgotten,
    /// A message is missing between the last one and this one.
    Gap,
}

impl fmt::Display for ReplayError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Unsent => "a message was acknowledged before it was sent",
            Self::Forgotten => "a message is asked for that was acknowledged",
            Self::Gap => "a sequenced message is missing",
        })
    }
}

impl core::error::Error for ReplayError {}

/// The sender's half: keeps sequenced messages until they are acknowledged.
#[derive(Clone, Debug)]
pub struct SendRing<M> {
    /// With their octets.
    messages: VecDeque<(M, usize)>,
    /// The number of the first message that is kept, or of the next one where none is.
    first: u64,
    octets: usize,
    limit: usize,
}

impl<M> SendRing<M> {
    /// An empty ring whose first message has number 0. `limit` is in octets, see [`SendRing::has_room`].
    pub fn new(limit: usize) -> Self {
        Self { messages: VecDeque::new(), first: 0, octets: 0, limit }
    }

    /// The number that the next message must carry in its SEQUENCE.
    pub fn next_number(&self) -> u64 {
        self.first + self.messages.len() as u64
    }

    /// False while the limit is reached: no new message may be made. The last one before that may exceed the limit,
    /// so at most the limit and one message are kept.
    pub fn has_room(&self) -> bool {
        self.octets < self.limit
    }

    /// Keeps a message of so many octets, which carries [`SendRing::next_number`], and returns that number.
    pub fn push(&mut self, message: M, octets: usize) -> u64 {
        let number = self.next_number();
        self.octets += octets;
        self.messages.push_back((message, octets));
        number
    }

    /// The peer has every message below `next`. A number that is older than an earlier one changes nothing: messages
    /// are sent again as they were, with the ACK of their time.
    ///
    /// # Errors
    ///
    /// [`ReplayError::Unsent`] where message `next - 1` was never sent.
    pub fn acknowledge(&mut self, next: u64) -> Result<(), ReplayError> {
        self.acknowledge_each(next, drop)
    }

    /// As [`SendRing::acknowledge`]; `done` gets each message that is kept no longer, for its memory's sake.
    ///
    /// # Errors
    ///
    /// As there.
    pub fn acknowledge_each(&mut self, next: u64, mut done: impl FnMut(M)) -> Result<(), ReplayError> {
        if next > self.next_number() {
            return Err(ReplayError::Unsent);
        }
        while self.first < next {
            let Some((message, octets)) = self.messages.pop_front() else { break };
            self.octets -= octets;
            self.first += 1;
            done(message);
        }
        Ok(())
    }

    /// Begins a replay: the peer's handshake says that it expects `next`. Afterwards [`SendRing::iter`] yields what is
    /// to be sent again.
    ///
    /// # Errors
    ///
    /// [`ReplayError::Unsent`] as in [`SendRing::acknowledge`], [`ReplayError::Forgotten`] where message `next` had
    /// been acknowledged.
    pub fn resume(&mut self, next: u64) -> Result<(), ReplayError> {
        if next < self.first {
            return Err(ReplayError::Forgotten);
        }
        self.acknowledge(next)
    }

    /// The messages that are not acknowledged, oldest first.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = &M> + ExactSizeIterator {
        self.messages.iter().map(|(message, _)| message)
    }

    /// The message with this number, while it is kept.
    pub fn get(&self, number: u64) -> Option<&M> {
        self.messages.get(usize::try_from(number.checked_sub(self.first)?).ok()?).map(|(message, _)| message)
    }

    /// The number of the oldest message that is not acknowledged, or [`SendRing::next_number`] where there is none.
    pub fn first_number(&self) -> u64 {
        self.first
    }

    /// How many octets are kept.
    pub fn octets(&self) -> usize {
        self.octets
    }

    /// True where every message is acknowledged.
    pub fn is_empty(&self) -> bool {
        self.messages.is_empty()
    }
}

/// What to do with a sequenced message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Accept {
    /// It is the next one: to be processed.
    New,
    /// It has been processed before: to be skipped as a whole.
    Duplicate,
}

/// The receiver's half: lets each sequenced message through once and in order, and knows when to acknowledge.
#[derive(Clone, Debug)]
pub struct ReceiveWindow {
    next: u64,
    octets: usize,
    messages: u32,
    /// After so many octets an ACK is due.
    due: usize,
}

impl Default for ReceiveWindow {
    fn default() -> Self {
        Self { next: 0, octets: 0, messages: 0, due: ACK_OCTETS }
    }
}

impl ReceiveWindow {
    /// Expects message 0.
    pub fn new() -> Self {
        Self::default()
    }

    /// Acknowledges as seldom as a peer allows that keeps `unacknowledged` octets: for a receiver to which a message of its
    /// own is dear, and whose peer does not measure by its ACKs.
    pub fn spare_acks(&mut self, unacknowledged: usize) {
        self.due = (unacknowledged / LARGEST_PART).max(ACK_OCTETS);
    }

    /// A message with SEQUENCE `number` and of `octets` octets in all has come.
    ///
    /// # Errors
    ///
    /// [`ReplayError::Gap`] where messages before it are missing.
    pub fn accept(&mut self, number: u64, octets: usize) -> Result<Accept, ReplayError> {
        if number > self.next {
            return Err(ReplayError::Gap);
        }
        self.octets = self.octets.saturating_add(octets);
        self.messages = self.messages.saturating_add(1);
        if number < self.next {
            return Ok(Accept::Duplicate);
        }
        self.next += 1;
        Ok(Accept::New)
    }

    /// The next number that is expected: what an ACK and a handshake carry.
    pub fn next(&self) -> u64 {
        self.next
    }

    /// True where an ACK must leave at once: so many octets, or 16 messages, have come since the last one.
    pub fn ack_due(&self) -> bool {
        self.octets >= self.due || self.messages >= ACK_MESSAGES
    }

    /// True where anything has come since the last ACK, which must then leave within 50 ms.
    pub fn ack_pending(&self) -> bool {
        self.messages > 0
    }

    /// An ACK with [`ReceiveWindow::next`], or a handshake that carries it, has been sent.
    pub fn acked(&mut self) {
        (self.octets, self.messages) = (0, 0);
    }
}

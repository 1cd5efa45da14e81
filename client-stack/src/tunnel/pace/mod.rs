//! How much may be under way to the gateway.
//!
//! Flows take turns in front of the tunnel; behind it everything is one FIFO: the browser's buffer, the kernel's, and those
//! of the path, megabytes that no `bufferedAmount` shows. So a message is made only while what the gateway has not
//! received yet is little: what the path holds when nothing queues, which is its delivery rate times its shortest round
//! trip, and a few milliseconds' worth beside, which is the queue that keeps it busy. Rate and round trip come from what
//! the gateway says it has received, by ACK and by PONG; the ways to estimate them are those of BBR
//! (draft-ietf-ccwg-bbr): the best rate of the last rounds, the shortest round trip, a start that doubles, and now and
//! then half the window, which shows the round trip without our own queue.

mod rate;
mod round_trip;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::time::Duration;

use webtun_wire::Instant;

use self::rate::BestRate;
use self::round_trip::ShortestRoundTrip;

/// What may queue, beside an eighth of the round trip.
const DELAY: Duration = Duration::from_millis(5);
/// What one message may add to the delay of the next.
const MESSAGE_TIME: Duration = Duration::from_millis(5);
/// The window before anything is known, and the least that it becomes, in octets.
const INITIAL_WINDOW: u64 = 64 * 1024;
const SMALLEST_WINDOW: u64 = 8 * 1024;
/// The shortest message that is full, in octets.
const SMALLEST_MESSAGE: u64 = 4 * 1024;
/// The gateway acknowledges as much at once; smaller messages ask for it.
const ACKED_AT_ONCE: u64 = 64 * 1024;
/// The best rate of as long counts, or of as many round trips.
const RATE_SPAN: Duration = Duration::from_millis(500);
const RATE_ROUNDS: u32 = 8;
/// Clocks of browsers are coarse.
const SHORTEST_INTERVAL: Duration = Duration::from_millis(1);
/// The start is over after so many rounds that brought less than a quarter more.
const ROUNDS_WITHOUT_GROWTH: u32 = 3;

/// The estimates of one connection, and the window that follows.
#[derive(Debug)]
pub(super) struct Pace {
    /// Octets of all messages sent on this connection.
    sent: u64,
    /// Of these, what the gateway is known to have.
    received: u64,
    received_at: Instant,
    /// Sequenced messages that are not known to have arrived. As many as are kept for a replay, at most.
    marks: VecDeque<Mark>,
    rate: BestRate,
    round_trip: Option<ShortestRoundTrip>,
    start: Option<Start>,
    /// When `received` gets there, a round is over.
    round_end: u64,
    /// The window was too small in this round.
    was_full: bool,
}

/// A message that is under way.
#[derive(Debug)]
struct Mark {
    number: u64,
    /// `sent` behind it.
    end: u64,
    sent_at: Instant,
    /// As they were then.
    received: u64,
    received_at: Instant,
    /// Whether the path had enough to do for its rate to show.
    is_telling: bool,
}

/// Doubles what is under way with each round trip, until that brings nothing any more.
#[derive(Debug, Default)]
struct Start {
    best: f64,
    rounds: u32,
}

impl Pace {
    /// Of a connection on which the gateway has received `sent` octets, the handshake.
    pub fn new(sent: u64, now: Instant) -> Self {
        Self {
            sent,
            received: sent,
            received_at: now,
            marks: VecDeque::new(),
            rate: BestRate::new(now),
            round_trip: None,
            start: Some(Start::default()),
            round_end: sent,
            was_full: false,
        }
    }

    /// True while another message may be sent. `others` says whether all other bounds allow it.
    pub fn has_room(&mut self, others: bool) -> bool {
        let is_full = !others || self.under_way() >= self.window();
        self.was_full |= is_full;
        !is_full
    }

    /// How many octets a message shall have, at most `limit`. The last packet in it may lie over it.
    pub fn message_len(&self, limit: usize) -> usize {
        let share = self.window() / 2;
        // While it starts, the rate shows what there was to send, and not what the path can do.
        let timely = self.rate.octets_in(MESSAGE_TIME).filter(|_| self.start.is_none()).unwrap_or(share);
        usize::try_from(timely.min(share).max(SMALLEST_MESSAGE)).map_or(limit, |len| len.min(limit))
    }

    /// Whether a message of so many octets should ask the gateway to say that it has come.
    pub fn wants_receipt(&self, len: usize) -> bool {
        (len as u64) < ACKED_AT_ONCE && self.under_way() + len as u64 > self.window() / 4
    }

    /// A message was sent; `number` where it is sequenced.
    pub fn sent(&mut self, len: usize, number: Option<u64>, now: Instant) {
        if self.under_way() == 0 {
            // What was idle is not slow.
            self.received_at = now;
        }
        let is_telling = self.under_way() + len as u64 > self.window() / 2;
        self.sent += len as u64;
        if let Some(number) = number {
            let (received, received_at) = (self.received, self.received_at);
            self.marks.push_back(Mark { number, end: self.sent, sent_at: now, received, received_at, is_telling });
        }
    }

    /// The gateway has acknowledged all messages below `next`.
    pub fn acknowledged(&mut self, next: u64, now: Instant) {
        let end = self.marks.iter().take_while(|mark| mark.number < next).last().map(|mark| mark.end);
        if let Some(end) = end {
            self.received(end, now);
        }
    }

    /// The gateway has so many octets of this connection.
    pub fn received(&mut self, octets: u64, now: Instant) {
        let octets = octets.min(self.sent);
        if octets <= self.received {
            return;
        }
        let mut last = None;
        while let Some(mark) = self.marks.pop_front_if(|mark| mark.end <= octets) {
            last = Some(mark);
        }
        (self.received, self.received_at) = (octets, now);
        let Some(mark) = last else { return };
        self.observe_round_trip(now - mark.sent_at, now);
        let took = (now - mark.received_at).max(SHORTEST_INTERVAL);
        let span = RATE_SPAN.max(self.shortest() * RATE_ROUNDS);
        self.rate.observe((octets - mark.received) as f64 / took.as_secs_f64(), mark.is_telling, span, now);
        if octets >= self.round_end {
            self.end_round(now);
        }
    }

    /// A short message and its answer have taken so long.
    pub fn observe_round_trip(&mut self, sample: Duration, now: Instant) {
        match &mut self.round_trip {
            Some(shortest) => shortest.observe(sample, now),
            None => self.round_trip = Some(ShortestRoundTrip::new(sample, now)),
        }
    }

    fn end_round(&mut self, now: Instant) {
        self.round_end = self.sent;
        let was_full = std::mem::take(&mut self.was_full);
        if let Some(round_trip) = &mut self.round_trip {
            round_trip.end_round(was_full, now);
        }
        let Some(start) = self.start.as_mut().filter(|_| was_full) else { return };
        let best = self.rate.best();
        if best >= start.best * 1.25 {
            *start = Start { best, rounds: 0 };
            return;
        }
        start.rounds += 1;
        if start.rounds >= ROUNDS_WITHOUT_GROWTH {
            self.start = None;
        }
    }

    fn under_way(&self) -> u64 {
        self.sent - self.received
    }

    fn shortest(&self) -> Duration {
        self.round_trip.as_ref().map_or(Duration::ZERO, ShortestRoundTrip::value)
    }

    fn window(&self) -> u64 {
        let shortest = self.shortest();
        let (Some(path), Some(queue)) = (self.rate.octets_in(shortest), self.rate.octets_in(DELAY + shortest / 8))
        else {
            return INITIAL_WINDOW;
        };
        if self.round_trip.as_ref().is_some_and(ShortestRoundTrip::is_probing) {
            return (path / 2).max(SMALLEST_WINDOW);
        }
        match self.start {
            Some(_) => (2 * path + queue).max(INITIAL_WINDOW),
            None => (path + queue).max(SMALLEST_WINDOW),
        }
    }
}

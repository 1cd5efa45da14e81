use std::time::Duration;

use webtun_wire::Instant;

/// A transport is broken when nothing comes for this many ping intervals.
const SILENT_INTERVALS: u32 = 2;

/// What is to be done about the silence of the peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Fine,
    Broken,
}

/// Pings, and the round trip that they measure.
pub(super) struct Liveness {
    interval: Duration,
    last_heard: Instant,
    next_ping_at: Instant,
    broken_at: Instant,
    wanted: bool,
    next_opaque: u64,
    /// The latest PING that waits for its PONG.
    awaited: Option<(u64, Instant)>,
}

impl Liveness {
    /// The first ping goes out at once, for the round trip.
    pub fn new(interval: Duration, now: Instant) -> Self {
        let broken_at = now + interval * SILENT_INTERVALS;
        Self { interval, last_heard: now, next_ping_at: now, broken_at, wanted: false, next_opaque: 1, awaited: None }
    }

    /// Any message has come.
    pub fn heard(&mut self, now: Instant) {
        self.last_heard = now;
        self.broken_at = now + self.interval * SILENT_INTERVALS;
    }

    pub fn handle_timeout(&mut self, now: Instant) -> Verdict {
        if now >= self.next_ping_at {
            self.wanted = true;
            self.next_ping_at = now + self.interval;
        }
        if now < self.broken_at {
            return Verdict::Fine;
        }
        if now - self.broken_at > self.interval / 2 {
            // We come late: the machine slept, or the tab was frozen. What the peer has sent meanwhile was perhaps not
            // given to us yet.
            self.wanted = true;
            self.broken_at = now + self.interval / 2;
            return Verdict::Fine;
        }
        Verdict::Broken
    }

    pub fn poll_timeout(&self) -> Instant {
        self.next_ping_at.min(self.broken_at)
    }

    /// A PING to send now.
    pub fn take_ping(&mut self, now: Instant) -> Option<u64> {
        if !std::mem::take(&mut self.wanted) {
            return None;
        }
        let opaque = self.next_opaque;
        self.next_opaque += 1;
        self.awaited = Some((opaque, now));
        Some(opaque)
    }

    /// The round trip, where this answers the latest PING.
    pub fn pong(&mut self, opaque: u64, now: Instant) -> Option<Duration> {
        let (_, sent_at) = self.awaited.take_if(|(awaited, _)| *awaited == opaque)?;
        Some(now - sent_at)
    }
}

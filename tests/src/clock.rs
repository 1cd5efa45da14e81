//! Virtual time.

use std::time::Duration;
use webtun_wire::Instant;

/// Virtual time. It moves only when the world says so, and never backwards.
#[derive(Clone, Copy, Debug)]
pub struct SimClock {
    now: Instant,
}

impl SimClock {
    /// Starts a little after the origin, so that code that confuses "never" with zero is found out.
    pub fn new() -> Self {
        Self { now: Instant::from_millis(1_000) }
    }

    /// The present.
    pub fn now(&self) -> Instant {
        self.now
    }

    /// Goes on to `at`; an instant in the past changes nothing.
    pub fn advance_to(&mut self, at: Instant) {
        self.now = self.now.max(at);
    }

    /// The instant that lies `ahead` of now.
    pub fn after(&self, ahead: Duration) -> Instant {
        self.now + ahead
    }
}

impl Default for SimClock {
    fn default() -> Self {
        Self::new()
    }
}

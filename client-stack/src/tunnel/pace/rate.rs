use std::time::Duration;

use webtun_wire::Instant;

/// The best rate of the last two spans, in octets per second.
#[derive(Debug)]
pub(super) struct BestRate {
    before: f64,
    current: f64,
    since: Instant,
}

impl BestRate {
    pub fn new(now: Instant) -> Self {
        Self { before: 0.0, current: 0.0, since: now }
    }

    /// A rate that shows only what there was to do can raise the estimate, and never lets an older one be forgotten.
    pub fn observe(&mut self, rate: f64, is_telling: bool, span: Duration, now: Instant) {
        if is_telling && now - self.since > span {
            (self.before, self.current, self.since) = (self.current, 0.0, now);
        }
        if is_telling || rate > self.best() {
            self.current = self.current.max(rate);
        }
    }

    pub fn best(&self) -> f64 {
        self.before.max(self.current)
    }

    /// What is delivered in this time; `None` before anything is known.
    pub fn octets_in(&self, time: Duration) -> Option<u64> {
        let best = self.best();
        (best > 0.0).then_some((best * time.as_secs_f64()) as u64)
    }
}

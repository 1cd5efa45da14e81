//! Rates and the token buckets that hold somebody to them. Time is an argument.

use core::time::Duration;
use webtun_wire::Instant;

const SECOND: u128 = 1_000_000;

/// How much per second, and how much at once after a rest: packets, octets or flows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// What is earned in a second of rest.
    pub per_second: u64,
    /// What can be saved up; at least 1.
    pub burst: u64,
}

impl Rate {
    /// No limit at all.
    pub const UNLIMITED: Self = Self { per_second: u64::MAX, burst: u64::MAX };

    /// Whether this is no limit.
    pub const fn is_unlimited(self) -> bool {
        self.per_second == u64::MAX
    }
}

/// A token bucket (RFC 2697 section 3, with one colour), exact to the microsecond.
///
/// It can be asked first ([`TokenBucket::holds`]), or charged for what has come already ([`TokenBucket::charge`]): then it
/// may fall below zero, and whoever feeds it waits until [`TokenBucket::ready_at`].
#[derive(Clone, Copy, Debug)]
pub(super) struct TokenBucket {
    rate: Rate,
    /// Below zero: what has been charged in advance.
    level: i128,
    /// Millionths of a token that have been earned besides.
    fraction: u128,
    since: Instant,
}

impl TokenBucket {
    /// A full bucket.
    pub(super) fn new(rate: Rate, now: Instant) -> Self {
        let rate = Rate { burst: rate.burst.max(1), ..rate };
        Self { rate, level: i128::from(rate.burst), fraction: 0, since: now }
    }

    /// Something of it; what it returns means nothing.
    pub(super) fn look_at(&self) -> u64 {
        self.since.as_micros()
    }

    /// Whether so many are there, or the bucket is full and could never hold them.
    pub(super) fn holds(&mut self, tokens: u64, now: Instant) -> bool {
        self.refill(now);
        self.rate.is_unlimited() || self.level >= i128::from(tokens.min(self.rate.burst))
    }

    /// Takes `tokens`, whether they are there or not.
    pub(super) fn charge(&mut self, tokens: u64, now: Instant) {
        if !self.rate.is_unlimited() {
            self.refill(now);
            self.level -= i128::from(tokens);
        }
    }

    /// What there is.
    pub(super) fn room(&mut self, now: Instant) -> u64 {
        self.refill(now);
        if self.rate.is_unlimited() { u64::MAX } else { u64::try_from(self.level).unwrap_or(0) }
    }

    /// The rate from now on; what has been saved up stays, as far as the new burst holds it.
    pub(super) fn set_rate(&mut self, rate: Rate, now: Instant) {
        if rate != self.rate {
            self.refill(now);
            *self = Self { level: self.level.min(i128::from(rate.burst)), ..Self::new(rate, now) };
        }
    }

    /// When a bucket that has fallen below zero is back there; `None` where it is not below.
    pub(super) fn ready_at(&mut self, now: Instant) -> Option<Instant> {
        self.refill(now);
        if self.level >= 0 {
            return None;
        }
        let missing = self.level.unsigned_abs() * SECOND - self.fraction;
        // A rate of nothing is never ready again; an hour is as good as never, and keeps timers sane.
        let wait = missing.div_ceil(u128::from(self.rate.per_second).max(1)).min(3600 * SECOND);
        Some(now + Duration::from_micros(wait as u64))
    }

    fn refill(&mut self, now: Instant) {
        let elapsed = now.saturating_duration_since(self.since).as_micros();
        self.since = self.since.max(now);
        let earned = u128::from(self.rate.per_second).saturating_mul(elapsed).saturating_add(self.fraction);
        let whole = i128::try_from(earned / SECOND).unwrap_or(i128::MAX);
        self.level = self.level.saturating_add(whole);
        self.fraction = earned % SECOND;
        if self.level >= i128::from(self.rate.burst) {
            self.level = i128::from(self.rate.burst);
            self.fraction = 0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The same by its definition: a step for every microsecond, in millionths of a token.
    struct Naive {
        rate: Rate,
        level: i128,
        now: u64,
    }

    impl Naive {
        fn at(&mut self, now: u64) {
            for _ in self.now..now {
                let burst = i128::from(self.rate.burst) * SECOND as i128;
                self.level = (self.level + i128::from(self.rate.per_second)).min(burst);
            }
            self.now = now;
        }
    }

    fn take(bucket: &mut TokenBucket, tokens: u64, now: Instant) -> bool {
        let is_there = bucket.holds(tokens, now);
        if is_there {
            bucket.charge(tokens, now);
        }
        is_there
    }

    fn micros(count: u64) -> Instant {
        Instant::from_micros(count)
    }

    proptest! {
        #[test]
        fn it_agrees_with_its_definition(
            per_second in 0..3_000_000u64,
            burst in 1..5_000u64,
            steps in prop::collection::vec((0..3_000u64, 0..4_000u64, any::<bool>()), 1..40),
        ) {
            let rate = Rate { per_second, burst };
            let mut bucket = TokenBucket::new(rate, Instant::ZERO);
            let mut naive = Naive { rate, level: i128::from(burst) * SECOND as i128, now: 0 };
            let mut now = 0;
            for (pause, tokens, ask) in steps {
                now += pause;
                naive.at(now);
                let needed = i128::from(tokens.min(burst)) * SECOND as i128;
                let is_there = naive.level >= needed;
                prop_assert_eq!(bucket.holds(tokens, micros(now)), is_there);
                if ask {
                    prop_assert_eq!(take(&mut bucket, tokens, micros(now)), is_there);
                } else {
                    bucket.charge(tokens, micros(now));
                }
                if !ask || is_there {
                    naive.level -= i128::from(tokens) * SECOND as i128;
                }
                prop_assert_eq!(bucket.ready_at(micros(now)).is_some(), naive.level < 0);
            }
        }

        #[test]
        fn it_is_ready_when_it_says_so(per_second in 1..3_000_000u64, debt in 1..5_000u64) {
            let rate = Rate { per_second, burst: 1 };
            let mut bucket = TokenBucket::new(rate, Instant::ZERO);
            bucket.charge(1 + debt, Instant::ZERO);
            let at = bucket.ready_at(Instant::ZERO).expect("it is in debt").as_micros();
            prop_assume!(at < 3_600_000_000);
            prop_assert!(bucket.ready_at(micros(at - 1)).is_some());
            prop_assert_eq!(bucket.ready_at(micros(at)), None);
        }
    }

    #[test]
    fn no_limit_is_no_limit() {
        let mut bucket = TokenBucket::new(Rate::UNLIMITED, Instant::ZERO);
        for _ in 0..10 {
            assert!(take(&mut bucket, u64::MAX, Instant::ZERO));
            bucket.charge(u64::MAX, Instant::ZERO);
        }
        assert_eq!(bucket.ready_at(Instant::ZERO), None);
    }

    #[test]
    fn another_rate_gives_nothing_away() {
        let mut bucket = TokenBucket::new(Rate { per_second: 10, burst: 100 }, Instant::ZERO);
        assert!(take(&mut bucket, 90, Instant::ZERO));
        bucket.set_rate(Rate { per_second: 10, burst: 1000 }, Instant::ZERO);
        assert!(!take(&mut bucket, 11, Instant::ZERO) && take(&mut bucket, 10, Instant::ZERO));
    }
}

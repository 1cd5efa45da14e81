use std::time::Duration;

use rand::rngs::ChaCha12Rng;
use rand::{RngExt, SeedableRng};

/// When to try again: random between a floor and a ceiling that doubles with every failure, so that the clients of a
/// gateway that comes back do not all come at once.
pub(super) struct Backoff {
    rng: ChaCha12Rng,
    floor: Duration,
    ceiling: Duration,
    attempt: u32,
}

impl Backoff {
    pub fn new(seed: [u8; 32], floor: Duration, ceiling: Duration) -> Self {
        Self { rng: ChaCha12Rng::from_seed(seed), floor, ceiling: ceiling.max(floor), attempt: 0 }
    }

    /// The connection stands.
    pub fn reset(&mut self) {
        self.attempt = 0;
    }

    /// Failures in a row.
    pub fn attempt(&self) -> u32 {
        self.attempt
    }

    /// How long to wait after one more failure.
    pub fn next(&mut self) -> Duration {
        self.attempt = self.attempt.saturating_add(1);
        let highest = self.floor.saturating_mul(1 << self.attempt.min(16)).min(self.ceiling);
        let (low, high) = (self.floor.as_micros() as u64, highest.as_micros() as u64);
        Duration::from_micros(self.rng.random_range(low..=high.max(low)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn grows_within_its_bounds() {
        let (floor, ceiling) = (Duration::from_millis(250), Duration::from_secs(10));
        let mut backoff = Backoff::new([3; 32], floor, ceiling);
        let waits: Vec<Duration> = (0..200).map(|_| backoff.next()).collect();
        assert!(waits.iter().all(|wait| (floor..=ceiling).contains(wait)));
        assert!(waits[0] <= floor * 2);
        assert!(waits.iter().any(|wait| *wait > Duration::from_secs(8)));
        backoff.reset();
        assert!(backoff.next() <= floor * 2);
    }
}

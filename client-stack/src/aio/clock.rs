use crate::Instant;

/// The one place of this crate that reads a clock: tokio's, so that tests can stop it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Clock {
    origin: tokio::time::Instant,
}

impl Clock {
    pub(super) fn start() -> Self {
        Self { origin: tokio::time::Instant::now() }
    }

    pub(super) fn now(&self) -> Instant {
        Instant::from_micros(u64::try_from(self.origin.elapsed().as_micros()).unwrap_or(u64::MAX))
    }

    pub(super) fn deadline(&self, at: Instant) -> tokio::time::Instant {
        self.origin + at.saturating_duration_since(Instant::ZERO)
    }
}

//! Rates: how much per second, and how much at once.

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

    /// A rate of which a quarter of a second's worth may come at once, and never less than `least`.
    pub const fn new(per_second: u64, least: u64) -> Self {
        let quarter = per_second / 4;
        Self { per_second, burst: if quarter > least { quarter } else { least } }
    }

    /// Whether this is no limit.
    pub const fn is_unlimited(self) -> bool {
        self.per_second == u64::MAX
    }
}

//! How large the buffers of a connection are.
//!
//! smoltcp fixes the window scale at the SYN and allocates a connection's buffers when it is opened, so the size is
//! chosen then. Every connection is sure of 64 KiB each way, for 16,384 of them 2 GiB. Beyond that there are 1,200 MiB to
//! share out, and an eighth of what is left of them is for those that are opened within two seconds: a connection that is
//! opened alone gets much, also beside thousands that do nothing, and each of a crowd gets little. So
//!
//! - a connection alone gets 3 MiB to receive and as much to send: it fills 100 Mbit/s at a round trip of 200 ms, which is
//!   2.5 MB, with something over for what waits to be read or sent,
//! - of many that are opened at once the first 22 get that, the next 44 get 1 MiB, then 66 get 512 KiB, 158 get 256 KiB,
//!   516 get 128 KiB and all others 64 KiB: 1,000 of them reserve 518 MiB, 10,000 reserve 1.6 GiB,
//! - of those that are opened one by one, and stay open, the first 197 get the most, and less and less those that follow.
//!
//! This is address space, of which WebAssembly has 4 GiB; memory is what is touched of it. What a connection has reserved
//! comes back when smoltcp's socket is dropped; TIME-WAIT does without.

use core::time::Duration;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use webtun_wire::Instant;

use crate::arena::Block;

const KIB: usize = 1024;
/// What a connection may get each way, the most first.
const SIZES: [usize; 6] = [3072 * KIB, 1024 * KIB, 512 * KIB, 256 * KIB, 128 * KIB, 64 * KIB];
/// Octets for both ways of what every connection is sure of.
const LEAST: usize = 2 * 64 * KIB;
/// Octets that are shared out beyond it.
const SPARE: usize = 1200 * 1024 * KIB;
/// Those that are opened together get one part of so many of what is left of these.
const PARTS: usize = 8;
/// Connections are opened together within one or two of these.
const PERIOD: Duration = Duration::from_secs(1);

/// Buffers of one TCP connection, in octets. What can be in flight, and so the throughput, is bounded by them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BufferSizes {
    /// The largest receive window.
    pub receive: usize,
    /// How much `tcp_send` takes before the peer has acknowledged any.
    pub send: usize,
}

impl BufferSizes {
    /// The same each way, in octets.
    pub const fn both(octets: usize) -> Self {
        Self { receive: octets, send: octets }
    }

    /// The largest that need no more than `share` octets beyond what every connection is sure of.
    fn within(share: usize) -> Self {
        let fits = |size: &usize| 2 * size <= LEAST + share;
        Self::both(SIZES.into_iter().find(fits).unwrap_or(LEAST / 2))
    }

    fn total(self) -> usize {
        self.receive + self.send
    }

    /// Within what the window scale option can express (RFC 7323 section 2.3), and not empty.
    fn clamped(self) -> Self {
        let range = |octets: usize| octets.clamp(256, 1 << 30);
        Self { receive: range(self.receive), send: range(self.send) }
    }
}

/// Counts what a host's connections have reserved, and how many were opened of late.
#[derive(Debug, Default)]
pub(crate) struct Budget {
    reserved: Arc<Reserved>,
    opened: Opened,
}

#[derive(Debug, Default)]
struct Reserved {
    octets: AtomicUsize,
    /// Of these, what is beyond what each is sure of.
    beyond: AtomicUsize,
}

/// Connections of this period and of the one before.
#[derive(Debug, Default)]
struct Opened {
    since: Instant,
    before: usize,
    now: usize,
}

impl Opened {
    /// One more; how many it is together with.
    fn count(&mut self, now: Instant) -> usize {
        let passed = now - self.since;
        if passed >= PERIOD {
            self.before = if passed < 2 * PERIOD { self.now } else { 0 };
            (self.since, self.now) = (now, 0);
        }
        self.now += 1;
        self.before + self.now
    }
}

impl Budget {
    /// Octets that are reserved.
    pub fn reserved(&self) -> usize {
        self.reserved.octets.load(Ordering::Relaxed)
    }

    /// Reserves buffers of the wanted sizes, or of those that suit what is reserved already and how many others are opened
    /// at the same time. `None` where the memory cannot grow.
    pub fn reserve(&mut self, wanted: Option<BufferSizes>, now: Instant) -> Option<Reservation> {
        let claim = self.claim(wanted, now);
        let (receive, send) = (Block::new(claim.sizes.receive)?, Block::new(claim.sizes.send)?);
        Some(Reservation { receive, send, _claim: claim })
    }

    fn claim(&mut self, wanted: Option<BufferSizes>, now: Instant) -> Claim {
        let together = self.opened.count(now);
        let left = SPARE.saturating_sub(self.reserved.beyond.load(Ordering::Relaxed));
        let sizes = wanted.unwrap_or_else(|| BufferSizes::within(left / PARTS / together)).clamped();
        self.reserved.octets.fetch_add(sizes.total(), Ordering::Relaxed);
        self.reserved.beyond.fetch_add(sizes.total().saturating_sub(LEAST), Ordering::Relaxed);
        Claim { sizes, reserved: Arc::clone(&self.reserved) }
    }
}

/// The buffers of one connection; given back when it is dropped, which is after the socket that has taken them.
#[derive(Debug)]
pub(crate) struct Reservation {
    pub receive: Block,
    pub send: Block,
    _claim: Claim,
}

/// What counts as reserved for as long as this lives.
#[derive(Debug)]
struct Claim {
    sizes: BufferSizes,
    reserved: Arc<Reserved>,
}

impl Drop for Claim {
    fn drop(&mut self) {
        self.reserved.octets.fetch_sub(self.sizes.total(), Ordering::Relaxed);
        self.reserved.beyond.fetch_sub(self.sizes.total().saturating_sub(LEAST), Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// So many connections, each so much later than the last.
    fn claim(budget: &mut Budget, count: u64, gap_ms: u64) -> Vec<Claim> {
        (0..count).map(|number| budget.claim(None, Instant::from_millis(number * gap_ms))).collect()
    }

    fn mib(claims: &[Claim]) -> usize {
        claims.iter().map(|it| it.sizes.total()).sum::<usize>() >> 20
    }

    fn of_each_size(claims: &[Claim]) -> [usize; 6] {
        SIZES.map(|size| claims.iter().filter(|it| it.sizes == BufferSizes::both(size)).count())
    }

    #[test]
    fn the_arithmetic_of_a_crowd_is_as_documented() {
        let held = claim(&mut Budget::default(), 10_000, 0);
        assert_eq!(of_each_size(&held), [22, 44, 66, 158, 516, 9194]);
        assert_eq!((mib(&held[..1000]), mib(&held)), (518, 1643));
    }

    #[test]
    fn the_arithmetic_of_single_ones_is_as_documented() {
        let held = claim(&mut Budget::default(), 300, 3000);
        assert_eq!(of_each_size(&held[..197])[0], 197);
        assert!(held[197].sizes.receive < SIZES[0]);
        assert!(held.is_sorted_by(|one, next| one.sizes.receive >= next.sizes.receive));
    }

    #[test]
    fn all_that_are_allowed_fit_in_however_they_are_opened() {
        for gap_ms in [0, 1, 10, 100, 3000] {
            let held = claim(&mut Budget::default(), 16_384, gap_ms);
            assert!(mib(&held) <= 2048 + 1200, "{gap_ms} ms apart: {} MiB", mib(&held));
        }
    }

    #[test]
    fn one_that_is_opened_later_beside_thousands_gets_the_most() {
        let mut budget = Budget::default();
        let held = claim(&mut budget, 10_000, 1);
        let later = budget.claim(None, Instant::from_millis(12_000));
        assert_eq!(later.sizes, BufferSizes::both(SIZES[0]), "beside {} MiB", mib(&held));
    }

    #[test]
    fn what_is_dropped_can_be_had_again() {
        let mut budget = Budget::default();
        drop(claim(&mut budget, 5000, 0));
        assert_eq!(budget.reserved(), 0);
        assert_eq!(claim(&mut budget, 1, 0)[0].sizes, BufferSizes::both(SIZES[5]), "in the crowd still");
        assert_eq!(budget.claim(None, Instant::from_millis(3000)).sizes, BufferSizes::both(SIZES[0]));
    }

    #[test]
    fn wanted_sizes_count_and_are_bounded() {
        let mut budget = Budget::default();
        let odd = budget.claim(Some(BufferSizes { receive: usize::MAX, send: 0 }), Instant::ZERO);
        assert_eq!(odd.sizes, BufferSizes { receive: 1 << 30, send: 256 });
        let _huge = budget.claim(Some(BufferSizes::both(usize::MAX)), Instant::ZERO);
        assert_eq!(
            budget.claim(None, Instant::ZERO).sizes,
            BufferSizes::both(SIZES[5]),
            "nothing is left to share out"
        );
    }
}

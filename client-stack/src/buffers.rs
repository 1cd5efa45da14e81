//! How large the buffers of a connection are.
//!
//! smoltcp fixes the window scale at the SYN and allocates a connection's buffers when it is opened, so the size is
//! chosen then: the more octets a host has reserved already, the less a new connection gets. With the defaults
//!
//! - the first 16 connections get 1 MiB to receive and as much to send (one fills 100 Mbit/s at 80 ms, and some of the
//!   longest packets are under way while others are made): 32 MiB,
//! - the next 308 get 256 and 64 KiB: 96 MiB,
//! - all others get 64 and 16 KiB: 1,000 connections reserve 181 MiB, 10,000 reserve 884 MiB.
//!
//! What a connection has reserved comes back when smoltcp's socket is dropped; TIME-WAIT does without.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::arena::Block;

const KIB: usize = 1024;
/// Octets that few connections may reserve generously.
const FEW: usize = 32 * 1024 * KIB;
/// Octets from which on connections get little.
const MANY: usize = 128 * 1024 * KIB;

/// Buffers of one TCP connection, in octets. What can be in flight, and so the throughput, is bounded by them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BufferSizes {
    /// The largest receive window.
    pub receive: usize,
    /// How much `tcp_send` takes before the peer has acknowledged any.
    pub send: usize,
}

impl BufferSizes {
    /// What a connection gets that is opened while others have reserved so many octets.
    const fn beside(reserved: usize) -> Self {
        match reserved {
            0..FEW => Self { receive: 1024 * KIB, send: 1024 * KIB },
            FEW..MANY => Self { receive: 256 * KIB, send: 64 * KIB },
            _ => Self { receive: 64 * KIB, send: 16 * KIB },
        }
    }

    /// Within what the window scale option can express (RFC 7323 section 2.3), and not empty.
    fn clamped(self) -> Self {
        let range = |octets: usize| octets.clamp(256, 1 << 30);
        Self { receive: range(self.receive), send: range(self.send) }
    }
}

/// Counts what a host's connections have reserved.
#[derive(Debug, Default)]
pub(crate) struct Budget {
    reserved: Arc<AtomicUsize>,
}

impl Budget {
    /// Octets that are reserved.
    pub fn reserved(&self) -> usize {
        self.reserved.load(Ordering::Relaxed)
    }

    /// Reserves buffers of the wanted sizes, or of those that suit what is reserved already.
    /// `None` where the memory cannot grow.
    pub fn reserve(&self, wanted: Option<BufferSizes>) -> Option<Reservation> {
        let chosen = || BufferSizes::beside(self.reserved.load(Ordering::Relaxed));
        let sizes = wanted.unwrap_or_else(chosen).clamped();
        let (receive, send) = (Block::new(sizes.receive)?, Block::new(sizes.send)?);
        self.reserved.fetch_add(sizes.receive + sizes.send, Ordering::Relaxed);
        Some(Reservation { sizes, receive, send, reserved: Arc::clone(&self.reserved) })
    }
}

/// The buffers of one connection; given back when it is dropped, which is after the socket that has taken them.
#[derive(Debug)]
pub(crate) struct Reservation {
    pub sizes: BufferSizes,
    pub receive: Block,
    pub send: Block,
    reserved: Arc<AtomicUsize>,
}

impl Drop for Reservation {
    fn drop(&mut self) {
        self.reserved.fetch_sub(self.sizes.receive + self.sizes.send, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reserve(budget: &Budget, count: usize) -> Vec<Reservation> {
        (0..count).map(|_| budget.reserve(None).unwrap()).collect()
    }

    fn octets(reservations: &[Reservation]) -> usize {
        reservations.iter().map(|it| it.sizes.receive + it.sizes.send).sum()
    }

    #[test]
    fn the_arithmetic_is_as_documented() {
        let budget = Budget::default();
        let held = reserve(&budget, 10_000);
        let of_size = |receive| held.iter().filter(|it| it.sizes.receive == receive).count();
        assert_eq!((of_size(1 << 20), of_size(256 << 10)), (16, 308));
        assert_eq!(octets(&held[..1000]) >> 20, 181);
        assert_eq!(octets(&held) >> 20, 884);
    }

    #[test]
    fn what_is_dropped_can_be_had_again() {
        let budget = Budget::default();
        drop(reserve(&budget, 5000));
        assert_eq!(budget.reserve(None).unwrap().sizes, BufferSizes::beside(0));
    }

    #[test]
    fn wanted_sizes_count_and_are_bounded() {
        let budget = Budget::default();
        let huge = budget.reserve(Some(BufferSizes { receive: usize::MAX, send: 0 })).unwrap();
        assert_eq!(huge.sizes, BufferSizes { receive: 1 << 30, send: 256 });
        assert_eq!(budget.reserve(None).unwrap().sizes.receive, 64 << 10);
    }
}

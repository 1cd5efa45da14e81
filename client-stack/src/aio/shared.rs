use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures_util::task::AtomicWaker;

use super::clock::Clock;
use super::machine::Machine;
use crate::Instant;

/// What the loop and the handles have in common.
pub(super) struct Shared<M> {
    machine: Mutex<M>,
    pub(super) clock: Clock,
    /// The loop's task.
    pub(super) runner: AtomicWaker,
}

impl<M: Machine> Shared<M> {
    pub(super) fn new(machine: M, clock: Clock) -> Arc<Self> {
        Arc::new(Self { machine: Mutex::new(machine), clock, runner: AtomicWaker::new() })
    }

    /// A panic elsewhere does not spread: the machine's own invariants hold between its calls.
    pub(super) fn lock(&self) -> MutexGuard<'_, M> {
        self.machine.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A call that may cause output, so that the loop must look.
    pub(super) fn call<R>(&self, call: impl FnOnce(&mut M, Instant) -> R) -> R {
        let result = call(&mut self.lock(), self.clock.now());
        self.runner.wake();
        result
    }
}

/// Shared ownership by handles, streams and sockets. The last one closes the session.
pub(super) struct Owner<M: Machine>(pub(super) Arc<Shared<M>>);

impl<M: Machine> Drop for Owner<M> {
    fn drop(&mut self) {
        self.0.call(|machine, now| machine.close(now));
    }
}

impl<M: Machine> fmt::Debug for Owner<M> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_tuple("Owner").finish()
    }
}

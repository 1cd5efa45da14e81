use std::collections::VecDeque;

use super::FrameDrop;

/// What waits for somebody to take it: bounded in octets, first in first out.
#[derive(Debug)]
pub(super) struct Outbox<T> {
    waiting: VecDeque<(T, usize)>,
    octets: usize,
    bound: usize,
}

impl<T> Outbox<T> {
    pub const fn new(bound: usize) -> Self {
        Self { waiting: VecDeque::new(), octets: 0, bound }
    }

    /// True where it was empty before; refuses when as much waits as may.
    pub fn push(&mut self, item: T, len: usize) -> Result<bool, FrameDrop> {
        if self.octets >= self.bound {
            return Err(FrameDrop::QueueFull);
        }
        let was_empty = self.waiting.is_empty();
        self.octets += len;
        self.waiting.push_back((item, len));
        Ok(was_empty)
    }

    pub fn pop(&mut self) -> Option<T> {
        let (item, len) = self.waiting.pop_front()?;
        self.octets -= len;
        Some(item)
    }

    pub fn clear(&mut self) {
        self.waiting.clear();
        self.octets = 0;
    }

    pub const fn octets(&self) -> usize {
        self.octets
    }
}

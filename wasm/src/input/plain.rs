//! The buffer that JavaScript fills before a call, where there are no streams.

use webtun_stack::{Instant, Stack};

use crate::arguments;

/// See the module.
#[derive(Default)]
pub struct Input(Vec<u8>);

impl Input {
    /// Where the caller puts `length` octets.
    pub fn room(&mut self, length: usize) -> *mut u8 {
        arguments::room(&mut self.0, length)
    }

    /// The first `length` of them.
    pub fn get(&self, length: usize) -> &[u8] {
        self.0.get(..length).unwrap_or_default()
    }

    /// Hands the first `length` of them to the stack, as a message.
    pub fn handle(&mut self, length: usize, stack: &mut Stack, now: Instant) {
        stack.handle_message(self.get(length), now);
    }
}

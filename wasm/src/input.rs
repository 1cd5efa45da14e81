//! The buffer that JavaScript fills before a call. What a message brings on a stream stays in it until that is read, so that it is
//! not copied.

use bytes::{Bytes, BytesMut};
use webtun_stack::{Instant, Stack};

/// Of a message that is shorter than such a part of the buffer, no memory is kept.
const WORTH_KEEPING: usize = 2;

/// See the module.
#[derive(Default)]
pub struct Input {
    buffer: BytesMut,
    /// The buffer of the last message, of which streams may hold parts.
    lent: Bytes,
}

impl Input {
    /// Where the caller puts `length` octets.
    pub fn room(&mut self, length: usize) -> *mut u8 {
        if self.buffer.is_empty() {
            self.buffer = core::mem::take(&mut self.lent).try_into_mut().unwrap_or_default();
        }
        if self.buffer.len() < length {
            self.buffer = BytesMut::zeroed(length.next_power_of_two());
        }
        self.buffer.as_mut_ptr()
    }

    /// The first `length` of them.
    pub fn get(&self, length: usize) -> &[u8] {
        self.buffer.get(..length).unwrap_or_default()
    }

    /// Hands the first `length` of them to the stack, as a message.
    pub fn handle(&mut self, length: usize, stack: &mut Stack, now: Instant) {
        if length < self.buffer.len() / WORTH_KEEPING || length > self.buffer.len() {
            return stack.handle_message(self.get(length), now);
        }
        self.lent = core::mem::take(&mut self.buffer).freeze();
        stack.handle_shared_message(&self.lent.slice(..length), now);
    }
}

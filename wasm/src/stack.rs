//! The tunnel and the buffers through which everything passes.

use bytes::Bytes;
use std::net::{IpAddr, SocketAddr};
use wasm_bindgen::prelude::wasm_bindgen;
use webtun_stack::{BufferSizes, Stack, StackConfig};

use crate::arguments::{self, instant};
use crate::codes::Code;
use crate::encode::Words;
use crate::input::Input;

/// Octets that one call can hand to JavaScript.
pub const OUTPUT_LEN: usize = 256 * 1024;

/// Events that one call encodes at most, so that a flood of them cannot grow the batch without bound.
const EVENTS_PER_BATCH: usize = 1024;

/// A [`Stack`] for JavaScript.
///
/// Times are milliseconds of a monotonic clock. Octets go in through the buffer at [`input`](Self::input), which the
/// caller fills first. Results leave as a count, and [`pointer`](Self::pointer) tells where in the linear memory they
/// lie; they are valid until the next call. Identifiers are 0 or more; a negative result is the code of a failure.
#[wasm_bindgen]
pub struct WasmStack {
    pub(crate) stack: Stack,
    pub(crate) input: Input,
    pub(crate) output: Vec<u8>,
    pub(crate) words: Words,
    message: Bytes,
    pub(crate) result: *const u8,
    close_reason: String,
}

/// An endpoint from its parts; `None` where `address` is no IP literal.
pub fn endpoint(address: &str, port: u16) -> Option<SocketAddr> {
    Some(SocketAddr::new(address.parse::<IpAddr>().ok()?, port))
}

/// An identifier, or the code of the failure.
pub fn identifier<E: Into<Code>>(result: Result<u32, E>) -> f64 {
    result.map_or_else(|error| error.into().negative(), f64::from)
}

/// Buffer sizes where the caller gave any; 0 leaves a side to the stack's default.
pub fn buffers(receive: usize, send: usize) -> Option<BufferSizes> {
    const DEFAULT: usize = 256 * 1024;
    const LIMIT: usize = 4 * 1024 * 1024;
    let size = |wanted: usize| if wanted == 0 { DEFAULT } else { wanted.clamp(4096, LIMIT) };
    (receive != 0 || send != 0).then(|| BufferSizes { receive: size(receive), send: size(send) })
}

#[wasm_bindgen]
impl WasmStack {
    /// A stack that wants a transport at once.
    ///
    /// `seed` is 32 octets from a cryptographic generator; a shorter one is filled with zeros.
    #[wasm_bindgen(constructor)]
    pub fn new(seed: &[u8], now: f64) -> Self {
        Self {
            stack: Stack::new(StackConfig::new(arguments::seed(seed)), instant(now)),
            input: Input::default(),
            output: vec![0; OUTPUT_LEN],
            words: Words::default(),
            message: Bytes::new(),
            result: core::ptr::null(),
            close_reason: String::new(),
        }
    }

    /// Where the caller puts `length` octets before a call that takes them.
    pub fn input(&mut self, length: usize) -> *mut u8 {
        self.input.room(length)
    }

    /// Where the result of the last call lies.
    pub fn pointer(&self) -> *const u8 {
        self.result
    }

    /// The transport is open.
    pub fn handle_connected(&mut self, now: f64) {
        self.stack.handle_connected(instant(now));
    }

    /// One binary message of `length` octets, from the input buffer.
    pub fn handle_message(&mut self, length: usize, now: f64) {
        self.input.handle(length, &mut self.stack, instant(now));
    }

    /// The transport is gone, or could not be opened.
    pub fn handle_disconnected(&mut self, now: f64) {
        self.stack.handle_disconnected(instant(now));
    }

    /// The time that [`poll_timeout`](Self::poll_timeout) gave has come.
    pub fn handle_timeout(&mut self, now: f64) {
        self.stack.handle_timeout(instant(now));
    }

    /// The browser says that the network is back: the rest of the back-off is skipped.
    pub fn reconnect_now(&mut self, now: f64) {
        self.stack.reconnect_now(instant(now));
    }

    /// Ends the session. Final.
    pub fn close(&mut self, now: f64) {
        self.stack.close_tunnel(instant(now));
    }

    /// The next message for the transport: its length in octets, or 0 where there is none.
    pub fn poll_transmit(&mut self, now: f64) -> usize {
        self.message = self.stack.poll_transmit(instant(now)).unwrap_or_default();
        self.result = self.message.as_ptr();
        self.message.len()
    }

    /// What has happened, as words of the `encode` module: their number, 0 for nothing.
    pub fn poll_events(&mut self, now: f64) -> usize {
        let now = instant(now);
        self.words.0.clear();
        for _ in 0..EVENTS_PER_BATCH {
            let Some(event) = self.stack.poll_event() else { break };
            if let Some(reason) = self.words.push_event(event, &self.stack, now) {
                self.close_reason = reason;
            }
        }
        self.publish_words()
    }

    /// When [`handle_timeout`](Self::handle_timeout) is due, in milliseconds of the caller's clock; infinity for never.
    pub fn poll_timeout(&self) -> f64 {
        self.stack.poll_timeout().map_or(f64::INFINITY, |at| at.as_micros() as f64 / 1000.0)
    }

    /// What the gateway has assigned, as words; 0 before the first session.
    pub fn lease(&mut self) -> usize {
        self.words.0.clear();
        if let Some(lease) = self.stack.lease() {
            self.words.lease(lease);
        }
        self.publish_words()
    }

    /// The gateway's words at the end of the session.
    pub fn close_reason(&self) -> String {
        self.close_reason.clone()
    }

    /// The last round-trip time to the gateway in milliseconds, or a negative number.
    pub fn rtt(&self) -> f64 {
        self.stack.rtt().map_or(-1.0, |rtt| rtt.as_micros() as f64 / 1000.0)
    }

    /// Octets sent to the gateway so far.
    pub fn octets_sent(&self) -> f64 {
        self.stack.stats().octets_sent as f64
    }

    /// Octets received from the gateway so far.
    pub fn octets_received(&self) -> f64 {
        self.stack.stats().octets_received as f64
    }
}

impl WasmStack {
    /// Makes the words the result of this call.
    pub(crate) fn publish_words(&mut self) -> usize {
        self.result = self.words.0.as_ptr().cast();
        self.words.0.len()
    }

    /// Makes the output buffer the result of this call.
    pub(crate) fn publish_output(&mut self) {
        self.result = self.output.as_ptr();
    }
}

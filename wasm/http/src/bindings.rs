//! The same for JavaScript. Octets go in through the buffer at `input`; results leave as a count, and `pointer` tells where
//! they lie in the linear memory until the next call.

use bytes::{Bytes, BytesMut};
use wasm_bindgen::JsError;
use wasm_bindgen::prelude::wasm_bindgen;

use crate::connection::{BodyLength, Connection, ResponseHead};

/// A length that says "unknown"; other negative ones say "no body".
const UNKNOWN: f64 = -2.0;

/// A [`Connection`] for JavaScript.
#[wasm_bindgen]
pub struct HttpConnection {
    connection: Connection,
    input: BytesMut,
    /// The input buffer of the last call, while it is of use.
    lent: Bytes,
    outgoing: Vec<u8>,
    chunk: Bytes,
    head: Option<ResponseHead>,
    result: *const u8,
}

#[wasm_bindgen]
impl HttpConnection {
    /// A connection that is open.
    #[wasm_bindgen(constructor)]
    pub fn new(http2: bool) -> Self {
        Self {
            connection: Connection::new(http2),
            input: BytesMut::new(),
            lent: Bytes::new(),
            outgoing: Vec::new(),
            chunk: Bytes::new(),
            head: None,
            result: core::ptr::null(),
        }
    }

    /// Where the caller puts `length` octets before a call that takes them.
    pub fn input(&mut self, length: usize) -> *mut u8 {
        if self.input.is_empty() {
            self.input = std::mem::take(&mut self.lent).try_into_mut().unwrap_or_default();
        }
        if self.input.len() < length {
            self.input = BytesMut::zeroed(length.next_power_of_two());
        }
        self.input.as_mut_ptr()
    }

    /// Where the result of the last call lies.
    pub fn pointer(&self) -> *const u8 {
        self.result
    }

    /// Octets from the server, the first `length` of the input buffer.
    pub fn handle_data(&mut self, length: usize) {
        let data = self.lend(length);
        self.connection.handle_data(data);
    }

    /// Nothing more comes from the server.
    pub fn handle_end(&mut self) {
        self.connection.handle_end();
    }

    /// Whether more octets of the server can be kept.
    pub fn wants_data(&self) -> bool {
        self.connection.wants_data()
    }

    /// Octets for the server: their number, 0 for none.
    pub fn poll_transmit(&mut self) -> usize {
        self.connection.take_outgoing(&mut self.outgoing);
        self.result = self.outgoing.as_ptr();
        self.outgoing.len()
    }

    /// Whether a request can be made.
    pub fn is_ready(&self) -> bool {
        self.connection.is_ready()
    }

    /// Whether the connection is of no use any more.
    pub fn is_closed(&self) -> bool {
        self.connection.is_closed()
    }

    /// Begins an exchange and returns its number. `length` is that of the body, -1 for none, -2 for one of unknown length.
    pub fn request(&mut self, method: &str, url: &str, fields: &str, length: f64) -> Result<u32, JsError> {
        let length = match length {
            UNKNOWN => BodyLength::Unknown,
            0.0.. => BodyLength::Known(length as u64),
            _ => BodyLength::None,
        };
        self.connection.request(method, url, fields, length).map_err(|failure| JsError::new(&failure.message))
    }

    /// A chunk of a request's body, the first `length` octets of the input buffer.
    pub fn send_body(&mut self, id: u32, length: usize) {
        let chunk = self.lend(length);
        self.connection.send_body(id, chunk);
    }

    /// The request's body is whole.
    pub fn finish_body(&mut self, id: u32) {
        self.connection.finish_body(id);
    }

    /// The request's body never will be.
    pub fn abort_body(&mut self, id: u32) {
        self.connection.abort_body(id);
    }

    /// So many octets more of a response are wanted.
    pub fn want(&mut self, id: u32, octets: usize) {
        self.connection.want(id, octets);
    }

    /// What has happened: eight times the number of the exchange, and the kind of the event; 0 for nothing.
    pub fn poll_event(&mut self) -> u32 {
        self.connection.poll_event().map_or(0, |event| event.id << 3 | event.kind as u32)
    }

    /// The status of a response whose head has come; 0 before.
    pub fn take_status(&mut self, id: u32) -> u16 {
        self.head = self.connection.take_head(id);
        self.head.as_ref().map_or(0, |head| head.status)
    }

    /// The fields of the head that the last [`take_status`](Self::take_status) was about.
    pub fn take_fields(&mut self) -> String {
        self.head.take().map(|head| head.fields).unwrap_or_default()
    }

    /// The next chunk of a response: its length, 0 for none.
    pub fn take_chunk(&mut self, id: u32) -> usize {
        self.chunk = self.connection.take_chunk(id).unwrap_or_default();
        self.result = self.chunk.as_ptr();
        self.chunk.len()
    }

    /// Why an exchange failed: a code and, in the second line, words.
    pub fn failure(&self, id: u32) -> String {
        self.connection.failure(id).map(|failure| format!("{}\n{}", failure.code, failure.message)).unwrap_or_default()
    }

    /// Ends an exchange, or forgets one that is over.
    pub fn forget(&mut self, id: u32) {
        self.connection.forget(id);
    }
}

impl HttpConnection {
    /// The first octets of the input buffer, which is used again when nobody holds them any more.
    fn lend(&mut self, length: usize) -> Bytes {
        self.lent = std::mem::take(&mut self.input).freeze();
        self.lent.slice(..length.min(self.lent.len()))
    }
}

//! The same for JavaScript. Octets go in through the buffer at `input`; results leave as a count, and `pointer` tells where
//! they lie in the linear memory until the next call.

use std::sync::Arc;

use rustls::ClientConfig;
use wasm_bindgen::JsError;
use wasm_bindgen::prelude::wasm_bindgen;

use crate::config::{Clock, client_config};
use crate::session::Session;

/// What connections have in common; those that share one can resume each other's sessions.
#[wasm_bindgen]
pub struct TlsConfig {
    config: Arc<ClientConfig>,
    clock: Clock,
}

#[wasm_bindgen]
impl TlsConfig {
    /// Trusts `roots` (certificates in PEM; empty for Mozilla's) and offers `protocols`, separated by line feeds.
    #[wasm_bindgen(constructor)]
    pub fn new(roots: &str, protocols: &str) -> Result<TlsConfig, JsError> {
        let clock = Clock::default();
        let protocols: Vec<_> = protocols.split('\n').filter(|protocol| !protocol.is_empty()).collect();
        let config = Arc::new(client_config(roots, &protocols, clock.clone())?);
        Ok(Self { config, clock })
    }
}

/// A [`Session`] for JavaScript. Times are Unix time in milliseconds.
#[wasm_bindgen]
pub struct TlsSession {
    session: Session,
    clock: Clock,
    input: Vec<u8>,
    result: *const u8,
}

#[wasm_bindgen]
impl TlsSession {
    /// Begins a handshake with the server called `name`.
    #[wasm_bindgen(constructor)]
    pub fn new(config: &TlsConfig, name: &str, now: f64) -> Result<TlsSession, JsError> {
        config.clock.set(now);
        let session = Session::new(config.config.clone(), name).map_err(|failure| JsError::new(&failure.message))?;
        Ok(Self { session, clock: config.clock.clone(), input: Vec::new(), result: core::ptr::null() })
    }

    /// Where the caller puts `length` octets before a call that takes them.
    pub fn input(&mut self, length: usize) -> *mut u8 {
        if self.input.len() < length {
            self.input.resize(length.next_power_of_two(), 0);
        }
        self.input.as_mut_ptr()
    }

    /// Where the result of the last call lies.
    pub fn pointer(&self) -> *const u8 {
        self.result
    }

    /// Octets from the other side, in the input buffer; returns how much plain text is the result.
    pub fn handle_data(&mut self, length: usize, now: f64) -> usize {
        self.clock.set(now);
        self.session.incoming().clear();
        self.session.handle_data(self.input.get(..length).unwrap_or_default());
        let incoming = self.session.incoming();
        self.result = incoming.as_ptr();
        incoming.len()
    }

    /// Nothing more comes from the other side.
    pub fn handle_end(&mut self) {
        self.session.handle_end();
    }

    /// Plain text to send, in the input buffer.
    pub fn write(&mut self, length: usize) {
        self.session.write(self.input.get(..length).unwrap_or_default());
    }

    /// Nothing more will be written.
    pub fn finish(&mut self) {
        self.session.finish();
    }

    /// Octets for the other side: their number, 0 for none.
    pub fn poll_transmit(&mut self) -> usize {
        let outgoing = self.session.take_outgoing();
        self.result = outgoing.as_ptr();
        outgoing.len()
    }

    /// Whether the handshake is not over.
    pub fn is_handshaking(&self) -> bool {
        self.session.is_handshaking()
    }

    /// Whether the other side has closed its direction.
    pub fn is_finished(&self) -> bool {
        self.session.is_finished()
    }

    /// The code of the failure; empty for none.
    pub fn failure_code(&self) -> String {
        self.session.failure().map(|failure| failure.code.as_str().to_owned()).unwrap_or_default()
    }

    /// What happened, for a person; empty for nothing.
    pub fn failure_message(&self) -> String {
        self.session.failure().map(|failure| failure.message.clone()).unwrap_or_default()
    }

    /// The protocol that the server chose; empty for none.
    pub fn protocol(&self) -> String {
        self.session.protocol().unwrap_or_default().to_owned()
    }
}

//! One connection: a client's side of TLS without a socket.

use std::io::{Read, Write};
use std::sync::Arc;

use rustls::{ClientConfig, ClientConnection};
use rustls_pki_types::ServerName;

use crate::failure::{Code, Failure};

/// A TLS connection between octets and octets.
///
/// After any call take what [`take_outgoing`](Self::take_outgoing) gives and send it. After a failure this may still be an
/// alert that tells the other side why.
#[derive(Debug)]
pub struct Session {
    connection: ClientConnection,
    incoming: Vec<u8>,
    outgoing: Vec<u8>,
    failure: Option<Failure>,
    finished: bool,
}

impl Session {
    /// Begins a handshake with the server called `name`, a DNS name or an IP literal without brackets.
    ///
    /// # Errors
    ///
    /// Where `name` is neither.
    pub fn new(config: Arc<ClientConfig>, name: &str) -> Result<Self, Failure> {
        let refused = |message: String| Failure { code: Code::Protocol, message };
        let server = ServerName::try_from(name.to_owned())
            .map_err(|_| refused(format!("\"{name}\" is no name that a certificate can be for")))?;
        let mut connection = ClientConnection::new(config, server).map_err(|error| Failure::from(&error))?;
        // What is written is taken out before more comes, see `write`.
        connection.set_buffer_limit(None);
        Ok(Self { connection, incoming: Vec::new(), outgoing: Vec::new(), failure: None, finished: false })
    }

    /// Takes octets from the other side; their plain text is added to [`incoming`](Self::incoming).
    pub fn handle_data(&mut self, mut data: &[u8]) {
        while self.failure.is_none() && !self.finished && !data.is_empty() {
            if let Err(error) = self.connection.read_tls(&mut data) {
                self.failure = Some(Failure { code: Code::Protocol, message: error.to_string() });
                return;
            }
            self.process();
        }
    }

    /// The other side will send nothing more. An end before its closure alert is a failure.
    pub fn handle_end(&mut self) {
        if self.failure.is_none() && !self.finished {
            self.failure = Some(if self.connection.is_handshaking() {
                let message = "the other side ended the connection in the middle of the TLS handshake".into();
                Failure { code: Code::Truncated, message }
            } else {
                Failure::truncated()
            });
        }
    }

    fn process(&mut self) {
        match self.connection.process_new_packets() {
            Ok(state) => {
                let at = self.incoming.len();
                self.incoming.resize(at + state.plaintext_bytes_to_read(), 0);
                let room = self.incoming.get_mut(at..).unwrap_or_default();
                if let Err(error) = self.connection.reader().read_exact(room) {
                    self.failure = Some(Failure { code: Code::Protocol, message: error.to_string() });
                }
                self.finished = state.peer_has_closed();
            }
            Err(error) => self.failure = Some(Failure::from(&error)),
        }
    }

    /// Plain text that has come and was not taken; the caller clears it.
    pub fn incoming(&mut self) -> &mut Vec<u8> {
        &mut self.incoming
    }

    /// Plain text for the other side, of any length. Before the handshake is over it is kept until then.
    pub fn write(&mut self, data: &[u8]) {
        if self.failure.is_some() {
            return;
        }
        if let Err(error) = self.connection.writer().write_all(data) {
            self.failure = Some(Failure { code: Code::Protocol, message: error.to_string() });
        }
    }

    /// Tells the other side that nothing more will be sent (RFC 8446 section 6.1).
    pub fn finish(&mut self) {
        self.connection.send_close_notify();
    }

    /// Octets for the other side, all there are; valid until the next call.
    pub fn take_outgoing(&mut self) -> &[u8] {
        self.outgoing.clear();
        while self.connection.wants_write() {
            // A Vec takes whatever is written into it.
            if !matches!(self.connection.write_tls(&mut self.outgoing), Ok(1..)) {
                break;
            }
        }
        &self.outgoing
    }

    /// Whether keys are not agreed on yet, or the server's certificate is not checked.
    pub fn is_handshaking(&self) -> bool {
        self.connection.is_handshaking()
    }

    /// Whether the other side has said that it sends nothing more.
    pub fn is_finished(&self) -> bool {
        self.finished
    }

    /// Why the connection failed.
    pub fn failure(&self) -> Option<&Failure> {
        self.failure.as_ref()
    }

    /// The protocol that the server chose by ALPN.
    pub fn protocol(&self) -> Option<&str> {
        self.connection.alpn_protocol().and_then(|protocol| core::str::from_utf8(protocol).ok())
    }
}

//! Why an exchange failed, in words and as a code that programs can tell apart.

use std::error::Error;

/// A failure of one request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// An errno name.
    pub code: &'static str,
    /// What happened, for a person.
    pub message: String,
}

impl Failure {
    /// What the caller asks for cannot be sent.
    pub fn invalid(message: impl ToString) -> Self {
        Self { code: "EINVAL", message: message.to_string() }
    }

    /// A body that ended before its announced length.
    pub fn incomplete() -> Self {
        Self { code: "ECONNRESET", message: "the server ended the response before its end".into() }
    }
}

impl From<hyper::Error> for Failure {
    fn from(error: hyper::Error) -> Self {
        let (code, words) = if error.is_parse() || error.is_parse_status() {
            ("EPROTO", "the server does not speak HTTP, or breaks its rules")
        } else if error.is_incomplete_message() || error.is_closed() || error.is_canceled() {
            ("ECONNRESET", "the server ended the connection in the middle")
        } else if error.is_user() {
            ("EINVAL", "the request cannot be sent")
        } else {
            ("ECONNRESET", "the exchange failed")
        };
        let message = match error.source() {
            Some(source) => format!("{words}: {source}"),
            None => format!("{words}: {error}"),
        };
        Self { code, message }
    }
}

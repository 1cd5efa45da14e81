use crate::dataplane::close_message;
use crate::io::auth::Refusal;
use crate::io::metrics::HandshakeResult;
use bytes::Bytes;
use std::time::Duration;
use webtun_wire::CloseCode;

/// The last thing that a client is told.
#[derive(Clone, Debug)]
pub struct Farewell {
    /// Why.
    pub code: CloseCode,
    /// A message with CLOSE; none where the client could not read it any more.
    pub message: Option<Bytes>,
    /// For the WebSocket's close frame.
    pub frame_code: u16,
    /// For a person; at most 123 octets (RFC 6455 section 5.5).
    pub words: &'static str,
    /// True where the connection has decided it and the driver is still to learn.
    pub by_us: bool,
}

impl Farewell {
    /// A refusal that the connection itself decides.
    pub fn new(code: CloseCode, words: &'static str) -> Self {
        let message = Some(close_message(code, Duration::ZERO, words));
        Self { code, message, frame_code: frame_code(code), words, by_us: true }
    }

    /// For a client that may not come in.
    pub fn refusal(refusal: Refusal) -> Self {
        match refusal {
            Refusal::Missing => Self::new(CloseCode::Unauthorized, "a token is needed"),
            Refusal::Wrong => Self::new(CloseCode::Unauthorized, "the token is wrong"),
            Refusal::Failures(wait) => {
                let words = "too many wrong tokens have come from this address; try again later";
                let message = Some(close_message(CloseCode::Limit, wait, words));
                Self { message, ..Self::new(CloseCode::Limit, words) }
            }
        }
    }

    /// How it is counted where it ends a handshake. Only the gate's patience is a limit that the connection itself knows of.
    pub fn result(&self) -> HandshakeResult {
        match self.code {
            CloseCode::Limit if self.by_us => HandshakeResult::Throttled,
            code => HandshakeResult::Refused(code),
        }
    }

    /// For a client whose place a newcomer has taken, and who may try again after a second.
    pub fn displaced() -> Self {
        let words = "too many others are opening sessions; try again";
        let message = close_message(CloseCode::Limit, Duration::from_secs(1), words);
        Self { message: Some(message), ..Self::new(CloseCode::Limit, words) }
    }

    /// For a connection that shows no sign of life; without CLOSE, because its session may come back.
    pub fn silent() -> Self {
        Self { frame_code: 4408, words: "silent for too long", ..Self::from_gateway(CloseCode::Internal, None) }
    }

    /// What the gateway has decided.
    pub fn from_gateway(code: CloseCode, message: Option<Bytes>) -> Self {
        Self { code, message, frame_code: frame_code(code), words: words(code), by_us: false }
    }
}

/// Close codes of RFC 6455 section 7.4.1 where one fits, else of the range for private use.
fn frame_code(code: CloseCode) -> u16 {
    match code {
        CloseCode::Normal => 1000,
        CloseCode::Shutdown => 1001,
        CloseCode::Version | CloseCode::Protocol => 1002,
        CloseCode::Internal => 1011,
        CloseCode::Exhausted | CloseCode::Limit => 1013,
        CloseCode::Unauthorized => 4401,
        CloseCode::UnknownSession => 4404,
        CloseCode::Replaced => 4409,
    }
}

fn words(code: CloseCode) -> &'static str {
    match code {
        CloseCode::Normal => "the session has ended",
        CloseCode::Shutdown => "the gateway goes away",
        CloseCode::Version => "no version in common",
        CloseCode::Protocol => "the protocol was broken",
        CloseCode::Internal => "a fault of the gateway",
        CloseCode::Exhausted => "no address or port is free",
        CloseCode::Limit => "a limit is reached",
        CloseCode::Unauthorized => "the token is missing or wrong",
        CloseCode::UnknownSession => "the session is unknown",
        CloseCode::Replaced => "another connection has taken the session over",
    }
}

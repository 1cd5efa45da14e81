use crate::error::Problem;
use crate::field::{Reader, Sink};

/// The client's opening words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hello<'a> {
    /// The lowest version that the client speaks.
    pub min_version: u8,
    /// The highest version that the client speaks.
    pub max_version: u8,
    /// A bearer token; empty where it came by subprotocol or none is needed.
    pub token: &'a [u8],
    /// The session to go on with.
    pub resume: Option<Resume>,
}

/// Proof that a connection belongs to an earlier session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Resume {
    /// From SESSION.
    pub session_id: [u8; 16],
    /// From SESSION.
    pub secret: [u8; 32],
    /// The next sequenced message that the client expects.
    pub next: u64,
}

/// The gateway's answer to an accepted HELLO.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Session {
    /// The version in force.
    pub version: u8,
    /// True where `HELLO.resume` was honoured; false for a session that is new.
    pub resumed: bool,
    /// Names the session.
    pub session_id: [u8; 16],
    /// To be shown on resumption. Secret.
    pub secret: [u8; 32],
    /// How long the session survives without a connection, in milliseconds.
    pub grace_ms: u32,
    /// The next sequenced message that the gateway expects; 0 in a new session.
    pub next: u64,
}

/// The end of a session, or its refusal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Close<'a> {
    /// Why.
    pub code: CloseCode,
    /// When a new attempt makes sense, in milliseconds; 0 means that none does.
    pub retry_after_ms: u32,
    /// For a person.
    pub reason: &'a str,
}

/// Why a session ends or is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum CloseCode {
    /// The sender is done.
    Normal = 0,
    /// No version in common.
    Version = 1,
    /// A token is missing or wrong.
    Unauthorized = 2,
    /// The session to be resumed is unknown or its grace is over: begin a new one.
    UnknownSession = 3,
    /// No inner address or port block is free.
    Exhausted = 4,
    /// A limit of the peer is reached.
    Limit = 5,
    /// The peer broke the protocol.
    Protocol = 6,
    /// Another connection has taken the session over.
    Replaced = 7,
    /// The gateway goes away.
    Shutdown = 8,
    /// A fault of the sender's own.
    Internal = 9,
}

/// What the gateway accepts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Largest packet in the tunnel, in octets.
    pub mtu: u32,
    /// Largest message, in octets.
    pub message_len: u32,
    /// How many octets of sequenced messages may be unacknowledged, each way.
    pub unacknowledged: u32,
    /// Silence after which either side sends a PING, in milliseconds.
    pub ping_interval_ms: u32,
}

impl<'a> Hello<'a> {
    pub(super) fn encode(&self, out: &mut impl Sink) {
        out.u8(self.min_version);
        out.u8(self.max_version);
        out.prefixed(self.token);
        out.u8(u8::from(self.resume.is_some()));
        if let Some(resume) = &self.resume {
            out.octets(&resume.session_id);
            out.octets(&resume.secret);
            out.varint(resume.next);
        }
    }

    pub(super) fn decode(value: &mut Reader<'a>) -> Result<Self, Problem> {
        let (min_version, max_version) = (value.u8()?, value.u8()?);
        if min_version > max_version {
            return Err(Problem::Range);
        }
        let token = value.prefixed()?;
        let resume = if value.flag()? {
            Some(Resume { session_id: value.array()?, secret: value.array()?, next: value.varint()? })
        } else {
            None
        };
        Ok(Self { min_version, max_version, token, resume })
    }
}

impl Session {
    pub(super) fn encode(&self, out: &mut impl Sink) {
        out.u8(self.version);
        out.u8(u8::from(self.resumed));
        out.octets(&self.session_id);
        out.octets(&self.secret);
        out.u32(self.grace_ms);
        out.varint(self.next);
    }

    pub(super) fn decode(value: &mut Reader<'_>) -> Result<Self, Problem> {
        let session = Self {
            version: value.u8()?,
            resumed: value.flag()?,
            session_id: value.array()?,
            secret: value.array()?,
            grace_ms: value.u32()?,
            next: value.varint()?,
        };
        if !session.resumed && session.next != 0 {
            return Err(Problem::Value);
        }
        Ok(session)
    }
}

impl<'a> Close<'a> {
    pub(super) fn encode(&self, out: &mut impl Sink) {
        out.u8(self.code as u8);
        out.u32(self.retry_after_ms);
        out.prefixed(self.reason.as_bytes());
    }

    pub(super) fn decode(value: &mut Reader<'a>) -> Result<Self, Problem> {
        let code = CloseCode::from_octet(value.u8()?);
        Ok(Self { code, retry_after_ms: value.u32()?, reason: value.text()? })
    }
}

impl CloseCode {
    /// A code of a later version becomes [`CloseCode::Internal`]: whether to come back is in `retry_after_ms`.
    fn from_octet(code: u8) -> Self {
        match code {
            0 => Self::Normal,
            1 => Self::Version,
            2 => Self::Unauthorized,
            3 => Self::UnknownSession,
            4 => Self::Exhausted,
            5 => Self::Limit,
            6 => Self::Protocol,
            7 => Self::Replaced,
            8 => Self::Shutdown,
            _ => Self::Internal,
        }
    }
}

impl Limits {
    pub(super) fn encode(&self, out: &mut impl Sink) {
        out.u32(self.mtu);
        out.u32(self.message_len);
        out.u32(self.unacknowledged);
        out.u32(self.ping_interval_ms);
    }

    pub(super) fn decode(value: &mut Reader<'_>) -> Result<Self, Problem> {
        Ok(Self {
            mtu: value.u32()?,
            message_len: value.u32()?,
            unacknowledged: value.u32()?,
            ping_interval_ms: value.u32()?,
        })
    }
}

use core::net::{IpAddr, SocketAddr};

/// Where a stream is to lead.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Host<'a> {
    /// To this address.
    Address(IpAddr),
    /// To a name that the gateway resolves.
    Name(&'a str),
}

/// Asks the gateway for a TCP connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StreamOpen<'a> {
    /// Chosen by the client, larger than all before it in the session.
    pub stream: u64,
    /// The destination.
    pub host: Host<'a>,
    /// Its port.
    pub port: u16,
    /// The first octets of the stream, within the gateway's first credit; may be empty.
    pub data: &'a [u8],
}

/// The connection of a stream is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StreamOpened {
    /// From STREAM_OPEN.
    pub stream: u64,
    /// The gateway's end of the connection.
    pub local: SocketAddr,
    /// The other one.
    pub remote: SocketAddr,
}

/// What a side allows the other for streams.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StreamLimits {
    /// How many streams of the other side's may be open at a time.
    pub streams: u64,
    /// How many octets may be sent on each of them before the first STREAM_CREDIT.
    pub credit: u64,
    /// From a gateway: TCP connections to the outside are to be streams, since it forwards no packets of others.
    pub required: bool,
}

/// Why a stream ended early, or never began.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum ResetReason {
    /// A side gave it up: ECONNRESET.
    Aborted = 1,
    /// The destination refused: ECONNREFUSED.
    Refused = 2,
    /// There is no way to the destination: EHOSTUNREACH.
    Unreachable = 3,
    /// The destination does not answer: ETIMEDOUT.
    TimedOut = 4,
    /// The name has no address.
    NameNotFound = 5,
    /// The operator's policy or the default class rule: EACCES.
    Policy = 6,
    /// Too many streams, or too fast: EAGAIN.
    Limit = 7,
}

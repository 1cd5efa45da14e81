use std::net::IpAddr;
use std::time::Duration;

use crate::PingError;

/// An echo reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pong {
    /// Who answered.
    pub from: IpAddr,
    /// From request to reply.
    pub rtt: Duration,
    /// Octets of payload.
    pub len: usize,
    /// TTL or hop limit of the reply on arrival.
    pub hop_limit: u8,
}

/// No echo reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{error}")]
pub struct PingFailure {
    /// Who reported it, where somebody did.
    pub from: Option<IpAddr>,
    /// Why.
    pub error: PingError,
}

//! Who is behind a session: what the shell has found out from the credentials.

use std::sync::Arc;

/// An authenticated principal. Sessions of the same name share its session limit, and only they resume one another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peer {
    /// The principal's name, for limits and the audit log.
    pub name: Arc<str>,
    /// What each of its sessions, and all of them together, may use.
    pub limits: PeerLimits,
}

impl Peer {
    /// A principal with default limits.
    pub fn new(name: impl Into<Arc<str>>) -> Self {
        Self { name: name.into(), limits: PeerLimits::default() }
    }
}

/// What a peer may use. Past a limit only the session that asks is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PeerLimits {
    /// Sessions of the peer at the same time.
    pub sessions: usize,
    /// NAT mappings per session.
    pub mappings: usize,
    /// Remote endpoints that the mappings of one session track together; no more than half of them may come from outside.
    pub flows: usize,
    /// External port blocks per session and family.
    pub blocks: usize,
    /// Explicitly mapped ports per session.
    pub mapped_ports: usize,
}

impl Default for PeerLimits {
    fn default() -> Self {
        Self { sessions: 64, mappings: 8192, flows: 16_384, blocks: 16, mapped_ports: 64 }
    }
}

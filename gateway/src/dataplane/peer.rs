//! Who is behind a session: what the shell has found out from the credentials.

use std::sync::Arc;

use super::{Filtering, Rate};

/// An authenticated principal. Sessions of the same name share its totals, and only they resume one another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peer {
    /// The principal's name, for limits and the audit log.
    pub name: Arc<str>,
    /// The group that rules of the policy may name.
    pub group: Option<Arc<str>>,
    /// The network of peers whose sessions reach one another's inner addresses; without one a session is alone.
    pub network: Option<Arc<str>>,
    /// Which packets from outside the mappings of its sessions admit; without it the gateway's setting.
    pub filtering: Option<Filtering>,
    /// What each of its sessions, and all of them together, may use.
    pub limits: PeerLimits,
    /// True where a session's secret is enough to go on with it, because what has proved the peer was good only once.
    pub resumes_by_secret: bool,
}

impl Peer {
    /// A principal in no group and no network, with default limits.
    pub fn new(name: impl Into<Arc<str>>) -> Self {
        Self {
            name: name.into(),
            group: None,
            network: None,
            filtering: None,
            limits: PeerLimits::default(),
            resumes_by_secret: false,
        }
    }
}

/// What a peer may use. Past a limit only the session that asks is refused.
///
/// The totals count the sessions of one peer, and are those of the peer that asks: sessions of one name that were opened
/// with different limits are each held to their own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PeerLimits {
    /// Sessions of the peer at the same time, those in their grace time included.
    pub sessions: usize,
    /// What each session may use.
    pub each: Allowance,
    /// What all sessions of the peer may use together.
    pub total: Allowance,
}

/// An allowance, of one session or of a peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Allowance {
    /// NAT mappings (bindings).
    pub mappings: usize,
    /// Remote endpoints that the mappings track together; no more than half of them may come from outside.
    pub flows: usize,
    /// External port blocks, per family. A session's first one is not refused for the peer's total.
    pub blocks: usize,
    /// Explicitly mapped ports.
    pub mapped_ports: usize,
    /// Octets of packets that wait for their session's connection; 70,000 or more. At the bound the flow that has the most
    /// waiting loses its oldest packet.
    pub queue_octets: usize,
    /// Flows that clients begin.
    pub new_flows: Rate,
    /// Packets from clients. Past it, the gateway stops reading.
    pub uplink_packets: Rate,
    /// Octets of packets from clients. Past it, the gateway stops reading.
    pub uplink_octets: Rate,
    /// Packets to clients. Past it, packets wait in the session's queue.
    pub downlink_packets: Rate,
    /// Octets of packets to clients. Past it, packets wait in the session's queue.
    pub downlink_octets: Rate,
    /// Octets to destinations that have not answered.
    pub unanswered_octets: Rate,
}

impl Allowance {
    /// Everything without a limit, as a total that is none.
    pub const UNLIMITED: Self = Self {
        mappings: usize::MAX,
        flows: usize::MAX,
        blocks: usize::MAX,
        mapped_ports: usize::MAX,
        queue_octets: usize::MAX,
        new_flows: Rate::UNLIMITED,
        uplink_packets: Rate::UNLIMITED,
        uplink_octets: Rate::UNLIMITED,
        downlink_packets: Rate::UNLIMITED,
        downlink_octets: Rate::UNLIMITED,
        unanswered_octets: Rate::UNLIMITED,
    };

    /// The default of one session: as much as a busy program needs, at any speed that the tunnel reaches.
    pub const SESSION: Self = Self {
        mappings: 8192,
        flows: 16_384,
        blocks: 32,
        mapped_ports: 64,
        queue_octets: 2 << 20,
        new_flows: Rate { per_second: 500, burst: 4096 },
        uplink_packets: Rate { per_second: 150_000, burst: 37_500 },
        downlink_packets: Rate { per_second: 400_000, burst: 100_000 },
        unanswered_octets: Rate { per_second: 256 << 10, burst: 4 << 20 },
        ..Self::UNLIMITED
    };

    /// The default of a peer: as much as a few busy sessions need. With the first blocks of all its sessions, these are half
    /// of the blocks of an external address.
    pub const PEER: Self = Self {
        mappings: 32_768,
        flows: 65_536,
        blocks: 64,
        mapped_ports: 256,
        queue_octets: 64 << 20,
        new_flows: Rate { per_second: 2000, burst: 16_384 },
        unanswered_octets: Rate { per_second: 1 << 20, burst: 16 << 20 },
        ..Self::UNLIMITED
    };
}

impl Default for PeerLimits {
    fn default() -> Self {
        Self { sessions: 128, each: Allowance::SESSION, total: Allowance::PEER }
    }
}

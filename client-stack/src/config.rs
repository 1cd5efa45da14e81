use std::time::Duration;

use crate::BufferSizes;

/// Ports from one to another, both inclusive.
pub(crate) type PortRange = std::ops::RangeInclusive<u16>;

/// How a [`Host`](crate::Host) is made. The fields say their defaults.
#[derive(Clone, Debug)]
pub struct HostConfig {
    /// Secret randomness for ports, sequence numbers and hash tables. Must differ from run to run.
    pub seed: [u8; 32],
    /// The largest packet, header included, in octets: 65,535.
    pub mtu: usize,
    /// Whether IPv6 packets beyond 1280 octets, TCP apart, leave in fragments, for a router behind the link to put
    /// together and to cut as its path demands: false. IPv4 packets always allow to be cut.
    pub fragments: bool,
    /// Buffers of a TCP connection whose options name none. `None` chooses by what the host has reserved already, and
    /// by how many are opened at the same time: 3 MiB each way for one alone, 64 KiB for each of thousands.
    pub buffers: Option<BufferSizes>,
    /// Bound on sockets of all kinds: 16,384.
    pub max_sockets: usize,
    /// How many octets of packets may wait for `poll_packet`: 256 KiB. One more packet may lie over it.
    pub queue_octets: usize,
    /// How long a peer may stay silent while something is unacknowledged: 15 minutes (RFC 9293 section 3.8.3).
    pub tcp_user_timeout: Duration,
    /// Whether the host stands in for every unicast address but loopback ones: false. What comes for whomever is its own
    /// then, connections may be opened from any address, and a SYN that no listener takes waits as a
    /// [`TcpRequest`](crate::TcpRequest) instead of being refused. Without the feature `stand-in` it is taken for false.
    pub stands_in: bool,
}

impl HostConfig {
    /// The defaults, with this seed.
    pub const fn new(seed: [u8; 32]) -> Self {
        Self {
            seed,
            mtu: webtun_wire::MAX_PACKET_LEN,
            fragments: false,
            buffers: None,
            max_sockets: 16_384,
            queue_octets: 256 * 1024,
            tcp_user_timeout: Duration::from_secs(15 * 60),
            stands_in: false,
        }
    }
}

/// How a [`Stack`](crate::Stack) is made. The fields say their defaults.
#[derive(Clone)]
pub struct StackConfig {
    /// Secret randomness. Must differ from run to run.
    pub seed: [u8; 32],
    /// Whether to do without the session's IPv4 address and name servers, as a host of an IPv6-only network does: false.
    /// IPv4 hosts are reached below [`Lease::pref64`](crate::Lease::pref64) all the same.
    pub ipv6_only: bool,
    /// The bearer token for HELLO; empty where it goes by subprotocol or none is needed.
    pub token: Vec<u8>,
    /// As [`HostConfig::buffers`].
    pub buffers: Option<BufferSizes>,
    /// As [`HostConfig::max_sockets`].
    pub max_sockets: usize,
    /// Octets up to which packets are put into one message: 512 KiB, which eight of the longest fill. The gateway's limit
    /// holds too, and what one packet needs is always taken.
    pub batch_len: usize,
    /// Whether to offer segmentation offload: true. Where the gateway takes it too, one packet stands for many segments,
    /// and checksums inside the tunnel are saved.
    pub offload: bool,
    /// Whether to carry connections that are split at the gateway: true.
    pub streams: bool,
    /// Octets that may wait on each of these for a message: 512 KiB.
    pub stream_buffer: usize,
    /// How far the gateway may be ahead of the readers of all of these together, in octets: 64 MiB. Each may have 64 KiB
    /// whatever this says.
    pub stream_window: u64,
    /// How long the transport may take to open: 30 s.
    pub open_timeout: Duration,
    /// How long the gateway may take to answer HELLO: 10 s.
    pub handshake_timeout: Duration,
    /// The shortest wait before a new attempt: 250 ms.
    pub backoff_min: Duration,
    /// The longest wait before a new attempt: 10 s. The waits are random, and their ceiling doubles from the shortest
    /// on.
    pub backoff_max: Duration,
}

impl StackConfig {
    /// The defaults, with this seed.
    pub const fn new(seed: [u8; 32]) -> Self {
        Self {
            seed,
            ipv6_only: false,
            token: Vec::new(),
            buffers: None,
            max_sockets: 16_384,
            batch_len: 512 * 1024,
            offload: true,
            streams: true,
            stream_buffer: 512 * 1024,
            stream_window: 64 << 20,
            open_timeout: Duration::from_secs(30),
            handshake_timeout: Duration::from_secs(10),
            backoff_min: Duration::from_millis(250),
            backoff_max: Duration::from_secs(10),
        }
    }
}

impl std::fmt::Debug for StackConfig {
    // Seed and token are secrets.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("StackConfig")
            .field("buffers", &self.buffers)
            .field("batch_len", &self.batch_len)
            .finish_non_exhaustive()
    }
}

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use crate::{CloseReason, ConnectError};

/// How a [`Host`](crate::Host) is made. The fields say their defaults.
#[derive(Clone, Debug)]
pub struct HostConfig {
    /// Secret randomness for ports, sequence numbers and hash tables. Must differ from run to run.
    pub seed: [u8; 32],
    /// The largest packet, header included, in octets: 65,535. There is no fragmentation.
    pub mtu: usize,
    /// Buffers of a TCP connection whose options name none. `None` chooses by the number of open connections: up to
    /// 256: 1 MiB to receive and 256 KiB to send, up to 2,000: 256 and 64 KiB, beyond: 64 and 16 KiB.
    pub buffers: Option<BufferSizes>,
    /// Bound on sockets of all kinds: 16,384.
    pub max_sockets: usize,
    /// How many octets of packets may wait for `poll_packet`: 256 KiB. One more packet may lie over it.
    pub queue_octets: usize,
    /// How long a peer may stay silent while something is unacknowledged: 15 minutes (RFC 9293 section 3.8.3).
    pub tcp_user_timeout: Duration,
}

impl HostConfig {
    /// The defaults, with this seed.
    pub const fn new(seed: [u8; 32]) -> Self {
        Self {
            seed,
            mtu: webtun_wire::MAX_PACKET_LEN,
            buffers: None,
            max_sockets: 16_384,
            queue_octets: 256 * 1024,
            tcp_user_timeout: Duration::from_secs(15 * 60),
        }
    }
}

/// Buffers of one TCP connection, in octets. What can be in flight, and so the throughput, is bounded by them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BufferSizes {
    /// The largest receive window.
    pub receive: usize,
    /// How much `tcp_send` takes before the peer has acknowledged any.
    pub send: usize,
}

impl BufferSizes {
    /// What a connection gets that is opened beside `open` others.
    pub(crate) const fn for_open_sockets(open: usize) -> Self {
        match open {
            0..256 => Self { receive: 1024 * 1024, send: 256 * 1024 },
            256..2000 => Self { receive: 256 * 1024, send: 64 * 1024 },
            _ => Self { receive: 64 * 1024, send: 16 * 1024 },
        }
    }

    /// Within what the window scale option can express (RFC 7323 section 2.3), and not empty.
    pub(crate) fn clamped(self) -> Self {
        let range = |octets: usize| octets.clamp(256, 1 << 30);
        Self { receive: range(self.receive), send: range(self.send) }
    }
}

/// How a TCP connection is opened.
#[derive(Clone, Debug)]
pub struct TcpOptions {
    /// Local address and port; unspecified and 0 are chosen. `None`: both are chosen.
    pub local: Option<SocketAddr>,
    /// Overrides [`HostConfig::buffers`].
    pub buffers: Option<BufferSizes>,
    /// How long the peer may take to answer: 30 s.
    pub connect_timeout: Duration,
    /// True switches Nagle's algorithm (RFC 9293 section 3.7.4) off. Default false.
    pub nodelay: bool,
    /// Probe an idle peer after this long; after four intervals without an answer it counts as gone. Default `None`.
    pub keep_alive: Option<Duration>,
}

impl Default for TcpOptions {
    fn default() -> Self {
        Self { local: None, buffers: None, connect_timeout: Duration::from_secs(30), nodelay: false, keep_alive: None }
    }
}

/// How a listener is made.
#[derive(Clone, Debug)]
pub struct ListenOptions {
    /// How many connections may be half open or wait for `tcp_accept`: 128. A SYN beyond it is dropped, so that the
    /// peer tries again.
    pub backlog: usize,
    /// True: `[::]` takes no IPv4 connections. Default false.
    pub ipv6_only: bool,
    /// For the accepted connections; `local` and `connect_timeout` mean nothing here.
    pub tcp: TcpOptions,
}

impl Default for ListenOptions {
    fn default() -> Self {
        Self { backlog: 128, ipv6_only: false, tcp: TcpOptions::default() }
    }
}

/// How a UDP socket is made.
#[derive(Clone, Copy, Debug)]
pub struct UdpOptions {
    /// How many octets of received payload may wait: 256 KiB. A datagram beyond it is dropped and counted.
    pub receive_buffer: usize,
    /// True: `[::]` takes no IPv4 datagrams. Default false.
    pub ipv6_only: bool,
}

impl Default for UdpOptions {
    fn default() -> Self {
        Self { receive_buffer: 256 * 1024, ipv6_only: false }
    }
}

/// One echo request.
#[derive(Clone, Copy, Debug)]
pub struct PingOptions {
    /// Octets of payload: 56.
    pub len: usize,
    /// How long the reply may take: 5 s.
    pub timeout: Duration,
    /// TTL or hop limit: 64. 0 counts as 1.
    pub hop_limit: u8,
}

impl Default for PingOptions {
    fn default() -> Self {
        Self { len: 56, timeout: Duration::from_secs(5), hop_limit: 64 }
    }
}

/// What `tcp_recv` gave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Received {
    /// So many octets.
    Data(usize),
    /// Nothing now; `TcpReadable` follows.
    Empty,
    /// The peer's FIN, after all its data has been read.
    Finished,
}

/// Where a connection stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TcpState {
    /// The handshake is not over.
    Connecting,
    /// Open in at least one direction.
    Open {
        /// The peer has sent its FIN.
        peer_finished: bool,
        /// `tcp_shutdown` was called.
        shut_down: bool,
    },
    /// Over.
    Closed(CloseReason),
    /// Never came about.
    Failed(ConnectError),
}

/// One received datagram.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Datagram {
    /// The sender.
    pub from: SocketAddr,
    /// Which of our addresses it was sent to.
    pub to: IpAddr,
    /// 0 to 65,507 octets.
    pub payload: Vec<u8>,
}

/// Counts since the host was made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HostStats {
    /// Packets given to `handle_packet`.
    pub packets_received: u64,
    /// Packets taken by `poll_packet`.
    pub packets_sent: u64,
    /// Malformed, fragmented, with a wrong checksum, or not for us.
    pub packets_dropped: u64,
    /// SYNs dropped because a backlog or the socket table was full.
    pub syns_dropped: u64,
    /// Datagrams dropped because a socket's receive buffer was full.
    pub datagrams_dropped: u64,
    /// Replies dropped because the packet queue was full.
    pub replies_dropped: u64,
    /// How often a TCP socket was looked at to see whether it has something to send: the work of a poll.
    pub socket_polls: u64,
}

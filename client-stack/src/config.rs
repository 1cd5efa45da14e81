use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use webtun_wire::{CloseCode, Instant};

use crate::{CloseReason, ConnectError};

/// Ports from one to another, both inclusive.
pub(crate) type PortRange = std::ops::RangeInclusive<u16>;

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

/// How a [`Stack`](crate::Stack) is made. The fields say their defaults.
#[derive(Clone)]
pub struct StackConfig {
    /// Secret randomness. Must differ from run to run.
    pub seed: [u8; 32],
    /// The bearer token for HELLO; empty where it goes by subprotocol or none is needed.
    pub token: Vec<u8>,
    /// As [`HostConfig::buffers`].
    pub buffers: Option<BufferSizes>,
    /// As [`HostConfig::max_sockets`].
    pub max_sockets: usize,
    /// Octets up to which packets are put into one message: 128 KiB. The gateway's limit holds too.
    pub batch_len: usize,
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
            token: Vec::new(),
            buffers: None,
            max_sockets: 16_384,
            batch_len: 128 * 1024,
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

/// Where the tunnel stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Status {
    /// The first attempt is under way.
    Connecting,
    /// The session stands.
    Connected {
        /// True after a cut that the session has survived.
        resumed: bool,
    },
    /// The transport is gone, or did not open.
    Reconnecting {
        /// Failures in a row, from 1.
        attempt: u32,
        /// When the next attempt is made.
        retry_at: Instant,
    },
    /// Over for good.
    Closed {
        /// Why.
        code: CloseCode,
        /// The gateway's words, or ours where it broke the protocol; may be empty.
        reason: String,
    },
}

/// Counts since the stack was made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TunnelStats {
    /// Messages sent, those sent again included.
    pub messages_sent: u64,
    /// Octets of them.
    pub octets_sent: u64,
    /// Messages received, duplicates included.
    pub messages_received: u64,
    /// Octets of them.
    pub octets_received: u64,
    /// Messages sent again after a resumption.
    pub replayed: u64,
    /// Messages received that were known.
    pub duplicates: u64,
    /// How often a transport was lost or did not open.
    pub reconnects: u64,
    /// Datagrams of a context that is not open.
    pub unknown_contexts: u64,
    /// Packets that fit no message under the gateway's limits.
    pub oversized: u64,
    /// Octets sent that the gateway has not acknowledged (a gauge).
    pub unacknowledged: u64,
}

/// Which addresses a name is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    /// IPv6 addresses first, then IPv4 ones. A family of which we have no address is not asked for.
    Any,
    /// IPv4 addresses only.
    V4,
    /// IPv6 addresses only.
    V6,
}

/// TCP or UDP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// IP protocol 6.
    Tcp,
    /// IP protocol 17.
    Udp,
}

/// A wanted external port (RFC 6887 MAP).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PortMapOptions {
    /// Of the mapped port.
    pub protocol: Protocol,
    /// True asks for an external IPv6 address, false for IPv4.
    pub ipv6: bool,
    /// The port of our listener or UDP socket.
    pub internal_port: u16,
    /// The wanted external port; 0 for any.
    pub external_port: u16,
    /// How long the gateway is to keep it without a renewal. The stack renews it after half of what is granted.
    pub lifetime: Duration,
}

/// A granted external port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PortMapping {
    /// Where the outside finds it.
    pub external: SocketAddr,
    /// How long it lasts without a renewal.
    pub lifetime: Duration,
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
    /// Probe an idle peer after this long (a second at least); after four intervals without an answer it counts as
    /// gone. Default `None`.
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

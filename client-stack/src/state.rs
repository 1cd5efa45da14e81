//! What a program learns.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use webtun_wire::{CloseCode, Instant};

use crate::{CloseReason, ConnectError};

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

/// Whether TCP connections can be split at the gateway, which makes them with sockets of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Splitting {
    /// No: the gateway does not, or there is no session.
    Unavailable,
    /// Where that is asked for.
    Available,
    /// The gateway forwards no others.
    Required,
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

/// A granted external port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PortMapping {
    /// Where the outside finds it.
    pub external: SocketAddr,
    /// How long it lasts without a renewal.
    pub lifetime: Duration,
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
    /// SYNs dropped because a backlog or the socket table was full, or no memory was left for buffers.
    pub syns_dropped: u64,
    /// Datagrams dropped because a socket's receive buffer was full.
    pub datagrams_dropped: u64,
    /// Replies dropped because the packet queue was full.
    pub replies_dropped: u64,
    /// Octets that the buffers of TCP connections have reserved (a gauge).
    pub buffer_octets: u64,
    /// How often a TCP socket was looked at to see whether it has something to send: the work of a poll.
    pub socket_polls: u64,
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

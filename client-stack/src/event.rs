use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use crate::{CloseReason, ConnectError, PingError, UdpError};

macro_rules! id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(u32);

        impl $name {
            /// As a number, for a language on the other side that knows no newtypes.
            pub const fn get(self) -> u32 {
                self.0
            }

            /// From [`get`](Self::get).
            pub const fn from_u32(value: u32) -> Self {
                Self(value)
            }
        }
    };
}

id!(
    /// Names a TCP connection, a listener or a UDP socket. Numbers count up and come again only after 2^32 sockets.
    SocketId
);
id!(
    /// Names one echo request.
    PingId
);
id!(
    /// Names one name to be resolved.
    QueryId
);
id!(
    /// Names one wanted external port.
    MapId
);

/// What happened to a socket or to a ping.
///
/// Readable and writable are edge-triggered: emitted once when the state turns, and armed again when `tcp_recv` has
/// emptied the buffer or `tcp_send` took less than it was offered (the same for UDP).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SocketEvent {
    /// The connection is open, and writable.
    TcpConnected(SocketId),
    /// The connection did not come about.
    TcpConnectFailed(SocketId, ConnectError),
    /// `tcp_recv` would give something: data, the end or an error.
    TcpReadable(SocketId),
    /// There is room again.
    TcpWritable(SocketId),
    /// This listener has connections: call `tcp_accept` until it gives `None`.
    TcpIncoming(SocketId),
    /// Both directions are over. Received data can still be read.
    TcpClosed(SocketId, CloseReason),
    /// `udp_recv` would give a datagram.
    UdpReadable(SocketId),
    /// There is room again.
    UdpWritable(SocketId),
    /// A datagram to this peer did not arrive, or the whole socket is affected (then the peer is unspecified).
    UdpError(SocketId, UdpError, SocketAddr),
    /// An echo reply.
    Pong {
        /// From `ping`.
        id: PingId,
        /// Who answered.
        from: IpAddr,
        /// Time since `ping`.
        rtt: Duration,
        /// Octets of payload.
        len: usize,
        /// TTL or hop limit of the reply on arrival.
        hop_limit: u8,
    },
    /// No echo reply.
    PingFailed {
        /// From `ping`.
        id: PingId,
        /// Who reported it, where somebody did.
        from: Option<IpAddr>,
        /// Why.
        error: PingError,
    },
}

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use webtun_wire::FlowDenied;

use crate::{CloseReason, ConnectError, PingError, PortMapError, PortMapping, ResolveError, Status, UdpError};

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

/// A connection that somebody wants to whom the host stands in for
/// ([`HostConfig::stands_in`](crate::HostConfig::stands_in)). Its SYN has no answer until it is admitted or refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TcpRequest {
    /// Names the connection from here on.
    pub id: SocketId,
    /// Who wants it.
    pub from: SocketAddr,
    /// To whom.
    pub to: SocketAddr,
}

/// How a [`TcpRequest`] is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// By a RST: nobody listens there.
    Reset,
    /// By ICMP.
    Unreachable(Unreachable),
    /// Not at all: the peer asks again until it gives up.
    Silence,
}

/// What cannot be reached (RFC 792, RFC 4443 section 3.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unreachable {
    /// Nobody has the port.
    Port,
    /// The host does not answer on its network.
    Host,
    /// There is no route to the network.
    Net,
    /// A filter forbids it.
    Prohibited,
}

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

/// What a [`Stack`](crate::Stack) has to say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// About a socket or a ping.
    Socket(SocketEvent),
    /// The tunnel stands differently.
    Status(Status),
    /// The shell opens a WebSocket now, and then says `handle_connected` or `handle_disconnected`.
    OpenTransport,
    /// The shell sends what `poll_transmit` still has and closes the WebSocket. No `handle_disconnected` is needed for
    /// it.
    CloseTransport,
    /// The answer to `resolve`.
    Resolved {
        /// From `resolve`.
        id: QueryId,
        /// At least one address, or why there is none.
        result: Result<Vec<IpAddr>, ResolveError>,
    },
    /// The first answer to `map_port`, and a later one where the outcome has changed.
    PortMapped {
        /// From `map_port`.
        id: MapId,
        /// The external address, or why there is none. The stack goes on asking until `unmap_port`.
        result: Result<PortMapping, PortMapError>,
    },
    /// The gateway does not forward a flow. Its socket is told by itself; this is for logs.
    FlowDenied(FlowDenied),
}

//! Why a socket call, a connection, a ping or a query failed. Small `Copy` values, one per cause, so that each reaches
//! the program as its own error.

use thiserror::Error;

/// Why a TCP connection could not be opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Error)]
pub enum ConnectError {
    /// The peer answered the SYN with a RST, or a port unreachable came back.
    #[error("connection refused")]
    Refused,
    /// ICMP: the host does not answer on its network, or the hop limit ran out.
    #[error("host unreachable")]
    HostUnreachable,
    /// ICMP: no route to the network.
    #[error("network unreachable")]
    NetUnreachable,
    /// No answer within [`TcpOptions::connect_timeout`](crate::TcpOptions::connect_timeout).
    #[error("connection timed out")]
    TimedOut,
    /// The gateway's policy, or a firewall on the path, does not allow this destination.
    #[error("destination denied by policy")]
    Denied,
    /// The gateway has no free mapping, or a limit of this peer is reached. Later it may work.
    #[error("limit of the gateway reached")]
    LimitReached,
    /// Given up by `tcp_abort`.
    #[error("aborted")]
    Aborted,
    /// The local address went away because the session was lost.
    #[error("session lost, the local address is gone")]
    AddressLost,
    /// The tunnel is closed for good.
    #[error("tunnel closed")]
    TunnelClosed,
    /// Every port of the range is in use towards this destination.
    #[error("no free local port")]
    NoPorts,
    /// There is no memory for its buffers.
    #[error("no buffer space available")]
    NoBuffers,
    /// The wanted local port is in use towards this destination.
    #[error("local address in use")]
    AddressInUse,
    /// The wanted local address is not ours, or there is none of the destination's family (yet).
    #[error("no local address for this destination")]
    AddressNotAvailable,
    /// Port 0, or an unspecified, multicast or broadcast address.
    #[error("destination cannot be connected to")]
    Unaddressable,
    /// [`HostConfig::max_sockets`](crate::HostConfig::max_sockets) is reached.
    #[error("too many sockets")]
    TooManySockets,
    /// The gateway, which was to resolve the name, has found no address.
    #[error("the name has no address")]
    NameNotFound,
}

/// How a TCP connection ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Error)]
pub enum CloseReason {
    /// Both directions ended with a FIN.
    #[error("closed")]
    Graceful,
    /// The peer sent a RST.
    #[error("connection reset by peer")]
    Reset,
    /// The peer went silent while something was unacknowledged, or left keep-alive probes unanswered.
    #[error("connection timed out")]
    TimedOut,
    /// By `tcp_abort`.
    #[error("aborted")]
    Aborted,
    /// The local address went away because the session was lost.
    #[error("session lost, the local address is gone")]
    AddressLost,
    /// The tunnel is closed for good.
    #[error("tunnel closed")]
    TunnelClosed,
}

/// Why a listener or a UDP socket could not be bound.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Error)]
pub enum BindError {
    /// Another socket has this port on an overlapping address.
    #[error("address in use")]
    AddressInUse,
    /// The address is neither unspecified nor one of ours.
    #[error("address not available")]
    AddressNotAvailable,
    /// Every ephemeral port is in use.
    #[error("no free local port")]
    NoPorts,
    /// [`HostConfig::max_sockets`](crate::HostConfig::max_sockets) is reached.
    #[error("too many sockets")]
    TooManySockets,
}

/// Why `tcp_send` took nothing and never will.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Error)]
pub enum SendError {
    /// The id was never given out, is closed, or is no TCP connection.
    #[error("unknown socket")]
    UnknownSocket,
    /// The connection is still being opened.
    #[error("not connected yet")]
    NotConnected,
    /// After `tcp_shutdown`.
    #[error("sending side is shut down")]
    ShutDown,
    /// The connection is over.
    #[error("{0}")]
    Closed(CloseReason),
    /// The connection never came about.
    #[error("{0}")]
    Failed(ConnectError),
}

/// Why `tcp_recv` has nothing and never will have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Error)]
pub enum RecvError {
    /// The id was never given out, is closed, or is no TCP connection.
    #[error("unknown socket")]
    UnknownSocket,
    /// The connection is still being opened.
    #[error("not connected yet")]
    NotConnected,
    /// The connection ended without a FIN of the peer.
    #[error("{0}")]
    Closed(CloseReason),
    /// The connection never came about.
    #[error("{0}")]
    Failed(ConnectError),
}

/// What went wrong with a datagram, at once or by a later report from the path.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Error)]
pub enum UdpError {
    /// The id was never given out, is closed, or is no UDP socket.
    #[error("unknown socket")]
    UnknownSocket,
    /// Nobody listens on the destination port.
    #[error("port unreachable")]
    Refused,
    /// ICMP: the host does not answer, or the hop limit ran out.
    #[error("host unreachable")]
    HostUnreachable,
    /// ICMP: no route to the network.
    #[error("network unreachable")]
    NetUnreachable,
    /// The gateway's policy, or a firewall on the path, does not allow this destination.
    #[error("destination denied by policy")]
    Denied,
    /// The gateway has no free mapping, or a limit of this peer is reached.
    #[error("limit of the gateway reached")]
    LimitReached,
    /// Longer than 65,507 octets (IPv4) or 65,487 octets (IPv6), than the MTU allows, or than the path allows.
    #[error("datagram too long")]
    TooLong,
    /// Neither a destination in the call nor one from `udp_connect`.
    #[error("no destination")]
    NoDestination,
    /// No local address of the destination's family.
    #[error("no local address for this destination")]
    AddressNotAvailable,
    /// Port 0, or an unspecified or multicast address.
    #[error("destination cannot be sent to")]
    Unaddressable,
    /// What is sent by a socket for echo requests is none, or one of the other family.
    #[error("not an echo request")]
    NotAnEchoRequest,
    /// The session was lost; the socket's address or mappings are gone.
    #[error("session lost")]
    AddressLost,
    /// The tunnel is closed for good.
    #[error("tunnel closed")]
    TunnelClosed,
}

/// Why an echo request got no reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Error)]
pub enum PingError {
    /// No reply within [`PingOptions::timeout`](crate::PingOptions::timeout).
    #[error("timed out")]
    TimedOut,
    /// ICMP: the host does not answer.
    #[error("host unreachable")]
    HostUnreachable,
    /// ICMP: no route to the network.
    #[error("network unreachable")]
    NetUnreachable,
    /// The hop limit ran out at the router that the event names.
    #[error("hop limit exceeded")]
    HopLimitExceeded,
    /// The gateway's policy, or a firewall on the path, does not allow this destination.
    #[error("destination denied by policy")]
    Denied,
    /// The gateway has no free mapping, or a limit of this peer is reached.
    #[error("limit of the gateway reached")]
    LimitReached,
    /// The payload does not fit a packet.
    #[error("payload too long")]
    TooLong,
    /// No local address of the target's family.
    #[error("no local address for this target")]
    AddressNotAvailable,
    /// An unspecified or multicast target.
    #[error("target cannot be pinged")]
    Unaddressable,
    /// Too many requests await their replies.
    #[error("too many pings at once")]
    TooManyPings,
    /// The session was lost; the reply would no longer find us.
    #[error("session lost")]
    AddressLost,
    /// The tunnel is closed for good.
    #[error("tunnel closed")]
    TunnelClosed,
}

/// Why a name has no address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Error)]
pub enum ResolveError {
    /// NXDOMAIN: there is no such name.
    #[error("name not found")]
    NotFound,
    /// The name exists, but has no address of the wanted family.
    #[error("name has no address")]
    NoData,
    /// No server answered in time.
    #[error("name servers do not answer")]
    TimedOut,
    /// Every server failed or refused.
    #[error("name server failure")]
    ServerFailure,
    /// Not a host name: a label is empty or longer than 63 octets, or the name is longer than 253.
    #[error("invalid name")]
    InvalidName,
    /// The gateway has assigned no name server, or there is no session yet.
    #[error("no name server known")]
    NoServers,
    /// Too many queries are in progress.
    #[error("too many queries at once")]
    TooManyQueries,
    /// The tunnel is closed for good.
    #[error("tunnel closed")]
    TunnelClosed,
}

/// Why there is no external port.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum PortMapError {
    /// The gateway's answer (RFC 6887 section 7.4).
    #[error("refused by the gateway: {0:?}")]
    Refused(webtun_wire::PortMapResult),
    /// The bound on port maps of one stack is reached.
    #[error("too many port maps")]
    TooManyMaps,
    /// The tunnel is closed for good.
    #[error("tunnel closed")]
    TunnelClosed,
}

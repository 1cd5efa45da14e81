//! What a gateway puts out besides messages.

use bytes::BytesMut;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use webtun_wire::{CloseCode, OffloadHeader, PortBlock};

use super::{SessionId, StreamEvent};

/// Where a packet goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Destination {
    /// The egress: the internet.
    Egress,
    /// The gateway's own inner host.
    Local,
}

/// A packet to be sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transmit {
    /// Where to.
    pub to: Destination,
    /// The packet.
    pub packet: BytesMut,
    /// What is left to the device: nothing, where [`super::GatewayConfig::egress_offload`] says that it takes nothing over.
    /// Where the transport checksum is not made, its field holds the sum of the pseudo-header.
    pub offload: OffloadHeader,
}

/// What a shell or an audit log wants to know.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event {
    /// [`super::Gateway::poll_message`] has something, after it had nothing. Not repeated until it has said `None` again.
    MessagesReady(SessionId),
    /// A session has begun.
    SessionOpened {
        /// The session.
        id: SessionId,
        /// Its principal.
        peer: Arc<str>,
        /// Its inner IPv4 address.
        inner_v4: Ipv4Addr,
        /// Its inner IPv6 address.
        inner_v6: Ipv6Addr,
    },
    /// A session goes on with a new connection.
    SessionResumed {
        /// The session.
        id: SessionId,
    },
    /// A session has lost its connection; its grace has begun.
    SessionDetached {
        /// The session.
        id: SessionId,
    },
    /// A session's connection has been silent for too long and is given up: the shell drops it, and does not call
    /// [`super::Gateway::disconnect`]. SessionDetached follows.
    ConnectionLost {
        /// The session.
        id: SessionId,
    },
    /// A session is over. [`super::Gateway::poll_message`] has its CLOSE, where it was connected and did not say so itself.
    SessionClosed {
        /// The session.
        id: SessionId,
        /// Why.
        code: CloseCode,
    },
    /// A session has got external ports: what a log needs to answer whose they were (RFC 7422).
    BlockAssigned {
        /// The session.
        id: SessionId,
        /// Its principal.
        peer: Arc<str>,
        /// Its inner address of the ports' family.
        inner: IpAddr,
        /// The ports, with the announced address.
        block: PortBlock,
    },
    /// External ports have come back, since nothing was mapped in them or the session is over.
    BlockReturned {
        /// The session.
        id: SessionId,
        /// Its principal.
        peer: Arc<str>,
        /// Its inner address of the ports' family.
        inner: IpAddr,
        /// The ports, with the announced address.
        block: PortBlock,
    },
    /// Something is to be done for a stream.
    Stream {
        /// The session.
        id: SessionId,
        /// The stream.
        stream: u64,
        /// What.
        what: StreamEvent,
    },
    /// A stream's connection is there: whose it is, and nothing of where it leads.
    StreamConnected {
        /// The session.
        id: SessionId,
        /// Its principal.
        peer: Arc<str>,
        /// This machine's end of the connection.
        local: SocketAddr,
    },
    /// The connection is over.
    StreamClosed {
        /// The session.
        id: SessionId,
        /// As in StreamConnected.
        local: SocketAddr,
    },
    /// A port has been mapped explicitly.
    PortMapped {
        /// The session.
        id: SessionId,
        /// 6 or 17.
        protocol: u8,
        /// The client's port.
        internal_port: u16,
        /// The announced endpoint.
        external: SocketAddr,
    },
    /// An explicit mapping has ended.
    PortUnmapped {
        /// The session.
        id: SessionId,
        /// 6 or 17.
        protocol: u8,
        /// The client's port.
        internal_port: u16,
        /// The announced endpoint.
        external: SocketAddr,
    },
}

mod address;
mod codec;
mod context;
mod dns;
mod flow;
mod session;
mod stream;
#[cfg_attr(not(feature = "streams"), path = "stream_codec_absent.rs")]
mod stream_codec;

pub use address::{AddressRange, AssignedAddress, Prefix};
pub use context::ContextKind;
pub use dns::DnsAssign;
pub use flow::{DenyReason, FlowDenied, PortBlock, PortMapRequest, PortMapResponse, PortMapResult};
pub use session::{Close, CloseCode, Hello, Limits, Resume, Session};
pub use stream::{Host, ResetReason, StreamLimits, StreamOpen, StreamOpened};

use alloc::vec::Vec;

/// One capsule, decoded. Octet strings and texts borrow from the message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Capsule<'a> {
    /// DATAGRAM (RFC 9297 section 3.5): a packet, either side.
    Datagram {
        /// What the payload is; 0 means a whole IP packet, other contexts are negotiated.
        context: u64,
        /// The packet.
        payload: &'a [u8],
    },
    /// ADDRESS_ASSIGN (RFC 9484 section 4.7.1), gateway: the complete list of the client's inner addresses.
    AddressAssign(Vec<AssignedAddress>),
    /// ADDRESS_REQUEST (RFC 9484 section 4.7.2), client.
    AddressRequest(Vec<AssignedAddress>),
    /// ROUTE_ADVERTISEMENT (RFC 9484 section 4.7.3), gateway: what may be reached, in the order that the RFC demands.
    RouteAdvertisement(Vec<AddressRange>),
    /// DNS_ASSIGN (draft-ietf-masque-connect-ip-dns), gateway: resolvers to use, always the gateway's inner addresses.
    DnsAssign(DnsAssign<'a>),
    /// PREF64 (draft-ietf-masque-connect-ip-dns), gateway: NAT64 prefixes.
    Pref64(Vec<Prefix>),
    /// HELLO, client: the first capsule of a connection.
    Hello(Hello<'a>),
    /// SESSION, gateway: the first capsule of the answer that accepts a HELLO.
    Session(Session),
    /// CLOSE, either side: the session is over (or was not accepted); nothing follows.
    Close(Close<'a>),
    /// LIMITS, gateway.
    Limits(Limits),
    /// SEQUENCE, either side: numbers its message within this session and direction. Always first in its message.
    Sequence {
        /// From 0, one more for each sequenced message.
        number: u64,
    },
    /// ACK, either side.
    Ack {
        /// Every sequenced message below this number has been received.
        next: u64,
    },
    /// PING, either side: to be answered with a PONG.
    Ping {
        /// The sender's, for instance a time.
        opaque: u64,
    },
    /// PONG, either side.
    Pong {
        /// Echoed from the PING.
        opaque: u64,
        /// Octets of all messages that the sender of the PONG has received on this connection so far.
        received: u64,
    },
    /// DRAIN, gateway: the client should connect anew; the session still works until it is closed.
    Drain {
        /// When to connect, in milliseconds from now.
        retry_after_ms: u32,
    },
    /// CONTEXT_ASSIGN, client: offers a context.
    ContextAssign {
        /// Even and not 0.
        context: u64,
        /// A [`ContextKind`], or one unknown here.
        kind: u64,
    },
    /// CONTEXT_ACK, gateway: the context may be used from now on, both ways.
    ContextAck {
        /// From CONTEXT_ASSIGN; not 0.
        context: u64,
    },
    /// CONTEXT_CLOSE, either side: the context is refused or ends.
    ContextClose {
        /// From CONTEXT_ASSIGN; not 0.
        context: u64,
    },
    /// FLOW_DENIED, gateway: why packets of this flow are not forwarded, so that the client's errno is right.
    FlowDenied(FlowDenied),
    /// EXTERNAL_PORTS, gateway: the complete list of the session's external port blocks (RFC 7422).
    ExternalPorts(Vec<PortBlock>),
    /// PORT_MAP_REQUEST, client (semantics of RFC 6887 MAP).
    PortMapRequest(PortMapRequest),
    /// PORT_MAP_RESPONSE, gateway.
    PortMapResponse(PortMapResponse),
    /// STREAM_LIMITS, either side, in the handshake: it carries streams.
    StreamLimits(StreamLimits),
    /// STREAM_OPEN, client.
    StreamOpen(StreamOpen<'a>),
    /// STREAM_OPENED, gateway.
    StreamOpened(StreamOpened),
    /// STREAM_DATA, either side.
    StreamData {
        /// From STREAM_OPEN.
        stream: u64,
        /// The next octets of the stream.
        data: &'a [u8],
    },
    /// STREAM_CREDIT, either side: how far the other one may send.
    StreamCredit {
        /// From STREAM_OPEN.
        stream: u64,
        /// Octets of the stream, counted from its beginning.
        limit: u64,
    },
    /// STREAM_FINISH, either side: it sends no more on the stream.
    StreamFinish {
        /// From STREAM_OPEN.
        stream: u64,
    },
    /// STREAM_RESET, either side: the stream is over, both ways.
    StreamReset {
        /// From STREAM_OPEN.
        stream: u64,
        /// Why.
        reason: ResetReason,
    },
    /// A type this version does not know: to be skipped (RFC 9297 section 3.2).
    Unknown {
        /// The capsule type.
        kind: u64,
        /// The value, whatever it is.
        value: &'a [u8],
    },
}

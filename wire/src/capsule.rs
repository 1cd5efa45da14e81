use alloc::vec::Vec;
use core::net::IpAddr;

/// One capsule, decoded. Octet strings borrow from the message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Capsule<'a> {
    /// DATAGRAM (RFC 9297 section 3.5): a context id, then what the context says; context 0 is a whole IP packet.
    Datagram { context: u64, payload: &'a [u8] },
    /// ADDRESS_ASSIGN (RFC 9484 section 4.7.1): the complete list of the client's inner addresses.
    AddressAssign(Vec<AssignedAddress>),
    /// ADDRESS_REQUEST (RFC 9484 section 4.7.2).
    AddressRequest(Vec<AssignedAddress>),
    /// ROUTE_ADVERTISEMENT (RFC 9484 section 4.7.3): what may be reached, in the order that the RFC demands.
    RouteAdvertisement(Vec<AddressRange>),
    /// DNS_ASSIGN (draft-ietf-masque-connect-ip-dns): resolvers to use; here always the gateway's inner addresses.
    DnsAssign(DnsAssign<'a>),
    /// PREF64 (draft-ietf-masque-connect-ip-dns): NAT64 prefixes.
    Pref64(Vec<Prefix>),
    /// HELLO, client: the first capsule of a connection.
    Hello(Hello<'a>),
    /// SESSION, gateway: the first capsule of the answer that accepts a HELLO.
    Session(Session),
    /// CLOSE, either side: the session is over (or was not accepted); nothing follows.
    Close(Close<'a>),
    /// LIMITS, gateway.
    Limits(Limits),
    /// SEQUENCE, either side: makes its message number `number` of this session's direction. Always first in its message.
    Sequence { number: u64 },
    /// ACK, either side: every sequenced message below `next` has been received.
    Ack { next: u64 },
    /// PING, either side: to be answered with a PONG that echoes `opaque`.
    Ping { opaque: u64 },
    /// PONG, either side; `received` counts the octets of all messages received on this connection so far.
    Pong { opaque: u64, received: u64 },
    /// DRAIN, gateway: connect again (elsewhere) after `retry_after_ms`; the session still works until it is closed.
    Drain { retry_after_ms: u32 },
    /// CONTEXT_ASSIGN, client: offers context `context` (even, not 0) for `kind` ([`ContextKind`] or one unknown here).
    ContextAssign { context: u64, kind: u64 },
    /// CONTEXT_ACK, gateway: the context may be used from now on, both ways.
    ContextAck { context: u64 },
    /// CONTEXT_CLOSE, either side: the context is refused or ends.
    ContextClose { context: u64 },
    /// FLOW_DENIED, gateway: why packets of this flow are not forwarded, so that the client's errno is right.
    FlowDenied(FlowDenied),
    /// EXTERNAL_PORTS, gateway: the complete list of the session's external port blocks (RFC 7422).
    ExternalPorts(Vec<PortBlock>),
    /// PORT_MAP_REQUEST, client (semantics of RFC 6887 MAP).
    PortMapRequest(PortMapRequest),
    /// PORT_MAP_RESPONSE, gateway.
    PortMapResponse(PortMapResponse),
    /// A type this version does not know, streams (STREAM_*) among them: to be skipped (RFC 9297 section 3.2).
    Unknown { kind: u64, value: &'a [u8] },
}

/// One entry of ADDRESS_ASSIGN or ADDRESS_REQUEST.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AssignedAddress {
    /// The request that this answers; 0 where the gateway assigns without one.
    pub request_id: u64,
    /// The address, or in a request the preferred one (all zero: any).
    pub prefix: Prefix,
}

/// An address and a prefix length in bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Prefix {
    /// Any address of the prefix.
    pub address: IpAddr,
    /// At most 32 or 128.
    pub length: u8,
}

/// One entry of ROUTE_ADVERTISEMENT. Both ends are of one family and `start <= end`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AddressRange {
    /// First address, inclusive.
    pub start: IpAddr,
    /// Last address, inclusive.
    pub end: IpAddr,
    /// IP protocol number; 0 means all.
    pub protocol: u8,
}

/// The DNS configuration that the gateway assigns.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DnsAssign<'a> {
    /// Resolver addresses for plain DNS on port 53, in order of preference.
    pub servers: Vec<IpAddr>,
    /// Search domains, as text without the trailing dot.
    pub search: Vec<&'a str>,
}

/// The client's opening words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hello<'a> {
    /// The lowest version that the client speaks.
    pub min_version: u8,
    /// The highest version that the client speaks.
    pub max_version: u8,
    /// A bearer token; empty where it came by subprotocol or none is needed.
    pub token: &'a [u8],
    /// The session to go on with.
    pub resume: Option<Resume>,
}

/// Proof that a connection belongs to an earlier session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Resume {
    /// From SESSION.
    pub session_id: [u8; 16],
    /// From SESSION.
    pub secret: [u8; 32],
    /// The next sequenced message that the client expects.
    pub next: u64,
}

/// The gateway's answer to an accepted HELLO.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Session {
    /// The version in force.
    pub version: u8,
    /// True where `HELLO.resume` was honoured; false for a session that is new.
    pub resumed: bool,
    /// Names the session.
    pub session_id: [u8; 16],
    /// To be shown on resumption. Secret.
    pub secret: [u8; 32],
    /// How long the session survives without a connection, in milliseconds.
    pub grace_ms: u32,
    /// The next sequenced message that the gateway expects; 0 in a new session.
    pub next: u64,
}

/// The end of a session, or its refusal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Close<'a> {
    /// Why.
    pub code: CloseCode,
    /// When a new attempt makes sense, in milliseconds; 0 means that none does.
    pub retry_after_ms: u32,
    /// For a person.
    pub reason: &'a str,
}

/// Why a session ends or is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum CloseCode {
    /// The sender is done.
    Normal = 0,
    /// No version in common.
    Version = 1,
    /// A token is missing or wrong.
    Unauthorized = 2,
    /// The session to be resumed is unknown or its grace is over: begin a new one.
    UnknownSession = 3,
    /// No inner address or port block is free.
    Exhausted = 4,
    /// A limit of the peer is reached.
    Limit = 5,
    /// The peer broke the protocol.
    Protocol = 6,
    /// Another connection has taken the session over.
    Replaced = 7,
    /// The gateway goes away.
    Shutdown = 8,
    /// A fault of the sender's own.
    Internal = 9,
}

/// What the gateway accepts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Largest packet in the tunnel, in octets.
    pub mtu: u32,
    /// Largest message, in octets.
    pub message_len: u32,
    /// How many octets of sequenced messages may be unacknowledged, each way.
    pub unacknowledged: u32,
    /// Silence after which either side sends a PING, in milliseconds.
    pub ping_interval_ms: u32,
}

/// Context kinds that CONTEXT_ASSIGN can offer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u64)]
pub enum ContextKind {
    /// A packet behind an offload header (the fields of `virtio_net_hdr`).
    Offload = 1,
}

/// A flow that the gateway does not forward, as the client sent it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FlowDenied {
    /// Why.
    pub reason: DenyReason,
    /// IP protocol number.
    pub protocol: u8,
    /// Source port (or ICMP identifier) at the client; 0 where there is none.
    pub source_port: u16,
    /// The destination address.
    pub destination: IpAddr,
    /// The destination port; 0 where there is none.
    pub destination_port: u16,
}

/// Why a flow is denied.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum DenyReason {
    /// The operator's policy or the default class rule: EACCES.
    Policy = 1,
    /// No free mapping: EAGAIN.
    Exhausted = 2,
    /// A rate or count limit: EAGAIN.
    Limit = 3,
}

/// A contiguous range of external ports that is this session's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PortBlock {
    /// The external address, as the outside sees it.
    pub address: IpAddr,
    /// First port.
    pub first: u16,
    /// How many, at least 1; `first + count - 1 <= 65535`.
    pub count: u16,
}

/// Asks for an external port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PortMapRequest {
    /// Chosen by the client, echoed in the response.
    pub request_id: u64,
    /// 6 or 17.
    pub protocol: u8,
    /// True asks for an external IPv6 address, false for IPv4.
    pub ipv6: bool,
    /// The client's port.
    pub internal_port: u16,
    /// The wanted external port; 0 for any.
    pub external_port: u16,
    /// Seconds; 0 deletes the mapping.
    pub lifetime: u32,
}

/// Grants or refuses an external port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PortMapResponse {
    /// From the request.
    pub request_id: u64,
    /// The outcome.
    pub result: PortMapResult,
    /// The external address; unspecified unless `result` is a success.
    pub external_address: IpAddr,
    /// The external port; 0 unless `result` is a success.
    pub external_port: u16,
    /// Seconds granted; on failure, seconds for which asking again is of no use.
    pub lifetime: u32,
}

/// Result codes of RFC 6887 section 7.4 that occur here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum PortMapResult {
    /// SUCCESS.
    Success = 0,
    /// NOT_AUTHORIZED.
    NotAuthorized = 2,
    /// MALFORMED_REQUEST.
    MalformedRequest = 3,
    /// NO_RESOURCES.
    NoResources = 8,
    /// UNSUPP_PROTOCOL.
    UnsupportedProtocol = 9,
    /// USER_EX_QUOTA.
    UserExceededQuota = 10,
    /// CANNOT_PROVIDE_EXTERNAL.
    CannotProvideExternal = 11,
}

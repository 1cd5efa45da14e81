//! Why a packet was not carried: at once the return value of a stage, the label of a metric and the oracle of the tests.

use core::fmt;

macro_rules! drop_reasons {
    ($($(#[$doc:meta])* $name:ident = $label:literal,)+) => {
        /// Why a packet was dropped. Every stage returns one; [`super::Stats`] counts them.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[non_exhaustive]
        pub enum DropReason {
            $($(#[$doc])* $name,)+
        }

        impl DropReason {
            /// Every reason, in declaration order.
            pub const ALL: [Self; DropReason::COUNT] = [$(Self::$name,)+];
            /// How many reasons there are.
            pub const COUNT: usize = [$($label,)+].len();

            /// A stable name in snake case, fit for a metric's label.
            pub const fn label(self) -> &'static str {
                match self {
                    $(Self::$name => $label,)+
                }
            }
        }
    };
}

drop_reasons! {
    /// The header is cut short, or a length field contradicts the packet.
    Truncated = "truncated",
    /// Neither IPv4 nor IPv6.
    Version = "ip_version",
    /// The IPv4 header checksum, or that of an ICMP error, is wrong.
    Checksum = "checksum",
    /// An IPv4 source route option or an IPv6 type 0 routing header (RFC 5095).
    SourceRoute = "source_route",
    /// An option of IPv4, or one behind IPv6's header, is malformed, or one that only misleads (a home address, a jumbo
    /// payload).
    Options = "options",
    /// A bit is set that is to be zero (RFC 791).
    ReservedBit = "reserved_bit",
    /// The packet's source is its destination ("land").
    Land = "land",
    /// No TCP sends this combination of control bits (RFC 9293 section 3.10).
    TcpFlags = "tcp_flags",
    /// A TCP or UDP port is zero.
    PortZero = "port_zero",
    /// A transport protocol that the NAT does not translate.
    Protocol = "protocol",
    /// An ICMP message that is neither an echo nor an error about a translated flow.
    IcmpType = "icmp_type",
    /// The source is not an address of the session; or, from outside, it is one of ours (BCP 38).
    SpoofedSource = "spoofed_source",
    /// From outside: no packet has such a source: loopback, link-local, multicast, broadcast, unspecified, or IPv6 that
    /// stands for these.
    Martian = "martian",
    /// The destination is never forwarded: multicast, loopback, link-local, unspecified, or another inner address.
    Unroutable = "unroutable",
    /// The destination is not global unicast, and no rule allows it.
    DestinationClass = "destination_class",
    /// The destination is an address of the gateway's machine, and no rule for this very address allows it.
    OwnAddress = "own_address",
    /// A rule denies the destination.
    DeniedByRule = "denied_by_rule",
    /// The hop limit ran out here.
    HopLimit = "hop_limit",
    /// A fragment overlaps another one of its datagram (RFC 5722), or exceeds the largest datagram.
    FragmentOverlap = "fragment_overlap",
    /// A first fragment without the whole transport header, or a later one that reaches into it (RFC 1858, RFC 7112).
    FragmentTiny = "fragment_tiny",
    /// No room to keep another fragment.
    FragmentOverflow = "fragment_overflow",
    /// The missing fragments of a datagram did not come in time.
    FragmentTimeout = "fragment_timeout",
    /// Larger than the path's MTU and not to be fragmented.
    TooBig = "too_big",
    /// No external port is free for a new mapping.
    NoPorts = "no_ports",
    /// The session has as many mappings as its peer may have.
    MappingLimit = "mapping_limit",
    /// A mapping, or a session's mappings together, have as many remote endpoints as they may have.
    FlowLimit = "flow_limit",
    /// The gateway has no external address of the packet's family.
    NoExternalAddress = "no_external_address",
    /// From outside: not for an external address of this gateway.
    NotExternal = "not_external",
    /// No mapping has this endpoint, and the packet cannot make one.
    NoMapping = "no_mapping",
    /// From outside: the mapping exists, but its filter does not admit this remote endpoint.
    Filtered = "filtered",
    /// From the inner host: not for a session's address.
    NoSession = "no_session",
    /// The session, or its peer, begins more flows than it may.
    NewFlowRate = "new_flow_rate",
    /// The session, or its peer, sends more than it may to destinations that have not answered.
    Unanswered = "unanswered",
    /// The session, or its peer, has sent so much beyond its rate that holding it back does not help.
    UplinkRate = "uplink_rate",
    /// The session's downlink queue is full.
    QueueFull = "queue_full",
    /// The way to another shard is full.
    ShardFull = "shard_full",
    /// At the `user` egress: ordinary sockets send no such packets.
    EgressProtocol = "egress_protocol",
    /// At the `user` egress: the machine lets this process open no ping sockets.
    EgressPing = "egress_ping",
    /// At the `user` egress: there is no socket to be had.
    EgressSockets = "egress_sockets",
    /// At the `user` egress: the machine's send buffer is full.
    EgressFull = "egress_full",
    /// A datagram on a context that was never agreed on.
    UnknownContext = "unknown_context",
    /// An offload header whose flags are not known or contradict each other, or with a value where a zero has to be.
    OffloadFlags = "offload_flags",
    /// An offload header that asks for segments that its packet cannot have.
    OffloadSegments = "offload_segments",
    /// An offload header with a header length other than its packet's.
    OffloadHeaderLength = "offload_header_length",
    /// An offload header with a checksum elsewhere than its packet has it.
    OffloadChecksum = "offload_checksum",
}

impl fmt::Display for DropReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.label())
    }
}

impl core::error::Error for DropReason {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_distinct_and_indices_dense() {
        let mut labels: Vec<_> = DropReason::ALL.iter().map(|r| r.label()).collect();
        labels.sort_unstable();
        labels.dedup();
        assert_eq!(labels.len(), DropReason::COUNT);
        for (index, reason) in DropReason::ALL.iter().enumerate() {
            assert_eq!(*reason as usize, index);
        }
    }
}

//! Arbitrary capsules that keep the rules of their types.

use proptest::collection::vec;
use proptest::prelude::*;
use std::net::{IpAddr, SocketAddr};
use webtun_wire::*;

/// Capsules borrow; what they borrow from is leaked, a few MiB in a test run.
fn leak_octets(octets: Vec<u8>) -> &'static [u8] {
    octets.leak()
}

fn octets(max: usize) -> impl Strategy<Value = &'static [u8]> {
    vec(any::<u8>(), 0..max).prop_map(leak_octets)
}

fn text() -> impl Strategy<Value = &'static str> {
    "\\PC{0,40}".prop_map(|text| &*text.leak())
}

/// Numbers of all four lengths of encoding.
fn varint() -> impl Strategy<Value = u64> {
    (any::<u64>(), 0..62u32).prop_map(|(value, shift)| (value & MAX_VARINT) >> shift)
}

fn context() -> impl Strategy<Value = u64> {
    varint().prop_map(|value| (value & !1).max(2))
}

fn request_id() -> impl Strategy<Value = u64> {
    varint().prop_map(|value| value.max(1))
}

fn prefix() -> impl Strategy<Value = Prefix> {
    (any::<IpAddr>(), 0..=128u8).prop_map(|(address, length)| {
        let length = if address.is_ipv4() { length.min(32) } else { length };
        Prefix { address, length }
    })
}

fn assigned(request_id: impl Strategy<Value = u64>) -> impl Strategy<Value = AssignedAddress> {
    (request_id, prefix()).prop_map(|(request_id, prefix)| AssignedAddress { request_id, prefix })
}

/// Distinct addresses in order make ranges that neither overlap nor stand out of order.
fn routes() -> impl Strategy<Value = Vec<AddressRange>> {
    let family = |addresses: std::collections::BTreeSet<IpAddr>, protocol: u8| {
        let addresses: Vec<_> = addresses.into_iter().collect();
        let ranges = addresses.chunks_exact(2).map(move |ends| AddressRange { start: ends[0], end: ends[1], protocol });
        ranges.collect::<Vec<_>>()
    };
    let v4 = proptest::collection::btree_set(any::<std::net::Ipv4Addr>().prop_map(IpAddr::V4), 0..12);
    let v6 = proptest::collection::btree_set(any::<std::net::Ipv6Addr>().prop_map(IpAddr::V6), 0..12);
    (v4, v6, any::<u8>()).prop_map(move |(v4, v6, protocol)| [family(v4, protocol), family(v6, protocol)].concat())
}

fn pref64() -> impl Strategy<Value = Prefix> {
    let length = prop::sample::select(vec![32u8, 40, 48, 56, 64, 96]);
    (any::<std::net::Ipv6Addr>(), length).prop_map(|(address, length)| {
        let upper = u128::from(address) >> 32 << 32;
        Prefix { address: IpAddr::from(upper.to_be_bytes()), length }
    })
}

fn standard() -> impl Strategy<Value = Capsule<'static>> {
    let domain = text().prop_map(|text| text.trim_end_matches('.'));
    prop_oneof![
        (varint(), octets(300)).prop_map(|(context, payload)| Capsule::Datagram { context, payload }),
        vec(assigned(varint()), 0..5).prop_map(Capsule::AddressAssign),
        vec(assigned(request_id()), 1..5).prop_map(Capsule::AddressRequest),
        routes().prop_map(Capsule::RouteAdvertisement),
        (vec(any::<IpAddr>(), 0..5), vec(domain, 0..4))
            .prop_map(|(servers, search)| Capsule::DnsAssign(DnsAssign { servers, search })),
        vec(pref64(), 0..4).prop_map(Capsule::Pref64),
    ]
}

fn hello() -> impl Strategy<Value = Capsule<'static>> {
    let resume = (any::<[u8; 16]>(), any::<[u8; 32]>(), varint()).prop_map(|(session_id, secret, next)| Resume {
        session_id,
        secret,
        next,
    });
    (any::<u8>(), any::<u8>(), octets(100), prop::option::of(resume)).prop_map(|(a, b, token, resume)| {
        Capsule::Hello(Hello { min_version: a.min(b), max_version: a.max(b), token, resume })
    })
}

fn session() -> impl Strategy<Value = Capsule<'static>> {
    (any::<u8>(), any::<bool>(), any::<[u8; 16]>(), any::<[u8; 32]>(), any::<u32>(), varint()).prop_map(
        |(version, resumed, session_id, secret, grace_ms, next)| {
            let next = if resumed { next } else { 0 };
            Capsule::Session(Session { version, resumed, session_id, secret, grace_ms, next })
        },
    )
}

fn close() -> impl Strategy<Value = Capsule<'static>> {
    use CloseCode::*;
    let codes =
        vec![Normal, Version, Unauthorized, UnknownSession, Exhausted, Limit, Protocol, Replaced, Shutdown, Internal];
    (prop::sample::select(codes), any::<u32>(), text())
        .prop_map(|(code, retry_after_ms, reason)| Capsule::Close(Close { code, retry_after_ms, reason }))
}

fn control() -> impl Strategy<Value = Capsule<'static>> {
    let limits = any::<[u32; 4]>().prop_map(|[mtu, message_len, unacknowledged, ping_interval_ms]| {
        Capsule::Limits(Limits { mtu, message_len, unacknowledged, ping_interval_ms })
    });
    prop_oneof![
        limits,
        varint().prop_map(|number| Capsule::Sequence { number }),
        varint().prop_map(|next| Capsule::Ack { next }),
        any::<u64>().prop_map(|opaque| Capsule::Ping { opaque }),
        any::<[u64; 2]>().prop_map(|[opaque, received]| Capsule::Pong { opaque, received }),
        any::<u32>().prop_map(|retry_after_ms| Capsule::Drain { retry_after_ms }),
        (context(), varint()).prop_map(|(context, kind)| Capsule::ContextAssign { context, kind }),
        context().prop_map(|context| Capsule::ContextAck { context }),
        context().prop_map(|context| Capsule::ContextClose { context }),
    ]
}

fn flow() -> impl Strategy<Value = Capsule<'static>> {
    let reason = prop::sample::select(vec![DenyReason::Policy, DenyReason::Exhausted, DenyReason::Limit]);
    let denied = (reason, any::<u8>(), any::<[u16; 2]>(), any::<IpAddr>()).prop_map(
        |(reason, protocol, [source_port, destination_port], destination)| {
            Capsule::FlowDenied(FlowDenied { reason, protocol, source_port, destination, destination_port })
        },
    );
    let block = (any::<IpAddr>(), 1..=u16::MAX, 1..=u16::MAX).prop_map(|(address, first, count)| PortBlock {
        address,
        first,
        count: count.min(u16::MAX - first + 1),
    });
    let request = (varint(), any::<(u8, bool, u16, u16, u32)>()).prop_map(
        |(request_id, (protocol, ipv6, internal_port, external_port, lifetime))| {
            let request = PortMapRequest { request_id, protocol, ipv6, internal_port, external_port, lifetime };
            Capsule::PortMapRequest(request)
        },
    );
    prop_oneof![denied, vec(block, 0..5).prop_map(Capsule::ExternalPorts), request, response()]
}

fn response() -> impl Strategy<Value = Capsule<'static>> {
    use PortMapResult::*;
    let results = vec![
        Success,
        NotAuthorized,
        MalformedRequest,
        NoResources,
        UnsupportedProtocol,
        UserExceededQuota,
        CannotProvideExternal,
    ];
    (varint(), prop::sample::select(results), any::<IpAddr>(), any::<u16>(), any::<u32>()).prop_map(
        |(request_id, result, external_address, external_port, lifetime)| {
            let response = PortMapResponse { request_id, result, external_address, external_port, lifetime };
            Capsule::PortMapResponse(response)
        },
    )
}

fn stream() -> impl Strategy<Value = Capsule<'static>> {
    use ResetReason::*;
    let reasons = vec![Aborted, Refused, Unreachable, TimedOut, NameNotFound, Policy, Limit];
    let name = "\\PC{1,40}".prop_map(|name| Host::Name(&*name.leak()));
    let host = prop_oneof![any::<IpAddr>().prop_map(Host::Address), name];
    prop_oneof![
        (varint(), varint(), any::<bool>()).prop_map(|(streams, credit, required)| {
            Capsule::StreamLimits(StreamLimits { streams, credit, required })
        }),
        (varint(), host, any::<u16>(), octets(300))
            .prop_map(|(stream, host, port, data)| Capsule::StreamOpen(StreamOpen { stream, host, port, data })),
        (varint(), any::<[(IpAddr, u16); 2]>()).prop_map(|(stream, ends)| {
            let [local, remote] = ends.map(SocketAddr::from);
            Capsule::StreamOpened(StreamOpened { stream, local, remote })
        }),
        (varint(), octets(300)).prop_map(|(stream, data)| Capsule::StreamData { stream, data }),
        (varint(), varint()).prop_map(|(stream, limit)| Capsule::StreamCredit { stream, limit }),
        varint().prop_map(|stream| Capsule::StreamFinish { stream }),
        (varint(), prop::sample::select(reasons)).prop_map(|(stream, reason)| Capsule::StreamReset { stream, reason }),
    ]
}

fn unknown() -> impl Strategy<Value = Capsule<'static>> {
    (0..1_000_000u64, octets(50)).prop_map(|(n, value)| Capsule::Unknown { kind: 0x29 * n + 0x17, value })
}

/// A capsule of any type.
pub fn capsule() -> impl Strategy<Value = Capsule<'static>> {
    prop_oneof![3 => standard(), 1 => hello(), 1 => session(), 1 => close(), 3 => control(), 3 => flow(), 3 => stream(), 1 => unknown()]
}

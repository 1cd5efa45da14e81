//! The golden vectors, both directions. The files are also read by the TypeScript tests.
//!
//! Each file holds `valid` and `invalid` messages. 64-bit numbers are decimal texts, octets are hexadecimal.
//! `decode_only` marks octets that are allowed but not what the encoder writes.

use serde_json::{Value, json};
use webtun_wire::{AssignedAddress, Capsule, DecodeError, Host, Problem, capsules};

fn octets(hex: &str) -> Vec<u8> {
    let digits: Vec<u8> = hex.chars().map(|c| c.to_digit(16).expect("hexadecimal") as u8).collect();
    digits.chunks_exact(2).map(|pair| pair[0] << 4 | pair[1]).collect()
}

fn hex(octets: &[u8]) -> String {
    octets.iter().map(|octet| format!("{octet:02x}")).collect()
}

fn text(number: u64) -> String {
    number.to_string()
}

fn assigned(kind: &str, entries: &[AssignedAddress]) -> Value {
    let entries = entries.iter().map(|entry| {
        json!({
            "request_id": text(entry.request_id),
            "address": entry.prefix.address,
            "prefix_length": entry.prefix.length,
        })
    });
    json!({ "type": kind, "addresses": entries.collect::<Vec<_>>() })
}

fn standard(capsule: &Capsule<'_>) -> Option<Value> {
    Some(match capsule {
        Capsule::Datagram { context, payload } => {
            json!({ "type": "DATAGRAM", "context": text(*context), "payload": hex(payload) })
        }
        Capsule::AddressAssign(entries) => assigned("ADDRESS_ASSIGN", entries),
        Capsule::AddressRequest(entries) => assigned("ADDRESS_REQUEST", entries),
        Capsule::RouteAdvertisement(ranges) => {
            let ranges = ranges.iter().map(|r| json!({ "start": r.start, "end": r.end, "protocol": r.protocol }));
            json!({ "type": "ROUTE_ADVERTISEMENT", "ranges": ranges.collect::<Vec<_>>() })
        }
        Capsule::DnsAssign(dns) => json!({ "type": "DNS_ASSIGN", "servers": dns.servers, "search": dns.search }),
        Capsule::Pref64(prefixes) => {
            let prefixes = prefixes.iter().map(|p| json!({ "address": p.address, "prefix_length": p.length }));
            json!({ "type": "PREF64", "prefixes": prefixes.collect::<Vec<_>>() })
        }
        _ => return None,
    })
}

fn handshake(capsule: &Capsule<'_>) -> Option<Value> {
    Some(match capsule {
        Capsule::Hello(hello) => json!({
            "type": "HELLO",
            "min_version": hello.min_version,
            "max_version": hello.max_version,
            "token": hex(hello.token),
            "resume": hello.resume.map(|resume| json!({
                "session_id": hex(&resume.session_id),
                "secret": hex(&resume.secret),
                "next": text(resume.next),
            })),
        }),
        Capsule::Session(session) => json!({
            "type": "SESSION",
            "version": session.version,
            "resumed": session.resumed,
            "session_id": hex(&session.session_id),
            "secret": hex(&session.secret),
            "grace_ms": session.grace_ms,
            "next": text(session.next),
        }),
        Capsule::Limits(limits) => json!({
            "type": "LIMITS",
            "mtu": limits.mtu,
            "message_len": limits.message_len,
            "unacknowledged": limits.unacknowledged,
            "ping_interval_ms": limits.ping_interval_ms,
        }),
        Capsule::Close(close) => json!({
            "type": "CLOSE",
            "code": close.code as u8,
            "retry_after_ms": close.retry_after_ms,
            "reason": close.reason,
        }),
        _ => return None,
    })
}

fn session(capsule: &Capsule<'_>) -> Option<Value> {
    Some(match capsule {
        Capsule::Sequence { number } => json!({ "type": "SEQUENCE", "number": text(*number) }),
        Capsule::Ack { next } => json!({ "type": "ACK", "next": text(*next) }),
        Capsule::Ping { opaque } => json!({ "type": "PING", "opaque": text(*opaque) }),
        Capsule::Pong { opaque, received } => {
            json!({ "type": "PONG", "opaque": text(*opaque), "received": text(*received) })
        }
        Capsule::Drain { retry_after_ms } => json!({ "type": "DRAIN", "retry_after_ms": retry_after_ms }),
        Capsule::ContextAssign { context, kind } => {
            json!({ "type": "CONTEXT_ASSIGN", "context": text(*context), "kind": text(*kind) })
        }
        Capsule::ContextAck { context } => json!({ "type": "CONTEXT_ACK", "context": text(*context) }),
        Capsule::ContextClose { context } => json!({ "type": "CONTEXT_CLOSE", "context": text(*context) }),
        _ => return None,
    })
}

fn flow(capsule: &Capsule<'_>) -> Option<Value> {
    Some(match capsule {
        Capsule::FlowDenied(denied) => json!({
            "type": "FLOW_DENIED",
            "reason": denied.reason as u8,
            "protocol": denied.protocol,
            "source_port": denied.source_port,
            "destination": denied.destination,
            "destination_port": denied.destination_port,
        }),
        Capsule::ExternalPorts(blocks) => {
            let blocks = blocks.iter().map(|b| json!({ "address": b.address, "first": b.first, "count": b.count }));
            json!({ "type": "EXTERNAL_PORTS", "blocks": blocks.collect::<Vec<_>>() })
        }
        Capsule::PortMapRequest(request) => json!({
            "type": "PORT_MAP_REQUEST",
            "request_id": text(request.request_id),
            "protocol": request.protocol,
            "ipv6": request.ipv6,
            "internal_port": request.internal_port,
            "external_port": request.external_port,
            "lifetime": request.lifetime,
        }),
        Capsule::PortMapResponse(response) => json!({
            "type": "PORT_MAP_RESPONSE",
            "request_id": text(response.request_id),
            "result": response.result as u8,
            "external_address": response.external_address,
            "external_port": response.external_port,
            "lifetime": response.lifetime,
        }),
        Capsule::Unknown { kind, value } => {
            json!({ "type": "UNKNOWN", "kind": text(*kind), "value": hex(value) })
        }
        _ => return None,
    })
}

fn stream(capsule: &Capsule<'_>) -> Option<Value> {
    Some(match capsule {
        Capsule::StreamLimits(limits) => json!({
            "type": "STREAM_LIMITS",
            "streams": text(limits.streams),
            "credit": text(limits.credit),
            "required": limits.required,
        }),
        Capsule::StreamOpen(open) => {
            let host = match open.host {
                Host::Address(address) => address.to_string(),
                Host::Name(name) => name.to_owned(),
            };
            let (stream, data) = (text(open.stream), hex(open.data));
            json!({ "type": "STREAM_OPEN", "stream": stream, "host": host, "port": open.port, "data": data })
        }
        Capsule::StreamOpened(opened) => json!({
            "type": "STREAM_OPENED",
            "stream": text(opened.stream),
            "local_address": opened.local.ip(),
            "local_port": opened.local.port(),
            "remote_address": opened.remote.ip(),
            "remote_port": opened.remote.port(),
        }),
        Capsule::StreamData { stream, data } => {
            json!({ "type": "STREAM_DATA", "stream": text(*stream), "data": hex(data) })
        }
        Capsule::StreamCredit { stream, limit } => {
            json!({ "type": "STREAM_CREDIT", "stream": text(*stream), "limit": text(*limit) })
        }
        Capsule::StreamFinish { stream } => json!({ "type": "STREAM_FINISH", "stream": text(*stream) }),
        Capsule::StreamReset { stream, reason } => {
            json!({ "type": "STREAM_RESET", "stream": text(*stream), "reason": *reason as u8 })
        }
        _ => return None,
    })
}

fn as_json(capsule: &Capsule<'_>) -> Value {
    standard(capsule)
        .or_else(|| handshake(capsule))
        .or_else(|| session(capsule))
        .or_else(|| flow(capsule))
        .or_else(|| stream(capsule))
        .expect("a form in JSON for every capsule")
}

fn error_name(error: DecodeError) -> &'static str {
    match error {
        DecodeError::MessageTooLong => "message_too_long",
        DecodeError::Truncated => "truncated",
        DecodeError::Malformed { problem, .. } => match problem {
            Problem::Short => "short",
            Problem::Trailing => "trailing",
            Problem::IpVersion => "ip_version",
            Problem::PrefixLength => "prefix_length",
            Problem::Range => "range",
            Problem::Text => "text",
            Problem::Value => "value",
            Problem::Empty => "empty",
        },
    }
}

/// Every vector under `list` of every file, with a label for failures.
fn vectors(list: &str) -> Vec<(String, Value)> {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/vectors");
    let mut vectors = Vec::new();
    for entry in std::fs::read_dir(folder).expect("the folder of vectors") {
        let path = entry.expect("an entry").path();
        let file: Value = serde_json::from_slice(&std::fs::read(&path).expect("readable")).expect("JSON");
        for vector in file[list].as_array().expect("a list") {
            vectors.push((format!("{}: {}", path.display(), vector["name"]), vector.clone()));
        }
    }
    assert!(vectors.len() > 20);
    vectors
}

fn message_of(vector: &Value) -> Vec<u8> {
    octets(vector["hex"].as_str().expect("hex"))
}

#[test]
fn valid_messages_decode_to_what_the_vector_says() {
    for (label, vector) in vectors("valid") {
        let message = message_of(&vector);
        let decoded: Vec<_> = capsules(&message).map(|capsule| as_json(&capsule.expect(&label))).collect();
        assert_eq!(Value::Array(decoded), vector["capsules"], "{label}");
    }
}

#[test]
fn valid_messages_are_what_the_encoder_writes() {
    for (label, vector) in vectors("valid") {
        if vector["decode_only"] == true {
            continue;
        }
        let message = message_of(&vector);
        let mut encoded = Vec::new();
        for capsule in capsules(&message) {
            capsule.expect(&label).encode(&mut encoded);
        }
        assert_eq!(hex(&encoded), hex(&message), "{label}");
    }
}

#[test]
fn invalid_messages_give_their_error_and_nothing_after_it() {
    for (label, vector) in vectors("invalid") {
        let message = message_of(&vector);
        let mut items = capsules(&message).skip_while(Result::is_ok);
        let error = items.next().expect(&label).expect_err(&label);
        assert_eq!(error_name(error), vector["error"], "{label}");
        assert!(items.next().is_none(), "{label}");
    }
}

#[test]
fn every_capsule_type_has_a_vector() {
    let seen: std::collections::BTreeSet<String> = vectors("valid")
        .iter()
        .flat_map(|(_, vector)| vector["capsules"].as_array().cloned().unwrap_or_default())
        .map(|capsule| capsule["type"].to_string())
        .collect();
    assert_eq!(seen.len(), 30);
}

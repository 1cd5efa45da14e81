//! Nothing that comes through the tunnel makes a stack panic.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::time::Duration;

use common::tunnel::{TunnelWorld, encode};
use proptest::prelude::*;
use webtun_stack::{Event, Status};
use webtun_wire::{AssignedAddress, Capsule, DenyReason, FlowDenied, Limits, PortBlock, Prefix, Session};

fn capsule() -> impl Strategy<Value = Vec<u8>> {
    let address = any::<u128>().prop_map(|bits| std::net::Ipv6Addr::from_bits(bits).to_canonical());
    prop_oneof![
        (0u64..4, prop::collection::vec(any::<u8>(), 0..100))
            .prop_map(|(context, payload)| encode(&Capsule::Datagram { context: context & 2, payload: &payload })),
        (0u64..4).prop_map(|number| encode(&Capsule::Sequence { number })),
        (0u64..4).prop_map(|next| encode(&Capsule::Ack { next })),
        any::<u64>().prop_map(|opaque| encode(&Capsule::Ping { opaque })),
        (0u64..4, any::<u64>()).prop_map(|(opaque, received)| encode(&Capsule::Pong { opaque, received })),
        any::<u32>().prop_map(|retry_after_ms| encode(&Capsule::Drain { retry_after_ms })),
        (address.clone(), 0u8..=32).prop_map(|(address, length)| {
            let assigned = AssignedAddress { request_id: 0, prefix: Prefix { address, length } };
            encode(&Capsule::AddressAssign(vec![assigned; 10]))
        }),
        (address.clone(), any::<u16>(), any::<u16>()).prop_map(|(address, first, count)| {
            encode(&Capsule::ExternalPorts(vec![PortBlock { address, first, count }]))
        }),
        (address, any::<u16>(), any::<u8>()).prop_map(|(destination, destination_port, protocol)| {
            let reason = DenyReason::Policy;
            let denied = FlowDenied { reason, protocol, source_port: 20_000, destination, destination_port };
            encode(&Capsule::FlowDenied(denied))
        }),
        (any::<u32>(), any::<u32>(), any::<u32>(), any::<u32>()).prop_map(
            |(mtu, message_len, unacknowledged, ping)| {
                let ping_interval_ms = ping;
                encode(&Capsule::Limits(Limits { mtu, message_len, unacknowledged, ping_interval_ms }))
            }
        ),
        (any::<bool>(), any::<u32>(), 0u8..3).prop_map(|(resumed, grace_ms, version)| {
            let (session_id, secret) = ([1; 16], [2; 32]);
            encode(&Capsule::Session(Session { version, resumed, session_id, secret, grace_ms, next: 0 }))
        }),
        prop::collection::vec(any::<u8>(), 0..30),
    ]
}

fn messages() -> impl Strategy<Value = Vec<Vec<u8>>> {
    prop::collection::vec(prop::collection::vec(capsule(), 0..6).prop_map(|list| list.concat()), 0..12)
}

fn exercise(mut world: TunnelWorld, messages: &[Vec<u8>]) {
    for message in messages {
        world.stack.handle_message(message, world.now);
        world.stack.resolve("a.test", webtun_stack::Family::Any, world.now);
        let _ = world.stack.tcp_connect((common::B4, 80).into(), Default::default(), world.now);
        while let Some(event) = world.stack.poll_event() {
            if event == Event::OpenTransport {
                world.stack.handle_connected(world.now);
            }
        }
        for _ in 0..100 {
            if world.stack.poll_transmit(world.now).is_none() {
                break;
            }
        }
        world.now += Duration::from_millis(700);
        world.stack.handle_timeout(world.now);
    }
}

proptest! {
    #[test]
    fn in_an_established_session(messages in messages()) {
        let world = TunnelWorld::established();
        let connected = matches!(world.stack.status(), Status::Connected { .. });
        prop_assert!(connected);
        exercise(world, &messages);
    }

    #[test]
    fn instead_of_a_handshake(messages in messages()) {
        let mut world = TunnelWorld::new();
        world.stack.handle_connected(world.now);
        let _ = world.stack.poll_transmit(world.now);
        exercise(world, &messages);
    }
}

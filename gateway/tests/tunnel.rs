//! The tunnel's server half: handshake, reliability across connections, keep-alive, limits.

mod support;

use std::net::IpAddr;
use std::time::Duration;
use support::packets::{source, udp};
use support::{Client, World, config, hello, sequence};
use webtun_gateway::dataplane::{DropReason, Event, Gateway, GatewayConfig, Peer, PeerLimits};
use webtun_wire::{AssignedAddress, BatchWriter, Capsule, CloseCode, Hello, Prefix, Resume, capsules};

fn remote() -> IpAddr {
    IpAddr::from([8, 8, 4, 4])
}

fn encode(items: &[Capsule<'_>]) -> Vec<u8> {
    let mut message = Vec::new();
    items.iter().for_each(|capsule| capsule.encode(&mut message));
    message
}

fn names(message: &[u8]) -> Vec<String> {
    let name = |text: String| text.split([' ', '(']).next().unwrap_or_default().to_owned();
    capsules(message).map(|capsule| name(format!("{:?}", capsule.expect("sound")))).collect()
}

/// A session with a mapping, and the endpoint at which the outside reaches it.
fn connected(world: &mut World) -> (Client, (IpAddr, u16)) {
    let client = world.connect();
    world.send(&client, &[udp((client.v4, 4000), (remote(), 9), b"x")]);
    let mapped = source(&world.take_outside()[0]);
    world.messages(&client);
    (client, mapped)
}

fn resume(world: &mut World, client: &Client, next: u64) -> Client {
    world.handshake(&hello(Some(Resume { next, ..client.resume })), &Peer::new("peer")).expect("resumed")
}

#[test]
fn the_answer_has_everything_in_order() {
    let mut world = World::new(config());
    let mut message = hello(None);
    let any = |request_id, address| AssignedAddress { request_id, prefix: Prefix { address, length: 0 } };
    Capsule::ContextAssign { context: 2, kind: 1 }.encode(&mut message);
    Capsule::ContextAssign { context: 4, kind: 2 }.encode(&mut message);
    Capsule::AddressRequest(vec![any(7, [0; 4].into()), any(8, [0; 16].into())]).encode(&mut message);
    let id = world.gateway.handshake(&message, &Peer::new("peer"), world.now).expect("a session");
    world.settle();
    assert!(matches!(&world.events[0], Event::SessionOpened { peer, .. } if &**peer == "peer"));
    assert!(world.events.contains(&Event::MessagesReady(id)));
    let answer = world.poll(id).expect("the answer");
    let expected = [
        "Session",
        "Limits",
        "AddressAssign",
        "RouteAdvertisement",
        "DnsAssign",
        "ExternalPorts",
        "Pref64",
        "ContextAck",
        "ContextClose",
    ];
    assert_eq!(names(&answer), expected);
    let assigned = capsules(&answer).nth(2).expect("ADDRESS_ASSIGN").expect("sound");
    let Capsule::AddressAssign(list) = assigned else { panic!("{assigned:?}") };
    assert_eq!([list[0].request_id, list[1].request_id], [7, 8]);
    assert_eq!(world.poll(id), None);
}

#[test]
fn bad_handshakes_are_refused_with_a_reason() {
    let mut world = World::new(config());
    let version = |min_version, max_version| {
        encode(&[Capsule::Hello(Hello { min_version, max_version, token: b"t", resume: None })])
    };
    let stranger = Resume { session_id: [1; 16], secret: [2; 32], next: 0 };
    let mut misplaced = hello(None);
    Capsule::Sequence { number: 0 }.encode(&mut misplaced);
    for (message, code) in [
        (Vec::new(), CloseCode::Protocol),
        (encode(&[Capsule::Ping { opaque: 1 }]), CloseCode::Protocol),
        (hello(None)[..5].to_vec(), CloseCode::Protocol),
        (misplaced, CloseCode::Protocol),
        (version(2, 9), CloseCode::Version),
        (hello(Some(stranger)), CloseCode::UnknownSession),
    ] {
        let reject = world.gateway.handshake(&message, &Peer::new("peer"), world.now).expect_err("refused");
        assert_eq!(reject.code(), code);
        let close = reject.message();
        assert!(matches!(capsules(&close).next(), Some(Ok(Capsule::Close(close))) if close.code == code));
    }
    assert_eq!(world.gateway.stats().handshakes_rejected, 6);
    assert_eq!(world.gateway.stats().sessions, 0);
    assert_eq!(Gateway::hello_token(&version(1, 1)), Some(&b"t"[..]));
    assert_eq!(Gateway::hello_token(b"nonsense"), None);
}

#[test]
fn a_cut_loses_nothing_and_repeats_nothing() {
    let mut world = World::new(config());
    let (client, mapped) = connected(&mut world);
    let packet = |n: u8| udp((remote(), 9), mapped, &[n]);
    let mut sent = Vec::new();
    for n in 0..5 {
        world.receive(&packet(n));
        sent.extend(world.poll(client.id));
    }
    assert_eq!(sent.iter().map(|m| sequence(m)).collect::<Vec<_>>(), (0..5).map(Some).collect::<Vec<_>>());
    world.gateway.disconnect(client.id, world.now);
    world.settle();
    assert!(world.events.contains(&Event::SessionDetached { id: client.id }));
    assert_eq!(world.poll(client.id), None);
    world.receive(&packet(5));
    // Two of the five had arrived; and of the client's own messages one was sent again.
    let again = resume(&mut world, &client, 2);
    assert_eq!((again.id, again.v4, again.next.get()), (client.id, client.v4, 1));
    let replayed: Vec<_> = std::iter::from_fn(|| world.poll(client.id)).collect();
    assert_eq!(replayed[..3], sent[2..]);
    assert_eq!((replayed.len(), sequence(&replayed[3])), (4, Some(5)));
    let repeated = Client { next: 0.into(), ..client };
    world.send(&repeated, &[udp((repeated.v4, 4000), (remote(), 9), b"x")]);
    assert!(world.take_outside().is_empty());
    assert_eq!(world.gateway.stats().duplicate_messages, 1);
    world.send(&again, &[udp((again.v4, 4000), (remote(), 9), b"y")]);
    assert_eq!(world.take_outside().len(), 1);
}

#[test]
fn only_the_secret_and_the_same_peer_resume() {
    let mut world = World::new(config());
    let (client, _) = connected(&mut world);
    world.gateway.disconnect(client.id, world.now);
    let mut wrong = client.resume;
    wrong.secret[31] ^= 1;
    let now = world.now;
    let mut code = |message: &[u8], peer: &str| {
        world.gateway.handshake(message, &Peer::new(peer), now).expect_err("refused").code()
    };
    assert_eq!(code(&hello(Some(wrong)), "peer"), CloseCode::UnknownSession);
    assert_eq!(code(&hello(Some(client.resume)), "another"), CloseCode::UnknownSession);
    assert_eq!(code(&hello(Some(Resume { next: 99, ..client.resume })), "peer"), CloseCode::Protocol);
    resume(&mut world, &client, 0);
}

#[test]
fn the_secret_alone_resumes_a_session_whose_peer_says_so_and_opens_none() {
    let mut world = World::new(config());
    let strict = world.connect();
    let by_ticket = world.connect_as(&Peer { resumes_by_secret: true, ..Peer::new("guest") });
    let now = world.now;
    let wrong = Resume { secret: [7; 32], ..by_ticket.resume };
    for message in [hello(None), hello(Some(strict.resume)), hello(Some(wrong))] {
        let refused = world.gateway.handshake_by_secret(&message, now).expect_err("refused");
        assert_eq!(refused.code(), CloseCode::Unauthorized);
    }
    assert_eq!(world.gateway.handshake_by_secret(&hello(Some(by_ticket.resume)), now), Ok(by_ticket.id));
    assert!(Gateway::is_resumption(&hello(Some(wrong))));
    assert!(!Gateway::is_resumption(&hello(None)) && !Gateway::is_resumption(b"\xff"));
}

#[test]
fn a_new_connection_takes_over() {
    let mut world = World::new(config());
    let (client, mapped) = connected(&mut world);
    let again = resume(&mut world, &client, 0);
    assert_eq!(again.id, client.id);
    assert!(world.events.contains(&Event::SessionResumed { id: client.id }));
    world.receive(&udp((remote(), 9), mapped, b"z"));
    assert_eq!(world.packets(&again).len(), 1);
    assert_eq!(world.gateway.stats().sessions, 1);
}

#[test]
fn grace_ends_the_session_and_frees_what_it_held() {
    let mut world = World::new(config());
    let (client, mapped) = connected(&mut world);
    world.gateway.disconnect(client.id, world.now);
    world.pass(Duration::from_secs(119));
    assert_eq!((world.gateway.stats().sessions, world.gateway.stats().mappings), (1, 1));
    world.pass(Duration::from_secs(2));
    assert_eq!((world.gateway.stats().sessions, world.gateway.stats().mappings), (0, 0));
    assert!(world.events.contains(&Event::SessionClosed { id: client.id, code: CloseCode::UnknownSession }));
    assert_eq!(world.events.iter().filter(|e| matches!(e, Event::BlockReturned { .. })).count(), 2);
    world.receive(&udp((remote(), 9), mapped, b"z"));
    assert_eq!(world.gateway.stats().drops(DropReason::NoMapping), 1);
    world.pass(Duration::from_secs(300));
    assert_eq!(world.gateway.poll_timeout(), None);
}

#[test]
fn an_acknowledgement_rides_or_leaves_in_time() {
    let mut world = World::new(config());
    let (client, mapped) = connected(&mut world);
    let packet = [udp((client.v4, 4000), (remote(), 9), b"x")];
    world.pass(Duration::from_millis(100));
    world.messages(&client);
    world.send(&client, &packet);
    assert!(world.messages(&client).is_empty());
    world.pass(Duration::from_millis(49));
    assert!(world.messages(&client).is_empty());
    world.pass(Duration::from_millis(1));
    assert_eq!(world.messages(&client), [encode(&[Capsule::Ack { next: 2 }])]);
    world.send(&client, &packet);
    world.receive(&udp((remote(), 9), mapped, b"y"));
    assert_eq!(names(&world.messages(&client)[0]), ["Sequence", "Ack", "Datagram"]);
    for _ in 0..15 {
        world.send(&client, &packet);
    }
    assert!(world.messages(&client).is_empty());
    world.send(&client, &packet);
    assert_eq!(world.messages(&client), [encode(&[Capsule::Ack { next: 19 }])]);
}

#[test]
fn a_short_message_waits_for_company_while_a_long_one_is_under_way() {
    let config = GatewayConfig { message_len: 70_000, ..config() };
    let mut world = World::new(config);
    let (client, mapped) = connected(&mut world);
    let packet = udp((remote(), 9), mapped, &[7; 1400]);
    let some = |world: &mut World| (0..20).for_each(|_| world.receive(&packet));
    let next = std::cell::Cell::new(0);
    let poll = |world: &mut World| {
        let Some(message) = world.poll(client.id) else { return 0 };
        next.set(sequence(&message).expect("a sequenced message") + 1);
        message.len()
    };
    (0..100).for_each(|_| world.receive(&packet));
    assert!(poll(&mut world) > 65_000 && poll(&mut world) > 65_000, "what is long need not wait");
    some(&mut world);
    let has_message = |world: &World| world.events.contains(&Event::MessagesReady(client.id));
    world.events.clear();
    assert_eq!(poll(&mut world), 0);
    world.pass(Duration::from_micros(900));
    assert!(!has_message(&world) && poll(&mut world) == 0);
    world.pass(Duration::from_micros(100));
    assert!(
        has_message(&world) && poll(&mut world) > 20 * 1400,
        "a path on which receipts take longer is not waited for"
    );
    world.receive(&packet);
    assert!(poll(&mut world) > 1400, "what is little need not wait");

    let acknowledge = |world: &mut World| {
        let mut receipt = Vec::new();
        Capsule::Ack { next: next.get() }.encode(&mut receipt);
        world.message(&client, &receipt).expect("sound");
    };
    acknowledge(&mut world);
    (0..100).for_each(|_| world.receive(&packet));
    assert!(poll(&mut world) > 65_000 && poll(&mut world) > 65_000);
    some(&mut world);
    assert_eq!(poll(&mut world), 0);
    acknowledge(&mut world);
    assert!(poll(&mut world) > 20 * 1400, "the client has what was under way");
}

#[test]
fn silence_is_asked_about_and_then_believed() {
    let mut world = World::new(config());
    let client = world.connect();
    world.pass(Duration::from_secs(15));
    let ping = world.messages(&client).pop().expect("a PING");
    let Some(Ok(Capsule::Ping { opaque })) = capsules(&ping).next() else { panic!("{ping:?}") };
    world.pass(Duration::from_millis(30));
    world.message(&client, &encode(&[Capsule::Pong { opaque, received: 0 }])).expect("sound");
    let info = world.gateway.sessions().next().expect("a session");
    assert_eq!((info.rtt, info.connected), (Some(Duration::from_millis(30)), true));
    world.pass(Duration::from_secs(29));
    assert_eq!(world.messages(&client).len(), 1);
    world.pass(Duration::from_secs(1));
    assert!(world.events.contains(&Event::ConnectionLost { id: client.id }));
    assert!(!world.gateway.sessions().next().expect("a session").connected);
}

#[test]
fn a_ping_is_answered_with_what_has_come() {
    let mut world = World::new(config());
    let client = world.connect();
    let ping = encode(&[Capsule::Ping { opaque: 5 }]);
    world.message(&client, &ping).expect("sound");
    let received = (hello(None).len() + ping.len()) as u64;
    assert_eq!(world.messages(&client), [encode(&[Capsule::Pong { opaque: 5, received }])]);
    for opaque in 0..100 {
        world.message(&client, &encode(&[Capsule::Ping { opaque }])).expect("sound");
    }
    assert_eq!(names(&world.messages(&client)[0]).len(), 16);
}

#[test]
fn what_breaks_the_protocol_ends_that_session_alone() {
    let mut world = World::new(config());
    let other = world.connect();
    let cut = {
        let mut message = encode(&[Capsule::Ping { opaque: 1 }]);
        message.pop();
        message
    };
    for (message, code) in [
        (cut, CloseCode::Protocol),
        (encode(&[Capsule::Sequence { number: 1 }]), CloseCode::Protocol),
        (encode(&[Capsule::Ping { opaque: 1 }, Capsule::Sequence { number: 0 }]), CloseCode::Protocol),
        (encode(&[Capsule::Ack { next: 1 }]), CloseCode::Protocol),
        (encode(&[Capsule::Drain { retry_after_ms: 1 }]), CloseCode::Protocol),
        (hello(None), CloseCode::Protocol),
        (vec![0; webtun_wire::MAX_MESSAGE_LEN + 1], CloseCode::Protocol),
        (encode(&vec![Capsule::ContextAssign { context: 2, kind: 9 }; 257]), CloseCode::Limit),
    ] {
        let client = world.connect();
        let error = world.message(&client, &message).expect_err("the end");
        assert_eq!(error.code(), code, "{error}");
        let close = error.message().expect("a CLOSE");
        assert!(matches!(capsules(&close).next(), Some(Ok(Capsule::Close(close))) if close.code == code));
        assert!(world.events.contains(&Event::SessionClosed { id: client.id, code }));
        let error = world.message(&client, &[]).expect_err("gone");
        assert_eq!((error.code(), error.message()), (CloseCode::UnknownSession, None));
    }
    assert_eq!(world.gateway.stats().sessions, 1);
    assert!(world.messages(&other).is_empty());
}

#[test]
fn one_bad_packet_does_not_stop_a_batch() {
    let mut world = World::new(config());
    let client = world.connect();
    let good = udp((client.v4, 4000), (remote(), 9), b"x");
    let mut writer = client.message();
    for packet in [&good[..], &good[..20], b"", &[0x60; 39], &good[..]] {
        assert!(writer.push_packet(0, packet));
    }
    assert!(writer.push_packet(2, &good) && writer.push_packet(0, &good));
    assert!(writer.push(&Capsule::Unknown { kind: 0x2B7E_1530, value: b"later" }));
    world.message(&client, &writer.finish()).expect("sound");
    assert_eq!(world.take_outside().len(), 3);
    assert_eq!(world.gateway.stats().drops(DropReason::UnknownContext), 1);
    assert_eq!(world.gateway.stats().drops(DropReason::Truncated), 3);
}

#[test]
fn sessions_are_limited_per_peer_and_by_the_pool() {
    let mut config = config();
    config.inner_v4 = "10.9.0.0/29".parse().expect("a prefix");
    let mut world = World::new(config);
    let two = Peer { limits: PeerLimits { sessions: 2, ..PeerLimits::default() }, ..Peer::new("two") };
    let first = world.connect_as(&two);
    world.connect_as(&two);
    let reject = world.handshake(&hello(None), &two).expect_err("refused");
    assert_eq!(reject.code(), CloseCode::Limit);
    world.gateway.close_session(first.id, CloseCode::Normal, world.now);
    world.connect_as(&two);
    (0..3).for_each(|_| drop(world.connect()));
    let reject = world.handshake(&hello(None), &Peer::new("last")).expect_err("refused");
    assert_eq!(reject.code(), CloseCode::Exhausted);
}

/// How long a client that is refused now shall wait.
fn retry_after(world: &mut World, peer: &Peer) -> Duration {
    let message = world.handshake(&hello(None), peer).expect_err("refused").message();
    let Some(Ok(Capsule::Close(close))) = capsules(&message).next() else { panic!("no CLOSE") };
    Duration::from_millis(close.retry_after_ms.into())
}

#[test]
fn a_refusal_tells_when_the_first_grace_ends() {
    let mut world = World::new(GatewayConfig { grace: Duration::from_secs(3), ..config() });
    let two = Peer { limits: PeerLimits { sessions: 2, ..PeerLimits::default() }, ..Peer::new("two") };
    let (first, _second) = (world.connect_as(&two), world.connect_as(&two));
    let other = world.connect();
    assert_eq!(retry_after(&mut world, &two), Duration::from_secs(10), "nobody is about to go");
    world.gateway.disconnect(other.id, world.now);
    world.now += Duration::from_secs(1);
    world.gateway.disconnect(first.id, world.now);
    world.now += Duration::from_secs(1);
    assert_eq!(retry_after(&mut world, &two), Duration::from_secs(2), "the peer's own, not another's");
    world.now += Duration::from_millis(1999);
    assert_eq!(retry_after(&mut world, &two), Duration::from_millis(250), "not at once");
}

#[test]
fn a_closed_session_says_so_once() {
    let mut world = World::new(config());
    let client = world.connect();
    world.gateway.close_session(client.id, CloseCode::Shutdown, world.now);
    let close = world.poll(client.id).expect("a CLOSE");
    assert!(matches!(capsules(&close).next(), Some(Ok(Capsule::Close(c))) if c.code == CloseCode::Shutdown));
    assert_eq!(world.poll(client.id), None);
    let client = world.connect();
    let close = webtun_wire::Close { code: CloseCode::Normal, retry_after_ms: 0, reason: "done" };
    world.message(&client, &encode(&[Capsule::Close(close)])).expect("sound");
    assert!(world.events.contains(&Event::SessionClosed { id: client.id, code: CloseCode::Normal }));
    assert_eq!(world.poll(client.id), None);
}

#[test]
fn draining_lets_sessions_work_and_opens_none() {
    let mut world = World::new(config());
    let client = world.connect();
    world.gateway.drain(Duration::from_secs(3), world.now);
    world.settle();
    assert_eq!(names(&world.messages(&client)[0]), ["Sequence", "Drain"]);
    let reject = world.handshake(&hello(None), &Peer::new("late")).expect_err("refused");
    assert_eq!(reject.code(), CloseCode::Shutdown);
    world.send(&client, &[udp((client.v4, 4000), (remote(), 9), b"x")]);
    assert_eq!(world.take_outside().len(), 1);
    resume(&mut world, &client, 1);
}

#[test]
fn a_client_that_acknowledges_nothing_gets_no_more_than_the_limit() {
    let mut config = config();
    config.unacknowledged = 70_000;
    config.message_len = 70_000;
    let mut world = World::new(config);
    let (client, mapped) = connected(&mut world);
    let mut octets = 0;
    for _ in 0..200 {
        world.receive(&udp((remote(), 9), mapped, &[0; 972]));
        octets += world.poll(client.id).map_or(0, |message| message.len());
    }
    assert!((70_000..71_100).contains(&octets), "{octets}");
    world.events.clear();
    let mut writer = BatchWriter::new(100);
    assert!(writer.push(&Capsule::Ack { next: 10 }));
    world.message(&client, &writer.finish()).expect("sound");
    assert!(world.events.contains(&Event::MessagesReady(client.id)));
    assert!(world.poll(client.id).is_some_and(|message| message.len() > 65_000));
}

#[test]
fn a_slow_connection_gets_short_messages() {
    let mut world = World::new(config());
    let (client, mapped) = connected(&mut world);
    world.gateway.set_message_room(client.id, 3_000);
    for _ in 0..20 {
        world.receive(&udp((remote(), 9), mapped, &[0; 972]));
    }
    let messages: Vec<_> = std::iter::from_fn(|| world.poll(client.id)).collect();
    let packets: Vec<_> = messages.iter().map(|message| message.len() / 1000).collect();
    assert_eq!(packets, [3, 3, 3, 3, 3, 3, 2], "a message ends with the packet that brings it to the bound");
}

#[test]
fn a_long_message_ends_where_another_flow_has_its_turn() {
    let mut world = World::new(config());
    let (client, mapped) = connected(&mut world);
    world.send(&client, &[udp((client.v4, 4001), (remote(), 10), b"x")]);
    let other = source(&world.take_outside()[0]);
    world.messages(&client);
    world.gateway.set_message_room(client.id, 1 << 20);
    for _ in 0..80 {
        world.receive(&udp((remote(), 9), mapped, &[9; 1400]));
        world.receive(&udp((remote(), 10), other, &[10; 1400]));
    }
    let messages = std::iter::from_fn(|| {
        world.pass(Duration::from_millis(1));
        world.poll(client.id)
    });
    let of_each_flow =
        |message: &[u8]| [9, 10].map(|flow| message.iter().filter(|octet| **octet == flow).count() / 1400);
    let packets: Vec<_> = messages.map(|message| of_each_flow(&message)).collect();
    assert_eq!(packets, [[80, 2], [0, 78]], "two of each before turns are long");
}

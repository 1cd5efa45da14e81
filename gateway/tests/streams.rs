//! Streams: what a client may do, what waits where, and how they end.

mod support;

use bytes::BytesMut;
use std::net::SocketAddr;
use std::time::Duration;
use support::{Client, World, config, hello};
use webtun_gateway::dataplane::{
    Allowance, DropReason, Event, GatewayConfig, Peer, PeerLimits, Split, StreamEvent, StreamHost, Uplink,
};
use webtun_wire::{Capsule, CloseCode, Host, ResetReason, StreamLimits, StreamOpen, capsules};

const CREDIT: u64 = 64 * 1024;
const PLENTY: u64 = 1 << 40;

fn remote() -> SocketAddr {
    SocketAddr::from(([45, 33, 0, 1], 443))
}

fn local() -> SocketAddr {
    SocketAddr::from(([192, 0, 2, 1], 40_000))
}

fn open_capsule(stream: u64, data: &[u8]) -> Capsule<'_> {
    Capsule::StreamOpen(StreamOpen { stream, host: Host::Address(remote().ip()), port: remote().port(), data })
}

/// A session whose client carries streams, and takes so many octets of each.
fn connect(world: &mut World, credit: u64, limits: PeerLimits) -> Client {
    let mut message = hello(None);
    Capsule::StreamLimits(StreamLimits { streams: 0, credit, required: false }).encode(&mut message);
    let peer = Peer { limits, ..Peer::new("peer") };
    let client = world.handshake(&message, &peer).expect("a session");
    world.events.clear();
    client
}

fn world() -> (World, Client) {
    let mut world = World::new(config());
    let client = connect(&mut world, PLENTY, PeerLimits::default());
    (world, client)
}

/// A stream with its connection.
fn open(world: &mut World, client: &Client, stream: u64, data: &[u8]) {
    world.tell(client, &[open_capsule(stream, data)]).expect("a sound message");
    assert!(world.gateway.stream_connected(client.id, stream, local(), remote(), world.now));
    world.settle();
}

/// What the shell was told since it last was.
fn told(world: &mut World) -> Vec<(u64, StreamEvent)> {
    let of_stream = |event| match event {
        Event::Stream { stream, what, .. } => Some((stream, what)),
        _ => None,
    };
    std::mem::take(&mut world.events).into_iter().filter_map(of_stream).collect()
}

/// What is in the messages that there are: the capsules about streams, spelled out.
fn received(world: &mut World, client: &Client) -> Vec<String> {
    let messages = std::iter::from_fn(|| Some(world.messages(client)).filter(|messages| !messages.is_empty()));
    let messages: Vec<_> = messages.flatten().collect();
    let of_stream = |capsule: Capsule<'_>| match capsule {
        Capsule::StreamData { stream, data } => Some(format!("data {stream} {}", data.len())),
        Capsule::StreamCredit { stream, limit } => Some(format!("credit {stream} {limit}")),
        Capsule::StreamFinish { stream } => Some(format!("finish {stream}")),
        Capsule::StreamReset { stream, reason } => Some(format!("reset {stream} {reason:?}")),
        Capsule::StreamOpened(opened) => Some(format!("opened {}", opened.stream)),
        _ => None,
    };
    let all = messages.iter().flat_map(|message| capsules(message).map(|capsule| capsule.expect("a sound capsule")));
    all.filter_map(of_stream).collect()
}

fn code(world: &mut World, client: &Client, capsules: &[Capsule<'_>]) -> CloseCode {
    world.tell(client, capsules).expect_err("a breach").code()
}

#[test]
fn data_travels_with_the_request_and_waits_for_the_connection() {
    let (mut world, client) = world();
    world.tell(&client, &[open_capsule(0, b"GET "), Capsule::StreamData { stream: 0, data: b"/" }]).expect("sound");
    let host = StreamHost::Address(remote().ip());
    assert_eq!(told(&mut world), [(0, StreamEvent::Open { host, port: 443 })]);
    assert_eq!(world.gateway.stream_uplink(client.id, 0), Uplink::Nothing, "there is nobody to take it");
    assert!(world.gateway.stream_connected(client.id, 0, local(), remote(), world.now));
    world.settle();
    assert_eq!(told(&mut world), [(0, StreamEvent::Write), (0, StreamEvent::Read)]);
    let mut taken = Vec::new();
    while let Uplink::Data(data) = world.gateway.stream_uplink(client.id, 0) {
        taken.extend_from_slice(data);
        let len = data.len();
        world.gateway.stream_written(client.id, 0, len, world.now);
    }
    assert_eq!(taken, b"GET /");
    world.pass(Duration::from_millis(1));
    assert!(received(&mut world, &client).starts_with(&["opened 0".into()]));
}

#[test]
fn what_a_server_answers_at_once_comes_with_the_word_that_it_is_there() {
    let (mut world, client) = world();
    open(&mut world, &client, 0, b"ping");
    assert!(!told(&mut world).is_empty());
    assert_eq!(world.poll(client.id), None, "a millisecond is waited");
    world.pass(Duration::from_micros(500));
    world.gateway.stream_received(client.id, 0, BytesMut::from(&b"pong"[..]), world.now);
    let got = received(&mut world, &client);
    assert_eq!((got[0].as_str(), got[got.len() - 1].as_str()), ("opened 0", "data 0 4"));

    open(&mut world, &client, 1, b"ping");
    world.events.clear();
    world.pass(Duration::from_millis(1));
    assert!(world.events.contains(&Event::MessagesReady(client.id)), "a silent one is told of then");
    assert_eq!(received(&mut world, &client)[0], "opened 1");
    open(&mut world, &client, 2, b"");
    assert_eq!(received(&mut world, &client)[0], "opened 2", "nobody is asked for anything");
}

#[test]
fn a_stream_ends_when_both_sides_have_finished() {
    let (mut world, client) = world();
    open(&mut world, &client, 5, b"");
    world.gateway.stream_received(client.id, 5, BytesMut::from(&b"answer"[..]), world.now);
    world.gateway.stream_ended(client.id, 5, world.now);
    let got = received(&mut world, &client);
    assert_eq!(got[got.len() - 2..], ["data 5 6", "finish 5"]);
    world.tell(&client, &[Capsule::StreamFinish { stream: 5 }]).expect("sound");
    assert_eq!(world.gateway.stream_uplink(client.id, 5), Uplink::Finish);
    told(&mut world);
    world.gateway.stream_finish_written(client.id, 5);
    world.settle();
    assert_eq!(told(&mut world), [(5, StreamEvent::Over { reset: false })]);
    assert_eq!(world.gateway.stats().streams, 0);
    world.tell(&client, &[Capsule::StreamCredit { stream: 5, limit: 9 }]).expect("it may not know yet");
}

#[test]
fn a_failure_comes_behind_what_was_read_before() {
    let (mut world, client) = world();
    open(&mut world, &client, 0, b"");
    world.gateway.stream_received(client.id, 0, BytesMut::zeroed(1000), world.now);
    world.gateway.stream_failed(client.id, 0, ResetReason::Aborted, world.now);
    let got = received(&mut world, &client);
    assert_eq!(got[got.len() - 2..], ["data 0 1000", "reset 0 Aborted"]);
    world.tell(&client, &[open_capsule(1, b"")]).expect("sound");
    world.gateway.stream_failed(client.id, 1, ResetReason::Refused, world.now);
    assert_eq!(received(&mut world, &client), ["reset 1 Refused"]);
}

#[test]
fn who_breaks_the_rules_loses_the_session() {
    let breach = |capsules: &[Capsule<'_>]| {
        let (mut world, client) = world();
        open(&mut world, &client, 3, b"");
        let got = code(&mut world, &client, capsules);
        assert!(told(&mut world).contains(&(3, StreamEvent::Over { reset: true })), "its connections end");
        assert_eq!(world.gateway.stats().streams, 0);
        got
    };
    let too_much = vec![0; CREDIT as usize * 64];
    let pieces: Vec<_> = too_much.chunks(60_000).map(|data| Capsule::StreamData { stream: 4, data }).collect();
    let finish = Capsule::StreamFinish { stream: 3 };
    assert_eq!(breach(&[open_capsule(3, b"")]), CloseCode::Protocol, "an id again");
    assert_eq!(breach(&[open_capsule(2, b"")]), CloseCode::Protocol, "an id below another");
    assert_eq!(
        breach(&[Capsule::StreamData { stream: 9, data: b"x" }]),
        CloseCode::Protocol,
        "a stream that never was"
    );
    assert_eq!(breach(&[finish.clone(), Capsule::StreamData { stream: 3, data: b"x" }]), CloseCode::Protocol);
    assert_eq!(breach(&[finish.clone(), finish]), CloseCode::Protocol);
    let beyond = [vec![open_capsule(4, b"")], pieces[..2].to_vec()].concat();
    assert_eq!(breach(&beyond), CloseCode::Protocol, "more than the credit of a stream that is not open yet");
}

#[test]
fn without_negotiation_there_are_none() {
    let mut world = World::new(config());
    let client = world.connect();
    assert_eq!(code(&mut world, &client, &[open_capsule(0, b"")]), CloseCode::Protocol);
    let mut forbids = World::new(GatewayConfig { split: Split::Forbidden, ..config() });
    let client = connect(&mut forbids, PLENTY, PeerLimits::default());
    assert_eq!(code(&mut forbids, &client, &[open_capsule(0, b"")]), CloseCode::Protocol);
}

#[test]
fn beyond_its_flows_and_its_rate_a_stream_is_refused_and_the_session_goes_on() {
    let mut world = World::new(config());
    let each = Allowance { flows: 2, ..Allowance::SESSION };
    let client = connect(&mut world, PLENTY, PeerLimits { each, ..PeerLimits::default() });
    for stream in 0..2 {
        open(&mut world, &client, stream, b"");
    }
    received(&mut world, &client);
    world.tell(&client, &[open_capsule(2, b"")]).expect("sound");
    assert_eq!(received(&mut world, &client), ["reset 2 Limit"]);
    assert_eq!(world.gateway.stats().drops(DropReason::FlowLimit), 1);
    world.tell(&client, &[Capsule::StreamReset { stream: 0, reason: ResetReason::Aborted }]).expect("sound");
    open(&mut world, &client, 3, b"");
    assert!(received(&mut world, &client).contains(&"opened 3".into()));
}

#[test]
fn a_slow_client_holds_up_the_connections_and_nothing_is_lost() {
    /// More than the queue has a share for.
    const STREAMS: u64 = 40;
    let (mut world, client) = world();
    for stream in 0..STREAMS {
        open(&mut world, &client, stream, b"");
    }
    received(&mut world, &client);
    told(&mut world);
    let mut put = 0;
    for stream in 0..STREAMS {
        while let room @ 1.. = world.gateway.stream_room(client.id, stream) {
            let len = room.min(40_000);
            world.gateway.stream_received(client.id, stream, BytesMut::zeroed(len), world.now);
            put += len;
        }
    }
    let bound = 2 << 20;
    assert!((bound - 64 * 1024..=bound).contains(&put), "the session's queue bounds all of them together: {put}");
    let lengths = received(&mut world, &client);
    let got: usize =
        lengths.iter().filter_map(|it| it.strip_prefix("data ")?.split(' ').nth(1)?.parse::<usize>().ok()).sum();
    world.settle();
    let resumed = told(&mut world).into_iter().filter(|(_, what)| *what == StreamEvent::Read).count();
    assert_eq!((got, resumed), (put, STREAMS as usize));
}

#[test]
fn a_client_that_takes_no_more_is_sent_no_more() {
    let mut world = World::new(config());
    let client = connect(&mut world, 1000, PeerLimits::default());
    open(&mut world, &client, 0, b"");
    assert_eq!(world.gateway.stream_room(client.id, 0), 1000);
    world.gateway.stream_received(client.id, 0, BytesMut::zeroed(1000), world.now);
    assert_eq!(world.gateway.stream_room(client.id, 0), 0);
    received(&mut world, &client);
    told(&mut world);
    world.tell(&client, &[Capsule::StreamCredit { stream: 0, limit: 1500 }]).expect("sound");
    assert_eq!(told(&mut world), [(0, StreamEvent::Read)]);
    assert_eq!(world.gateway.stream_room(client.id, 0), 500);
}

#[test]
fn the_end_of_the_session_is_that_of_its_streams() {
    let (mut world, client) = world();
    open(&mut world, &client, 0, b"");
    told(&mut world);
    world.gateway.disconnect(client.id, world.now);
    world.settle();
    assert_eq!(told(&mut world), [], "a cut is not");
    world.pass(Duration::from_secs(3600));
    assert_eq!(told(&mut world), [(0, StreamEvent::Over { reset: true })]);
    assert!(!world.gateway.stream_connected(client.id, 0, local(), remote(), world.now));
}

#[test]
fn the_policy_judges_where_a_stream_leads() {
    let (mut world, client) = world();
    let mut admit = |address: &str| world.gateway.admit_stream(client.id, address.parse().expect("an endpoint"));
    assert_eq!(admit("45.33.0.1:443"), Ok(remote()));
    assert_eq!(admit("[64:ff9b::45.33.0.1]:443"), Ok(remote()), "NAT64");
    let denied = [
        "127.0.0.1:80",
        "[::1]:80",
        "[::ffff:127.0.0.1]:80",
        "10.0.0.1:80",
        "169.254.169.254:80",
        "100.64.0.1:53",
        "100.64.0.9:80",
        "198.51.100.1:20000",
        "[64:ff9b::10.0.0.1]:80",
        "224.0.0.1:80",
        "0.0.0.0:80",
        "45.33.0.1:25",
        "[fd77:6562:7475::9]:80",
        "[fe80::1]:80",
    ];
    for address in denied {
        assert_eq!(admit(address), Err(ResetReason::Policy), "{address}");
    }
}

//! Connections that the gateway makes: what a program learns, how they end, who waits for whom, and what a cut costs them.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;
use webtun_stack::{CloseReason, ConnectError, RecvError, SocketId, StreamHost};
use webtun_tests::flow::{Finish, Flow, Plan, Read};
use webtun_tests::packet::IcmpError;
use webtun_tests::path::Fate;
use webtun_tests::tunnel::{Cut, TunnelConfig};
use webtun_tests::world::{World, WorldConfig};

/// What a side takes of a stream before it says more.
const FIRST_CREDIT: u64 = 64 * 1024;
/// How far a client may be ahead of a connection.
const WINDOW: u64 = 4 << 20;
/// What waits in the client's stack for a message.
const STREAM_BUFFER: u64 = 512 * 1024;

fn flow(world: &World, id: SocketId) -> &Flow {
    world.clients[0].node.flow(id)
}

fn complete(world: &mut World, flows: &[SocketId], limit: u64) {
    world.expect("the streams end whole", Duration::from_secs(limit), |world| {
        flows.iter().all(|id| flow(world, *id).is_complete())
    });
}

/// Nothing is left of them anywhere.
fn expect_nothing_left(world: &mut World) {
    world.expect("the ends are told", Duration::from_secs(60), |world| {
        world.gateway.stats().streams == 0 && world.kernel.sockets() == 0
    });
    assert_eq!(world.gateway.stats().protocol_errors, 0);
}

/// An outside where some places do not answer as they should.
fn world() -> World {
    let mut config = WorldConfig::new(1);
    config.zone.add("echo.example", &["2600:1f00::a".parse().unwrap(), "45.33.0.10".parse().unwrap()]);
    config.zone.add("inner.example", &[IpAddr::from([10, 0, 0, 1])]);
    let mut world = config.build();
    world.path.set_fate("45.33.1.0/24".parse().unwrap(), Fate::Error(IcmpError::HostUnreachable));
    world.path.set_fate("45.33.4.0/24".parse().unwrap(), Fate::Silence);
    world.serve(7, &Plan::echo());
    world.connect_all();
    world
}

#[test]
fn octets_come_whole_and_each_direction_ends_by_itself() {
    let mut world = world();
    let ends = [false, true].map(|ipv6| world.remote(0, ipv6, 7));
    let plan = || Plan::source(2 << 20, 1).expecting(1);
    let mut flows: Vec<_> = ends.iter().map(|end| world.connect_split(0, *end, plan()).unwrap()).collect();
    let name = StreamHost::Name("echo.example".into());
    flows.push(world.connect_split_to(0, name, 7, plan()).unwrap());
    // The echo ends only after ours has ended and everything was sent back.
    complete(&mut world, &flows, 60);
    assert!(flows.iter().all(|id| flow(&world, *id).received == 2 << 20));
    assert!(flows.iter().all(|id| flow(&world, *id).closed == Some(CloseReason::Graceful)));
    expect_nothing_left(&mut world);
}

#[test]
fn the_first_octet_costs_one_round_trip_of_the_tunnel() {
    let mut world = world();
    world.run_for(Duration::from_secs(1));
    let (remote, start) = (world.remote(0, false, 7), world.now());
    let id = world.connect_split(0, remote, Plan::source(100, 1).expecting(1)).unwrap();
    complete(&mut world, &[id], 5);
    // 10 ms each way in the tunnel, and outside 5 ms for each of SYN, its answer, the octets and theirs.
    assert_eq!(flow(&world, id).finished.unwrap() - start, Duration::from_millis(20 + 20));
}

#[test]
fn each_failure_has_its_own_error() {
    let mut world = world();
    let name = |name: &str| StreamHost::Name(name.into());
    let address = |text: &str| StreamHost::Address(text.parse().unwrap());
    for (host, port, expected, seconds) in [
        (address("45.33.0.10"), 81, ConnectError::Refused, 1),
        (address("2600:1f00::a"), 81, ConnectError::Refused, 1),
        (address("45.33.1.1"), 80, ConnectError::HostUnreachable, 1),
        (address("45.33.4.1"), 80, ConnectError::TimedOut, 31),
        (address("10.0.0.1"), 80, ConnectError::Denied, 1),
        (address("45.33.0.10"), 25, ConnectError::Denied, 1),
        (name("inner.example"), 80, ConnectError::Denied, 1),
        (name("nowhere.example"), 80, ConnectError::NameNotFound, 1),
    ] {
        let start = world.now();
        let id = world.connect_split_to(0, host.clone(), port, Plan::source(100, 1)).unwrap();
        world.expect("it fails", Duration::from_secs(60), |world| flow(world, id).connect_error.is_some());
        assert_eq!(flow(&world, id).connect_error, Some(expected), "{host:?} {port}");
        assert!((world.now() - start).as_secs() <= seconds, "{host:?} {port} took {:?}", world.now() - start);
    }
    expect_nothing_left(&mut world);
}

#[test]
fn a_reset_comes_behind_what_was_read_before_and_goes_the_other_way_too() {
    let mut world = world();
    world.serve(80, &Plan::source(100_000, 9).finishing(Finish::Hold));
    let remote = world.remote(0, false, 80);
    let id = world.connect_split(0, remote, Plan::hold().expecting(9)).unwrap();
    world.expect("all comes", Duration::from_secs(5), |world| flow(world, id).received == 100_000);
    world.with_remote(0, |machine, now| {
        let mut served = machine.node.flows.values_mut();
        served.next().unwrap().set_finish(Finish::Abort, &mut machine.host, now);
    });
    world.expect("it ends", Duration::from_secs(5), |world| {
        flow(world, id).is_released() || flow(world, id).closed.is_some()
    });
    assert_eq!(flow(&world, id).closed, Some(CloseReason::Reset));
    assert_eq!(flow(&world, id).recv_error, Some(RecvError::Closed(CloseReason::Reset)));

    let id = world.connect_split(0, remote, Plan::hold().expecting(9)).unwrap();
    world.expect("another", Duration::from_secs(5), |world| flow(world, id).received == 100_000);
    world.with_client(0, |client, now| {
        client.node.flows.get_mut(&id).unwrap().set_finish(Finish::Abort, &mut client.stack, now);
    });
    world.expect("the server hears of it", Duration::from_secs(5), |world| {
        world.remotes[0].node.flows.values().all(|served| served.is_released() || served.closed.is_some())
    });
    let served = world.remotes[0].node.flows.values().last().unwrap();
    assert_eq!(served.closed, Some(CloseReason::Reset));
    expect_nothing_left(&mut world);
}

#[test]
fn a_program_that_does_not_read_holds_up_nobody_and_little_waits_for_it() {
    let mut world = world();
    world.serve(80, &Plan::source(16 << 20, 4).finishing(Finish::Close));
    let (source, echo) = (world.remote(0, false, 80), world.remote(0, false, 7));
    let resume = world.now() + Duration::from_secs(10);
    let stalled = world.connect_split(0, source, Plan::sink().expecting(4).reading(Read::From(resume))).unwrap();
    world.run_for(Duration::from_secs(5));
    assert_eq!(flow(&world, stalled).received, 0);
    assert!(world.kernel.read <= FIRST_CREDIT, "{} octets wait in the client", world.kernel.read);
    let other = world.connect_split(0, echo, Plan::source(1 << 20, 5).expecting(5)).unwrap();
    world.expect("another echoes meanwhile", Duration::from_secs(4), |world| flow(world, other).is_complete());
    complete(&mut world, &[stalled], 300);
    assert_eq!(flow(&world, stalled).received, 16 << 20);
    expect_nothing_left(&mut world);
}

#[test]
fn a_server_that_does_not_read_holds_up_nobody_and_little_waits_for_it() {
    let mut world = world();
    let resume = world.now() + Duration::from_secs(20);
    world.serve(80, &Plan::sink().expecting(6).reading(Read::From(resume)));
    let (sink, echo) = (world.remote(0, true, 80), world.remote(0, true, 7));
    let stalled = world.connect_split(0, sink, Plan::source(32 << 20, 6)).unwrap();
    world.run_for(Duration::from_secs(10));
    let waiting = flow(&world, stalled).sent - world.kernel.written;
    assert!(waiting <= WINDOW + STREAM_BUFFER, "{waiting} octets wait in the stack and in the gateway");
    assert!(flow(&world, stalled).sent < 32 << 20);
    let other = world.connect_split(0, echo, Plan::source(1 << 20, 5).expecting(5)).unwrap();
    world.expect("another echoes meanwhile", Duration::from_secs(4), |world| flow(world, other).is_complete());
    assert!(world.now() < resume);
    complete(&mut world, &[stalled], 300);
    world.expect("the server gets it all", Duration::from_secs(10), |world| {
        world.remotes[0].node.flows.values().any(|served| served.received == 32 << 20 && served.is_complete())
    });
    expect_nothing_left(&mut world);
}

#[test]
fn three_hundred_at_once() {
    let mut config = WorldConfig::new(5).with_loss(0.005);
    config.tunnel = TunnelConfig { rate: Some(4_000_000), capacity: 200_000, ..TunnelConfig::default() };
    let mut world = config.build();
    world.serve(7, &Plan::echo());
    world.connect_all();
    let remote = world.remote(0, false, 7);
    let plan = |index| Plan::source(1000 + index * 37, index).expecting(index);
    let flows: Vec<_> = (0..300).map(|index| world.connect_split(0, remote, plan(index)).unwrap()).collect();
    complete(&mut world, &flows, 60);
    expect_nothing_left(&mut world);
}

/// A transfer both ways whose tunnel is cut so often, in one of these ways each time.
fn cut_and_finish(seed: u64, len: u64, count: u32, ways: &[Cut]) {
    let tunnel = TunnelConfig { rate: Some(1_000_000), ..TunnelConfig::default() };
    let mut world = WorldConfig { tunnel, ..WorldConfig::new(seed) }.build();
    world.serve(80, &Plan::source(len, 1).expecting(2));
    world.connect_all();
    let remote = world.remote(0, seed % 2 == 1, 80);
    let id = world.connect_split(0, remote, Plan::source(len, 2).expecting(1)).unwrap();
    // A request that meets a dead connection times out by itself; that is another behaviour.
    world.expect("it opens", Duration::from_secs(5), |world| flow(world, id).connected.is_some());
    for _ in 0..count {
        let pause = Duration::from_micros(world.rng.within(1, 400_000));
        world.run_for(pause);
        let way = ways[world.rng.below(ways.len() as u64) as usize];
        world.cut(0, way);
        world.expect("the client is back", Duration::from_secs(120), |world| world.clients[0].is_connected());
    }
    complete(&mut world, &[id], 900);
    world.expect("the server has everything", Duration::from_secs(60), |world| {
        world.remotes[0].node.flows.values().all(|served| served.is_complete())
    });
    assert_eq!(world.gateway.stats().sessions_opened, 1, "seed {seed}");
    expect_nothing_left(&mut world);
}

#[test]
fn twenty_cuts_lose_nothing() {
    for seed in 0..10 {
        cut_and_finish(seed, 3 << 20, 20, &[Cut::Both]);
    }
}

#[test]
fn a_few_cuts_with_many_seeds() {
    for seed in 100..160 {
        cut_and_finish(seed, 300_000, 4, &[Cut::Both, Cut::ClientNotices]);
    }
}

#[test]
fn an_end_that_notices_nothing_finds_out_by_silence() {
    for seed in 300..306 {
        cut_and_finish(seed, 200_000, 3, &[Cut::GatewayNotices, Cut::Silent]);
    }
}

/// A stream that waits, in a session that will be lost.
fn idle() -> (World, SocketId) {
    let mut world = world();
    world.serve(80, &Plan::source(100, 1).finishing(Finish::Hold));
    let remote = world.remote(0, false, 80);
    let id = world.connect_split(0, remote, Plan::hold().expecting(1)).unwrap();
    world.expect("data", Duration::from_secs(5), |world| flow(world, id).received == 100);
    (world, id)
}

fn expect_lost_and_new(world: &mut World, id: SocketId) {
    world.expect("the stream ends", Duration::from_secs(60), |world| flow(world, id).closed.is_some());
    assert_eq!(flow(world, id).closed, Some(CloseReason::AddressLost));
    world.expect("the server hears of it", Duration::from_secs(5), |world| {
        world.remotes[0].node.flows.values().all(|served| served.closed == Some(CloseReason::Reset))
    });
    world.expect("a new session", Duration::from_secs(60), |world| world.clients[0].is_connected());
    let remote: SocketAddr = world.remote(0, true, 7);
    let next = world.connect_split(0, remote, Plan::source(100, 3).expecting(3)).unwrap();
    complete(world, &[next], 5);
    expect_nothing_left(world);
}

#[test]
fn a_cut_longer_than_the_grace_resets_both_ends() {
    let (mut world, id) = idle();
    world.clients[0].online = false;
    world.cut(0, Cut::Both);
    world.run_for(Duration::from_secs(119));
    assert_eq!((flow(&world, id).closed, world.kernel.sockets()), (None, 1), "within the grace it lives");
    world.run_for(Duration::from_secs(2));
    assert_eq!((world.gateway.stats().streams, world.kernel.sockets()), (0, 0), "the gateway forgets it");
    world.clients[0].online = true;
    expect_lost_and_new(&mut world, id);
}

#[test]
fn a_gateway_that_begins_anew_resets_both_ends() {
    let (mut world, id) = idle();
    world.restart_gateway();
    expect_lost_and_new(&mut world, id);
}

//! The WebSocket is cut again and again during transfers both ways: within the grace period no connection dies, and
//! nothing is lost or doubled.

use std::time::Duration;
use webtun_stack::{Event, SocketId, Status};
use webtun_tests::flow::Plan;
use webtun_tests::tunnel::{Cut, TunnelConfig};
use webtun_tests::world::{World, WorldConfig};

const CUTS: u32 = 20;

/// A transfer whose tunnel is slow enough that it takes a while.
fn start(seed: u64, len: u64) -> (World, SocketId) {
    let tunnel = TunnelConfig { rate: Some(1_000_000), ..TunnelConfig::default() };
    let mut world = WorldConfig { tunnel, ..WorldConfig::new(seed) }.build();
    world.serve(80, &Plan::source(len, 1).expecting(2));
    world.connect_all();
    let remote = world.remote(0, seed % 2 == 1, 80);
    let flow = world.connect(0, remote, Plan::source(len, 2).expecting(1)).unwrap();
    // An opening that meets a dead connection times out by itself; that is another behaviour.
    world.expect("the connection opens", Duration::from_secs(5), |world| {
        world.clients[0].node.flow(flow).connected.is_some() && world.remotes[0].node.open_flows() == 1
    });
    (world, flow)
}

fn finish(world: &mut World, flow: SocketId) {
    world.expect("both ends have everything", Duration::from_secs(900), |world| {
        world.clients[0].node.flow(flow).is_complete()
            && world.remotes[0].node.flows.values().all(|served| served.is_complete())
    });
    let stats = world.gateway.stats();
    assert_eq!((stats.sessions_opened, stats.protocol_errors), (1, 0), "it was one session all the time");
}

/// Cuts `count` times at random moments, in `ways`.
fn cut_and_finish(seed: u64, len: u64, count: u32, ways: &[Cut]) -> u64 {
    let (mut world, flow) = start(seed, len);
    for _ in 0..count {
        let pause = Duration::from_micros(world.rng.within(1, 400_000));
        world.run_for(pause);
        let way = ways[world.rng.below(ways.len() as u64) as usize];
        world.cut(0, way);
        let connected = |world: &World| world.clients[0].is_connected();
        world.expect("the client is back", Duration::from_secs(120), connected);
    }
    finish(&mut world, flow);
    world.gateway.stats().sessions_resumed
}

#[test]
fn twenty_cuts_lose_nothing() {
    for seed in 0..20 {
        let resumed = cut_and_finish(seed, 3 << 20, CUTS, &[Cut::Both]);
        assert_eq!(resumed, u64::from(CUTS), "seed {seed}");
    }
}

#[test]
fn a_few_cuts_with_many_seeds() {
    for seed in 100..220 {
        cut_and_finish(seed, 400_000, 4, &[Cut::Both, Cut::ClientNotices]);
    }
}

#[test]
fn an_end_that_notices_nothing_finds_out_by_silence() {
    for seed in 300..312 {
        cut_and_finish(seed, 200_000, 3, &[Cut::GatewayNotices, Cut::Silent]);
    }
}

#[test]
fn cuts_while_the_way_back_is_closed() {
    let (mut world, flow) = start(7, 2 << 20);
    for _ in 0..5 {
        world.run_for(Duration::from_millis(300));
        world.clients[0].online = false;
        world.cut(0, Cut::Both);
        world.run_for(Duration::from_secs(20));
        let is_trying = matches!(world.clients[0].stack.status(), Status::Reconnecting { .. });
        assert!(is_trying, "{:?}", world.clients[0].stack.status());
        world.clients[0].online = true;
        world.expect("the client is back", Duration::from_secs(15), |world| world.clients[0].is_connected());
    }
    finish(&mut world, flow);
}

#[test]
fn the_programs_hear_of_it() {
    let (mut world, flow) = start(8, 100_000);
    world.cut(0, Cut::Both);
    finish(&mut world, flow);
    let statuses: Vec<_> = world.clients[0]
        .events
        .iter()
        .filter_map(|(_, event)| match event {
            Event::Status(status) => Some(status.clone()),
            _ => None,
        })
        .collect();
    let back = statuses.iter().position(|status| matches!(status, Status::Reconnecting { attempt: 1, .. }));
    let back = back.expect("it says that it reconnects");
    assert!(statuses[back..].contains(&Status::Connected { resumed: true }), "{statuses:?}");
}

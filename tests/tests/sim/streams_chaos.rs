//! Streams to servers of every kind, whose tunnels are cut, whose sessions are lost and whose gateway dies: what is not whole
//! has an end with a reason, and nothing is left of any.
//!
//! `WEBTUN_CHAOS_SEEDS` (default 12) says how many runs; `WEBTUN_CHAOS_SEED` replays one.

use std::time::Duration;
use webtun_stack::{CloseReason, ConnectError, SocketId};
use webtun_tests::flow::{Finish, Flow, Plan, Read};
use webtun_tests::path::Fate;
use webtun_tests::tunnel::{Cut, TunnelConfig};
use webtun_tests::world::{World, WorldConfig};

use crate::chaos::seeds;

const CLIENTS: u64 = 3;
const LIMIT: Duration = Duration::from_secs(3600);
const ECHO: u16 = 7;
const SOURCE: u16 = 80;
const REFUSES: u16 = 81;
const SLOW_SINK: u16 = 82;
const RESETS: u16 = 83;
const ENDS_FIRST: u16 = 84;
/// Of the pattern that the servers send.
const SERVED: u64 = 9;

fn build(seed: u64) -> World {
    let loss = [0.0, 0.01][seed as usize % 2];
    let mut config = WorldConfig { clients: CLIENTS as usize, ..WorldConfig::new(seed) }.with_loss(loss);
    config.tunnel = TunnelConfig { rate: Some(2_000_000), capacity: 100_000, ..TunnelConfig::default() };
    let mut world = config.build();
    world.path.set_fate("45.33.4.0/24".parse().unwrap(), Fate::Silence);
    let slow = Read::Paced { octets: 20_000, every: Duration::from_millis(50) };
    world.serve(ECHO, &Plan::echo());
    world.serve(SOURCE, &Plan::source(200_000, SERVED).finishing(Finish::Close));
    world.serve(SLOW_SINK, &Plan::sink().expecting(5).reading(slow));
    world.serve(RESETS, &Plan::source(100_000, SERVED).finishing(Finish::Abort));
    world.serve(ENDS_FIRST, &Plan::source(1000, SERVED).expecting(5));
    world.connect_all();
    world
}

/// One that was opened: by which client, and whether nothing but the loss of its session may keep it from being whole.
type Opened = (usize, SocketId, bool);

fn open(world: &mut World) -> Option<Opened> {
    let client = world.rng.below(CLIENTS) as usize;
    let ports = [ECHO, ECHO, SOURCE, REFUSES, SLOW_SINK, RESETS, ENDS_FIRST];
    let port = ports[world.rng.below(ports.len() as u64) as usize];
    let ipv6 = world.rng.chance(0.5);
    let silent = world.rng.chance(0.05);
    let remote = if silent { ([45, 33, 4, 1], port).into() } else { world.remote(0, ipv6, port) };
    let slow = Read::Paced { octets: 5000, every: Duration::from_millis(20) };
    let read = [Read::Eager, slow][usize::from(world.rng.chance(0.3))];
    let finish = [Finish::ShutDown, Finish::ShutDown, Finish::ShutDown, Finish::Close, Finish::Abort];
    let finish = finish[world.rng.below(5) as usize];
    let len = world.rng.within(0, 150_000);
    let plan = if port == SOURCE { Plan::sink() } else { Plan::source(len, 5) };
    let plan = plan.expecting(if port == ECHO { 5 } else { SERVED }).reading(read).finishing(finish);
    // Without a session there is no gateway that takes any.
    match world.connect_split(client, remote, plan) {
        Ok(id) => Some((client, id, finish == Finish::ShutDown && ![REFUSES, RESETS].contains(&port))),
        Err(ConnectError::NetUnreachable) => None,
        Err(error) => panic!("{error}"),
    }
}

fn disturb(world: &mut World) {
    let client = world.rng.below(CLIENTS) as usize;
    match world.rng.below(20) {
        0 => world.restart_gateway(),
        1 => {
            world.clients[client].online = false;
            world.cut(client, Cut::Both);
            world.run_for(Duration::from_secs(130));
            world.clients[client].online = true;
        }
        way => {
            let ways = [Cut::Both, Cut::ClientNotices, Cut::GatewayNotices, Cut::Silent];
            world.cut(client, ways[way as usize % 4]);
        }
    }
}

/// Whether a program has seen what it may see.
fn is_explained(flow: &Flow, must_be_whole: bool) -> bool {
    let lost = flow.closed == Some(CloseReason::AddressLost);
    let reset = matches!(flow.closed, Some(CloseReason::Reset | CloseReason::Aborted));
    let left = flow.is_released() && flow.closed.is_none();
    let ended = flow.connect_error.is_some() || lost || (!must_be_whole && (reset || left));
    flow.corrupt.is_none() && (flow.is_complete() || ended)
}

fn run(seed: u64) {
    let mut world = build(seed);
    let mut opened = Vec::new();
    for _ in 0..60 {
        opened.extend(open(&mut world));
        let pause = Duration::from_micros(world.rng.within(1, 100_000));
        world.run_for(pause);
        if world.rng.chance(0.25) {
            disturb(&mut world);
        }
    }
    world.expect("the programs are done", LIMIT, |world| {
        world.clients.iter().all(|client| client.node.open_flows() == 0)
    });
    world.expect("nothing is left of the streams", LIMIT, |world| {
        // A RST that is lost is not repeated, and a server that waits asks for none.
        let served = world.config.link.loss > 0.0 || world.remotes.iter().all(|remote| remote.node.open_flows() == 0);
        world.gateway.stats().streams == 0 && world.kernel.sockets() == 0 && served
    });
    for (client, id, must_be_whole) in opened {
        let flow = world.clients[client].node.flow(id);
        assert!(is_explained(flow, must_be_whole), "seed {seed}: {flow:?}");
    }
    assert!(world.remotes[0].node.flows.values().all(|served| served.corrupt.is_none()), "seed {seed}");
    assert_eq!(world.gateway.stats().protocol_errors, 0, "seed {seed}");
}

#[test]
fn whatever_happens_every_stream_ends() {
    seeds().for_each(run);
}

//! Everything at once: several pages with many sockets, end to end and split, over a lossy path, whose tunnels are cut in
//! every way. Whatever was opened ends whole, with segmentation offload (even seeds) and without.
//!
//! `WEBTUN_CHAOS_SEEDS` (default 12) says how many runs; `WEBTUN_CHAOS_SEED` replays one.

use std::env;
use std::time::Duration;
use webtun_stack::CloseReason;
use webtun_tests::flow::{Finish, Plan, Read};
use webtun_tests::tunnel::{Cut, TunnelConfig};
use webtun_tests::world::{World, WorldConfig};

const LIMIT: Duration = Duration::from_secs(3600);

fn number(name: &str) -> Option<u64> {
    env::var(name).ok().map(|text| text.parse().expect("a number"))
}

fn build(seed: u64) -> World {
    let loss = [0.0, 0.001, 0.01, 0.05][seed as usize % 4];
    let offload = seed.is_multiple_of(2);
    let mut config = WorldConfig { clients: 3, remotes: 2, offload, ..WorldConfig::new(seed) }.with_loss(loss);
    config.tunnel = TunnelConfig { rate: Some(2_000_000), capacity: 100_000, ..TunnelConfig::default() };
    if seed % 3 == 1 {
        config.link.rate = Some(500_000);
        config.link.queue = 60_000;
    }
    let mut world = config.build();
    if seed % 5 == 2 {
        world.path.mtu = 1320;
    }
    world.serve(7, &Plan::echo());
    world.serve(80, &Plan::source(200_000, 9).finishing(Finish::Close));
    world.serve_udp_echo(7);
    world.connect_all();
    world
}

/// Opens a socket of a random kind.
fn open(world: &mut World) {
    let (client, remote) = (world.rng.below(3) as usize, world.rng.below(2) as usize);
    let (ipv6, kind) = (world.rng.chance(0.5), world.rng.below(3));
    let slow = Read::Paced { octets: 5_000, every: Duration::from_millis(20) };
    let read = if world.rng.chance(0.3) { slow } else { Read::Eager };
    let len = world.rng.within(0, 150_000);
    let (port, plan) = match kind {
        0 => (80, Plan::sink().expecting(9)),
        _ => (7, Plan::source(len, 5).expecting(5)),
    };
    let remote = world.remote(remote, ipv6, port);
    let plan = plan.reading(read);
    if world.rng.chance(0.5) { world.connect_split(client, remote, plan) } else { world.connect(client, remote, plan) }
        .unwrap();
}

fn run(seed: u64) {
    let mut world = build(seed);
    for _ in 0..60 {
        open(&mut world);
        let pause = Duration::from_micros(world.rng.within(1, 60_000));
        world.run_for(pause);
        if world.rng.chance(0.2) {
            let client = world.rng.below(3) as usize;
            let ways = [Cut::Both, Cut::Both, Cut::ClientNotices, Cut::GatewayNotices];
            let way = ways[world.rng.below(4) as usize];
            world.cut(client, way);
        }
    }
    world.expect("everything ends", LIMIT, |world| world.clients.iter().all(|client| client.node.open_flows() == 0));
    for client in &world.clients {
        for flow in client.node.flows.values() {
            // While the page does not know that its tunnel is dead, an opening runs into its own timeout: ours, or that
            // of the other end, which never heard the handshake's end.
            let never_opened = flow.received == 0 && flow.closed == Some(CloseReason::Reset);
            let is_whole = flow.is_complete() || flow.connect_error.is_some() || never_opened;
            assert!(is_whole && flow.corrupt.is_none(), "seed {seed}: {flow:?}");
        }
    }
    world.expect("the gateway is done with streams", LIMIT, |world| {
        world.gateway.stats().streams == 0 && world.kernel.sockets() == 0
    });
    let stats = world.gateway.stats();
    assert_eq!((stats.sessions_opened, stats.protocol_errors), (3, 0), "seed {seed}");
}

/// The runs that are asked for.
pub fn seeds() -> std::ops::Range<u64> {
    match number("WEBTUN_CHAOS_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..number("WEBTUN_CHAOS_SEEDS").unwrap_or(12),
    }
}

#[test]
fn whatever_happens_ends_whole() {
    seeds().for_each(run);
}

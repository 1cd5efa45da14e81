//! Octets arrive whole and in order, whatever the path does to packets.

use std::time::Duration;
use webtun_tests::flow::{Finish, Plan};
use webtun_tests::world::WorldConfig;

const LIMIT: Duration = Duration::from_secs(600);

/// One client sends `up` octets and receives `down` octets at the same time.
fn transfer(seed: u64, up: u64, down: u64, loss: f64, ipv6: bool) {
    let mut world = WorldConfig::new(seed).with_loss(loss).build();
    world.serve(80, &Plan::source(down, 1).expecting(2).finishing(Finish::ShutDown));
    world.connect_all();
    let remote = world.remote(0, ipv6, 80);
    let flow = world.connect(0, remote, Plan::source(up, 2).expecting(1)).unwrap();
    world.expect("both ends have everything", LIMIT, |world| {
        world.clients[0].node.flow(flow).is_complete()
            && world.remotes[0].node.flows.values().all(|served| served.is_complete())
    });
    assert_eq!(world.clients[0].node.flow(flow).received, down);
    assert_eq!(world.remotes[0].node.flows.values().map(|served| served.received).sum::<u64>(), up);
    assert_eq!(world.remotes[0].oversized_segments, 0);
}

#[test]
fn nothing_but_the_ends() {
    for ipv6 in [false, true] {
        transfer(1, 0, 0, 0.0, ipv6);
        transfer(2, 1, 0, 0.0, ipv6);
        transfer(3, 0, 1, 0.0, ipv6);
    }
}

#[test]
fn large_on_a_clean_path() {
    transfer(4, 0, 8 << 20, 0.0, false);
    transfer(5, 8 << 20, 0, 0.0, true);
}

#[test]
fn many_seeds_on_a_lossy_path() {
    for seed in 0..8 {
        let loss = [0.001, 0.01, 0.03, 0.08][seed as usize % 4];
        transfer(100 + seed, 300_000, 300_000, loss, seed % 2 == 1);
    }
}

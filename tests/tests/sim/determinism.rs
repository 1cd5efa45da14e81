//! The same seed is the same run, octet by octet; another seed is another one.

use std::time::Duration;
use webtun_tests::flow::Plan;
use webtun_tests::tunnel::Cut;
use webtun_tests::world::WorldConfig;

fn trace(seed: u64) -> u64 {
    let mut world = WorldConfig { clients: 3, remotes: 2, ..WorldConfig::new(seed) }.with_loss(0.02).build();
    world.serve(7, &Plan::echo());
    world.serve_udp_echo(7);
    world.connect_all();
    for client in 0..3 {
        for index in 0..5 {
            let remote = world.remote(index % 2, index % 3 == 0, 7);
            world.connect(client, remote, Plan::source(100_000, 1).expecting(1)).unwrap();
            world.connect_split(client, remote, Plan::source(100_000, 1).expecting(1)).unwrap();
        }
    }
    for _ in 0..5 {
        world.run_for(Duration::from_millis(100));
        let client = world.rng.below(3) as usize;
        world.cut(client, Cut::Both);
    }
    world.expect("all is done", Duration::from_secs(600), |world| {
        world.clients.iter().all(|client| client.node.flows.values().all(|flow| flow.is_complete()))
    });
    world.trace()
}

#[test]
fn a_seed_is_a_run() {
    let first = trace(1);
    assert_eq!(trace(1), first);
    assert_ne!(trace(2), first);
}

//! A server that closes right after its last octet loses nothing, however slow the reader is.

use std::time::Duration;
use webtun_tests::flow::{Finish, Plan, Read};
use webtun_tests::world::WorldConfig;

const LEN: u64 = 3 << 20;

fn run(seed: u64, read: Read, loss: f64) {
    let mut world = WorldConfig::new(seed).with_loss(loss).build();
    world.serve(80, &Plan::source(LEN, 3).finishing(Finish::Close));
    world.connect_all();
    let remote = world.remote(0, seed % 2 == 1, 80);
    let flow = world.connect(0, remote, Plan::sink().expecting(3).reading(read)).unwrap();
    world.expect("the reader has everything", Duration::from_secs(900), |world| {
        world.clients[0].node.flow(flow).is_complete()
    });
    let seen = world.clients[0].node.flow(flow);
    assert_eq!((seen.received, seen.recv_error), (LEN, None));
}

#[test]
fn an_eager_reader_has_it_all() {
    run(1, Read::Eager, 0.0);
    run(2, Read::Eager, 0.02);
}

#[test]
fn a_slow_reader_has_it_all() {
    run(3, Read::Paced { octets: 20_000, every: Duration::from_millis(100) }, 0.0);
    run(4, Read::Paced { octets: 20_000, every: Duration::from_millis(100) }, 0.02);
}

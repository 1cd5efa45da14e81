//! A program that stops reading for ten seconds keeps memory bounded, and then gets every octet; its other sockets go on.

use std::time::Duration;
use webtun_stack::BufferSizes;
use webtun_tests::flow::{Finish, Plan, Read};
use webtun_tests::world::WorldConfig;

const LEN: u64 = 16 << 20;

#[test]
fn ten_seconds_without_reading() {
    let buffers = BufferSizes { receive: 1 << 20, send: 256 << 10 };
    let mut world = WorldConfig { buffers: Some(buffers), ..WorldConfig::new(1) }.build();
    world.serve(80, &Plan::source(LEN, 4).finishing(Finish::Close));
    world.serve(7, &Plan::echo());
    world.connect_all();
    let (source, echo) = (world.remote(0, false, 80), world.remote(0, false, 7));
    let resume = world.now() + Duration::from_secs(10);
    let stalled = world.connect(0, source, Plan::sink().expecting(4).reading(Read::From(resume))).unwrap();
    world.run_for(Duration::from_secs(5));

    let other = world.connect(0, echo, Plan::source(1 << 20, 5).expecting(5)).unwrap();
    world.expect("the other socket echoes meanwhile", Duration::from_secs(4), |world| {
        world.clients[0].node.flow(other).is_complete()
    });
    assert!(world.now() < resume);
    // All that is anywhere between the server's program and ours: its send buffer, the path, our receive buffer.
    let sent: u64 = world.remotes[0].node.flows.values().map(|flow| flow.sent).max().unwrap();
    assert_eq!(world.clients[0].node.flow(stalled).received, 0);
    assert!(sent <= (4 << 20) + 50_000, "{sent} octets lie somewhere");
    // Beside a message or two that acknowledge what the echo has sent.
    assert!(world.octets_in_tunnel(0).0 < 200, "data waits in the tunnel");

    world.expect("the reader catches up", Duration::from_secs(300), |world| {
        world.clients[0].node.flow(stalled).is_complete()
    });
    assert_eq!(world.clients[0].node.flow(stalled).received, LEN);
}

//! A remote host that never reads blocks only the socket that sends to it.

use std::time::Duration;
use webtun_tests::flow::{Plan, Read};
use webtun_tests::world::WorldConfig;

#[test]
fn only_its_own_socket() {
    let mut world = WorldConfig { remotes: 2, ..WorldConfig::new(1) }.build();
    world.serve(9, &Plan::sink().reading(Read::Never));
    world.serve(7, &Plan::echo());
    world.connect_all();
    let (wall, echo, other) = (world.remote(0, false, 9), world.remote(0, false, 7), world.remote(1, true, 7));
    let stuck = world.connect(0, wall, Plan::source(64 << 20, 6)).unwrap();
    world.run_for(Duration::from_secs(10));
    let taken = world.clients[0].node.flow(stuck).sent;
    // Both ends have the default buffers of a connection among few.
    assert!(taken < 7 << 20, "{taken} octets were taken for a peer that does not read");

    for remote in [echo, other] {
        let flow = world.connect(0, remote, Plan::source(2 << 20, 7).expecting(7)).unwrap();
        world.expect("other sockets go on", Duration::from_secs(20), |world| {
            world.clients[0].node.flow(flow).is_complete()
        });
    }
    world.run_for(Duration::from_secs(30));
    let flow = world.clients[0].node.flow(stuck);
    assert_eq!(flow.sent, taken, "nothing more is taken");
    assert_eq!((flow.closed, flow.send_error), (None, None), "and the connection lives");
}

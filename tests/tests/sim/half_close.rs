//! Each direction of a connection ends by itself.

use std::time::Duration;
use webtun_stack::TcpState;
use webtun_tests::flow::{Finish, Plan};
use webtun_tests::world::WorldConfig;

#[test]
fn the_client_ends_first_and_reads_on() {
    let mut world = WorldConfig::new(1).build();
    // The echo ends its direction only after ours has ended and everything was sent back.
    world.serve(7, &Plan::echo());
    world.connect_all();
    let remote = world.remote(0, false, 7);
    let flow = world.connect(0, remote, Plan::source(2 << 20, 1).expecting(1)).unwrap();
    world.expect("our end is sent", Duration::from_secs(20), |world| world.clients[0].node.flow(flow).sent == 2 << 20);
    let state = world.clients[0].stack.tcp_state(flow);
    assert!(matches!(state, Some(TcpState::Open { shut_down: true, peer_finished: false })), "{state:?}");
    world.expect("the rest comes", Duration::from_secs(60), |world| world.clients[0].node.flow(flow).is_complete());
    assert_eq!(world.clients[0].node.flow(flow).received, 2 << 20);
}

#[test]
fn the_server_ends_first_and_reads_on() {
    let mut world = WorldConfig::new(2).build();
    world.serve(80, &Plan::source(1000, 2).expecting(3));
    world.connect_all();
    let remote = world.remote(0, true, 80);
    let flow = world.connect(0, remote, Plan::hold().expecting(2)).unwrap();
    world.expect("its end comes", Duration::from_secs(10), |world| world.clients[0].node.flow(flow).finished.is_some());
    let state = world.clients[0].stack.tcp_state(flow);
    assert!(matches!(state, Some(TcpState::Open { shut_down: false, peer_finished: true })), "{state:?}");
    world.run_for(Duration::from_secs(100));
    world.with_client(0, |client, now| {
        let sender = client.node.flows.get_mut(&flow).unwrap();
        sender.set_pattern(3);
        sender.send_more(1 << 20, &mut client.stack, now);
        sender.set_finish(Finish::ShutDown, &mut client.stack, now);
    });
    world.expect("the server gets it all", Duration::from_secs(30), |world| {
        world.remotes[0].node.flows.values().all(|served| served.is_complete())
    });
    assert_eq!(world.remotes[0].node.flows.values().next().unwrap().received, 1 << 20);
}

//! A session that cannot be resumed ends its connections with a clear error, and the client begins anew.

use std::time::Duration;
use webtun_stack::{CloseReason, RecvError, SocketId};
use webtun_tests::flow::{Finish, Plan};
use webtun_tests::tunnel::Cut;
use webtun_tests::world::{World, WorldConfig};

fn start(seed: u64) -> (World, SocketId) {
    let mut world = WorldConfig::new(seed).build();
    world.serve(80, &Plan::source(100, 1).finishing(Finish::Hold));
    world.connect_all();
    let remote = world.remote(0, false, 80);
    let flow = world.connect(0, remote, Plan::hold().expecting(1)).unwrap();
    world.expect("data", Duration::from_secs(5), |world| world.clients[0].node.flow(flow).received == 100);
    (world, flow)
}

fn expect_lost_and_new(world: &mut World, flow: SocketId) {
    world.expect("the socket ends", Duration::from_secs(60), |world| world.clients[0].node.flow(flow).closed.is_some());
    let seen = world.clients[0].node.flow(flow);
    assert_eq!(seen.closed, Some(CloseReason::AddressLost));
    assert_eq!(seen.recv_error, Some(RecvError::Closed(CloseReason::AddressLost)));
    world.expect("a new session", Duration::from_secs(60), |world| world.clients[0].is_connected());
    let remote = world.remote(0, true, 80);
    let next = world.connect(0, remote, Plan::hold().expecting(1)).unwrap();
    world.expect("it works", Duration::from_secs(5), |world| world.clients[0].node.flow(next).received == 100);
}

#[test]
fn a_cut_longer_than_the_grace() {
    let (mut world, flow) = start(1);
    world.clients[0].online = false;
    world.cut(0, Cut::Both);
    world.run_for(Duration::from_secs(119));
    assert_eq!(world.clients[0].node.flow(flow).closed, None, "within the grace it lives");
    assert_eq!(world.gateway.stats().sessions, 1);
    world.run_for(Duration::from_secs(2));
    assert_eq!(world.gateway.stats().sessions, 0, "the gateway forgets it");
    assert_eq!(world.gateway.stats().mappings, 0);
    world.clients[0].online = true;
    expect_lost_and_new(&mut world, flow);
}

#[test]
fn a_cut_shorter_than_the_grace() {
    let (mut world, flow) = start(2);
    world.clients[0].online = false;
    world.cut(0, Cut::Both);
    world.run_for(Duration::from_secs(100));
    world.clients[0].online = true;
    world.expect("it comes back", Duration::from_secs(19), |world| world.clients[0].is_connected());
    world.with_client(0, |client, now| {
        client.node.flows.get_mut(&flow).unwrap().send_more(1000, &mut client.stack, now);
    });
    world.expect("and the connection works", Duration::from_secs(5), |world| {
        world.remotes[0].node.flows.values().any(|served| served.received == 1000)
    });
}

#[test]
fn the_gateway_begins_anew() {
    let (mut world, flow) = start(3);
    world.restart_gateway();
    expect_lost_and_new(&mut world, flow);
}

#[test]
fn the_operator_ends_the_session() {
    let (mut world, flow) = start(4);
    let id = world.session(0).expect("a session");
    let now = world.now();
    world.gateway.close_session(id, webtun_wire::CloseCode::Limit, now);
    world.settle();
    world.expect("the socket ends", Duration::from_secs(60), |world| world.clients[0].node.flow(flow).closed.is_some());
    let reason = world.clients[0].node.flow(flow).closed;
    assert!(matches!(reason, Some(CloseReason::AddressLost | CloseReason::TunnelClosed)), "{reason:?}");
}

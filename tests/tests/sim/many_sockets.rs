//! A thousand sockets at once, each echoing twice.

use std::time::Duration;
use webtun_stack::SocketId;
use webtun_tests::flow::{Finish, Plan};
use webtun_tests::world::{World, WorldConfig};

const COUNT: u64 = 1000;
const LEN: u64 = 600;

fn say(world: &mut World, flow: SocketId) {
    world.with_client(0, |client, now| {
        client.node.flows.get_mut(&flow).unwrap().send_more(LEN, &mut client.stack, now);
    });
}

#[test]
fn a_thousand_sockets_echo_twice() {
    let mut world = WorldConfig { remotes: 4, ..WorldConfig::new(1) }.build();
    world.serve(7, &Plan::echo());
    world.connect_all();
    let flows: Vec<_> = (0..COUNT)
        .map(|index| {
            let remote = world.remote(index as usize % 4, index % 2 == 1, 7);
            world.connect(0, remote, Plan::hold().expecting(index)).unwrap()
        })
        .collect();
    for (index, flow) in flows.iter().enumerate() {
        world.clients[0].node.flows.get_mut(flow).unwrap().set_pattern(index as u64);
    }
    world.expect("all are open", Duration::from_secs(60), |world| {
        world.clients[0].node.flows.values().all(|flow| flow.connected.is_some())
    });
    for round in 1..=2 {
        flows.iter().for_each(|flow| say(&mut world, *flow));
        world.expect("all have their echo", Duration::from_secs(60), |world| {
            world.clients[0].node.flows.values().all(|flow| flow.received == round * LEN)
        });
    }
    for flow in &flows {
        world.with_client(0, |client, now| {
            client.node.flows.get_mut(flow).unwrap().set_finish(Finish::ShutDown, &mut client.stack, now);
        });
    }
    world.expect("all close", Duration::from_secs(60), |world| {
        world.clients[0].node.flows.values().all(|flow| flow.is_complete())
            && world.remotes.iter().all(|remote| remote.node.open_flows() == 0)
    });
}

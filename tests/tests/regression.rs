//! One test for each bug that the simulation has found, under the seed that showed it.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::time::Duration;
use webtun_stack::UdpError;
use webtun_tests::flow::{Finish, Plan};
use webtun_tests::tunnel::{Cut, TunnelConfig};
use webtun_tests::world::WorldConfig;

/// After an outage both ends sent their acknowledgments with the number that their retransmission began at, and each
/// found the other's unacceptable: RFC 9293 section 3.10.7.4 wants SND.NXT there.
#[test]
fn both_ends_resend_after_an_outage_and_still_hear_each_other() {
    let tunnel = TunnelConfig { rate: Some(1_000_000), ..TunnelConfig::default() };
    let mut world = WorldConfig { tunnel, ..WorldConfig::new(7) }.build();
    world.serve(80, &Plan::source(1 << 20, 1).expecting(2));
    world.connect_all();
    let remote = world.remote(0, true, 80);
    let flow = world.connect(0, remote, Plan::source(1 << 20, 2).expecting(1)).unwrap();
    world.run_for(Duration::from_millis(300));
    world.clients[0].online = false;
    world.cut(0, Cut::Both);
    world.run_for(Duration::from_secs(20));
    world.clients[0].online = true;
    world.expect("both ends have everything", Duration::from_secs(300), |world| {
        world.clients[0].node.flow(flow).is_complete()
            && world.remotes[0].node.flows.values().all(|served| served.is_complete())
    });
}

/// FLOW_DENIED and the ICMP error about the same datagram were two errors for the program.
#[test]
fn a_denied_datagram_is_one_error() {
    let mut world = WorldConfig::new(1).build();
    world.connect_all();
    let any = "0.0.0.0:0".parse().unwrap();
    let denied = "10.0.0.1:9".parse().unwrap();
    let socket = world.with_client(0, |client, now| client.node.bind(&mut client.stack, any, false, now).unwrap());
    world.with_client(0, |client, now| client.send_datagram(socket, b"?", denied, now)).unwrap();
    world.run_for(Duration::from_secs(5));
    assert_eq!(world.clients[0].node.udp(socket).errors, [(UdpError::Denied, denied)]);
}

/// A stack's sockets outnumber the ports of its session's first block.
#[test]
fn more_sockets_to_one_place_than_a_block_has_ports() {
    let mut world = WorldConfig::new(1).build();
    world.serve(7, &Plan::echo());
    world.connect_all();
    let remote = world.remote(0, false, 7);
    for _ in 0..600 {
        world.connect(0, remote, Plan::hold()).unwrap();
    }
    world.expect("all are open", Duration::from_secs(60), |world| {
        world.clients[0].node.flows.values().all(|flow| flow.connected.is_some())
    });
}

/// A hop narrower than the gateway's path MTU stalled every upload: ICMP told the client, and nothing came of it.
#[test]
fn an_upload_over_a_narrow_hop_goes_on() {
    let mut world = WorldConfig::new(2).build();
    world.path.mtu = 1300;
    world.serve(9, &Plan::sink().expecting(1));
    world.connect_all();
    for ipv6 in [false, true] {
        let remote = world.remote(0, ipv6, 9);
        let flow = world.connect(0, remote, Plan::source(4 << 20, 1)).unwrap();
        world.expect("everything arrives", Duration::from_secs(30), |world| {
            world.clients[0].node.flow(flow).is_complete()
        });
    }
}

/// A lost FIN was forgotten where three duplicate ACKs came for it, and a closed connection was reset before its
/// retransmission timer had its turn: the reader had every octet, and a reset in place of the end.
#[test]
fn the_end_arrives_over_a_bad_path() {
    for seed in 0..40 {
        let mut world = WorldConfig::new(seed).with_loss(0.1).build();
        world.serve(80, &Plan::source(60_000, 9).finishing(Finish::Close));
        world.connect_all();
        let remote = world.remote(0, seed % 2 == 0, 80);
        let flow = world.connect(0, remote, Plan::sink().expecting(9)).unwrap();
        world.expect("the end", Duration::from_secs(3600), |world| world.clients[0].node.flow(flow).is_released());
        let seen = world.clients[0].node.flow(flow);
        assert!(seen.is_complete() || seen.connect_error.is_some(), "seed {seed}: {seen:?}");
    }
}

//! The path's MTU is the gateway's business: MSS, fragments both ways, and what routers say about packets too big.

use std::net::SocketAddr;
use std::time::Duration;
use webtun_tests::flow::Plan;
use webtun_tests::host::FragmentOrder;
use webtun_tests::packet::{Transport, View};
use webtun_tests::pattern;
use webtun_tests::world::{World, WorldConfig};

fn world(seed: u64) -> World {
    let mut world = WorldConfig::new(seed).build();
    world.serve(7, &Plan::echo());
    world.serve_udp_echo(7);
    world.connect_all();
    world.tap = Some(Vec::new());
    world
}

fn tcp_echo(world: &mut World, ipv6: bool) {
    let remote = world.remote(0, ipv6, 7);
    let flow = world.connect(0, remote, Plan::source(1 << 20, 1).expecting(1)).unwrap();
    world.expect("the echo comes", Duration::from_secs(120), |world| world.clients[0].node.flow(flow).is_complete());
}

#[test]
fn the_mss_is_clamped_both_ways() {
    let mut world = world(1);
    for ipv6 in [false, true] {
        tcp_echo(&mut world, ipv6);
    }
    let mut offers = 0;
    for (outbound, packet) in world.tap.take().unwrap() {
        let view = View::parse(&packet).unwrap();
        assert!(packet.len() <= 1500, "{} octets", packet.len());
        let Transport::Tcp { mss: Some(mss), .. } = view.transport else { continue };
        if outbound {
            offers += 1;
            assert_eq!(mss, if view.source.is_ipv6() { 1440 } else { 1460 });
        }
    }
    assert_eq!(offers, 2);
    assert_eq!(world.remotes[0].oversized_segments, 0, "what the remote host was told holds");
    assert_eq!(world.gateway.stats().total_drops(), 0);
}

#[test]
fn a_path_narrower_than_was_thought_is_learnt_from_icmp() {
    let mut world = world(2);
    world.path.mtu = 1400;
    for ipv6 in [false, true] {
        tcp_echo(&mut world, ipv6);
    }
}

#[test]
fn datagrams_are_cut_to_what_routers_have_told() {
    let mut world = world(6);
    world.path.mtu = 1300;
    let any = SocketAddr::from(([0_u16; 8], 0));
    let echo = world.remote(0, true, 7);
    let socket = world.with_client(0, |c, now| c.node.bind(&mut c.stack, any, false, now).unwrap());
    // The first one makes a router speak. Ten minutes later its word is no longer good.
    for (pause, longest) in [(1, 1500), (540, 1300), (120, 1300), (1, 1500)] {
        world.tap = Some(Vec::new());
        world.with_client(0, |c, now| c.send_datagram(socket, &pattern::octets(1, 4000), echo, now)).unwrap();
        world.run_for(Duration::from_secs(pause));
        let sent = world.tap.take().unwrap();
        let longest_sent = sent.iter().filter(|(outbound, _)| *outbound).map(|(_, packet)| packet.len()).max();
        assert!(longest_sent.is_some_and(|len| (longest - 8..=longest).contains(&len)), "{longest_sent:?}, {longest}");
    }
}

#[test]
fn fragments_arrive_in_any_order() {
    for order in [FragmentOrder::Forward, FragmentOrder::Reversed, FragmentOrder::Shuffled] {
        let mut config = WorldConfig::new(3);
        config.link.reorder = 0.5;
        config.link.duplicate = 0.2;
        let mut world = config.build();
        world.serve_udp_echo(7);
        world.connect_all();
        world.remotes[0].fragment_order = order;
        for ipv6 in [false, true] {
            let any = SocketAddr::from(([0_u16; 8], 0));
            let echo = world.remote(0, ipv6, 7);
            let socket = world.with_client(0, |c, now| c.node.bind(&mut c.stack, any, false, now).unwrap());
            for (index, len) in [3000, 20_000, 65_000].into_iter().enumerate() {
                let payload = pattern::octets(9, len);
                world.with_client(0, |c, now| c.send_datagram(socket, &payload, echo, now)).unwrap();
                world.run_for(Duration::from_secs(1));
                let received = &world.clients[0].node.udp(socket).received;
                assert!(received.len() > index, "{order:?}, {len} octets, IPv6 {ipv6}");
                assert_eq!(received[received.len() - 1].payload, payload);
            }
        }
    }
}

#[test]
fn a_datagram_with_a_lost_fragment_is_lost_whole() {
    let mut config = WorldConfig::new(4);
    config.link.loss = 0.3;
    let mut world = config.build();
    world.serve_udp_echo(7);
    world.connect_all();
    let any = SocketAddr::from(([0_u16; 8], 0));
    let echo = world.remote(0, false, 7);
    let socket = world.with_client(0, |c, now| c.node.bind(&mut c.stack, any, false, now).unwrap());
    for index in 0..200_u64 {
        let payload = pattern::octets(index, 4000);
        world.with_client(0, |c, now| c.send_datagram(socket, &payload, echo, now)).unwrap();
        world.run_for(Duration::from_millis(50));
    }
    world.run_for(Duration::from_secs(120));
    let received = &world.clients[0].node.udp(socket).received;
    assert!(!received.is_empty() && received.len() < 100, "{}", received.len());
    let is_whole = |payload: &[u8]| (0..200).any(|seed| payload == pattern::octets(seed, 4000));
    assert!(received.iter().all(|datagram| is_whole(&datagram.payload)));
    use webtun_gateway::dataplane::DropReason;
    assert!(world.drops(DropReason::FragmentTimeout) > 0, "what never became whole was given up and counted");
}

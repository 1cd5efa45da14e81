//! Whatever keeps a connection from coming about, or ends it, reaches the program as its own error.

use std::net::SocketAddr;
use std::time::Duration;
use webtun_stack::{CloseReason, ConnectError, Family, RecvError, ResolveError, UdpError};
use webtun_tests::flow::{Finish, Plan};
use webtun_tests::packet::IcmpError;
use webtun_tests::path::Fate;
use webtun_tests::world::{World, WorldConfig};

fn world() -> World {
    let mut world = WorldConfig::new(1).build();
    world.connect_all();
    for (net, error) in [
        ("45.33.1.0/24", IcmpError::HostUnreachable),
        ("45.33.2.0/24", IcmpError::NetUnreachable),
        ("45.33.3.0/24", IcmpError::Prohibited),
        ("2600:1f01::/32", IcmpError::HostUnreachable),
        ("2600:1f02::/32", IcmpError::NetUnreachable),
        ("2600:1f03::/32", IcmpError::Prohibited),
    ] {
        world.path.set_fate(net.parse().unwrap(), Fate::Error(error));
    }
    world.path.set_fate("45.33.4.0/24".parse().unwrap(), Fate::Silence);
    world.path.set_fate("2600:1f04::/32".parse().unwrap(), Fate::Silence);
    world
}

fn connect_error(world: &mut World, remote: &str) -> (ConnectError, Duration) {
    let (remote, start): (SocketAddr, _) = (remote.parse().unwrap(), world.now());
    let flow = world.connect(0, remote, Plan::hold()).unwrap();
    world.expect("connecting fails", Duration::from_secs(60), |world| {
        world.clients[0].node.flow(flow).connect_error.is_some()
    });
    (world.clients[0].node.flow(flow).connect_error.unwrap(), world.now() - start)
}

#[test]
fn each_failure_to_connect_has_its_own_error() {
    let mut world = world();
    let quick = Duration::from_secs(1);
    for (remote, expected) in [
        ("45.33.0.10:81", ConnectError::Refused),
        ("[2600:1f00::a]:81", ConnectError::Refused),
        ("45.33.1.1:80", ConnectError::HostUnreachable),
        ("[2600:1f01::1]:80", ConnectError::HostUnreachable),
        ("45.33.2.1:80", ConnectError::NetUnreachable),
        ("[2600:1f02::1]:80", ConnectError::NetUnreachable),
        ("10.0.0.1:80", ConnectError::Denied),
        ("[fd00::1]:80", ConnectError::Denied),
        ("169.254.169.254:80", ConnectError::Denied),
        ("45.33.0.10:25", ConnectError::Denied),
    ] {
        let (error, time) = connect_error(&mut world, remote);
        assert_eq!(error, expected, "{remote}");
        assert!(time < quick, "{remote} took {time:?}");
    }
}

#[test]
fn silence_ends_with_a_timeout() {
    let mut world = world();
    for remote in ["45.33.4.1:80", "[2600:1f04::1]:80"] {
        let (error, time) = connect_error(&mut world, remote);
        assert_eq!(error, ConnectError::TimedOut);
        assert!((29..32).contains(&time.as_secs()), "{time:?}");
    }
}

#[test]
fn unreachable_for_datagrams() {
    let mut world = world();
    for (remote, expected) in [
        ("45.33.0.10:9", UdpError::Refused),
        ("[2600:1f00::a]:9", UdpError::Refused),
        ("45.33.1.1:9", UdpError::HostUnreachable),
        ("[2600:1f01::1]:9", UdpError::HostUnreachable),
        ("45.33.2.1:9", UdpError::NetUnreachable),
        ("10.0.0.1:9", UdpError::Denied),
        ("[fd00::1]:9", UdpError::Denied),
    ] {
        let remote: SocketAddr = remote.parse().unwrap();
        let any = SocketAddr::from(([0_u16; 8], 0));
        let socket = world.with_client(0, |client, now| client.node.bind(&mut client.stack, any, false, now).unwrap());
        world.with_client(0, |client, now| client.send_datagram(socket, b"?", remote, now)).unwrap();
        world.expect(&format!("an error about {remote}"), Duration::from_secs(2), |world| {
            !world.clients[0].node.udp(socket).errors.is_empty()
        });
        world.run_for(Duration::from_secs(1));
        assert_eq!(world.clients[0].node.udp(socket).errors, [(expected, remote)], "once");
    }
}

#[test]
fn a_reset_is_told() {
    let mut world = world();
    world.serve(80, &Plan::source(100, 1).finishing(Finish::Abort));
    let remote = world.remote(0, false, 80);
    let flow = world.connect(0, remote, Plan::hold()).unwrap();
    world.expect("it ends", Duration::from_secs(5), |world| world.clients[0].node.flow(flow).closed.is_some());
    let seen = world.clients[0].node.flow(flow);
    assert_eq!(seen.closed, Some(CloseReason::Reset));
    assert_eq!(seen.recv_error, Some(RecvError::Closed(CloseReason::Reset)));
}

#[test]
fn a_name_that_is_none() {
    let mut world = world();
    let query = world.with_client(0, |client, now| client.stack.resolve("nowhere.example", Family::Any, now));
    world.expect("an answer", Duration::from_secs(5), |world| world.clients[0].resolved(query).is_some());
    assert_eq!(world.clients[0].resolved(query), Some(&Err(ResolveError::NotFound)));
}

//! Names are resolved through the gateway's inner host.

use std::net::IpAddr;
use std::time::Duration;
use webtun_stack::{Family, ResolveError};
use webtun_tests::dns::Zone;
use webtun_tests::world::{World, WorldConfig};

fn world() -> World {
    let mut zone = Zone::default();
    zone.add("www.example", &["45.33.0.10".parse().unwrap(), "2600:1f00::a".parse().unwrap()]);
    zone.add("four.example", &["45.33.0.10".parse().unwrap()]);
    zone.alias("alias.example", "www.example");
    let many: Vec<IpAddr> = (1..=200).map(|last| IpAddr::from([45, 33, 9, last])).collect();
    zone.add("many.example", &many);
    let mut world = WorldConfig { zone, ..WorldConfig::new(1) }.build();
    world.connect_all();
    world
}

fn resolve(world: &mut World, name: &str, family: Family) -> Result<Vec<IpAddr>, ResolveError> {
    let query = world.with_client(0, |client, now| client.stack.resolve(name, family, now));
    world.expect("an answer", Duration::from_secs(20), |world| world.clients[0].resolved(query).is_some());
    world.clients[0].resolved(query).unwrap().clone()
}

fn by_tcp_and_udp(world: &World) -> (u64, u64) {
    let dns = world.inner.dns.as_ref().unwrap();
    (dns.by_tcp, dns.by_udp)
}

#[test]
fn both_families_and_aliases() {
    let mut world = world();
    let (v4, v6): (IpAddr, IpAddr) = ("45.33.0.10".parse().unwrap(), "2600:1f00::a".parse().unwrap());
    for name in ["www.example", "alias.example", "WWW.Example."] {
        let mut both = resolve(&mut world, name, Family::Any).unwrap();
        both.sort();
        assert_eq!(both, [v4, v6], "{name}");
        assert_eq!(resolve(&mut world, name, Family::V4), Ok(vec![v4]), "{name}");
        assert_eq!(resolve(&mut world, name, Family::V6), Ok(vec![v6]), "{name}");
    }
    assert_eq!(by_tcp_and_udp(&world).0, 0);
}

#[test]
fn an_answer_is_kept_for_its_time() {
    let mut world = world();
    resolve(&mut world, "four.example", Family::V4).unwrap();
    let (_, asked) = by_tcp_and_udp(&world);
    resolve(&mut world, "four.example", Family::V4).unwrap();
    assert_eq!(by_tcp_and_udp(&world).1, asked, "the second time needs no question");
    world.run_for(Duration::from_secs(61));
    resolve(&mut world, "four.example", Family::V4).unwrap();
    assert_eq!(by_tcp_and_udp(&world).1, asked + 1);
}

#[test]
fn what_does_not_fit_comes_over_tcp() {
    let mut world = world();
    let many = resolve(&mut world, "many.example", Family::V4).unwrap();
    assert_eq!(many.len(), 200);
    assert_eq!(by_tcp_and_udp(&world), (1, 1));
}

#[test]
fn each_failure_has_its_own_error() {
    let mut world = world();
    assert_eq!(resolve(&mut world, "nowhere.example", Family::Any), Err(ResolveError::NotFound));
    assert_eq!(resolve(&mut world, "four.example", Family::V6), Err(ResolveError::NoData));
    let long = "x".repeat(64) + ".example";
    assert_eq!(resolve(&mut world, &long, Family::Any), Err(ResolveError::InvalidName));
    world.inner.dns = None;
    assert_eq!(resolve(&mut world, "www.example", Family::Any), Err(ResolveError::TimedOut));
}

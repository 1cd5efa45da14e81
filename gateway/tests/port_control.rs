//! PCP (RFC 6887) and NAT-PMP (RFC 6886), octet by octet.

mod support;

use proptest::prelude::*;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;
use support::packets::{ACK, SYN, destination, source, tcp};
use support::{Client, EXTERNAL_V4, World, cases, config};

fn world() -> (World, Client) {
    let mut world = World::new(config());
    let client = world.connect();
    (world, client)
}

fn ask(world: &mut World, from: IpAddr, request: &[u8]) -> Option<Vec<u8>> {
    let answer = world.gateway.answer_port_control(SocketAddr::new(from, 50000), request, world.now);
    world.settle();
    answer
}

fn mapped(address: IpAddr) -> [u8; 16] {
    match address {
        IpAddr::V4(v4) => v4.to_ipv6_mapped().octets(),
        IpAddr::V6(v6) => v6.octets(),
    }
}

/// A MAP request for a TCP port, without options.
fn map(client: IpAddr, nonce: u8, port: u16, suggested: u16, lifetime: u32) -> Vec<u8> {
    let mut out = vec![2, 1, 0, 0];
    out.extend(lifetime.to_be_bytes());
    out.extend(mapped(client));
    out.extend([nonce; 12]);
    out.extend([6, 0, 0, 0]);
    out.extend(port.to_be_bytes());
    out.extend(suggested.to_be_bytes());
    out.extend(mapped("0.0.0.0".parse().expect("an address")));
    out
}

fn result(answer: &[u8]) -> u8 {
    answer[3]
}

fn lifetime(answer: &[u8]) -> u32 {
    u32::from_be_bytes(answer[4..8].try_into().expect("four octets"))
}

fn external_port(answer: &[u8]) -> u16 {
    u16::from_be_bytes([answer[42], answer[43]])
}

#[test]
fn a_port_is_mapped_renewed_and_ended_by_its_nonce_alone() {
    let (mut world, client) = world();
    let granted = ask(&mut world, client.v4, &map(client.v4, 1, 80, 0, 600)).expect("an answer");
    assert_eq!((granted[0], granted[1], result(&granted), lifetime(&granted)), (2, 0x81, 0, 600));
    assert_eq!(granted[44..60], mapped(EXTERNAL_V4));
    let port = external_port(&granted);
    assert!(port != 0 && world.gateway.stats().mapped_ports == 1);

    let stranger = ask(&mut world, client.v4, &map(client.v4, 2, 80, 0, 0)).expect("an answer");
    assert_eq!(result(&stranger), 2, "NOT_AUTHORIZED");
    let renewed = ask(&mut world, client.v4, &map(client.v4, 1, 80, 0, 900)).expect("an answer");
    assert_eq!((result(&renewed), external_port(&renewed), lifetime(&renewed)), (0, port, 900));
    let ended = ask(&mut world, client.v4, &map(client.v4, 1, 80, 0, 0)).expect("an answer");
    assert_eq!((result(&ended), lifetime(&ended)), (0, 0));
    world.pass(Duration::from_secs(1));
    assert_eq!(world.gateway.stats().mapped_ports, 0);
}

#[test]
fn what_is_not_served_is_refused_by_its_number() {
    let (mut world, client) = world();
    let good = map(client.v4, 1, 80, 0, 600);
    let with = |at: usize, octet: u8| {
        let mut request = good.clone();
        request[at] = octet;
        request
    };
    let plus = |option: &[u8]| [&good[..], option].concat();
    for (what, request, expected) in [
        ("version 1", with(0, 1), 1),
        ("no multiple of four", good[..59].to_vec(), 3),
        ("MAP cut short", good[..40].to_vec(), 3),
        ("PEER", with(1, 2), 4),
        ("THIRD_PARTY", plus(&[&[1, 0, 0, 16][..], &[0; 16]].concat()), 5),
        ("FILTER", plus(&[&[3, 0, 0, 20][..], &[0; 20]].concat()), 5),
        ("PREFER_FAILURE with content", plus(&[2, 0, 0, 4, 0, 0, 0, 0]), 6),
        ("PREFER_FAILURE without a suggestion", plus(&[2, 0, 0, 0]), 6),
        ("PREFER_FAILURE twice", plus(&[2, 0, 0, 0, 2, 0, 0, 0]), 6),
        ("an option that is cut short", plus(&[200, 0, 0, 9]), 6),
        ("SCTP", with(36, 132), 9),
        ("all ports", with(41, 0), 9),
        ("another client's address", with(23, 77), 12),
    ] {
        let answer = ask(&mut world, client.v4, &request).expect(what);
        assert_eq!((result(&answer), answer[1] & 0x80), (expected, 0x80), "{what}");
        assert!(answer.len().is_multiple_of(4) && lifetime(&answer) > 0, "{what}");
    }
    assert_eq!(world.gateway.stats().mapped_ports, 0);
    let optional = ask(&mut world, client.v4, &plus(&[200, 0, 0, 1, 7, 0, 0, 0])).expect("an answer");
    assert_eq!(result(&optional), 0);
}

#[test]
fn where_no_port_is_to_be_had_both_protocols_say_so() {
    let (world, client) = world();
    let request = map(client.v4, 1, 80, 30_000, 600);
    let answer = world.gateway.refuse_port_control(&request, world.now).expect("an answer");
    assert_eq!(
        (result(&answer), lifetime(&answer), external_port(&answer)),
        (8, 30, 30_000),
        "NO_RESOURCES, for a while"
    );
    assert_eq!(answer[24..42], request[24..42], "nonce, protocol and port come back");
    let nat_pmp = [0, 2, 0, 0, 0, 80, 117, 48, 0, 0, 2, 88];
    let answer = world.gateway.refuse_port_control(&nat_pmp, world.now).expect("an answer");
    assert_eq!((&answer[..4], &answer[8..]), (&[0, 130, 0, 4][..], &[0, 80, 117, 48, 0, 0, 0, 0][..]));
    assert_eq!(world.gateway.refuse_port_control(&nat_pmp[..7], world.now), None);
}

#[test]
fn announce_tells_the_epoch_and_responses_are_not_answered() {
    let (mut world, client) = world();
    let mut announce = vec![2, 0, 0, 0, 0, 0, 0, 0];
    announce.extend(mapped(client.v6));
    world.pass(Duration::from_secs(41));
    let answer = ask(&mut world, client.v6, &announce).expect("an answer");
    assert_eq!(answer[..12], [2, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 42]);
    announce[1] = 0x80;
    assert_eq!(ask(&mut world, client.v6, &announce), None);
    assert_eq!(ask(&mut world, client.v6, &[2]), None);
}

#[test]
fn nat_pmp_maps_by_sixteen_octets() {
    let (mut world, client) = world();
    let address = ask(&mut world, client.v4, &[0, 0]).expect("an answer");
    assert_eq!(address, [0, 0x80, 0, 0, 0, 0, 0, 1, 198, 51, 100, 1]);
    let granted = ask(&mut world, client.v4, &[0, 1, 0, 0, 0x1F, 0x90, 0, 0, 0, 0, 2, 0x58]).expect("an answer");
    assert_eq!((granted.len(), &granted[..4], &granted[8..10]), (16, &[0, 0x81, 0, 0][..], &[0x1F, 0x90][..]));
    assert_eq!(granted[12..], [0, 0, 2, 0x58]);
    assert_eq!(world.gateway.stats().mapped_ports, 1);
    let all = ask(&mut world, client.v4, &[0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]).expect("an answer");
    assert_eq!(all[2..4], [0, 0]);
    world.pass(Duration::from_secs(1));
    assert_eq!(world.gateway.stats().mapped_ports, 0);
    let unknown = ask(&mut world, client.v4, &[0, 9]).expect("an answer");
    assert_eq!(unknown[..4], [0, 0x89, 0, 5]);
    let over_ipv6 = ask(&mut world, client.v6, &[0, 0]).expect("an answer");
    assert_eq!((over_ipv6[0], result(&over_ipv6)), (2, 1), "UNSUPP_VERSION of PCP");
}

#[test]
fn options_that_were_passed_over_do_not_come_back() {
    let (mut world, client) = world();
    let prefer_failure = [2, 0, 0, 0];
    let options = [&[200, 0, 0, 1, 7, 0, 0, 0][..], &prefer_failure, &[255, 0, 0, 0]].concat();
    let request = [map(client.v4, 1, 80, 30_000, 600), options].concat();
    let answer = ask(&mut world, client.v4, &request).expect("an answer");
    assert_eq!((result(&answer), &answer[60..]), (0, &prefer_failure[..]));
    let refused = ask(&mut world, client.v4, &[&request[..], &[1, 0, 0, 0]].concat()).expect("an answer");
    assert_eq!((result(&refused), refused.len()), (5, request.len() + 4), "an error brings back what was asked");
}

#[test]
fn an_ipv6_client_is_reached_at_ipv4() {
    let (mut world, client) = world();
    let mut request = map(client.v6, 1, 80, 0, 600);
    request[44..60].copy_from_slice(&mapped("0.0.0.0".parse().expect("an address")));
    let granted = ask(&mut world, client.v6, &request).expect("an answer");
    assert_eq!((result(&granted), &granted[44..60]), (0, &mapped(EXTERNAL_V4)[..]));
    let port = external_port(&granted);
    let stranger: IpAddr = "9.9.9.9".parse().expect("an address");
    world.receive(&tcp((stranger, 999), (EXTERNAL_V4, port), SYN, b""));
    let [packet] = &world.packets(&client)[..] else { panic!("it does not arrive") };
    let embedded: IpAddr = "64:ff9b::9.9.9.9".parse().expect("an address");
    assert_eq!((source(packet), destination(packet)), ((embedded, 999), (client.v6, 80)));
    world.send(&client, &[tcp((client.v6, 80), (embedded, 999), SYN | ACK, b"")]);
    assert_eq!(source(&world.take_outside()[0]), (EXTERNAL_V4, port));

    request[44..60].copy_from_slice(&mapped("2001:db8::".parse().expect("an address")));
    request[4..8].fill(0);
    assert_eq!(result(&ask(&mut world, client.v6, &request).expect("an answer")), 0);
    assert_eq!(world.gateway.stats().mapped_ports, 0, "to end it, no external address is looked at");
}

#[test]
fn a_mapping_ends_with_its_lifetime() {
    let (mut world, client) = world();
    for (asked, got) in [(1, 120), (u32::MAX, 86_400)] {
        let granted = ask(&mut world, client.v4, &map(client.v4, 1, 81, 0, asked)).expect("an answer");
        assert_eq!(lifetime(&granted), got);
    }
    ask(&mut world, client.v4, &map(client.v4, 1, 81, 0, 0)).expect("an answer");
    let granted = ask(&mut world, client.v4, &map(client.v4, 1, 80, 0, 120)).expect("an answer");
    world.pass(Duration::from_secs(u64::from(lifetime(&granted)) + 1));
    assert_eq!(world.gateway.stats().mapped_ports, 0);
}

proptest! {
    #![proptest_config(cases(500))]

    #[test]
    fn any_octets_are_answered_by_a_message_or_not_at_all(
        head in prop::sample::select(vec![vec![0, 0], vec![0, 1], vec![2, 0], vec![2, 1], vec![7, 7]]),
        rest in prop::collection::vec(any::<u8>(), 0..1300),
        cut in 0usize..1300,
    ) {
        let (mut world, client) = world();
        let mut request = [head, rest].concat();
        if request.len() >= 24 && cut % 2 == 0 {
            request[8..24].copy_from_slice(&mapped(client.v4));
        }
        request.truncate(cut);
        if let Some(answer) = ask(&mut world, client.v4, &request) {
            prop_assert!(answer[1] & 0x80 != 0 && answer.len() <= 1100 && answer.len().is_multiple_of(4));
        }
    }
}

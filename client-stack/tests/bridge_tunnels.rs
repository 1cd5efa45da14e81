//! How long the sessions of a segment's guests live, and whose they are. What goes through them is tried in the tests of the
//! whole system.
#![cfg(feature = "bridge")]

mod bridge_support;

use std::net::Ipv4Addr;
use std::time::Duration;

use bridge_support::arp;
use webtun_stack::Instant;
use webtun_stack::bridge::{Bridge, BridgeConfig, BridgeEvent, FrameDrop, LinkId, MacAddress, PortId};

fn bridge() -> Bridge {
    let mut config = BridgeConfig::new([7; 32]);
    config.segment.max_guests = 4;
    Bridge::new(config).expect("a configuration")
}

fn at(seconds: u64) -> Instant {
    Instant::from_millis(seconds * 1000)
}

fn card(number: u8) -> MacAddress {
    MacAddress([2, 0, 0, 0, 0, number])
}

/// A network card makes itself known.
fn speak(bridge: &mut Bridge, port: PortId, number: u8, now: Instant) {
    let probe = arp(card(number), 1, (card(number), Ipv4Addr::UNSPECIFIED), Ipv4Addr::new(192, 168, 127, 9));
    bridge.handle_frame(port, &probe, now);
}

fn opened(bridge: &mut Bridge) -> Vec<LinkId> {
    let events = std::iter::from_fn(|| bridge.poll_event());
    events.filter_map(|it| if let BridgeEvent::OpenTransport(id) = it { Some(id) } else { None }).collect()
}

fn removed(bridge: &mut Bridge) -> Vec<LinkId> {
    let events = std::iter::from_fn(|| bridge.poll_event());
    events.filter_map(|it| if let BridgeEvent::Removed(id) = it { Some(id) } else { None }).collect()
}

#[test]
fn a_card_that_comes_back_to_its_owner_finds_its_session() {
    let mut bridge = bridge();
    let port = bridge.add_port(1, at(0)).expect("a port");
    speak(&mut bridge, port, 1, at(0));
    let [first] = opened(&mut bridge)[..] else { panic!("one session") };
    bridge.remove_port(port, at(1));
    assert_eq!(bridge.port_of(first), None);
    let port = bridge.add_port(1, at(2)).expect("a port");
    speak(&mut bridge, port, 1, at(2));
    assert_eq!((opened(&mut bridge), bridge.port_of(first)), (vec![], Some(port)));
    // It is here again, so that no time runs against it.
    bridge.handle_timeout(at(200));
    assert_eq!(removed(&mut bridge), []);
}

#[test]
fn nobody_gets_the_session_of_anothers_card() {
    let mut bridge = bridge();
    let port = bridge.add_port(1, at(0)).expect("a port");
    speak(&mut bridge, port, 1, at(0));
    let [first] = opened(&mut bridge)[..] else { panic!("one session") };
    bridge.remove_port(port, at(1));
    let port = bridge.add_port(2, at(1)).expect("a port");
    speak(&mut bridge, port, 1, at(120));
    assert_eq!(opened(&mut bridge), [], "nor the card, while its session waits for it");
    assert_eq!(bridge.segment().stats().drops(FrameDrop::ForeignMac), 1);
    bridge.handle_timeout(at(121));
    assert_eq!(removed(&mut bridge), [first]);
    speak(&mut bridge, port, 1, at(121));
    let [second] = opened(&mut bridge)[..] else { panic!("one more session") };
    assert_ne!(first, second);
    assert_eq!((bridge.owner_of(first), bridge.owner_of(second)), (None, Some(2)));
}

#[test]
fn a_session_waits_for_its_card_and_no_longer() {
    let mut bridge = bridge();
    let port = bridge.add_port(0, at(0)).expect("a port");
    speak(&mut bridge, port, 1, at(0));
    let links = opened(&mut bridge);
    bridge.remove_port(port, at(10));
    bridge.handle_timeout(at(129));
    assert_eq!(removed(&mut bridge), []);
    assert!(bridge.poll_timeout().is_some_and(|due| due <= at(130)));
    bridge.handle_timeout(at(130));
    assert_eq!(removed(&mut bridge), links);
    assert_eq!((bridge.links().count(), bridge.poll_timeout()), (0, None));
}

#[test]
fn as_many_sessions_wait_as_there_may_be_cards() {
    let mut bridge = bridge();
    let mut links = Vec::new();
    for number in 0..6 {
        let now = at(number.into()) + Duration::from_millis(1);
        let port = bridge.add_port(0, now).expect("a port");
        speak(&mut bridge, port, number, now);
        links.extend(opened(&mut bridge));
        bridge.remove_port(port, now);
    }
    assert_eq!(bridge.links().collect::<Vec<_>>(), links[2..]);
}

/// The network cards that are asked behind a port whether they are there.
fn asked(bridge: &mut Bridge, port: PortId) -> Vec<MacAddress> {
    let frames = std::iter::from_fn(|| bridge.poll_frame(port)).filter(|it| it[12..14] == [8, 6]);
    frames.filter_map(|it| it.first_chunk().copied()).map(MacAddress).collect()
}

#[test]
fn a_card_that_says_nothing_is_found_where_it_comes_back() {
    let mut bridge = bridge();
    let old = bridge.add_port(1, at(0)).expect("a port");
    let address = Ipv4Addr::new(192, 168, 127, 9);
    bridge.handle_frame(old, &arp(card(1), 1, (card(1), address), Ipv4Addr::new(192, 168, 127, 8)), at(0));
    let [link] = opened(&mut bridge)[..] else { panic!("one session") };
    // The new WebSocket is there before the old one has gone, or thereafter.
    let early = bridge.add_port(1, at(1)).expect("a port");
    assert_eq!(asked(&mut bridge, early), [], "it is at its own");
    bridge.remove_port(old, at(1));
    assert_eq!(asked(&mut bridge, early), [card(1)]);
    let late = bridge.add_port(1, at(2)).expect("a port");
    let others = bridge.add_port(2, at(2)).expect("a port");
    assert_eq!((asked(&mut bridge, late), asked(&mut bridge, others)), (vec![card(1)], vec![]));
    let router = bridge.segment().config().router_v4;
    bridge.handle_frame(late, &arp(card(1), 2, (card(1), address), router), at(3));
    assert_eq!((bridge.port_of(link), opened(&mut bridge)), (Some(late), vec![]));
}

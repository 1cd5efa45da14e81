//! A page's own stack as a host on the segment: it reaches guests, and they reach it, without a gateway.
#![cfg(feature = "bridge")]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod bridge_support;

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use bridge_support::{A, arp, udp};
use webtun_stack::bridge::{Bridge, BridgeConfig, MacAddress, PortId, SegmentHost};
use webtun_stack::{
    Event, Instant, ListenOptions, PortMapError, PortMapOptions, Protocol, Received, SocketId, Stack, StackConfig,
    Status, TcpOptions, UdpOptions,
};
use webtun_wire::{Capsule, CloseCode, Hello, VERSION, capsules};

/// A segment with pages on it, in virtual time.
struct Pages {
    bridge: Bridge,
    now: Instant,
    pages: Vec<(SegmentHost, Stack)>,
    events: Vec<Vec<Event>>,
}

impl Pages {
    fn new(count: u8) -> Self {
        let now = Instant::from_millis(1000);
        let mut bridge = Bridge::new(BridgeConfig::new([7; 32])).unwrap();
        let add = |number| (bridge.add_page(0, now).unwrap(), Stack::new(StackConfig::new([number; 32]), now));
        let pages: Vec<_> = (0..count).map(add).collect();
        let events = vec![Vec::new(); pages.len()];
        let mut world = Self { bridge, now, pages, events };
        world.run(Duration::ZERO);
        world
    }

    /// Everything that can be handed on without time going by.
    fn settle(&mut self) {
        let mut busy = true;
        while std::mem::take(&mut busy) {
            for (index, (host, stack)) in self.pages.iter_mut().enumerate() {
                while let Some(event) = stack.poll_event() {
                    if event == Event::OpenTransport {
                        stack.handle_connected(self.now);
                    }
                    self.events[index].push(event);
                }
                while let Some(message) = stack.poll_transmit(self.now) {
                    self.bridge.handle_page_message(host.port, &message, self.now);
                    busy = true;
                }
                while let Some(message) = self.bridge.poll_page_message(host.port) {
                    stack.handle_message(&message, self.now);
                    busy = true;
                }
            }
        }
    }

    fn run(&mut self, time: Duration) {
        let end = self.now + time;
        loop {
            self.settle();
            let next = self.pages.iter().filter_map(|(_, stack)| stack.poll_timeout()).min();
            let Some(next) = next.filter(|it| *it <= end) else { break };
            self.now = self.now.max(next);
            self.pages.iter_mut().for_each(|(_, stack)| stack.handle_timeout(self.now));
        }
        self.now = end;
    }

    fn address(&self, page: usize) -> IpAddr {
        self.pages[page].0.v4.into()
    }

    fn read(&mut self, page: usize, id: SocketId, out: &mut Vec<u8>) {
        let mut buffer = vec![0; 65_536];
        while let Ok(Received::Data(len)) = self.pages[page].1.tcp_recv(id, &mut buffer, self.now) {
            out.extend_from_slice(&buffer[..len]);
        }
    }
}

#[test]
fn a_stack_has_an_address_of_the_segment_though_no_gateway_answers() {
    let world = Pages::new(1);
    let (host, stack) = &world.pages[0];
    assert_eq!(*stack.status(), Status::Connected { resumed: false });
    let lease = stack.lease().unwrap();
    assert_eq!(lease.addresses, [(IpAddr::V4(host.v4), 24), (IpAddr::V6(host.v6), 64)]);
    assert_eq!(lease.dns, [IpAddr::from([192, 168, 127, 1])]);
    assert_eq!(lease.mtu, 1500);
}

#[test]
fn pages_reach_each_other_by_tcp() {
    let mut world = Pages::new(2);
    let to = SocketAddr::new(world.address(1), 80);
    let now = world.now;
    let listener = world.pages[1].1.tcp_listen(([0u16; 8], 80).into(), ListenOptions::default(), now).unwrap();
    let client = world.pages[0].1.tcp_connect(to, TcpOptions::default(), now).unwrap();
    world.run(Duration::from_millis(10));
    let server = world.pages[1].1.tcp_accept(listener).unwrap();
    let data: Vec<u8> = (0..3_000_000u32).map(|at| (at.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    let (mut sent, mut got) = (0, Vec::new());
    for _ in 0..100_000 {
        sent += world.pages[0].1.tcp_send(client, &data[sent..], world.now).unwrap();
        world.run(Duration::from_millis(1));
        world.read(1, server, &mut got);
        if got.len() == data.len() {
            break;
        }
    }
    assert!(got == data, "{} of {} octets, {:?}", got.len(), data.len(), world.bridge.segment().stats());
    assert_eq!(world.bridge.segment().stats().total_drops(), 0);
}

#[test]
fn a_guest_reaches_a_page() {
    let mut world = Pages::new(1);
    let guest = Ipv4Addr::new(192, 168, 127, 77);
    let host = world.pages[0].0;
    let now = world.now;
    let socket = world.pages[0].1.udp_bind(([0u16; 8], 9).into(), UdpOptions::default(), now).unwrap();
    let port = world.bridge.add_port(0, now).unwrap();
    world.bridge.handle_frame(port, &arp(A, 1, (A, guest), host.v4), now);
    let answer = world.bridge.poll_frame(port).expect("an answer by ARP");
    let mac = MacAddress(answer[6..12].try_into().unwrap());
    world.bridge.handle_frame(port, &udp(mac, A, (guest, host.v4), (1234, 9), b"hello"), now);
    world.run(Duration::ZERO);
    let datagram = world.pages[0].1.udp_recv(socket).expect("a datagram");
    assert_eq!((&datagram.payload[..], datagram.from), (&b"hello"[..], (guest, 1234).into()));
}

#[test]
fn a_page_that_goes_gives_its_address_back() {
    let mut world = Pages::new(1);
    let (port, address) = (world.pages[0].0.port, world.pages[0].0.v4);
    world.bridge.remove_port(port, world.now);
    assert_eq!(world.bridge.poll_page_message(port), None);
    assert_eq!(world.bridge.add_page(0, world.now).unwrap().v4, address);
}

#[test]
fn a_page_hears_of_the_segments_end() {
    let mut world = Pages::new(1);
    world.bridge.close(world.now);
    world.run(Duration::ZERO);
    let (_, stack) = &world.pages[0];
    assert!(matches!(stack.status(), Status::Closed { code: CloseCode::Normal, .. }), "{:?}", stack.status());
}

#[test]
fn external_ports_are_not_asked_for_this_way() {
    let mut world = Pages::new(1);
    let options = PortMapOptions {
        protocol: Protocol::Tcp,
        ipv6: false,
        internal_port: 80,
        external_port: 0,
        lifetime: Duration::from_secs(60),
    };
    world.pages[0].1.map_port(options, world.now);
    world.run(Duration::from_millis(10));
    let told =
        world.events[0].iter().any(|it| matches!(it, Event::PortMapped { result: Err(PortMapError::Refused(_)), .. }));
    assert!(told, "{:?}", world.events[0]);
}

/// A stack that is none.
struct Raw {
    bridge: Bridge,
    port: PortId,
}

impl Raw {
    fn new() -> Self {
        let mut bridge = Bridge::new(BridgeConfig::new([7; 32])).unwrap();
        let port = bridge.add_page(0, Instant::ZERO).unwrap().port;
        Self { bridge, port }
    }

    fn open() -> Self {
        let mut raw = Self::new();
        raw.say(&[Capsule::Hello(Hello { min_version: VERSION, max_version: VERSION, token: b"", resume: None })]);
        assert_eq!(raw.hears().len(), 1);
        raw
    }

    fn say(&mut self, list: &[Capsule<'_>]) {
        let mut message = Vec::new();
        list.iter().for_each(|capsule| capsule.encode(&mut message));
        self.bridge.handle_page_message(self.port, &message, Instant::ZERO);
    }

    fn hears(&mut self) -> Vec<bytes::Bytes> {
        std::iter::from_fn(|| self.bridge.poll_page_message(self.port)).collect()
    }

    fn is_closed_with(&mut self, expected: CloseCode) {
        let heard = self.hears();
        let [message] = &heard[..] else { panic!("one message: {heard:?}") };
        let list: Vec<_> = capsules(message).collect();
        assert!(matches!(&list[..], [Ok(Capsule::Close(close))] if close.code == expected), "{list:?}");
        self.say(&[Capsule::Ping { opaque: 1 }]);
        assert!(self.hears().is_empty(), "it goes on after its end");
    }
}

#[test]
fn what_breaks_the_protocol_is_the_end() {
    let mut raw = Raw::new();
    raw.say(&[Capsule::Ping { opaque: 1 }]);
    raw.is_closed_with(CloseCode::Protocol);

    let mut raw = Raw::new();
    raw.say(&[Capsule::Hello(Hello { min_version: 9, max_version: 9, token: b"", resume: None })]);
    raw.is_closed_with(CloseCode::Version);

    for capsule in [Capsule::Sequence { number: 1 }, Capsule::Ack { next: 1 }, Capsule::Drain { retry_after_ms: 1 }] {
        let mut raw = Raw::open();
        raw.say(&[capsule]);
        raw.is_closed_with(CloseCode::Protocol);
    }

    let mut raw = Raw::open();
    raw.bridge.handle_page_message(raw.port, &[0xff; 3], Instant::ZERO);
    raw.is_closed_with(CloseCode::Protocol);
}

#[test]
fn answers_that_nobody_takes_do_not_pile_up() {
    let mut raw = Raw::open();
    for opaque in 0..10_000 {
        raw.say(&[Capsule::Ping { opaque }, Capsule::ContextAssign { context: 2, kind: 1 }]);
    }
    let heard = raw.hears();
    assert_eq!(heard.len(), 64 + 1);
    let list: Vec<_> = capsules(&heard[64]).map(Result::unwrap).collect();
    let opaque = |capsule: &Capsule<'_>| if let Capsule::Pong { opaque, .. } = capsule { Some(*opaque) } else { None };
    assert_eq!(list.iter().filter_map(opaque).collect::<Vec<_>>(), (10_000 - 16..10_000).collect::<Vec<_>>());
}

#[test]
fn packets_of_others_are_dropped() {
    let mut raw = Raw::open();
    let packet = &udp(A, A, (Ipv4Addr::new(192, 168, 127, 99), Ipv4Addr::new(192, 168, 127, 98)), (1, 2), b"x")[14..];
    raw.say(&[Capsule::Datagram { context: 0, payload: packet }, Capsule::Datagram { context: 0, payload: b"\x45" }]);
    assert_eq!(raw.bridge.segment().stats().total_drops(), 2);
}

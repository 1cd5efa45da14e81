//! Names become addresses: by UDP, by TCP where that is cut short, from the cache, and else with the right error.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use common::B4;
use common::tunnel::TunnelWorld;
use hickory_proto::op::{Message, MessageType, OpCode, Query, ResponseCode};
use hickory_proto::rr::rdata::{A, AAAA, CNAME, SOA};
use hickory_proto::rr::{Name, RData, Record, RecordType};
use webtun_stack::{Event, Family, QueryId, Received, ResolveError, SocketId};

const SECOND: Duration = Duration::from_secs(1);
const FOUR: IpAddr = IpAddr::V4(Ipv4Addr::new(203, 0, 113, 5));
const SIX: IpAddr = IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 5));

/// A name server on the host behind the gateway, after a script.
struct Server {
    world: TunnelWorld,
    udp: SocketId,
    tcp: SocketId,
    streams: BTreeMap<SocketId, Vec<u8>>,
    /// Name, whether by TCP, and the port that asked.
    asked: Vec<(String, RecordType, bool, u16)>,
    answers: fn(&str, RecordType, bool, &mut Message),
    silent: bool,
}

impl Server {
    fn new(answers: fn(&str, RecordType, bool, &mut Message)) -> Self {
        Self::on(TunnelWorld::established(), answers)
    }

    fn on(mut world: TunnelWorld, answers: fn(&str, RecordType, bool, &mut Message)) -> Self {
        let (any, now) = (SocketAddr::from(([0u16; 8], 53)), world.now);
        let udp = world.gateway.host.udp_bind(any, Default::default(), now).unwrap();
        let tcp = world.gateway.host.tcp_listen(any, Default::default(), now).unwrap();
        Self { world, udp, tcp, streams: BTreeMap::new(), asked: Vec::new(), answers, silent: false }
    }

    fn answer(&mut self, query: &[u8], by_tcp: bool, port: u16) -> Vec<u8> {
        let query = Message::from_vec(query).unwrap();
        let question: &Query = &query.queries[0];
        let name = question.name().to_ascii();
        self.asked.push((name.clone(), question.query_type(), by_tcp, port));
        let mut answer = Message::new(query.metadata.id, MessageType::Response, OpCode::Query);
        answer.add_query(question.clone());
        (self.answers)(&name, question.query_type(), by_tcp, &mut answer);
        answer.to_vec().unwrap()
    }

    fn serve(&mut self) {
        let now = self.world.now;
        while let Some(datagram) = self.world.gateway.host.udp_recv(self.udp) {
            let answer = self.answer(&datagram.payload, false, datagram.from.port());
            if !self.silent {
                self.world.gateway.host.udp_send(self.udp, &answer, Some(datagram.from), now).unwrap();
            }
        }
        while let Some(stream) = self.world.gateway.host.tcp_accept(self.tcp) {
            self.streams.insert(stream, Vec::new());
        }
        for stream in self.streams.keys().copied().collect::<Vec<_>>() {
            let mut buffer = [0; 1000];
            let received = self.world.gateway.host.tcp_recv(stream, &mut buffer, now);
            let Ok(Received::Data(len)) = received else { continue };
            let mut octets = self.streams.remove(&stream).unwrap();
            octets.extend_from_slice(&buffer[..len]);
            if octets.len() > 2 && octets.len() == 2 + usize::from(u16::from_be_bytes([octets[0], octets[1]])) {
                let answer = self.answer(&octets[2..], true, 0);
                let framed = [&(answer.len() as u16).to_be_bytes()[..], &answer].concat();
                self.world.gateway.host.tcp_send(stream, &framed, now).unwrap();
                self.world.gateway.host.close(stream, now);
            } else {
                self.streams.insert(stream, octets);
            }
        }
    }

    fn result(&mut self, id: QueryId) -> Result<Vec<IpAddr>, ResolveError> {
        for _ in 0..100_000 {
            self.serve();
            let found = self.world.events.iter().find_map(|event| match event {
                Event::Resolved { id: other, result } if *other == id => Some(result.clone()),
                _ => None,
            });
            if let Some(result) = found {
                return result;
            }
            let until = self.world.now + SECOND * 60;
            assert!(self.world.step(until), "no answer");
        }
        panic!("no answer");
    }

    fn resolve(&mut self, name: &str, family: Family) -> Result<Vec<IpAddr>, ResolveError> {
        let id = self.world.stack.resolve(name, family, self.world.now);
        self.world.drain();
        self.result(id)
    }
}

fn name(text: &str) -> Name {
    Name::from_ascii(text).unwrap()
}

fn address(owner: &str, address: IpAddr, ttl: u32) -> Record {
    let data = match address {
        IpAddr::V4(address) => RData::A(A(address)),
        IpAddr::V6(address) => RData::AAAA(AAAA(address)),
    };
    Record::from_rdata(name(owner), ttl, data)
}

fn alias(owner: &str, target: &str) -> Record {
    Record::from_rdata(name(owner), 300, RData::CNAME(CNAME(name(target))))
}

fn negative(answer: &mut Message, code: ResponseCode, ttl: u32) {
    answer.metadata.response_code = code;
    let soa = SOA::new(name("test."), name("root.test."), 1, 2, 3, 4, ttl);
    answer.add_authority(Record::from_rdata(name("test."), 3600, RData::SOA(soa)));
}

fn both(asked: &str, kind: RecordType, _by_tcp: bool, answer: &mut Message) {
    answer.add_answer(address(asked, if kind == RecordType::A { FOUR } else { SIX }, 60));
}

#[test]
fn both_families_are_asked_for_and_ipv6_comes_first() {
    let mut server = Server::new(both);
    assert_eq!(server.resolve("www.Example.test", Family::Any), Ok(vec![SIX, FOUR]));
    assert_eq!(server.asked.len(), 2);
    assert_eq!(server.asked[0].0, "www.example.test.");
    assert_eq!(server.resolve("other.example.test.", Family::V4), Ok(vec![FOUR]));
    assert_eq!(server.resolve("other.example.test", Family::V6), Ok(vec![SIX]));
}

#[test]
fn known_names_are_not_asked_for_until_their_ttl_is_over() {
    let mut server = Server::new(both);
    for _ in 0..3 {
        assert_eq!(server.resolve("a.test", Family::V4), Ok(vec![FOUR]));
    }
    assert_eq!(server.asked.len(), 1);
    server.world.run(SECOND * 61);
    assert_eq!(server.resolve("a.test", Family::V4), Ok(vec![FOUR]));
    assert_eq!(server.asked.len(), 2);
}

#[test]
fn questions_at_the_same_time_are_asked_once() {
    let mut server = Server::new(both);
    let ids: Vec<_> = (0..5).map(|_| server.world.stack.resolve("a.test", Family::V4, server.world.now)).collect();
    for id in ids {
        assert_eq!(server.result(id), Ok(vec![FOUR]));
    }
    assert_eq!(server.asked.len(), 1);
}

#[test]
fn no_such_name_and_no_such_address_are_told_apart_and_kept() {
    let mut server = Server::new(|asked, _, _, answer| {
        let code = if asked.starts_with("missing") { ResponseCode::NXDomain } else { ResponseCode::NoError };
        negative(answer, code, 30);
    });
    for _ in 0..2 {
        assert_eq!(server.resolve("missing.test", Family::Any), Err(ResolveError::NotFound));
        assert_eq!(server.resolve("empty.test", Family::Any), Err(ResolveError::NoData));
    }
    assert_eq!(server.asked.len(), 4);
    server.world.run(SECOND * 31);
    assert_eq!(server.resolve("missing.test", Family::V4), Err(ResolveError::NotFound));
    assert_eq!(server.asked.len(), 5);
}

#[test]
fn aliases_are_followed_within_an_answer_and_by_further_questions() {
    let mut server = Server::new(|asked, _, _, answer| match asked {
        "whole.test." => {
            answer.add_answer(alias("whole.test.", "x.test.")).add_answer(alias("x.test.", "y.test."));
            answer.add_answer(address("y.test.", FOUR, 60));
        }
        "broken.test." => {
            answer.add_answer(alias("broken.test.", "far.test."));
        }
        "loop.test." => {
            answer.add_answer(alias("loop.test.", "loop2.test.")).add_answer(alias("loop2.test.", "loop.test."));
        }
        "endless.test." => {
            answer.add_answer(alias("endless.test.", "endless2.test."));
        }
        "endless2.test." => {
            answer.add_answer(alias("endless2.test.", "endless.test."));
        }
        _ => {
            answer.add_answer(address(asked, FOUR, 60));
        }
    });
    assert_eq!(server.resolve("whole.test", Family::V4), Ok(vec![FOUR]));
    assert_eq!(server.asked.len(), 1);
    assert_eq!(server.resolve("broken.test", Family::V4), Ok(vec![FOUR]));
    assert_eq!(server.asked.len(), 3);
    assert_eq!(server.resolve("loop.test", Family::V4), Err(ResolveError::ServerFailure));
    assert_eq!(server.resolve("endless.test", Family::V4), Err(ResolveError::ServerFailure));
}

#[test]
fn what_udp_cuts_short_is_asked_by_tcp() {
    let mut server = Server::new(|asked, _, by_tcp, answer| {
        answer.metadata.truncation = !by_tcp;
        for last in 0..if by_tcp { 200 } else { 1 } {
            answer.add_answer(address(asked, IpAddr::from([203, 0, 113, last]), 60));
        }
    });
    let addresses = server.resolve("big.test", Family::V4).unwrap();
    assert_eq!(addresses.len(), 200);
    assert!(server.asked.iter().any(|(.., by_tcp, _)| *by_tcp));
}

#[test]
fn a_server_that_is_silent_is_passed_over() {
    let mut world = TunnelWorld::new();
    world.gateway.dns = vec![IpAddr::from([192, 0, 2, 99]), B4];
    world.run(SECOND);
    let mut server = Server::on(world, both);
    let started = server.world.now;
    assert_eq!(server.resolve("a.test", Family::V4), Ok(vec![FOUR]));
    assert!(server.world.now - started < SECOND * 3);
}

#[test]
fn silence_and_failure_of_all_servers_are_told_apart() {
    let mut server = Server::new(|_, _, _, answer| answer.metadata.response_code = ResponseCode::ServFail);
    assert_eq!(server.resolve("a.test", Family::V4), Err(ResolveError::ServerFailure));
    server.silent = true;
    assert_eq!(server.resolve("b.test", Family::V4), Err(ResolveError::TimedOut));
    server.world.gateway.host.close(server.udp, server.world.now);
    assert_eq!(server.resolve("c.test", Family::V4), Err(ResolveError::ServerFailure), "port unreachable");
}

#[test]
fn a_server_without_edns_is_asked_without() {
    let mut server = Server::new(|asked, kind, by_tcp, answer| {
        // The script does not see the OPT record; it fails the first question.
        static FIRST: std::sync::atomic::AtomicBool = std::sync::atomic::AtomicBool::new(true);
        if FIRST.swap(false, std::sync::atomic::Ordering::Relaxed) {
            answer.metadata.response_code = ResponseCode::FormErr;
        } else {
            both(asked, kind, by_tcp, answer);
        }
    });
    assert_eq!(server.resolve("a.test", Family::V4), Ok(vec![FOUR]));
}

#[test]
fn ports_and_message_ids_are_random() {
    let mut server = Server::new(both);
    for index in 0..20 {
        server.resolve(&format!("{index}.test"), Family::V4).unwrap();
    }
    let ports: BTreeSet<u16> = server.asked.iter().map(|(.., port)| *port).collect();
    assert!(ports.len() > 15);
    assert!(ports.iter().all(|port| (20_000..21_000).contains(port)), "from the session's block");
    let steps: BTreeSet<u16> = server.asked.windows(2).map(|pair| pair[1].3.wrapping_sub(pair[0].3)).collect();
    assert!(steps.len() > 15, "not one after the other");
}

#[test]
fn search_domains_serve_names_without_a_dot() {
    let mut world = TunnelWorld::new();
    world.gateway.search = vec!["no.test", "yes.test"];
    world.run(SECOND);
    let mut server = Server::on(world, |asked, _, _, answer| match asked {
        "db.yes.test." => {
            answer.add_answer(address(asked, FOUR, 60));
        }
        _ => negative(answer, ResponseCode::NXDomain, 30),
    });
    assert_eq!(server.resolve("db", Family::V4), Ok(vec![FOUR]));
    assert_eq!(server.resolve("db.", Family::V4), Err(ResolveError::NotFound));
    let names: Vec<&str> = server.asked.iter().map(|(name, ..)| name.as_str()).collect();
    assert_eq!(names, ["db.no.test.", "db.yes.test.", "db."]);
}

#[test]
fn literals_and_localhost_need_no_server() {
    let mut server = Server::new(both);
    assert_eq!(server.resolve("192.0.2.1", Family::Any), Ok(vec![IpAddr::from([192, 0, 2, 1])]));
    assert_eq!(server.resolve("[2001:db8::5]", Family::Any), Ok(vec![SIX]));
    assert_eq!(server.resolve("192.0.2.1", Family::V6), Err(ResolveError::NoData));
    let loopback: Vec<IpAddr> = vec!["::1".parse().unwrap(), "127.0.0.1".parse().unwrap()];
    assert_eq!(server.resolve("LOCALHOST", Family::Any), Ok(loopback));
    assert_eq!(server.resolve("x.localhost.", Family::V4), Ok(vec!["127.0.0.1".parse().unwrap()]));
    let long_label = "a".repeat(64);
    let long_name = "a.".repeat(128);
    for bad in ["", ".", "a..b", ".a", "a b", "b\u{fc}cher.test", &long_label, &long_name] {
        assert_eq!(server.resolve(bad, Family::Any), Err(ResolveError::InvalidName), "{bad:?}");
    }
    assert_eq!(server.asked, []);
}

#[test]
fn without_a_session_there_is_no_server_and_queries_are_bounded() {
    let mut world = TunnelWorld::new();
    let now = world.now;
    let id = world.stack.resolve("a.test", Family::Any, now);
    let error = Err(ResolveError::NoServers);
    assert!(
        std::iter::from_fn(|| world.stack.poll_event()).any(|it| it == Event::Resolved { id, result: error.clone() })
    );
    let mut server = Server::new(both);
    server.silent = true;
    let ids: Vec<_> =
        (0..2000).map(|at| server.world.stack.resolve(&format!("{at}.test"), Family::V4, server.world.now)).collect();
    assert_eq!(server.result(ids[1999]), Err(ResolveError::TooManyQueries));
    server.world.stack.cancel_resolve(ids[0], server.world.now);
    assert_eq!(server.result(ids[1]), Err(ResolveError::TimedOut));
}

#[test]
fn thousands_may_wait_for_one_name_which_is_asked_for_once() {
    let mut server = Server::new(both);
    let ids: Vec<_> = (0..4000).map(|_| server.world.stack.resolve("a.test", Family::V6, server.world.now)).collect();
    for id in ids {
        assert_eq!(server.result(id), Ok(vec![SIX]));
    }
    assert_eq!(server.asked.len(), 1);
}

#[test]
fn a_question_waits_for_the_tunnel_and_goes_out_at_once_when_it_is_back() {
    let mut server = Server::new(both);
    server.world.reachable = false;
    server.world.cut();
    let id = server.world.stack.resolve("a.test", Family::V4, server.world.now);
    server.world.run(SECOND * 20);
    server.world.reachable = true;
    server.world.stack.reconnect_now(server.world.now);
    let started = server.world.now;
    assert_eq!(server.result(id), Ok(vec![FOUR]));
    assert!(server.world.now - started < SECOND / 5, "{:?}", server.world.now - started);
    assert_eq!(server.asked.len(), 1);
    server.world.reachable = false;
    server.world.cut();
    let id = server.world.stack.resolve("b.test", Family::V4, server.world.now);
    assert_eq!(server.result(id), Err(ResolveError::TimedOut));
}

#[test]
fn a_question_survives_the_session() {
    let mut server = Server::new(both);
    server.silent = true;
    let early = server.world.stack.resolve("a.test", Family::V4, server.world.now);
    server.world.run(SECOND / 10);
    server.world.gateway.session = None;
    server.world.cut();
    let refused = |world: &TunnelWorld| world.stack.lease().is_none();
    server.world.run_until(SECOND * 5, |world| refused(world));
    let late = server.world.stack.resolve("b.test", Family::V4, server.world.now);
    server.silent = false;
    assert_eq!(server.result(early), Ok(vec![FOUR]));
    assert_eq!(server.result(late), Ok(vec![FOUR]));
}

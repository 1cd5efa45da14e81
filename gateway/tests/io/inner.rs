//! The gateway's inner host: ping, and DNS forwarded to real resolvers.

use crate::support::tunnel::Tunnel;
use crate::support::{Gateway, Scratch, block_on};
use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, TcpListener, UdpSocket};
use std::time::Duration;
use webtun_stack::{Event, Family, PingOptions, ResolveError, SocketEvent};

/// How a resolver of these tests behaves.
#[derive(Clone, Copy)]
struct Resolver {
    address: &'static str,
    /// The last octet of every address it tells.
    answer: u8,
    /// Over UDP, it says that the answer does not fit.
    truncates: bool,
}

impl Resolver {
    fn start(self) {
        let udp = UdpSocket::bind((self.address, 53)).expect("port 53 of the namespace");
        let tcp = TcpListener::bind((self.address, 53)).expect("port 53 of the namespace");
        std::thread::spawn(move || {
            let mut buffer = [0; 4096];
            while let Ok((len, from)) = udp.recv_from(&mut buffer) {
                let reply = if self.truncates { cut(&buffer[..len]) } else { self.reply(&buffer[..len]) };
                let _ = udp.send_to(&reply, from);
            }
        });
        std::thread::spawn(move || {
            for stream in tcp.incoming() {
                let mut stream = stream.expect("a connection");
                let mut len = [0; 2];
                stream.read_exact(&mut len).expect("a length");
                let mut query = vec![0; usize::from(u16::from_be_bytes(len))];
                stream.read_exact(&mut query).expect("a query");
                let reply = self.reply(&query);
                stream.write_all(&(reply.len() as u16).to_be_bytes()).expect("sending");
                stream.write_all(&reply).expect("sending");
            }
        });
    }

    /// One A record for the name that is asked for.
    fn reply(self, query: &[u8]) -> Vec<u8> {
        let mut reply = question(query);
        reply[2..4].copy_from_slice(&[0x81, 0x80]);
        reply[7] = 1;
        reply.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 198, 51, 100, self.answer]);
        reply
    }
}

/// The header and the question, without other records.
fn question(query: &[u8]) -> Vec<u8> {
    let end = 12 + query[12..].iter().position(|octet| *octet == 0).expect("the end of the name") + 5;
    let mut reply = query[..end].to_vec();
    reply[6..12].fill(0);
    reply
}

fn cut(query: &[u8]) -> Vec<u8> {
    let mut reply = question(query);
    reply[2..4].copy_from_slice(&[0x83, 0x80]);
    reply
}

async fn resolve(tunnel: &mut Tunnel, name: &str) -> Result<Vec<IpAddr>, ResolveError> {
    let now = tunnel.now();
    let id = tunnel.stack.resolve(name, Family::V4, now);
    let answer = |_: &mut _, event| match event {
        Event::Resolved { id: of, result } if of == id => Some(result),
        _ => None,
    };
    tunnel.until(answer).await
}

fn told(last: u8) -> Result<Vec<IpAddr>, ResolveError> {
    Ok(vec![Ipv4Addr::new(198, 51, 100, last).into()])
}

isolated! {
    fn both_inner_addresses_answer_pings() {
        let scratch = Scratch::new("ping");
        let gateway = Gateway::start(&scratch.0, &["--listen", "127.0.0.1:0"]);
        block_on(async {
            let mut tunnel = Tunnel::open(gateway.address).await;
            for target in ["100.64.0.1", "fd77:6562:7475::1"] {
                let now = tunnel.now();
                let target = target.parse().expect("an address");
                tunnel.stack.ping(target, PingOptions::default(), now).expect("a ping");
                let from = tunnel
                    .until(|_, event| match event {
                        Event::Socket(SocketEvent::Pong { from, .. }) => Some(from),
                        Event::Socket(SocketEvent::PingFailed { error, .. }) => panic!("{error}"),
                        _ => None,
                    })
                    .await;
                assert_eq!(from, target);
            }
        });
        gateway.stop();
    }

    fn names_are_forwarded_by_zone_and_over_tcp_where_the_answer_is_cut() {
        let scratch = Scratch::new("dns");
        Resolver { address: "127.0.0.1", answer: 1, truncates: false }.start();
        Resolver { address: "127.0.0.2", answer: 2, truncates: true }.start();
        let dns = "dns={upstream=[\"127.0.0.1\"], zones={\"playground.test\"=[\"127.0.0.2\"]}}";
        let gateway = Gateway::start(&scratch.0, &["--listen", "127.0.0.1:0", "--set", dns]);
        block_on(async {
            let mut tunnel = Tunnel::open(gateway.address).await;
            assert_eq!(resolve(&mut tunnel, "example.org").await, told(1));
            assert_eq!(resolve(&mut tunnel, "www.Playground.test").await, told(2));
        });
        gateway.stop();
    }

    fn the_next_resolver_is_asked_where_one_is_dead() {
        let scratch = Scratch::new("dns-dead");
        Resolver { address: "127.0.0.1", answer: 1, truncates: false }.start();
        let dns = "dns={upstream=[\"127.0.0.3\", \"127.0.0.1\"], timeout_s=1}";
        let gateway = Gateway::start(&scratch.0, &["--listen", "127.0.0.1:0", "--set", dns]);
        block_on(async {
            let mut tunnel = Tunnel::open(gateway.address).await;
            assert_eq!(resolve(&mut tunnel, "example.org").await, told(1));
        });
        gateway.stop();
    }

    fn one_session_cannot_keep_the_others_from_resolving() {
        let scratch = Scratch::new("dns-share");
        Resolver { address: "127.0.0.1", answer: 1, truncates: false }.start();
        let silent = UdpSocket::bind("127.0.0.2:53").expect("port 53 of the namespace");
        let dns = "dns={upstream=[\"127.0.0.1\"], zones={\"silent.test\"=[\"127.0.0.2\"]}, timeout_s=100}";
        let flags = ["--listen", "127.0.0.1:0", "--set", dns, "--set", "limits.dns_queries=8"];
        let gateway = Gateway::start(&scratch.0, &flags);
        block_on(async {
            let mut greedy = Tunnel::open(gateway.address).await;
            let now = greedy.now();
            for n in 0..20 {
                greedy.stack.resolve(&format!("{n}.silent.test"), Family::V4, now);
            }
            let asked = tokio::task::spawn_blocking(move || silent.recv_from(&mut [0; 512]));
            tokio::select! {
                asked = asked => drop(asked.expect("it runs").expect("a query")),
                () = greedy.until(|_, _| None) => {}
            }
            let mut other = Tunnel::open(gateway.address).await;
            assert_eq!(resolve(&mut other, "example.org").await, told(1));
        });
        gateway.stop();
    }

    fn without_a_resolver_that_answers_there_is_a_server_failure() {
        let scratch = Scratch::new("dns-none");
        let dns = "dns={upstream=[\"127.0.0.3\"], timeout_s=1}";
        let gateway = Gateway::start(&scratch.0, &["--listen", "127.0.0.1:0", "--set", dns]);
        block_on(async {
            let mut tunnel = Tunnel::open(gateway.address).await;
            let failed = tokio::time::timeout(Duration::from_secs(30), resolve(&mut tunnel, "example.org")).await;
            assert_eq!(failed.expect("an answer"), Err(ResolveError::ServerFailure));
        });
        gateway.stop();
    }
}

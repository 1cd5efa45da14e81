//! Two hosts on a link in memory, in virtual time.

#![allow(dead_code, reason = "every test uses its own part")]

pub mod tunnel;

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use rand::rngs::ChaCha8Rng;
use rand::{RngExt, SeedableRng};
use webtun_stack::{
    Host, HostConfig, Instant, ListenOptions, Received, SocketEvent, SocketId, TcpOptions, TcpState, UdpOptions,
};

pub const A: usize = 0;
pub const B: usize = 1;
pub const A4: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(100, 64, 0, 2));
pub const B4: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 80));
pub const A6: IpAddr = IpAddr::V6(std::net::Ipv6Addr::new(0xfd77, 0x6562, 0x7475, 0, 0, 0, 0, 2));
pub const B6: IpAddr = IpAddr::V6(std::net::Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0x80));

/// What the link does to packets.
#[derive(Clone, Copy, Debug)]
pub struct Link {
    pub delay: Duration,
    /// Lost packets per thousand.
    pub loss: u32,
    /// Some packets are late by up to this much.
    pub jitter: Duration,
}

pub struct World {
    pub hosts: [Host; 2],
    pub now: Instant,
    pub link: Link,
    pub events: [Vec<SocketEvent>; 2],
    /// Every packet that was sent, per sender, while `Some`.
    pub trace: Option<Vec<(usize, Vec<u8>)>>,
    rng: ChaCha8Rng,
    in_flight: BinaryHeap<Reverse<(Instant, u64)>>,
    packets: BTreeMap<u64, (usize, Vec<u8>)>,
    next: u64,
}

pub fn config(seed: u8) -> HostConfig {
    HostConfig { mtu: 1500, ..HostConfig::new([seed; 32]) }
}

impl World {
    pub fn new() -> Self {
        Self::with(config(1), config(2), Link { delay: Duration::from_millis(5), loss: 0, jitter: Duration::ZERO })
    }

    pub fn with(a: HostConfig, b: HostConfig, link: Link) -> Self {
        let now = Instant::from_millis(1000);
        let mut hosts = [Host::new(a, now), Host::new(b, now)];
        hosts[A].set_addresses(&[(A4, 32), (A6, 128)], now);
        hosts[B].set_addresses(&[(B4, 24), (B6, 64)], now);
        let rng = ChaCha8Rng::seed_from_u64(7);
        let (in_flight, packets) = (BinaryHeap::new(), BTreeMap::new());
        let events = [Vec::new(), Vec::new()];
        Self { hosts, now, link, events, trace: None, rng, in_flight, packets, next: 0 }
    }

    /// Puts a packet on the link as if `from` had sent it.
    pub fn inject(&mut self, from: usize, packet: Vec<u8>) {
        if let Some(trace) = &mut self.trace {
            trace.push((from, packet.clone()));
        }
        if self.rng.random_range(0..1000) < self.link.loss {
            return;
        }
        let late = match self.link.jitter.as_micros() as u64 {
            0 => 0,
            jitter if self.rng.random_range(0..4) == 0 => self.rng.random_range(0..jitter),
            _ => 0,
        };
        let at = self.now + self.link.delay + Duration::from_micros(late);
        self.in_flight.push(Reverse((at, self.next)));
        self.packets.insert(self.next, (1 - from, packet));
        self.next += 1;
    }

    pub fn drain(&mut self) {
        for host in [A, B] {
            while let Some(packet) = self.hosts[host].poll_packet(self.now) {
                self.inject(host, packet.to_vec());
            }
            while let Some(event) = self.hosts[host].poll_event() {
                self.events[host].push(event);
            }
        }
    }

    /// Goes on to the next thing that happens, not beyond `until`; false where nothing happens before it.
    pub fn step(&mut self, until: Instant) -> bool {
        self.drain();
        let arrival = self.in_flight.peek().map(|Reverse((at, _))| *at);
        let timers = self.hosts.iter().filter_map(Host::poll_timeout);
        let Some(next) = arrival.into_iter().chain(timers).min().filter(|next| *next <= until) else {
            self.now = self.now.max(until);
            return false;
        };
        self.now = self.now.max(next);
        while let Some(Reverse((at, key))) = self.in_flight.peek().copied().filter(|entry| entry.0.0 <= self.now) {
            let _ = at;
            self.in_flight.pop();
            if let Some((to, packet)) = self.packets.remove(&key) {
                self.hosts[to].handle_packet(&packet, self.now);
            }
        }
        for host in [A, B] {
            self.hosts[host].handle_timeout(self.now);
        }
        self.drain();
        true
    }

    pub fn run(&mut self, time: Duration) {
        let until = self.now + time;
        while self.step(until) {}
    }

    /// Runs until `done`; panics after `time`.
    pub fn run_until(&mut self, time: Duration, mut done: impl FnMut(&mut Self) -> bool) {
        let until = self.now + time;
        while !done(self) {
            assert!(self.step(until), "nothing more happened within {time:?}: {:?}", self.events);
        }
        self.drain();
    }

    pub fn listen(&mut self, host: usize, port: u16) -> SocketId {
        self.listen_with(host, port, ListenOptions::default())
    }

    pub fn listen_with(&mut self, host: usize, port: u16, options: ListenOptions) -> SocketId {
        let local = SocketAddr::from(([0u16; 8], port));
        self.hosts[host].tcp_listen(local, options, self.now).unwrap()
    }

    pub fn connect(&mut self, from: usize, remote: impl Into<SocketAddr>) -> SocketId {
        self.hosts[from].tcp_connect(remote.into(), TcpOptions::default(), self.now).unwrap()
    }

    /// A connection of A to B, both ends open.
    pub fn connected(&mut self) -> (SocketId, SocketId) {
        let listener = self.listen(B, 80);
        let client = self.connect(A, (B4, 80));
        let server = self.accept(B, listener);
        let open = |world: &mut Self| matches!(world.hosts[A].tcp_state(client), Some(TcpState::Open { .. }));
        self.run_until(Duration::from_secs(30), open);
        (client, server)
    }

    pub fn accept(&mut self, host: usize, listener: SocketId) -> SocketId {
        let mut accepted = None;
        self.run_until(Duration::from_secs(60), |world| {
            accepted = world.hosts[host].tcp_accept(listener);
            accepted.is_some()
        });
        accepted.unwrap()
    }

    pub fn send(&mut self, host: usize, id: SocketId, data: &[u8]) -> usize {
        self.hosts[host].tcp_send(id, data, self.now).unwrap()
    }

    /// Everything that is there now.
    pub fn read(&mut self, host: usize, id: SocketId) -> Vec<u8> {
        let mut data = Vec::new();
        let mut buffer = [0; 4096];
        while let Ok(Received::Data(len)) = self.hosts[host].tcp_recv(id, &mut buffer, self.now) {
            data.extend_from_slice(&buffer[..len]);
        }
        data
    }

    pub fn recv(&mut self, host: usize, id: SocketId) -> Result<Received, webtun_stack::RecvError> {
        self.hosts[host].tcp_recv(id, &mut [0; 4096], self.now)
    }

    pub fn bind(&mut self, host: usize, port: u16) -> SocketId {
        self.hosts[host].udp_bind(SocketAddr::from(([0u16; 8], port)), UdpOptions::default(), self.now).unwrap()
    }

    pub fn take_events(&mut self, host: usize) -> Vec<SocketEvent> {
        self.drain();
        std::mem::take(&mut self.events[host])
    }
}

/// Octets that repeat late.
pub fn pattern(len: usize) -> Vec<u8> {
    (0..len as u64).map(|at| (at.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 56) as u8).collect()
}

/// Moves `data` from `from` to `to` over an open connection and ends that direction.
pub fn transfer(world: &mut World, from: (usize, SocketId), to: (usize, SocketId), data: &[u8], time: Duration) {
    let (mut sent, mut received) = (0, Vec::with_capacity(data.len()));
    world.run_until(time, |world| {
        if sent < data.len() {
            let end = data.len().min(sent + 100_000);
            sent += world.send(from.0, from.1, &data[sent..end]);
            if sent == data.len() {
                world.hosts[from.0].tcp_shutdown(from.1, world.now);
            }
        }
        received.extend(world.read(to.0, to.1));
        world.recv(to.0, to.1) == Ok(Received::Finished)
    });
    assert!(received == data, "{} of {} octets, or not the same ones", received.len(), data.len());
}

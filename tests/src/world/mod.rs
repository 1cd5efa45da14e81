//! The whole system in virtual time: clients with their programs, one gateway with its inner host, a path of routers
//! and the hosts behind it.
//!
//! # Theory of operation
//!
//! ```text
//! client 0 ── connection ──┐                          ┌── remote 0
//! client 1 ── connection ──┼── Gateway ── link ── path┼── remote 1
//! ...                      │      ├─ inner host (DNS) └── ...
//!                                 └─ sockets of streams, on the same link
//! ```
//!
//! Nothing here waits. [`World::step`] looks for the earliest thing to come, be it a packet on a link, a message on a
//! connection or a timer of any machine, moves the clock there, and lets it happen; then everything that follows at the
//! same instant happens too, until the world is at rest. Every random choice comes from one seed, so that a run can be
//! had again, octet by octet ([`World::trace`]).
//!
//! A world that never comes to rest, or does not move on, panics: that is a machine whose `poll_timeout` lies in the
//! past. A test that fails leaves the packets at the gateway's egress as a pcap below `target/sim-pcap`.

mod client;
mod config;
mod connections;
mod ledger;
mod run;
mod streams;

pub use client::Client;
pub use config::WorldConfig;
pub use streams::Kernel;

use bytes::BytesMut;
use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;
use webtun_gateway::dataplane::{DropReason, Event, Gateway, SessionId};
use webtun_stack::{ConnectError, SocketId, StreamHost, TcpOptions};
use webtun_wire::Instant;

use crate::clock::SimClock;
use crate::flow::Plan;
use crate::host::Machine;
use crate::link::Link;
use crate::path::Path;
use crate::pcap::Capture;
use crate::rng::SimRng;
use crate::trace::TraceHash;
use crate::tunnel::Connection;
use ledger::Ledger;

/// See the [module](self).
pub struct World {
    /// What it was made from.
    pub config: WorldConfig,
    /// Random choices of the test itself.
    pub rng: SimRng,
    /// The gateway. Whoever changes it calls [`World::settle`].
    pub gateway: Gateway,
    /// The host at the gateway's inner addresses.
    pub inner: Machine,
    /// The machine of the gateway, whose sockets streams have.
    pub kernel: Kernel,
    /// The clients.
    pub clients: Vec<Client>,
    /// The hosts behind the gateway.
    pub remotes: Vec<Machine>,
    /// The routers before them.
    pub path: Path,
    /// From the gateway to the routers.
    pub uplink: Link,
    /// From the routers to the gateway.
    pub downlink: Link,
    /// What the gateway has reported, in order.
    pub gateway_events: Vec<(Instant, Event)>,
    /// Packets that came for nobody behind the path.
    pub strays: Vec<BytesMut>,
    /// Copies of packets at the egress, outbound ones first in the pair; `None` unless a test asks.
    pub tap: Option<Vec<(bool, BytesMut)>>,
    clock: SimClock,
    connections: BTreeMap<u64, Connection>,
    connection_count: u64,
    sessions: BTreeMap<SessionId, u64>,
    ready: BTreeSet<SessionId>,
    ledger: Ledger,
    capture: Capture,
    trace: TraceHash,
}

impl World {
    /// The present.
    pub fn now(&self) -> Instant {
        self.clock.now()
    }

    /// A fingerprint of everything that has happened.
    pub fn trace(&self) -> u64 {
        self.trace.value()
    }

    /// Packets that the gateway has dropped for this reason.
    pub fn drops(&self, reason: DropReason) -> u64 {
        self.gateway.stats().drops(reason)
    }

    /// Lets every remote host serve `plan` on a port.
    ///
    /// # Panics
    ///
    /// Panics where the port is taken.
    pub fn serve(&mut self, port: u16, plan: &Plan) {
        let now = self.now();
        for remote in &mut self.remotes {
            let any = SocketAddr::from(([0_u16; 8], port));
            remote.node.listen(&mut remote.host, any, plan.clone(), now).expect("a free port");
            remote.drain(now);
        }
    }

    /// Lets every remote host echo datagrams on a port.
    ///
    /// # Panics
    ///
    /// Panics where the port is taken.
    pub fn serve_udp_echo(&mut self, port: u16) {
        let now = self.now();
        for remote in &mut self.remotes {
            let any = SocketAddr::from(([0_u16; 8], port));
            remote.node.bind(&mut remote.host, any, true, now).expect("a free port");
            remote.drain(now);
        }
    }

    /// Opens a connection from a client.
    ///
    /// # Errors
    ///
    /// Those of the stack.
    pub fn connect(&mut self, client: usize, remote: SocketAddr, plan: Plan) -> Result<SocketId, ConnectError> {
        self.connect_with(client, remote, TcpOptions::default(), plan)
    }

    /// Opens a connection from a client with options.
    ///
    /// # Errors
    ///
    /// Those of the stack.
    pub fn connect_with(
        &mut self,
        client: usize,
        remote: SocketAddr,
        options: TcpOptions,
        plan: Plan,
    ) -> Result<SocketId, ConnectError> {
        let now = self.now();
        let Client { node, stack, .. } = &mut self.clients[client];
        let id = node.connect(stack, remote, options, plan, now);
        self.settle();
        id
    }

    /// Opens a connection from a client that the gateway makes; the first octets travel with the request.
    ///
    /// # Errors
    ///
    /// Those of the stack.
    pub fn connect_split(&mut self, client: usize, remote: SocketAddr, plan: Plan) -> Result<SocketId, ConnectError> {
        self.connect_split_to(client, StreamHost::Address(remote.ip()), remote.port(), plan)
    }

    /// The same, where the gateway may have to resolve a name.
    ///
    /// # Errors
    ///
    /// Those of the stack.
    pub fn connect_split_to(
        &mut self,
        client: usize,
        host: StreamHost,
        port: u16,
        plan: Plan,
    ) -> Result<SocketId, ConnectError> {
        let now = self.now();
        let Client { node, stack, .. } = &mut self.clients[client];
        let id = node.connect_split(stack, host, port, plan, now);
        self.settle();
        id
    }

    /// Does something with a client, and lets follow what follows.
    pub fn with_client<R>(&mut self, client: usize, act: impl FnOnce(&mut Client, Instant) -> R) -> R {
        let now = self.now();
        let result = act(&mut self.clients[client], now);
        self.settle();
        result
    }

    /// Does something with a remote host, and lets follow what follows.
    pub fn with_remote<R>(&mut self, remote: usize, act: impl FnOnce(&mut Machine, Instant) -> R) -> R {
        let now = self.now();
        let result = act(&mut self.remotes[remote], now);
        self.remotes[remote].drain(now);
        self.settle();
        result
    }

    /// Runs until every client has its session.
    ///
    /// # Panics
    ///
    /// Panics where that takes more than ten seconds.
    pub fn connect_all(&mut self) {
        self.expect("every client has a session", Duration::from_secs(10), |world| {
            world.clients.iter().all(|client| client.is_connected())
        });
    }

    /// The `index`th address and port of a remote host in the family of choice.
    pub fn remote(&self, remote: usize, ipv6: bool, port: u16) -> SocketAddr {
        SocketAddr::new(Self::remote_address(remote, ipv6), port)
    }

    /// Where the gateway's external address is seen, with a port.
    ///
    /// # Panics
    ///
    /// Panics where it has none of the family.
    pub fn external(&self, ipv6: bool, port: u16) -> SocketAddr {
        let mut all = self.config.gateway.external.iter();
        let external = all.find(|external| external.announced.is_ipv6() == ipv6).expect("an external address");
        SocketAddr::new(external.announced, port)
    }

    fn remote_address(remote: usize, ipv6: bool) -> IpAddr {
        let number = remote as u16 + 10;
        if ipv6 {
            IpAddr::from([0x2600, 0x1f00, 0, 0, 0, 0, 0, number])
        } else {
            IpAddr::from([45, 33, (number >> 8) as u8, number as u8])
        }
    }
}

impl Drop for World {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            return;
        }
        let thread = std::thread::current();
        let name = format!("{}-{}", thread.name().unwrap_or("test"), self.config.seed);
        match self.capture.save(&name) {
            Ok(path) => eprintln!("seed {}: packets are in {}", self.config.seed, path.display()),
            Err(error) => eprintln!("seed {}: no pcap: {error}", self.config.seed),
        }
    }
}

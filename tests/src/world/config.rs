use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::Duration;
use webtun_gateway::dataplane::{ExternalAddress, Gateway, GatewayConfig};
use webtun_stack::BufferSizes;

use super::ledger::Ledger;
use super::{Client, Kernel, World};
use crate::clock::SimClock;
use crate::dns::Zone;
use crate::host::Machine;
use crate::link::{Link, LinkConfig};
use crate::path::Path;
use crate::pcap::Capture;
use crate::rng::SimRng;
use crate::trace::TraceHash;
use crate::tunnel::TunnelConfig;

/// What a [`World`] is made of.
#[derive(Clone, Debug)]
pub struct WorldConfig {
    /// Where all randomness comes from.
    pub seed: u64,
    /// How many clients there are.
    pub clients: usize,
    /// How many hosts there are behind the gateway.
    pub remotes: usize,
    /// The gateway.
    pub gateway: GatewayConfig,
    /// Each client's WebSocket.
    pub tunnel: TunnelConfig,
    /// Each direction of the path.
    pub link: LinkConfig,
    /// TCP buffers of the clients; `None` leaves it to them.
    pub buffers: Option<BufferSizes>,
    /// Whether the clients do without their IPv4 addresses.
    pub ipv6_only: bool,
    /// Whether the clients offer segmentation offload.
    pub offload: bool,
    /// What the DNS knows.
    pub zone: Zone,
}

impl WorldConfig {
    /// One client and one remote host, without faults.
    pub fn new(seed: u64) -> Self {
        let external = |address: IpAddr| ExternalAddress { address, announced: address };
        let addresses = [IpAddr::from([100, 127, 255, 1]), IpAddr::from([0xfd77, 0x6562, 0x7475, 0xffff, 0, 0, 0, 1])];
        Self {
            seed,
            clients: 1,
            remotes: 1,
            gateway: GatewayConfig::new(addresses.map(external).to_vec()),
            tunnel: TunnelConfig::default(),
            link: LinkConfig::default(),
            buffers: None,
            ipv6_only: false,
            offload: true,
            zone: Zone::default(),
        }
    }

    /// The same with faults on the path: each packet is lost with this probability, and some arrive twice or late.
    pub fn with_loss(mut self, loss: f64) -> Self {
        self.link.loss = loss;
        self.link.reorder = loss;
        self.link.duplicate = loss / 4.0;
        self.link.jitter = Duration::from_millis(2);
        self
    }

    /// The world, at its first instant: the clients want to connect.
    ///
    /// # Panics
    ///
    /// Panics where the gateway refuses its configuration.
    pub fn build(self) -> World {
        let clock = SimClock::new();
        let (now, seed) = (clock.now(), self.seed);
        let rng = |label: &str| SimRng::new(seed, label);
        let gateway = Gateway::new(self.gateway.clone(), rng("gateway").seed(), now).expect("a valid configuration");
        let inner_addresses = [
            (IpAddr::V4(self.gateway.inner_host_v4()), self.gateway.inner_v4.prefix_len()),
            (IpAddr::V6(self.gateway.inner_host_v6()), self.gateway.inner_v6.prefix_len()),
        ];
        let mut inner = Machine::new(&inner_addresses, usize::from(u16::MAX), rng("inner"), now);
        inner.serve_dns(self.zone.clone(), now);
        let client = |index| Client::new(index, &self, rng(&format!("client-{index}")), now);
        let remote = |index| {
            let addresses = [(World::remote_address(index, false), 32), (World::remote_address(index, true), 128)];
            Machine::new(&addresses, 1500, rng(&format!("remote-{index}")), now)
        };
        let mut world = World {
            rng: rng("test"),
            gateway,
            inner,
            kernel: Kernel::new(rng("kernel"), now),
            clients: (0..self.clients).map(client).collect(),
            remotes: (0..self.remotes).map(remote).collect(),
            path: Path::new(),
            uplink: Link::new(self.link.clone(), rng("uplink")),
            downlink: Link::new(self.link.clone(), rng("downlink")),
            gateway_events: Vec::new(),
            strays: Vec::new(),
            tap: None,
            clock,
            connections: BTreeMap::new(),
            connection_count: 0,
            sessions: BTreeMap::new(),
            ready: BTreeSet::new(),
            ledger: Ledger::default(),
            capture: Capture::default(),
            trace: TraceHash::new(),
            config: self,
        };
        world.settle();
        world
    }
}

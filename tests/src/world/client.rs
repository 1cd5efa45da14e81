use std::net::{IpAddr, SocketAddr};
use webtun_gateway::dataplane::Peer;
use webtun_stack::{Event, Lease, PortMapError, PortMapping, QueryId, ResolveError, Stack, StackConfig, Status};
use webtun_stack::{SocketId, UdpError};
use webtun_wire::Instant;

use super::WorldConfig;
use crate::node::Node;
use crate::rng::SimRng;
use crate::tunnel::TunnelConfig;

/// A page: its stack, its programs, and its WebSocket.
pub struct Client {
    /// The stack.
    pub stack: Stack,
    /// The programs.
    pub node: Node,
    /// Every event but those of sockets, in order.
    pub events: Vec<(Instant, Event)>,
    /// How its WebSocket behaves.
    pub tunnel: TunnelConfig,
    /// Who it is to the gateway.
    pub peer: Peer,
    /// False where no WebSocket can be opened now.
    pub online: bool,
    /// The connection that it holds.
    pub(super) connection: Option<u64>,
    /// When the connection that it has asked for opens or fails.
    pub(super) opening: Option<Instant>,
}

impl Client {
    pub(super) fn new(index: usize, config: &WorldConfig, mut rng: SimRng, now: Instant) -> Self {
        let stack_config = StackConfig {
            buffers: config.buffers,
            ipv6_only: config.ipv6_only,
            offload: config.offload,
            ..StackConfig::new(rng.seed())
        };
        Self {
            stack: Stack::new(stack_config, now),
            node: Node::default(),
            events: Vec::new(),
            tunnel: config.tunnel.clone(),
            peer: Peer::new(format!("client-{index}")),
            online: true,
            connection: None,
            opening: None,
        }
    }

    /// True while it has a session and a connection.
    pub fn is_connected(&self) -> bool {
        matches!(self.stack.status(), Status::Connected { .. })
    }

    /// What it was given.
    ///
    /// # Panics
    ///
    /// Panics before the first session.
    pub fn lease(&self) -> &Lease {
        self.stack.lease().expect("a session")
    }

    /// Its inner address.
    ///
    /// # Panics
    ///
    /// Panics where it has none of the family.
    pub fn address(&self, ipv6: bool) -> IpAddr {
        let mut addresses = self.lease().addresses.iter().map(|(address, _)| *address);
        addresses.find(|address| address.is_ipv6() == ipv6).expect("an address of the family")
    }

    /// What a name was resolved to, once it was.
    pub fn resolved(&self, query: QueryId) -> Option<&Result<Vec<IpAddr>, ResolveError>> {
        self.events.iter().find_map(|(_, event)| match event {
            Event::Resolved { id, result } if *id == query => Some(result),
            _ => None,
        })
    }

    /// The latest word on each mapped port.
    pub fn port_mapped(&self, id: webtun_stack::MapId) -> Option<Result<PortMapping, PortMapError>> {
        self.events.iter().rev().find_map(|(_, event)| match event {
            Event::PortMapped { id: mapped, result } if *mapped == id => Some(*result),
            _ => None,
        })
    }

    /// Sends a datagram, now or when there is room.
    ///
    /// # Errors
    ///
    /// Those of the stack.
    pub fn send_datagram(&mut self, id: SocketId, data: &[u8], to: SocketAddr, now: Instant) -> Result<(), UdpError> {
        self.node.send_datagram(&mut self.stack, id, data, to, now)
    }

    /// When something is to be done without input.
    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        [self.stack.poll_timeout(), self.node.poll_timeout(), self.opening].into_iter().flatten().min()
    }
}

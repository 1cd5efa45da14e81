#![doc = include_str!("README.md")]

mod aliases;
mod datagrams;
mod dial;
mod listeners;
mod packets;
mod poller;
mod reports;
mod streams;
mod surroundings;

pub use surroundings::own_addresses;
pub(super) use surroundings::survey;

use crate::dataplane::{DropReason, Event, ExternalAddress, GatewayConfig, OwnAddresses};
use aliases::Aliases;
use bytes::BytesMut;
use datagrams::{Datagrams, Outgoing, Timeouts};
use listeners::Listeners;
use packets::Flight;
use poller::{Owner, Poller};
use std::collections::VecDeque;
use std::io;
use std::net::{IpAddr, SocketAddr};
use streams::Streams;
use webtun_stack::{Host, HostConfig, SocketEvent};
use webtun_wire::{Instant, OffloadHeader};

const TCP: u8 = 6;

/// The egress of one shard: packets on one side, sockets of this machine on the other. See the [module](self).
pub struct UserEgress {
    host: Host,
    poller: Poller,
    streams: Streams,
    datagrams: Datagrams,
    listeners: Listeners,
    external: Vec<ExternalAddress>,
    /// Packets that do not come from the TCP/IP end: what one turn of a socket brings, at most.
    packets: VecDeque<BytesMut>,
    drops: Vec<DropReason>,
    /// There may be packets.
    stirred: bool,
}

impl UserEgress {
    /// For the dataplane of this configuration. `stand_ins`: by which addresses, one of each family, clients know the programs of
    /// this machine that call them.
    ///
    /// # Errors
    /// Where the system has no descriptor left.
    pub fn new(config: &GatewayConfig, stand_ins: &[IpAddr], seed: [u8; 32], now: Instant) -> io::Result<Self> {
        let timeouts = Timeouts { udp: config.nat.timeouts.udp, echo: config.nat.timeouts.icmp };
        let aliases = Aliases::new(&config.external, stand_ins);
        let mut streams = Streams::new(aliases.clone());
        streams.set_own_addresses(config.own.clone());
        let mut datagrams = Datagrams::new(timeouts, aliases);
        datagrams.set_own_addresses(config.own.clone());
        Ok(Self {
            host: Host::new(HostConfig { stands_in: true, ..HostConfig::new(seed) }, now),
            poller: Poller::new()?,
            streams,
            datagrams,
            listeners: Listeners::default(),
            external: config.external.clone(),
            packets: VecDeque::new(),
            drops: Vec::new(),
            stirred: false,
        })
    }

    /// The dataplane knows this machine by other addresses now.
    pub fn set_own_addresses(&mut self, own: &OwnAddresses) {
        self.streams.set_own_addresses(own.clone());
        self.datagrams.set_own_addresses(own.clone());
    }

    /// Takes one packet of a session.
    pub fn send(&mut self, packet: &[u8], offload: &OffloadHeader, now: Instant) {
        self.stirred = true;
        let answered = match packets::read(packet) {
            Flight::Tcp => {
                self.host.handle_offloaded_packet(offload, packet, now);
                self.dial(now);
                return;
            }
            Flight::Datagram { from, to, payload } => {
                self.datagrams.send(Outgoing { packet, from, to, payload }, &self.poller, now)
            }
            Flight::Echo { from, to, sequence, payload } => {
                let (to, payload) = (SocketAddr::new(to, 0), packets::echo_request(to, sequence, payload));
                self.datagrams.ping(Outgoing { packet, from, to, payload: &payload }, &self.poller, now)
            }
            Flight::Other => Err(DropReason::EgressProtocol),
        };
        match answered {
            Ok(answer) => self.packets.extend(answer),
            Err(reason) => self.drops.push(reason),
        }
    }

    fn dial(&mut self, now: Instant) {
        while let Some(request) = self.host.poll_request() {
            if let Err(error) = self.streams.open(request, &mut self.host, &self.poller, now)
                && dial::is_shortage(&error)
            {
                tracing::debug!(%error, "no socket for a connection");
                self.drops.push(DropReason::EgressSockets);
            }
        }
    }

    /// The next loss that nobody was told of yet.
    pub fn poll_drop(&mut self) -> Option<DropReason> {
        self.drops.pop()
    }

    /// Waits until [`Self::try_recv`] may have something.
    ///
    /// # Errors
    /// Where the runtime cannot watch the sockets.
    pub async fn readable(&mut self) -> io::Result<()> {
        let waits = self.stirred || !self.packets.is_empty() || self.poller.is_pending();
        if waits || self.streams.has_turns() || self.datagrams.has_turns() || self.listeners.has_turns() {
            return Ok(());
        }
        self.poller.ready().await
    }

    /// The next packet for a session, with what is left to be done to it.
    ///
    /// # Errors
    /// `WouldBlock` where there is none; others where the sockets cannot be watched.
    pub fn try_recv(&mut self, now: Instant) -> io::Result<(BytesMut, OffloadHeader)> {
        self.stirred = true;
        loop {
            if let Some(packet) = self.packets.pop_front() {
                return Ok((packet, OffloadHeader::default()));
            }
            if let Some((offload, packet)) = self.host.poll_offloaded(now) {
                return Ok((packet, offload));
            }
            self.hear(now);
            if !self.work(now)? {
                self.stirred = false;
                return Err(io::ErrorKind::WouldBlock.into());
            }
        }
    }

    /// Does a bounded piece of work; false where there is none.
    fn work(&mut self, now: Instant) -> io::Result<bool> {
        if self.streams.turn(&mut self.host, now) || self.datagrams.turn(&mut self.packets, now) {
            return Ok(true);
        }
        if self.listeners.has_turns() {
            if let Some((inner, connections)) = self.listeners.turn() {
                for connection in connections {
                    self.streams.accept(connection, inner, &mut self.host, &self.poller, now);
                }
            }
            return Ok(true);
        }
        if !self.poller.is_pending() {
            return Ok(false);
        }
        for (owner, readiness) in self.poller.take()? {
            match owner {
                Owner::Stream(id) => self.streams.heard(id, readiness, &mut self.host, now),
                Owner::Datagram(number) => self.datagrams.heard(number),
                Owner::Listener(number) => self.listeners.heard(number),
            }
        }
        Ok(true)
    }

    /// Brings what the TCP/IP end has to say to the connections.
    fn hear(&mut self, now: Instant) {
        while let Some(event) = self.host.poll_event() {
            match event {
                SocketEvent::TcpConnected(id) => self.streams.greeted(id),
                SocketEvent::TcpConnectFailed(id, _) => self.streams.failed(id, &mut self.host, now),
                SocketEvent::TcpReadable(id) | SocketEvent::TcpWritable(id) => self.streams.queue(id),
                SocketEvent::TcpClosed(id, reason) => self.streams.closed(id, reason, &mut self.host, now),
                // There are no listeners, UDP sockets and pings in it.
                _ => {}
            }
        }
    }

    /// When [`Self::handle_timeout`] is due.
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.host.poll_timeout().into_iter().chain(self.datagrams.poll_timeout()).min()
    }

    /// Lets time pass.
    pub fn handle_timeout(&mut self, now: Instant) {
        self.host.handle_timeout(now);
        self.datagrams.handle_timeout(now);
        self.stirred = true;
    }

    /// Follows what the NAT has given out and taken back. False where a mapped port is not to be had.
    pub fn handle_event(&mut self, event: &Event, now: Instant) -> bool {
        match event {
            Event::PortMapped { protocol, external, .. } => return self.map(*protocol, *external, now),
            Event::PortUnmapped { protocol, external, .. } => {
                if let Some(inner) = self.inner(*external) {
                    match *protocol {
                        TCP => self.listeners.close(inner),
                        _ => self.datagrams.unpin(inner, now),
                    }
                }
            }
            Event::BlockReturned { block, .. } => {
                let last = block.first.saturating_add(block.count.saturating_sub(1));
                if let Some(inner) = self.inner(SocketAddr::new(block.address, block.first)) {
                    let ports = block.first..=last;
                    self.listeners.release(inner.ip(), &ports);
                    self.datagrams.release(inner.ip(), &ports);
                    self.streams.release(inner.ip(), &ports, &mut self.host, now);
                    self.stirred = true;
                }
            }
            _ => {}
        }
        true
    }

    fn map(&mut self, protocol: u8, external: SocketAddr, now: Instant) -> bool {
        let Some(inner) = self.inner(external) else { return false };
        let opened = match protocol {
            TCP => self.listeners.open(inner, &self.poller),
            _ => self.datagrams.pin(inner, &self.poller, now),
        };
        if let Err(error) = &opened {
            tracing::debug!(%error, protocol, port = inner.port(), "no socket for a port that a client wants");
        }
        opened.is_ok()
    }

    /// The NAT's endpoint in packets, by the one that is announced. There is one address of each family.
    fn inner(&self, announced: SocketAddr) -> Option<SocketAddr> {
        let is_it = |it: &&ExternalAddress| it.address.is_ipv4() == announced.is_ipv4();
        let address: IpAddr = self.external.iter().find(is_it)?.address;
        Some(SocketAddr::new(address, announced.port()))
    }
}

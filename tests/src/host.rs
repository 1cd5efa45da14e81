//! Whole computers: remote hosts, and the inner host of the gateway.

use bytes::BytesMut;
use std::collections::VecDeque;
use std::net::IpAddr;
use webtun_stack::{Host, HostConfig};
use webtun_wire::Instant;

use crate::dns::{DnsServer, Zone};
use crate::node::Node;
use crate::packet::{Reassembler, Transport, View, fragment};
use crate::rng::SimRng;

/// In which order a host sends the fragments of one datagram.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum FragmentOrder {
    /// As they lie in the datagram.
    #[default]
    Forward,
    /// The last first.
    Reversed,
    /// At random.
    Shuffled,
}

/// A whole computer: the gateway's inner host, or one somewhere behind the gateway. What the kernel of a real one does
/// about fragments is done here, since [`Host`] knows none.
pub struct Machine {
    /// Its network stack.
    pub host: Host,
    /// Its programs.
    pub node: Node,
    /// Its name server.
    pub dns: Option<DnsServer>,
    /// How it sends fragments.
    pub fragment_order: FragmentOrder,
    /// TCP segments that did not fit the link: somebody did not say, or hear, the right MSS.
    pub oversized_segments: u64,
    mtu: usize,
    reassembler: Reassembler,
    outbox: VecDeque<BytesMut>,
    datagram_id: u32,
    rng: SimRng,
}

impl Machine {
    /// A computer with these addresses, on a link with this MTU.
    pub fn new(addresses: &[(IpAddr, u8)], mtu: usize, mut rng: SimRng, now: Instant) -> Self {
        let mut host = Host::new(HostConfig::new(rng.seed()), now);
        host.set_addresses(addresses, now);
        Self {
            host,
            node: Node::default(),
            dns: None,
            fragment_order: FragmentOrder::default(),
            oversized_segments: 0,
            mtu,
            reassembler: Reassembler::default(),
            outbox: VecDeque::new(),
            datagram_id: 0,
            rng,
        }
    }

    /// Starts a name server.
    pub fn serve_dns(&mut self, zone: Zone, now: Instant) {
        self.dns = Some(DnsServer::new(zone, &mut self.host, now));
    }

    /// True where the packet is for one of its addresses.
    pub fn owns(&self, address: IpAddr) -> bool {
        self.host.addresses().iter().any(|(own, _)| *own == address)
    }

    /// Takes a packet from the link.
    pub fn handle_packet(&mut self, packet: BytesMut, now: Instant) {
        if let Some(whole) = self.reassembler.push(packet) {
            self.host.handle_packet(&whole, now);
            self.drain(now);
        }
    }

    /// When something is to be done without a packet.
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.host.poll_timeout().into_iter().chain(self.node.poll_timeout()).min()
    }

    /// Does what is due.
    pub fn handle_timeout(&mut self, now: Instant) {
        self.host.handle_timeout(now);
        self.node.handle_timeout(&mut self.host, now);
        self.drain(now);
    }

    /// Brings everything that has happened to its programs, and what they send to the link.
    pub fn drain(&mut self, now: Instant) {
        loop {
            let mut idle = true;
            while let Some(packet) = self.host.poll_packet(now) {
                self.send(packet);
                idle = false;
            }
            while let Some(event) = self.host.poll_event() {
                if let Some(dns) = &mut self.dns {
                    dns.handle_event(&event, &mut self.host, now);
                }
                self.node.handle_event(event, &mut self.host, now);
                idle = false;
            }
            if idle {
                return;
            }
        }
    }

    /// The next packet for the link.
    pub fn poll_packet(&mut self) -> Option<BytesMut> {
        self.outbox.pop_front()
    }

    fn send(&mut self, packet: BytesMut) {
        if packet.len() <= self.mtu {
            self.outbox.push_back(packet);
            return;
        }
        if let Ok(View { transport: Transport::Tcp { .. }, .. }) = View::parse(&packet) {
            self.oversized_segments += 1;
        }
        self.datagram_id += 1;
        let mut pieces = fragment(packet, self.mtu, self.datagram_id);
        match self.fragment_order {
            FragmentOrder::Forward => {}
            FragmentOrder::Reversed => pieces.reverse(),
            FragmentOrder::Shuffled => {
                for index in (1..pieces.len()).rev() {
                    pieces.swap(index, self.rng.below(index as u64 + 1) as usize);
                }
            }
        }
        self.outbox.extend(pieces);
    }
}

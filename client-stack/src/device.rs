//! smoltcp's view of the link: packets in from the caller, packets out to a bounded queue.

use std::collections::VecDeque;
use std::net::IpAddr;

use bytes::BytesMut;
use smoltcp::phy::{Device, DeviceCapabilities, Medium, RxToken, TxToken};
use smoltcp::time::Instant;

use crate::fragment::Fragmenter;
use crate::packet;
use crate::path_mtu::PathMtu;
use crate::send_next::SendNext;

/// Packets that leave the host, and those that turn round inside it.
///
/// The bound is the back-pressure: when it is reached, smoltcp gets no token, and data stays in the sockets.
pub(crate) struct TxQueue {
    packets: VecDeque<BytesMut>,
    loopback: VecDeque<BytesMut>,
    octets: usize,
    limit: usize,
    link_up: bool,
    own: Vec<IpAddr>,
    fragmenter: Option<Fragmenter>,
    dropped: u64,
}

impl TxQueue {
    pub fn new(limit: usize, fragmenter: Option<Fragmenter>) -> Self {
        let (packets, loopback) = (VecDeque::new(), VecDeque::new());
        Self { packets, loopback, octets: 0, limit, link_up: true, own: Vec::new(), fragmenter, dropped: 0 }
    }

    /// While the link is down nothing is given out, and whoever sends to others than ourselves waits.
    pub fn set_link(&mut self, up: bool) {
        self.link_up = up;
    }

    pub fn link_up(&self) -> bool {
        self.link_up
    }

    /// Packets to these addresses come back by [`pop_loopback`](Self::pop_loopback).
    pub fn set_own(&mut self, own: Vec<IpAddr>) {
        self.own = own;
    }

    /// True where one more packet is taken.
    pub fn has_room(&self) -> bool {
        self.octets < self.limit
    }

    /// True where a packet to `destination` has a way: the link, or back to ourselves.
    pub fn is_open_to(&self, destination: IpAddr) -> bool {
        self.link_up || self.own.contains(&destination)
    }

    /// Takes what a socket sends. The caller has asked [`has_room`](Self::has_room) and
    /// [`is_open_to`](Self::is_open_to).
    pub fn push(&mut self, packet: BytesMut) {
        let own = packet::destination(&packet).is_some_and(|address| self.own.contains(&address));
        let (queue, octets) = (if own { &mut self.loopback } else { &mut self.packets }, &mut self.octets);
        let mut put = |packet: BytesMut| {
            *octets += packet.len();
            queue.push_back(packet);
        };
        match &mut self.fragmenter {
            Some(fragmenter) if !own => fragmenter.cut(packet, put),
            _ => put(packet),
        }
    }

    /// Takes an answer to a packet that has arrived (an ACK, a RST, an ICMP message). Answers may use twice the bound,
    /// so that a full queue does not stop the arrival of what would empty it; beyond that they are dropped.
    pub fn push_reply(&mut self, packet: BytesMut) {
        let open = packet::destination(&packet).is_some_and(|address| self.is_open_to(address));
        if open && self.octets < self.limit.saturating_mul(2) {
            self.push(packet);
        } else {
            self.dropped += 1;
        }
    }

    /// The next packet for the link, where it is at most `room` octets long.
    pub fn pop_within(&mut self, room: usize) -> Option<BytesMut> {
        if !self.link_up || self.packets.front()?.len() > room {
            return None;
        }
        let packet = self.packets.pop_front()?;
        self.octets -= packet.len();
        Some(packet)
    }

    /// True where a packet waits for the link.
    pub fn has_packet(&self) -> bool {
        self.link_up && !self.packets.is_empty()
    }

    /// The next packet for ourselves.
    pub fn pop_loopback(&mut self) -> Option<BytesMut> {
        let packet = self.loopback.pop_front()?;
        self.octets -= packet.len();
        Some(packet)
    }

    /// True where packets for ourselves wait.
    pub fn has_loopback(&self) -> bool {
        !self.loopback.is_empty()
    }

    /// Forgets what waits: it was sent from addresses that are no longer ours.
    pub fn clear(&mut self) {
        self.packets.clear();
        self.loopback.clear();
        self.octets = 0;
    }

    /// Answers dropped so far.
    pub fn dropped(&self) -> u64 {
        self.dropped
    }
}

/// The device for one call of smoltcp: at most one packet in, any number out.
pub(crate) struct Link<'a> {
    pub incoming: Option<&'a [u8]>,
    pub queue: &'a mut TxQueue,
    /// Of the connection that has its turn.
    pub next: Option<&'a mut SendNext>,
    /// Of the same connection.
    pub path_mtu: Option<&'a PathMtu>,
    pub mtu: usize,
}

impl Device for Link<'_> {
    type RxToken<'t>
        = Incoming<'t>
    where
        Self: 't;
    type TxToken<'t>
        = Outgoing<'t>
    where
        Self: 't;

    fn receive(&mut self, _now: Instant) -> Option<(Incoming<'_>, Outgoing<'_>)> {
        let packet = self.incoming.take()?;
        Some((Incoming(packet), self.outgoing(true)))
    }

    fn transmit(&mut self, _now: Instant) -> Option<Outgoing<'_>> {
        self.queue.has_room().then(|| self.outgoing(false))
    }

    fn capabilities(&self) -> DeviceCapabilities {
        capabilities(self.mtu)
    }
}

impl Link<'_> {
    fn outgoing(&mut self, reply: bool) -> Outgoing<'_> {
        Outgoing { queue: self.queue, next: self.next.as_deref_mut(), path_mtu: self.path_mtu, reply }
    }
}

fn capabilities(mtu: usize) -> DeviceCapabilities {
    let mut capabilities = DeviceCapabilities::default();
    capabilities.medium = Medium::Ip;
    capabilities.max_transmission_unit = mtu;
    capabilities
}

pub(crate) struct Incoming<'a>(&'a [u8]);

impl RxToken for Incoming<'_> {
    fn consume<R, F: FnOnce(&[u8]) -> R>(self, f: F) -> R {
        f(self.0)
    }
}

pub(crate) struct Outgoing<'a> {
    queue: &'a mut TxQueue,
    next: Option<&'a mut SendNext>,
    path_mtu: Option<&'a PathMtu>,
    reply: bool,
}

impl TxToken for Outgoing<'_> {
    fn consume<R, F: FnOnce(&mut [u8]) -> R>(self, len: usize, f: F) -> R {
        let mut packet = BytesMut::zeroed(len);
        let result = f(&mut packet);
        if let Some(next) = self.next {
            next.apply(&mut packet);
        }
        if self.reply {
            self.queue.push_reply(packet);
        } else if let Some(path_mtu) = self.path_mtu {
            path_mtu.cut(packet, |piece| self.queue.push(piece));
        } else {
            self.queue.push(packet);
        }
        result
    }
}

//! smoltcp's view of the link: packets in from the caller, packets out to a bounded queue.

use std::collections::VecDeque;
use std::net::IpAddr;
use std::num::NonZeroUsize;

use bytes::BytesMut;
use smoltcp::phy::{Checksum, Device, DeviceCapabilities, Medium, RxToken, TxToken};
use smoltcp::time::Instant;
use webtun_wire::{MAX_PACKET_LEN, OffloadHeader};

use crate::fragment::Fragmenter;
use crate::outbound::{Outbound, TcpPacket};
use crate::segment_limit::SegmentLimit;
use crate::send_next::SendNext;
use crate::{mss, packet};

/// The longest TCP packets that smoltcp makes, in octets: as many whole segments of Ethernet's MSS (1460 over IPv4, 1440
/// over IPv6) as stay below 65,000. With longer ones Linux cuts in software what network cards could.
const MAX_TCP_IPV4: usize = 40 + 44 * 1460;
const MAX_TCP_IPV6: usize = 60 + 45 * 1440;

/// How many segments of Ethernet's a packet may hold on a slow link, where nothing can overtake what has begun.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Longest(usize);

impl Longest {
    /// From the longest packets to the shortest.
    pub const ALL: [Self; 4] = [Self(45), Self(11), Self(4), Self(1)];

    /// In octets.
    pub fn ipv4(self) -> usize {
        MAX_TCP_IPV4.min(40 + self.0 * 1460)
    }

    fn ipv6(self) -> usize {
        MAX_TCP_IPV6.min(60 + self.0 * 1440)
    }
}

/// Packets that leave the host, and those that turn round inside it.
///
/// The bound is the back-pressure: when it is reached, smoltcp gets no token, and data stays in the sockets.
pub(crate) struct TxQueue {
    packets: VecDeque<Outbound>,
    loopback: VecDeque<Outbound>,
    octets: usize,
    limit: usize,
    link_up: bool,
    own: Vec<IpAddr>,
    fragmenter: Option<Fragmenter>,
    pushed: u64,
    dropped: u64,
}

impl TxQueue {
    pub fn new(limit: usize, fragmenter: Option<Fragmenter>) -> Self {
        let (packets, loopback) = (VecDeque::new(), VecDeque::new());
        Self { packets, loopback, octets: 0, limit, link_up: true, own: Vec::new(), fragmenter, pushed: 0, dropped: 0 }
    }

    /// Changes the bound, in octets.
    pub fn set_limit(&mut self, limit: usize) {
        self.limit = limit;
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
    pub fn push(&mut self, packet: Outbound) {
        self.pushed += packet.octets().len() as u64;
        let own = packet::destination(packet.octets()).is_some_and(|address| self.own.contains(&address));
        let (queue, octets) = (if own { &mut self.loopback } else { &mut self.packets }, &mut self.octets);
        let mut put = |packet: Outbound| {
            *octets += packet.octets().len();
            queue.push_back(packet);
        };
        match (packet, &mut self.fragmenter) {
            (Outbound::Complete(packet), Some(fragmenter)) if !own => {
                fragmenter.cut(packet, |piece| put(Outbound::Complete(piece)));
            }
            (packet, _) => put(packet),
        }
    }

    /// Takes an answer to a packet that has arrived (an ACK, a RST, an ICMP message). Answers may use twice the bound,
    /// so that a full queue does not stop the arrival of what would empty it; beyond that they are dropped.
    pub fn push_reply(&mut self, packet: Outbound) {
        let open = packet::destination(packet.octets()).is_some_and(|address| self.is_open_to(address));
        if open && self.octets < self.limit.saturating_mul(2) {
            self.push(packet);
        } else {
            self.dropped += 1;
        }
    }

    /// The next packet for a link without offload, where it is at most `room` octets long.
    pub fn pop_within(&mut self, room: usize) -> Option<BytesMut> {
        if !self.link_up {
            return None;
        }
        let packet = match self.pop_front()? {
            Outbound::Complete(packet) => packet,
            packet => {
                let mut pieces = Vec::new();
                packet.plain(|piece| pieces.push(piece));
                pieces.into_iter().rev().for_each(|piece| self.put_back(piece));
                return self.pop_within(room);
            }
        };
        if packet.len() <= room {
            return Some(packet);
        }
        self.put_back(packet);
        None
    }

    /// The next packet for a link with offload, where it is at most `room` octets long.
    pub fn pop_offloaded_within(&mut self, room: usize) -> Option<(OffloadHeader, BytesMut)> {
        let fits = self.link_up && self.packets.front()?.octets().len() <= room;
        if fits { self.pop_front().map(Outbound::offloaded) } else { None }
    }

    fn pop_front(&mut self) -> Option<Outbound> {
        let packet = self.packets.pop_front()?;
        self.octets -= packet.octets().len();
        Some(packet)
    }

    fn put_back(&mut self, packet: BytesMut) {
        self.octets += packet.len();
        self.packets.push_front(Outbound::Complete(packet));
    }

    /// True where a packet waits for the link.
    pub fn has_packet(&self) -> bool {
        self.link_up && !self.packets.is_empty()
    }

    /// The next packet for ourselves. Nothing can befall it on its way, so TCP has no checksum.
    pub fn pop_loopback(&mut self) -> Option<BytesMut> {
        let (Outbound::Complete(octets) | Outbound::Tcp(TcpPacket { octets, .. })) = self.loopback.pop_front()?;
        self.octets -= octets.len();
        Some(octets)
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

    /// Octets taken so far.
    pub fn pushed(&self) -> u64 {
        self.pushed
    }

    /// Answers dropped so far.
    pub fn dropped(&self) -> u64 {
        self.dropped
    }
}

/// The sender of what smoltcp emits.
pub(crate) struct Sender<'a> {
    pub next: &'a mut SendNext,
    pub limit: &'a SegmentLimit,
}

/// The device for one call of smoltcp: at most one packet in, any number out.
pub(crate) struct Link<'a> {
    pub incoming: Option<&'a [u8]>,
    pub queue: &'a mut TxQueue,
    /// The connection that has its turn.
    pub sender: Option<Sender<'a>>,
    /// The true one; smoltcp is told of the largest.
    pub mtu: usize,
    /// What smoltcp is told of long packets.
    pub longest: Longest,
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
        capabilities(self.longest)
    }
}

impl Link<'_> {
    fn outgoing(&mut self, reply: bool) -> Outgoing<'_> {
        let sender = self.sender.as_mut().map(|sender| Sender { next: sender.next, limit: sender.limit });
        Outgoing { queue: self.queue, sender, mtu: self.mtu, reply }
    }
}

/// TCP checksums are not smoltcp's business: incoming ones are verified before, where need be, outgoing ones are made
/// when it is clear where the packet leaves.
fn capabilities(longest: Longest) -> DeviceCapabilities {
    let mut capabilities = DeviceCapabilities::default();
    capabilities.medium = Medium::Ip;
    capabilities.max_transmission_unit = MAX_PACKET_LEN;
    capabilities.checksum.tcp = Checksum::None;
    capabilities.segmentation.tcpv4 = NonZeroUsize::new(longest.ipv4());
    capabilities.segmentation.tcpv6 = NonZeroUsize::new(longest.ipv6());
    capabilities
}

/// The largest MSS on a link with this MTU: what is announced, and what smoltcp is told that the peer has announced.
pub(crate) fn largest_mss(is_ipv4: bool, mtu: usize) -> u16 {
    let (headers, longest) = if is_ipv4 { (40, MAX_TCP_IPV4) } else { (60, MAX_TCP_IPV6) };
    u16::try_from(mtu.min(longest).saturating_sub(headers)).unwrap_or(u16::MAX)
}

pub(crate) struct Incoming<'a>(&'a [u8]);

impl RxToken for Incoming<'_> {
    fn consume<R, F: FnOnce(&[u8]) -> R>(self, f: F) -> R {
        f(self.0)
    }
}

pub(crate) struct Outgoing<'a> {
    queue: &'a mut TxQueue,
    sender: Option<Sender<'a>>,
    mtu: usize,
    reply: bool,
}

impl TxToken for Outgoing<'_> {
    fn consume<R, F: FnOnce(&mut [u8]) -> R>(self, len: usize, f: F) -> R {
        let mut packet = BytesMut::zeroed(len);
        let result = f(&mut packet);
        let segment_size = match self.sender {
            Some(sender) => finish(&mut packet, sender, self.mtu),
            None => u16::MAX,
        };
        // smoltcp emits nothing but TCP here: the rest is not compiled in.
        let Some(packet) = TcpPacket::new(packet, segment_size).map(Outbound::Tcp) else { return result };
        if self.reply {
            self.queue.push_reply(packet);
        } else {
            self.queue.push(packet);
        }
        result
    }
}

/// Corrects what smoltcp has written, and says how much data a segment may carry.
fn finish(packet: &mut [u8], sender: Sender<'_>, mtu: usize) -> u16 {
    sender.next.apply(packet);
    let transport = packet::ip_header_len(packet);
    let is_ipv4 = transport == packet::IPV4_HEADER_LEN;
    let Some(segment) = packet.get_mut(transport..) else { return u16::MAX };
    if mss::is_syn(segment) {
        mss::clamp(segment, largest_mss(is_ipv4, mtu));
    }
    let data_offset = segment.get(12).map_or(0, |octet| usize::from(octet >> 4) * 4);
    sender.limit.segment_size(is_ipv4, transport + data_offset, mtu)
}

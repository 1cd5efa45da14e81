//! The only file that names `smoltcp::iface`: one `Interface`, and one single-socket `SocketSet` per connection.
//!
//! smoltcp scans the set that it is given, for every packet and every poll. With a set per connection, chosen by the
//! demultiplexer, its cost is independent of the number of connections.

use std::net::{IpAddr, SocketAddr};

use etherparse::{TcpHeaderSlice, TcpOptionElement};
use smoltcp::iface::{Config, Context, Interface, PollResult, SocketHandle, SocketSet, SocketStorage};
use smoltcp::socket::tcp;
use smoltcp::wire::{HardwareAddress, IpCidr};
use webtun_wire::Instant;

use crate::ack_steps::AckSteps;
use crate::arrival::Received;
use crate::buffers::Reservation;
use crate::device::{Link, Longest, Sender, TxQueue, largest_mss};
use crate::mss;
use crate::packet::{self, IpPacket};
use crate::recovery::{Ack, Recovery, Sent};
use crate::segment_limit::SegmentLimit;
use crate::send_next::SendNext;
use crate::time_wait::Finished;

/// How many addresses fit beside the two loopback ones (feature `iface-max-addr-count-8`).
pub(crate) const MAX_ADDRESSES: usize = 6;

/// How long an ACK may wait for data to travel with: smoltcp's own default.
const ACK_DELAY: smoltcp::time::Duration = smoltcp::time::Duration::from_millis(10);

/// An ACK is taken for no more than one for each so many octets, so that a peer with a tiny MSS does not make much work.
const SMALLEST_STEP: u16 = 536;

/// How much one connection sends before the next has its turn: whichever is reached first.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Share {
    pub packets: usize,
    pub octets: u64,
}

impl Share {
    /// The same, and no more than so many octets.
    pub fn within(self, octets: usize) -> Self {
        Self { octets: self.octets.min(octets as u64), ..self }
    }
}

/// How an egress turn ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Turn {
    /// The socket has nothing more to send now.
    Idle,
    /// The socket's share is used up.
    More,
    /// The queue is full.
    Blocked,
}

/// One TCP socket of smoltcp in a set of its own.
pub(crate) struct Core {
    /// Before the buffers: it has taken them, and is dropped first.
    set: SocketSet<'static>,
    handle: SocketHandle,
    next: SendNext,
    limit: SegmentLimit,
    received: Received,
    acks: AckSteps,
    recovery: Recovery,
    /// The sequence number behind the peer's FIN, where one has come.
    end: Option<u32>,
    /// Lives as long as the socket's buffers.
    _buffers: Reservation,
}

impl Core {
    pub fn new(socket: tcp::Socket<'static>, buffers: Reservation) -> Self {
        let mut set = SocketSet::new(vec![SocketStorage::EMPTY]);
        let handle = set.add(socket);
        Self {
            set,
            handle,
            next: SendNext::default(),
            limit: SegmentLimit::new(),
            received: Received::default(),
            acks: AckSteps::default(),
            recovery: Recovery::default(),
            end: None,
            _buffers: buffers,
        }
    }

    /// The peer has advertised this window.
    pub fn heard(&mut self, window: u16) {
        self.next.heard(window);
    }

    /// True for an ACK that stops short of our FIN when nothing else is outstanding, as one before it did.
    ///
    /// smoltcp 0.14 would forget such a FIN at the third one: its fast retransmit finds no data to send, and has stopped
    /// the timer. The ACK says nothing new, so it is kept from smoltcp, and the timer does its work.
    pub fn is_short_of_fin(&self, acknowledgment: u32) -> bool {
        let socket = self.socket();
        let closing = matches!(socket.state(), tcp::State::FinWait1 | tcp::State::Closing | tcp::State::LastAck);
        closing && socket.send_queue() == 0 && self.next.is_last(acknowledgment)
    }

    /// A FIN has come, perhaps too early; `end` is the sequence number behind it.
    pub fn heard_fin(&mut self, end: u32) {
        self.end = Some(end);
    }

    /// Where the connection is in TIME-WAIT and the peer knows: all that is still needed of it.
    pub fn finished(&self) -> Option<Finished> {
        let waits = self.socket().state() == tcp::State::TimeWait;
        self.end.filter(|_| waits).and_then(|end| self.next.finished(end))
    }

    /// A router on the path forwards no more than so many octets at once.
    pub fn limit_packets(&mut self, mtu: u32, is_ipv4: bool) {
        self.limit.heard_mtu(mtu, is_ipv4);
    }

    /// A segment with so many octets of data was handed over, when so many octets waited to be read. True where it has
    /// added its data to them, and nothing else.
    pub fn took(&mut self, header: &TcpHeaderSlice<'_>, data: usize, waiting: usize) -> bool {
        let growth = self.socket().recv_queue().saturating_sub(waiting);
        self.received.note(header, data, growth)
    }

    /// What has come holds several segments: its ACK does not wait for more (RFC 5681 section 4.2).
    pub fn expect_ack(&mut self, at_once: bool) {
        let delay = if at_once { smoltcp::time::Duration::ZERO } else { ACK_DELAY };
        self.socket_mut().set_ack_delay(Some(delay));
    }

    pub fn socket(&self) -> &tcp::Socket<'static> {
        self.set.get(self.handle)
    }

    pub fn socket_mut(&mut self) -> &mut tcp::Socket<'static> {
        self.set.get_mut(self.handle)
    }
}

/// The interface, without any socket.
pub(crate) struct Engine {
    /// One for each length of packets: smoltcp asks a device for its abilities once.
    interfaces: [(Longest, Interface); Longest::ALL.len()],
    /// The one that sends.
    chosen: usize,
    nobody: SocketSet<'static>,
    mtu: usize,
}

impl Engine {
    /// `stands_in`: every address counts as the interface's.
    pub fn new(mtu: usize, seed: u64, stands_in: bool, queue: &mut TxQueue, now: Instant) -> Self {
        let interfaces = Longest::ALL.map(|longest| {
            let mut config = Config::new(HardwareAddress::Ip);
            config.random_seed = seed;
            let mut link = Link { incoming: None, queue, sender: None, mtu, longest };
            let mut interface = Interface::new(config, &mut link, time(now));
            interface.set_any_ip(stands_in);
            (longest, interface)
        });
        Self { interfaces, chosen: 0, nobody: SocketSet::new(Vec::new()), mtu }
    }

    /// Makes packets of at most so many octets, where not even one segment would be longer.
    pub fn limit_packets(&mut self, octets: usize) {
        let last = self.interfaces.len() - 1;
        self.chosen = self.interfaces.iter().position(|(longest, _)| longest.ipv4() <= octets).unwrap_or(last);
    }

    /// The first, for what does not depend on the length.
    fn interface(&mut self) -> &mut Interface {
        &mut self.interfaces[0].1
    }

    /// Changes the MTU. Connections follow from their next segment on.
    pub fn set_mtu(&mut self, mtu: usize) {
        self.mtu = mtu;
    }

    /// Replaces the addresses. They are unicast, and at most [`MAX_ADDRESSES`] + 2.
    ///
    /// Prefixes are full length: the link has no neighbours to tell from others, and no address of a shorter prefix is
    /// a broadcast address here.
    pub fn set_addresses(&mut self, addresses: &[IpAddr]) {
        for (_, interface) in &mut self.interfaces {
            interface.update_ip_addrs(|list| {
                list.clear();
                for address in addresses {
                    let length = if address.is_ipv4() { 32 } else { 128 };
                    // A full list keeps the first ones; the caller has bounded them.
                    let _ = list.push(IpCidr::new((*address).into(), length));
                }
            });
        }
    }

    /// Opens `socket` towards `remote`; false where smoltcp finds the addresses unfit.
    pub fn connect(&mut self, socket: &mut tcp::Socket<'static>, local: SocketAddr, remote: SocketAddr) -> bool {
        let context: &mut Context = self.interface().context();
        socket.connect(context, remote, local).is_ok()
    }

    /// Hands one packet to one connection. Without one, smoltcp answers for nobody: a RST to a segment that has none.
    /// The caller has verified the checksum.
    pub fn ingress(
        &mut self,
        packet: &[u8],
        parsed: &IpPacket<'_>,
        mut core: Option<&mut Core>,
        queue: &mut TxQueue,
        now: Instant,
    ) {
        if mss::is_syn(parsed.payload) {
            let mut syn = packet.to_vec();
            let limit = largest_mss(parsed.destination.is_ipv4(), self.mtu);
            let mss = syn.get_mut(parsed.transport..).and_then(|segment| mss::clamp(segment, limit));
            if let (Some(core), Some(mss)) = (core.as_deref_mut(), mss) {
                core.limit.heard_mss(mss);
            }
            self.deliver(&syn, core, queue, now);
        } else {
            self.deliver(packet, core, queue, now);
        }
    }

    /// Hands an acceptable ACK (RFC 9293 section 3.10.7.4) to its connection in the steps that it stands for, save the last.
    /// Returns how many duplicates are to follow that; `None`: it says nothing that the connection should hear.
    pub fn acknowledge(
        &mut self,
        parsed: &IpPacket<'_>,
        header: &TcpHeaderSlice<'_>,
        core: &mut Core,
        queue: &mut TxQueue,
        now: Instant,
    ) -> Option<u8> {
        let (sequence, number) = (header.sequence_number(), header.acknowledgment_number());
        let Some(highest) =
            core.next.highest().filter(|_| core.received.is_next(sequence) && core.next.reaches(number))
        else {
            return Some(0);
        };
        let segment = core.limit.mss(parsed.source.is_ipv4()).max(SMALLEST_STEP);
        let repeated = core.next.take_repeated();
        if repeated > 0 || core.acks.is_new() {
            core.acks.begin(core.socket().send_capacity(), segment);
        }
        for number in core.acks.before(number, segment) {
            if let Some(ack) = packet::with_acknowledgment(parsed, sequence, number) {
                self.deliver(&ack, Some(core), queue, now);
            }
        }
        let is_pure = parsed.payload.len() == header.slice().len() && !header.fin();
        let is_selective =
            header.options_iterator().any(|it| matches!(it, Ok(TcpOptionElement::SelectiveAcknowledgement(..))));
        let ack = Ack { number, window: header.window_size(), is_pure, is_selective };
        core.recovery.heard(ack, Sent { highest, repeated, segment })
    }

    /// Hands so many duplicates of an ACK to its connection, after the segment that it came with. None where a FIN alone is
    /// to be repeated, which smoltcp would forget.
    pub fn repeat(
        &mut self,
        count: u8,
        parsed: &IpPacket<'_>,
        header: &TcpHeaderSlice<'_>,
        core: &mut Core,
        queue: &mut TxQueue,
        now: Instant,
    ) {
        if core.is_short_of_fin(header.acknowledgment_number()) {
            return;
        }
        let occupied = parsed.payload.len() - header.slice().len() + usize::from(header.fin());
        let sequence = header.sequence_number().wrapping_add(occupied as u32);
        for _ in 0..count {
            if let Some(ack) = packet::with_acknowledgment(parsed, sequence, header.acknowledgment_number()) {
                self.deliver(&ack, Some(core), queue, now);
            }
        }
    }

    fn deliver(&mut self, packet: &[u8], core: Option<&mut Core>, queue: &mut TxQueue, now: Instant) {
        let (set, sender) = match core {
            Some(core) => (&mut core.set, Some(Sender { next: &mut core.next, limit: &core.limit })),
            None => (&mut self.nobody, None),
        };
        let (longest, interface) = &mut self.interfaces[0];
        let mut link = Link { incoming: Some(packet), queue, sender, mtu: self.mtu, longest: *longest };
        interface.poll_ingress_single(time(now), &mut link, set);
    }

    /// Lets one connection send its share.
    pub fn egress(&mut self, core: &mut Core, share: Share, queue: &mut TxQueue, now: Instant) -> Turn {
        let before = queue.pushed();
        let (longest, interface) = &mut self.interfaces[self.chosen];
        for _ in 0..share.packets {
            let sender = Some(Sender { next: &mut core.next, limit: &core.limit });
            let mut link = Link { incoming: None, queue, sender, mtu: self.mtu, longest: *longest };
            if interface.poll_egress(time(now), &mut link, &mut core.set) == PollResult::None {
                return if queue.has_room() { Turn::Idle } else { Turn::Blocked };
            }
            if queue.pushed() - before >= share.octets {
                break;
            }
        }
        Turn::More
    }

    /// When the connection wants its next turn without any input.
    pub fn poll_at(&mut self, core: &Core, now: Instant) -> Option<Instant> {
        let at = self.interface().poll_at(time(now), &core.set)?;
        Some(Instant::from_micros(u64::try_from(at.total_micros()).unwrap_or(0)))
    }
}

fn time(now: Instant) -> smoltcp::time::Instant {
    smoltcp::time::Instant::from_micros(i64::try_from(now.as_micros()).unwrap_or(i64::MAX))
}

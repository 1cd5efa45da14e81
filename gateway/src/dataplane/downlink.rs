//! From the outside, and from the gateway's inner host, to a session. A packet from outside passes, in this order:
//!
//! 1. parse            offsets are checked once and for all, and what the device says about them
//! 2. address          it is for an external address of ours, and from one that can be outside
//! 3. reassemble       from here on there are whole datagrams only, with ports
//! 4. hop limit        enough for one more hop; the sender hears of it otherwise
//! 5. NAT              the mapping is found, its filter asked, the destination becomes the session's
//! 6. fit              one hop taken off (where that has not happened in the uplink), MSS clamped
//! 7. NAT64            what has come to the IPv4 side of a session's IPv6 address becomes IPv6
//! 8. queue            the session's, from which messages are made; many segments in one only where its client takes that

use bytes::BytesMut;
use core::hint::black_box;
use webtun_wire::{Instant, MAX_PACKET_LEN, OffloadHeader};

use super::icmp_error::{self, Problem};
use super::nat::{BATCH, GROWTH, Guess};
use super::packet::{Fragment, Packet, Side};
use super::peers::Present;
use super::queue::PACKET_OVERHEAD;
use super::{DropReason, Gateway, SessionId, mss, special};

impl Gateway {
    /// A packet from the egress, with what the device there has left to be done (the header length of `offload` may be any).
    /// It may be queued as it is: where it is a slice of something larger, that stays in memory.
    pub fn process_downlink(&mut self, packet: BytesMut, offload: &OffloadHeader, now: Instant) {
        self.process_downlink_batch([(packet, *offload)], now);
    }

    /// The same for many, which takes less time than one by one where there are many mappings.
    pub fn process_downlink_batch(
        &mut self,
        packets: impl IntoIterator<Item = (BytesMut, OffloadHeader)>,
        now: Instant,
    ) {
        let mut packets = packets.into_iter();
        let mut batch = core::mem::take(&mut self.batch);
        loop {
            batch.extend(packets.by_ref().take(BATCH));
            if batch.is_empty() {
                break;
            }
            let guesses = self.look_ahead_downlink(&batch);
            for ((packet, offload), guess) in batch.drain(..).zip(guesses) {
                self.stats.downlink.count(packet.len());
                if let Err(reason) = self.downlink(packet, &offload, guess, now) {
                    self.stats.count_drop(reason);
                }
            }
        }
        self.batch = batch;
        self.refresh_gauges();
    }

    /// Asks memory for what these packets will need.
    fn look_ahead_downlink(&self, batch: &[(BytesMut, OffloadHeader)]) -> [Guess; BATCH] {
        let places = self.nat.places(batch.iter().map(|(octets, _)| &octets[..]), Side::Destination);
        black_box(self.nat.ask_places(&places));
        let guesses = self.nat.guess(&places);
        black_box(self.nat.ask_mappings(&guesses[..batch.len()]));
        let mut last = None;
        for guess in &guesses[..batch.len()] {
            let id = self.nat.session_of(*guess);
            if id != last
                && let Some(session) = id.and_then(|id| self.sessions.get(&id))
            {
                let lanes = session.queue.look_at_lanes();
                black_box(session.look_at() ^ lanes ^ self.peers.get(session.peer_index).map_or(0, Present::look_at));
            }
            last = id;
        }
        guesses
    }

    /// A packet from the gateway's own inner host to a client.
    pub fn process_local(&mut self, packet: BytesMut, now: Instant) {
        let result = Packet::parse(packet).and_then(|mut packet| {
            if packet.headers.source != self.inner_host(packet.headers.source) {
                return Err(DropReason::SpoofedSource);
            }
            let to = *self.by_inner.get(&packet.headers.destination).ok_or(DropReason::NoSession)?;
            self.enqueue(to, &mut packet, now)
        });
        if let Err(reason) = result {
            self.stats.count_drop(reason);
        }
    }

    fn downlink(
        &mut self,
        octets: BytesMut,
        offload: &OffloadHeader,
        guess: Guess,
        now: Instant,
    ) -> Result<(), DropReason> {
        let mut packet = Packet::parse_device(octets, offload)?;
        packet.guess = guess;
        self.check_addresses(&packet)?;
        if let Some(fragment) = packet.headers.fragment {
            let Some(whole) = self.reassemble(&packet, fragment, now)? else { return Ok(()) };
            packet = whole;
        }
        self.check_hop_limit(&packet, now)?;
        let to = match self.nat.inbound(&mut packet, now) {
            Ok(to) => to,
            Err(reason) => {
                self.hold_unsolicited(&packet, reason, now);
                return Err(reason);
            }
        };
        self.path_mtus.heard(&packet, now);
        packet.decrement_hop_limit();
        self.deliver(to, &mut packet, now)
    }

    /// Stage 2. Nothing outside has an address of ours, an inner one, or one that is never forwarded (BCP 38).
    fn check_addresses(&self, packet: &Packet) -> Result<(), DropReason> {
        let source = packet.headers.source;
        if !self.nat.is_external(packet.headers.destination) {
            return Err(DropReason::NotExternal);
        }
        if self.is_external(source) || self.policy.is_inner(source) {
            return Err(DropReason::SpoofedSource);
        }
        let is_martian = special::is_martian(source) || self.policy.own.is_broadcast(source);
        if is_martian { Err(DropReason::Martian) } else { Ok(()) }
    }

    /// Stage 3. `None`: a fragment that waits for others.
    fn reassemble(&mut self, packet: &Packet, fragment: Fragment, now: Instant) -> Result<Option<Packet>, DropReason> {
        let whole = self.reassembler.push(packet, fragment, usize::MAX, now);
        let lost = self.reassembler.take_lost();
        self.stats.count_drops(DropReason::FragmentTimeout, lost);
        whole
    }

    /// Stage 4. The error is about the packet as it came, so it is made before the NAT has rewritten it.
    fn check_hop_limit(&mut self, packet: &Packet, now: Instant) -> Result<(), DropReason> {
        let headers = &packet.headers;
        if headers.hop_limit > 1 {
            return Ok(());
        }
        if self.outside_budget.take(now)
            && let Some(error) = icmp_error::build(&packet.octets, headers, headers.destination, Problem::HopLimit)
        {
            self.stats.icmp_errors += 1;
            self.transmit_octets(error);
        }
        Err(DropReason::HopLimit)
    }

    /// Stages 6 to 8, for what comes from outside and for what turns round.
    pub(super) fn deliver(&mut self, to: SessionId, packet: &mut Packet, now: Instant) -> Result<(), DropReason> {
        mss::clamp(packet, self.config.path_mtu);
        let Some(translator) = self.translator_of(to, packet.headers.destination) else {
            return self.enqueue(to, packet, now);
        };
        // With the larger header a packet of many segments may get too long for one.
        let is_long = packet.octets.len() + usize::from(GROWTH) > MAX_PACKET_LEN;
        if !is_long || packet.offload.segments.is_none() {
            return self.enqueue(to, &mut translator.to_ipv6(packet)?, now);
        }
        let packets = packet.take().into_plain();
        packets.iter().try_for_each(|packet| self.enqueue(to, &mut translator.to_ipv6(packet)?, now))
    }

    /// Stage 8, cut into segments where the client wants plain packets.
    pub(super) fn enqueue(&mut self, to: SessionId, packet: &mut Packet, now: Instant) -> Result<(), DropReason> {
        let header = packet.offload_header();
        let takes_offload = || self.sessions.get(&to).is_some_and(|it| it.tunnel.offload_context().is_some());
        if header == OffloadHeader::default() || takes_offload() {
            return self.enqueue_octets(to, core::mem::take(&mut packet.octets), header, now);
        }
        for piece in packet.take().into_plain() {
            if let Err(reason) = self.enqueue_octets(to, piece.octets, OffloadHeader::default(), now) {
                self.stats.count_drop(reason);
            }
        }
        Ok(())
    }

    /// A peer's sessions together hold no more than its total, and each no more than its own.
    pub(super) fn enqueue_octets(
        &mut self,
        to: SessionId,
        packet: BytesMut,
        offload: OffloadHeader,
        now: Instant,
    ) -> Result<(), DropReason> {
        let session = self.sessions.get_mut(&to).ok_or(DropReason::NoSession)?;
        let peer = self.peers.get_mut(session.peer_index).ok_or(DropReason::NoSession)?;
        if peer.queued + packet.len() + PACKET_OVERHEAD > peer.total.queue_octets {
            return Err(DropReason::QueueFull);
        }
        let before = session.queue.octets();
        session.queue.set_coalescing(session.tunnel.offload_context().is_some());
        let pushed = session.queue.push(packet, offload, now);
        peer.queued = peer.queued + session.queue.octets() - before;
        self.stats.count_drops(DropReason::QueueFull, pushed?);
        if session.is_announced {
            return Ok(());
        }
        if session.tunnel.has_message(&session.queue, now) {
            session.is_announced = true;
            self.events.push_back(super::Event::MessagesReady(to));
        } else if let Some(at) = session.tunnel.waits_for_company(&session.queue, now) {
            self.timers.set(&mut session.wake, to, at);
        }
        Ok(())
    }
}

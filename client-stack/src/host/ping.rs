use std::net::{IpAddr, SocketAddr};

use etherparse::IcmpEchoHeader;
use webtun_wire::Instant;

use super::{Host, TimerKey};
use crate::demux::SeededMap;
use crate::outbound::Outbound;
use crate::packet::{self, IpPacket};
use crate::socket::icmp;
use crate::timers::Scheduled;
use crate::{Datagram, PingError, PingId, PingOptions, SocketEvent};

/// Echo requests that may await their replies.
const MAX_PINGS: usize = 1024;

/// Octets of an ICMP echo header.
const ECHO_HEADER_LEN: usize = 8;

struct Pending {
    id: PingId,
    target: IpAddr,
    sent_at: Instant,
    deadline: Instant,
}

/// Echo requests on their way, by sequence number: those of one host share one identifier.
pub(super) struct Pings {
    pending: SeededMap<u16, Pending>,
    identifier: Option<u16>,
    next_sequence: u16,
    next_id: u32,
    scheduled: Scheduled,
}

impl Pings {
    pub fn new(random: u32) -> Self {
        let next_sequence = random as u16;
        Self {
            pending: SeededMap::default(),
            identifier: None,
            next_sequence,
            next_id: 1,
            scheduled: Scheduled::default(),
        }
    }

    pub fn identifier(&self) -> Option<u16> {
        self.identifier
    }

    fn free_sequence(&mut self) -> Option<u16> {
        if self.pending.len() >= MAX_PINGS {
            return None;
        }
        while self.pending.contains_key(&self.next_sequence) {
            self.next_sequence = self.next_sequence.wrapping_add(1);
        }
        let sequence = self.next_sequence;
        self.next_sequence = sequence.wrapping_add(1);
        Some(sequence)
    }
}

impl Host {
    /// Sends one echo request. `Pong` or `PingFailed` follows. Where the queue is full or the link down it is lost, as
    /// on any path.
    ///
    /// # Errors
    /// Where it could not be sent.
    pub fn ping(&mut self, target: IpAddr, options: PingOptions, now: Instant) -> Result<PingId, PingError> {
        let target = target.to_canonical();
        if !packet::is_unicast(target) {
            return Err(PingError::Unaddressable);
        }
        let source = self.source_for(target).ok_or(PingError::AddressNotAvailable)?;
        if packet::header_len(target) + ECHO_HEADER_LEN + options.len > self.config.mtu {
            return Err(PingError::TooLong);
        }
        let seq = self.pings.free_sequence().ok_or(PingError::TooManyPings)?;
        let echo = IcmpEchoHeader { id: self.ping_identifier(source), seq };
        let payload: Vec<u8> = (0..options.len).map(|at| at as u8).collect();
        let packet = icmp::echo_request(source, target, options.hop_limit.max(1), echo, &payload);
        let packet = packet.ok_or(PingError::TooLong)?;
        if self.queue.has_room() && self.queue.is_open_to(target) {
            self.queue.push(Outbound::Complete(packet));
        }
        let id = PingId::from_u32(self.pings.next_id);
        self.pings.next_id = self.pings.next_id.wrapping_add(1);
        let deadline = now + options.timeout;
        self.pings.pending.insert(seq, Pending { id, target, sent_at: now, deadline });
        self.timers.schedule(TimerKey::Pings, Some(deadline), &mut self.pings.scheduled);
        Ok(id)
    }

    /// The identifier is translated as a port is, so it comes from the same ranges.
    fn ping_identifier(&mut self, source: IpAddr) -> u16 {
        let (ports, echo_bound) = (&mut self.ports, &self.echo_bound);
        let known = self.pings.identifier.or_else(|| ports.pick(source, None, |port| !echo_bound.has(port)));
        *self.pings.identifier.insert(known.unwrap_or(1))
    }

    /// An echo reply to a ping, or to a request of a program's socket.
    pub(super) fn receive_pong(&mut self, parsed: &IpPacket<'_>, echo: IcmpEchoHeader, len: usize, now: Instant) {
        let ours = self.pings.identifier == Some(echo.id);
        let fits = self.pings.pending.get(&echo.seq).is_some_and(|pending| pending.target == parsed.source);
        if !ours || !fits {
            return self.receive_echo(parsed, echo);
        }
        if let Some(Pending { id, sent_at, .. }) = self.pings.pending.remove(&echo.seq) {
            let (rtt, hop_limit) = (now - sent_at, parsed.hop_limit);
            self.events.push_back(SocketEvent::Pong { id, from: parsed.source, rtt, len, hop_limit });
        }
    }

    fn receive_echo(&mut self, parsed: &IpPacket<'_>, echo: IcmpEchoHeader) {
        let (from, to) = (SocketAddr::new(parsed.source, 0), SocketAddr::new(parsed.destination, echo.id));
        let Some(id) = self.echo_bound.find(to, from) else { return };
        let Some(socket) = self.udp.get_mut(&id) else { return };
        match socket.receive(Datagram { from, to: to.ip(), payload: parsed.payload.to_vec() }) {
            Some(true) => self.events.push_back(SocketEvent::UdpReadable(id)),
            Some(false) => {}
            None => self.stats.datagrams_dropped += 1,
        }
    }

    /// A report about the echo request with this identifier, sequence number and target.
    pub(super) fn fail_ping(
        &mut self,
        identifier: u16,
        sequence: u16,
        target: IpAddr,
        from: Option<IpAddr>,
        error: PingError,
    ) {
        let ours = self.pings.identifier == Some(identifier);
        let fits = self.pings.pending.get(&sequence).is_some_and(|pending| pending.target == target);
        if !ours || !fits {
            return;
        }
        if let Some(pending) = self.pings.pending.remove(&sequence) {
            self.events.push_back(SocketEvent::PingFailed { id: pending.id, from, error });
        }
    }

    /// Fails every echo request to `target` that is on its way.
    pub(super) fn fail_pings_to(&mut self, target: IpAddr, error: PingError) {
        let failed = self.pings.pending.extract_if(|_, pending| pending.target == target);
        self.events.extend(failed.map(|(_, pending)| SocketEvent::PingFailed { id: pending.id, from: None, error }));
    }

    pub(super) fn fail_pings(&mut self, error: PingError) {
        self.pings.identifier = None;
        let failed = std::mem::take(&mut self.pings.pending).into_values();
        self.events.extend(failed.map(|pending| SocketEvent::PingFailed { id: pending.id, from: None, error }));
    }

    pub(super) fn ping_timer(&mut self, at: Instant, now: Instant) {
        if !self.pings.scheduled.take(at) {
            return;
        }
        let late = self.pings.pending.extract_if(|_, pending| pending.deadline <= now);
        let error = PingError::TimedOut;
        self.events.extend(late.map(|(_, pending)| SocketEvent::PingFailed { id: pending.id, from: None, error }));
        let next = self.pings.pending.values().map(|pending| pending.deadline).min();
        self.timers.schedule(TimerKey::Pings, next, &mut self.pings.scheduled);
    }
}

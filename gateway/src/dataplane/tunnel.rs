//! The server half of the tunnel: one session's messages, sequenced and not, across connections.
//!
//! What must not be lost goes into sequenced messages, which are kept until the client acknowledges them and sent again
//! on the next connection. PING, PONG and bare ACK belong to one connection and are forgotten with it.
//!
//! Bounds: sequenced messages by `unacknowledged` octets and one message, control capsules by [`MAX_CONTROL`], unanswered
//! PINGs by [`MAX_PONGS`] (further ones go without an answer).

use bytes::{Bytes, BytesMut};
use core::time::Duration;
use std::collections::VecDeque;
use subtle::ConstantTimeEq;
use webtun_wire::{
    Accept, AssignedAddress, BatchWriter, Capsule, FlowDenied, Instant, OffloadHeader, PortBlock, Prefix,
    ReceiveWindow, ReplayError, SendRing,
};

use super::contexts::Contexts;
use super::gather::{Gather, GatherWriter, LONG, Spare};
use super::lease::Lease;
use super::portcontrol::PortAnswer;
use super::queue::{Content, Queue, Queued};
use super::stats::Stats;
use super::{GatewayConfig, PACKET_CONTEXT};

/// How long an ACK may wait for a message to ride on. One that is due does not wait: it is what a client that uploads sends more by.
const ACK_DELAY: Duration = Duration::from_millis(50);
/// A connection that is silent for so many ping intervals is given up.
const LOST_AFTER: u32 = 2;
/// While the client has so many octets to deal with, a short message waits for company, for as long after the last one: every
/// message has its price. What the price is paid for, that a flow with little to say is soon heard, it has at once.
const BUSY: usize = 64 * 1024;
const COMPANY: Duration = Duration::from_millis(1);
/// A message with so many octets ends where another flow has its turn: a client hands on the memory of a message to the
/// flow that most of it is of, and has to copy for the others.
const OF_ITS_OWN: usize = 64 * 1024;
/// Control capsules that wait; a quarter of it is kept free for answers to requests.
const MAX_CONTROL: usize = 256;
/// PINGs that wait for their PONG.
const MAX_PONGS: usize = 16;

/// A capsule that must not be lost.
#[derive(Clone, Copy, Debug)]
pub(super) enum Control {
    FlowDenied(FlowDenied),
    PortMap(PortAnswer),
    ContextAck(u64),
    ContextClose(u64),
    /// ADDRESS_ASSIGN, with the requests that it answers (0: none) for IPv4 and IPv6.
    Addresses(u64, u64),
    Drain(u32),
}

/// What a handshake answer or a resumption needs to know of a session.
#[derive(Debug)]
pub(super) struct Tunnel {
    pub identity: [u8; 16],
    pub secret: [u8; 32],
    link: Option<Link>,
    /// When a session without a connection ends.
    grace_end: Instant,
    send: SendRing<Kept>,
    receive: ReceiveWindow,
    control: VecDeque<Control>,
    /// About streams.
    answers: VecDeque<Capsule<'static>>,
    /// Until when all of them wait for company.
    answers_at: Option<Instant>,
    contexts: Contexts,
    /// The list of port blocks has changed since it was last sent.
    pub ports_changed: bool,
    ping_interval: Duration,
    message_len: usize,
    pub rtt: Option<Duration>,
}

/// A sequenced message, kept until it is acknowledged.
#[derive(Debug)]
struct Kept {
    message: Gather,
    /// When it was made.
    since: Instant,
}

/// What belongs to one connection.
#[derive(Debug)]
struct Link {
    handshake: Option<Bytes>,
    /// Sequenced messages below this number have been sent on this connection.
    sent: u64,
    pongs: VecDeque<u64>,
    wants_ping: bool,
    ping_at: Instant,
    lost_at: Instant,
    ack_at: Option<Instant>,
    /// The ACK's time has come; it waits for the connection, and for no timer.
    ack_overdue: bool,
    /// Octets of all messages received.
    received: u64,
}

/// What time has made of a tunnel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Tick {
    Nothing,
    /// The connection has been silent for too long.
    Lost,
    /// The grace is over.
    Expired,
}

impl Tunnel {
    pub(super) fn new(identity: [u8; 16], secret: [u8; 32], config: &GatewayConfig, now: Instant) -> Self {
        Self {
            identity,
            secret,
            link: None,
            grace_end: now + config.grace,
            send: SendRing::new(config.unacknowledged),
            receive: ReceiveWindow::new(),
            control: VecDeque::new(),
            answers: VecDeque::new(),
            answers_at: None,
            contexts: Contexts::default(),
            ports_changed: false,
            ping_interval: config.ping_interval,
            message_len: config.message_len,
            rtt: None,
        }
    }

    /// Something from each of the cache lines that a packet needs; what it returns means nothing.
    pub(super) fn look_at(&self) -> u64 {
        let link = self
            .link
            .as_ref()
            .map_or(0, |link| link.sent ^ link.received ^ link.lost_at.as_micros() ^ link.pongs.len() as u64);
        let send = self.send.first_number() ^ self.send.next_number();
        let control = self.control.len() ^ self.message_len;
        link ^ send ^ self.receive.next() ^ control as u64 ^ u64::from(self.rtt.is_some())
    }

    /// Whether a client that wants to resume knows the secret.
    pub(super) fn knows(&self, secret: &[u8; 32]) -> bool {
        self.secret.ct_eq(secret).into()
    }

    /// The peer's handshake says that it expects `next`.
    pub(super) fn resume(&mut self, next: u64) -> Result<(), ReplayError> {
        self.send.resume(next)
    }

    /// The next sequenced message that is expected.
    pub(super) fn expected(&self) -> u64 {
        self.receive.next()
    }

    /// A connection whose handshake is answered by `handshake`; an earlier one is forgotten.
    pub(super) fn attach(&mut self, handshake: Bytes, received: usize, now: Instant) {
        self.receive.acked();
        // The handshake's answer lists the ports, but a message that is sent again after it may carry an older list.
        self.ports_changed &= !self.send.is_empty();
        self.link = Some(Link {
            handshake: Some(handshake),
            sent: self.send.first_number(),
            pongs: VecDeque::new(),
            wants_ping: false,
            ping_at: now + self.ping_interval,
            lost_at: now + self.ping_interval * LOST_AFTER,
            ack_at: None,
            ack_overdue: false,
            received: received as u64,
        });
    }

    /// When the session ends, where it waits for its client.
    pub(super) fn grace_end(&self) -> Option<Instant> {
        self.link.is_none().then_some(self.grace_end)
    }

    /// The connection is gone. False where there was none.
    pub(super) fn detach(&mut self, grace: Duration, now: Instant) -> bool {
        self.grace_end = now + grace;
        self.link.take().is_some()
    }

    pub(super) fn is_attached(&self) -> bool {
        self.link.is_some()
    }

    /// A message of `len` octets has come on the connection.
    pub(super) fn heard(&mut self, len: usize, now: Instant) {
        let Some(link) = &mut self.link else { return };
        link.received += len as u64;
        link.wants_ping = false;
        link.ping_at = now + self.ping_interval;
        link.lost_at = now + self.ping_interval * LOST_AFTER;
    }

    /// The message is a sequenced one.
    pub(super) fn accept(&mut self, number: u64, len: usize, now: Instant) -> Result<Accept, ReplayError> {
        let accept = self.receive.accept(number, len)?;
        if let Some(link) = &mut self.link {
            let at = if self.receive.ack_due() { now } else { now + ACK_DELAY };
            link.ack_at = Some(link.ack_at.map_or(at, |before| before.min(at)));
        }
        Ok(accept)
    }

    /// The peer has the messages below `next`. Their memory is kept for others.
    pub(super) fn acknowledge(&mut self, next: u64, spare: &mut Spare) -> Result<(), ReplayError> {
        self.send.acknowledge_each(next, |kept| spare.put(kept.message))
    }

    pub(super) fn ping(&mut self, opaque: u64) {
        if let Some(link) = &mut self.link
            && link.pongs.len() < MAX_PONGS
        {
            link.pongs.push_back(opaque);
        }
    }

    /// A PONG has come; our PINGs carry the time at which they were made.
    pub(super) fn pong(&mut self, opaque: u64, now: Instant) {
        if opaque <= now.as_micros() {
            self.rtt = Some(now - Instant::from_micros(opaque));
        }
    }

    /// Queues a notice. False where too many wait, and it is lost.
    pub(super) fn notify(&mut self, control: Control) -> bool {
        let has_room = self.control.len() < MAX_CONTROL - MAX_CONTROL / 4;
        if has_room {
            self.control.push_back(control);
        }
        has_room
    }

    /// Queues an answer. False where the client asks faster than it reads.
    #[must_use]
    pub(super) fn answer(&mut self, control: Control) -> bool {
        let has_room = self.control.len() < MAX_CONTROL;
        if has_room {
            self.control.push_back(control);
        }
        has_room
    }

    /// Answers to requests for ports that wait.
    pub(super) fn port_answers(&mut self) -> impl Iterator<Item = &mut PortAnswer> {
        self.control.iter_mut().filter_map(|control| match control {
            Control::PortMap(answer) => Some(answer),
            _ => None,
        })
    }

    /// Queues what the client is to know of a stream, as often as [`Tunnel::answers`] is within bounds.
    pub(super) fn answer_stream(&mut self, answer: Capsule<'static>) {
        self.answers.push_back(answer);
        self.answers_at = None;
    }

    /// The same for what need not go at once, where nothing else does: the server is about to answer, and one message is
    /// cheaper than two.
    pub(super) fn answer_stream_soon(&mut self, answer: Capsule<'static>, now: Instant) {
        if self.answers.is_empty() {
            self.answers_at = Some(now + COMPANY);
        }
        self.answers.push_back(answer);
    }

    /// How many answers about streams wait.
    pub(super) fn answers(&self) -> usize {
        self.answers.len()
    }

    /// The client offers a context. True: it is open; false: it is declined.
    pub(super) fn offer(&mut self, context: u64, kind: u64, allowed: bool) -> bool {
        self.contexts.offer(context, kind, allowed)
    }

    /// Whether a context is offered that is open as another kind.
    pub(super) fn differs(&self, context: u64, kind: u64) -> bool {
        self.contexts.differs(context, kind)
    }

    /// The client ends a context. True where it takes plain packets alone from now on.
    pub(super) fn close_context(&mut self, context: u64) -> bool {
        let was_open = self.contexts.contains(context);
        self.contexts.close(context);
        was_open && self.contexts.first().is_none()
    }

    /// Whether this context is open for packets with an offload header.
    pub(super) fn has_context(&self, context: u64) -> bool {
        self.contexts.contains(context)
    }

    /// The context in which the client takes packets with an offload header.
    pub(super) fn offload_context(&self) -> Option<u64> {
        self.contexts.first()
    }

    /// Whether [`Tunnel::next_message`] has one.
    pub(super) fn has_message(&self, queue: &Queue, now: Instant) -> bool {
        let Some(link) = &self.link else { return false };
        link.handshake.is_some()
            || link.wants_ping
            || !link.pongs.is_empty()
            || self.is_ack_due(link, now)
            || link.sent < self.send.next_number()
            || self.has_content(queue, now)
    }

    /// Whether a sequenced message can be made.
    fn has_content(&self, queue: &Queue, now: Instant) -> bool {
        let has_packet = || queue.is_ready(now) && self.waits_for_company(queue, now).is_none();
        let has_answer = !self.answers.is_empty() && self.answers_at.is_none_or(|at| at <= now);
        let has_control = self.ports_changed || !self.control.is_empty() || has_answer;
        self.send.has_room() && (has_control || has_packet())
    }

    /// Until when what is queued waits to go together with more, in one long message.
    pub(super) fn waits_for_company(&self, queue: &Queue, now: Instant) -> Option<Instant> {
        let is_bulk = queue.octets_of_first() >= LONG && queue.octets() < self.message_len;
        let last = self.send.iter().next_back().filter(|_| is_bulk && self.send.octets() >= BUSY)?;
        Some(last.since + COMPANY).filter(|until| *until > now)
    }

    /// The next message: the handshake's answer, then what is unsequenced, then what the last connection has lost, then
    /// a new one with as many packets as fit.
    pub(super) fn next_message(
        &mut self,
        queue: &mut Queue,
        blocks: impl FnOnce() -> Vec<PortBlock>,
        lease: &Lease,
        stats: &mut Stats,
        now: Instant,
    ) -> Option<Gather> {
        let link = self.link.as_mut()?;
        if let Some(handshake) = link.handshake.take() {
            return Some(handshake.into());
        }
        if let Some(message) = self.unsequenced(queue, now) {
            return Some(message.into());
        }
        let link = self.link.as_mut()?;
        if let Some(kept) = self.send.get(link.sent) {
            link.sent += 1;
            return Some(kept.message.clone());
        }
        let message = self.sequenced(queue, blocks, lease, stats, now)?;
        let number = self.send.push(Kept { message: message.clone(), since: now }, message.len());
        if let Some(link) = &mut self.link {
            link.sent = number + 1;
        }
        Some(message)
    }

    fn is_ack_due(&self, link: &Link, now: Instant) -> bool {
        self.receive.ack_pending() && link.ack_at.is_some_and(|at| at <= now)
    }

    fn unsequenced(&mut self, queue: &Queue, now: Instant) -> Option<Bytes> {
        let link = self.link.as_ref()?;
        let can_ride = link.sent == self.send.next_number() && self.has_content(queue, now);
        let is_ack_due = !can_ride && self.is_ack_due(link, now);
        let link = self.link.as_mut()?;
        if !is_ack_due && !link.wants_ping && link.pongs.is_empty() {
            return None;
        }
        let mut writer = BatchWriter::new(self.message_len);
        let mut fits = true;
        if self.receive.ack_pending() {
            fits &= writer.push(&Capsule::Ack { next: self.receive.next() });
            self.receive.acked();
            link.clear_ack();
        }
        for opaque in link.pongs.drain(..) {
            fits &= writer.push(&Capsule::Pong { opaque, received: link.received });
        }
        if core::mem::take(&mut link.wants_ping) {
            fits &= writer.push(&Capsule::Ping { opaque: now.as_micros() });
        }
        debug_assert!(fits, "a dozen small capsules fit any message");
        Some(writer.finish().into())
    }

    fn sequenced(
        &mut self,
        queue: &mut Queue,
        blocks: impl FnOnce() -> Vec<PortBlock>,
        lease: &Lease,
        stats: &mut Stats,
        now: Instant,
    ) -> Option<Gather> {
        if !self.has_content(queue, now) {
            return None;
        }
        let mut writer = BatchWriter::with_sequence(self.message_len, self.send.next_number());
        if queue.front().is_some_and(|(_, first)| first.packet.len() < LONG) {
            writer.expect(queue.octets_of_next(OF_ITS_OWN));
        }
        if self.receive.ack_pending() && writer.push(&Capsule::Ack { next: self.receive.next() }) {
            self.receive.acked();
            if let Some(link) = &mut self.link {
                link.clear_ack();
            }
        }
        if self.ports_changed && writer.push(&Capsule::ExternalPorts(blocks())) {
            self.ports_changed = false;
        }
        while let Some(control) = self.control.front()
            && writer.push(&control.capsule(lease))
        {
            self.control.pop_front();
        }
        while let Some(answer) = self.answers.front()
            && writer.push(answer)
        {
            self.answers.pop_front();
            self.answers_at = None;
        }
        let mut writer = GatherWriter::new(writer);
        // Data of a stream never overtakes the word that it is open.
        if self.answers.is_empty() {
            self.fill(&mut writer, queue, stats, now);
        }
        Some(writer.finish())
    }

    fn fill(&self, writer: &mut GatherWriter, queue: &mut Queue, stats: &mut Stats, now: Instant) {
        let mut flow = None;
        let longest = queue.longest();
        while queue.is_ready(now)
            && let Some((lane, Queued { content, packet, offload, since })) = queue.front()
            && (flow == Some(lane) || writer.batch.len() < OF_ITS_OWN)
        {
            let since = *since;
            if *content == Content::Packet {
                let is_taken = match self.contexts.first() {
                    Some(context) if *offload != OffloadHeader::default() => {
                        writer.push_packet(context, Some(offload), packet)
                    }
                    _ => writer.push_packet(PACKET_CONTEXT, None, packet),
                };
                if !is_taken {
                    return;
                }
                stats.delivered.count(packet.len());
                writer.append(queue.pop().map_or_else(BytesMut::new, |queued| queued.packet));
            } else {
                let Some(taken) = push_stream(writer, *content, packet, longest) else { return };
                writer.append(queue.pop_stream(taken));
            }
            stats.queue_delay.observe(now.saturating_duration_since(since));
            flow = Some(lane);
        }
    }

    /// When [`Tunnel::tick`] has work to do, or a message is ready that is not now.
    pub(super) fn next_timeout(&self, queue: &Queue, now: Instant) -> Instant {
        let Some(link) = &self.link else { return self.grace_end };
        let ack = link.ack_at.filter(|_| !link.ack_overdue && self.receive.ack_pending());
        let company = self.waits_for_company(queue, now);
        let answers = self.answers_at.filter(|at| *at > now);
        ack.into_iter().chain(company).chain(answers).fold(link.ping_at.min(link.lost_at), Instant::min)
    }

    /// Looks at the clock.
    pub(super) fn tick(&mut self, now: Instant) -> Tick {
        let Some(link) = &mut self.link else {
            return if self.grace_end <= now { Tick::Expired } else { Tick::Nothing };
        };
        if link.lost_at <= now {
            return Tick::Lost;
        }
        if link.ping_at <= now {
            link.wants_ping = true;
            link.ping_at = now + self.ping_interval;
        }
        link.ack_overdue = link.ack_at.is_some_and(|at| at <= now);
        Tick::Nothing
    }
}

impl Link {
    fn clear_ack(&mut self) {
        (self.ack_at, self.ack_overdue) = (None, false);
    }
}

impl Control {
    fn capsule(&self, lease: &Lease) -> Capsule<'static> {
        match self {
            Self::FlowDenied(denied) => Capsule::FlowDenied(*denied),
            Self::PortMap(answer) => Capsule::PortMapResponse(answer.response),
            Self::ContextAck(context) => Capsule::ContextAck { context: *context },
            Self::ContextClose(context) => Capsule::ContextClose { context: *context },
            Self::Addresses(v4, v6) => Capsule::AddressAssign(addresses(lease, *v4, *v6)),
            Self::Drain(retry_after_ms) => Capsule::Drain { retry_after_ms: *retry_after_ms },
        }
    }
}

/// Puts as much of a stream's piece into a message as fits, at most `longest` octets; `None` where none does.
fn push_stream(writer: &mut GatherWriter, content: Content, data: &[u8], longest: usize) -> Option<usize> {
    let is_taken = match content {
        Content::Packet => false,
        Content::Data(stream) => {
            let len = data.len().min(writer.batch.stream_room(stream)).min(longest.max(1));
            return (len > 0 && writer.push_stream(stream, &data[..len])).then_some(len);
        }
        Content::Finish(stream) => writer.batch.push(&Capsule::StreamFinish { stream }),
        Content::Reset(stream, reason) => writer.batch.push(&Capsule::StreamReset { stream, reason }),
    };
    is_taken.then_some(0)
}

/// The list of a session's addresses, as answers to the requests with these numbers.
pub(super) fn addresses(lease: &Lease, v4: u64, v6: u64) -> Vec<AssignedAddress> {
    vec![
        AssignedAddress { request_id: v4, prefix: Prefix { address: lease.v4.into(), length: 32 } },
        AssignedAddress { request_id: v6, prefix: Prefix { address: lease.v6.into(), length: 128 } },
    ]
}

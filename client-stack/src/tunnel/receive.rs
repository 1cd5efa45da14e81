use std::collections::VecDeque;
use std::time::Duration;

use webtun_wire::{
    Accept, Capsule, Close, CloseCode, DecodeError, FlowDenied, Instant, Limits, MAX_MESSAGE_LEN, MAX_PACKET_LEN,
    PortMapResponse, Session as SessionCapsule, StreamLimits, VERSION,
};

use super::liveness::Liveness;
use super::pace::Pace;
use super::session::{Lease, OffloadContext, Session};
use super::{ACK_DELAY, Connection, MAX_PONGS, MESSAGE_OVERHEAD, OFFLOAD_CONTEXT, Phase, Tunnel, TunnelEvent};
use crate::{Status, streams};

/// What a capsule means to others than the tunnel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Incoming<'a> {
    Packet(&'a [u8]),
    /// An offload header and a packet.
    Offloaded(&'a [u8]),
    FlowDenied(FlowDenied),
    PortMap(PortMapResponse),
    /// About a stream.
    Stream(streams::AboutStream<'a>),
    /// The tunnel has dealt with it.
    Done,
    /// The rest of the message is to be skipped.
    Skip,
}

/// The gateway's handshake, capsule by capsule.
#[derive(Debug, Default)]
pub(super) struct Answer {
    session: Option<SessionCapsule>,
    limits: Option<Limits>,
    lease: Lease,
    offload: Option<OffloadContext>,
    streams: Option<StreamLimits>,
}

impl Tunnel {
    /// A message has come; false where nobody waits for one. Its capsules go to [`handle_capsule`], then
    /// [`end_message`] is called.
    ///
    /// [`handle_capsule`]: Self::handle_capsule
    /// [`end_message`]: Self::end_message
    pub fn begin_message(&mut self, len: usize, now: Instant) -> bool {
        match &mut self.phase {
            Phase::Established(connection) => connection.liveness.heard(now),
            Phase::Handshaking { hello_sent: true, .. } => {}
            _ => return false,
        }
        self.stats.messages_received += 1;
        self.stats.octets_received += len as u64;
        self.received += len as u64;
        self.message_len = len;
        self.message_begun = false;
        true
    }

    /// The message is not what the specification says.
    pub fn handle_malformed(&mut self, _error: DecodeError, now: Instant) {
        self.protocol_error("malformed message", now);
    }

    pub fn handle_capsule<'a>(&mut self, capsule: Capsule<'a>, now: Instant) -> Incoming<'a> {
        let first = !std::mem::replace(&mut self.message_begun, true);
        match &mut self.phase {
            Phase::Handshaking { answer, .. } => match capsule {
                Capsule::Close(close) => self.refused(&close, now),
                Capsule::Session(session) if first => {
                    answer.get_or_insert_default().session = Some(session);
                }
                capsule if first => return self.wrong(&capsule, now),
                Capsule::Limits(limits) => answer.get_or_insert_default().limits = Some(limits),
                Capsule::StreamLimits(limits) if streams::LIMITS.is_some() && self.config.streams => {
                    answer.get_or_insert_default().streams = Some(limits);
                }
                Capsule::ContextAck { context: OFFLOAD_CONTEXT } if self.config.offload => {
                    answer.get_or_insert_default().offload = Some(OffloadContext::Open);
                }
                Capsule::ContextClose { context: OFFLOAD_CONTEXT } => {
                    answer.get_or_insert_default().offload = Some(OffloadContext::Closed);
                }
                capsule => {
                    answer.get_or_insert_default().lease.apply(&capsule);
                }
            },
            Phase::Established(_) => return self.established_capsule(capsule, first, now),
            _ => return Incoming::Skip,
        }
        Incoming::Done
    }

    /// A capsule about streams breaks their rules.
    pub fn handle_breach(&mut self, now: Instant) {
        self.protocol_error("a stream is used against its rules", now);
    }

    fn wrong<'a>(&mut self, _capsule: &Capsule<'_>, now: Instant) -> Incoming<'a> {
        self.protocol_error("capsule out of place", now);
        Incoming::Skip
    }

    fn established_capsule<'a>(&mut self, capsule: Capsule<'a>, first: bool, now: Instant) -> Incoming<'a> {
        let capsule = match streams::about(capsule) {
            Ok(about) => return Incoming::Stream(about),
            Err(capsule) => capsule,
        };
        match capsule {
            Capsule::Datagram { context: 0, payload } => return Incoming::Packet(payload),
            Capsule::Datagram { context: OFFLOAD_CONTEXT, payload } if self.is_offload(OffloadContext::Open) => {
                return Incoming::Offloaded(payload);
            }
            Capsule::Datagram { .. } => self.stats.unknown_contexts += 1,
            Capsule::ContextAck { context: OFFLOAD_CONTEXT }
                if self.config.offload && self.is_offload(OffloadContext::Absent) =>
            {
                self.set_offload(OffloadContext::Open);
            }
            Capsule::ContextClose { context: OFFLOAD_CONTEXT } => self.set_offload(OffloadContext::Closed),
            Capsule::Sequence { number } if first => return self.sequence(number, now),
            Capsule::Ack { next } => self.acknowledged(next, now),
            Capsule::Ping { opaque } => self.ping(opaque),
            Capsule::Pong { opaque, received } => self.pong(opaque, received, now),
            Capsule::Close(close) => {
                self.closed(&close, now);
                return Incoming::Skip;
            }
            Capsule::Drain { retry_after_ms } => self.drain(Duration::from_millis(retry_after_ms.into()), now),
            Capsule::FlowDenied(denied) => return Incoming::FlowDenied(denied),
            Capsule::PortMapResponse(response) => return Incoming::PortMap(response),
            Capsule::Limits(limits) => self.change_limits(limits, now),
            Capsule::AddressAssign(_) | Capsule::DnsAssign(_) | Capsule::Pref64(_) | Capsule::ExternalPorts(_) => {
                if self.session.as_mut().is_some_and(|session| session.lease.apply(&capsule)) {
                    self.events.push_back(TunnelEvent::LeaseChanged);
                }
            }
            Capsule::Sequence { .. }
            | Capsule::Session(_)
            | Capsule::Hello(_)
            | Capsule::AddressRequest(_)
            | Capsule::ContextAssign { .. }
            | Capsule::PortMapRequest(_)
            | Capsule::StreamLimits(_)
            | Capsule::StreamOpen(_)
            | Capsule::StreamOpened(_)
            | Capsule::StreamData { .. }
            | Capsule::StreamCredit { .. }
            | Capsule::StreamFinish { .. }
            | Capsule::StreamReset { .. } => return self.wrong(&capsule, now),
            // We have offered no other context; routes are the gateway's policy, which it enforces; the rest is for others.
            Capsule::ContextAck { .. }
            | Capsule::ContextClose { .. }
            | Capsule::RouteAdvertisement(_)
            | Capsule::Unknown { .. } => {}
        }
        Incoming::Done
    }

    fn is_offload(&self, state: OffloadContext) -> bool {
        self.session.as_ref().is_some_and(|session| session.offload == state)
    }

    fn set_offload(&mut self, state: OffloadContext) {
        if let Some(session) = &mut self.session {
            session.offload = state;
        }
    }

    fn sequence<'a>(&mut self, number: u64, now: Instant) -> Incoming<'a> {
        let Some(session) = &mut self.session else { return Incoming::Skip };
        match session.window.accept(number, self.message_len) {
            Ok(Accept::New) => {}
            Ok(Accept::Duplicate) => {
                self.stats.duplicates += 1;
                return Incoming::Skip;
            }
            Err(_) => {
                self.protocol_error("a message is missing", now);
                return Incoming::Skip;
            }
        }
        if let Phase::Established(connection) = &mut self.phase {
            connection.ack_now |= session.window.ack_due();
            connection.ack_at.get_or_insert(now + ACK_DELAY);
        }
        Incoming::Done
    }

    fn acknowledged(&mut self, next: u64, now: Instant) {
        if self.session.as_mut().is_some_and(|session| session.ring.acknowledge(next).is_err()) {
            return self.protocol_error("acknowledgement of what was not sent", now);
        }
        if let Phase::Established(connection) = &mut self.phase {
            connection.pace.acknowledged(next, now);
        }
    }

    fn ping(&mut self, opaque: u64) {
        if let Phase::Established(connection) = &mut self.phase
            && connection.pongs.len() < MAX_PONGS
        {
            connection.pongs.push_back(opaque);
        }
    }

    fn pong(&mut self, opaque: u64, received: u64, now: Instant) {
        if let Phase::Established(connection) = &mut self.phase {
            connection.pace.received(received, now);
            if let Some(round_trip) = connection.liveness.pong(opaque, now) {
                connection.pace.observe_round_trip(round_trip, now);
                self.rtt = Some(round_trip);
            }
        }
    }

    fn drain(&mut self, retry_after: Duration, now: Instant) {
        if let Phase::Established(connection) = &mut self.phase {
            connection.drain_at = Some(now + retry_after);
        }
    }

    fn change_limits(&mut self, limits: Limits, now: Instant) {
        let Some(limits) = usable(limits) else { return self.protocol_error("unusable limits", now) };
        if let Some(session) = &mut self.session {
            session.limits = limits;
            session.lease.mtu = limits.mtu;
            self.events.push_back(TunnelEvent::LeaseChanged);
        }
    }

    /// All capsules of the message were handled.
    pub fn end_message(&mut self, now: Instant) {
        let Phase::Handshaking { answer, .. } = &mut self.phase else { return };
        let Some(answer) = answer.take() else { return };
        let limits = answer.limits.and_then(usable);
        let (Some(capsule), Some(limits)) = (answer.session, limits) else {
            return self.protocol_error("incomplete handshake", now);
        };
        if capsule.version != VERSION {
            return self.protocol_error("a version that was not offered", now);
        }
        let grace = Duration::from_millis(capsule.grace_ms.into());
        let limits_of_streams = answer.streams;
        let lease = Lease { mtu: limits.mtu, session_id: capsule.session_id, grace, ..answer.lease };
        if capsule.resumed {
            self.resumed(&capsule, limits, lease, now);
            // What was agreed on stays agreed on where the answer does not speak of it.
            answer.offload.into_iter().for_each(|state| self.set_offload(state));
        } else {
            self.began(&capsule, limits, lease, answer.offload.unwrap_or_default(), now);
        }
        if streams::LIMITS.is_some() {
            self.events.push_back(TunnelEvent::Streams(limits_of_streams));
        }
    }

    fn began(&mut self, capsule: &SessionCapsule, limits: Limits, lease: Lease, offload: OffloadContext, now: Instant) {
        self.lose_session();
        self.session = Some(Session::new(capsule, limits, lease, offload));
        self.establish(0, limits, false, now);
    }

    fn resumed(&mut self, capsule: &SessionCapsule, limits: Limits, lease: Lease, now: Instant) {
        let session = self.session.as_mut().filter(|session| session.id == capsule.session_id);
        let Some(session) = session else { return self.protocol_error("an unknown session was resumed", now) };
        if session.ring.resume(capsule.next).is_err() {
            return self.protocol_error("the session cannot go on", now);
        }
        session.secret = capsule.secret;
        session.limits = limits;
        session.lease = lease;
        session.expires_at = None;
        self.establish(capsule.next, limits, true, now);
    }

    fn establish(&mut self, replay_next: u64, limits: Limits, resumed: bool, now: Instant) {
        let interval = Duration::from_millis(limits.ping_interval_ms.into());
        self.phase = Phase::Established(Connection {
            liveness: Liveness::new(interval, now),
            pace: Pace::new(self.sent, now),
            replay_next,
            pongs: VecDeque::new(),
            ack_at: None,
            ack_now: false,
            drain_at: None,
        });
        self.backoff.reset();
        self.events.push_back(TunnelEvent::LeaseChanged);
        self.set_status(Status::Connected { resumed });
    }

    /// CLOSE instead of SESSION: a session that was to be resumed is still there, unless it is said to be unknown.
    fn refused(&mut self, close: &Close<'_>, now: Instant) {
        match next_attempt(close) {
            Some(at_least) => {
                if close.code == CloseCode::UnknownSession {
                    self.lose_session();
                }
                self.abandon(at_least, now);
            }
            None => self.end(close.code, close.reason),
        }
    }

    /// CLOSE of a session that was.
    fn closed(&mut self, close: &Close<'_>, now: Instant) {
        match next_attempt(close) {
            Some(at_least) => {
                self.lose_session();
                self.abandon(at_least, now);
            }
            None => self.end(close.code, close.reason),
        }
    }
}

/// How long to wait after a CLOSE, at least; `None` where trying again makes no sense (wire specification, section 7).
fn next_attempt(close: &Close<'_>) -> Option<Duration> {
    match close.code {
        CloseCode::UnknownSession => Some(Duration::ZERO),
        CloseCode::Exhausted | CloseCode::Limit | CloseCode::Shutdown | CloseCode::Internal => {
            (close.retry_after_ms > 0).then(|| Duration::from_millis(close.retry_after_ms.into()))
        }
        CloseCode::Normal
        | CloseCode::Version
        | CloseCode::Unauthorized
        | CloseCode::Protocol
        | CloseCode::Replaced => None,
    }
}

/// Limits with which packets can be carried at all; `None` where they leave no room for IPv6's smallest MTU (RFC 8200
/// section 5).
fn usable(limits: Limits) -> Option<Limits> {
    let message_len = limits.message_len.min(MAX_MESSAGE_LEN as u32);
    let mtu = limits.mtu.min(MAX_PACKET_LEN as u32).min(message_len.checked_sub(MESSAGE_OVERHEAD as u32)?);
    let ping_interval_ms = if limits.ping_interval_ms == 0 { 15_000 } else { limits.ping_interval_ms.max(100) };
    (mtu >= 1280).then_some(Limits { mtu, message_len, ping_interval_ms, ..limits })
}

//! What a client's messages say, capsule by capsule. Packets go on to `uplink.rs`.

use bytes::{Buf, Bytes, BytesMut};
use core::fmt;
use core::hint::black_box;
use core::time::Duration;
use webtun_wire::{
    Accept, Capsule, CloseCode, DecodeError, Instant, MAX_MESSAGE_LEN, OFFLOAD_HEADER_LEN, OffloadHeader, RawCapsule,
    ReplayError, capsule_type, next_capsule, split_capsules,
};

use super::handshake::close_message;
use super::nat::{BATCH, Guess};
use super::packet::{Packet, Side};
use super::peers::Present;
use super::session::Session;
use super::streams::Breach;
use super::tunnel::Control;
use super::{DropReason, Gateway, PACKET_CONTEXT, SessionId};

/// A session that is over because of what its client has sent, or that there never was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SessionError {
    problem: Problem,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Problem {
    Unknown,
    Decode(DecodeError),
    Replay(ReplayError),
    Misplaced(u64),
    Context,
    Flood,
    Stream,
}

impl SessionError {
    fn new(problem: Problem) -> Self {
        Self { problem }
    }

    /// The code that the session was closed with.
    pub fn code(&self) -> CloseCode {
        match self.problem {
            Problem::Unknown => CloseCode::UnknownSession,
            Problem::Flood => CloseCode::Limit,
            Problem::Decode(_) | Problem::Replay(_) | Problem::Misplaced(_) | Problem::Context | Problem::Stream => {
                CloseCode::Protocol
            }
        }
    }

    /// The message to send before the connection is closed; `None` where there is no such session.
    pub fn message(&self) -> Option<Bytes> {
        let is_known = self.problem != Problem::Unknown;
        is_known.then(|| close_message(self.code(), Duration::ZERO, &self.problem.to_string()))
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unknown => f.write_str("no such session"),
            Self::Decode(error) => write!(f, "malformed message: {error}"),
            Self::Replay(error) => error.fmt(f),
            Self::Misplaced(kind) => write!(f, "capsule type {kind:#x} has no place here"),
            Self::Context => f.write_str("a context is open as another kind"),
            Self::Stream => f.write_str("a stream is used against its rules"),
            Self::Flood => f.write_str("requests come faster than their answers are read"),
        }
    }
}

impl fmt::Display for SessionError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.problem.fmt(f)
    }
}

impl core::error::Error for SessionError {}

impl From<DecodeError> for Problem {
    fn from(error: DecodeError) -> Self {
        Self::Decode(error)
    }
}

impl From<Breach> for Problem {
    fn from(breach: Breach) -> Self {
        match breach {
            Breach::Unknown | Breach::Excess => Self::Stream,
            Breach::Flood => Self::Flood,
        }
    }
}

impl From<ReplayError> for Problem {
    fn from(error: ReplayError) -> Self {
        Self::Replay(error)
    }
}

/// Whether the rest of a message is to be read.
enum Flow {
    Next,
    /// A repetition, or the client has closed the session.
    Done,
}

/// Which mappings the next datagrams of a message probably belong to.
#[derive(Debug)]
struct Ahead {
    guesses: [Guess; BATCH],
    left: usize,
}

impl Ahead {
    fn next(&mut self) -> Guess {
        let guess = self.guesses[BATCH - self.left];
        self.left -= 1;
        guess
    }
}

impl Gateway {
    /// A message of a session, after its handshake. Packets are rewritten in place and go out without a copy.
    ///
    /// # Errors
    ///
    /// The client broke the protocol: the session is closed, and [`SessionError::message`] is to be sent before the
    /// connection is. What stood before the fault in the message has taken effect.
    pub fn process_uplink(&mut self, id: SessionId, message: BytesMut, now: Instant) -> Result<(), SessionError> {
        let mut ahead = self.look_ahead_uplink(id, &message);
        let Some(session) = self.sessions.get_mut(&id) else { return Err(SessionError::new(Problem::Unknown)) };
        session.tunnel.heard(message.len(), now);
        let (len, mut capsules) = (message.len() as u64, 0);
        let result = self.read(id, message, &mut ahead, &mut capsules, now);
        self.charge_uplink(id, capsules, len, now);
        if let Err(problem) = result {
            let error = SessionError::new(problem);
            self.stats.protocol_errors += 1;
            self.end(id, error.code(), now);
            self.refresh_gauges();
            return Err(error);
        }
        self.settle(id, now);
        Ok(())
    }

    fn read(
        &mut self,
        id: SessionId,
        mut rest: BytesMut,
        ahead: &mut Ahead,
        capsules: &mut u64,
        now: Instant,
    ) -> Result<(), Problem> {
        if rest.len() > MAX_MESSAGE_LEN {
            return Err(DecodeError::MessageTooLong.into());
        }
        let len = rest.len();
        let is_overdrawn = self.is_overdrawn(id, now);
        let mut is_first = true;
        while let Some(raw) = next_capsule(&rest, 0)? {
            if let Some((context, payload)) = raw.datagram(&rest)? {
                if ahead.left == 0 {
                    *ahead = self.look_ahead_uplink(id, &rest);
                }
                let mut datagram = rest.split_to(payload.end);
                datagram.advance(payload.start);
                let guess = ahead.next();
                *capsules += if is_overdrawn {
                    self.stats.count_drop(DropReason::UplinkRate);
                    1
                } else {
                    self.datagram(id, context, datagram, guess, now)
                };
                is_first = false;
                continue;
            }
            *capsules += 1;
            if let Some((stream, data)) = raw.stream_data(&rest)? {
                let mut piece = rest.split_to(data.end);
                piece.advance(data.start);
                self.stream_data(id, stream, piece, len)?;
            } else if raw.kind == capsule_type::SEQUENCE && !is_first {
                return Err(Problem::Misplaced(raw.kind));
            } else {
                if let Flow::Done = self.capsule(id, &raw, &rest, len, now)? {
                    return Ok(());
                }
                rest.advance(raw.value.end);
            }
            is_first = false;
        }
        Ok(())
    }

    /// Asks memory for what the next datagrams of a message will need, and for its session.
    fn look_ahead_uplink(&self, id: SessionId, message: &[u8]) -> Ahead {
        let raw = split_capsules(message).map_while(|raw| raw.ok()?.datagram(message).ok());
        let packets = raw.flatten().map(|(context, payload)| {
            let header_len = if context == PACKET_CONTEXT { 0 } else { OFFLOAD_HEADER_LEN };
            message.get(payload.start + header_len..payload.end).unwrap_or_default()
        });
        let places = self.nat.places(packets, Side::Source);
        let session = self.sessions.get(&id);
        black_box(self.nat.ask_places(&places) ^ session.map_or(0, Session::look_at));
        let guesses = self.nat.guess(&places);
        let peer = session.and_then(|session| self.peers.get(session.peer_index));
        black_box(self.nat.ask_mappings(&guesses) ^ peer.map_or(0, Present::look_at));
        Ahead { guesses, left: BATCH }
    }

    /// Returns how many packets it is charged as.
    fn datagram(&mut self, id: SessionId, context: u64, mut datagram: BytesMut, guess: Guess, now: Instant) -> u64 {
        let is_offload = context != PACKET_CONTEXT
            && self.sessions.get(&id).is_some_and(|session| session.tunnel.has_context(context));
        self.stats.uplink.count(datagram.len().saturating_sub(if is_offload { OFFLOAD_HEADER_LEN } else { 0 }));
        let packet = if context == PACKET_CONTEXT {
            Packet::parse(datagram)
        } else if is_offload {
            OffloadHeader::decode(&datagram).map_err(DropReason::from).and_then(|header| {
                datagram.advance(OFFLOAD_HEADER_LEN);
                Packet::parse_offload(datagram, &header)
            })
        } else {
            Err(DropReason::UnknownContext)
        };
        match packet {
            Ok(mut packet) => {
                packet.guess = guess;
                self.uplink(id, packet, now)
            }
            Err(reason) => {
                self.stats.count_drop(reason);
                1
            }
        }
    }

    fn capsule(
        &mut self,
        id: SessionId,
        raw: &RawCapsule,
        message: &[u8],
        len: usize,
        now: Instant,
    ) -> Result<Flow, Problem> {
        let capsule = raw.decode(message)?;
        let session = self.sessions.get_mut(&id).ok_or(Problem::Unknown)?;
        let tunnel = &mut session.tunnel;
        let mut has_room = true;
        match capsule {
            Capsule::Sequence { number } => {
                if tunnel.accept(number, len, now)? == Accept::Duplicate {
                    self.stats.duplicate_messages += 1;
                    return Ok(Flow::Done);
                }
            }
            Capsule::Ack { next } => tunnel.acknowledge(next, &mut self.spare)?,
            Capsule::Ping { opaque } => tunnel.ping(opaque),
            Capsule::Pong { opaque, .. } => tunnel.pong(opaque, now),
            Capsule::Close(close) => {
                self.end(id, close.code, now);
                return Ok(Flow::Done);
            }
            Capsule::ContextAssign { context, kind } => {
                if tunnel.differs(context, kind) {
                    return Err(Problem::Context);
                }
                let is_open = tunnel.offer(context, kind, self.config.offload);
                has_room =
                    tunnel.answer(if is_open { Control::ContextAck(context) } else { Control::ContextClose(context) });
            }
            Capsule::ContextClose { context } => {
                if tunnel.close_context(context) {
                    let before = session.queue.octets();
                    session.queue.make_plain();
                    if let Some(peer) = self.peers.get_mut(session.peer_index) {
                        peer.queued = peer.queued + session.queue.octets() - before;
                    }
                }
            }
            Capsule::AddressRequest(requests) => {
                let last = |ipv4: bool| {
                    let mut family = requests.iter().rev().filter(|r| r.prefix.address.is_ipv4() == ipv4);
                    family.next().map_or(0, |request| request.request_id)
                };
                has_room = tunnel.answer(Control::Addresses(last(true), last(false)));
            }
            Capsule::PortMapRequest(request) => has_room = self.request_port(id, request, now),
            Capsule::StreamOpen(open) => self.open_stream(id, &open, now)?,
            Capsule::StreamCredit { stream, limit } => self.credit_stream(id, stream, limit)?,
            Capsule::StreamFinish { stream } => self.finish_stream(id, stream)?,
            Capsule::StreamReset { stream, .. } => self.drop_stream(id, stream)?,
            Capsule::Unknown { .. } => {}
            _ => return Err(Problem::Misplaced(raw.kind)),
        }
        if has_room { Ok(Flow::Next) } else { Err(Problem::Flood) }
    }
}

//! Streams: TCP connections that the gateway ends itself (wire specification, section 8).
//!
//! The shell owns the connections. It is told by [`Event::Stream`] what to do, and does it by the calls here:
//!
//! ```text
//! client -> open ------> Event Open  -> admit_stream, connect -> stream_connected | stream_failed
//!           DATA, FINISH Event Write -> stream_uplink, write  -> stream_written | stream_stuck, stream_finish_written
//!           CREDIT       Event Read  -> stream_room, read     -> stream_received, stream_ended | stream_failed
//!           RESET        Event Over  -> drop the connection
//! ```
//!
//! An event says that there is something to be done; whoever has done it goes on until the connection takes or has no more, and
//! then waits for it. What is read goes through the session's queue, in which a stream is a flow as others are.
//!
//! Bounds: a client's octets by the credit it was given ([`table`]), a connection's by what its session's queue takes of it, and
//! of all streams together; streams by [`MAX_STREAMS`] and the session's allowance of flows; answers that wait by
//! [`MAX_ANSWERS`], after which the client is too slow a reader and its session is closed.

mod stream;
mod table;

use bytes::BytesMut;
use core::net::{IpAddr, SocketAddr};
use webtun_wire::{Capsule, Host, Instant, ResetReason, StreamLimits, StreamOpen, StreamOpened};

pub use self::stream::Uplink;
pub(super) use self::table::Streams;

use self::stream::Excess;
use self::table::FIRST_CREDIT;
use super::meter::Meters;
use super::packet::protocol;
use super::policy::Subject;
use super::queue::Content;
use super::{DropReason, Event, Gateway, SessionId, Split};

/// Streams that a session may have at a time, whatever its allowance.
const MAX_STREAMS: usize = 4096;
/// OPENED and CREDIT capsules that wait for a session's connection, and RESETs in its queue.
const MAX_ANSWERS: usize = 2 * MAX_STREAMS;

/// Where a stream is to lead.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StreamHost {
    /// To this address.
    Address(IpAddr),
    /// To one of this name's.
    Name(String),
}

/// What the shell is to do for a stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StreamEvent {
    /// Connect.
    Open {
        /// Where to.
        host: StreamHost,
        /// The port there.
        port: u16,
    },
    /// [`Gateway::stream_uplink`] has something.
    Write,
    /// [`Gateway::stream_room`] has room again.
    Read,
    /// Drop the connection. `reset`: by a RST, since what is under way is not wanted.
    Over {
        /// Whether it has ended early.
        reset: bool,
    },
}

/// A client that breaks the rules of streams.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Breach {
    /// It has not said that it carries streams, or uses one that never was, or an id again.
    Unknown,
    /// It sends beyond its credit, or after FINISH.
    Excess,
    /// It does not read the answers to what it asks for.
    Flood,
}

impl From<Excess> for Breach {
    fn from(_: Excess) -> Self {
        Self::Excess
    }
}

impl Gateway {
    /// What a handshake is answered with, where the client carries streams.
    pub(super) fn stream_limits(&self, id: SessionId) -> Option<StreamLimits> {
        let session = self.sessions.get(&id).filter(|it| it.streams.is_negotiated())?;
        let required = self.config.split == Split::Required;
        let streams = session.peer.limits.each.flows.min(MAX_STREAMS) as u64;
        Some(StreamLimits { streams, credit: FIRST_CREDIT, required })
    }

    /// STREAM_OPEN.
    pub(super) fn open_stream(&mut self, id: SessionId, open: &StreamOpen<'_>, now: Instant) -> Result<(), Breach> {
        let session = self.sessions.get_mut(&id).ok_or(Breach::Unknown)?;
        if session.tunnel.answers() > MAX_ANSWERS {
            return Err(Breach::Flood);
        }
        let limit = session.peer.limits.each.flows.min(MAX_STREAMS);
        let is_one_too_many = session.streams.len() >= limit;
        let stream = session.streams.open(open.stream).ok_or(Breach::Unknown)?;
        stream.receive(open.data.into(), open.data.len())?;
        let peer = self.peers.get_mut(session.peer_index).ok_or(Breach::Unknown)?;
        let mut meters = Meters { session: &mut session.meter, peer: &mut peer.meter };
        let refusal = if is_one_too_many { Err(DropReason::FlowLimit) } else { meters.take_flow(now) };
        if let Err(reason) = refusal {
            self.stats.count_drop(reason);
            return self.reset_stream(id, open.stream, ResetReason::Limit, false, now);
        }
        self.stats.streams_opened += 1;
        let host = match open.host {
            Host::Address(address) => StreamHost::Address(address),
            Host::Name(name) => StreamHost::Name(name.to_owned()),
        };
        self.tell(id, open.stream, StreamEvent::Open { host, port: open.port });
        Ok(())
    }

    /// STREAM_DATA, out of a message of this length.
    pub(super) fn stream_data(
        &mut self,
        id: SessionId,
        stream: u64,
        data: BytesMut,
        message_len: usize,
    ) -> Result<(), Breach> {
        self.stats.stream_uplink_octets += data.len() as u64;
        let Some(found) = self.stream_of_client(id, stream)? else { return Ok(()) };
        found.receive(data, message_len)?;
        if found.local.is_some() {
            self.tell(id, stream, StreamEvent::Write);
        }
        Ok(())
    }

    /// STREAM_FINISH.
    pub(super) fn finish_stream(&mut self, id: SessionId, stream: u64) -> Result<(), Breach> {
        let Some(found) = self.stream_of_client(id, stream)? else { return Ok(()) };
        found.finish()?;
        if found.local.is_some() {
            self.tell(id, stream, StreamEvent::Write);
        }
        Ok(())
    }

    /// STREAM_CREDIT.
    pub(super) fn credit_stream(&mut self, id: SessionId, stream: u64, limit: u64) -> Result<(), Breach> {
        let Some(found) = self.stream_of_client(id, stream)? else { return Ok(()) };
        found.credit(limit);
        self.resume_reading(id, stream);
        Ok(())
    }

    /// STREAM_RESET.
    pub(super) fn drop_stream(&mut self, id: SessionId, stream: u64) -> Result<(), Breach> {
        if self.stream_of_client(id, stream)?.is_some() {
            self.forget_stream(id, stream, true);
        }
        Ok(())
    }

    /// `None`: it is over, and the client may not know it yet.
    fn stream_of_client(&mut self, id: SessionId, stream: u64) -> Result<Option<&mut stream::Stream>, Breach> {
        let session = self.sessions.get_mut(&id).ok_or(Breach::Unknown)?;
        if !session.streams.was(stream) {
            return Err(Breach::Unknown);
        }
        Ok(session.streams.get_mut(stream))
    }

    /// Whether a stream may lead there, and what to connect to: an IPv4 address where this one stands for it (RFC 6052).
    ///
    /// # Errors
    /// The reason for [`Gateway::stream_failed`], counted as a drop.
    pub fn admit_stream(&mut self, id: SessionId, to: SocketAddr) -> Result<SocketAddr, ResetReason> {
        let to = SocketAddr::new(self.behind_nat64(to.ip().to_canonical()), to.port());
        let group = self.sessions.get(&id).and_then(|session| session.peer.group.as_deref());
        let subject = Subject { destination: to.ip(), protocol: protocol::TCP, port: to.port(), group };
        let is_ours = self.is_external(to.ip());
        let verdict = self.policy.check(subject).and(if is_ours { Err(DropReason::OwnAddress) } else { Ok(()) });
        verdict.map(|()| to).map_err(|reason| {
            self.stats.count_drop(reason);
            ResetReason::Policy
        })
    }

    fn behind_nat64(&self, address: IpAddr) -> IpAddr {
        let prefix = self.config.pref64().filter(|prefix| prefix.contains(address));
        match (prefix, address) {
            (Some(prefix), IpAddr::V6(v6)) => prefix.extract(v6).map_or(address, IpAddr::V4),
            _ => address,
        }
    }

    /// The stream's connection is there. False where nobody wants it any more: it is to be dropped.
    pub fn stream_connected(
        &mut self,
        id: SessionId,
        stream: u64,
        local: SocketAddr,
        remote: SocketAddr,
        now: Instant,
    ) -> bool {
        // An address that this machine has got a moment ago was judged as another's.
        if local.ip() == remote.ip() && !self.policy.own.contains(remote.ip()) {
            self.stats.count_drop(DropReason::OwnAddress);
            self.stream_failed(id, stream, ResetReason::Policy, now);
            return false;
        }
        let Some(session) = self.sessions.get_mut(&id) else { return false };
        let window = session.streams.window();
        let Some(found) = session.streams.get_mut(stream) else { return false };
        found.local = Some(local);
        let credit = found.grant(window).map(|limit| Capsule::StreamCredit { stream, limit });
        // Mostly the server answers what came with the request.
        let is_asked = matches!(found.uplink(), Uplink::Data(_));
        let opened = Capsule::StreamOpened(StreamOpened { stream, local, remote });
        for answer in [opened].into_iter().chain(credit) {
            if is_asked {
                session.tunnel.answer_stream_soon(answer, now);
            } else {
                session.tunnel.answer_stream(answer);
            }
        }
        let peer = session.peer.name.clone();
        self.events.push_back(Event::StreamConnected { id, peer, local });
        self.tell(id, stream, StreamEvent::Write);
        self.tell(id, stream, StreamEvent::Read);
        self.settle(id, now);
        true
    }

    /// There will be no connection, or it has ended early. What was read from it before still goes to the client.
    pub fn stream_failed(&mut self, id: SessionId, stream: u64, reason: ResetReason, now: Instant) {
        // A flood cannot come of it: the client is asked for nothing here.
        let _ = self.reset_stream(id, stream, reason, true, now);
        self.settle(id, now);
    }

    fn reset_stream(
        &mut self,
        id: SessionId,
        stream: u64,
        reason: ResetReason,
        is_known: bool,
        now: Instant,
    ) -> Result<(), Breach> {
        if !self.forget_stream(id, stream, is_known) {
            return Ok(());
        }
        self.enqueue_stream(id, stream, Content::Reset(stream, reason), BytesMut::new(), now);
        let is_flooded = |session: &super::session::Session| session.queue.stream_items() > MAX_ANSWERS;
        if self.sessions.get(&id).is_some_and(is_flooded) { Err(Breach::Flood) } else { Ok(()) }
    }

    /// What the connection is to take.
    pub fn stream_uplink(&self, id: SessionId, stream: u64) -> Uplink<'_> {
        let found = self.sessions.get(&id).and_then(|session| session.streams.get(stream));
        found.map_or(Uplink::Nothing, stream::Stream::uplink)
    }

    /// The connection has taken so many octets.
    pub fn stream_written(&mut self, id: SessionId, stream: u64, octets: usize, now: Instant) {
        let Some(session) = self.sessions.get_mut(&id) else { return };
        let window = session.streams.window();
        let credit = session.streams.get_mut(stream).and_then(|found| found.written(octets, window));
        if let Some(limit) = credit {
            session.tunnel.answer_stream(Capsule::StreamCredit { stream, limit });
            self.settle(id, now);
        }
    }

    /// The connection takes nothing more for now: who has it tried is to say so, since what has to wait is kept otherwise than
    /// what does not.
    pub fn stream_stuck(&mut self, id: SessionId, stream: u64) {
        if let Some(found) = self.sessions.get_mut(&id).and_then(|session| session.streams.get_mut(stream)) {
            found.stuck();
        }
    }

    /// The connection's FIN is sent.
    pub fn stream_finish_written(&mut self, id: SessionId, stream: u64) {
        let found = self.sessions.get_mut(&id).and_then(|session| session.streams.get_mut(stream));
        if let Some(found) = found {
            found.finish_written();
            self.end_where_over(id, stream);
        }
    }

    /// How many octets may be read; none: [`StreamEvent::Read`] tells when there is room.
    pub fn stream_room(&mut self, id: SessionId, stream: u64) -> usize {
        let Some(session) = self.sessions.get_mut(&id) else { return 0 };
        let room = session.streams.room();
        session.streams.get_mut(stream).map_or(0, |found| found.room(room))
    }

    /// Octets that were read, no more than there was room for.
    pub fn stream_received(&mut self, id: SessionId, stream: u64, data: BytesMut, now: Instant) {
        let Some(session) = self.sessions.get_mut(&id) else { return };
        let Some(found) = session.streams.get_mut(stream) else { return };
        found.enqueued(data.len());
        session.streams.enqueued(data.len());
        self.enqueue_stream(id, stream, Content::Data(stream), data, now);
        self.settle(id, now);
    }

    /// The connection has sent its FIN.
    pub fn stream_ended(&mut self, id: SessionId, stream: u64, now: Instant) {
        let found = self.sessions.get_mut(&id).and_then(|session| session.streams.get_mut(stream));
        if found.is_some_and(stream::Stream::remote_finished) {
            self.enqueue_stream(id, stream, Content::Finish(stream), BytesMut::new(), now);
            self.settle(id, now);
        }
    }

    fn enqueue_stream(&mut self, id: SessionId, stream: u64, content: Content, data: BytesMut, now: Instant) {
        let Some(session) = self.sessions.get_mut(&id) else { return };
        let before = session.queue.octets();
        session.queue.push_stream(stream, content, data, now);
        if let Some(peer) = self.peers.get_mut(session.peer_index) {
            peer.queued = peer.queued + session.queue.octets() - before;
        }
    }

    /// What has gone into a message.
    pub(super) fn streams_left(&mut self, id: SessionId) {
        let Some(session) = self.sessions.get_mut(&id) else { return };
        let mut resumed = Vec::new();
        let mut finished = Vec::new();
        for (content, octets) in session.queue.take_left() {
            match content {
                Content::Data(stream) => {
                    self.stats.stream_downlink_octets += octets as u64;
                    resumed.extend(session.streams.left(stream, octets));
                }
                Content::Finish(stream) => {
                    if let Some(found) = session.streams.get_mut(stream) {
                        found.finish_sent();
                        finished.push(stream);
                    }
                }
                Content::Packet | Content::Reset(..) => {}
            }
        }
        resumed.into_iter().for_each(|stream| self.tell(id, stream, StreamEvent::Read));
        finished.into_iter().for_each(|stream| self.end_where_over(id, stream));
    }

    fn resume_reading(&mut self, id: SessionId, stream: u64) {
        let Some(session) = self.sessions.get_mut(&id) else { return };
        let room = session.streams.room();
        if session.streams.get_mut(stream).is_some_and(|found| found.resume(room)) {
            self.tell(id, stream, StreamEvent::Read);
        }
    }

    fn end_where_over(&mut self, id: SessionId, stream: u64) {
        let is_over = |session: &super::session::Session| session.streams.get(stream).is_some_and(|it| it.is_over());
        if self.sessions.get(&id).is_some_and(is_over) {
            self.forget_stream(id, stream, true);
        }
    }

    /// False where there is no such stream. `is_known`: the shell has heard of it.
    fn forget_stream(&mut self, id: SessionId, stream: u64, is_known: bool) -> bool {
        let Some(session) = self.sessions.get_mut(&id) else { return false };
        let Some(gone) = session.streams.remove(stream) else { return false };
        self.stats.streams -= u64::from(is_known);
        if is_known {
            self.tell(id, stream, StreamEvent::Over { reset: !gone.is_over() });
        }
        if let Some(local) = gone.local {
            self.events.push_back(Event::StreamClosed { id, local });
        }
        true
    }

    /// A session is over, and with it its streams.
    pub(super) fn end_streams(&mut self, id: SessionId, mut streams: Streams) {
        for stream in streams.ids() {
            let local = streams.remove(stream).and_then(|gone| gone.local);
            self.stats.streams -= 1;
            self.tell(id, stream, StreamEvent::Over { reset: true });
            self.events.extend(local.map(|local| Event::StreamClosed { id, local }));
        }
    }

    fn tell(&mut self, id: SessionId, stream: u64, what: StreamEvent) {
        self.stats.streams += u64::from(matches!(what, StreamEvent::Open { .. }));
        self.events.push_back(Event::Stream { id, stream, what });
    }
}

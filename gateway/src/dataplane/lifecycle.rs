//! How sessions wait, are timed, and end.

use bytes::BytesMut;
use core::net::IpAddr;
use core::time::Duration;
use webtun_wire::{CloseCode, Instant};

use super::gather::Gather;
use super::handshake::close_message;
use super::tunnel::{Control, Tick};
use super::{DropReason, Event, Gateway, SessionId};

/// CLOSE messages that wait to be polled; the oldest is dropped at the bound.
const MAX_FAREWELLS: usize = 1024;

impl Gateway {
    /// The connection of this session is gone; its grace begins. Not to be called for a connection that another one has
    /// replaced, since the session's connection is that one now.
    pub fn disconnect(&mut self, id: SessionId, now: Instant) {
        self.detach(id, now);
        self.settle(id, now);
    }

    /// Ends a session at once. Where it is connected, its CLOSE is left for [`Gateway::poll_message`].
    pub fn close_session(&mut self, id: SessionId, code: CloseCode, now: Instant) {
        let was_attached = self.sessions.get(&id).is_some_and(|session| session.tunnel.is_attached());
        self.end(id, code, now);
        if was_attached {
            self.farewells.insert(id, close_message(code, Duration::ZERO, "closed by the gateway"));
            if self.farewells.len() > MAX_FAREWELLS {
                self.farewells.pop_first();
            }
        }
        self.refresh_gauges();
    }

    /// Tells every client to connect again after `retry_after`, and opens no new session from now on. The ones there are
    /// work on, and can be resumed, until they are closed.
    pub fn drain(&mut self, retry_after: Duration, now: Instant) {
        self.draining = Some(retry_after);
        let millis = u32::try_from(retry_after.as_millis()).unwrap_or(u32::MAX);
        let mut ids: Vec<_> = self.sessions.keys().copied().collect();
        ids.sort_unstable();
        for id in ids {
            if let Some(session) = self.sessions.get_mut(&id) {
                session.tunnel.notify(Control::Drain(millis));
            }
            self.settle(id, now);
        }
    }

    /// The next message of a session. To be called only while the connection can take one: what is not polled waits in
    /// bounded queues.
    pub fn poll_message(&mut self, id: SessionId, now: Instant) -> Option<Gather> {
        let Some(session) = self.sessions.get_mut(&id) else { return self.farewells.remove(&id).map(Gather::from) };
        let peer = self.peers.get_mut(session.peer_index)?;
        session.queue.hold(session.meter.downlink_ready_at(now).max(peer.meter.downlink_ready_at(now)));
        let (own, total) = (session.meter.downlink_room(now), peer.meter.downlink_room(now));
        session.queue.set_room([own[0].min(total[0]), own[1].min(total[1]).min(session.message_room)]);
        let (nat, lease) = (&self.nat, session.lease);
        let (queued, before) = (session.queue.octets(), self.stats.delivered);
        let message = session.tunnel.next_message(
            &mut session.queue,
            || nat.blocks(id).into_iter().chain(nat.prefix_block(lease.v6)).collect(),
            &session.lease,
            &mut self.stats,
            now,
        );
        session.is_announced = message.is_some();
        let sent = self.stats.delivered;
        let (stream_packets, stream_octets) = session.queue.streams_left();
        let packets = sent.packets - before.packets + stream_packets;
        let octets = sent.octets - before.octets + stream_octets;
        session.meter.charge_downlink(packets, octets, now);
        peer.meter.charge_downlink(packets, octets, now);
        // Cutting adds headers.
        peer.queued = (peer.queued + session.queue.octets()).saturating_sub(queued);
        session.queue.set_room([u64::MAX; 2]);
        let ready_at = session.meter.downlink_ready_at(now).max(peer.meter.downlink_ready_at(now));
        if let Some(at) = ready_at {
            session.queue.hold(Some(at));
        }
        if let Some(at) = ready_at.or_else(|| session.tunnel.waits_for_company(&session.queue, now)) {
            self.timers.set(&mut session.wake, id, at);
        }
        if stream_packets > 0 {
            self.streams_left(id);
        }
        message
    }

    /// An empty buffer with room for so many octets, to read into what comes next. It may be one that was delivered: fresh
    /// memory costs more, since the kernel zeroes it.
    pub fn buffer(&mut self, room: usize) -> BytesMut {
        self.spare.take(room).unwrap_or_else(|| BytesMut::with_capacity(room))
    }

    /// Makes a session's messages end with the packet that brings their packets to so many octets; [`u64::MAX`], the
    /// beginning, lets them grow to [`GatewayConfig::message_len`](super::GatewayConfig::message_len).
    ///
    /// What is in a message can no longer be overtaken, so on a slow connection messages have to be short. Packets that stand
    /// for many segments are cut into pieces of so many octets, which still stand for many, for the same reason.
    pub fn set_message_room(&mut self, id: SessionId, octets: u64) {
        if let Some(session) = self.sessions.get_mut(&id) {
            session.message_room = octets;
            session.queue.set_message_room(usize::try_from(octets).unwrap_or(usize::MAX));
        }
    }

    /// Does what time demands: keep-alive, acknowledgements, expiry of sessions, mappings and fragments.
    pub fn handle_timeout(&mut self, now: Instant) {
        self.nat.expire(now);
        for id in self.nat.return_idle_blocks(now) {
            self.settle(id, now);
        }
        self.answer_unsolicited(now);
        self.reassembler.expire(now);
        let lost = self.reassembler.take_lost();
        self.stats.count_drops(DropReason::FragmentTimeout, lost);
        while let Some((at, id)) = self.timers.pop_due(now) {
            let session = self.sessions.get_mut(&id);
            if self.timers.fired(session.map(|session| &mut session.wake), at) {
                self.tick(id, now);
            }
        }
        let sessions = &self.sessions;
        self.timers.sweep(|id, wake| sessions.get(&id).is_some_and(|session| session.wake == wake));
        self.refresh_gauges();
    }

    fn tick(&mut self, id: SessionId, now: Instant) {
        let Some(session) = self.sessions.get_mut(&id) else { return };
        let before = session.reassembler.octets();
        session.reassembler.expire(now);
        self.fragment_octets = self.fragment_octets - before + session.reassembler.octets();
        let lost = session.reassembler.take_lost();
        match session.tunnel.tick(now) {
            Tick::Nothing => {}
            Tick::Lost => {
                self.events.push_back(Event::ConnectionLost { id });
                self.detach(id, now);
            }
            Tick::Expired => self.end(id, CloseCode::UnknownSession, now),
        }
        self.stats.count_drops(DropReason::FragmentTimeout, lost);
        self.settle(id, now);
    }

    fn detach(&mut self, id: SessionId, now: Instant) {
        let Some(session) = self.sessions.get_mut(&id) else { return };
        if session.tunnel.detach(self.config.grace, now) {
            session.is_announced = false;
            self.events.push_back(Event::SessionDetached { id });
        }
    }

    /// Frees everything that a session holds.
    pub(super) fn end(&mut self, id: SessionId, code: CloseCode, now: Instant) {
        let Some(mut session) = self.sessions.remove(&id) else { return };
        self.timers.forget(&mut session.wake);
        self.fragment_octets -= session.reassembler.octets();
        self.nat.close(id, now);
        self.end_streams(id, core::mem::take(&mut session.streams));
        self.identities.remove(&session.tunnel.identity);
        self.by_inner.remove(&IpAddr::V4(session.lease.v4));
        self.by_inner.remove(&IpAddr::V6(session.lease.v6));
        self.leases.give_back(session.lease);
        if let Some(peer) = self.peers.get_mut(session.peer_index) {
            peer.queued -= session.queue.octets();
        }
        self.peers.leave(session.peer_index);
        self.events.push_back(Event::SessionClosed { id, code });
    }

    /// After anything has happened to a session: its readiness is announced, its timer set.
    pub(super) fn settle(&mut self, id: SessionId, now: Instant) {
        let ports_changed = self.nat.take_blocks_changed(id);
        if let Some(session) = self.sessions.get_mut(&id) {
            session.tunnel.ports_changed |= ports_changed;
            session.queue.release(now);
            let at = session.next_timeout(now);
            self.timers.set(&mut session.wake, id, at);
            if !session.is_announced && session.tunnel.has_message(&session.queue, now) {
                session.is_announced = true;
                self.events.push_back(Event::MessagesReady(id));
            }
        }
        self.refresh_gauges();
    }

    pub(super) fn refresh_gauges(&mut self) {
        self.stats.sessions = self.sessions.len() as u64;
        self.stats.mappings = self.nat.mapping_count();
        self.stats.mappings_created = self.nat.created();
        self.stats.mapped_ports = self.nat.mapped_ports();
    }
}

//! The way of a packet out, and time.

use std::time::Duration;

use bytes::BytesMut;
use webtun_wire::{Instant, OffloadHeader};

use super::{Host, TimerKey};
use crate::engine::{Share, Turn};
use crate::{CloseReason, ConnectError, SocketEvent, SocketId};

/// What one connection sends before the next has its turn: one of smoltcp's longest packets, or that much in small ones.
pub(super) const SHARE: Share = Share { packets: 16, octets: 48 * 1024 };

/// How soon a connection is looked at again that claims to have something to send and sends nothing.
const RETRY: Duration = Duration::from_millis(10);

/// Packets to ourselves that one call handles: a conversation of a host with itself must not keep the caller.
const LOOPBACK_BUDGET: usize = 1024;

impl Host {
    /// The next whole IP packet for the link.
    pub fn poll_packet(&mut self, now: Instant) -> Option<BytesMut> {
        self.poll_packet_within(usize::MAX, now)
    }

    /// The next packet, unless it is longer than `room` octets; then it stays and comes next.
    pub fn poll_packet_within(&mut self, room: usize, now: Instant) -> Option<BytesMut> {
        if !self.queue.has_packet() {
            self.fill_queue(now);
        }
        let packet = self.queue.pop_within(room)?;
        self.stats.packets_sent += 1;
        self.wake_udp_writers();
        Some(packet)
    }

    /// The next packet for a link with segmentation offload: it may stand for several segments, or lack a checksum, as
    /// its header says.
    pub fn poll_offloaded(&mut self, now: Instant) -> Option<(OffloadHeader, BytesMut)> {
        self.poll_offloaded_within(usize::MAX, now)
    }

    /// As [`poll_offloaded`](Self::poll_offloaded), unless the packet is longer than `room` octets; then it stays and
    /// comes next.
    pub fn poll_offloaded_within(&mut self, room: usize, now: Instant) -> Option<(OffloadHeader, BytesMut)> {
        if !self.queue.has_packet() {
            self.fill_queue(now);
        }
        let packet = self.queue.pop_offloaded_within(room)?;
        self.stats.packets_sent += 1;
        self.wake_udp_writers();
        Some(packet)
    }

    /// True where a packet waits that `poll_packet` would give at once.
    pub(crate) fn has_packet(&self) -> bool {
        self.queue.has_packet()
    }

    /// Lets sockets send until the queue is full, and brings what is for ourselves to its sockets.
    pub(crate) fn fill_queue(&mut self, now: Instant) {
        self.talks_to_itself = false;
        for _ in 0..LOOPBACK_BUDGET {
            self.take_turns(now);
            let Some(packet) = self.queue.pop_loopback() else { return };
            self.handle_loopback(&packet, now);
            self.wake_udp_writers();
        }
    }

    /// Lets the connections that may have something to send do so, in turn, until the queue is full.
    fn take_turns(&mut self, now: Instant) {
        while self.queue.has_room()
            && let Some((id, line)) = self.turns.next()
        {
            let Some(socket) = self.tcp.get_mut(&id) else { continue };
            socket.queued = false;
            if !self.queue.is_open_to(socket.flow.remote.ip()) {
                // When the link comes back every connection is looked at.
                continue;
            }
            let Some(core) = socket.core_mut() else { continue };
            self.stats.socket_polls += 1;
            let turn = self.engine.egress(core, self.share, &mut self.queue, now);
            let change = socket.observe(false, now);
            if turn == Turn::Idle {
                if let Some(finished) = socket.leave_time_wait() {
                    self.time_wait.insert(socket.flow, finished, now);
                }
                self.schedule(id, now);
                if self.turns.rest(id, line) {
                    self.set_queued(id);
                }
            } else {
                self.turns.go_on(id);
                self.set_queued(id);
            }
            self.settle(id, change);
        }
    }

    fn schedule(&mut self, id: SocketId, now: Instant) {
        let Some(socket) = self.tcp.get_mut(&id) else { return };
        let wanted = socket.core().and_then(|core| self.engine.poll_at(core, now));
        // "Now" after a turn that brought nothing must not spin.
        let wanted = wanted.map(|at| if at <= now { now + RETRY } else { at });
        let wanted = wanted.into_iter().chain(socket.deadline()).min();
        self.timers.schedule(TimerKey::Tcp(id), wanted, &mut socket.scheduled);
    }

    pub(super) fn mark_dirty(&mut self, id: SocketId) {
        if self.tcp.get(&id).is_some_and(|socket| !socket.queued) {
            self.turns.begin(id);
            self.set_queued(id);
        }
    }

    fn set_queued(&mut self, id: SocketId) {
        if let Some(socket) = self.tcp.get_mut(&id) {
            socket.queued = true;
            self.talks_to_itself |= socket.flow.local.ip() == socket.flow.remote.ip();
        }
    }

    pub(super) fn wake_udp_writers(&mut self) {
        while self.queue.link_up()
            && self.queue.has_room()
            && let Some(id) = self.udp_blocked.pop_front()
        {
            if let Some(socket) = self.udp.get_mut(&id) {
                socket.write_blocked = false;
                self.events.push_back(SocketEvent::UdpWritable(id));
            }
        }
    }

    /// Does what has come due.
    pub fn handle_timeout(&mut self, now: Instant) {
        while let Some((at, key)) = self.timers.pop_due(now) {
            match key {
                TimerKey::Tcp(id) => self.tcp_timer(id, at, now),
                TimerKey::Pings => self.ping_timer(at, now),
            }
        }
        if self.queue.has_loopback() {
            // Nobody calls `poll_packet` while the transport takes nothing.
            self.fill_queue(now);
        }
    }

    fn tcp_timer(&mut self, id: SocketId, at: Instant, now: Instant) {
        let Some(socket) = self.tcp.get_mut(&id) else { return };
        if !socket.scheduled.take(at) {
            return;
        }
        let due = socket.deadline().is_some_and(|deadline| deadline <= now);
        if due && socket.is_connecting() {
            let change = socket.fail(ConnectError::TimedOut);
            self.settle(id, change);
        } else if due && self.queue.link_up() {
            self.end_tcp(id, CloseReason::TimedOut, true, now);
        } else {
            // Its turn puts it back into the timers; while the queue is full or the link down it waits for room.
            self.mark_dirty(id);
        }
    }

    /// When [`handle_timeout`](Self::handle_timeout) wants to be called next.
    pub fn poll_timeout(&self) -> Option<Instant> {
        if self.queue.has_loopback() {
            return Some(Instant::ZERO);
        }
        self.timers.next()
    }

    /// True where connections with ourselves could go on, which no transport holds up.
    pub(crate) fn has_inner_work(&self) -> bool {
        self.talks_to_itself || self.queue.has_loopback()
    }
}

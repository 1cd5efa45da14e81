//! One connection that the gateway ends.

use std::collections::VecDeque;
use std::net::SocketAddr;

use bytes::Bytes;
use webtun_wire::{Instant, ResetReason, StreamOpened};

use super::send_buffer::SendBuffer;
use crate::socket::tcp::Phase;
use crate::{CloseReason, ConnectError, Received, RecvError, SendError, SocketEvent, SocketId, StreamHost, TcpState};

/// A part of a message is kept as it is where it is so large a part of it.
const WORTH_KEEPING: usize = 4;
/// Credit for fewer octets than this is not worth a message of its own: what is left of the first credit lasts for so many.
const WORTH_TELLING: u64 = 4096;

/// The gateway has broken the rules of streams.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Breach;

pub(super) struct Stream {
    /// Its id on the wire, from when it is in a message: ids go up in the order of the requests.
    pub number: Option<u64>,
    /// Where to, until that is in a message.
    pub opening: Option<(StreamHost, u16)>,
    pub deadline: Option<Instant>,
    /// It is in the line of those that have something to send.
    pub is_waiting: bool,
    /// The program has closed it; it says its goodbyes.
    pub is_orphan: bool,
    phase: Phase,
    ends: Option<(SocketAddr, SocketAddr)>,
    received: VecDeque<Bytes>,
    /// Of the first of these, what was read.
    offset: usize,
    readable: usize,
    /// Octets of the gateway's that have come, and that may.
    taken: u64,
    allowed: u64,
    /// What was read by the time of the last credit.
    granted_at: u64,
    peer_finished: bool,
    told_readable: bool,
    pub unsent: SendBuffer,
    /// Octets that have gone into messages, and that may.
    sent: u64,
    credit: u64,
    shut_down: bool,
    finish_sent: bool,
    write_blocked: bool,
}

impl Stream {
    /// `allowed`: what the gateway may send at first; `credit`: what it takes; `buffer`: octets that may wait for messages.
    pub fn new(opening: (StreamHost, u16), deadline: Instant, allowed: u64, credit: u64, buffer: usize) -> Self {
        Self {
            number: None,
            opening: Some(opening),
            deadline: Some(deadline),
            is_waiting: false,
            is_orphan: false,
            phase: Phase::Connecting,
            ends: None,
            received: VecDeque::new(),
            offset: 0,
            readable: 0,
            taken: 0,
            allowed,
            granted_at: 0,
            peer_finished: false,
            told_readable: false,
            unsent: SendBuffer::new(buffer),
            sent: 0,
            credit,
            shut_down: false,
            finish_sent: false,
            write_blocked: false,
        }
    }

    pub fn state(&self) -> TcpState {
        match self.phase {
            Phase::Connecting => TcpState::Connecting,
            Phase::Open => TcpState::Open { peer_finished: self.peer_finished, shut_down: self.shut_down },
            Phase::Closed(reason) => TcpState::Closed(reason),
            Phase::Failed(error) => TcpState::Failed(error),
        }
    }

    pub fn ends(&self) -> Option<(SocketAddr, SocketAddr)> {
        self.ends
    }

    /// Neither side can say anything more.
    pub fn is_over(&self) -> bool {
        matches!(self.phase, Phase::Closed(_) | Phase::Failed(_))
    }

    pub fn readable(&self) -> usize {
        self.readable
    }

    pub fn writable(&self) -> usize {
        let takes = matches!(self.phase, Phase::Connecting | Phase::Open) && !self.shut_down;
        if takes { self.unsent.room() } else { 0 }
    }

    /// STREAM_OPENED; false where it was open.
    pub fn opened(&mut self, opened: &StreamOpened) -> bool {
        let is_new = self.phase == Phase::Connecting;
        if is_new {
            self.phase = Phase::Open;
            self.deadline = None;
            self.ends = Some((opened.local, opened.remote));
        }
        is_new
    }

    /// STREAM_DATA, out of `message`, where that may be kept.
    pub fn receive(&mut self, data: &[u8], message: &Bytes) -> Result<(), Breach> {
        self.taken += data.len() as u64;
        if self.peer_finished || self.taken > self.allowed {
            return Err(Breach);
        }
        if !data.is_empty() && !self.is_orphan {
            // Of little the memory of a whole message is not kept.
            let is_kept = !message.is_empty() && data.len() >= message.len() / WORTH_KEEPING;
            self.received.push_back(if is_kept { message.slice_ref(data) } else { Bytes::copy_from_slice(data) });
            self.readable += data.len();
        }
        Ok(())
    }

    /// How far the gateway may send, where that is worth telling: `window` ahead of what was read.
    pub fn grant(&mut self, window: u64) -> Option<u64> {
        let read = self.taken - self.readable as u64;
        let is_due = self.allowed.saturating_sub(read) <= window / 2 && read - self.granted_at >= WORTH_TELLING;
        if self.peer_finished || self.is_over() || !is_due {
            return None;
        }
        (self.allowed, self.granted_at) = (read + window, read);
        Some(self.allowed)
    }

    /// STREAM_CREDIT.
    pub fn credit(&mut self, limit: u64) {
        self.credit = self.credit.max(limit);
    }

    /// STREAM_FINISH.
    pub fn peer_finished(&mut self) -> Result<(), Breach> {
        if std::mem::replace(&mut self.peer_finished, true) {
            return Err(Breach);
        }
        self.end_where_over();
        Ok(())
    }

    /// The connection ends early, or never was. What was received can still be read, unless it was we who have given up.
    pub fn end(&mut self, reason: CloseReason, error: ConnectError) -> bool {
        let (was_over, is_new) = (self.is_over(), self.phase == Phase::Connecting);
        if !was_over {
            self.phase = if is_new { Phase::Failed(error) } else { Phase::Closed(reason) };
            self.unsent.clear();
            self.deadline = None;
            self.opening = None;
        }
        !was_over
    }

    fn end_where_over(&mut self) {
        if self.phase == Phase::Open && self.peer_finished && self.finish_sent {
            self.phase = Phase::Closed(CloseReason::Graceful);
        }
    }

    pub fn shutdown(&mut self) {
        self.shut_down = true;
    }

    /// Whether there is something for a message.
    pub fn has_something(&self) -> bool {
        if self.is_over() {
            return false;
        }
        self.opening.is_some() || self.sendable() > 0 || self.wants_finish()
    }

    /// Octets that can go into messages now, of those that lie together first.
    pub fn sendable(&self) -> usize {
        let credit = usize::try_from(self.credit.saturating_sub(self.sent)).unwrap_or(usize::MAX);
        self.unsent.front().len().min(credit)
    }

    /// So many octets have gone.
    pub fn sent(&mut self, octets: usize) {
        self.unsent.consume(octets);
        self.sent += octets as u64;
    }

    pub fn wants_finish(&self) -> bool {
        self.shut_down && !self.finish_sent && self.unsent.len() == 0 && self.opening.is_none()
    }

    pub fn finish_sent(&mut self) {
        self.finish_sent = true;
        self.end_where_over();
    }

    pub fn send(&mut self, data: &[u8]) -> Result<usize, SendError> {
        self.check_sendable()?;
        let taken = self.unsent.extend(data);
        self.write_blocked = taken < data.len();
        Ok(taken)
    }

    pub fn send_with(&mut self, wanted: usize, write: impl FnOnce(&mut [u8]) -> usize) -> Result<usize, SendError> {
        self.check_sendable()?;
        let (taken, shown) = self.unsent.write(wanted, write);
        self.write_blocked = shown == 0 && wanted > 0;
        Ok(taken)
    }

    /// Unlike on other connections the first octets may be given before the connection is there: they travel with the
    /// request.
    fn check_sendable(&self) -> Result<(), SendError> {
        match self.phase {
            Phase::Closed(CloseReason::Graceful) => Err(SendError::ShutDown),
            Phase::Closed(reason) => Err(SendError::Closed(reason)),
            Phase::Failed(error) => Err(SendError::Failed(error)),
            Phase::Connecting | Phase::Open if self.shut_down => Err(SendError::ShutDown),
            Phase::Connecting | Phase::Open => Ok(()),
        }
    }

    pub fn recv(&mut self, out: &mut [u8]) -> Result<Received, RecvError> {
        let mut len = 0;
        while len < out.len() {
            let copy = |data: &[u8]| {
                let taken = data.len().min(out.len() - len);
                out[len..len + taken].copy_from_slice(&data[..taken]);
                taken
            };
            match self.recv_with(usize::MAX, copy)? {
                Received::Data(taken) if taken > 0 => len += taken,
                other if len == 0 => return Ok(other),
                _ => break,
            }
        }
        if out.is_empty() { self.recv_with(0, |_| 0) } else { Ok(Received::Data(len)) }
    }

    pub fn recv_with(&mut self, limit: usize, read: impl FnOnce(&[u8]) -> usize) -> Result<Received, RecvError> {
        match self.phase {
            Phase::Connecting => return Err(RecvError::NotConnected),
            Phase::Failed(error) => return Err(RecvError::Failed(error)),
            Phase::Closed(CloseReason::Aborted) => return Err(RecvError::Closed(CloseReason::Aborted)),
            Phase::Open | Phase::Closed(_) => {}
        }
        let Some(front) = self.received.front() else {
            return match self.phase {
                _ if self.peer_finished => Ok(Received::Finished),
                Phase::Closed(reason) => Err(RecvError::Closed(reason)),
                _ => Ok(Received::Empty),
            };
        };
        let shown = &front[self.offset..front.len().min(self.offset.saturating_add(limit))];
        let taken = read(shown).min(shown.len());
        self.offset += taken;
        self.readable -= taken;
        if self.offset == front.len() {
            self.received.pop_front();
            self.offset = 0;
        }
        self.told_readable &= self.readable > 0 || taken == 0;
        Ok(Received::Data(taken))
    }

    pub fn peek(&self, out: &mut [u8]) -> Received {
        let skipped = self.received.iter().flatten().skip(self.offset);
        let copied = out.iter_mut().zip(skipped).map(|(to, from)| *to = *from).count();
        match copied {
            0 if self.peer_finished && self.readable == 0 => Received::Finished,
            0 if self.readable == 0 => Received::Empty,
            copied => Received::Data(copied),
        }
    }

    /// What has turned readable or writable since it was last told.
    pub fn turned(&mut self, id: SocketId) -> [Option<SocketEvent>; 2] {
        let is_open = self.phase != Phase::Connecting;
        let readable = is_open && (self.readable > 0 || self.peer_finished || self.is_over());
        let turned_readable = readable && !self.told_readable;
        self.told_readable |= turned_readable;
        let turned_writable = self.write_blocked && self.writable() * 4 >= self.unsent.capacity();
        self.write_blocked &= !turned_writable;
        [
            turned_readable.then_some(SocketEvent::TcpReadable(id)),
            turned_writable.then_some(SocketEvent::TcpWritable(id)),
        ]
    }
}

/// What a program is told of a reset: as the end of a connection, and as the failure of one that was not there yet.
pub(super) fn words_of(reason: ResetReason) -> (CloseReason, ConnectError) {
    match reason {
        ResetReason::Aborted => (CloseReason::Reset, ConnectError::Aborted),
        ResetReason::Refused => (CloseReason::Reset, ConnectError::Refused),
        ResetReason::Unreachable => (CloseReason::Reset, ConnectError::HostUnreachable),
        ResetReason::TimedOut => (CloseReason::TimedOut, ConnectError::TimedOut),
        ResetReason::NameNotFound => (CloseReason::Reset, ConnectError::NameNotFound),
        ResetReason::Policy => (CloseReason::Reset, ConnectError::Denied),
        ResetReason::Limit => (CloseReason::Reset, ConnectError::LimitReached),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credit_is_told_when_it_is_worth_a_message() {
        const FIRST: u64 = 64 * 1024;
        const WINDOW: u64 = 16 * FIRST;
        let to = (StreamHost::Name("a.example".into()), 80);
        let mut stream = Stream::new(to, Instant::ZERO, FIRST, 0, 1);
        let end = SocketAddr::from(([192, 0, 2, 1], 80));
        stream.opened(&StreamOpened { stream: 0, local: end, remote: end });
        let mut granted_after = |octets: u64| {
            stream.receive(&vec![0; octets as usize], &Bytes::new()).ok()?;
            assert_eq!(stream.grant(WINDOW), None, "nothing is read");
            stream.recv_with(usize::MAX, <[u8]>::len).ok()?;
            stream.grant(WINDOW)
        };
        assert_eq!(granted_after(WORTH_TELLING - 1), None);
        assert_eq!(granted_after(1), Some(WORTH_TELLING + WINDOW));
        assert_eq!(granted_after(WINDOW / 2 - 1), None);
        assert_eq!(granted_after(1), Some(WORTH_TELLING + WINDOW / 2 + WINDOW));
    }
}

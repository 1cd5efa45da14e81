//! Octets in and out of a connection, and when to tell its program.

use std::collections::VecDeque;

use smoltcp::socket::tcp::Socket;
use webtun_wire::Instant;

use super::{Phase, TcpSocket};
use crate::{CloseReason, Received, RecvError, SendError};

impl TcpSocket {
    pub fn send(&mut self, data: &[u8], now: Instant) -> Result<usize, SendError> {
        match self.phase {
            Phase::Connecting => return Err(SendError::NotConnected),
            Phase::Closed(CloseReason::Graceful) => return Err(SendError::ShutDown),
            Phase::Closed(reason) => return Err(SendError::Closed(reason)),
            Phase::Failed(error) => return Err(SendError::Failed(error)),
            Phase::Open if self.shut_down => return Err(SendError::ShutDown),
            Phase::Open => {}
        }
        let taken = self.socket_mut().and_then(|socket| socket.send_slice(data).ok()).unwrap_or(0);
        self.write_blocked = taken < data.len();
        self.note_outstanding(now);
        Ok(taken)
    }

    /// As [`send`](Self::send), but `write` puts the octets where they belong.
    pub fn send_with(
        &mut self,
        wanted: usize,
        write: impl FnOnce(&mut [u8]) -> usize,
        now: Instant,
    ) -> Result<usize, SendError> {
        // The checks are the same.
        self.send(&[], now)?;
        let write = |room: &mut [u8]| {
            let room_len = room.len().min(wanted);
            let written = write(&mut room[..room_len]).min(room_len);
            (written, (written, room_len))
        };
        let sent = self.socket_mut().and_then(|socket| socket.send(write).ok());
        let (taken, room) = sent.unwrap_or_default();
        self.write_blocked = room == 0 && wanted > 0;
        self.note_outstanding(now);
        Ok(taken)
    }

    pub fn recv(&mut self, out: &mut [u8]) -> Result<Received, RecvError> {
        self.check_receivable()?;
        let len = if self.tail.is_empty() {
            self.socket_mut().and_then(|socket| socket.recv_slice(out).ok()).unwrap_or(0)
        } else {
            let len = copy_front(&self.tail, out);
            self.tail.drain(..len);
            len
        };
        self.told_readable &= self.readable() > 0 || len == 0;
        self.received(len, out.is_empty())
    }

    /// As [`recv`](Self::recv), but `read` looks at the octets where they are, as many as lie together, and says how many
    /// it takes.
    pub fn recv_with(&mut self, limit: usize, read: impl FnOnce(&[u8]) -> usize) -> Result<Received, RecvError> {
        self.check_receivable()?;
        let part = |data: &[u8]| {
            let data = &data[..data.len().min(limit)];
            (read(data).min(data.len()), data.len())
        };
        let (taken, seen) = if self.tail.is_empty() {
            let take = |data: &mut [u8]| {
                let (taken, seen) = part(data);
                (taken, (taken, seen))
            };
            self.socket_mut().and_then(|socket| socket.recv(take).ok()).unwrap_or_default()
        } else {
            let (taken, seen) = part(self.tail.as_slices().0);
            self.tail.drain(..taken);
            (taken, seen)
        };
        if taken == 0 && seen > 0 {
            return Ok(Received::Data(0));
        }
        self.told_readable &= self.readable() > 0 || taken == 0;
        self.received(taken, limit == 0)
    }

    pub fn peek(&mut self, out: &mut [u8]) -> Result<Received, RecvError> {
        self.check_receivable()?;
        let len = if self.tail.is_empty() {
            self.socket_mut().and_then(|socket| socket.peek_slice(out).ok()).unwrap_or(0)
        } else {
            copy_front(&self.tail, out)
        };
        self.received(len, out.is_empty())
    }

    fn check_receivable(&self) -> Result<(), RecvError> {
        match self.phase {
            Phase::Connecting => Err(RecvError::NotConnected),
            Phase::Failed(error) => Err(RecvError::Failed(error)),
            Phase::Closed(CloseReason::Aborted) => Err(RecvError::Closed(CloseReason::Aborted)),
            Phase::Open | Phase::Closed(_) => Ok(()),
        }
    }

    /// What a read of `len` octets means: the end and the error come after all data.
    fn received(&self, len: usize, nothing_wanted: bool) -> Result<Received, RecvError> {
        match self.phase {
            _ if len > 0 || (nothing_wanted && self.readable() > 0) => Ok(Received::Data(len)),
            _ if self.peer_finished => Ok(Received::Finished),
            Phase::Closed(reason) => Err(RecvError::Closed(reason)),
            _ => Ok(Received::Empty),
        }
    }

    /// Octets that can be read at once.
    pub fn readable(&self) -> usize {
        self.tail.len() + self.socket().map_or(0, Socket::recv_queue)
    }

    /// Octets that can be sent at once.
    pub fn writable(&self) -> usize {
        match (self.phase, self.socket()) {
            (Phase::Open, Some(socket)) if !self.shut_down => socket.send_capacity() - socket.send_queue(),
            _ => 0,
        }
    }

    /// Octets that the peer has not acknowledged.
    pub fn unsent(&self) -> usize {
        self.socket().map_or(0, Socket::send_queue)
    }

    /// True once for every turn from "recv gives Empty" to anything else.
    pub fn turned_readable(&mut self) -> bool {
        let readable = self.readable() > 0 || self.peer_finished || matches!(self.phase, Phase::Closed(_));
        let turned = readable && !self.told_readable && self.phase != Phase::Connecting;
        self.told_readable |= turned;
        turned
    }

    /// True once for every turn from full to a quarter free: fewer, larger writes.
    pub fn turned_writable(&mut self) -> bool {
        let Some(socket) = self.socket().filter(|_| self.write_blocked && self.phase == Phase::Open) else {
            return false;
        };
        let turned = self.writable() * 4 >= socket.send_capacity();
        self.write_blocked &= !turned;
        turned
    }
}

fn copy_front(from: &VecDeque<u8>, out: &mut [u8]) -> usize {
    let (first, second) = from.as_slices();
    let head = first.len().min(out.len());
    out[..head].copy_from_slice(&first[..head]);
    let rest = second.len().min(out.len() - head);
    out[head..head + rest].copy_from_slice(&second[..rest]);
    head + rest
}

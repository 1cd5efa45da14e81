//! One stream: octets to the connection that wait for it, and how far each side may send.

use bytes::{Buf, BytesMut};
use core::net::SocketAddr;
use std::collections::VecDeque;

/// A piece of a message that has to wait is kept as it is where it is so large a part of it; of others a copy is kept, lest a
/// few octets hold a whole message in memory.
const WORTH_KEEPING: usize = 4;
/// Less than this part of a share is not worth reading: a piece of a message costs a client the same, however short.
const WORTH_READING: usize = 4;
/// Copies are gathered up to this length.
const GATHERED: usize = 16 * 1024;

/// What a session's queue takes, in octets.
#[derive(Clone, Copy, Debug)]
pub(super) struct Room {
    /// Of one connection.
    pub share: usize,
    /// Of all, besides what it has.
    pub all: usize,
}

/// The client has sent what it may not: beyond its credit, or after its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Excess;

/// What the connection is to do next with what the client has sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Uplink<'a> {
    /// Take these octets, or the first of them.
    Data(&'a [u8]),
    /// Send a FIN: nothing follows.
    Finish,
    /// Nothing now.
    Nothing,
}

#[derive(Debug)]
pub(super) struct Stream {
    /// What the connection did not take at once; before it there is nothing.
    uplink: VecDeque<BytesMut>,
    /// What it was not offered yet, with the length of the message that it came in.
    fresh: VecDeque<(BytesMut, usize)>,
    /// Octets that the client has sent, that it may send, and that the connection has taken.
    received: u64,
    allowed: u64,
    written: u64,
    client_finished: bool,
    finish_written: bool,
    /// Octets to the client so far, and how many it takes.
    sent: u64,
    credit: u64,
    /// Of those, what its session's queue holds.
    queued: usize,
    remote_finished: bool,
    /// FINISH is in a message.
    finish_sent: bool,
    /// The shell was told to read no more.
    is_paused: bool,
    /// The gateway's end of the connection, once there is one.
    pub local: Option<SocketAddr>,
}

impl Stream {
    /// `allowed`: the client's first credit; `credit`: ours.
    pub fn new(allowed: u64, credit: u64) -> Self {
        Self {
            uplink: VecDeque::new(),
            fresh: VecDeque::new(),
            received: 0,
            allowed,
            written: 0,
            client_finished: false,
            finish_written: false,
            sent: 0,
            credit,
            queued: 0,
            remote_finished: false,
            finish_sent: false,
            is_paused: false,
            local: None,
        }
    }

    /// Octets from the client, out of a message of this length.
    pub fn receive(&mut self, data: BytesMut, message_len: usize) -> Result<(), Excess> {
        let received = self.received + data.len() as u64;
        if self.client_finished || received > self.allowed {
            return Err(Excess);
        }
        self.received = received;
        if data.is_empty() {
            return Ok(());
        }
        if self.local.is_some() && self.uplink.is_empty() {
            self.fresh.push_back((data, message_len));
        } else {
            self.keep(data, message_len);
        }
        Ok(())
    }

    /// The connection takes nothing more for now, so that what there is waits.
    pub fn stuck(&mut self) {
        while let Some((data, message_len)) = self.fresh.pop_front() {
            self.keep(data, message_len);
        }
    }

    fn keep(&mut self, data: BytesMut, message_len: usize) {
        if data.len() >= message_len / WORTH_KEEPING {
            return self.uplink.push_back(data);
        }
        match self.uplink.back_mut() {
            Some(last) if last.capacity() - last.len() >= data.len() => last.extend_from_slice(&data),
            _ => {
                let mut copy = BytesMut::with_capacity(data.len().max(GATHERED.min(self.uplink_octets())));
                copy.extend_from_slice(&data);
                self.uplink.push_back(copy);
            }
        }
    }

    fn uplink_octets(&self) -> usize {
        (self.received - self.written) as usize
    }

    /// The client will send no more.
    pub fn finish(&mut self) -> Result<(), Excess> {
        if core::mem::replace(&mut self.client_finished, true) { Err(Excess) } else { Ok(()) }
    }

    pub fn uplink(&self) -> Uplink<'_> {
        match self.uplink.front().or(self.fresh.front().map(|(data, _)| data)) {
            _ if self.local.is_none() => Uplink::Nothing,
            Some(data) => Uplink::Data(data),
            None if self.client_finished && !self.finish_written => Uplink::Finish,
            None => Uplink::Nothing,
        }
    }

    /// The connection has taken so many of the octets that [`Stream::uplink`] has shown. The client's new credit, where it is
    /// time to tell, by the rule that it may always be `window` ahead.
    pub fn written(&mut self, octets: usize, window: u64) -> Option<u64> {
        let is_kept = !self.uplink.is_empty();
        let front = if is_kept { self.uplink.front_mut()? } else { &mut self.fresh.front_mut()?.0 };
        let octets = octets.min(front.len());
        front.advance(octets);
        if front.is_empty() {
            if is_kept { drop(self.uplink.pop_front()) } else { drop(self.fresh.pop_front()) }
        }
        self.written += octets as u64;
        self.grant(window)
    }

    /// Lets the client be so far ahead, where that is worth telling.
    pub fn grant(&mut self, window: u64) -> Option<u64> {
        if self.client_finished || self.allowed.saturating_sub(self.written) > window / 2 {
            return None;
        }
        self.allowed = self.written + window;
        Some(self.allowed)
    }

    pub fn finish_written(&mut self) {
        self.finish_written = true;
    }

    /// The client takes more, in all.
    pub fn credit(&mut self, limit: u64) {
        self.credit = self.credit.max(limit);
    }

    /// How many octets may be read from the connection; where it is none, `Stream::resume` tells when there are some again.
    pub fn room(&mut self, room: Room) -> usize {
        let free = self.free(room);
        self.is_paused = free == 0;
        free
    }

    fn free(&self, room: Room) -> usize {
        let own = room.share.saturating_sub(self.queued);
        if self.remote_finished || own < room.share / WORTH_READING {
            return 0;
        }
        let credit = usize::try_from(self.credit.saturating_sub(self.sent)).unwrap_or(usize::MAX);
        credit.min(own).min(room.all)
    }

    /// True where reading was paused and may go on: half of its share of the queue has left, or the client takes more.
    pub fn resume(&mut self, room: Room) -> bool {
        let resumes = self.is_paused && self.queued <= room.share / 2 && self.free(room) > 0;
        self.is_paused &= !resumes;
        resumes
    }

    /// Octets have gone into the session's queue.
    pub fn enqueued(&mut self, octets: usize) {
        self.sent += octets as u64;
        self.queued += octets;
    }

    /// Octets have left the queue.
    pub fn left(&mut self, octets: usize) {
        self.queued = self.queued.saturating_sub(octets);
    }

    /// The connection has no more; false where that was known.
    pub fn remote_finished(&mut self) -> bool {
        !core::mem::replace(&mut self.remote_finished, true)
    }

    pub fn finish_sent(&mut self) {
        self.finish_sent = true;
    }

    /// Both sides have finished, and know it.
    pub fn is_over(&self) -> bool {
        self.finish_sent && self.finish_written
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn open(allowed: u64, credit: u64) -> Stream {
        let mut stream = Stream::new(allowed, credit);
        stream.local = Some(SocketAddr::from(([192, 0, 2, 1], 1)));
        stream
    }

    #[test]
    fn what_exceeds_the_credit_is_refused() {
        let mut stream = open(4, 0);
        assert_eq!(stream.receive(BytesMut::from(&b"abcd"[..]), 4), Ok(()));
        assert_eq!(stream.receive(BytesMut::from(&b"e"[..]), 1), Err(Excess));
        assert_eq!(stream.finish(), Ok(()));
        assert_eq!(stream.finish(), Err(Excess));
        assert_eq!(stream.receive(BytesMut::new(), 1), Err(Excess));
    }

    #[test]
    fn octets_stay_in_order_whether_they_were_copied_or_not() {
        let mut stream = open(1 << 20, 0);
        let mut all = Vec::new();
        for round in 0..200usize {
            let data: Vec<u8> = (0..round * 7 % 300).map(|at| (round + at) as u8).collect();
            all.extend_from_slice(&data);
            let message_len = if round % 3 == 0 { data.len() } else { 100_000 };
            stream.receive(BytesMut::from(&data[..]), message_len).expect("credit");
            if round % 50 == 30 {
                stream.stuck();
            }
        }
        let mut seen = Vec::new();
        while let Uplink::Data(data) = stream.uplink() {
            let taken = data.len().min(101);
            seen.extend_from_slice(&data[..taken]);
            stream.written(taken, 1 << 20);
        }
        assert_eq!(seen, all);
        stream.finish().expect("once");
        assert_eq!(stream.uplink(), Uplink::Finish);
    }

    #[test]
    fn credit_follows_what_the_connection_takes() {
        let mut stream = open(100, 0);
        stream.receive(BytesMut::zeroed(100), 100).expect("credit");
        assert_eq!(stream.written(40, 100), None);
        assert_eq!(stream.written(10, 100), Some(150));
        assert_eq!(stream.written(50, 100), Some(200));
    }

    #[test]
    fn reading_pauses_for_the_queue_and_for_the_client() {
        const SHARE: usize = 1000;
        let room = Room { share: SHARE, all: usize::MAX };
        let mut stream = open(0, 2 * SHARE as u64 + 10);
        assert_eq!(stream.room(room), SHARE);
        stream.enqueued(SHARE - 250);
        assert_eq!(stream.room(room), 250);
        stream.enqueued(1);
        assert_eq!(stream.room(room), 0, "too little is left");
        stream.left(250);
        assert!(!stream.resume(room));
        stream.left(1);
        assert!(stream.resume(room) && !stream.resume(room));
        stream.left(SHARE / 2);
        stream.enqueued(SHARE - 1);
        stream.left(SHARE - 1);
        assert_eq!(stream.room(room), SHARE / 4 + 10, "what the client takes");
        stream.enqueued(SHARE / 4 + 10);
        stream.left(SHARE / 4 + 10);
        assert_eq!(stream.room(room), 0);
        stream.credit(2 * SHARE as u64 + 11);
        assert!(stream.resume(room));
        assert_eq!(stream.room(Room { all: 0, ..room }), 0);
    }
}

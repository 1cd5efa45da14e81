//! Connections that the gateway ends itself (streams; wire specification, section 8), behind the calls of TCP sockets.
//!
//! Bounds: what a program may have waiting for a message and what the gateway may send, 64 KiB at first and then a share of a
//! total, by the configuration; how many there are, the gateway's word.

mod send_buffer;
mod stream;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::SocketAddr;
use std::ops::Range;
use std::time::Duration;

use bytes::Bytes;
use webtun_wire::{BatchWriter, Capsule, Host as WireHost, Instant, ResetReason, StreamLimits, StreamOpen};

use self::stream::{Breach, Stream, words_of};
use crate::arrival::Arrival;
use crate::turns::{Line, Turns};
use crate::{
    CloseReason, ConnectError, Received, RecvError, SendError, SocketEvent, SocketId, Splitting, StreamHost, TcpState,
};

/// What the gateway may send on a stream before it hears more.
const FIRST_WINDOW: u64 = 64 * 1024;
/// What is said of streams in the handshake.
pub(crate) const LIMITS: Option<StreamLimits> =
    Some(StreamLimits { streams: 0, credit: FIRST_WINDOW, required: false });
/// How far the gateway may be ahead of each reader, whatever the share of it.
const LARGEST_WINDOW: u64 = 4 << 20;
/// How long the other side of a stream may take for its end where nobody waits for it.
const ORPHAN_PATIENCE: Duration = Duration::from_secs(60);
const SMALLEST_PIECE: usize = 1024;
/// More than what stands before the pieces of a message.
const HEADER_ROOM: usize = 64;
/// What one may put into a message before it is another's turn.
const QUANTUM: usize = 64 * 1024;

/// A capsule about a stream that is open, or is to be.
pub(crate) type AboutStream<'a> = Capsule<'a>;

/// Whether a capsule of the gateway's is about a stream.
pub(crate) fn about(capsule: Capsule<'_>) -> Result<AboutStream<'_>, Capsule<'_>> {
    match capsule {
        Capsule::StreamOpened(_)
        | Capsule::StreamData { .. }
        | Capsule::StreamCredit { .. }
        | Capsule::StreamFinish { .. }
        | Capsule::StreamReset { .. } => Ok(capsule),
        other => Err(other),
    }
}

/// All of them.
pub(crate) struct Streams {
    /// Octets that may wait on each.
    buffer: usize,
    /// How far the gateway may be ahead of all readers.
    total_window: u64,
    /// What the gateway takes, while it takes streams.
    gateway: Option<StreamLimits>,
    table: BTreeMap<SocketId, Stream>,
    numbers: BTreeMap<u64, SocketId>,
    next_number: u64,
    turns: Turns,
    /// CREDIT and RESET.
    controls: VecDeque<Capsule<'static>>,
    events: VecDeque<SocketEvent>,
    /// Of streams that are not open yet, or closed by their programs; some may be of the past.
    deadlines: BTreeSet<(Instant, SocketId)>,
    arrival: Arrival,
    /// The message that is being handled, where parts of it may be kept.
    message: Bytes,
}

impl Streams {
    /// See [`StackConfig`](crate::StackConfig) for both.
    pub fn new(buffer: usize, total_window: u64) -> Self {
        Self {
            buffer,
            total_window,
            gateway: None,
            table: BTreeMap::new(),
            numbers: BTreeMap::new(),
            next_number: 0,
            turns: Turns::default(),
            controls: VecDeque::new(),
            events: VecDeque::new(),
            deadlines: BTreeSet::new(),
            arrival: Arrival::default(),
            message: Bytes::new(),
        }
    }

    /// What the gateway's handshake says; another session's streams are gone by then.
    pub fn set_gateway(&mut self, limits: Option<StreamLimits>) {
        self.gateway = limits;
    }

    pub fn splitting(&self) -> Splitting {
        match self.gateway {
            None => Splitting::Unavailable,
            Some(limits) if limits.required => Splitting::Required,
            Some(_) => Splitting::Available,
        }
    }

    pub fn contains(&self, id: SocketId) -> bool {
        !self.table.is_empty() && self.table.get(&id).is_some_and(|stream| !stream.is_orphan)
    }

    pub fn is_taken(&self, id: SocketId) -> bool {
        self.table.contains_key(&id)
    }

    pub fn poll_event(&mut self) -> Option<SocketEvent> {
        self.events.pop_front()
    }

    pub fn poll_timeout(&self) -> Option<Instant> {
        self.deadlines.first().map(|(at, _)| *at)
    }

    /// Gives up what the gateway has not answered in time.
    pub fn handle_timeout(&mut self, now: Instant) {
        while let Some((at, id)) = self.deadlines.first().copied().filter(|(at, _)| *at <= now) {
            self.deadlines.pop_first();
            if self.table.get(&id).is_some_and(|stream| stream.deadline == Some(at)) {
                self.end(id, CloseReason::TimedOut, ConnectError::TimedOut, true);
            }
        }
    }

    /// Begins a connection. `id` is free.
    pub fn open(&mut self, id: SocketId, to: (StreamHost, u16), deadline: Instant) -> Result<(), ConnectError> {
        let gateway = self.gateway.ok_or(ConnectError::NetUnreachable)?;
        if self.table.len() as u64 >= gateway.streams {
            return Err(ConnectError::TooManySockets);
        }
        self.table.insert(id, Stream::new(to, deadline, FIRST_WINDOW, gateway.credit, self.buffer));
        self.deadlines.insert((deadline, id));
        self.wake(id);
        Ok(())
    }

    fn window(&self) -> u64 {
        (self.total_window / self.table.len().max(1) as u64).clamp(FIRST_WINDOW, LARGEST_WINDOW)
    }

    /// A message is about to be handled.
    pub fn begin_message(&mut self, message: &[u8], shared: Option<&Bytes>) {
        self.arrival.begin(message);
        self.message = shared.cloned().unwrap_or_default();
    }

    /// Its capsules have been.
    pub fn end_message(&mut self) {
        self.arrival.end();
        self.message = Bytes::new();
    }

    /// A capsule of the gateway's. False where it breaks the rules.
    pub fn handle(&mut self, capsule: &Capsule<'_>) -> bool {
        let number = match capsule {
            Capsule::StreamOpened(opened) => opened.stream,
            Capsule::StreamData { stream, .. }
            | Capsule::StreamCredit { stream, .. }
            | Capsule::StreamFinish { stream }
            | Capsule::StreamReset { stream, .. } => *stream,
            _ => return false,
        };
        if self.gateway.is_none() || number >= self.next_number {
            return false;
        }
        // One that is over is left alone.
        self.numbers.get(&number).copied().is_none_or(|id| self.handle_for(id, capsule).is_ok())
    }

    fn handle_for(&mut self, id: SocketId, capsule: &Capsule<'_>) -> Result<(), Breach> {
        let Some(stream) = self.table.get_mut(&id) else { return Ok(()) };
        match capsule {
            Capsule::StreamOpened(opened) if stream.opened(opened) && !stream.is_orphan => {
                self.events.push_back(SocketEvent::TcpConnected(id));
            }
            Capsule::StreamData { data, .. } => {
                let waiting = stream.readable();
                stream.receive(data, &self.message)?;
                if stream.is_orphan {
                    // As a kernel answers data that nobody will read.
                    self.end(id, CloseReason::Aborted, ConnectError::Aborted, true);
                } else {
                    self.arrival.note(id, data, waiting, true);
                }
            }
            Capsule::StreamCredit { limit, .. } => {
                stream.credit(*limit);
                self.wake(id);
            }
            Capsule::StreamFinish { .. } => stream.peer_finished()?,
            Capsule::StreamReset { reason, .. } => {
                let (close, error) = words_of(*reason);
                self.end(id, close, error, false);
            }
            _ => {}
        }
        self.settle(id);
        Ok(())
    }

    /// Tells what has come of a stream, and forgets it where that is all.
    fn settle(&mut self, id: SocketId) {
        let Some(stream) = self.table.get_mut(&id) else { return };
        if !stream.is_orphan {
            self.events.extend(stream.turned(id).into_iter().flatten());
            let is_news = stream.number.is_some_and(|number| self.numbers.contains_key(&number));
            if is_news && stream.state() == TcpState::Closed(CloseReason::Graceful) {
                self.events.push_back(SocketEvent::TcpClosed(id, CloseReason::Graceful));
            }
        }
        if stream.is_over() {
            stream.number.map(|number| self.numbers.remove(&number));
            if stream.is_orphan {
                self.table.remove(&id);
            }
        }
    }

    /// Ends a stream early; `tell` resets it at the gateway.
    fn end(&mut self, id: SocketId, reason: CloseReason, error: ConnectError, tell: bool) {
        let Some(stream) = self.table.get_mut(&id) else { return };
        if stream.end(reason, error) {
            if let Some(stream) = stream.number.filter(|_| tell) {
                self.controls.push_back(Capsule::StreamReset { stream, reason: ResetReason::Aborted });
            }
            if !stream.is_orphan {
                self.events.push_back(match stream.state() {
                    TcpState::Failed(error) => SocketEvent::TcpConnectFailed(id, error),
                    _ => SocketEvent::TcpClosed(id, reason),
                });
            }
        }
        self.settle(id);
    }

    /// The session is over, and with it what the gateway knew.
    pub fn drop_all(&mut self, reason: CloseReason, error: ConnectError) {
        self.controls.clear();
        let ids: Vec<_> = self.table.keys().copied().collect();
        ids.into_iter().for_each(|id| self.end(id, reason, error, false));
        // The next session counts from 0.
        (self.next_number, self.gateway) = (0, None);
        self.numbers.clear();
    }

    /// Resets all of them at the gateway.
    pub fn abort_all(&mut self) {
        let ids: Vec<_> = self.table.keys().copied().collect();
        ids.into_iter().for_each(|id| self.end(id, CloseReason::TunnelClosed, ConnectError::TunnelClosed, true));
    }

    fn wake(&mut self, id: SocketId) {
        if let Some(stream) = self.table.get_mut(&id)
            && !stream.is_waiting
            && stream.has_something()
        {
            stream.is_waiting = true;
            self.turns.begin(id);
        }
    }

    fn grant(&mut self, id: SocketId) {
        let window = self.window();
        let Some(stream) = self.table.get_mut(&id) else { return };
        if stream.state() == TcpState::Connecting {
            return;
        }
        if let Some((stream, limit)) = stream.number.zip(stream.grant(window)) {
            self.controls.push_back(Capsule::StreamCredit { stream, limit });
        }
    }

    /// Whether a message is wanted.
    pub fn has_something(&self) -> bool {
        !self.controls.is_empty() || !self.turns.is_empty()
    }

    /// Puts into a message what there is, up to `wanted` octets of it.
    pub fn fill(&mut self, batch: &mut BatchWriter, wanted: usize) {
        while let Some(control) = self.controls.front() {
            if !batch.push(control) {
                return;
            }
            self.controls.pop_front();
        }
        while batch.len() < wanted {
            let Some((id, line)) = self.turns.next() else { return };
            let Some(stream) = self.table.get_mut(&id) else { continue };
            if !stream.has_something() {
                stream.is_waiting = false;
                continue;
            }
            let number = *stream.number.get_or_insert(self.next_number);
            let fits = take_turn(stream, number, batch, wanted);
            if stream.opening.is_some() {
                stream.number = None;
            } else if number == self.next_number {
                self.numbers.insert(number, id);
                self.next_number += 1;
            }
            let has_more = stream.has_something();
            let waits = if has_more {
                self.turns.go_on(id);
                true
            } else {
                line == Line::New && self.turns.rest(id, line)
            };
            if let Some(stream) = self.table.get_mut(&id) {
                stream.is_waiting = waits;
            }
            self.settle(id);
            if !fits {
                return;
            }
        }
    }

    /// The states that a [`Stack`](crate::Stack) shows of its sockets.
    pub fn state(&self, id: SocketId) -> Option<TcpState> {
        self.table.get(&id).map(Stream::state)
    }

    pub fn ends(&self, id: SocketId) -> Option<(SocketAddr, SocketAddr)> {
        self.table.get(&id).and_then(Stream::ends)
    }

    pub fn readable(&self, id: SocketId) -> usize {
        self.table.get(&id).map_or(0, Stream::readable)
    }

    pub fn writable(&self, id: SocketId) -> usize {
        self.table.get(&id).map_or(0, Stream::writable)
    }

    pub fn unsent(&self, id: SocketId) -> usize {
        self.table.get(&id).map_or(0, |stream| stream.unsent.len())
    }

    pub fn arrival(&self, id: SocketId) -> &[Range<usize>] {
        self.arrival.of(id, self.readable(id))
    }

    pub fn send(&mut self, id: SocketId, data: &[u8]) -> Result<usize, SendError> {
        let taken = self.table.get_mut(&id).ok_or(SendError::UnknownSocket)?.send(data)?;
        self.wake(id);
        Ok(taken)
    }

    pub fn send_with(
        &mut self,
        id: SocketId,
        wanted: usize,
        write: impl FnOnce(&mut [u8]) -> usize,
    ) -> Result<usize, SendError> {
        let taken = self.table.get_mut(&id).ok_or(SendError::UnknownSocket)?.send_with(wanted, write)?;
        self.wake(id);
        Ok(taken)
    }

    pub fn recv(&mut self, id: SocketId, out: &mut [u8]) -> Result<Received, RecvError> {
        let received = self.table.get_mut(&id).ok_or(RecvError::UnknownSocket)?.recv(out)?;
        self.after_read(id, received);
        Ok(received)
    }

    pub fn recv_with(
        &mut self,
        id: SocketId,
        limit: usize,
        read: impl FnOnce(&[u8]) -> usize,
    ) -> Result<Received, RecvError> {
        let received = self.table.get_mut(&id).ok_or(RecvError::UnknownSocket)?.recv_with(limit, read)?;
        self.after_read(id, received);
        Ok(received)
    }

    fn after_read(&mut self, id: SocketId, received: Received) {
        if matches!(received, Received::Data(1..)) {
            self.arrival.forget(id);
            self.grant(id);
            self.settle(id);
        }
    }

    pub fn peek(&self, id: SocketId, out: &mut [u8]) -> Result<Received, RecvError> {
        self.table.get(&id).map(|stream| stream.peek(out)).ok_or(RecvError::UnknownSocket)
    }

    /// FINISH follows what was sent.
    pub fn shutdown(&mut self, id: SocketId) {
        if let Some(stream) = self.table.get_mut(&id) {
            stream.shutdown();
            self.wake(id);
        }
    }

    pub fn abort(&mut self, id: SocketId) {
        self.end(id, CloseReason::Aborted, ConnectError::Aborted, true);
    }

    /// The program has no use for it any more. What was sent still goes; what was not read resets it.
    pub fn close(&mut self, id: SocketId, now: Instant) {
        let Some(stream) = self.table.get_mut(&id) else { return };
        let is_unread = stream.readable() > 0;
        stream.is_orphan = true;
        stream.deadline = Some(now + ORPHAN_PATIENCE);
        self.deadlines.insert((now + ORPHAN_PATIENCE, id));
        if is_unread || stream.state() == TcpState::Connecting {
            self.abort(id);
        } else {
            self.shutdown(id);
            self.settle(id);
        }
    }
}

/// One stream's part of a message: the request with its first data, data, FINISH. False where the message is full.
fn take_turn(stream: &mut Stream, number: u64, batch: &mut BatchWriter, wanted: usize) -> bool {
    if !open(stream, number, batch) {
        return false;
    }
    batch.expect(stream.unsent.len().min(wanted.saturating_sub(batch.len())) + HEADER_ROOM);
    let mut left = QUANTUM;
    while left > 0 && batch.len() < wanted && stream.sendable() > 0 {
        // A piece that is hardly longer than its header is not worth it.
        let wanted = (wanted - batch.len()).max(SMALLEST_PIECE);
        let len = stream.sendable().min(batch.stream_room(number)).min(wanted).min(left);
        if len == 0 || !batch.push_stream(number, &stream.unsent.front()[..len]) {
            return false;
        }
        stream.sent(len);
        left -= len;
    }
    if stream.wants_finish() {
        if !batch.push(&Capsule::StreamFinish { stream: number }) {
            return false;
        }
        stream.finish_sent();
    }
    true
}

/// False where the request does not fit.
fn open(stream: &mut Stream, number: u64, batch: &mut BatchWriter) -> bool {
    let Some((host, port)) = stream.opening.take() else { return true };
    let wire_host = match &host {
        StreamHost::Address(address) => WireHost::Address(*address),
        StreamHost::Name(name) => WireHost::Name(name),
    };
    let mut open = StreamOpen { stream: number, host: wire_host, port, data: &[] };
    let room = batch.capsule_room().saturating_sub(open.encoded_len());
    let len = stream.sendable().min(room);
    open.data = &stream.unsent.front()[..len];
    if !batch.push(&Capsule::StreamOpen(open)) {
        stream.opening = Some((host, port));
        return false;
    }
    stream.sent(len);
    true
}

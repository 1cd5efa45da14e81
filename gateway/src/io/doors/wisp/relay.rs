//! A Wisp connection behind its handshake: packets on one side, a client stack on the other. Pure: no clock, no I/O.
//!
//! Contract, as of the stack: after any `&mut` call take what [`Relay::poll_frame`] has while the WebSocket can take more, and
//! what [`Relay::poll_transmit`] has while the session can, then wait for [`Relay::poll_timeout`] or input. While
//! [`Relay::is_full`], the WebSocket is not read; while [`Relay::has_frames`], the session is not.

use super::packet::{self, Malformed, Packet, Transport};
use super::reason;
use super::stream::{Stream, Tcp, Udp, destination};
use bytes::Bytes;
use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;
use webtun_stack::{
    Event, QueryId, Received, RecvError, SendError, SocketEvent, SocketId, Stack, Status, TcpOptions, UdpError,
};
use webtun_wire::Instant;

/// Streams of one connection, those that are closed and still send included.
const MAX_STREAMS: usize = 4096;
/// Octets in a DATA.
const DATA: usize = 256 * 1024;
/// Octets of one client that may wait for all its connections together, with what each packet costs. At this bound nothing more
/// is read from it.
const HELD: usize = 32 << 20;
/// How long a client waits at that bound for a connection that takes nothing.
const STALL: Duration = Duration::from_secs(2);
/// How long a connection whose stream is closed may take for what was sent before.
const LINGER: Duration = Duration::from_secs(30);

/// The client breaks the protocol, and cannot be understood any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Breach;

/// See the module.
pub(super) struct Relay {
    stack: Stack,
    streams: BTreeMap<u32, Stream>,
    /// Of the streams.
    sockets: BTreeMap<SocketId, u32>,
    queries: BTreeMap<QueryId, u32>,
    /// Connections whose streams are closed, and until when they may go on.
    closed: BTreeMap<SocketId, (Tcp, Instant)>,
    /// Streams that have something for the client, in turn; some may be of the past.
    turns: VecDeque<u32>,
    /// CONTINUE and CLOSE. No packet of the client's is read while there are any, and each causes few.
    controls: VecDeque<Bytes>,
    /// Octets that wait for connections.
    held: usize,
    full_since: Option<Instant>,
    /// Whether the client is told when a stream is open.
    confirms: bool,
}

impl Relay {
    /// Over a stack that has a session.
    pub(super) fn new(stack: Stack, confirms: bool) -> Self {
        Self {
            stack,
            streams: BTreeMap::new(),
            sockets: BTreeMap::new(),
            queries: BTreeMap::new(),
            closed: BTreeMap::new(),
            turns: VecDeque::new(),
            controls: VecDeque::new(),
            held: 0,
            full_since: None,
            confirms,
        }
    }

    /// A message of the client's.
    pub(super) fn handle_packet(&mut self, message: Bytes, now: Instant) -> Result<(), Breach> {
        let (stream, packet) = match packet::parse(message) {
            Ok(parsed) => parsed,
            Err(Malformed::Connect(stream)) => {
                self.refuse(stream, reason::INVALID, now);
                return Ok(());
            }
            Err(Malformed::Packet) => return Err(Breach),
        };
        match packet {
            // Stream 0 is the connection itself.
            Packet::Connect { .. } | Packet::Close(_) if stream == 0 => return Err(Breach),
            Packet::Connect { .. } if self.streams.contains_key(&stream) => return Err(Breach),
            Packet::Connect { .. } if self.streams.len() + self.closed.len() >= MAX_STREAMS => {
                self.refuse(stream, reason::THROTTLED, now);
            }
            Packet::Connect { transport: Transport::Tcp, host, port } => self.open_tcp(stream, &host, port, now),
            Packet::Connect { transport: Transport::Udp, host, port } => self.open_udp(stream, &host, port, now),
            Packet::Data(data) => self.take_data(stream, data, now),
            Packet::Close(_) => self.let_go(stream, now),
            Packet::Continue(_) | Packet::Info(_) => {}
        }
        self.settle(now);
        Ok(())
    }

    fn open_tcp(&mut self, stream: u32, host: &str, port: u16, now: Instant) {
        match self.stack.tcp_connect_split(destination(host), port, &TcpOptions::default(), now) {
            Ok(socket) => self.insert(stream, socket, Stream::Tcp(Tcp::new(socket, now))),
            Err(error) => self.refuse(stream, reason::of_connect(error), now),
        }
    }

    fn open_udp(&mut self, stream: u32, host: &str, port: u16, now: Instant) {
        match Udp::open(host, port, &mut self.stack, now) {
            Ok(udp) => {
                self.queries.extend(udp.query.map(|query| (query, stream)));
                self.insert(stream, udp.socket, Stream::Udp(udp));
            }
            Err(reason) => self.refuse(stream, reason, now),
        }
    }

    fn insert(&mut self, number: u32, socket: SocketId, stream: Stream) {
        self.sockets.insert(socket, number);
        self.streams.insert(number, stream);
    }

    fn take_data(&mut self, stream: u32, data: Bytes, now: Instant) {
        let count = self.streams.len();
        // The stream may just have been closed by us.
        let Some(found) = self.streams.get_mut(&stream) else { return };
        match found {
            Stream::Tcp(tcp) => {
                let before = tcp.octets();
                tcp.credit.received(data.len());
                let sent = tcp.push(data, &mut self.stack, now);
                self.held = self.held + tcp.octets() - before;
                if sent.is_ok() {
                    grant(stream, tcp, count, &mut self.controls);
                }
            }
            Stream::Udp(udp) => {
                if let Err(error) = udp.send(data, &mut self.stack, now) {
                    self.datagram_failed(stream, error, now);
                }
            }
        }
    }

    /// The client has closed a stream. What it has sent before still goes.
    fn let_go(&mut self, stream: u32, now: Instant) {
        match self.take(stream, now) {
            Some(Stream::Tcp(tcp)) => self.linger(tcp, now),
            Some(Stream::Udp(udp)) => self.stack.close(udp.socket, now),
            None => {}
        }
    }

    fn linger(&mut self, mut tcp: Tcp, now: Instant) {
        let before = tcp.octets();
        let goes_on = tcp.finish(&mut self.stack, now).is_ok();
        self.held = self.held + tcp.octets() - before;
        if goes_on {
            let socket = tcp.socket;
            self.closed.insert(socket, (tcp, now + LINGER));
            self.discard(socket, now);
        } else {
            self.drop_tcp(&tcp, now);
        }
    }

    /// Ends a connection, whatever it still has.
    fn drop_tcp(&mut self, tcp: &Tcp, now: Instant) {
        self.held -= tcp.octets();
        self.stack.tcp_abort(tcp.socket, now);
        self.stack.close(tcp.socket, now);
    }

    /// Reads what nobody will have, so that the other end is not stopped by it, and forgets the connection at its end.
    fn discard(&mut self, socket: SocketId, now: Instant) {
        loop {
            match self.stack.tcp_recv_with(socket, usize::MAX, <[u8]>::len, now) {
                Ok(Received::Data(1..)) => {}
                Ok(Received::Empty | Received::Data(0)) | Err(RecvError::NotConnected) => return,
                Ok(Received::Finished) if self.is_sending(socket) => return,
                Ok(Received::Finished) | Err(_) => break,
            }
        }
        if let Some((tcp, _)) = self.closed.remove(&socket) {
            self.held -= tcp.octets();
            self.stack.close(socket, now);
        }
    }

    fn is_sending(&self, socket: SocketId) -> bool {
        self.stack.tcp_unsent(socket) > 0 || self.closed.get(&socket).is_some_and(|(tcp, _)| tcp.octets() > 0)
    }

    /// Takes a stream out.
    fn take(&mut self, stream: u32, now: Instant) -> Option<Stream> {
        let taken = self.streams.remove(&stream)?;
        match &taken {
            Stream::Tcp(tcp) => drop(self.sockets.remove(&tcp.socket)),
            Stream::Udp(udp) => {
                self.sockets.remove(&udp.socket);
                if let Some(query) = udp.query {
                    self.queries.remove(&query);
                    self.stack.cancel_resolve(query, now);
                }
            }
        }
        Some(taken)
    }

    /// Tells the client that there is no such stream, or no more.
    fn refuse(&mut self, stream: u32, reason: u8, now: Instant) {
        match self.take(stream, now) {
            Some(Stream::Tcp(tcp)) => self.drop_tcp(&tcp, now),
            Some(Stream::Udp(udp)) => self.stack.close(udp.socket, now),
            None => {}
        }
        self.controls.push_back(packet::close(stream, reason));
    }

    fn datagram_failed(&mut self, stream: u32, error: UdpError, now: Instant) {
        if let Some(reason) = reason::of_datagram(error) {
            self.refuse(stream, reason, now);
        }
    }

    /// A message of the session's.
    pub(super) fn handle_message(&mut self, message: &Bytes, now: Instant) {
        self.stack.handle_shared_message(message, now);
        self.settle(now);
    }

    /// The session is gone.
    pub(super) fn handle_disconnected(&mut self, now: Instant) {
        self.stack.handle_disconnected(now);
        self.settle(now);
    }

    /// Does what has come due.
    pub(super) fn handle_timeout(&mut self, now: Instant) {
        self.stack.handle_timeout(now);
        let due: Vec<_> = self.closed.iter().filter(|(_, (_, until))| *until <= now).map(|(id, _)| *id).collect();
        due.into_iter().for_each(|socket| self.give_up(socket, now));
        if self.full_since.is_some_and(|since| since + STALL <= now) {
            self.give_room(now);
        }
        self.settle(now);
    }

    /// Its time is over for a connection whose stream is closed, unless it still takes what was sent.
    fn give_up(&mut self, socket: SocketId, now: Instant) {
        let Some((tcp, until)) = self.closed.get_mut(&socket) else { return };
        if tcp.octets() > 0 && tcp.moved + LINGER > now {
            *until = tcp.moved + LINGER;
        } else if let Some((tcp, _)) = self.closed.remove(&socket) {
            self.drop_tcp(&tcp, now);
        }
    }

    /// When [`Relay::handle_timeout`] wants to be called.
    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        let closed = self.closed.values().map(|(_, until)| *until).min();
        let full = self.full_since.map(|since| since + STALL);
        self.stack.poll_timeout().into_iter().chain(closed).chain(full).min()
    }

    /// Ends the connection that has the most waiting, of those that take nothing.
    fn give_room(&mut self, now: Instant) {
        self.full_since = Some(now);
        let stalled = |tcp: &&Tcp| tcp.octets() > 0 && tcp.moved + STALL <= now;
        let open =
            self.streams.values().filter_map(|stream| if let Stream::Tcp(tcp) = stream { Some(tcp) } else { None });
        let all = open.chain(self.closed.values().map(|(tcp, _)| tcp));
        let Some(socket) = all.filter(stalled).max_by_key(|tcp| tcp.octets()).map(|tcp| tcp.socket) else { return };
        match self.sockets.get(&socket).copied() {
            Some(stream) => self.refuse(stream, reason::THROTTLED, now),
            None => {
                if let Some((tcp, _)) = self.closed.remove(&socket) {
                    self.drop_tcp(&tcp, now);
                }
            }
        }
    }

    fn settle(&mut self, now: Instant) {
        while let Some(event) = self.stack.poll_event() {
            match event {
                Event::Socket(event) => self.handle_event(event, now),
                Event::Resolved { id, result } => {
                    let Some(stream) = self.queries.remove(&id) else { continue };
                    let Some(Stream::Udp(udp)) = self.streams.get_mut(&stream) else { continue };
                    if let Err(reason) = udp.resolved(result, &mut self.stack, now) {
                        self.refuse(stream, reason, now);
                    }
                }
                Event::Status(_)
                | Event::OpenTransport
                | Event::CloseTransport
                | Event::PortMapped { .. }
                | Event::FlowDenied(_) => {}
            }
        }
        let since = *self.full_since.get_or_insert(now);
        self.full_since = (self.held >= HELD).then_some(since);
    }

    fn handle_event(&mut self, event: SocketEvent, now: Instant) {
        match event {
            SocketEvent::TcpConnected(id) => {
                if self.confirms
                    && let Some(stream) = self.sockets.get(&id)
                {
                    self.controls.push_back(packet::r#continue(*stream, super::credit::FIRST));
                }
                self.feed(id, now);
            }
            SocketEvent::TcpWritable(id) => self.feed(id, now),
            SocketEvent::TcpReadable(id) | SocketEvent::UdpReadable(id) => match self.sockets.get(&id) {
                Some(stream) => self.turns.push_back(*stream),
                None => self.discard(id, now),
            },
            SocketEvent::TcpConnectFailed(id, error) => match self.sockets.get(&id).copied() {
                Some(stream) => self.refuse(stream, reason::of_connect(error), now),
                None => self.discard(id, now),
            },
            SocketEvent::TcpClosed(id, _) => match self.sockets.get(&id) {
                // What has come before is still to be read, and then why nothing follows.
                Some(stream) => self.turns.push_back(*stream),
                None => self.discard(id, now),
            },
            SocketEvent::UdpError(id, error, _) => {
                if let Some(stream) = self.sockets.get(&id).copied() {
                    self.datagram_failed(stream, error, now);
                }
            }
            SocketEvent::UdpWritable(_)
            | SocketEvent::TcpIncoming(_)
            | SocketEvent::Pong { .. }
            | SocketEvent::PingFailed { .. } => {}
        }
    }

    /// A connection takes more.
    fn feed(&mut self, socket: SocketId, now: Instant) {
        let (stream, count) = (self.sockets.get(&socket).copied(), self.streams.len());
        let tcp = match stream.and_then(|stream| self.streams.get_mut(&stream)) {
            Some(Stream::Tcp(tcp)) => Some(tcp),
            Some(Stream::Udp(_)) => None,
            None => self.closed.get_mut(&socket).map(|(tcp, _)| tcp),
        };
        let Some(tcp) = tcp else { return };
        let before = tcp.octets();
        // Where it fails, reading tells why.
        let fed: Result<(), SendError> = tcp.feed(&mut self.stack, now);
        self.held = self.held + tcp.octets() - before;
        match stream {
            Some(stream) if fed.is_ok() => grant(stream, tcp, count, &mut self.controls),
            Some(_) => {}
            None => self.discard(socket, now),
        }
    }

    /// The next message for the client.
    pub(super) fn poll_frame(&mut self, now: Instant) -> Option<Bytes> {
        loop {
            if let Some(control) = self.controls.pop_front() {
                return Some(control);
            }
            let stream = self.turns.pop_front()?;
            let frame = match self.streams.get_mut(&stream) {
                Some(Stream::Tcp(tcp)) => {
                    let socket = tcp.socket;
                    self.read(stream, socket, now)
                }
                Some(Stream::Udp(udp)) => udp.receive(stream, &mut self.stack),
                None => None,
            };
            self.settle(now);
            if frame.is_some() {
                self.turns.push_back(stream);
                return frame;
            }
        }
    }

    fn read(&mut self, stream: u32, socket: SocketId, now: Instant) -> Option<Bytes> {
        let room = self.stack.tcp_readable(socket).min(DATA);
        let mut frame = packet::data(stream, room);
        let full = frame.len() + room;
        while frame.len() < full {
            let limit = full - frame.len();
            let copy = |data: &[u8]| {
                frame.extend_from_slice(data);
                data.len()
            };
            if !matches!(self.stack.tcp_recv_with(socket, limit, copy, now), Ok(Received::Data(1..))) {
                break;
            }
        }
        if frame.len() > packet::HEADER_LEN {
            return Some(frame.freeze());
        }
        match self.stack.tcp_recv_with(socket, 0, |_| 0, now) {
            Ok(Received::Finished) => {
                // The protocol knows no half-open streams: what the client has sent so far goes, and then a FIN.
                if let Some(Stream::Tcp(tcp)) = self.take(stream, now) {
                    self.linger(tcp, now);
                    self.controls.push_back(packet::close(stream, reason::VOLUNTARY));
                }
            }
            Err(RecvError::Closed(why)) => self.refuse(stream, reason::of_close(why), now),
            Err(RecvError::Failed(why)) => self.refuse(stream, reason::of_connect(why), now),
            Ok(_) | Err(_) => {}
        }
        self.controls.pop_front()
    }

    /// The next message for the session.
    pub(super) fn poll_transmit(&mut self, now: Instant) -> Option<Bytes> {
        let message = self.stack.poll_transmit(now);
        self.settle(now);
        message
    }

    /// Whether there is something for the client. The session's messages then wait where their streams are told apart.
    pub(super) fn has_frames(&self) -> bool {
        !self.controls.is_empty() || !self.turns.is_empty()
    }

    /// Whether so much waits that nothing more is to be read from the client.
    pub(super) fn is_full(&self) -> bool {
        self.full_since.is_some() || !self.controls.is_empty()
    }

    /// The client is gone. What it has sent still goes.
    pub(super) fn finish(&mut self, now: Instant) {
        let streams: Vec<u32> = self.streams.keys().copied().collect();
        streams.into_iter().for_each(|stream| self.let_go(stream, now));
        self.turns.clear();
        self.controls.clear();
        self.settle(now);
    }

    /// Whether nothing is left to be done for a client that is gone.
    pub(super) fn is_over(&self) -> bool {
        self.closed.is_empty()
    }

    /// Ends the session; its last words leave by [`Relay::poll_transmit`].
    pub(super) fn close(&mut self, now: Instant) {
        self.stack.close_tunnel(now);
    }

    /// How the session has ended, if it has.
    pub(super) fn status(&self) -> &Status {
        self.stack.status()
    }
}

/// Tells the client that it may send more, where that is worth a packet.
fn grant(stream: u32, tcp: &mut Tcp, streams: usize, controls: &mut VecDeque<Bytes>) {
    if let Some(packets) = tcp.credit.grant(tcp.packets(), streams) {
        controls.push_back(packet::r#continue(stream, packets));
    }
}

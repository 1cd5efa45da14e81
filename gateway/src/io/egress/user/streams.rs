//! TCP: a connection of the TCP/IP end on one side, a socket of this machine on the other, octets between.
//!
//! Neither side has a buffer here. What the socket does not take stays in the end's receive buffer and closes its window;
//! what the end does not take stays in the kernel.

use super::aliases::Aliases;
use super::dial;
use super::poller::{Owner, Poller, Readiness};
use crate::dataplane::OwnAddresses;
use mio::net::TcpStream;
use std::collections::{BTreeMap, VecDeque};
use std::io::{self, ErrorKind, Read, Write};
use std::net::{IpAddr, Shutdown, SocketAddr};
use std::ops::RangeInclusive;
use std::time::Duration;
use webtun_stack::{BufferSizes, CloseReason, Host, Received, Refusal, SocketId, TcpOptions, TcpRequest};
use webtun_wire::Instant;

/// Octets moved each way before another connection has its turn.
const TURN: usize = 256 * 1024;
/// Octets that one call moves.
const PIECE: usize = 128 * 1024;
/// Octets of buffers of all connections beyond which new ones get the least.
const PLENTY: u64 = 1 << 30;
const KIB: usize = 1024;
/// How long a client may take to answer a connection from outside, or our answer to its own.
const HANDSHAKE: Duration = Duration::from_secs(30);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// The socket is being connected; the client's SYN has no answer.
    Dialling,
    /// The socket is connected, the client's handshake is not over.
    Greeting,
    Open,
}

#[derive(Debug)]
struct Stream {
    socket: TcpStream,
    /// The NAT's endpoint, which stands for the client.
    inner: SocketAddr,
    phase: Phase,
    readable: bool,
    writable: bool,
    /// Waits for its turn.
    queued: bool,
    /// The client's FIN was handed on.
    up_done: bool,
    /// The remote's FIN was handed on.
    down_done: bool,
}

/// What a turn has come to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    /// Nothing more can be moved now.
    Waits,
    /// The turn is over, and there is more.
    More,
    /// Both directions have ended.
    Finished,
    /// The remote has reset, or cannot be written to.
    RemoteGone,
    /// The client's side has ended without a FIN.
    ClientGone,
}

/// All connections.
#[derive(Debug, Default)]
pub(super) struct Streams {
    streams: BTreeMap<SocketId, Stream>,
    ready: VecDeque<SocketId>,
    own: OwnAddresses,
    aliases: Aliases,
}

impl Streams {
    pub fn new(aliases: Aliases) -> Self {
        Self { aliases, ..Self::default() }
    }

    /// By these addresses the dataplane knows this machine.
    pub fn set_own_addresses(&mut self, own: OwnAddresses) {
        self.own = own;
    }

    /// Dials for a client.
    ///
    /// # Errors
    /// Why no socket could be had; the client has been told.
    pub fn open(&mut self, request: TcpRequest, host: &mut Host, poller: &Poller, now: Instant) -> io::Result<()> {
        // This machine's programs are answered, and never called.
        let may_be_called = match self.aliases.outward(request.to.ip()) {
            Some(_) => Err(ErrorKind::PermissionDenied.into()),
            None => Ok(()),
        };
        let dialled = may_be_called.and_then(|()| dial::tcp(request.to)).and_then(|mut socket| {
            poller.add(&mut socket, Owner::Stream(request.id))?;
            Ok(socket)
        });
        match dialled {
            Ok(socket) => {
                self.streams.insert(request.id, Stream::new(socket, request.from, Phase::Dialling));
                Ok(())
            }
            Err(error) => {
                host.tcp_refuse(request.id, dial::refusal(&error), now);
                Err(error)
            }
        }
    }

    /// Hands a connection from outside to the client behind `inner`; where that cannot be, the caller gets a RST.
    pub fn accept(
        &mut self,
        (socket, from): (TcpStream, SocketAddr),
        inner: SocketAddr,
        host: &mut Host,
        poller: &Poller,
        now: Instant,
    ) {
        let mut stream = Stream::new(socket, inner, Phase::Greeting);
        let options = TcpOptions { local: Some(self.aliases.inward(from)), ..self.options(inner, host) };
        let id = dial::check(from.ip()).ok().and_then(|()| host.tcp_connect(inner, options, now).ok());
        let Some(id) = id else { return dial::reset_on_drop(&stream.socket) };
        let added = stream.socket.set_nodelay(true).and_then(|()| poller.add(&mut stream.socket, Owner::Stream(id)));
        self.streams.insert(id, stream);
        if added.is_err() {
            self.failed(id, host, now);
        }
    }

    /// Buffers by how many connections the client has: what waits for one session shall fit in its queue.
    fn options(&self, inner: SocketAddr, host: &Host) -> TcpOptions {
        let is_neighbour =
            |other: &Stream| other.inner.ip() == inner.ip() && other.inner.port() / 64 == inner.port() / 64;
        let siblings =
            if self.streams.len() > 256 { 256 } else { self.streams.values().filter(|it| is_neighbour(it)).count() };
        let octets = match siblings {
            _ if host.stats().buffer_octets > PLENTY => 64 * KIB,
            0 | 1 => 1024 * KIB,
            2..8 => 256 * KIB,
            8..32 => 128 * KIB,
            _ => 64 * KIB,
        };
        let buffers = Some(BufferSizes::both(octets));
        TcpOptions { buffers, connect_timeout: HANDSHAKE, nodelay: true, ..TcpOptions::default() }
    }

    /// The kernel says something of a socket.
    pub fn heard(&mut self, id: SocketId, readiness: Readiness, host: &mut Host, now: Instant) {
        let Some(stream) = self.streams.get_mut(&id) else { return };
        stream.readable |= readiness.readable;
        stream.writable |= readiness.writable;
        match stream.phase {
            Phase::Dialling if stream.writable => self.dialled(id, host, now),
            Phase::Open => self.queue(id),
            _ => {}
        }
    }

    fn dialled(&mut self, id: SocketId, host: &mut Host, now: Instant) {
        let Some(stream) = self.streams.get_mut(&id) else { return };
        let (inner, outcome) = (stream.inner, dial::connected(&stream.socket, &self.own));
        match outcome {
            Ok(None) => stream.writable = false,
            Ok(Some(())) => {
                stream.phase = Phase::Greeting;
                let options = self.options(inner, host);
                if !host.tcp_admit(id, &options, now) {
                    self.drop_remote(id);
                }
            }
            Err(error) => {
                self.drop_remote(id);
                host.tcp_refuse(id, dial::refusal(&error), now);
            }
        }
    }

    /// The client's handshake is over.
    pub fn greeted(&mut self, id: SocketId) {
        if let Some(stream) = self.streams.get_mut(&id) {
            stream.phase = Phase::Open;
            self.queue(id);
        }
    }

    /// The client did not answer, or refused a connection from outside.
    pub fn failed(&mut self, id: SocketId, host: &mut Host, now: Instant) {
        self.drop_remote(id);
        host.close(id, now);
    }

    /// The connection has something to give or to take, or has ended.
    pub fn queue(&mut self, id: SocketId) {
        if let Some(stream) = self.streams.get_mut(&id).filter(|it| it.phase == Phase::Open && !it.queued) {
            stream.queued = true;
            self.ready.push_back(id);
        }
    }

    /// Both directions of the client's side are over.
    pub fn closed(&mut self, id: SocketId, reason: CloseReason, host: &mut Host, now: Instant) {
        if reason == CloseReason::Graceful {
            self.queue(id);
        } else if self.streams.contains_key(&id) {
            self.failed(id, host, now);
        }
    }

    /// Gives the next connection its turn; false where none waits.
    pub fn turn(&mut self, host: &mut Host, now: Instant) -> bool {
        let Some(id) = self.ready.pop_front() else { return false };
        let Some(stream) = self.streams.get_mut(&id) else { return true };
        stream.queued = false;
        match stream.exchange(id, host, now) {
            Outcome::Waits => {}
            Outcome::More => self.queue(id),
            Outcome::Finished => {
                self.streams.remove(&id);
                host.close(id, now);
            }
            Outcome::RemoteGone => {
                host.tcp_abort(id, now);
                self.failed(id, host, now);
            }
            Outcome::ClientGone => self.failed(id, host, now),
        }
        true
    }

    pub fn has_turns(&self) -> bool {
        !self.ready.is_empty()
    }

    /// The NAT's ports are nobody's any more.
    pub fn release(&mut self, address: IpAddr, ports: &RangeInclusive<u16>, host: &mut Host, now: Instant) {
        let is_gone = |inner: &SocketAddr| inner.ip() == address && ports.contains(&inner.port());
        let gone: Vec<_> = self.streams.iter().filter(|(_, it)| is_gone(&it.inner)).map(|(id, _)| *id).collect();
        for id in gone {
            host.tcp_refuse(id, Refusal::Silence, now);
            host.tcp_abort(id, now);
            self.failed(id, host, now);
        }
    }

    fn drop_remote(&mut self, id: SocketId) {
        if let Some(stream) = self.streams.remove(&id) {
            dial::reset_on_drop(&stream.socket);
        }
    }
}

impl Stream {
    fn new(socket: TcpStream, inner: SocketAddr, phase: Phase) -> Self {
        let (readable, writable) = (phase == Phase::Greeting, phase == Phase::Greeting);
        Self { socket, inner, phase, readable, writable, queued: false, up_done: false, down_done: false }
    }

    fn exchange(&mut self, id: SocketId, host: &mut Host, now: Instant) -> Outcome {
        let up = self.up(id, host, now);
        if !matches!(up, Outcome::Waits | Outcome::More) {
            return up;
        }
        let down = self.down(id, host, now);
        match (up, down) {
            _ if self.up_done && self.down_done => Outcome::Finished,
            (Outcome::More, Outcome::Waits) => Outcome::More,
            _ => down,
        }
    }

    /// From the client to the remote.
    fn up(&mut self, id: SocketId, host: &mut Host, now: Instant) -> Outcome {
        let mut left = TURN;
        while self.writable && !self.up_done {
            let mut failure = None;
            let socket = &mut self.socket;
            let received = host.tcp_recv_with(
                id,
                PIECE,
                |data| {
                    socket.write(data).unwrap_or_else(|error| {
                        failure = Some(error);
                        0
                    })
                },
                now,
            );
            match failure.map(|error| error.kind()) {
                Some(ErrorKind::WouldBlock) => self.writable = false,
                Some(ErrorKind::Interrupted) => continue,
                Some(_) => return Outcome::RemoteGone,
                None => {}
            }
            match received {
                Ok(Received::Data(octets)) if octets >= left => return Outcome::More,
                Ok(Received::Data(octets)) => left -= octets,
                Ok(Received::Empty) => return Outcome::Waits,
                Ok(Received::Finished) => {
                    self.up_done = true;
                    if self.socket.shutdown(Shutdown::Write).is_err() {
                        return Outcome::RemoteGone;
                    }
                }
                Err(_) => return Outcome::ClientGone,
            }
        }
        Outcome::Waits
    }

    /// From the remote to the client.
    fn down(&mut self, id: SocketId, host: &mut Host, now: Instant) -> Outcome {
        let mut left = TURN;
        while self.readable && !self.down_done {
            let mut read = None;
            let socket = &mut self.socket;
            let sent = host.tcp_send_with(
                id,
                PIECE,
                |room| {
                    if room.is_empty() {
                        return 0;
                    }
                    let outcome = socket.read(room);
                    let octets = *outcome.as_ref().unwrap_or(&0);
                    read = Some(outcome);
                    octets
                },
                now,
            );
            match (sent, read) {
                // The end tells when there is room again.
                (Ok(_), None) => return Outcome::Waits,
                (Ok(_), Some(Ok(0))) => {
                    self.down_done = true;
                    host.tcp_shutdown(id, now);
                }
                (Ok(octets), Some(Ok(_))) if octets >= left => return Outcome::More,
                (Ok(octets), Some(Ok(_))) => left -= octets,
                (Ok(_), Some(Err(error))) if error.kind() == ErrorKind::WouldBlock => self.readable = false,
                (Ok(_), Some(Err(error))) if error.kind() == ErrorKind::Interrupted => {}
                (Ok(_), Some(Err(_))) => return Outcome::RemoteGone,
                (Err(_), _) => return Outcome::ClientGone,
            }
        }
        Outcome::Waits
    }
}

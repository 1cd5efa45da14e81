//! A program with one TCP connection, and what it has seen.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::Duration;
use webtun_stack::{CloseReason, ConnectError, Received, RecvError, SendError, SocketEvent, SocketId};
use webtun_wire::Instant;

use crate::net::Net;
use crate::pattern;

/// How much is moved by one call. Not a power of two, so that buffers end within a call.
const CHUNK: usize = 50_000;
/// How much an echo holds back before it stops reading.
const ECHO_BUFFER: usize = 256 * 1024;

/// What a program does with a TCP connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// How many octets it sends.
    pub send: u64,
    /// Which [`pattern`] they are of.
    pub send_seed: u64,
    /// Which pattern is expected from the peer; `None` takes anything.
    pub expect: Option<u64>,
    /// Sends back what comes, beside `send`.
    pub echo: bool,
    /// How it reads.
    pub read: Read,
    /// What it does once everything is sent (for an echo: once the peer has finished, too).
    pub finish: Finish,
}

/// How a program reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Read {
    /// Whenever there is something.
    Eager,
    /// Never.
    Never,
    /// Not before this instant, then eagerly.
    From(Instant),
    /// At most `octets` each time `every` has passed.
    Paced {
        /// Octets per turn.
        octets: usize,
        /// Time between turns.
        every: Duration,
    },
}

/// What a program does after its last octet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Finish {
    /// Nothing: the connection stays open.
    Hold,
    /// Ends its direction, reads on, and closes when the peer has finished too.
    ShutDown,
    /// Closes at once, without waiting for the peer.
    Close,
    /// Resets the connection.
    Abort,
}

impl Plan {
    /// Sends nothing, reads everything, and closes when the peer has finished.
    pub fn sink() -> Self {
        Self { send: 0, send_seed: 0, expect: None, echo: false, read: Read::Eager, finish: Finish::ShutDown }
    }

    /// Sends `len` octets of the pattern `seed`, then ends its direction.
    pub fn source(len: u64, seed: u64) -> Self {
        Self { send: len, send_seed: seed, ..Self::sink() }
    }

    /// Sends back whatever comes, and ends its direction after the peer.
    pub fn echo() -> Self {
        Self { echo: true, ..Self::sink() }
    }

    /// Opens and waits.
    pub fn hold() -> Self {
        Self { finish: Finish::Hold, ..Self::sink() }
    }

    /// The same, and checks what is received.
    pub fn expecting(self, seed: u64) -> Self {
        Self { expect: Some(seed), ..self }
    }

    /// The same with another way to read.
    pub fn reading(self, read: Read) -> Self {
        Self { read, ..self }
    }

    /// The same with another end.
    pub fn finishing(self, finish: Finish) -> Self {
        Self { finish, ..self }
    }
}

/// A program with one TCP connection, and all it has seen. It acts on events alone, as real programs do: an event that
/// does not come is a run that does not end.
#[derive(Debug)]
pub struct Flow {
    id: SocketId,
    plan: Plan,
    next_read: Option<Instant>,
    echo: VecDeque<u8>,
    open: bool,
    write_over: bool,
    released: bool,
    /// Where the other end is, of an accepted connection.
    pub peer: Option<SocketAddr>,
    /// When the connection opened.
    pub connected: Option<Instant>,
    /// Why it did not.
    pub connect_error: Option<ConnectError>,
    /// Octets that the stack has taken.
    pub sent: u64,
    /// Octets read.
    pub received: u64,
    /// The offset of the first received octet that is not what was expected.
    pub corrupt: Option<u64>,
    /// When the peer's end was read.
    pub finished: Option<Instant>,
    /// The error that reading ended with.
    pub recv_error: Option<RecvError>,
    /// The error that writing ended with.
    pub send_error: Option<SendError>,
    /// From the event that both directions are over.
    pub closed: Option<CloseReason>,
}

impl Flow {
    /// A connection that is being opened.
    pub fn connecting(id: SocketId, plan: Plan, now: Instant) -> Self {
        let next_read = match plan.read {
            Read::From(at) => Some(at),
            Read::Paced { every, .. } => Some(now + every),
            Read::Eager | Read::Never => None,
        };
        Self {
            id,
            plan,
            next_read,
            echo: VecDeque::new(),
            open: false,
            write_over: false,
            released: false,
            peer: None,
            connected: None,
            connect_error: None,
            sent: 0,
            received: 0,
            corrupt: None,
            finished: None,
            recv_error: None,
            send_error: None,
            closed: None,
        }
    }

    /// Sends before the connection is there, as far as its socket takes that.
    pub fn send_ahead(&mut self, net: &mut dyn Net, now: Instant) {
        self.write(net, now);
        if self.plan.finish == Finish::ShutDown {
            self.end(net, now);
        }
    }

    /// A connection that was accepted.
    pub fn accepted(id: SocketId, plan: Plan, net: &mut dyn Net, now: Instant) -> Self {
        let mut flow = Self::connecting(id, plan, now);
        flow.peer = net.tcp_addresses(id).map(|(_, remote)| remote);
        flow.opened(net, now);
        flow
    }

    /// True once everything was sent, the peer's end was read, nothing was wrong on the way, and the socket was given
    /// back.
    pub fn is_complete(&self) -> bool {
        self.sent == self.plan.send && self.finished.is_some() && self.corrupt.is_none() && self.released
    }

    /// True once the socket was given back.
    pub fn is_released(&self) -> bool {
        self.released
    }

    /// Changes how it reads from now on.
    pub fn set_read(&mut self, read: Read, net: &mut dyn Net, now: Instant) {
        self.plan.read = read;
        self.next_read = None;
        self.go_on(net, now);
    }

    /// Sends `len` more octets of the pattern, as if the plan had said so.
    pub fn send_more(&mut self, len: u64, net: &mut dyn Net, now: Instant) {
        self.plan.send += len;
        self.go_on(net, now);
    }

    /// Changes which pattern is sent, while nothing has been.
    pub fn set_pattern(&mut self, seed: u64) {
        self.plan.send_seed = seed;
    }

    /// Changes what comes after the last octet.
    pub fn set_finish(&mut self, finish: Finish, net: &mut dyn Net, now: Instant) {
        self.plan.finish = finish;
        self.go_on(net, now);
    }

    /// Acts on an event of its socket.
    pub fn handle_event(&mut self, event: &SocketEvent, net: &mut dyn Net, now: Instant) {
        match event {
            SocketEvent::TcpConnected(_) => self.opened(net, now),
            SocketEvent::TcpConnectFailed(_, error) => {
                self.connect_error = Some(*error);
                self.release(net, now);
            }
            SocketEvent::TcpReadable(_) | SocketEvent::TcpWritable(_) => self.go_on(net, now),
            SocketEvent::TcpClosed(_, reason) => {
                self.closed = Some(*reason);
                self.write_over = true;
                self.go_on(net, now);
            }
            SocketEvent::TcpIncoming(_)
            | SocketEvent::UdpReadable(_)
            | SocketEvent::UdpWritable(_)
            | SocketEvent::UdpError(..)
            | SocketEvent::Pong { .. }
            | SocketEvent::PingFailed { .. } => {}
        }
    }

    /// When it wants to read again.
    pub fn poll_timeout(&self) -> Option<Instant> {
        if self.released { None } else { self.next_read }
    }

    /// Reads where it is time.
    pub fn handle_timeout(&mut self, net: &mut dyn Net, now: Instant) {
        if self.next_read.is_none_or(|at| at > now) || self.released {
            return;
        }
        self.next_read = None;
        if let Read::Paced { octets, every } = self.plan.read {
            self.next_read = Some(now + every);
            if self.open {
                self.read(octets, net, now);
            }
        } else {
            self.plan.read = Read::Eager;
        }
        self.go_on(net, now);
    }

    fn opened(&mut self, net: &mut dyn Net, now: Instant) {
        self.open = true;
        self.connected = Some(now);
        self.go_on(net, now);
    }

    fn go_on(&mut self, net: &mut dyn Net, now: Instant) {
        if !self.open || self.released {
            return;
        }
        loop {
            let before = (self.received, self.sent, self.echo.len());
            if self.plan.read == Read::Eager {
                self.read(usize::MAX, net, now);
            }
            self.write(net, now);
            if before == (self.received, self.sent, self.echo.len()) {
                break;
            }
        }
        self.end(net, now);
    }

    fn read(&mut self, mut budget: usize, net: &mut dyn Net, now: Instant) {
        let mut buffer = [0; CHUNK];
        while budget > 0 && !self.read_over() && self.echo.len() < ECHO_BUFFER {
            let want = budget.min(CHUNK);
            match net.tcp_recv(self.id, &mut buffer[..want], now) {
                Ok(Received::Data(len)) => {
                    self.take(&buffer[..len]);
                    budget -= len;
                }
                Ok(Received::Empty) => return,
                Ok(Received::Finished) => self.finished = Some(now),
                Err(error) => self.recv_error = Some(error),
            }
        }
    }

    fn take(&mut self, data: &[u8]) {
        if let (Some(seed), None) = (self.plan.expect, self.corrupt) {
            self.corrupt = pattern::mismatch(seed, self.received, data);
        }
        if self.plan.echo {
            self.echo.extend(data);
        }
        self.received += data.len() as u64;
    }

    fn write(&mut self, net: &mut dyn Net, now: Instant) {
        while !self.write_over && !self.echo.is_empty() {
            let chunk = self.echo.as_slices().0;
            match net.tcp_send(self.id, chunk, now) {
                Ok(0) => return,
                Ok(len) => drop(self.echo.drain(..len)),
                Err(error) => self.write_failed(error),
            }
        }
        let mut buffer = [0; CHUNK];
        while !self.write_over && self.sent < self.plan.send {
            let len = CHUNK.min((self.plan.send - self.sent) as usize);
            pattern::fill(self.plan.send_seed, self.sent, &mut buffer[..len]);
            match net.tcp_send(self.id, &buffer[..len], now) {
                Ok(0) => return,
                Ok(len) => self.sent += len as u64,
                Err(error) => self.write_failed(error),
            }
        }
    }

    fn write_failed(&mut self, error: SendError) {
        self.send_error = Some(error);
        self.write_over = true;
    }

    fn end(&mut self, net: &mut dyn Net, now: Instant) {
        let all_sent = self.sent == self.plan.send && self.echo.is_empty() && (!self.plan.echo || self.read_over());
        if all_sent && !self.write_over {
            match self.plan.finish {
                Finish::Hold => {}
                Finish::ShutDown => {
                    net.tcp_shutdown(self.id, now);
                    self.write_over = true;
                }
                Finish::Close => self.release(net, now),
                Finish::Abort => {
                    net.tcp_abort(self.id, now);
                    self.release(net, now);
                }
            }
        }
        if self.read_over() && self.write_over {
            self.release(net, now);
        }
    }

    fn read_over(&self) -> bool {
        self.finished.is_some() || self.recv_error.is_some()
    }

    fn release(&mut self, net: &mut dyn Net, now: Instant) {
        if !self.released {
            self.released = true;
            net.close(self.id, now);
        }
    }
}

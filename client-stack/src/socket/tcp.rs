use std::collections::VecDeque;
use std::time::Duration;

use smoltcp::socket::tcp::{CongestionControl, Socket, SocketBuffer, State};
use smoltcp::wire::IpListenEndpoint;
use webtun_wire::Instant;

use crate::demux::Flow;
use crate::engine::Core;
use crate::timers::Scheduled;
use crate::{BufferSizes, CloseReason, ConnectError, Received, RecvError, SendError, SocketId, TcpOptions, TcpState};

/// Keep-alive intervals without an answer after which the peer counts as gone.
const KEEP_ALIVE_INTERVALS: u32 = 4;

/// How long a connection that its program has closed may wait for a silent peer (as Linux's `tcp_fin_timeout`).
const LINGER: Duration = Duration::from_secs(60);

/// Who gets the events of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Owner {
    Program,
    /// It came in and was not accepted yet.
    Listener(SocketId),
    /// The program has closed it; it says its goodbyes.
    Nobody,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Connecting,
    Open,
    Closed(CloseReason),
    Failed(ConnectError),
}

/// What a look at smoltcp's socket brought to light.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Change {
    None,
    Connected,
    Failed(ConnectError),
    Closed(CloseReason),
    /// A RST during the handshake of an incoming connection: it never was.
    Vanished,
}

/// One TCP connection.
pub(crate) struct TcpSocket {
    /// Gone once nothing is left to send or to wait for.
    core: Option<Core>,
    pub flow: Flow,
    pub owner: Owner,
    phase: Phase,
    peer_finished: bool,
    shut_down: bool,
    /// Received data that outlives smoltcp's socket: TIME-WAIT ends by clearing the buffers, however slow the reader.
    tail: VecDeque<u8>,
    told_readable: bool,
    write_blocked: bool,
    handshake_deadline: Instant,
    user_timeout: Duration,
    keep_alive: Option<Duration>,
    last_heard: Instant,
    outstanding_since: Option<Instant>,
    /// True while it is in the host's list of sockets to be polled.
    pub queued: bool,
    /// What lies in the host's timers for it.
    pub scheduled: Scheduled,
}

/// A socket of smoltcp's, ready for connect or listen.
pub(crate) fn new_socket(buffers: BufferSizes, options: &TcpOptions) -> Socket<'static> {
    let buffers = buffers.clamped();
    let (receive, send) = (vec![0; buffers.receive], vec![0; buffers.send]);
    let mut socket = Socket::new(SocketBuffer::new(receive), SocketBuffer::new(send));
    // Behind the gateway is the real internet; without congestion control a window's worth would go out at once.
    socket.set_congestion_control(CongestionControl::Reno);
    socket.set_nagle_enabled(!options.nodelay);
    socket.set_keep_alive(options.keep_alive.map(keep_alive_interval).map(smoltcp_duration));
    socket
}

/// Makes `socket` wait for the SYN that has just come; false where the port is 0.
pub(crate) fn listen(socket: &mut Socket<'static>, flow: &Flow) -> bool {
    socket.listen(IpListenEndpoint { addr: Some(flow.local.ip().into()), port: flow.local.port() }).is_ok()
}

/// An interval with which smoltcp neither floods the peer nor overflows its clock: a second to a year.
fn keep_alive_interval(interval: Duration) -> Duration {
    const SECOND: Duration = Duration::from_secs(1);
    interval.clamp(SECOND, SECOND * 60 * 60 * 24 * 365)
}

fn smoltcp_duration(interval: Duration) -> smoltcp::time::Duration {
    smoltcp::time::Duration::from_millis(u64::try_from(interval.as_millis()).unwrap_or(u64::MAX))
}

impl TcpSocket {
    pub fn new(
        core: Core,
        flow: Flow,
        owner: Owner,
        options: &TcpOptions,
        user_timeout: Duration,
        now: Instant,
    ) -> Self {
        Self {
            core: Some(core),
            flow,
            owner,
            phase: Phase::Connecting,
            peer_finished: false,
            shut_down: false,
            tail: VecDeque::new(),
            told_readable: false,
            write_blocked: false,
            handshake_deadline: now + options.connect_timeout,
            user_timeout,
            keep_alive: options.keep_alive.map(keep_alive_interval),
            last_heard: now,
            outstanding_since: None,
            queued: false,
            scheduled: Scheduled::default(),
        }
    }

    pub fn core(&self) -> Option<&Core> {
        self.core.as_ref()
    }

    pub fn core_mut(&mut self) -> Option<&mut Core> {
        self.core.as_mut()
    }

    fn socket(&self) -> Option<&Socket<'static>> {
        self.core.as_ref().map(Core::socket)
    }

    fn socket_mut(&mut self) -> Option<&mut Socket<'static>> {
        self.core.as_mut().map(Core::socket_mut)
    }

    /// True where a new SYN may take over the addresses (RFC 9293 section 3.6.1).
    pub fn in_time_wait(&self) -> bool {
        self.socket().is_none_or(|socket| socket.state() == State::TimeWait)
    }

    pub fn is_connecting(&self) -> bool {
        self.phase == Phase::Connecting
    }

    pub fn state(&self) -> TcpState {
        match self.phase {
            Phase::Connecting => TcpState::Connecting,
            Phase::Open => TcpState::Open { peer_finished: self.peer_finished, shut_down: self.shut_down },
            Phase::Closed(reason) => TcpState::Closed(reason),
            Phase::Failed(error) => TcpState::Failed(error),
        }
    }

    /// A packet of the peer has come.
    pub fn heard(&mut self, now: Instant) {
        self.last_heard = now;
    }

    /// Follows smoltcp's socket after it had a packet (`reset`: one with RST) or a turn.
    pub fn observe(&mut self, reset: bool, now: Instant) -> Change {
        let Some(state) = self.socket().map(Socket::state) else { return Change::None };
        self.peer_finished |= matches!(state, State::CloseWait | State::LastAck | State::Closing | State::TimeWait);
        self.note_outstanding(now);
        match (self.phase, state) {
            (Phase::Connecting, State::SynSent | State::SynReceived) => Change::None,
            (Phase::Connecting, State::Listen) => Change::Vanished,
            (Phase::Connecting, State::Closed) => self.fail(ConnectError::Refused),
            (Phase::Connecting, _) => {
                self.phase = Phase::Open;
                Change::Connected
            }
            (Phase::Open, State::Closed) if reset => self.close_with(CloseReason::Reset),
            (Phase::Open, State::Closed | State::TimeWait) => self.close_with(CloseReason::Graceful),
            _ => Change::None,
        }
    }

    fn close_with(&mut self, reason: CloseReason) -> Change {
        self.phase = Phase::Closed(reason);
        self.keep_tail();
        Change::Closed(reason)
    }

    fn keep_tail(&mut self) {
        let Some(core) = &mut self.core else { return };
        let socket = core.socket_mut();
        while socket.can_recv() {
            let taken = socket.recv(|data| {
                self.tail.extend(&*data);
                (data.len(), data.len())
            });
            if taken.is_err() {
                break;
            }
        }
    }

    /// The handshake failed; nothing more is sent.
    pub fn fail(&mut self, error: ConnectError) -> Change {
        self.core = None;
        self.phase = Phase::Failed(error);
        Change::Failed(error)
    }

    /// Ends the connection without the peer. `tell`: a RST is sent.
    pub fn end(&mut self, reason: CloseReason, tell: bool) -> Change {
        if reason != CloseReason::Aborted {
            self.keep_tail();
        }
        match self.socket_mut() {
            Some(socket) if tell => socket.abort(),
            _ => self.core = None,
        }
        match self.phase {
            Phase::Connecting => {
                self.phase = Phase::Failed(match reason {
                    CloseReason::AddressLost => ConnectError::AddressLost,
                    CloseReason::TunnelClosed => ConnectError::TunnelClosed,
                    CloseReason::TimedOut => ConnectError::TimedOut,
                    _ => ConnectError::Aborted,
                });
                let Phase::Failed(error) = self.phase else { return Change::None };
                Change::Failed(error)
            }
            Phase::Open => {
                self.phase = Phase::Closed(reason);
                Change::Closed(reason)
            }
            Phase::Closed(_) | Phase::Failed(_) => Change::None,
        }
    }

    /// True once smoltcp's socket has nothing left to send or to wait for; it is then dropped with its buffers.
    pub fn is_done(&mut self) -> bool {
        let done =
            self.socket().is_none_or(|socket| socket.state() == State::Closed && socket.remote_endpoint().is_none());
        let over = !matches!(self.phase, Phase::Connecting | Phase::Open);
        if done && over {
            self.core = None;
        }
        done && over
    }

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

    /// Half-close: a FIN follows what was sent.
    pub fn shutdown(&mut self, now: Instant) {
        if self.phase == Phase::Open && !self.shut_down {
            self.shut_down = true;
            if let Some(socket) = self.socket_mut() {
                socket.close();
            }
            self.note_outstanding(now);
        }
    }

    pub fn set_nodelay(&mut self, nodelay: bool) {
        if let Some(socket) = self.socket_mut() {
            socket.set_nagle_enabled(!nodelay);
        }
    }

    pub fn set_keep_alive(&mut self, interval: Option<Duration>, now: Instant) {
        let interval = interval.map(keep_alive_interval);
        self.keep_alive = interval;
        self.last_heard = now;
        if let Some(socket) = self.socket_mut() {
            socket.set_keep_alive(interval.map(smoltcp_duration));
        }
    }

    /// When the connection is given up unless the peer is heard from. smoltcp's own timeout is not used: it counts
    /// from the last packet even where nothing was outstanding, and would abort a connection that wakes from idleness.
    pub fn deadline(&self) -> Option<Instant> {
        match self.phase {
            Phase::Connecting => return Some(self.handshake_deadline),
            Phase::Closed(_) | Phase::Failed(_) => return None,
            Phase::Open => {}
        }
        if self.owner == Owner::Nobody {
            return Some(self.last_heard + LINGER.min(self.user_timeout));
        }
        let outstanding = self.outstanding_since.map(|since| since.max(self.last_heard) + self.user_timeout);
        let probed = self.keep_alive.map(|interval| self.last_heard + interval * KEEP_ALIVE_INTERVALS);
        outstanding.into_iter().chain(probed).min()
    }

    fn note_outstanding(&mut self, now: Instant) {
        let outstanding = self.socket().is_some_and(|socket| {
            socket.send_queue() > 0 || matches!(socket.state(), State::FinWait1 | State::Closing | State::LastAck)
        });
        self.outstanding_since = outstanding.then(|| self.outstanding_since.unwrap_or(now));
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

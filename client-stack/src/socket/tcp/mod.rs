//! One TCP connection, around a socket of smoltcp's.

mod clock;
mod stream;

use std::collections::VecDeque;
use std::time::Duration;

use smoltcp::socket::tcp::{CongestionControl, Socket, SocketBuffer, State};
use smoltcp::wire::IpListenEndpoint;
use webtun_wire::Instant;

use self::clock::{keep_alive_interval, smoltcp_duration};
use crate::buffers::Reservation;
use crate::demux::Flow;
use crate::engine::Core;
use crate::time_wait::Finished;
use crate::timers::Scheduled;
use crate::{CloseReason, ConnectError, SocketId, TcpOptions, TcpState};

/// Who gets the events of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Owner {
    Program,
    /// It came in and was not accepted yet.
    Listener(SocketId),
    /// The program has closed it; it says its goodbyes.
    Nobody,
}

/// Where a connection stands, whoever ends it on the other side.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
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
pub(crate) fn new_socket(buffers: &mut Reservation, options: &TcpOptions) -> Socket<'static> {
    let (receive, send) = (SocketBuffer::new(buffers.receive.take()), SocketBuffer::new(buffers.send.take()));
    let mut socket = Socket::new(receive, send);
    // Behind the gateway is the real internet; without congestion control a window's worth would go out at once.
    socket.set_congestion_control(CongestionControl::Reno);
    socket.set_nagle_enabled(!options.nodelay);
    socket.set_hop_limit(Some(options.hop_limit.max(1)));
    socket.set_keep_alive(options.keep_alive.map(keep_alive_interval).map(smoltcp_duration));
    socket
}

/// Makes `socket` wait for the SYN that has just come; false where the port is 0.
pub(crate) fn listen(socket: &mut Socket<'static>, flow: &Flow) -> bool {
    socket.listen(IpListenEndpoint { addr: Some(flow.local.ip().into()), port: flow.local.port() }).is_ok()
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

    /// Gives the buffers back in TIME-WAIT, once the peer knows that its FIN has come.
    pub fn leave_time_wait(&mut self) -> Option<Finished> {
        let finished = self.core.as_ref()?.finished()?;
        self.core = None;
        Some(finished)
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
}

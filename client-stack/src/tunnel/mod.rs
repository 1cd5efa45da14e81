//! The client's half of the tunnel: handshake, lease, sequence numbers, keep-alive, and coming back after a cut.
//!
//! It moves messages, not packets: the `Stack` puts packets into its batches and takes them out.

mod backoff;
mod liveness;
mod pace;
mod receive;
mod send;
mod session;

use std::collections::VecDeque;
use std::time::Duration;

use rand::rngs::ChaCha12Rng;
use rand::{Rng, SeedableRng};
use webtun_wire::{CloseCode, Instant, MAX_PACKET_LEN, StreamLimits};

use self::backoff::Backoff;
use self::liveness::{Liveness, Verdict};
use self::pace::Pace;
use self::receive::Answer;
pub(crate) use self::receive::Incoming;
pub use self::session::Lease;
use self::session::{OffloadContext, Session};
use crate::{StackConfig, Status, TunnelStats};

/// How long a CLOSE may wait for the transport to take it.
const CLOSE_PATIENCE: Duration = Duration::from_secs(5);

/// How soon an ACK follows what it acknowledges, at the latest (wire specification, section 5).
const ACK_DELAY: Duration = Duration::from_millis(50);

/// The context of kind OFFLOAD, where the gateway takes it.
const OFFLOAD_CONTEXT: u64 = 2;

/// In the PINGs by which a message asks for the gateway's count of octets. Those of the keep-alive have others.
const RECEIPT: u64 = 0;

/// Octets of a message beside the longest packet in it: SEQUENCE, ACK and the headers of DATAGRAM and of offload.
const MESSAGE_OVERHEAD: usize = 64;

/// PONGs that may wait; a peer that sends more PINGs gets fewer answers.
const MAX_PONGS: usize = 16;

enum Phase {
    /// The shell was asked to open a transport.
    Opening {
        deadline: Instant,
    },
    /// The transport is open; HELLO was not sent yet, or not answered.
    Handshaking {
        deadline: Instant,
        hello_sent: bool,
        answer: Option<Answer>,
    },
    Established(Connection),
    Waiting {
        retry_at: Instant,
    },
    /// CLOSE waits to be sent; then nothing is left.
    Closing {
        deadline: Instant,
        code: CloseCode,
        reason: &'static str,
    },
    Closed,
}

/// What lives as long as one transport.
struct Connection {
    liveness: Liveness,
    pace: Pace,
    /// The next kept message to be sent again.
    replay_next: u64,
    pongs: VecDeque<u64>,
    ack_at: Option<Instant>,
    ack_now: bool,
    drain_at: Option<Instant>,
}

/// What the `Stack` must know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum TunnelEvent {
    OpenTransport,
    CloseTransport,
    Status(Status),
    /// Addresses and mappings are gone.
    SessionLost,
    LeaseChanged,
    /// What the gateway takes of streams, if it does.
    Streams(Option<StreamLimits>),
}

pub(crate) struct Tunnel {
    config: StackConfig,
    phase: Phase,
    status: Status,
    session: Option<Session>,
    backoff: Backoff,
    rtt: Option<Duration>,
    /// Octets of all messages received on this transport, and sent.
    received: u64,
    sent: u64,
    /// The message that is being processed: its length, and whether a capsule of it was seen.
    message_len: usize,
    message_begun: bool,
    events: VecDeque<TunnelEvent>,
    stats: TunnelStats,
}

impl Tunnel {
    /// Asks for a transport at once.
    pub fn new(config: StackConfig, now: Instant) -> Self {
        let mut seed = [0; 32];
        let mut rng = ChaCha12Rng::from_seed(config.seed);
        // The host draws from the same seed on another stream.
        rng.set_stream(1);
        rng.fill_bytes(&mut seed);
        let backoff = Backoff::new(seed, config.backoff_min, config.backoff_max);
        let mut tunnel = Self {
            phase: Phase::Closed,
            status: Status::Connecting,
            session: None,
            backoff,
            rtt: None,
            received: 0,
            sent: 0,
            message_len: 0,
            message_begun: false,
            events: VecDeque::new(),
            stats: TunnelStats::default(),
            config,
        };
        tunnel.events.push_back(TunnelEvent::Status(Status::Connecting));
        tunnel.open(now);
        tunnel
    }

    pub fn poll_event(&mut self) -> Option<TunnelEvent> {
        self.events.pop_front()
    }

    pub fn status(&self) -> &Status {
        &self.status
    }

    pub fn lease(&self) -> Option<&Lease> {
        self.session.as_ref().map(|session| &session.lease)
    }

    pub fn rtt(&self) -> Option<Duration> {
        self.rtt
    }

    pub fn stats(&self) -> TunnelStats {
        let unacknowledged = self.session.as_ref().map_or(0, |session| session.ring.octets() as u64);
        TunnelStats { unacknowledged, ..self.stats }
    }

    /// The context for packets behind an offload header, while there is one, and messages can hold the longest of them.
    pub fn offload_context(&self) -> Option<u64> {
        let session = self.session.as_ref().filter(|session| session.offload == OffloadContext::Open)?;
        let fits = session.limits.message_len as usize >= MAX_PACKET_LEN + MESSAGE_OVERHEAD;
        fits.then_some(OFFLOAD_CONTEXT)
    }

    pub fn is_established(&self) -> bool {
        matches!(self.phase, Phase::Established(_))
    }

    pub fn is_closed(&self) -> bool {
        matches!(self.phase, Phase::Closed | Phase::Closing { .. })
    }

    fn open(&mut self, now: Instant) {
        self.phase = Phase::Opening { deadline: now + self.config.open_timeout };
        self.events.push_back(TunnelEvent::OpenTransport);
    }

    fn set_status(&mut self, status: Status) {
        self.status = status.clone();
        self.events.push_back(TunnelEvent::Status(status));
    }

    /// The transport is open.
    pub fn handle_connected(&mut self, now: Instant) {
        if matches!(self.phase, Phase::Opening { .. }) {
            (self.received, self.sent) = (0, 0);
            let deadline = now + self.config.handshake_timeout;
            self.phase = Phase::Handshaking { deadline, hello_sent: false, answer: None };
        }
    }

    /// The transport is gone, or did not open.
    pub fn handle_disconnected(&mut self, now: Instant) {
        match self.phase {
            Phase::Opening { .. } | Phase::Handshaking { .. } | Phase::Established(_) => self.wait(Duration::ZERO, now),
            Phase::Closing { .. } => self.phase = Phase::Closed,
            Phase::Waiting { .. } | Phase::Closed => {}
        }
    }

    /// Gives the transport up on our own account and tries anew.
    fn abandon(&mut self, at_least: Duration, now: Instant) {
        self.events.push_back(TunnelEvent::CloseTransport);
        self.wait(at_least, now);
    }

    fn wait(&mut self, at_least: Duration, now: Instant) {
        if let Some(session) = &mut self.session {
            let grace = session.lease.grace;
            session.expires_at.get_or_insert(now + grace);
        }
        let retry_at = now + self.backoff.next().max(at_least);
        self.phase = Phase::Waiting { retry_at };
        self.stats.reconnects += 1;
        self.set_status(Status::Reconnecting { attempt: self.backoff.attempt(), retry_at });
    }

    /// Skips the rest of the back-off.
    pub fn reconnect_now(&mut self, now: Instant) {
        if let Phase::Waiting { retry_at } = &mut self.phase {
            *retry_at = now;
            self.handle_timeout(now);
        }
    }

    fn lose_session(&mut self) {
        if self.session.take().is_some() {
            self.events.push_back(TunnelEvent::SessionLost);
        }
    }

    /// Ends the session for good, telling the gateway.
    pub fn close(&mut self, now: Instant) {
        self.close_with(CloseCode::Normal, "", now);
    }

    /// The gateway broke the protocol: a fault in a program, which trying again does not mend.
    fn protocol_error(&mut self, reason: &'static str, now: Instant) {
        self.close_with(CloseCode::Protocol, reason, now);
    }

    fn close_with(&mut self, code: CloseCode, reason: &'static str, now: Instant) {
        match self.phase {
            Phase::Closing { .. } | Phase::Closed => return,
            Phase::Established(_) | Phase::Handshaking { hello_sent: true, .. } => {
                self.phase = Phase::Closing { deadline: now + CLOSE_PATIENCE, code, reason };
            }
            Phase::Waiting { .. } => self.phase = Phase::Closed,
            Phase::Opening { .. } | Phase::Handshaking { .. } => {
                self.phase = Phase::Closed;
                self.events.push_back(TunnelEvent::CloseTransport);
            }
        }
        self.session = None;
        self.set_status(Status::Closed { code, reason: reason.to_owned() });
    }

    /// Nothing more can come of this tunnel: the gateway has said so.
    fn end(&mut self, code: CloseCode, reason: &str) {
        self.phase = Phase::Closed;
        self.session = None;
        self.events.push_back(TunnelEvent::CloseTransport);
        self.set_status(Status::Closed { code, reason: reason.to_owned() });
    }

    pub fn handle_timeout(&mut self, now: Instant) {
        if !self.is_established()
            && let Some(expires_at) = self.session.as_ref().and_then(|session| session.expires_at)
            && now >= expires_at
            && !matches!(self.phase, Phase::Handshaking { .. })
        {
            self.lose_session();
        }
        match &mut self.phase {
            Phase::Opening { deadline } | Phase::Handshaking { deadline, .. } if now >= *deadline => {
                self.abandon(Duration::ZERO, now);
            }
            Phase::Waiting { retry_at } if now >= *retry_at => self.open(now),
            Phase::Closing { deadline, .. } if now >= *deadline => {
                self.phase = Phase::Closed;
                self.events.push_back(TunnelEvent::CloseTransport);
            }
            Phase::Established(connection) => {
                if connection.ack_at.take_if(|at| now >= *at).is_some() {
                    connection.ack_now = true;
                }
                let drained = connection.drain_at.is_some_and(|at| now >= at);
                if connection.liveness.handle_timeout(now) == Verdict::Broken || drained {
                    self.abandon(Duration::ZERO, now);
                }
            }
            _ => {}
        }
    }

    pub fn poll_timeout(&self) -> Option<Instant> {
        let expiry = || self.session.as_ref().and_then(|session| session.expires_at);
        let own = match &self.phase {
            Phase::Opening { deadline } | Phase::Closing { deadline, .. } => *deadline,
            Phase::Handshaking { deadline, .. } => return Some(*deadline),
            Phase::Waiting { retry_at } => *retry_at,
            Phase::Established(connection) => {
                let others = connection.ack_at.into_iter().chain(connection.drain_at);
                return others.chain([connection.liveness.poll_timeout()]).min();
            }
            Phase::Closed => return None,
        };
        Some(expiry().map_or(own, |expiry| own.min(expiry)))
    }
}

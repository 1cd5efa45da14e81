//! How long a connection waits for its peer.

use std::time::Duration;

use smoltcp::socket::tcp::State;
use webtun_wire::Instant;

use super::{Owner, Phase, TcpSocket};

/// Keep-alive intervals without an answer after which the peer counts as gone.
const KEEP_ALIVE_INTERVALS: u32 = 4;

/// How long a connection that its program has closed may wait for a silent peer that owes nothing but its own end (as
/// Linux's `tcp_fin_timeout`).
const LINGER: Duration = Duration::from_secs(60);

/// The same while the peer has not acknowledged everything. RFC 9293 section 3.8.3 wants at least 100 s; smoltcp's
/// retransmission timer grows to 60 s, and after four of them on a bad path giving up loses no more than waiting.
const LINGER_UNACKNOWLEDGED: Duration = Duration::from_secs(240);

/// An interval with which smoltcp neither floods the peer nor overflows its clock: a second to a year.
pub(super) fn keep_alive_interval(interval: Duration) -> Duration {
    const SECOND: Duration = Duration::from_secs(1);
    interval.clamp(SECOND, SECOND * 60 * 60 * 24 * 365)
}

pub(super) fn smoltcp_duration(interval: Duration) -> smoltcp::time::Duration {
    smoltcp::time::Duration::from_millis(u64::try_from(interval.as_millis()).unwrap_or(u64::MAX))
}

impl TcpSocket {
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
            let linger = if self.outstanding_since.is_some() { LINGER_UNACKNOWLEDGED } else { LINGER };
            return Some(self.last_heard + linger.min(self.user_timeout));
        }
        let outstanding = self.outstanding_since.map(|since| since.max(self.last_heard) + self.user_timeout);
        let probed = self.keep_alive.map(|interval| self.last_heard + interval * KEEP_ALIVE_INTERVALS);
        outstanding.into_iter().chain(probed).min()
    }

    pub(super) fn note_outstanding(&mut self, now: Instant) {
        let outstanding = self.socket().is_some_and(|socket| {
            socket.send_queue() > 0 || matches!(socket.state(), State::FinWait1 | State::Closing | State::LastAck)
        });
        self.outstanding_since = outstanding.then(|| self.outstanding_since.unwrap_or(now));
    }
}

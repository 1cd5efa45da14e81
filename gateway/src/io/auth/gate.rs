//! Where what clients show is judged, of whatever kind it is and whichever way it comes.

use super::failures::Failures;
use super::ticket::Tickets;
use super::{Credentials, fresh};
use crate::config::Auth;
use crate::dataplane::Peer;
use crate::io::driver::Clock;
use crate::io::metrics::{TicketResult, TicketResults};
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Judges credentials, slows down who guesses them, and gives out tickets.
pub struct Gate {
    credentials: Arc<Credentials>,
    tickets: Mutex<Tickets>,
    failures: Mutex<Failures>,
    results: TicketResults,
    clock: Clock,
}

/// Why a credential is not accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// None is shown.
    Missing,
    /// It proves nothing.
    Wrong,
    /// It has not been looked at: too many wrong ones have come from that address. With the time until it is.
    Failures(Duration),
}

/// A fresh ticket.
pub struct Issued {
    /// The ticket.
    pub ticket: String,
    /// For how long it is good.
    pub life: Duration,
}

/// Why there is no ticket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoTicket {
    /// Nobody needs one.
    Open,
    /// The credential is not accepted.
    Refused(Refusal),
    /// Too many are not spent, of the peer or of all; with the time until there is room.
    Full(Duration),
    /// The system has no randomness.
    Internal,
}

impl NoTicket {
    fn result(self) -> TicketResult {
        match self {
            Self::Open => TicketResult::NotNeeded,
            Self::Refused(Refusal::Missing | Refusal::Wrong) => TicketResult::Unauthorized,
            Self::Refused(Refusal::Failures(_)) => TicketResult::Throttled,
            Self::Full(_) => TicketResult::Full,
            Self::Internal => TicketResult::Internal,
        }
    }
}

impl Gate {
    /// A gate before these credentials.
    pub fn new(credentials: Arc<Credentials>, settings: &Auth, clock: Clock) -> Self {
        let life = Duration::from_secs(settings.ticket_life_s.into());
        let tickets = Tickets::new(life, settings.tickets as usize, settings.tickets_per_peer as usize);
        let failures = Failures::new(settings.failures_per_minute);
        let (tickets, failures) = (Mutex::new(tickets), Mutex::new(failures));
        Self { credentials, tickets, failures, results: TicketResults::default(), clock }
    }

    /// True where nobody needs a credential.
    pub fn is_open(&self) -> bool {
        self.credentials.is_open()
    }

    /// The principal that `credential` proves, which comes from `remote`. An empty one is none shown.
    ///
    /// # Errors
    /// See [`Refusal`].
    pub fn judge(&self, credential: &[u8], remote: IpAddr) -> Result<Peer, Refusal> {
        if self.is_open() {
            return Ok(self.credentials.anyone());
        }
        if credential.is_empty() {
            return Err(Refusal::Missing);
        }
        lock(&self.failures).check(remote, self.clock.now()).map_err(Refusal::Failures)?;
        self.credentials.authenticate(credential).ok_or_else(|| {
            lock(&self.failures).charge(remote, self.clock.now());
            Refusal::Wrong
        })
    }

    /// The principal of a ticket, which is spent by that. Nobody guesses 128 bits, and whoever comes back by the address
    /// with a ticket that is spent has done no wrong: this counts no failures.
    pub fn spend(&self, ticket: &str) -> Option<Peer> {
        let peer = lock(&self.tickets).spend(ticket, self.clock.now());
        self.results.count(if peer.is_some() { TicketResult::Redeemed } else { TicketResult::Invalid });
        peer
    }

    /// As [`Gate::spend`], of what may be something else.
    pub fn spend_if_any(&self, ticket: &str) -> Option<Peer> {
        let peer = lock(&self.tickets).spend(ticket, self.clock.now())?;
        self.results.count(TicketResult::Redeemed);
        Some(peer)
    }

    /// True where there are public keys, whose owners may come in by a signature.
    pub fn knows_keys(&self) -> bool {
        self.credentials.knows_keys()
    }

    /// The principal that has signed `message` with the key of this hash, and is at `remote`.
    ///
    /// # Errors
    /// See [`Refusal`].
    pub fn judge_signature(
        &self,
        key: &[u8; 32],
        message: &[u8],
        signature: &[u8],
        remote: IpAddr,
    ) -> Result<Peer, Refusal> {
        lock(&self.failures).check(remote, self.clock.now()).map_err(Refusal::Failures)?;
        self.credentials.authenticate_signature(key, message, signature).ok_or_else(|| {
            lock(&self.failures).charge(remote, self.clock.now());
            Refusal::Wrong
        })
    }

    /// What becomes of tickets, to be shown to the operator.
    pub fn ticket_results(&self) -> &TicketResults {
        &self.results
    }

    /// A ticket for the principal that `credential` proves.
    ///
    /// # Errors
    /// See [`NoTicket`].
    pub fn issue(&self, credential: &[u8], remote: IpAddr) -> Result<Issued, NoTicket> {
        let issued = self.try_issue(credential, remote);
        self.results.count(issued.as_ref().map_or_else(|refusal| refusal.result(), |_| TicketResult::Issued));
        issued
    }

    fn try_issue(&self, credential: &[u8], remote: IpAddr) -> Result<Issued, NoTicket> {
        if self.is_open() {
            return Err(NoTicket::Open);
        }
        let peer = self.judge(credential, remote).map_err(NoTicket::Refused)?;
        let ticket = fresh::<16>().map_err(|_| NoTicket::Internal)?;
        let mut tickets = lock(&self.tickets);
        tickets.issue(&ticket, peer, self.clock.now()).map_err(NoTicket::Full)?;
        Ok(Issued { ticket, life: tickets.life() })
    }
}

/// Nothing that could panic half-way is done under these locks.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

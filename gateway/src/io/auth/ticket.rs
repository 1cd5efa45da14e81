//! Tickets: credentials for one use, for clients that can set nothing but an address.

use crate::config::TokenHash;
use crate::dataplane::Peer;
use std::collections::BTreeMap;
use std::time::Duration;
use webtun_wire::Instant;

/// The tickets that are not spent yet. Only hashes are kept: they are looked up in time that depends on the hash, which
/// tells nobody about the ticket.
pub(super) struct Tickets {
    life: Duration,
    most: usize,
    most_per_peer: usize,
    unspent: BTreeMap<TokenHash, Ticket>,
}

struct Ticket {
    peer: Peer,
    dies: Instant,
}

impl Tickets {
    /// Tickets live for `life`; at most `most` are unspent, of one peer `most_per_peer`.
    pub(super) fn new(life: Duration, most: usize, most_per_peer: usize) -> Self {
        Self { life, most, most_per_peer, unspent: BTreeMap::new() }
    }

    pub(super) fn life(&self) -> Duration {
        self.life
    }

    /// Takes a fresh ticket of `peer`.
    ///
    /// # Errors
    /// When there is room again, where there is none.
    pub(super) fn issue(&mut self, ticket: &str, peer: Peer, now: Instant) -> Result<(), Duration> {
        self.unspent.retain(|_, ticket| ticket.dies > now);
        let of_peer = |ticket: &&Ticket| ticket.peer.name == peer.name;
        let first_of = |ticket: Option<Instant>| ticket.map_or(self.life, |dies| dies.saturating_duration_since(now));
        if self.unspent.values().filter(of_peer).count() >= self.most_per_peer {
            return Err(first_of(self.unspent.values().filter(of_peer).map(|ticket| ticket.dies).min()));
        }
        if self.unspent.len() >= self.most {
            return Err(first_of(self.unspent.values().map(|ticket| ticket.dies).min()));
        }
        // A resumed session shows a ticket that is spent, so there its own secret has to do.
        let peer = Peer { resumes_by_secret: true, ..peer };
        self.unspent.insert(TokenHash::of(ticket.as_bytes()), Ticket { peer, dies: now + self.life });
        Ok(())
    }

    /// The peer of a ticket that is still good; it is not from now on.
    pub(super) fn spend(&mut self, ticket: &str, now: Instant) -> Option<Peer> {
        let ticket = self.unspent.remove(&TokenHash::of(ticket.as_bytes()))?;
        (ticket.dies > now).then_some(ticket.peer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIFE: Duration = Duration::from_secs(30);

    fn at(seconds: u64) -> Instant {
        Instant::from_micros(seconds * 1_000_000)
    }

    #[test]
    fn a_ticket_is_good_once_and_for_its_life() {
        let mut tickets = Tickets::new(LIFE, 10, 10);
        tickets.issue("one", Peer::new("alice"), at(0)).expect("room");
        tickets.issue("two", Peer::new("bob"), at(0)).expect("room");
        let spent = tickets.spend("one", at(29)).expect("a good ticket");
        assert!(&*spent.name == "alice" && spent.resumes_by_secret);
        assert!(tickets.spend("one", at(29)).is_none());
        assert!(tickets.spend("two", at(30)).is_none());
        assert!(tickets.spend("", at(0)).is_none());
    }

    #[test]
    fn a_peer_and_all_together_have_a_bound_and_are_told_when_there_is_room() {
        let mut tickets = Tickets::new(LIFE, 3, 2);
        let issue = |tickets: &mut Tickets, name: &str, peer: &str, now| tickets.issue(name, Peer::new(peer), at(now));
        issue(&mut tickets, "1", "alice", 0).expect("room");
        issue(&mut tickets, "2", "alice", 5).expect("room");
        assert_eq!(issue(&mut tickets, "3", "alice", 10), Err(Duration::from_secs(20)));
        issue(&mut tickets, "4", "bob", 10).expect("room");
        assert_eq!(issue(&mut tickets, "5", "carol", 10), Err(Duration::from_secs(20)));
        assert!(tickets.spend("2", at(10)).is_some());
        issue(&mut tickets, "6", "carol", 10).expect("room");
        issue(&mut tickets, "7", "carol", 30).expect("the oldest has died");
        assert_eq!(tickets.unspent.len(), 3);
    }
}

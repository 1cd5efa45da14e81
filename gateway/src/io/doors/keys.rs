//! Tickets that are spent, and let their emulator back into its room.

use super::address::Address;
use crate::dataplane::Peer;
use ring::digest::{SHA256, digest};
use std::collections::BTreeMap;
use std::time::Duration;
use tokio::sync::oneshot;
use webtun_stack::Instant;

/// Tickets of one room; further ones are good once, as elsewhere.
const MAX_KEYS: usize = 64;

/// Of a ticket: it is looked up in time that depends on the hash, which tells nobody about the ticket.
pub(super) type Hash = [u8; 32];

/// The hash of the ticket in an address.
pub(super) fn hash(address: &Address) -> Option<Hash> {
    let ticket = address.ticket.as_ref()?;
    digest(&SHA256, ticket.as_bytes()).as_ref().try_into().ok()
}

/// What lets emulators come back that know nothing but their address. Addresses get into logs, so that a ticket is good for
/// one WebSocket at a time, whose emulator notices when another one takes its place, and for a while after the last.
#[derive(Debug)]
pub(super) struct Keys {
    grace: Duration,
    kept: BTreeMap<Hash, Kept>,
    visits: u64,
}

#[derive(Debug)]
struct Kept {
    peer: Box<Peer>,
    visit: u64,
    /// Ends the visit; gone once it is over, and then there is a time until which the ticket is good.
    inside: Result<oneshot::Sender<()>, Instant>,
}

/// One WebSocket's time in the room.
#[derive(Debug)]
pub(super) struct Visit {
    pub hash: Hash,
    pub number: u64,
    /// Told when another WebSocket comes with the same ticket.
    pub replaced: oneshot::Receiver<()>,
}

impl Keys {
    /// Tickets are good until `grace` after the last visit.
    pub(super) fn new(grace: Duration) -> Self {
        Self { grace, kept: BTreeMap::new(), visits: 0 }
    }

    /// Whose ticket it is, while it is good.
    pub(super) fn peer(&self, hash: &Hash, now: Instant) -> Option<&Peer> {
        self.kept.get(hash).filter(|kept| kept.is_good(now)).map(|kept| &*kept.peer)
    }

    /// Begins a visit, and ends the one before by the same ticket. None where no more tickets are remembered.
    pub(super) fn enter(&mut self, hash: Hash, peer: &Peer, now: Instant) -> Option<Visit> {
        self.kept.retain(|_, kept| kept.is_good(now));
        let before = self.kept.remove(&hash);
        if self.kept.len() >= MAX_KEYS {
            return None;
        }
        if let Some(Ok(end)) = before.map(|kept| kept.inside) {
            // Whoever does not listen is leaving already.
            let _ = end.send(());
        }
        self.visits += 1;
        let (end, replaced) = oneshot::channel();
        self.kept.insert(hash, Kept { peer: Box::new(peer.clone()), visit: self.visits, inside: Ok(end) });
        Some(Visit { hash, number: self.visits, replaced })
    }

    /// A visit is over.
    pub(super) fn leave(&mut self, hash: &Hash, number: u64, now: Instant) {
        if let Some(kept) = self.kept.get_mut(hash).filter(|kept| kept.visit == number) {
            kept.inside = Err(now + self.grace);
        }
    }
}

impl Kept {
    fn is_good(&self, now: Instant) -> bool {
        self.inside.as_ref().map_or_else(|until| *until > now, |_| true)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GRACE: Duration = Duration::from_secs(120);

    fn at(seconds: u64) -> Instant {
        Instant::from_micros(seconds * 1_000_000)
    }

    #[test]
    fn a_ticket_is_good_while_its_visitor_is_inside_and_for_the_grace_time() {
        let (mut keys, alice) = (Keys::new(GRACE), Peer::new("alice"));
        let visit = keys.enter([1; 32], &alice, at(0)).expect("room");
        assert_eq!(keys.peer(&[1; 32], at(100_000)).map(|it| &*it.name), Some("alice"));
        assert!(keys.peer(&[2; 32], at(0)).is_none());
        keys.leave(&visit.hash, visit.number, at(100_000));
        assert!(keys.peer(&[1; 32], at(100_119)).is_some());
        assert!(keys.peer(&[1; 32], at(100_120)).is_none());
    }

    #[test]
    fn the_next_visitor_takes_the_place_of_the_last() {
        let (mut keys, alice) = (Keys::new(GRACE), Peer::new("alice"));
        let mut first = keys.enter([1; 32], &alice, at(0)).expect("room");
        assert!(first.replaced.try_recv().is_err());
        let second = keys.enter([1; 32], &alice, at(1)).expect("room");
        assert!(first.replaced.try_recv().is_ok());
        keys.leave(&first.hash, first.number, at(2));
        assert!(keys.peer(&[1; 32], at(1000)).is_some(), "the second one is inside");
        keys.leave(&second.hash, second.number, at(1000));
        assert!(keys.peer(&[1; 32], at(2000)).is_none());
    }

    #[test]
    fn tickets_are_remembered_up_to_a_bound() {
        let (mut keys, alice) = (Keys::new(GRACE), Peer::new("alice"));
        let visits: Vec<_> = (0..=MAX_KEYS as u8).map(|number| keys.enter([number; 32], &alice, at(0))).collect();
        assert_eq!(visits.iter().filter(|visit| visit.is_none()).count(), 1);
        assert!(keys.peer(&[MAX_KEYS as u8; 32], at(0)).is_none());
        keys.leave(&[0; 32], 1, at(0));
        assert!(keys.enter([99; 32], &alice, at(121)).is_some(), "the first one is not good any more");
    }
}

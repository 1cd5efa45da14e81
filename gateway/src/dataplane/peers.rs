//! The peers that have sessions, and what those have used together.

use std::collections::BTreeMap;
use std::sync::Arc;
use webtun_wire::Instant;

use super::meter::Meter;
use super::{Allowance, Peer};

/// Names a peer for as long as it has sessions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct PeerIndex(usize);

/// Found by name once per session, and by number for each packet.
#[derive(Debug, Default)]
pub(super) struct Peers {
    by_name: BTreeMap<Arc<str>, PeerIndex>,
    slots: Vec<Option<Present>>,
    unused: Vec<PeerIndex>,
}

/// A peer with at least one session.
#[derive(Debug)]
pub(super) struct Present {
    name: Arc<str>,
    sessions: usize,
    pub meter: Meter,
    /// Octets in the downlink queues of its sessions.
    pub queued: usize,
    pub total: Allowance,
}

impl Present {
    /// Something from each of the cache lines that a packet needs; what it returns means nothing.
    pub(super) fn look_at(&self) -> u64 {
        self.meter.look_at() ^ self.queued as u64 ^ self.total.queue_octets as u64
    }
}

impl Peers {
    /// How many sessions the peer of this name has.
    pub(super) fn sessions(&self, name: &str) -> usize {
        self.by_name.get(name).and_then(|index| self.get(*index)).map_or(0, |present| present.sessions)
    }

    /// A session of `peer` has begun; its totals are those in force from now on.
    pub(super) fn enter(&mut self, peer: &Peer, now: Instant) -> PeerIndex {
        let total = peer.limits.total;
        if let Some(index) = self.by_name.get(&peer.name).copied()
            && let Some(present) = self.get_mut(index)
        {
            present.sessions += 1;
            present.total = total;
            present.meter.set_rates(&total, now);
            return index;
        }
        let index = self.unused.pop().unwrap_or_else(|| {
            self.slots.push(None);
            PeerIndex(self.slots.len() - 1)
        });
        let meter = Meter::new(&total, now);
        self.slots[index.0] = Some(Present { name: peer.name.clone(), sessions: 1, meter, queued: 0, total });
        self.by_name.insert(peer.name.clone(), index);
        index
    }

    /// A session has ended. A peer without any is forgotten.
    pub(super) fn leave(&mut self, index: PeerIndex) {
        let Some(present) = self.get_mut(index) else { return };
        present.sessions -= 1;
        if present.sessions == 0 {
            let name = present.name.clone();
            self.by_name.remove(&name);
            self.slots[index.0] = None;
            self.unused.push(index);
        }
    }

    pub(super) fn get(&self, index: PeerIndex) -> Option<&Present> {
        self.slots.get(index.0)?.as_ref()
    }

    pub(super) fn get_mut(&mut self, index: PeerIndex) -> Option<&mut Present> {
        self.slots.get_mut(index.0)?.as_mut()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_peer_lasts_as_long_as_its_sessions() {
        let mut peers = Peers::default();
        let (one, two) = (Peer::new("one"), Peer::new("two"));
        let first = peers.enter(&one, Instant::ZERO);
        assert_eq!(peers.enter(&one, Instant::ZERO), first);
        let other = peers.enter(&two, Instant::ZERO);
        assert_ne!(other, first);
        assert_eq!((peers.sessions("one"), peers.sessions("two"), peers.sessions("three")), (2, 1, 0));
        peers.leave(first);
        assert_eq!(peers.sessions("one"), 1);
        peers.leave(first);
        assert_eq!((peers.sessions("one"), peers.get(first).is_none()), (0, true));
        assert_eq!(peers.enter(&Peer::new("three"), Instant::ZERO), first);
        assert_eq!(peers.sessions("two"), 1);
    }
}

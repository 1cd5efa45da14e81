//! Which shard gets a new session. Asked once per session, and not on the way of packets.

use crate::dataplane::{Allowance, Peer};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use webtun_wire::CloseCode;

/// Sessions by shard and by peer. All sessions of a peer with a total are in one shard, whose dataplane so holds the peer to
/// it; of peers without one they are wherever the fewest are.
#[derive(Clone, Debug)]
pub(super) struct Placement {
    table: Arc<Mutex<Table>>,
}

#[derive(Debug)]
struct Table {
    /// Sessions in each shard.
    shards: Vec<usize>,
    peers: BTreeMap<Arc<str>, At>,
    /// Of all shards.
    most: usize,
}

#[derive(Clone, Copy, Debug)]
struct At {
    shard: usize,
    sessions: usize,
}

/// A session's place, which is free again when this is dropped.
#[derive(Debug)]
pub struct Place {
    shard: usize,
    peer: Arc<str>,
    table: Arc<Mutex<Table>>,
}

impl Placement {
    pub(super) fn new(shards: usize, most: usize) -> Self {
        let table = Table { shards: vec![0; shards], peers: BTreeMap::new(), most };
        Self { table: Arc::new(Mutex::new(table)) }
    }

    /// A place for another session of `peer`, or the bound that it would go over.
    pub(super) fn take(&self, peer: &Peer) -> Result<Place, CloseCode> {
        let mut table = lock(&self.table);
        let at = table.peers.get(&peer.name).copied();
        if table.shards.iter().sum::<usize>() >= table.most {
            return Err(CloseCode::Exhausted);
        }
        if at.is_some_and(|at| at.sessions >= peer.limits.sessions) {
            return Err(CloseCode::Limit);
        }
        let fewest = table.shards.iter().enumerate().min_by_key(|(_, sessions)| **sessions).map_or(0, |it| it.0);
        let shard = match at {
            Some(at) if peer.limits.total != Allowance::UNLIMITED => at.shard,
            _ => fewest,
        };
        let sessions = at.map_or(0, |at| at.sessions) + 1;
        table.peers.insert(peer.name.clone(), At { shard, sessions });
        table.shards[shard] += 1;
        Ok(Place { shard, peer: peer.name.clone(), table: Arc::clone(&self.table) })
    }
}

impl Place {
    pub(super) fn shard(&self) -> usize {
        self.shard
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut table = lock(&self.table);
        table.shards[self.shard] -= 1;
        if let Some(at) = table.peers.get_mut(&self.peer) {
            at.sessions -= 1;
            if at.sessions == 0 {
                table.peers.remove(&self.peer);
            }
        }
    }
}

fn lock(table: &Mutex<Table>) -> MutexGuard<'_, Table> {
    // No panic leaves the numbers half changed.
    table.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peer(name: &str, total: Allowance) -> Peer {
        let mut peer = Peer::new(name);
        peer.limits.total = total;
        peer.limits.sessions = 3;
        peer
    }

    #[test]
    fn a_peer_stays_in_its_shard_for_as_long_as_it_has_sessions() {
        let placement = Placement::new(2, 100);
        let (a, b) = (peer("a", Allowance::PEER), peer("b", Allowance::PEER));
        let first: Vec<_> = (0..2).map(|_| placement.take(&a).expect("a place")).collect();
        assert!(first.iter().all(|place| place.shard() == 0));
        let second = placement.take(&b).expect("a place");
        assert_eq!(second.shard(), 1);
        assert_eq!(placement.take(&a).expect("a place").shard(), 0, "though the other one has fewer");
        drop(first);
        let other = placement.take(&peer("c", Allowance::PEER)).expect("a place");
        assert_eq!(other.shard(), 0);
        drop(second);
        assert_eq!(placement.take(&a).expect("a place").shard(), 1, "it may be elsewhere later");
    }

    #[test]
    fn peers_without_a_total_are_everywhere_and_bounds_hold_over_all_shards() {
        let placement = Placement::new(2, 4);
        let anyone = peer("anyone", Allowance::UNLIMITED);
        let mut places: Vec<_> = (0..3).map(|_| placement.take(&anyone).expect("a place")).collect();
        assert_eq!(places.iter().map(Place::shard).collect::<Vec<_>>(), [0, 1, 0]);
        assert_eq!(placement.take(&anyone).err(), Some(CloseCode::Limit));
        places.push(placement.take(&peer("b", Allowance::PEER)).expect("a place"));
        assert_eq!(placement.take(&peer("c", Allowance::PEER)).err(), Some(CloseCode::Exhausted));
        places.pop();
        assert!(placement.take(&peer("c", Allowance::PEER)).is_ok());
    }
}

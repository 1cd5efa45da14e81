use std::net::IpAddr;
use std::time::Duration;

use foldhash::fast::FixedState;
use webtun_wire::Instant;

use super::message::Question;
use crate::ResolveError;
use crate::demux::SeededMap;

/// Answers that are kept.
const CAPACITY: usize = 1024;

pub(super) type Addresses = Result<Vec<IpAddr>, ResolveError>;

/// Answers, for as long as their TTL says.
pub(super) struct Cache {
    entries: SeededMap<Question, (Addresses, Instant)>,
}

impl Cache {
    pub fn new(seed: u64) -> Self {
        Self { entries: SeededMap::with_hasher(FixedState::with_seed(seed)) }
    }

    pub fn get(&self, question: &Question, now: Instant) -> Option<&Addresses> {
        self.entries.get(question).filter(|(_, expires_at)| now < *expires_at).map(|(addresses, _)| addresses)
    }

    pub fn insert(&mut self, question: Question, addresses: Addresses, ttl: Duration, now: Instant) {
        if ttl.is_zero() {
            return;
        }
        if self.entries.len() >= CAPACITY {
            self.entries.retain(|_, (_, expires_at)| now < *expires_at);
        }
        if self.entries.len() >= CAPACITY {
            let soonest = self.entries.iter().min_by_key(|(_, (_, expires_at))| *expires_at);
            if let Some(question) = soonest.map(|(question, _)| question.clone()) {
                self.entries.remove(&question);
            }
        }
        self.entries.insert(question, (addresses, now + ttl));
    }

    pub fn clear(&mut self) {
        self.entries.clear();
    }
}

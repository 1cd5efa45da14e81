//! A fingerprint of a run: whatever crossed a border of the simulated world, and when.

use webtun_wire::Instant;

/// Where something was seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Place {
    /// A message on its arrival at the gateway.
    Uplink = 1,
    /// A message on its arrival at a client.
    Downlink = 2,
    /// A packet from the gateway towards the path.
    Egress = 3,
    /// A packet from the path at the gateway.
    Ingress = 4,
    /// A connection between a client and the gateway came or went.
    Connection = 5,
}

/// Folds everything seen into 64 bits. The same seed has to give the same hash.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TraceHash(u64);

impl TraceHash {
    /// Nothing seen yet.
    pub fn new() -> Self {
        Self(OFFSET)
    }

    /// Sees `octets` at `place`.
    pub fn record(&mut self, at: Instant, place: Place, octets: &[u8]) {
        self.0 = fold(self.0, at.as_micros());
        self.0 = fold(self.0, place as u64 | (octets.len() as u64) << 8);
        self.0 = fold_octets(self.0, octets);
    }

    /// The fingerprint so far.
    pub fn value(&self) -> u64 {
        self.0
    }
}

impl Default for TraceHash {
    fn default() -> Self {
        Self::new()
    }
}

/// A fixed hash: it has to be the same on every machine and in every version, since seeds are written down.
pub fn hash(octets: &[u8]) -> u64 {
    fold_octets(OFFSET, octets)
}

const OFFSET: u64 = 0xcbf2_9ce4_8422_2325;

fn fold(state: u64, word: u64) -> u64 {
    // An odd multiplier keeps every step a permutation; the rotation brings high bits down for the next one.
    (state ^ word).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(29)
}

fn fold_octets(mut state: u64, octets: &[u8]) -> u64 {
    let words = octets.chunks_exact(8);
    let mut tail = [0; 8];
    tail[..words.remainder().len()].copy_from_slice(words.remainder());
    for word in words {
        state = fold(state, u64::from_le_bytes(word.try_into().unwrap_or_default()));
    }
    fold(state, u64::from_le_bytes(tail))
}

//! A path in virtual time: a bottleneck with an endless queue, and a delay.

use std::collections::VecDeque;

use super::*;

/// What the client keeps for a replay, at most.
const LIMIT: u64 = 4 << 20;
const BATCH: usize = 256 * 1024;

struct Path {
    pace: Pace,
    now: Instant,
    octets_per_s: f64,
    round_trip: Duration,
    free_at: Instant,
    /// When the client hears of a message: the count of octets.
    receipts: VecDeque<(Instant, u64)>,
    number: u64,
    delivered: u64,
    /// How long messages had to wait for their turn.
    waits: Vec<Duration>,
}

impl Path {
    fn new(octets_per_s: f64, round_trip_ms: u64) -> Self {
        let now = Instant::from_millis(1000);
        let round_trip = Duration::from_millis(round_trip_ms);
        let mut pace = Pace::new(100, now);
        // The first PING.
        pace.observe_round_trip(round_trip, now);
        Self {
            pace,
            now,
            octets_per_s,
            round_trip,
            free_at: now,
            receipts: VecDeque::new(),
            number: 0,
            delivered: 0,
            waits: Vec::new(),
        }
    }

    /// Sends what the pace allows, for so long; returns the share of the bottleneck that was used.
    fn saturate(&mut self, time: Duration) -> f64 {
        let (end, before) = (self.now + time, self.delivered);
        self.waits.clear();
        while self.now < end {
            while self.pace.has_room(self.pace.under_way() < LIMIT) {
                let len = self.pace.message_len(BATCH);
                self.send(len);
            }
            self.hear();
        }
        (self.delivered - before) as f64 / self.octets_per_s / time.as_secs_f64()
    }

    fn send(&mut self, len: usize) {
        self.waits.push(self.free_at - self.now);
        self.pace.sent(len, Some(self.number), self.now);
        self.number += 1;
        self.free_at = self.free_at.max(self.now) + Duration::from_secs_f64(len as f64 / self.octets_per_s);
        self.receipts.push_back((self.free_at + self.round_trip, self.pace.sent));
    }

    /// What nine of ten messages did not wait for. After a round that has let the queue run empty, the next ones come at once.
    fn usual_wait(&mut self) -> Duration {
        self.waits.sort_unstable();
        self.waits[self.waits.len() * 9 / 10]
    }

    fn hear(&mut self) {
        let (at, octets) = self.receipts.pop_front().expect("something is always under way");
        self.now = at.max(self.now);
        self.delivered += octets - self.pace.received;
        self.pace.received(octets, self.now);
    }
}

const MBIT_S: f64 = 1e6 / 8.0;

#[test]
fn paths_are_used_and_their_queues_stay_short() {
    for (mbit_s, round_trip) in [(1.0, 30), (20.0, 40), (20.0, 5), (100.0, 200), (1000.0, 10), (4000.0, 1)] {
        let mut path = Path::new(mbit_s * MBIT_S, round_trip);
        path.saturate(Duration::from_secs(4));
        let used = path.saturate(Duration::from_secs(20));
        let wait = path.usual_wait();
        // Less than two of the shortest messages is not to be had.
        let floor = Duration::from_secs_f64(2.0 * SMALLEST_WINDOW as f64 / (mbit_s * MBIT_S));
        let bound = DELAY + path.round_trip / 6 + MESSAGE_TIME + floor;
        assert!(used > 0.97, "{mbit_s} Mbit/s, {round_trip} ms: {used}");
        assert!(wait < bound, "{mbit_s} Mbit/s, {round_trip} ms: {wait:?}");
    }
}

#[test]
fn a_long_fat_path_is_full_within_two_seconds() {
    let mut path = Path::new(100.0 * MBIT_S, 200);
    path.saturate(Duration::from_secs(2));
    assert!(path.saturate(Duration::from_secs(1)) > 0.95);
}

#[test]
fn a_path_that_changes_is_followed() {
    let mut path = Path::new(100.0 * MBIT_S, 40);
    path.saturate(Duration::from_secs(5));
    path.octets_per_s = 10.0 * MBIT_S;
    path.saturate(Duration::from_secs(4));
    assert!(path.saturate(Duration::from_secs(1)) > 0.97);
    assert!(path.usual_wait() < Duration::from_millis(40), "{:?}", path.usual_wait());
    path.octets_per_s = 100.0 * MBIT_S;
    path.saturate(Duration::from_secs(4));
    assert!(path.saturate(Duration::from_secs(1)) > 0.97);
    path.round_trip = Duration::from_millis(120);
    path.saturate(Duration::from_secs(25));
    assert!(path.saturate(Duration::from_secs(1)) > 0.9, "a longer way is believed after a while");
}

#[test]
fn what_sends_little_never_waits() {
    let mut path = Path::new(20.0 * MBIT_S, 40);
    for _ in 0..1000 {
        assert!(path.pace.has_room(true));
        assert!(!path.pace.wants_receipt(200), "it needs no answers of its own");
        path.send(200);
        path.hear();
    }
    // A burst after all that is not held to the rate of what was there before.
    assert!(path.pace.message_len(BATCH) >= 16 * 1024, "{}", path.pace.message_len(BATCH));
}

#[test]
fn acknowledgements_count_as_receipts_do() {
    let now = Instant::from_millis(1000);
    let mut pace = Pace::new(0, now);
    for number in 0..3 {
        pace.sent(40_000, Some(number), now);
    }
    pace.sent(10, None, now);
    assert!(!pace.has_room(true));
    pace.acknowledged(2, now + Duration::from_millis(20));
    assert_eq!(pace.under_way(), 40_010);
    assert!(pace.has_room(true));
    pace.acknowledged(1, now + Duration::from_millis(30));
    pace.acknowledged(3, now + Duration::from_millis(40));
    pace.received(u64::MAX, now + Duration::from_millis(50));
    assert_eq!(pace.under_way(), 0, "a count beyond what was sent means all of it");
}

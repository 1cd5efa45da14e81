//! One direction of the path behind the gateway, with its faults.

use bytes::BytesMut;
use std::collections::BTreeMap;
use std::time::Duration;
use webtun_wire::Instant;

use crate::rng::SimRng;

/// How one direction of a path behaves.
#[derive(Clone, Debug)]
pub struct LinkConfig {
    /// Time on the way.
    pub latency: Duration,
    /// At most so much is added, evenly distributed. It does not reorder.
    pub jitter: Duration,
    /// Probability that a packet is lost.
    pub loss: f64,
    /// Probability that a packet is held back for up to twice the latency, so that later ones overtake it.
    pub reorder: f64,
    /// Probability that a packet arrives twice.
    pub duplicate: f64,
    /// Octets per second; `None` is unlimited.
    pub rate: Option<u64>,
    /// How many octets wait for a link with a rate; beyond it the tail is dropped.
    pub queue: usize,
}

impl Default for LinkConfig {
    /// 5 ms and no faults.
    fn default() -> Self {
        Self {
            latency: Duration::from_millis(5),
            jitter: Duration::ZERO,
            loss: 0.0,
            reorder: 0.0,
            duplicate: 0.0,
            rate: None,
            queue: 1 << 20,
        }
    }
}

/// One direction of a path: packets go in, and come out later, or twice, or never.
#[derive(Debug)]
pub struct Link {
    config: LinkConfig,
    rng: SimRng,
    in_flight: BTreeMap<(Instant, u64), BytesMut>,
    /// Ties at the same instant are broken by the order of sending.
    count: u64,
    /// When the sender of a link with a rate is free again.
    free_at: Instant,
    /// Arrival of the last packet that kept its place.
    last_arrival: Instant,
    /// Packets that were lost, by chance or at the queue's end.
    pub lost: u64,
}

impl Link {
    /// An empty link.
    pub fn new(config: LinkConfig, rng: SimRng) -> Self {
        Self {
            config,
            rng,
            in_flight: BTreeMap::new(),
            count: 0,
            free_at: Instant::ZERO,
            last_arrival: Instant::ZERO,
            lost: 0,
        }
    }

    /// Changes the behaviour for packets sent from now on.
    pub fn set_config(&mut self, config: LinkConfig) {
        self.config = config;
    }

    /// How it behaves now.
    pub fn config(&self) -> &LinkConfig {
        &self.config
    }

    /// Sends a packet.
    pub fn send(&mut self, packet: BytesMut, now: Instant) {
        let Some(sent) = self.serialize(packet.len(), now) else {
            self.lost += 1;
            return;
        };
        if self.rng.chance(self.config.loss) {
            self.lost += 1;
            return;
        }
        if self.rng.chance(self.config.duplicate) {
            self.arrive(packet.clone(), sent);
        }
        self.arrive(packet, sent);
    }

    /// The next packet that has arrived by `now`.
    pub fn poll(&mut self, now: Instant) -> Option<BytesMut> {
        let entry = self.in_flight.first_entry()?;
        (entry.key().0 <= now).then(|| entry.remove())
    }

    /// When the next packet arrives.
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.in_flight.first_key_value().map(|(key, _)| key.0)
    }

    /// When the last octet of a packet has left the sender; `None` where the queue is full.
    fn serialize(&mut self, len: usize, now: Instant) -> Option<Instant> {
        let Some(rate) = self.config.rate else { return Some(now) };
        let wait = self.free_at.saturating_duration_since(now);
        if wait.as_secs_f64() * rate as f64 > self.config.queue as f64 {
            return None;
        }
        self.free_at = now + wait + Duration::from_secs_f64(len as f64 / rate as f64);
        Some(self.free_at)
    }

    fn arrive(&mut self, packet: BytesMut, sent: Instant) {
        let jitter = Duration::from_micros(self.rng.below(self.config.jitter.as_micros() as u64 + 1));
        let mut at = sent + self.config.latency + jitter;
        if self.rng.chance(self.config.reorder) {
            at += Duration::from_micros(self.rng.below(2 * self.config.latency.as_micros() as u64 + 1000));
        } else {
            at = at.max(self.last_arrival);
            self.last_arrival = at;
        }
        self.in_flight.insert((at, self.count), packet);
        self.count += 1;
    }
}

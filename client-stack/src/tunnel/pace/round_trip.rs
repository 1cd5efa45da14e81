use std::time::Duration;

use webtun_wire::Instant;

/// For so long a shortest round trip is believed.
const SPAN: Duration = Duration::from_secs(10);

/// The round trip without a queue.
#[derive(Debug)]
pub(super) struct ShortestRoundTrip {
    value: Duration,
    at: Instant,
    /// While the queue is let run empty.
    probe: Option<Probe>,
}

#[derive(Debug)]
struct Probe {
    shortest: Duration,
    /// In the first round the queue becomes shorter, the second shows it.
    rounds_left: u32,
}

impl ShortestRoundTrip {
    pub fn new(sample: Duration, now: Instant) -> Self {
        Self { value: sample, at: now, probe: None }
    }

    /// The shortest one.
    pub fn value(&self) -> Duration {
        self.value
    }

    /// True while little is to be sent.
    pub fn is_probing(&self) -> bool {
        self.probe.is_some()
    }

    pub fn observe(&mut self, sample: Duration, now: Instant) {
        if let Some(probe) = &mut self.probe {
            probe.shortest = probe.shortest.min(sample);
        }
        if sample <= self.value {
            (self.value, self.at) = (sample, now);
        }
    }

    /// Where the window was not full, there is no queue of ours, and what is measured is right by itself.
    pub fn end_round(&mut self, was_full: bool, now: Instant) {
        match &mut self.probe {
            Some(probe) if probe.rounds_left > 1 => probe.rounds_left -= 1,
            Some(probe) => {
                (self.value, self.at) = (probe.shortest, now);
                self.probe = None;
            }
            None if was_full && now - self.at > SPAN => {
                self.probe = Some(Probe { shortest: Duration::MAX, rounds_left: 2 });
            }
            None => {}
        }
    }
}

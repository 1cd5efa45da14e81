//! What duplicate and partial acknowledgements mean for a connection, where smoltcp 0.14 does not say.
//!
//! smoltcp repeats a segment at the third duplicate ACK and, after a timeout of at least a second, everything that is under
//! way. Three things are missing:
//!
//! - **After a timeout** most of what is repeated has come already, and is answered by duplicate ACKs. Each three of them
//!   would be taken for another loss, until the window has two segments and stays there. They are kept from smoltcp (RFC
//!   6582 section 4).
//! - **A partial ACK** ends smoltcp's recovery, and the second loss of a window waits for the timer. It stands for the next
//!   loss (RFC 6582 section 3.2 step 3), of which smoltcp learns by three duplicates.
//! - **A short window** never brings three duplicates. As many as it can bring are enough (RFC 5827 section 3.2).
//!
//! A window with many losses is left to the timer, since smoltcp halves its window with each of them.

/// Duplicates at which smoltcp repeats a segment.
const DUPLICATES: u8 = 3;
/// Losses of one window that are repeated without a timeout.
const LOSSES: u8 = 4;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Phase {
    #[default]
    Open,
    /// Repeats lost segments, until this number is acknowledged.
    Repeats { until: u32, losses: u8 },
    /// Begins anew after a timeout, until this number is acknowledged.
    Restarts { until: u32 },
}

/// Follows one connection's acknowledgements.
#[derive(Debug, Default)]
pub(crate) struct Recovery {
    phase: Phase,
    /// SND.UNA and the window that came with it; `None` before the first ACK.
    last: Option<(u32, u16)>,
    duplicates: u8,
    /// Segments that smoltcp was told to repeat, and that have not been seen yet.
    expected: u32,
}

/// What of an acceptable ACK counts here.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ack {
    pub number: u32,
    /// As the header has it.
    pub window: u16,
    /// It carries nothing else.
    pub is_pure: bool,
    /// It tells of segments that have come behind a lost one (RFC 2018).
    pub is_selective: bool,
}

/// What was sent.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sent {
    /// The number behind the last octet.
    pub highest: u32,
    /// Segments that were sent again since the last ACK.
    pub repeated: u32,
    /// Octets of a segment; not 0.
    pub segment: u16,
}

impl Recovery {
    /// How many duplicates of this ACK are to follow it; `None`: it is kept from smoltcp itself.
    pub fn heard(&mut self, ack: Ack, sent: Sent) -> Option<u8> {
        let Some((last, window)) = self.last.replace((ack.number, ack.window)) else { return Some(0) };
        self.note_repeated(last, sent);
        if ack.number != last {
            self.duplicates = 0;
            return Some(self.advance(ack.number));
        }
        let has_moved = ack.window != window;
        let is_duplicate = ack.is_pure && ack.number != sent.highest && (!has_moved || ack.is_selective);
        match self.phase {
            _ if !is_duplicate => Some(0),
            Phase::Restarts { .. } if has_moved => Some(0),
            Phase::Restarts { .. } => None,
            // smoltcp takes one that moves the window for no duplicate, and would send less than has left the network.
            Phase::Repeats { .. } => Some(u8::from(has_moved)),
            Phase::Open => Some(self.count(u8::from(has_moved), sent)),
        }
    }

    /// What is sent again without having been asked for follows from a timeout.
    fn note_repeated(&mut self, acknowledged: u32, sent: Sent) {
        if sent.repeated > self.expected
            && acknowledged != sent.highest
            && !matches!(self.phase, Phase::Restarts { .. })
        {
            self.phase = Phase::Restarts { until: sent.highest };
            self.duplicates = 0;
        }
        self.expected = self.expected.saturating_sub(sent.repeated);
    }

    fn advance(&mut self, number: u32) -> u8 {
        let is_short_of = |until: u32| (until.wrapping_sub(number) as i32) > 0;
        match &mut self.phase {
            Phase::Repeats { until, losses } if is_short_of(*until) => {
                *losses = losses.saturating_add(1);
                if *losses > LOSSES {
                    return 0;
                }
                self.expected += 1;
                DUPLICATES
            }
            Phase::Restarts { until } if is_short_of(*until) => 0,
            _ => {
                self.phase = Phase::Open;
                0
            }
        }
    }

    /// One more duplicate; `missed` where smoltcp does not count it.
    fn count(&mut self, missed: u8, sent: Sent) -> u8 {
        self.duplicates += 1;
        let (acknowledged, _) = self.last.unwrap_or_default();
        let under_way = sent.highest.wrapping_sub(acknowledged).div_ceil(u32::from(sent.segment));
        // The lost one brings none.
        let enough = under_way.saturating_sub(1).min(u32::from(DUPLICATES));
        if enough == 0 || u32::from(self.duplicates) < enough {
            return missed;
        }
        self.phase = Phase::Repeats { until: sent.highest, losses: 1 };
        self.expected += 1;
        missed + DUPLICATES.saturating_sub(self.duplicates)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SEGMENT: u16 = 1000;

    fn hear(recovery: &mut Recovery, number: u32, highest: u32, repeated: u32) -> Option<u8> {
        let ack = Ack { number, window: 500, is_pure: true, is_selective: true };
        recovery.heard(ack, Sent { highest, repeated, segment: SEGMENT })
    }

    #[test]
    fn a_partial_ack_stands_for_the_next_loss() {
        let start = u32::MAX - 4000;
        let (mut recovery, highest) = (Recovery::default(), start.wrapping_add(10_000));
        let mut hear = |octets: u32, repeated| hear(&mut recovery, start.wrapping_add(octets), highest, repeated);
        assert_eq!([hear(0, 0), hear(0, 0), hear(0, 0), hear(0, 0)], [Some(0); 4], "the third is smoltcp's");
        assert_eq!(hear(4000, 1), Some(3), "of four that were acknowledged only the first was lost");
        assert_eq!(hear(4000, 1), Some(0), "the window is inflated");
        assert_eq!(hear(10_000, 0), Some(0));
        assert_eq!(recovery.phase, Phase::Open);
    }

    #[test]
    fn many_losses_are_left_to_the_timer() {
        let (mut recovery, highest) = (Recovery::default(), 100_000);
        for _ in 0..4 {
            assert_eq!(hear(&mut recovery, 0, highest, 0), Some(0));
        }
        let told: Vec<_> = (1..6).map(|nth| hear(&mut recovery, nth * 1000, highest, 1)).collect();
        assert_eq!(told, [Some(3), Some(3), Some(3), Some(0), Some(0)]);
    }

    #[test]
    fn duplicates_after_a_timeout_are_swallowed_until_all_is_acknowledged() {
        let (mut recovery, highest) = (Recovery::default(), 10_000);
        assert_eq!(hear(&mut recovery, 0, highest, 0), Some(0));
        assert_eq!(hear(&mut recovery, 2000, highest, 1), Some(0), "what nobody has asked for was repeated");
        assert_eq!([hear(&mut recovery, 2000, highest, 2), hear(&mut recovery, 2000, highest, 0)], [None; 2]);
        let wider = Ack { number: 2000, window: 600, is_pure: true, is_selective: false };
        assert_eq!(recovery.heard(wider, Sent { highest, repeated: 0, segment: SEGMENT }), Some(0));
        assert_eq!(hear(&mut recovery, 10_000, 12_000, 0), Some(0));
        assert_eq!(recovery.phase, Phase::Open);
    }

    #[test]
    fn a_short_window_needs_fewer_duplicates() {
        for (under_way, told) in [(1, [0, 0, 0]), (2, [2, 0, 0]), (3, [0, 1, 0]), (4, [0, 0, 0]), (40, [0, 0, 0])] {
            let mut recovery = Recovery::default();
            let highest = under_way * 1000;
            assert_eq!(hear(&mut recovery, 0, highest, 0), Some(0));
            let all = [(); 3].map(|()| hear(&mut recovery, 0, highest, 0));
            assert_eq!(all, told.map(Some), "{under_way} segments");
            assert_eq!(recovery.phase == Phase::Open, under_way == 1, "{under_way} segments");
        }
    }

    #[test]
    fn a_duplicate_that_moves_the_window_counts_where_it_is_selective() {
        for is_selective in [true, false] {
            let mut recovery = Recovery::default();
            let told = [1_u16, 2, 3, 4].map(|window| {
                let ack = Ack { number: 0, window, is_pure: true, is_selective };
                recovery.heard(ack, Sent { highest: 50_000, repeated: 0, segment: SEGMENT })
            });
            let extra = u8::from(is_selective);
            assert_eq!(told, [0, extra, extra, extra].map(Some));
            assert_eq!(recovery.phase != Phase::Open, is_selective);
        }
    }
}

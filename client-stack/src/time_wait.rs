//! Connections in TIME-WAIT without their sockets: two numbers each, instead of buffers.

use std::collections::VecDeque;
use std::time::Duration;

use etherparse::TcpHeaderSlice;
use foldhash::fast::FixedState;
use webtun_wire::Instant;

use crate::demux::{Flow, SeededMap};

/// How long a connection stays. RFC 9293 section 3.4.2 wants two minutes; as smoltcp we shorten it to what a duplicate
/// may be late on today's paths, since ports from a block are few.
const DURATION: Duration = Duration::from_secs(10);

/// Connections that are remembered; beyond it the oldest is forgotten, and its duplicates get a RST.
const CAPACITY: usize = 8192;

/// What both ends have finished with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Finished {
    /// SND.NXT, behind our FIN.
    pub send_next: u32,
    /// RCV.NXT, behind the peer's FIN.
    pub receive_next: u32,
}

/// What to do with a segment (RFC 9293 section 3.10.7.4, RFC 6191).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Judgement {
    /// No such connection, or a SYN that begins the next one.
    Unknown,
    /// It says nothing new.
    Ignore,
    /// The peer has to be told where we stand.
    Acknowledge(Finished),
}

/// The table. What has expired goes when something is put in, so that it needs no timer.
pub(crate) struct TimeWait {
    entries: SeededMap<Flow, (Finished, Instant)>,
    /// As they came; each entry once.
    order: VecDeque<Flow>,
}

impl TimeWait {
    pub fn new(seed: u64) -> Self {
        Self { entries: SeededMap::with_hasher(FixedState::with_seed(seed)), order: VecDeque::new() }
    }

    pub fn insert(&mut self, flow: Flow, finished: Finished, now: Instant) {
        while let Some(oldest) = self.order.front()
            && (self.order.len() >= CAPACITY || !self.contains(oldest, now))
        {
            self.entries.remove(oldest);
            self.order.pop_front();
        }
        if self.entries.insert(flow, (finished, now + DURATION)).is_none() {
            self.order.push_back(flow);
        }
    }

    pub fn contains(&self, flow: &Flow, now: Instant) -> bool {
        self.entries.get(flow).is_some_and(|(_, until)| now < *until)
    }

    pub fn clear(&mut self) {
        self.entries.clear();
        self.order.clear();
    }

    /// Judges a segment with so many octets of data.
    pub fn receive(&mut self, flow: &Flow, header: &TcpHeaderSlice<'_>, data: usize, now: Instant) -> Judgement {
        let Some((finished, until)) = self.entries.get_mut(flow).filter(|(_, until)| now < *until) else {
            return Judgement::Unknown;
        };
        let (sequence, expected) = (header.sequence_number(), finished.receive_next);
        if header.rst() {
            // An old duplicate must not end the wait (RFC 1337); a peer that was told where we stand hits the number.
            if sequence == expected {
                *until = now;
            }
            return Judgement::Ignore;
        }
        let is_later = (sequence.wrapping_sub(expected) as i32) > 0;
        if header.syn() && !header.ack() && is_later {
            return Judgement::Unknown;
        }
        if header.fin() && sequence.wrapping_add(data as u32).wrapping_add(1) == expected {
            *until = now + DURATION;
        }
        let is_pure_ack = header.ack() && !header.syn() && !header.fin() && data == 0;
        if is_pure_ack && sequence == expected { Judgement::Ignore } else { Judgement::Acknowledge(*finished) }
    }
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use etherparse::TcpHeader;

    use super::*;

    const FINISHED: Finished = Finished { send_next: 77, receive_next: u32::MAX };

    fn flow(port: u16) -> Flow {
        Flow { local: SocketAddr::from(([100, 64, 0, 2], port)), remote: SocketAddr::from(([192, 0, 2, 80], 80)) }
    }

    /// Judges a segment at `sequence` after `seconds`.
    fn judge(table: &mut TimeWait, sequence: u32, data: usize, seconds: u64, set: fn(&mut TcpHeader)) -> Judgement {
        let mut header = TcpHeader::new(80, 1000, sequence, 5000);
        header.ack = true;
        set(&mut header);
        let octets = header.to_bytes();
        let slice = TcpHeaderSlice::from_slice(&octets).unwrap();
        table.receive(&flow(1000), &slice, data, Instant::from_millis(seconds * 1000))
    }

    fn table() -> TimeWait {
        let mut table = TimeWait::new(7);
        table.insert(flow(1000), FINISHED, Instant::ZERO);
        table
    }

    fn syn(header: &mut TcpHeader) {
        (header.syn, header.ack) = (true, false);
    }

    #[test]
    fn duplicates_are_acknowledged_and_acknowledgements_are_not() {
        let mut table = table();
        let told = Judgement::Acknowledge(FINISHED);
        assert_eq!(judge(&mut table, u32::MAX, 0, 1, |_| ()), Judgement::Ignore);
        assert_eq!(judge(&mut table, u32::MAX - 101, 100, 1, |_| ()), told);
        assert_eq!(judge(&mut table, u32::MAX - 1, 0, 1, |header| header.fin = true), told);
        assert_eq!(judge(&mut table, u32::MAX, 0, 10, |_| ()), Judgement::Ignore, "the FIN has restarted the wait");
        assert_eq!(judge(&mut table, u32::MAX, 0, 11, |_| ()), Judgement::Unknown);
    }

    #[test]
    fn a_later_syn_begins_anew_and_an_earlier_one_is_told_where_we_stand() {
        let mut table = table();
        assert_eq!(judge(&mut table, 5, 0, 1, syn), Judgement::Unknown);
        assert_eq!(judge(&mut table, u32::MAX - 5, 0, 1, syn), Judgement::Acknowledge(FINISHED));
    }

    #[test]
    fn only_a_reset_that_hits_the_number_ends_the_wait() {
        let mut table = table();
        assert_eq!(judge(&mut table, 3, 0, 1, |header| header.rst = true), Judgement::Ignore);
        assert!(table.contains(&flow(1000), Instant::from_millis(1000)));
        assert_eq!(judge(&mut table, u32::MAX, 0, 1, |header| header.rst = true), Judgement::Ignore);
        assert_eq!(judge(&mut table, u32::MAX - 5, 0, 1, syn), Judgement::Unknown);
    }

    #[test]
    fn the_table_is_bounded_and_forgets_what_is_over() {
        let mut table = TimeWait::new(7);
        for port in 0..u16::MAX {
            table.insert(flow(port), FINISHED, Instant::ZERO);
        }
        assert_eq!((table.entries.len(), table.order.len()), (CAPACITY, CAPACITY));
        table.insert(flow(1), FINISHED, Instant::from_millis(10_000));
        assert_eq!((table.entries.len(), table.order.len()), (1, 1));
    }
}

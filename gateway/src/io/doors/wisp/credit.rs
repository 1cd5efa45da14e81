//! How many packets a client may send on a TCP stream.
//!
//! The protocol counts packets, and memory has octets. So what is granted follows from how long the client's packets are:
//! few of the long ones, many of the short ones. What a client is told takes the place of what it was told before, whatever is
//! under way: each time as many again may come, so that what waits is bounded by the relay, and here only what is asked for.

/// What a client may send on each stream before anything is known, in packets. 2 MiB of packets of 64 KiB.
pub(super) const FIRST: u32 = 32;
/// The fewest and the most that are granted.
const PACKETS: (u32, u32) = (8, 256);
/// What all streams of a connection may have waiting, in octets, and the least and the most of one.
const TOTAL: usize = 16 << 20;
const EACH: (usize, usize) = (256 << 10, 8 << 20);

/// One stream's.
#[derive(Debug)]
pub(super) struct Credit {
    /// What the client has left of what it was told.
    left: u32,
    /// The usual length of its packets.
    length: usize,
}

impl Credit {
    pub(super) fn new() -> Self {
        Self { left: FIRST, length: 0 }
    }

    /// A packet of so many octets has come.
    pub(super) fn received(&mut self, octets: usize) {
        self.left = self.left.saturating_sub(1);
        self.length = self.length.max(octets).max(1) - self.length.saturating_sub(octets) / 8;
    }

    /// What to tell the client, where that is worth a packet: one of so many `streams`, with `waiting` packets not passed on.
    pub(super) fn grant(&mut self, waiting: usize, streams: usize) -> Option<u32> {
        if self.length == 0 {
            return None;
        }
        let share = (TOTAL / streams.max(1)).clamp(EACH.0, EACH.1);
        let room = u32::try_from(share / self.length.max(1)).unwrap_or(u32::MAX).clamp(PACKETS.0, PACKETS.1);
        let wanted = room.saturating_sub(u32::try_from(waiting).unwrap_or(u32::MAX));
        if wanted == 0 || self.left > wanted / 2 {
            return None;
        }
        self.left = wanted;
        Some(wanted)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn many_short_packets_are_as_good_as_few_long_ones() {
        let granted = |octets: usize, streams| {
            let mut credit = Credit::new();
            (0..FIRST).for_each(|_| credit.received(octets));
            credit.grant(0, streams)
        };
        assert_eq!(granted(64 << 10, 1), Some(128));
        assert_eq!(granted(64 << 10, 1000), Some(PACKETS.0));
        assert_eq!(granted(1400, 1), Some(PACKETS.1));
        assert_eq!(granted(1 << 20, 1), Some(PACKETS.0));
    }

    #[test]
    fn nothing_is_granted_while_as_much_waits() {
        let mut credit = Credit::new();
        assert_eq!(credit.grant(0, 1), None, "nothing is known of its packets");
        (0..FIRST).for_each(|_| credit.received(64 << 10));
        assert_eq!(credit.grant(128, 1), None);
        assert_eq!(credit.grant(127, 1), Some(1));
    }

    proptest! {
        /// Of a client that sends all that it may, and hears of more at once.
        #[test]
        fn grants_fit_beside_what_waits(lengths in proptest::collection::vec(0usize..100_000, 1..500), drained: u8) {
            let (mut credit, mut may, mut waiting) = (Credit::new(), FIRST, 0usize);
            for length in lengths {
                if may > 0 {
                    may -= 1;
                    credit.received(length);
                    waiting += 1;
                }
                waiting = waiting.saturating_sub(usize::from(drained % 3));
                if let Some(more) = credit.grant(waiting, 1) {
                    prop_assert!(more as usize + waiting <= PACKETS.1 as usize);
                    may = more;
                }
            }
        }
    }
}

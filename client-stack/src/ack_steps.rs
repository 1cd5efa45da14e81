//! An ACK that covers many segments, as the many ACKs that it stands for.

/// Lets the congestion window of a connection grow with what is acknowledged, and not with how often.
///
/// smoltcp 0.14's Reno adds one segment for each ACK, as RFC 5681 section 3.1 has it. A peer whose kernel puts segments
/// together acknowledges dozens at once, and the window of an upload would take seconds to open. Such an ACK is handed over
/// in steps of two segments (RFC 3465 with L = 2), as a peer would send them that follows RFC 5681 section 4.2 to the
/// letter. That goes on until the window must be as large as the send buffer, and begins anew after a retransmission.
#[derive(Debug, Default)]
pub(crate) struct AckSteps {
    /// SND.UNA; `None` before the first ACK.
    acknowledged: Option<u32>,
    /// How many more steps may be worth something.
    left: usize,
}

/// Segments for which a peer owes an ACK.
const SEGMENTS: u32 = 2;

impl AckSteps {
    /// True before the first ACK.
    pub fn is_new(&self) -> bool {
        self.acknowledged.is_none()
    }

    /// The window may have to grow by so many octets.
    pub fn begin(&mut self, octets: usize, segment: u16) {
        self.left = octets / usize::from(segment.max(1));
    }

    /// The numbers that the peer would have acknowledged before this one, which is the last of them.
    pub fn before(&mut self, acknowledgment: u32, segment: u16) -> impl Iterator<Item = u32> + use<> {
        let step = u32::from(segment.max(1)) * SEGMENTS;
        let start = self.acknowledged.unwrap_or(acknowledgment);
        let news = acknowledgment.wrapping_sub(start);
        // What is older acknowledges nothing, and nothing is under way that is longer than the largest window.
        let is_new = (1..=1 << 30).contains(&news);
        if is_new || self.acknowledged.is_none() {
            self.acknowledged = Some(acknowledgment);
        }
        let count = if is_new { ((news - 1) / step) as usize } else { 0 };
        let count = count.min(self.left);
        self.left -= count;
        (1..=count as u32).map(move |nth| start.wrapping_add(nth * step))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn steps(steps: &mut AckSteps, acknowledgment: u32) -> Vec<u32> {
        steps.before(acknowledgment, 1000).collect()
    }

    #[test]
    fn many_segments_are_acknowledged_two_by_two() {
        let mut acks = AckSteps::default();
        acks.begin(1_000_000, 1000);
        assert_eq!(steps(&mut acks, u32::MAX - 999), [], "the first one says where to count from");
        assert_eq!(steps(&mut acks, 5000), [1000, 3000]);
        assert_eq!(steps(&mut acks, 5000), []);
        assert_eq!(steps(&mut acks, 4000), [], "an old one");
        assert_eq!(steps(&mut acks, 7000), []);
        assert_eq!(steps(&mut acks, 9001), [9000]);
    }

    #[test]
    fn it_ends_where_the_window_cannot_grow() {
        let mut acks = AckSteps::default();
        acks.begin(3000, 1000);
        steps(&mut acks, 0);
        assert_eq!(steps(&mut acks, 60_000), [2000, 4000, 6000]);
        assert_eq!(steps(&mut acks, 120_000), []);
        acks.begin(1000, 1000);
        assert_eq!(steps(&mut acks, 180_000), [122_000]);
    }
}

use crate::packet;
use crate::time_wait::Finished;

/// SND.NXT of one connection as RFC 9293 section 3.3.1 means it, and its place in segments that only acknowledge.
///
/// After a retransmission timeout smoltcp 0.14 sets its SND.NXT back to SND.UNA, and its pure ACKs carry that number. A
/// peer that has received more finds them old, not acceptable (section 3.10.7.4), and throws the ACK away with them. Two
/// such ends, each with data under way, then repeat themselves for ever.
///
/// Packets have no checksum yet when they come here.
#[derive(Debug, Default)]
pub(crate) struct SendNext {
    highest: Option<u32>,
    /// RCV.NXT, as the last segment has told it.
    acknowledged: u32,
    peer_window_closed: bool,
    /// Segments that were sent again since they were asked for.
    repeated: u32,
}

/// Flags of the TCP header's octet 13.
const FIN: u8 = 0x01;
const SYN: u8 = 0x02;
const RST: u8 = 0x04;

impl SendNext {
    /// The peer has advertised this window.
    pub fn heard(&mut self, window: u16) {
        self.peer_window_closed = window == 0;
    }

    /// True where nothing behind this number was ever sent.
    pub fn reaches(&self, number: u32) -> bool {
        self.highest.is_some_and(|highest| (highest.wrapping_sub(number) as i32) >= 0)
    }

    /// The number behind the last octet that was sent.
    pub fn highest(&self) -> Option<u32> {
        self.highest
    }

    /// Segments that were sent again since the last call.
    pub fn take_repeated(&mut self) -> u32 {
        std::mem::take(&mut self.repeated)
    }

    /// True where this is the number of the last octet, or of the FIN, that was sent.
    pub fn is_last(&self, number: u32) -> bool {
        self.highest == Some(number.wrapping_add(1))
    }

    /// Both numbers, where the peer has been told that everything before `end` has come.
    pub fn finished(&self, end: u32) -> Option<Finished> {
        let send_next = self.highest?;
        (self.acknowledged == end).then_some(Finished { send_next, receive_next: end })
    }

    /// Notes what a segment of ours occupies; one that occupies nothing gets the number that comes next.
    pub fn apply(&mut self, packet: &mut [u8]) {
        let Some(segment) = packet.get_mut(packet::ip_header_len(packet)..) else { return };
        let Some((header, _)) = segment.split_first_chunk::<20>() else { return };
        let (data_offset, flags) = (usize::from(header[12] >> 4) * 4, header[13]);
        let sequence = u32::from_be_bytes([header[4], header[5], header[6], header[7]]);
        let occupied =
            segment.len().saturating_sub(data_offset) as u32 + u32::from(flags & SYN > 0) + u32::from(flags & FIN > 0);
        self.acknowledged = u32::from_be_bytes([header[8], header[9], header[10], header[11]]);
        let end = sequence.wrapping_add(occupied);
        let ahead = |from: u32, to: u32| (to.wrapping_sub(from) as i32) > 0;
        self.repeated += u32::from(occupied > 0 && self.highest.is_some_and(|highest| ahead(sequence, highest)));
        match self.highest {
            None => self.highest = Some(end),
            // What probes a closed window is not sent yet: the peer need not take it.
            Some(highest) if occupied > 0 && ahead(highest, end) => {
                if !self.peer_window_closed || flags & (SYN | FIN) > 0 {
                    self.highest = Some(end);
                }
            }
            Some(highest) if occupied == 0 && flags & RST == 0 && ahead(sequence, highest) => {
                segment[4..8].copy_from_slice(&highest.to_be_bytes());
            }
            Some(_) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use etherparse::{PacketBuilder, TcpSlice};

    use super::*;

    fn segment(sequence: u32, payload: &[u8], ipv4: bool) -> Vec<u8> {
        let mut packet = Vec::new();
        if ipv4 {
            let builder = PacketBuilder::ipv4([100, 64, 0, 2], [192, 0, 2, 80], 64).tcp(1000, 80, sequence, 5000);
            builder.ack(77).write_to_vec(&mut packet, payload).unwrap();
        } else {
            let builder = PacketBuilder::ipv6([1; 16], [2; 16], 64).tcp(1000, 80, sequence, 5000);
            builder.ack(77).write_to_vec(&mut packet, payload).unwrap();
        }
        packet
    }

    #[test]
    fn a_pure_ack_after_a_step_back_carries_what_comes_next() {
        for ipv4 in [true, false] {
            let start = u32::MAX - 10;
            let mut next = SendNext::default();
            next.apply(&mut segment(start, &[1; 100], ipv4));
            next.apply(&mut segment(start, &[1; 50], ipv4));
            let mut ack = segment(start.wrapping_add(50), b"", ipv4);
            next.apply(&mut ack);
            let expected = segment(start.wrapping_add(100), b"", ipv4);
            let checksum = ack.len() - 4;
            assert_eq!(ack[..checksum], expected[..checksum], "all but the checksum");
            let mut retransmitted = segment(start, &[1; 50], ipv4);
            next.apply(&mut retransmitted);
            assert_eq!(retransmitted, segment(start, &[1; 50], ipv4));
        }
    }

    #[test]
    fn a_probe_of_a_closed_window_does_not_count() {
        let mut next = SendNext::default();
        next.apply(&mut segment(100, &[1; 10], true));
        next.heard(0);
        next.apply(&mut segment(110, &[1; 1], true));
        let mut ack = segment(110, b"", true);
        next.apply(&mut ack);
        assert_eq!(TcpSlice::from_slice(&ack[20..]).unwrap().sequence_number(), 110);
    }

    #[test]
    fn what_is_no_segment_stays_as_it_is() {
        let mut next = SendNext::default();
        for len in 0..60 {
            let mut packet = vec![0x45; len];
            next.apply(&mut packet);
            assert_eq!(packet.len(), len);
        }
    }
}

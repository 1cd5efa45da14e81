//! What a message has brought to a connection, and where in the message it lies.

use std::ops::Range;

use etherparse::TcpHeaderSlice;

use crate::SocketId;

/// Parts that are kept in mind of one message; with more, what it has brought is only to be had from the receive buffer.
const MAX_PARTS: usize = 64;

/// Follows RCV.NXT (RFC 9293 section 3.3.1) of one connection, to know whether a segment was taken as it was.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Received {
    /// None before the SYN.
    next: Option<u32>,
}

impl Received {
    /// Whether nothing is missing before this number, and nothing behind it was known.
    pub fn is_next(&self, sequence: u32) -> bool {
        self.next == Some(sequence)
    }

    /// A segment with so many octets of data has made the receive buffer grow by `growth`. True where these are its data, all
    /// of them and nothing else: no part of it was known, and nothing that had come early follows.
    pub fn note(&mut self, header: &TcpHeaderSlice<'_>, data: usize, growth: usize) -> bool {
        let sequence = header.sequence_number();
        if header.syn() {
            self.next = Some(sequence.wrapping_add(1).wrapping_add(growth as u32));
            return false;
        }
        let is_exact = growth == data && self.next == Some(sequence);
        self.next = self.next.map(|next| next.wrapping_add(growth as u32));
        is_exact
    }
}

/// The data that one message has brought to one of its connections that had nothing to read before: to another than the first
/// where it brings more to that at once than it had to the first.
#[derive(Debug, Default)]
pub(crate) struct Arrival {
    /// The address of the message whose packets are being handled: parts are known by theirs.
    base: Option<usize>,
    owner: Option<SocketId>,
    parts: Vec<Range<usize>>,
    octets: usize,
}

impl Arrival {
    /// What follows lies in this message.
    pub fn begin(&mut self, message: &[u8]) {
        self.base = Some(message.as_ptr().addr());
        self.clear();
    }

    /// What follows lies elsewhere.
    pub fn end(&mut self) {
        self.base = None;
    }

    /// Something of what `id` has to read was read.
    pub fn forget(&mut self, id: SocketId) {
        if self.owner == Some(id) {
            self.clear();
        }
    }

    // Two copies would be a few octets more of what every page loads.
    #[inline(never)]
    fn clear(&mut self) {
        self.owner = None;
        self.parts.clear();
        self.octets = 0;
    }

    /// `data` were added to the receive buffer of `id` behind `waiting` octets; where not `is_exact`, not quite these.
    pub fn note(&mut self, id: SocketId, data: &[u8], waiting: usize, is_exact: bool) {
        if self.owner != Some(id) {
            if waiting > 0 || data.len() <= self.octets {
                return;
            }
            self.clear();
        }
        let start = self.base.and_then(|base| data.as_ptr().addr().checked_sub(base));
        match start.filter(|_| is_exact && waiting == self.octets && self.parts.len() < MAX_PARTS) {
            Some(start) => {
                self.owner = Some(id);
                self.parts.push(start..start + data.len());
                self.octets += data.len();
            }
            None => self.clear(),
        }
    }

    /// Where everything lies that `id` has to read, in its order; nothing where that is not all in this message.
    pub fn of(&self, id: SocketId, readable: usize) -> &[Range<usize>] {
        if self.owner == Some(id) && self.octets == readable { &self.parts } else { &[] }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: SocketId = SocketId::from_u32(1);
    const B: SocketId = SocketId::from_u32(2);

    fn segment(sequence: u32, syn: bool) -> Vec<u8> {
        let mut header = etherparse::TcpHeader::new(1, 2, sequence, 1000);
        header.syn = syn;
        header.to_bytes().to_vec()
    }

    fn note(received: &mut Received, sequence: u32, syn: bool, data: usize, growth: usize) -> bool {
        let octets = segment(sequence, syn);
        received.note(&TcpHeaderSlice::from_slice(&octets).unwrap(), data, growth)
    }

    #[test]
    fn only_a_segment_that_is_next_is_taken_as_it_is() {
        let mut received = Received::default();
        assert!(!note(&mut received, 5, false, 10, 10), "nothing is known before the SYN");
        let mut received = Received::default();
        assert!(!note(&mut received, u32::MAX - 9, true, 0, 0));
        assert!(note(&mut received, u32::MAX - 8, false, 10, 10), "sequence numbers wrap");
        assert!(!note(&mut received, 11, false, 10, 0), "one before it is missing");
        assert!(!note(&mut received, 1, false, 10, 20), "and now what came early follows it");
        assert!(!note(&mut received, 16, false, 10, 5), "half of it was known");
        assert!(note(&mut received, 26, false, 7, 7));
    }

    #[test]
    fn what_was_known_in_part_is_not_exact_even_where_as_much_follows() {
        let mut received = Received::default();
        note(&mut received, 0, true, 0, 0);
        assert!(!note(&mut received, 21, false, 5, 0), "early");
        assert!(note(&mut received, 1, false, 15, 15));
        assert!(!note(&mut received, 11, false, 10, 10), "five of it are new, and five that were early follow");
    }

    #[test]
    fn parts_of_one_connection_are_found_again() {
        let message = [0u8; 100];
        let mut arrival = Arrival::default();
        arrival.begin(&message);
        arrival.note(A, &message[10..30], 0, true);
        arrival.note(B, &message[30..40], 0, true);
        arrival.note(A, &message[50..60], 20, true);
        assert_eq!(arrival.of(A, 30), [10..30, 50..60]);
        assert_eq!(arrival.of(A, 29), [], "something of it was read");
        assert_eq!(arrival.of(B, 10), [], "one connection is kept in mind");
        arrival.begin(&message);
        assert_eq!(arrival.of(A, 30), []);
    }

    #[test]
    fn a_longer_part_of_another_connection_takes_the_place() {
        let message = [0u8; 100];
        let mut arrival = Arrival::default();
        arrival.begin(&message);
        arrival.note(A, &message[..10], 0, true);
        arrival.note(B, &message[10..31], 5, true);
        assert_eq!(arrival.of(A, 10), core::slice::from_ref(&(0..10)), "the other had something to read before");
        arrival.note(B, &message[31..60], 0, true);
        assert_eq!(arrival.of(A, 10), []);
        assert_eq!(arrival.of(B, 29), core::slice::from_ref(&(31..60)));
        arrival.note(A, &message[60..80], 0, true);
        assert_eq!(arrival.of(B, 29), core::slice::from_ref(&(31..60)), "shorter");
    }

    #[test]
    fn what_does_not_fit_together_is_forgotten() {
        let message = [0u8; 100];
        let mut arrival = Arrival::default();
        arrival.begin(&message);
        arrival.note(A, &message[..10], 5, true);
        assert_eq!(arrival.of(A, 15), [], "it had something to read before");
        arrival.note(A, &message[..10], 0, true);
        arrival.note(A, &message[10..20], 10, false);
        assert_eq!(arrival.of(A, 20), []);
    }

    #[test]
    fn what_comes_elsewhere_or_after_reading_is_not_in_the_message() {
        let message = [0u8; 100];
        let mut arrival = Arrival::default();
        arrival.begin(&message);
        arrival.note(A, &message[..10], 0, true);
        arrival.end();
        assert_eq!(arrival.of(A, 10), core::slice::from_ref(&(0..10)));
        arrival.note(A, &[0; 10], 10, true);
        assert_eq!(arrival.of(A, 10), [], "some of it came later");
        arrival.note(B, &[0; 10], 0, true);
        assert_eq!(arrival.of(B, 10), []);
        arrival.begin(&message);
        arrival.note(A, &message[..10], 0, true);
        arrival.forget(B);
        assert_eq!(arrival.of(A, 10), core::slice::from_ref(&(0..10)));
        arrival.forget(A);
        assert_eq!(arrival.of(A, 10), []);
    }

    #[test]
    fn parts_are_bounded() {
        let message = [0u8; 100];
        let mut arrival = Arrival::default();
        arrival.begin(&message);
        (0..=MAX_PARTS).for_each(|at| arrival.note(A, &message[at..=at], at, true));
        assert!(arrival.of(A, MAX_PARTS + 1).is_empty() && arrival.parts.len() <= MAX_PARTS);
    }
}

//! How much may be on its way to an emulator's network card.
//!
//! What comes while the card has no room is lost, and there is no word for it at a door: the WebSocket takes all. So the guest
//! is asked for a sign in the middle of what it gets (an ARP request for its own address, which every system answers by
//! itself): its reply says that the frames before have been taken.

use bytes::{BufMut, BytesMut};
use std::net::Ipv4Addr;
use std::time::Duration;
use webtun_stack::Instant;
use webtun_stack::bridge::MacAddress;

/// Ethernet header and ARP packet.
const QUESTION_LEN: usize = 42;
/// What an NE2000 or a card like it pads short frames to; a virtio card sends them as they are.
const PADDED_LEN: usize = 60;
/// How soon a question is repeated; twice as late each time where the guest has answered before. It also wakes a driver that
/// has missed the card's interrupt.
const PATIENCE: Duration = Duration::from_millis(200);
/// Questions before the guest is taken for one that has read everything, or answers none.
const QUESTIONS: u32 = 5;

const ARP: [u8; 2] = [0x08, 0x06];
const IPV4: [u8; 2] = [0x08, 0x00];
/// Where an ARP frame has its operation, and what a reply's is.
const OPERATION: std::ops::Range<usize> = 20..22;
const REPLY: [u8; 2] = [0, 2];

/// What is known of a network card by the frames that it sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Card {
    /// Nothing yet; or it has a ring of some pages of 256 octets, as an NE2000.
    Pages,
    /// Its driver has buffers for this many frames at least.
    Frames(usize),
}

/// Pages that may be taken of the 51 that are free in the ring of v86's NE2000: it runs its ring over when that is exactly
/// full. One frame more, and repeated questions, may lie over it.
const PAGES: usize = 38;
/// As many as let no more frames into the ring than its driver takes by one interrupt, since it forgets the rest.
const LEAST_PAGES: usize = 5;
/// Descriptors of the ring of v86's virtio card.
const DESCRIPTORS: usize = 1024;
/// Frames for a card whose buffers are a descriptor each.
const FRAMES: usize = 256;

/// A question to the guest that it has not answered.
#[derive(Clone, Copy, Debug)]
struct Question {
    /// What was on its way before it.
    covers: usize,
    /// When it was asked last.
    at: Instant,
    times: u32,
    /// Replies that came meanwhile and were taken for those to an earlier one.
    ignored: u32,
}

/// Of one port.
#[derive(Debug)]
pub(super) struct Window {
    card: Card,
    mtu: u16,
    /// Pages or frames that may not have been taken.
    under_way: usize,
    question: Option<Question>,
    /// Replies still to come to a question that was repeated.
    stale: u32,
    has_answered: bool,
    /// Its guest has answered nothing so far.
    is_off: bool,
}

impl Window {
    /// For a port of a segment with this MTU.
    pub(super) fn new(mtu: u16) -> Self {
        // An NE2000 has no frames above 1500 octets.
        let card = if mtu > 1500 { virtio(mtu) } else { Card::Pages };
        Self { card, mtu, under_way: 0, question: None, stale: 0, has_answered: false, is_off: false }
    }

    fn size(&self) -> usize {
        match self.card {
            Card::Pages => PAGES,
            Card::Frames(count) => count,
        }
    }

    fn cost(&self, len: usize) -> usize {
        match self.card {
            // With a header of 4 octets, and at least one octet in the last page.
            Card::Pages => (len.max(PADDED_LEN) + 4) / 256 + 1,
            Card::Frames(_) => 1,
        }
    }

    /// Whether another frame may go.
    pub(super) fn is_open(&self) -> bool {
        self.is_off || self.under_way < self.size()
    }

    /// A frame goes to the card. True where it is time for a question.
    pub(super) fn sent(&mut self, len: usize) -> bool {
        let least = if self.card == Card::Pages { LEAST_PAGES } else { 1 };
        self.under_way += self.cost(len).max(least);
        !self.is_off && self.question.is_none() && self.under_way >= self.size() / 2
    }

    /// The question has gone, or there is nobody to be asked.
    pub(super) fn asked(&mut self, has_gone: bool, now: Instant) {
        if !has_gone {
            self.under_way = 0;
            return;
        }
        self.question = Some(Question { covers: self.under_way, at: now, times: 1, ignored: 0 });
        self.under_way += self.cost(QUESTION_LEN);
    }

    /// A frame has come from the card. True where it has opened the window.
    pub(super) fn received(&mut self, frame: &[u8]) -> bool {
        let is_arp = frame.get(12..14) == Some(&ARP);
        let is_short = frame.len() < PADDED_LEN && (is_arp || frame.get(12..14) == Some(&IPV4));
        if is_short && self.card == Card::Pages {
            self.card = virtio(self.mtu);
            // Pages are no frames: what was counted is forgotten, and it was less than there is room for.
            (self.under_way, self.question) = (0, None);
            return true;
        }
        is_arp && frame.get(OPERATION) == Some(&REPLY) && self.answered()
    }

    fn answered(&mut self) -> bool {
        if self.stale > 0 {
            self.stale -= 1;
            self.question.iter_mut().for_each(|it| it.ignored += 1);
            return false;
        }
        let Some(question) = self.question.take() else { return self.wakes() };
        self.stale = (question.times - 1).saturating_sub(question.ignored);
        self.has_answered = true;
        self.under_way -= question.covers;
        true
    }

    /// A reply to a question that was given up: the guest was slow, and answers after all. True where that shows it first.
    fn wakes(&mut self) -> bool {
        if !self.is_off {
            return false;
        }
        (self.is_off, self.has_answered, self.under_way) = (false, true, 0);
        // To the questions after the first one.
        self.stale = QUESTIONS - 1;
        true
    }

    /// When [`Window::overdue`] is due.
    pub(super) fn timeout(&self) -> Option<Instant> {
        let doublings = |it: &Question| if self.has_answered { it.times - 1 } else { 0 };
        self.question.as_ref().map(|it| it.at + PATIENCE * (1 << doublings(it)))
    }

    /// Has a question that was not answered in time repeated, or given up. True where it is to be repeated.
    pub(super) fn overdue(&mut self, now: Instant) -> bool {
        let is_due = self.timeout().is_some_and(|at| at <= now);
        let Some(question) = self.question.as_mut().filter(|_| is_due) else { return false };
        if question.times >= QUESTIONS {
            self.is_off = !self.has_answered;
            (self.under_way, self.question) = (0, None);
            return false;
        }
        question.times += 1;
        question.at = now;
        true
    }
}

/// Linux gives a frame of a virtio card one descriptor, or where frames may be longer than usual one for each page and two
/// more; half of that.
fn virtio(mtu: u16) -> Card {
    let long = DESCRIPTORS / (usize::from(mtu).div_ceil(4096) + 2) / 2;
    Card::Frames(if mtu > 1500 { long } else { FRAMES })
}

/// An ARP request (RFC 826) of the router to a guest whose addresses are known.
pub(super) fn question(router: (MacAddress, Ipv4Addr), guest: (MacAddress, Ipv4Addr)) -> BytesMut {
    let mut frame = BytesMut::with_capacity(QUESTION_LEN);
    frame.put_slice(&guest.0.0);
    frame.put_slice(&router.0.0);
    frame.put_slice(&ARP);
    // Ethernet and IPv4, and the lengths of their addresses; a request.
    frame.put_slice(&[0, 1, 8, 0, 6, 4, 0, 1]);
    frame.put_slice(&router.0.0);
    frame.put_slice(&router.1.octets());
    frame.put_slice(&[0; 6]);
    frame.put_slice(&guest.1.octets());
    frame
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reply(len: usize) -> Vec<u8> {
        let mut frame = vec![0; len];
        frame[12..14].copy_from_slice(&ARP);
        frame[OPERATION].copy_from_slice(&REPLY);
        frame
    }

    /// Sends frames of this length until none may go; how many that were, with a question where it was time for one.
    fn fill(window: &mut Window, len: usize, now: Instant) -> usize {
        let mut count = 0;
        while window.is_open() && count < 10_000 {
            if window.sent(len) {
                window.asked(true, now);
            }
            count += 1;
        }
        count
    }

    #[test]
    fn a_ring_of_pages_is_never_full() {
        for len in [42, 60, 300, 700, 1514] {
            let (mut window, mut now) = (Window::new(1500), Instant::ZERO);
            let count = fill(&mut window, len, now);
            let mut pages = count * ((len.max(60) + 4) / 256 + 1) + 1;
            while let Some(at) = window.timeout() {
                now = at;
                pages += usize::from(window.overdue(now));
            }
            assert!(pages < 51 && count < 11, "{count} of {len}: {pages}");
        }
    }

    #[test]
    fn an_answer_opens_the_window_for_what_went_before_the_question() {
        let mut window = Window::new(65_000);
        let all = fill(&mut window, 1514, Instant::ZERO);
        assert_eq!(all, 28 - 1);
        assert!(!window.received(&[0; 60]));
        assert!(window.received(&reply(42)));
        assert!(fill(&mut window, 1514, Instant::ZERO) > 10);
        assert!(!window.is_open());
    }

    #[test]
    fn a_card_that_does_not_pad_gets_more() {
        let mut window = Window::new(1500);
        window.received(&reply(60));
        assert!(fill(&mut window, 1514, Instant::ZERO) < 10);
        window.received(&reply(42));
        assert_eq!(fill(&mut window, 1514, Instant::ZERO), FRAMES - 1);
    }

    #[test]
    fn who_never_answers_is_asked_no_more_and_who_was_silent_once_is() {
        for answers in [false, true] {
            let (mut window, mut now) = (Window::new(9000), Instant::ZERO);
            fill(&mut window, 1514, now);
            if answers {
                window.received(&reply(42));
                fill(&mut window, 1514, now);
            }
            let mut repeated = 0;
            while let Some(at) = window.timeout() {
                now = at;
                repeated += u32::from(window.overdue(now));
            }
            assert_eq!((repeated, window.is_open()), (QUESTIONS - 1, true));
            assert_eq!(fill(&mut window, 1514, now) == 10_000, !answers);
        }
    }

    #[test]
    fn who_answers_late_is_asked_again() {
        let (mut window, mut now) = (Window::new(9000), Instant::ZERO);
        fill(&mut window, 1514, now);
        while let Some(at) = window.timeout() {
            now = at;
            window.overdue(now);
        }
        assert!(window.received(&reply(42)));
        // The other replies to what was asked are no answers.
        fill(&mut window, 1514, now);
        for _ in 1..QUESTIONS {
            assert!(!window.received(&reply(42)) && !window.is_open());
        }
        now = window.timeout().expect("a question");
        assert!(window.overdue(now) && window.received(&reply(42)));
    }

    #[test]
    fn the_other_replies_to_a_repeated_question_count_once() {
        let (mut window, mut now) = (Window::new(9000), Instant::ZERO);
        fill(&mut window, 1514, now);
        now += PATIENCE;
        assert!(window.overdue(now) && window.received(&reply(42)));
        fill(&mut window, 1514, now);
        // This one is still to the question before; or the guest has lost that, and is asked again.
        assert!(!window.received(&reply(42)) && !window.is_open());
        now += PATIENCE;
        assert!(window.overdue(now) && window.received(&reply(42)));
        fill(&mut window, 1514, now);
        assert!(window.received(&reply(42)));
    }

    #[test]
    fn where_nobody_can_be_asked_the_window_stays_open() {
        let mut window = Window::new(1500);
        for _ in 0..100 {
            assert!(window.is_open());
            if window.sent(1514) {
                window.asked(false, Instant::ZERO);
            }
        }
    }

    #[test]
    fn the_question_is_a_request_for_the_guest() {
        let (router, guest) = (MacAddress([2; 6]), MacAddress([4; 6]));
        let frame = question((router, [10, 0, 0, 1].into()), (guest, [10, 0, 0, 2].into()));
        let arp = etherparse::ArpPacketSlice::from_slice(&frame[14..]).expect("an ARP packet");
        assert_eq!((frame.len(), arp.operation().0), (QUESTION_LEN, 1));
        assert_eq!((arp.sender_protocol_addr(), arp.target_protocol_addr()), (&[10, 0, 0, 1][..], &[10, 0, 0, 2][..]));
    }
}

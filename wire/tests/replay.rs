//! A session over connections that are cut again and again: nothing is lost, nothing comes twice.

use proptest::prelude::*;
use std::collections::VecDeque;
use webtun_wire::{Accept, BatchWriter, Capsule, ReceiveWindow, ReplayError, SendRing, capsules};

const LIMIT: usize = 600;
const LONGEST: usize = 300;

/// One end of a session. Packets are numbered so that loss, doubling and disorder show.
struct Peer {
    ring: SendRing<Vec<u8>>,
    window: ReceiveWindow,
    sent: u64,
    received: u64,
    /// Messages on their way to this peer.
    inbox: VecDeque<Vec<u8>>,
}

impl Peer {
    fn new() -> Self {
        let (ring, window) = (SendRing::new(LIMIT), ReceiveWindow::new());
        Self { ring, window, sent: 0, received: 0, inbox: VecDeque::new() }
    }

    fn send(&mut self, len: usize, piggyback: bool) -> Option<Vec<u8>> {
        if !self.ring.has_room() {
            return None;
        }
        let mut writer = BatchWriter::with_sequence(LONGEST, self.ring.next_number());
        if piggyback {
            assert!(writer.push(&Capsule::Ack { next: self.window.next() }));
            self.window.acked();
        }
        let mut packet = vec![0; len];
        packet[..8].copy_from_slice(&self.sent.to_be_bytes());
        assert!(writer.push_packet(0, &packet));
        self.sent += 1;
        let message = writer.finish();
        assert_eq!(self.ring.push(message.clone(), message.len()) + 1, self.ring.next_number());
        assert!(self.ring.octets() < LIMIT + LONGEST);
        Some(message)
    }

    fn bare_ack(&mut self) -> Vec<u8> {
        let mut writer = BatchWriter::new(LONGEST);
        assert!(writer.push(&Capsule::Ack { next: self.window.next() }));
        self.window.acked();
        writer.finish()
    }

    fn receive(&mut self) {
        let Some(message) = self.inbox.pop_front() else { return };
        for capsule in capsules(&message) {
            match capsule.expect("a valid message") {
                Capsule::Sequence { number } => match self.window.accept(number, message.len()).expect("no gap") {
                    Accept::New => assert!(self.window.ack_pending()),
                    Accept::Duplicate => return,
                },
                Capsule::Ack { next } => self.ring.acknowledge(next).expect("was sent"),
                Capsule::Datagram { payload, .. } => {
                    assert_eq!(payload[..8], self.received.to_be_bytes());
                    self.received += 1;
                }
                other => panic!("{other:?} was never sent"),
            }
        }
    }
}

/// The connection breaks, everything on its way is lost, and a new one begins.
fn cut(a: &mut Peer, b: &mut Peer) {
    a.inbox.clear();
    b.inbox.clear();
    a.ring.resume(b.window.next()).expect("a keeps what b lacks");
    b.ring.resume(a.window.next()).expect("b keeps what a lacks");
    b.inbox.extend(a.ring.iter().cloned());
    a.inbox.extend(b.ring.iter().cloned());
}

#[derive(Clone, Debug)]
enum Step {
    Send { from_a: bool, len: usize, piggyback: bool },
    Ack { from_a: bool },
    Receive { at_a: bool },
    Cut,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => (any::<bool>(), 8..200usize, any::<bool>())
            .prop_map(|(from_a, len, piggyback)| Step::Send { from_a, len, piggyback }),
        2 => any::<bool>().prop_map(|from_a| Step::Ack { from_a }),
        6 => any::<bool>().prop_map(|at_a| Step::Receive { at_a }),
        1 => Just(Step::Cut),
    ]
}

proptest! {
    #[test]
    fn cuts_lose_nothing_and_double_nothing(steps in prop::collection::vec(step(), 0..400)) {
        let (mut a, mut b) = (Peer::new(), Peer::new());
        for step in steps {
            match step {
                Step::Send { from_a: true, len, piggyback } => b.inbox.extend(a.send(len, piggyback)),
                Step::Send { from_a: false, len, piggyback } => a.inbox.extend(b.send(len, piggyback)),
                Step::Ack { from_a: true } => b.inbox.push_back(a.bare_ack()),
                Step::Ack { from_a: false } => a.inbox.push_back(b.bare_ack()),
                Step::Receive { at_a: true } => a.receive(),
                Step::Receive { at_a: false } => b.receive(),
                Step::Cut => cut(&mut a, &mut b),
            }
            prop_assert!(a.received <= b.sent && b.received <= a.sent);
        }
        cut(&mut a, &mut b);
        while !(a.inbox.is_empty() && b.inbox.is_empty()) {
            a.receive();
            b.receive();
        }
        prop_assert_eq!((a.received, b.received), (b.sent, a.sent));
        cut(&mut a, &mut b);
        prop_assert!(a.ring.is_empty() && b.ring.is_empty());
        prop_assert_eq!((a.ring.octets(), b.ring.octets()), (0, 0));
    }
}

#[test]
fn ring_bounds_and_errors() {
    let mut ring = SendRing::new(10);
    assert!(ring.has_room());
    assert_eq!(ring.push([0u8; 9], 9), 0);
    assert!(ring.has_room());
    assert_eq!(ring.push([1; 9], 9), 1);
    assert!(!ring.has_room());
    assert_eq!(ring.acknowledge(3), Err(ReplayError::Unsent));
    assert_eq!(ring.acknowledge(1), Ok(()));
    assert_eq!((ring.first_number(), ring.octets(), ring.get(0), ring.get(1)), (1, 9, None, Some(&[1; 9])));
    assert_eq!(ring.acknowledge(0), Ok(()), "an ACK that is sent again is older");
    assert_eq!(ring.resume(0), Err(ReplayError::Forgotten));
    assert_eq!(ring.resume(3), Err(ReplayError::Unsent));
    assert_eq!(ring.resume(2), Ok(()));
    assert!(ring.is_empty());
}

#[test]
fn window_knows_when_an_ack_is_due() {
    let mut window = ReceiveWindow::new();
    assert_eq!(window.accept(1, 1), Err(ReplayError::Gap));
    assert!(!window.ack_pending());
    for number in 0..15 {
        assert_eq!(window.accept(number, 1), Ok(Accept::New));
    }
    assert!(window.ack_pending() && !window.ack_due());
    assert_eq!(window.accept(3, 1), Ok(Accept::Duplicate));
    assert!(window.ack_due());
    assert_eq!(window.next(), 15);
    window.acked();
    assert!(!window.ack_pending());
    assert_eq!(window.accept(15, 64 * 1024), Ok(Accept::New));
    assert!(window.ack_due());
}

#[test]
fn acks_are_spared_within_what_the_peer_keeps() {
    for (unacknowledged, due) in [(4 << 20, 1 << 20), (70_000, 64 * 1024), (0, 64 * 1024)] {
        let mut window = ReceiveWindow::new();
        window.spare_acks(unacknowledged);
        assert_eq!(window.accept(0, due - 1), Ok(Accept::New));
        assert!(!window.ack_due(), "{unacknowledged}");
        assert_eq!(window.accept(1, 1), Ok(Accept::New));
        assert!(window.ack_due(), "{unacknowledged}");
    }
}

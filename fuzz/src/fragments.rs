use bytes::BytesMut;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;
use webtun_tests::direct::Direct;
use webtun_tests::packet::{Reassembler, Transport, View, piece, udp};
use webtun_tests::pattern;

use crate::gateway;

/// Above what a datagram may take to become whole.
const TOO_LONG: Duration = Duration::from_secs(61);
/// How often that may pass: the mapping has to outlive it.
const PAUSES: usize = 3;
/// Below the most pieces that a datagram may come in.
const PIECES: usize = 200;

/// Three datagrams in pieces of any size and order, repeated, overlapping, damaged, late, from a session or to it.
///
/// Four octets choose the direction and the lengths, then each four make a piece. A datagram whose pieces all came, none of
/// them damaged or overlapping, leaves whole and at once; one that is not complete does not leave, and one whose pieces
/// overlap does not leave before its time is over.
pub fn fragments(data: &[u8]) {
    let Some((&[choice, a, b, c], pieces)) = data.split_first_chunk() else { return };
    let mut run = Run::new(choice, [a, b, c]);
    for step in pieces.as_chunks().0.iter().take(400) {
        run.step(*step);
    }
    gateway::works(&mut run.direct);
}

struct Run {
    direct: Direct,
    is_uplink: bool,
    datagrams: Vec<Datagram>,
    pauses: usize,
}

/// What was sent of a datagram, and what has to come of it.
struct Datagram {
    packet: BytesMut,
    payload: Vec<u8>,
    sent: BTreeMap<usize, Vec<u8>>,
    state: State,
}

#[derive(Clone, Copy, PartialEq)]
enum State {
    /// Every piece was right.
    Good,
    /// Pieces overlap.
    Refused,
    /// Damaged: what comes of it is not known.
    Spoiled,
}

impl Run {
    fn new(choice: u8, lengths: [u8; 3]) -> Self {
        let (ipv6, is_uplink) = (choice & 1 != 0, choice & 2 != 0);
        let mut direct = gateway::with_session();
        let (internal, remote) = (direct.sessions[0].endpoint(ipv6, 5000), gateway::remote(ipv6, 53));
        direct.send_packets(0, &[udp(internal, remote, b"?")]).expect("a packet is no protocol error");
        let left = direct.egress.pop_front().expect("it leaves");
        let external = View::parse(&left).expect("it is correct").source_endpoint();
        let ends = if is_uplink { (internal, remote) } else { (remote, external) };
        let datagrams = lengths.iter().zip(1..).map(|(len, seed)| Datagram::new(ends, *len, seed)).collect();
        Self { direct, is_uplink, datagrams, pauses: 0 }
    }

    fn step(&mut self, [head, start, len, change]: [u8; 4]) {
        let which = usize::from(head & 3);
        if which == self.datagrams.len() {
            self.pause();
            return;
        }
        let datagram = &mut self.datagrams[which];
        let unit = if head & 0x10 == 0 { 8 } else { 256 };
        let total = datagram.segment_len();
        let start = usize::from(start) * unit % total / 8 * 8;
        let end = total.min(start + (usize::from(len) + 1) * unit);
        let more = (end < total) ^ (head & 0x08 != 0);
        let mut octets = piece(&datagram.packet, start..end, more, which as u32);
        if head & 0x04 != 0 {
            let last = octets.len() - 1;
            octets[last] ^= change | 1;
        }
        let (is_damaged, is_fragment) = (head & 0x0c != 0, start > 0 || more);
        if is_fragment {
            datagram.note(start, &octets[octets.len() - (end - start)..], is_damaged);
        }
        self.send(octets);
        let came = self.taken();
        let datagram = &mut self.datagrams[which];
        match (is_fragment, is_damaged) {
            (true, _) => datagram.check(&came),
            // In one piece, it has nothing to do with what has come in several under its name (RFC 6946). A router does not
            // cut it.
            (false, false) if self.is_uplink && datagram.is_too_big() => assert!(came.is_empty(), "it was cut"),
            (false, false) => datagram.is_whole(&came),
            (false, true) => assert!(came.len() <= 1, "one packet for one"),
        }
    }

    fn pause(&mut self) {
        if self.pauses < PAUSES {
            self.pauses += 1;
            self.direct.advance(TOO_LONG);
            self.datagrams.iter_mut().for_each(Datagram::forget);
            self.taken();
        }
    }

    fn send(&mut self, packet: BytesMut) {
        if self.is_uplink {
            self.direct.send_packets(0, &[packet]).expect("no packet ends a session");
        } else {
            self.direct.receive(packet);
        }
    }

    /// What has gone on, and not to the sender of the pieces.
    fn taken(&mut self) -> Vec<BytesMut> {
        let queue = if self.is_uplink { &mut self.direct.egress } else { &mut self.direct.sessions[0].packets };
        let packets: Vec<_> = queue.drain(..).collect();
        packets.iter().for_each(|packet| gateway::check_ip(packet));
        // Towards the outside it may have been cut again.
        let mut reassembler = Reassembler::default();
        packets.into_iter().filter_map(|packet| reassembler.push(packet)).collect()
    }
}

impl Datagram {
    fn new((from, to): (SocketAddr, SocketAddr), len: u8, seed: u64) -> Self {
        let payload = pattern::octets(seed, usize::from(len) * 16 + usize::from(len & 7));
        Self { packet: udp(from, to, &payload), payload, sent: BTreeMap::new(), state: State::Good }
    }

    fn segment_len(&self) -> usize {
        8 + self.payload.len()
    }

    /// For a router on the way to the outside.
    fn is_too_big(&self) -> bool {
        self.packet[0] >> 4 == 6 && self.packet.len() > 1500
    }

    fn note(&mut self, start: usize, octets: &[u8], is_damaged: bool) {
        if is_damaged || self.sent.len() >= PIECES {
            self.state = State::Spoiled;
        }
        let is_repeated = self.sent.get(&start).is_some_and(|before| before == octets);
        if self.state == State::Good && !is_repeated {
            let end = start + octets.len();
            if self.sent.iter().any(|(other, there)| *other < end && start < other + there.len()) {
                self.state = State::Refused;
            }
            self.sent.insert(start, octets.to_vec());
        }
    }

    fn check(&mut self, came: &[BytesMut]) {
        let received: usize = self.sent.values().map(Vec::len).sum();
        match self.state {
            State::Good if received == self.segment_len() => {
                self.is_whole(came);
                self.forget();
            }
            State::Good => assert!(came.is_empty(), "it is not complete"),
            State::Refused => assert!(came.is_empty(), "its pieces overlap"),
            State::Spoiled => assert!(came.len() <= 1, "one piece completes one datagram"),
        }
    }

    fn is_whole(&self, came: &[BytesMut]) {
        let [whole] = came else { panic!("{} datagrams for one", came.len()) };
        let view = View::parse(whole).unwrap_or_else(|problem| panic!("{problem}"));
        let Transport::Udp { payload, .. } = view.transport else { panic!("not a datagram: {view:?}") };
        assert!(payload == self.payload, "its octets have changed");
    }

    fn forget(&mut self) {
        self.sent.clear();
        self.state = State::Good;
    }
}

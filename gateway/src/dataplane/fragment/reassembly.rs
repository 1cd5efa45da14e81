//! Reassembly (RFC 791 section 3.2, RFC 8200 section 4.5), in any order.
//!
//! Bounds: datagrams, octets, pieces per datagram, and time. At the bound of datagrams or octets the oldest unfinished
//! datagram is given up. A fragment that overlaps another one refuses its whole datagram for the rest of its time
//! (RFC 5722, for IPv4 too), and so does one that tears the transport header apart (RFC 1858, RFC 3128, RFC 7112); an
//! exact repetition is ignored.

use bytes::{BufMut, BytesMut};
use core::net::IpAddr;
use core::time::Duration;
use std::collections::{BTreeMap, VecDeque};
use webtun_wire::{Instant, MAX_PACKET_LEN};

use crate::dataplane::packet::{Fragment, Headers, Packet, protocol};
use crate::dataplane::{DropReason, checksum};

/// The bounds of a reassembler.
#[derive(Clone, Copy, Debug)]
pub(in crate::dataplane) struct ReassemblyLimits {
    /// Unfinished datagrams.
    pub datagrams: usize,
    /// Octets of their pieces, with [`PIECE_OVERHEAD`] for each.
    pub octets: usize,
    /// How long a datagram may take, from its first fragment on.
    pub timeout: Duration,
}

/// Pieces per datagram. 65,535 octets in pieces of 1280 make 53.
const MAX_PIECES: usize = 256;
/// What a piece is taken to cost besides its octets.
const PIECE_OVERHEAD: usize = 64;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Key {
    source: IpAddr,
    destination: IpAddr,
    /// IPv6 tells datagrams apart without it (RFC 8200 section 4.5): 0 there.
    protocol: u8,
    id: u32,
}

#[derive(Debug)]
struct Datagram {
    since: Instant,
    /// Header of the fragment with offset 0, and where its next-header field lies.
    header: Option<(Box<[u8]>, usize, u8)>,
    pieces: BTreeMap<usize, Box<[u8]>>,
    received: usize,
    /// Known once the last fragment has come.
    len: Option<usize>,
    refused: bool,
}

/// Unfinished datagrams.
#[derive(Debug)]
pub(in crate::dataplane) struct Reassembler {
    limits: ReassemblyLimits,
    datagrams: BTreeMap<Key, Datagram>,
    /// In the order of their beginnings, and so of their ends. A finished datagram leaves its entry behind.
    order: VecDeque<(Instant, Key)>,
    octets: usize,
    /// Datagrams given up for want of room or time since [`Reassembler::take_lost`].
    lost: u64,
}

impl Reassembler {
    pub(in crate::dataplane) fn new(limits: ReassemblyLimits) -> Self {
        Self { limits, datagrams: BTreeMap::new(), order: VecDeque::new(), octets: 0, lost: 0 }
    }

    /// Takes a fragment; returns the datagram where this was the last one missing. `room` is how many octets the caller
    /// has for all that waits here, where that is less than the limit.
    pub(in crate::dataplane) fn push(
        &mut self,
        packet: &Packet,
        fragment: Fragment,
        room: usize,
        now: Instant,
    ) -> Result<Option<Packet>, DropReason> {
        self.expire(now);
        let headers = &packet.headers;
        let protocol = if headers.source.is_ipv4() { headers.protocol } else { 0 };
        let key = Key { source: headers.source, destination: headers.destination, protocol, id: fragment.id };
        if !self.datagrams.contains_key(&key) {
            self.begin(key, now);
        }
        let Some(datagram) = self.datagrams.get_mut(&key) else { return Err(DropReason::FragmentOverflow) };
        let before = datagram.cost();
        let result = datagram.add(packet, fragment);
        let after = datagram.cost();
        let is_whole = result.is_ok() && datagram.is_whole();
        self.octets = self.octets - before + after;
        result?;
        if is_whole && let Some(datagram) = self.datagrams.remove(&key) {
            self.octets -= datagram.cost();
            return datagram.assemble().map(Some);
        }
        self.make_room(key, room.min(self.limits.octets));
        Ok(None)
    }

    /// Gives up what has waited too long.
    pub(in crate::dataplane) fn expire(&mut self, now: Instant) {
        while let Some((since, key)) = self.order.front().copied() {
            if since + self.limits.timeout > now {
                return;
            }
            self.order.pop_front();
            self.give_up(since, key);
        }
    }

    /// When [`Reassembler::expire`] has work to do.
    pub(in crate::dataplane) fn next_timeout(&self) -> Option<Instant> {
        self.order.front().map(|(since, _)| *since + self.limits.timeout)
    }

    /// Octets that wait, as the limit counts them.
    pub(in crate::dataplane) fn octets(&self) -> usize {
        self.octets
    }

    /// How many datagrams have been given up since the last call.
    pub(in crate::dataplane) fn take_lost(&mut self) -> u64 {
        core::mem::take(&mut self.lost)
    }

    fn begin(&mut self, key: Key, now: Instant) {
        while self.datagrams.len() >= self.limits.datagrams {
            if !self.give_up_oldest() {
                break;
            }
        }
        // Finished datagrams leave entries behind; they are swept before they outnumber the rest.
        if self.order.len() > 2 * self.limits.datagrams {
            let datagrams = &self.datagrams;
            self.order.retain(|(since, key)| datagrams.get(key).is_some_and(|d| d.since == *since));
        }
        let datagram =
            Datagram { since: now, header: None, pieces: BTreeMap::new(), received: 0, len: None, refused: false };
        self.octets += datagram.cost();
        self.datagrams.insert(key, datagram);
        self.order.push_back((now, key));
    }

    fn make_room(&mut self, newest: Key, room: usize) {
        while self.octets > room {
            let is_alone = self.datagrams.len() <= 1;
            if !self.give_up_oldest() || is_alone {
                return;
            }
            if !self.datagrams.contains_key(&newest) {
                return;
            }
        }
    }

    fn give_up_oldest(&mut self) -> bool {
        while let Some((since, key)) = self.order.pop_front() {
            if self.give_up(since, key) {
                return true;
            }
        }
        false
    }

    fn give_up(&mut self, since: Instant, key: Key) -> bool {
        let is_current = self.datagrams.get(&key).is_some_and(|datagram| datagram.since == since);
        if is_current && let Some(datagram) = self.datagrams.remove(&key) {
            self.octets -= datagram.cost();
            self.lost += 1;
        }
        is_current
    }
}

impl Datagram {
    fn cost(&self) -> usize {
        let header = self.header.as_ref().map_or(0, |(octets, ..)| octets.len());
        header + self.received + (self.pieces.len() + 1) * PIECE_OVERHEAD
    }

    fn add(&mut self, packet: &Packet, fragment: Fragment) -> Result<(), DropReason> {
        let headers = &packet.headers;
        let piece = &packet.octets[headers.payload..];
        if self.refused {
            return Err(DropReason::FragmentOverlap);
        }
        if let Some(kept) = self.pieces.get(&fragment.offset)
            && **kept == *piece
            && (fragment.more || self.len == Some(fragment.offset + piece.len()))
        {
            return Ok(());
        }
        if tears_header(headers, piece, fragment.offset) {
            self.refuse();
            return Err(DropReason::FragmentTiny);
        }
        if !self.fits(piece, fragment) {
            self.refuse();
            return Err(DropReason::FragmentOverlap);
        }
        if self.pieces.len() >= MAX_PIECES {
            self.refuse();
            return Err(DropReason::FragmentOverflow);
        }
        if fragment.offset == 0 {
            let header_len = if headers.source.is_ipv4() { headers.payload } else { headers.payload - 8 };
            self.header = Some((packet.octets[..header_len].into(), headers.next_header, headers.protocol));
        }
        if !fragment.more {
            self.len = Some(fragment.offset + piece.len());
        }
        self.received += piece.len();
        self.pieces.insert(fragment.offset, piece.into());
        Ok(())
    }

    /// Whether a piece goes together with what is known: no overlap, one end, no hole that cannot be filled.
    fn fits(&self, piece: &[u8], fragment: Fragment) -> bool {
        let (start, end) = (fragment.offset, fragment.offset + piece.len());
        let ragged = fragment.more && !piece.len().is_multiple_of(8);
        if piece.is_empty() || ragged || end > MAX_PACKET_LEN {
            return false;
        }
        let before = self.pieces.range(..start).next_back().is_none_or(|(at, kept)| at + kept.len() <= start);
        let after = self.pieces.range(start..).next().is_none_or(|(at, _)| *at >= end);
        let last = match self.len {
            Some(len) => fragment.more && end <= len,
            None => fragment.more || self.pieces.range(end..).next().is_none(),
        };
        before && after && last
    }

    fn refuse(&mut self) {
        self.refused = true;
        self.pieces.clear();
        self.received = 0;
        self.header = None;
        self.len = None;
    }

    fn is_whole(&self) -> bool {
        !self.refused && self.header.is_some() && self.len == Some(self.received)
    }

    fn assemble(self) -> Result<Packet, DropReason> {
        let (header, next_header, protocol) = self.header.ok_or(DropReason::FragmentOverlap)?;
        let total = header.len() + self.received;
        if total > MAX_PACKET_LEN {
            return Err(DropReason::FragmentOverlap);
        }
        let mut octets = BytesMut::with_capacity(total);
        octets.put_slice(&header);
        for piece in self.pieces.values() {
            octets.put_slice(piece);
        }
        if octets[0] >> 4 == 4 {
            octets[2..4].copy_from_slice(&(total as u16).to_be_bytes());
            octets[6..8].fill(0);
            octets[10..12].fill(0);
            let sum = checksum::checksum(&octets[..header.len()]);
            octets[10..12].copy_from_slice(&sum.to_be_bytes());
        } else {
            octets[4..6].copy_from_slice(&((total - 40) as u16).to_be_bytes());
            octets[next_header] = protocol;
        }
        Ok(Packet { may_fragment: true, ..Packet::parse(octets)? })
    }
}

/// Whether the transport header, or the chain of IPv6 headers before it, is not in one piece with the beginning. It is put
/// together here before anything looks at it; but only who wants to pass filters sends that.
fn tears_header(headers: &Headers, piece: &[u8], offset: usize) -> bool {
    let least = |protocol| match protocol {
        protocol::TCP => 20,
        protocol::UDP | protocol::ICMP | protocol::ICMPV6 => 8,
        _ => 0,
    };
    if offset > 0 {
        // What a first fragment says of later headers may lie elsewhere; this one has no business there.
        return headers.protocol == protocol::TCP && offset < 20;
    }
    match headers.source {
        IpAddr::V4(_) => piece.len() < least(headers.protocol),
        IpAddr::V6(_) => Headers::end_of_chain(headers.protocol, piece)
            .is_none_or(|(protocol, at)| piece.len() < at + least(protocol)),
    }
}

#[cfg(test)]
mod tests {
    use super::super::split::tests::{udp_v4, udp_v6};
    use super::*;
    use crate::dataplane::fragment::split;
    use proptest::prelude::*;

    const LIMITS: ReassemblyLimits =
        ReassemblyLimits { datagrams: 4, octets: 300_000, timeout: Duration::from_secs(30) };

    fn fragments(v6: bool, len: usize) -> (Packet, Vec<BytesMut>) {
        let packet = Packet::parse(if v6 { udp_v6(len) } else { udp_v4(len) }).expect("a packet");
        let pieces = split(&packet, 1500, 7).expect("pieces");
        (packet, pieces)
    }

    fn push(reassembler: &mut Reassembler, piece: &BytesMut, at: u64) -> Result<Option<Packet>, DropReason> {
        let packet = Packet::parse(piece.clone()).expect("a fragment");
        let fragment = packet.headers.fragment.expect("a fragment");
        reassembler.push(&packet, fragment, usize::MAX, Instant::from_millis(at))
    }

    #[test]
    fn an_overlap_refuses_the_datagram_for_good() {
        for v6 in [false, true] {
            let (_, pieces) = fragments(v6, 4000);
            let mut reassembler = Reassembler::new(LIMITS);
            assert!(push(&mut reassembler, &pieces[0], 0).expect("kept").is_none());
            let mut other = pieces[0].clone();
            let last = other.len() - 1;
            other[last] ^= 1;
            assert_eq!(push(&mut reassembler, &other, 1).expect_err("refused"), DropReason::FragmentOverlap);
            for piece in &pieces {
                assert_eq!(push(&mut reassembler, piece, 2).expect_err("refused"), DropReason::FragmentOverlap);
            }
            assert!(push(&mut reassembler, &pieces[0], 30_000).expect("a new datagram").is_none());
        }
    }

    #[test]
    fn time_and_room_are_bounded() {
        let mut reassembler = Reassembler::new(LIMITS);
        let (packet, _) = fragments(false, 4000);
        for id in 0..10 {
            let pieces = split(&packet, 1500, id).expect("pieces");
            assert!(push(&mut reassembler, &pieces[0], u64::from(id)).expect("kept").is_none());
        }
        assert_eq!(reassembler.datagrams.len(), 4);
        assert_eq!(reassembler.take_lost(), 6);
        assert_eq!(reassembler.next_timeout(), Some(Instant::from_millis(30_006)));
        reassembler.expire(Instant::from_millis(60_000));
        assert!(reassembler.datagrams.is_empty());
        assert_eq!((reassembler.octets, reassembler.take_lost(), reassembler.next_timeout()), (0, 4, None));
    }

    #[test]
    fn a_torn_transport_header_refuses_the_datagram() {
        for v6 in [false, true] {
            let mut packet = Packet::parse(if v6 { udp_v6(100) } else { udp_v4(100) }).expect("a packet");
            // As if it were TCP, whose header is longer than the pieces.
            packet.headers.protocol = protocol::TCP;
            if !v6 {
                packet.octets[9] = protocol::TCP;
            }
            let mtu = packet.headers.payload + if v6 { 8 } else { 0 } + 16;
            let pieces = split(&packet, mtu, 7).expect("pieces");
            let mut reassembler = Reassembler::new(LIMITS);
            assert_eq!(push(&mut reassembler, &pieces[0], 0).expect_err("too small"), DropReason::FragmentTiny);
            assert_eq!(push(&mut reassembler, &pieces[1], 0).expect_err("refused"), DropReason::FragmentOverlap);
            let mut reassembler = Reassembler::new(LIMITS);
            assert_eq!(push(&mut reassembler, &pieces[1], 0).expect_err("inside"), DropReason::FragmentTiny);
        }
    }

    #[test]
    fn a_caller_with_less_room_gives_up_more() {
        let mut reassembler = Reassembler::new(LIMITS);
        let (packet, _) = fragments(false, 4000);
        let first = |id| Packet::parse(split(&packet, 1500, id).expect("pieces").swap_remove(0)).expect("a fragment");
        for (id, room, kept) in [(1, usize::MAX, 1), (2, usize::MAX, 2), (3, 4000, 2), (4, 2000, 1), (5, 0, 0)] {
            let packet = first(id);
            let fragment = packet.headers.fragment.expect("a fragment");
            let whole = reassembler.push(&packet, fragment, room, Instant::ZERO).expect("kept or given up");
            assert!(whole.is_none());
            assert_eq!(reassembler.datagrams.len(), kept, "room for {room}");
            assert!(reassembler.octets() <= room);
        }
    }

    proptest! {
        #[test]
        fn any_order_with_repetitions_gives_the_datagram(
            v6 in any::<bool>(),
            len in 1500usize..65_000,
            order in proptest::collection::vec(any::<proptest::sample::Index>(), 0..80),
        ) {
            let (packet, pieces) = fragments(v6, len);
            let mut reassembler = Reassembler::new(LIMITS);
            let mut whole = None;
            let chosen: Vec<_> = order.iter().map(|index| index.index(pieces.len())).chain(0..pieces.len()).collect();
            for index in chosen {
                if whole.is_none() {
                    whole = push(&mut reassembler, &pieces[index], 0).expect("no overlap");
                }
            }
            let whole = whole.expect("all pieces were given");
            prop_assert_eq!(&whole.octets[whole.headers.payload..], &packet.octets[packet.headers.payload..]);
            prop_assert_eq!(whole.headers.transport, packet.headers.transport);
            prop_assert_eq!(reassembler.octets, 0);
        }
    }
}

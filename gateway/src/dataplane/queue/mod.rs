//! Packets that wait for a session's connection.
//!
//! Flows take turns (deficit round robin, RFC 8290 section 3.4 without its delay control), those that begin first, so that a
//! download does not make a ping wait, and at the bound it is the flow with the most waiting octets that loses.

mod flow_key;
mod item;
mod lane;
mod slots;
mod turns;

use bytes::BytesMut;
use core::hash::BuildHasher;
use foldhash::fast::FixedState;
use webtun_wire::{Instant, OffloadHeader};

pub(super) use self::item::{Content, PACKET_OVERHEAD, Queued};

use self::flow_key::FlowKey;
use self::lane::Lane;
use self::slots::{Chain, Slots};
use self::turns::Turns;
use super::{DropReason, offload};

/// Lanes that flows are sorted into by their hash. Those behind them are for streams, which lose nothing at the bound.
const LANES: usize = Turns::LANES;
const PACKET_LANES: usize = LANES / 4 * 3;
/// Up to this length, what of a stream waits behind each other becomes one piece: a server that sends octet by octet must not fill
/// memory with what each piece costs.
const GATHERED: usize = 16 * 1024;
/// What a lane may send per turn, in octets; larger packets wait for several turns. The size of two packets on most paths,
/// so that flows of small packets do not wait for each other.
const QUANTUM: usize = 3000;
/// On a connection that is fast a turn is longer, up to two packets of many segments: a message of one flow costs a client
/// less than one of many. This is the share of a message's room.
const LONG_TURN: usize = 8;
const LONGEST_TURN: usize = 128 * 1024;

/// A session's downlink queue, bounded in octets.
///
/// At the bound the newest packet of the flow that has the most waiting is dropped, connected or not: the earlier ones are
/// those that a receiver needs first, and TCP takes the loss at the end of its flight as the signal to slow down.
#[derive(Debug)]
pub(super) struct Queue {
    lanes: Vec<Lane>,
    /// The lanes that have packets, in the order of their turns.
    turns: Turns,
    /// What a lane may send per turn that has had one.
    quantum: usize,
    packets: Slots,
    hasher: FixedState,
    octets: usize,
    /// Of those, what streams have.
    stream_octets: usize,
    stream_items: usize,
    /// What of streams has left since it was asked for.
    left: Vec<(Content, usize)>,
    limit: usize,
    /// No packet leaves before.
    hold_until: Option<Instant>,
    /// Packets and octets that may leave; the last packet may exceed it.
    room: [u64; 2],
    /// Packets of many segments are cut where they have more octets.
    longest: usize,
    /// Segments that wait behind each other become one packet, for a client that takes such.
    coalesces: bool,
}

impl Queue {
    /// The seed keeps strangers from choosing flows that share a lane with others.
    pub(super) fn new(limit: usize, seed: u64) -> Self {
        Self {
            lanes: Vec::new(),
            turns: Turns::default(),
            quantum: QUANTUM,
            packets: Slots::default(),
            hasher: FixedState::with_seed(seed),
            octets: 0,
            stream_octets: 0,
            stream_items: 0,
            left: Vec::new(),
            limit,
            hold_until: None,
            room: [u64::MAX; 2],
            longest: usize::MAX,
            coalesces: false,
        }
    }

    /// Takes a packet. Returns how many were dropped for it.
    ///
    /// # Errors
    ///
    /// [`DropReason::QueueFull`] where it is this one that is dropped.
    pub(super) fn push(&mut self, packet: BytesMut, offload: OffloadHeader, now: Instant) -> Result<u64, DropReason> {
        let flow = self.hasher.hash_one(FlowKey(&packet));
        let number = lane::choose(&mut self.lanes()[..PACKET_LANES], flow);
        let lane = self.begin(number);
        if self.coalesces && self.octets - self.stream_octets + packet.len() <= self.limit {
            let lane = &mut self.lanes[lane];
            let longest = self.longest;
            let growth = |it: &mut Queued| {
                let before = it.cost();
                let is_taken = offload::coalesce(&mut it.packet, &mut it.offload, &packet, &offload, longest);
                is_taken.then(|| it.cost() - before)
            };
            if let Some(growth) = self.packets.back_mut(lane.packets).and_then(growth) {
                lane.octets += growth;
                self.octets += growth;
                return Ok(0);
            }
        }
        self.append(lane, Queued { content: Content::Packet, packet, offload, since: now });
        let mut dropped = 0;
        while self.octets - self.stream_octets > self.limit {
            let of_packets = self.turns.iter().filter(|lane| usize::from(*lane) < PACKET_LANES);
            let fattest = of_packets.max_by_key(|lane| self.lanes[usize::from(*lane)].octets);
            let Some(fattest) = fattest else { break };
            self.drop_newest(fattest);
            if fattest == number {
                return Err(DropReason::QueueFull);
            }
            dropped += 1;
        }
        Ok(dropped)
    }

    /// Takes a piece of a stream, beyond the limit: whoever reads streams sees to it that they do not fill the queue.
    pub(super) fn push_stream(&mut self, stream: u64, content: Content, data: BytesMut, now: Instant) {
        let lanes = (LANES - PACKET_LANES) as u64;
        let number = PACKET_LANES as u8 + (stream % lanes) as u8;
        let lane = self.begin(number);
        let is_gathered = |last: &&mut Queued| last.content == content && last.packet.len() + data.len() <= GATHERED;
        let last = self.packets.back_mut(self.lanes[lane].packets).filter(is_gathered);
        if let (Content::Data(_), Some(last)) = (content, last) {
            last.packet.extend_from_slice(&data);
            self.lanes[lane].octets += data.len();
            self.octets += data.len();
            self.stream_octets += data.len();
            return;
        }
        let queued = Queued { content, packet: data, offload: OffloadHeader::default(), since: now };
        self.stream_octets += queued.cost();
        self.stream_items += 1;
        self.append(lane, queued);
    }

    /// A session that was never sent anything has none.
    fn lanes(&mut self) -> &mut [Lane] {
        if self.lanes.is_empty() {
            self.lanes.resize(LANES, Lane::default());
        }
        &mut self.lanes
    }

    /// A lane that is about to have something.
    fn begin(&mut self, number: u8) -> usize {
        let index = usize::from(number);
        if self.lanes()[index].packets.is_empty() && self.turns.begin(number) {
            self.lanes[index].credit = QUANTUM;
        }
        index
    }

    fn append(&mut self, lane: usize, queued: Queued) {
        let lane = &mut self.lanes[lane];
        lane.octets += queued.cost();
        self.octets += queued.cost();
        self.packets.push_back(&mut lane.packets, queued);
    }

    fn drop_newest(&mut self, number: u8) {
        let lane = &mut self.lanes[usize::from(number)];
        let Some(queued) = self.packets.pop_back(&mut lane.packets) else { return };
        lane.octets -= queued.cost();
        self.octets -= queued.cost();
        if lane.packets.is_empty() {
            self.turns.forget(number);
        }
    }

    /// The packet that leaves next, and its lane.
    pub(super) fn front(&mut self) -> Option<(u8, &Queued)> {
        let mut passed = 0;
        loop {
            let number = self.turns.first()?;
            self.cut_first(number);
            let lane = &mut self.lanes[usize::from(number)];
            let Some(debt) = lane.debt(&self.packets) else {
                self.turns.rest();
                continue;
            };
            if debt == 0 {
                return self.packets.front(lane.packets).map(|queued| (number, queued));
            }
            lane.credit += self.quantum;
            self.turns.go_on();
            passed += 1;
            if passed >= self.turns.len() {
                self.skip_rounds();
                passed = 0;
            }
        }
    }

    /// Cuts a lane's first packet where it is longer than it may be. The headers of the pieces count beyond the limit.
    fn cut_first(&mut self, number: u8) {
        let lane = &mut self.lanes[usize::from(number)];
        let is_long = |it: &&Queued| it.packet.len() > self.longest && it.offload.segmentation.is_some();
        if self.packets.front(lane.packets).filter(is_long).is_none() {
            return;
        }
        let Some(whole) = self.packets.pop_front(&mut lane.packets) else { return };
        let (since, before) = (whole.since, whole.cost());
        let pieces = offload::cut(whole.packet, &whole.offload, self.longest);
        let content = Content::Packet;
        let pieces = pieces.into_iter().map(|(packet, offload)| Queued { content, packet, offload, since });
        let mut after = 0;
        for piece in pieces.rev() {
            after += piece.cost();
            self.packets.push_front(&mut lane.packets, piece);
        }
        lane.octets = lane.octets + after - before;
        self.octets = self.octets + after - before;
    }

    /// Passes over the rounds in which no lane would have earned enough: packets of 64 KiB take more than twenty.
    fn skip_rounds(&mut self) {
        let debts = self.turns.iter().filter_map(|number| self.lanes[usize::from(number)].debt(&self.packets));
        let earned = debts.min().unwrap_or(0).div_ceil(self.quantum) * self.quantum;
        for number in self.turns.iter() {
            self.lanes[usize::from(number)].credit += earned;
        }
    }

    /// Takes `len` octets of the stream that [`Queue::front`] has shown; all of them take it out of the queue.
    pub(super) fn pop_stream(&mut self, len: usize) -> BytesMut {
        let Some((number, queued)) = self.front() else { return BytesMut::new() };
        let content = queued.content;
        if len >= queued.packet.len() {
            let all = self.pop().map_or_else(BytesMut::new, |queued| queued.packet);
            self.left.push((content, all.len()));
            return all;
        }
        let lane = &mut self.lanes[usize::from(number)];
        lane.credit -= len;
        lane.octets -= len;
        self.octets -= len;
        self.stream_octets -= len;
        self.room = [self.room[0], self.room[1].saturating_sub(len as u64)];
        self.left.push((content, len));
        self.packets.front_mut(lane.packets).map_or_else(BytesMut::new, |queued| queued.packet.split_to(len))
    }

    /// How many pieces of streams have left since [`Queue::take_left`], and their octets.
    pub(super) fn streams_left(&self) -> (u64, u64) {
        (self.left.len() as u64, self.left.iter().map(|(_, octets)| *octets as u64).sum())
    }

    /// What of streams has left since this was last asked.
    pub(super) fn take_left(&mut self) -> Vec<(Content, usize)> {
        core::mem::take(&mut self.left)
    }

    /// The longest piece of a stream that may leave at once.
    pub(super) fn longest(&self) -> usize {
        self.longest
    }

    /// How many pieces of streams it holds.
    pub(super) fn stream_items(&self) -> usize {
        self.stream_items
    }

    /// Takes the packet that [`Queue::front`] has shown.
    pub(super) fn pop(&mut self) -> Option<Queued> {
        let (number, queued) = self.front()?;
        let len = queued.packet.len();
        let is_stream = queued.content != Content::Packet;
        let lane = &mut self.lanes[usize::from(number)];
        lane.credit -= len;
        lane.octets -= len + PACKET_OVERHEAD;
        self.octets -= len + PACKET_OVERHEAD;
        if is_stream {
            self.stream_octets -= len + PACKET_OVERHEAD;
            self.stream_items -= 1;
        }
        self.room = [self.room[0].saturating_sub(1), self.room[1].saturating_sub(len as u64)];
        let queued = self.packets.pop_front(&mut lane.packets);
        if lane.packets.is_empty() {
            self.turns.rest();
        }
        queued
    }

    /// The client takes plain packets alone from now on: what waits is cut into those. Their headers count beyond the
    /// limit, by a tenth at most where segments are as large as usual.
    pub(super) fn make_plain(&mut self) {
        let mut packets = Slots::default();
        self.octets = 0;
        for lane in &mut self.lanes {
            let mut chain = Chain::default();
            lane.octets = 0;
            while let Some(Queued { content, packet, offload, since }) = self.packets.pop_front(&mut lane.packets) {
                let pieces = if content == Content::Packet { offload::plain(packet, &offload) } else { vec![packet] };
                for packet in pieces {
                    let queued = Queued { content, packet, offload: OffloadHeader::default(), since };
                    lane.octets += queued.cost();
                    packets.push_back(&mut chain, queued);
                }
            }
            lane.packets = chain;
            self.octets += lane.octets;
        }
        self.packets = packets;
    }

    /// Something from each cache line of its lanes; what it returns means nothing.
    pub(super) fn look_at_lanes(&self) -> u64 {
        self.lanes.iter().step_by(2).fold(0, |sum, lane| sum ^ lane.octets as u64)
    }

    /// Whether a packet may leave.
    pub(super) fn is_ready(&self, now: Instant) -> bool {
        self.octets > 0 && !self.room.contains(&0) && self.hold_until.is_none_or(|until| until <= now)
    }

    /// Lets at least one packet leave, and so many packets and octets.
    pub(super) fn set_room(&mut self, room: [u64; 2]) {
        self.room = room.map(|room| room.max(1));
    }

    /// Messages have so much room: packets of many segments leave in pieces of at most so many octets, or of one segment, and
    /// turns are as long as suits that.
    pub(super) fn set_message_room(&mut self, octets: usize) {
        self.longest = octets;
        self.quantum = (octets / LONG_TURN).clamp(QUANTUM, LONGEST_TURN);
    }

    /// Whether segments that wait behind each other are put together. None waits for another one.
    pub(super) fn set_coalescing(&mut self, wanted: bool) {
        self.coalesces = wanted;
    }

    /// Lets no packet leave before.
    pub(super) fn hold(&mut self, until: Option<Instant>) {
        self.hold_until = until;
    }

    /// Ends a hold whose time has come.
    pub(super) fn release(&mut self, now: Instant) {
        self.hold_until.take_if(|until| *until <= now);
    }

    /// When a hold ends.
    pub(super) fn next_timeout(&self) -> Option<Instant> {
        self.hold_until
    }

    /// What the flow has whose turn it is.
    pub(super) fn octets_of_first(&self) -> usize {
        self.turns.first().map_or(0, |first| self.lanes[usize::from(first)].octets)
    }

    /// About how long a message becomes that the next flow begins, and that it does not share where it has so many octets.
    pub(super) fn octets_of_next(&self, of_its_own: usize) -> usize {
        let all = self.octets_of_first().max(self.octets.min(of_its_own)) + PACKET_OVERHEAD;
        all.min(usize::try_from(self.room[1]).unwrap_or(usize::MAX).saturating_add(of_its_own))
    }

    /// What it holds, in octets, with the overhead of each packet.
    pub(super) fn octets(&self) -> usize {
        self.octets
    }
}

#[cfg(test)]
mod tests;

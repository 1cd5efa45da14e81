//! Standing in for others: a SYN to whomever waits until the caller knows what the real one says.

use std::collections::VecDeque;

use etherparse::TcpHeaderSlice;
use foldhash::fast::FixedState;
use webtun_wire::Instant;

use super::Host;
use super::ingress::Segment;
use crate::demux::{Flow, SeededMap};
use crate::outbound::Outbound;
use crate::socket::icmp;
use crate::socket::tcp::Owner;
use crate::{Refusal, SocketId, TcpOptions, TcpRequest, packet};

/// Requests without an answer. A SYN beyond it is dropped, so that the peer tries again.
const CAPACITY: usize = 4096;

/// The longest SYN that is kept, in octets: one with all options that there is room for, and no data (RFC 7413) worth the
/// memory.
const LONGEST: usize = 256;

#[derive(Debug)]
struct Pending {
    flow: Flow,
    /// The whole packet.
    syn: Vec<u8>,
}

/// Connections that are neither admitted nor refused.
pub(super) struct Requests {
    pending: SeededMap<SocketId, Pending>,
    flows: SeededMap<Flow, SocketId>,
    /// Not shown to the caller yet.
    news: VecDeque<SocketId>,
}

impl Requests {
    pub fn new(seed: u64) -> Self {
        let flows = SeededMap::with_hasher(FixedState::with_seed(seed));
        Self { pending: SeededMap::default(), flows, news: VecDeque::new() }
    }

    pub fn contains(&self, id: SocketId) -> bool {
        self.pending.contains_key(&id)
    }

    pub fn len(&self) -> usize {
        self.pending.len()
    }

    /// The peer has changed its mind.
    pub fn withdraw(&mut self, flow: &Flow) {
        if let Some(id) = self.flows.remove(flow) {
            self.pending.remove(&id);
        }
    }

    fn take(&mut self, id: SocketId) -> Option<Pending> {
        let pending = self.pending.remove(&id)?;
        self.flows.remove(&pending.flow);
        Some(pending)
    }
}

impl Host {
    /// Keeps a SYN that no listener takes. A repeated one takes the place of the first.
    pub(super) fn request(&mut self, flow: Flow, segment: &Segment<'_>) {
        let known = self.requests.flows.get(&flow).copied();
        let has_room = known.is_some() || (self.requests.len() < CAPACITY && self.has_room_for_socket());
        if segment.packet.len() > LONGEST || !has_room {
            self.stats.syns_dropped += 1;
            return;
        }
        let id = known.unwrap_or_else(|| self.new_id());
        self.requests.pending.insert(id, Pending { flow, syn: segment.packet.to_vec() });
        if known.is_none() {
            self.requests.flows.insert(flow, id);
            self.requests.news.push_back(id);
        }
    }

    /// The next connection that somebody wants. It is answered by [`tcp_admit`](Self::tcp_admit) or
    /// [`tcp_refuse`](Self::tcp_refuse), sooner or later.
    pub fn poll_request(&mut self) -> Option<TcpRequest> {
        loop {
            let id = self.requests.news.pop_front()?;
            if let Some(Pending { flow, .. }) = self.requests.pending.get(&id) {
                return Some(TcpRequest { id, from: flow.remote, to: flow.local });
            }
        }
    }

    /// Answers the SYN of a request; `TcpConnected` or `TcpConnectFailed` follows. `local` of the options means nothing
    /// here. False where the peer has changed its mind meanwhile, or there is no memory: the id then names nothing.
    pub fn tcp_admit(&mut self, id: SocketId, options: &TcpOptions, now: Instant) -> bool {
        let Some(Pending { flow, syn }) = self.requests.take(id) else { return false };
        let Some(parsed) = packet::parse(&syn) else { return false };
        let Ok(header) = TcpHeaderSlice::from_slice(parsed.payload) else { return false };
        let segment = Segment { packet: &syn, parsed: &parsed, header, is_many: false };
        self.open_by_syn(id, flow, Owner::Program, options, &segment, now)
    }

    /// Lets nothing come of a request.
    pub fn tcp_refuse(&mut self, id: SocketId, refusal: Refusal, now: Instant) {
        let Some(Pending { syn, .. }) = self.requests.take(id) else { return };
        let Some(parsed) = packet::parse(&syn) else { return };
        match refusal {
            Refusal::Reset => self.engine.ingress(&syn, &parsed, None, &mut self.queue, now),
            Refusal::Unreachable(why) => {
                if self.reports.allow(now)
                    && let Some(reply) = icmp::unreachable(why, &syn, &parsed)
                {
                    self.queue.push_reply(Outbound::Complete(reply));
                }
            }
            Refusal::Silence => {}
        }
    }
}

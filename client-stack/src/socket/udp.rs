use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::Duration;

use webtun_wire::Instant;

use crate::demux::Binding;
use crate::packet::HOP_LIMIT;
use crate::{Datagram, UdpOptions};

/// What an empty datagram costs in the receive buffer, so that many of them are bounded too.
const OVERHEAD: usize = 64;

/// A denial may be told twice, by FLOW_DENIED and by ICMP; within this time the second is known.
const SAME_DENIAL: Duration = Duration::from_secs(1);

/// Who said last that datagrams to a peer are denied.
struct Denial {
    remote: SocketAddr,
    by_gateway: bool,
    at: Instant,
}

/// What the datagrams of a socket are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Content {
    Udp,
    /// Whole ICMP messages: echo requests out, echo replies in. The port is their identifier.
    Echo,
}

/// A UDP socket, or one for echo requests. smoltcp has no part in it: datagrams come whole from the tunnel and go whole into it.
pub(crate) struct UdpSocket {
    pub binding: Binding,
    pub content: Content,
    /// TTL or hop limit of what is sent.
    pub hop_limit: u8,
    queue: VecDeque<Datagram>,
    octets: usize,
    limit: usize,
    dropped: u64,
    last_denial: Option<Denial>,
    /// True while a `udp_send` has found no room and was not told of any since.
    pub write_blocked: bool,
}

impl UdpSocket {
    pub fn new(binding: Binding, content: Content, options: UdpOptions) -> Self {
        Self {
            binding,
            content,
            hop_limit: HOP_LIMIT,
            queue: VecDeque::new(),
            octets: 0,
            limit: options.receive_buffer,
            dropped: 0,
            last_denial: None,
            write_blocked: false,
        }
    }

    /// Takes a datagram; `None` where the buffer is full, else whether the socket turned readable. An empty buffer
    /// takes a datagram of any size.
    pub fn receive(&mut self, datagram: Datagram) -> Option<bool> {
        let cost = datagram.payload.len() + OVERHEAD;
        if !self.queue.is_empty() && self.octets + cost > self.limit {
            self.dropped += 1;
            return None;
        }
        self.octets += cost;
        self.queue.push_back(datagram);
        Some(self.queue.len() == 1)
    }

    /// Notes a denial; false where the other way of telling it has told it already.
    pub fn note_denial(&mut self, remote: SocketAddr, by_gateway: bool, now: Instant) -> bool {
        let told =
            |last: &Denial| last.remote == remote && last.by_gateway != by_gateway && now - last.at < SAME_DENIAL;
        if self.last_denial.as_ref().is_some_and(told) {
            return false;
        }
        self.last_denial = Some(Denial { remote, by_gateway, at: now });
        true
    }

    pub fn recv(&mut self) -> Option<Datagram> {
        let datagram = self.queue.pop_front()?;
        self.octets -= datagram.payload.len() + OVERHEAD;
        Some(datagram)
    }

    pub fn next_len(&self) -> Option<usize> {
        self.queue.front().map(|datagram| datagram.payload.len())
    }

    pub fn dropped(&self) -> u64 {
        self.dropped
    }
}

use std::collections::VecDeque;

use crate::demux::Binding;
use crate::{Datagram, UdpOptions};

/// What an empty datagram costs in the receive buffer, so that many of them are bounded too.
const OVERHEAD: usize = 64;

/// A UDP socket. smoltcp has no part in it: datagrams come whole from the tunnel and go whole into it.
pub(crate) struct UdpSocket {
    pub binding: Binding,
    queue: VecDeque<Datagram>,
    octets: usize,
    limit: usize,
    dropped: u64,
    /// True while a `udp_send` has found no room and was not told of any since.
    pub write_blocked: bool,
}

impl UdpSocket {
    pub fn new(binding: Binding, options: UdpOptions) -> Self {
        let limit = options.receive_buffer;
        Self { binding, queue: VecDeque::new(), octets: 0, limit, dropped: 0, write_blocked: false }
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

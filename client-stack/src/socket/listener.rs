use std::collections::VecDeque;

use crate::demux::Binding;
use crate::{ListenOptions, SocketId};

/// A TCP listener. It has no socket of smoltcp's: one is made when a SYN comes, which is what a backlog is.
pub(crate) struct Listener {
    pub binding: Binding,
    pub options: ListenOptions,
    /// Connections whose handshake is not over.
    pub half_open: usize,
    /// Connections that wait for `tcp_accept`.
    pub accept_queue: VecDeque<SocketId>,
}

impl Listener {
    pub fn new(binding: Binding, options: ListenOptions) -> Self {
        Self { binding, options, half_open: 0, accept_queue: VecDeque::new() }
    }

    /// True where one more SYN is answered.
    pub fn has_room(&self) -> bool {
        self.half_open + self.accept_queue.len() < self.options.backlog.max(1)
    }
}

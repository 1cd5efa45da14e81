//! WebSockets.

use bytes::Bytes;
use std::collections::VecDeque;
use std::time::Duration;
use webtun_gateway::dataplane::SessionId;
use webtun_wire::Instant;

/// How the WebSocket of a client behaves: in order and whole, as TCP makes it, until it is cut.
#[derive(Clone, Debug)]
pub struct TunnelConfig {
    /// Time on the way, each direction.
    pub latency: Duration,
    /// How many octets a direction takes before the sender has to wait; one more message may lie over it.
    pub capacity: usize,
    /// Octets per second, each direction; `None` is unlimited.
    pub rate: Option<u64>,
}

impl Default for TunnelConfig {
    /// 10 ms, 1 MiB, unlimited.
    fn default() -> Self {
        Self { latency: Duration::from_millis(10), capacity: 1 << 20, rate: None }
    }
}

/// What comes out of a pipe.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Item {
    /// A binary message.
    Message(Bytes),
    /// The other end has closed the connection.
    Close,
}

/// One direction of a connection.
#[derive(Debug, Default)]
pub struct Pipe {
    queue: VecDeque<(Instant, Item)>,
    octets: usize,
    free_at: Instant,
    broken: bool,
}

impl Pipe {
    /// True where a sender may hand over one more message.
    pub fn has_room(&self, config: &TunnelConfig) -> bool {
        self.octets < config.capacity
    }

    /// Sends. A broken pipe takes what its buffers hold, as a kernel does, and delivers nothing.
    pub fn send(&mut self, item: Item, config: &TunnelConfig, now: Instant) {
        let len = item_len(&item);
        self.octets += len;
        if self.broken {
            return;
        }
        let mut sent = self.free_at.max(now);
        if let Some(rate) = config.rate {
            sent += Duration::from_secs_f64(len as f64 / rate as f64);
        }
        self.free_at = sent;
        self.queue.push_back((sent + config.latency, item));
    }

    /// What has arrived by `now`.
    pub fn poll(&mut self, now: Instant) -> Option<Item> {
        let (at, _) = self.queue.front()?;
        if *at > now {
            return None;
        }
        let (_, item) = self.queue.pop_front()?;
        self.octets -= item_len(&item);
        Some(item)
    }

    /// When the next item arrives.
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.queue.front().map(|(at, _)| *at)
    }

    /// Octets on the way.
    pub fn octets(&self) -> usize {
        self.octets
    }

    /// Loses everything that is on the way and all that follows.
    pub fn cut(&mut self) {
        self.queue.clear();
        self.broken = true;
    }
}

/// What the gateway's shell knows of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GatewayEnd {
    /// Its first message has not come.
    Fresh,
    /// It carries this session.
    Attached(SessionId),
    /// Over, as the gateway sees it.
    Gone,
}

/// One WebSocket connection, open from the start.
#[derive(Debug)]
pub struct Connection {
    /// Which client it belongs to.
    pub client: usize,
    /// Client to gateway.
    pub up: Pipe,
    /// Gateway to client.
    pub down: Pipe,
    /// False once the client has dropped it or seen its end.
    pub client_end: bool,
    /// The gateway's side.
    pub gateway_end: GatewayEnd,
}

impl Connection {
    /// A connection that has just been opened.
    pub fn new(client: usize) -> Self {
        Self { client, up: Pipe::default(), down: Pipe::default(), client_end: true, gateway_end: GatewayEnd::Fresh }
    }

    /// True where neither end holds it any more.
    pub fn is_over(&self) -> bool {
        !self.client_end && self.gateway_end == GatewayEnd::Gone
    }

    /// When the next message arrives at either end.
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.up.poll_timeout().into_iter().chain(self.down.poll_timeout()).min()
    }
}

/// Who notices that a connection is cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cut {
    /// Both ends at once.
    Both,
    /// The client; the gateway holds a dead connection.
    ClientNotices,
    /// The gateway; the client holds a dead connection.
    GatewayNotices,
    /// Nobody: each has to find out by silence.
    Silent,
}

fn item_len(item: &Item) -> usize {
    match item {
        Item::Message(message) => message.len(),
        Item::Close => 0,
    }
}

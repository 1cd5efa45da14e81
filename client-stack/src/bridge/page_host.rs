//! A stack beside the segment as a host on it: the gateway's end of its tunnel, without a gateway.
//!
//! The transport between the two is a call: it keeps the order, loses nothing and is never cut. So no message to the stack
//! is numbered or kept, nothing is timed, and a session is never gone on with.

use std::collections::VecDeque;

use bytes::Bytes;
use webtun_wire::{
    Accept, AssignedAddress, BatchWriter, Capsule, Close, CloseCode, DnsAssign, Instant, Limits, MAX_MESSAGE_LEN,
    PortMapRequest, PortMapResponse, PortMapResult, Prefix, ReceiveWindow, Session, VERSION, capsules,
};

use super::{Bridge, PortError, PortId, SegmentConfig, SegmentHost};

/// Refusals of contexts and ports that may wait. A stack that asks for more gets fewer.
const MAX_ANSWERS: usize = 64;
/// PONGs that may wait. Of more the oldest are left out: a later one tells what they would have told.
const MAX_PONGS: usize = 16;
/// Octets of a message to the stack after which no further packet is put into it.
const MESSAGE_LEN: usize = 64 << 10;
/// What the stack may have unacknowledged. All that it sends is acknowledged at once.
const UNACKNOWLEDGED: u32 = 1 << 20;
/// Nothing can be silent here without being gone.
const PING_INTERVAL_MS: u32 = 3_600_000;

/// Where the stack is with its tunnel.
#[derive(Debug, PartialEq, Eq)]
enum Phase {
    AwaitsHello,
    Open,
    Closed,
}

/// The tunnel of one stack.
#[derive(Debug)]
pub(super) struct PageHost {
    host: SegmentHost,
    phase: Phase,
    window: ReceiveWindow,
    /// Octets of all messages so far.
    received: u64,
    answers: VecDeque<Vec<u8>>,
    /// The PINGs to be answered.
    pings: VecDeque<u64>,
}

impl PageHost {
    fn new(host: SegmentHost) -> Self {
        let window = ReceiveWindow::new();
        let (answers, pings) = (VecDeque::new(), VecDeque::new());
        Self { host, phase: Phase::AwaitsHello, window, received: 0, answers, pings }
    }

    fn say(&mut self, capsule: &Capsule<'_>) {
        if self.answers.len() < MAX_ANSWERS {
            let mut octets = Vec::with_capacity(capsule.encoded_len());
            capsule.encode(&mut octets);
            self.answers.push_back(octets);
        }
    }

    fn close(&mut self, code: CloseCode, reason: &str) {
        if self.phase == Phase::Closed {
            return;
        }
        self.phase = Phase::Closed;
        // The last word, whatever waits before it.
        self.answers.clear();
        self.say(&Capsule::Close(Close { code, retry_after_ms: 0, reason }));
    }

    /// Takes one capsule of a message of `len` octets.
    fn take<'a>(&mut self, capsule: Capsule<'a>, len: usize, first: bool, config: &SegmentConfig) -> Taken<'a> {
        match self.phase {
            Phase::Open => return self.take_open(capsule, len, first),
            Phase::Closed => return Taken::Skip,
            Phase::AwaitsHello => {}
        }
        match capsule {
            Capsule::Hello(hello) if first && !(hello.min_version..=hello.max_version).contains(&VERSION) => {
                self.close(CloseCode::Version, "this segment speaks version 1");
            }
            Capsule::Hello(hello) if first && hello.resume.is_some() => {
                self.close(CloseCode::UnknownSession, "no such session");
            }
            Capsule::Hello(_) if first => self.welcome(config),
            _ => self.close(CloseCode::Protocol, "HELLO comes first"),
        }
        Taken::Done
    }

    fn take_open<'a>(&mut self, capsule: Capsule<'a>, len: usize, first: bool) -> Taken<'a> {
        match capsule {
            Capsule::Datagram { context: 0, payload } => return Taken::Packet(payload),
            Capsule::Sequence { number } if first => match self.window.accept(number, len) {
                Ok(Accept::New) => {}
                Ok(Accept::Duplicate) => return Taken::Skip,
                Err(_) => self.close(CloseCode::Protocol, "a message is missing"),
            },
            Capsule::Ping { opaque } => {
                if self.pings.len() >= MAX_PONGS {
                    self.pings.pop_front();
                }
                self.pings.push_back(opaque);
            }
            Capsule::ContextAssign { context, .. } => self.say(&Capsule::ContextClose { context }),
            Capsule::PortMapRequest(request) => self.say(&Capsule::PortMapResponse(refused(&request))),
            Capsule::Close(_) => {
                self.phase = Phase::Closed;
                self.answers.clear();
            }
            // Contexts that were refused; addresses are not chosen; there are no streams; the rest is for others.
            Capsule::Datagram { .. }
            | Capsule::StreamLimits(_)
            | Capsule::AddressRequest(_)
            | Capsule::ContextClose { .. }
            | Capsule::Pong { .. }
            | Capsule::Ack { next: 0 }
            | Capsule::Unknown { .. } => {}
            _ => self.close(CloseCode::Protocol, "capsule out of place"),
        }
        Taken::Done
    }

    /// The handshake of a gateway (wire specification, section 4).
    fn welcome(&mut self, config: &SegmentConfig) {
        let SegmentHost { v4, v6, .. } = self.host;
        let assigned = |address, length| AssignedAddress { request_id: 0, prefix: Prefix { address, length } };
        let session =
            Session { version: VERSION, resumed: false, session_id: [0; 16], secret: [0; 32], grace_ms: 0, next: 0 };
        let limits = Limits {
            mtu: config.mtu.into(),
            message_len: MAX_MESSAGE_LEN as u32,
            unacknowledged: UNACKNOWLEDGED,
            ping_interval_ms: PING_INTERVAL_MS,
        };
        let servers = config.dns_v4.iter().map(|it| (*it).into()).collect();
        let handshake = [
            Capsule::Session(session),
            Capsule::Limits(limits),
            Capsule::AddressAssign(vec![assigned(v4.into(), config.prefix_len), assigned(v6.into(), 64)]),
            Capsule::DnsAssign(DnsAssign { servers, search: Vec::new() }),
        ];
        let mut message = Vec::new();
        handshake.iter().for_each(|capsule| capsule.encode(&mut message));
        self.answers.push_back(message);
        self.phase = Phase::Open;
    }
}

/// What became of a capsule.
enum Taken<'a> {
    Done,
    /// It is a packet for the segment.
    Packet(&'a [u8]),
    /// The rest of the message is to be skipped.
    Skip,
}

/// External ports are asked for by whoever has the bridge.
fn refused(request: &PortMapRequest) -> PortMapResponse {
    PortMapResponse {
        request_id: request.request_id,
        result: PortMapResult::NotAuthorized,
        external_address: std::net::Ipv4Addr::UNSPECIFIED.into(),
        external_port: 0,
        lifetime: 0,
    }
}

impl Bridge {
    /// Makes a [`Stack`](crate::Stack) a host on the segment, as [`Bridge::add_host`] does with one that speaks packets:
    /// what its tunnel says goes in by [`Bridge::handle_page_message`], and what it is to hear comes by
    /// [`Bridge::poll_page_message`]. It hears of its address when its tunnel's transport is open, whether or not there is a
    /// gateway; [`Bridge::poll_port`] names its port when there is something for it.
    ///
    /// # Errors
    ///
    /// [`PortError`] where there is no room or no address.
    pub fn add_page(&mut self, owner: u32, now: Instant) -> Result<SegmentHost, PortError> {
        let host = self.add_host(owner, now)?;
        self.pages.insert(host.port, PageHost::new(host));
        Ok(host)
    }

    /// The tunnels of all stacks are over.
    pub(super) fn close_pages(&mut self) {
        for (port, page) in &mut self.pages {
            page.close(CloseCode::Normal, "the segment is closed");
            self.segment.announce(*port);
        }
    }

    /// A message of a stack's tunnel.
    pub fn handle_page_message(&mut self, port: PortId, message: &[u8], now: Instant) {
        let Some(page) = self.pages.get_mut(&port) else { return };
        page.received += message.len() as u64;
        let mut first = true;
        for capsule in capsules(message) {
            let Ok(capsule) = capsule else {
                page.close(CloseCode::Protocol, "malformed message");
                break;
            };
            match page.take(capsule, message.len(), std::mem::take(&mut first), self.segment.config()) {
                Taken::Done => {}
                Taken::Packet(packet) => self.segment.handle_host_packet(port, packet, now),
                Taken::Skip => break,
            }
        }
        self.segment.announce(port);
        self.settle(now);
    }

    /// The next message for a stack's tunnel; `None` where there is nothing to be said.
    pub fn poll_page_message(&mut self, port: PortId) -> Option<Bytes> {
        let page = self.pages.get_mut(&port)?;
        if let Some(first) = page.answers.pop_front() {
            return Some(first.into());
        }
        if page.phase != Phase::Open {
            return None;
        }
        let mut batch = BatchWriter::new(MAX_MESSAGE_LEN);
        let acknowledges = page.window.ack_pending() && batch.push(&Capsule::Ack { next: page.window.next() });
        if acknowledges {
            page.window.acked();
        }
        let received = page.received;
        for opaque in page.pings.drain(..) {
            // A few small capsules fit any message.
            let _ = batch.push(&Capsule::Pong { opaque, received });
        }
        while batch.len() < MESSAGE_LEN
            && let Some(packet) = self.segment.poll_frame(port)
        {
            // A packet is shorter than what is left of the message.
            let _ = batch.push_packet(0, &packet);
        }
        // An ACK alone does not count as content.
        (acknowledges || !batch.is_empty()).then(|| batch.finish().into())
    }
}

//! The one task that owns a dataplane, its clock, its egress and its inner host. There is one for each shard.
//!
//! Nothing here waits for a client. Messages come by one bounded channel, whose senders stop reading their WebSockets
//! while it is full and take turns at it. Messages go by one short channel per connection, and the next is only made when
//! there is room, so that what a slow client has not taken yet stays in the dataplane's bounded queues. Each turn of the
//! loop first flushes what the last one has caused and then takes a bounded amount of new work.
//!
//! The device's queue in the kernel is everybody's. It is looked at after each turn that clients have had, because a client
//! whose packets are answered at once would otherwise fill it while the rest of its messages is dealt with.
//!
//! Packets for other shards' sessions go by one bounded channel to each shard. Nobody waits there either: where it is full,
//! they are lost, as in a network, and counted.

mod handle;
mod links;
mod placement;
mod shards;

pub use handle::{Command, DriverHandle, LinkEnd, LinkId, Opened};
pub use placement::Place;
pub use shards::Shards;

use super::audit::Audit;
use super::dns::Forwarder;
use super::egress::{BUFFER, Device};
use super::inner::{Answer, InnerHost};
use super::metrics::Snapshot;
use super::pace::MessageRoom;
use super::session::Farewell;
use super::streams::Streams;
use crate::dataplane::{
    Destination, Event, Gateway, Gather, PORTS_TRIED, Peer, SessionId, Transfer, Transmit, close_message,
};
use bytes::{Bytes, BytesMut};
use links::Links;
use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{OwnedSemaphorePermit, mpsc, oneshot};
use tokio::time::sleep_until;
use webtun_wire::{CloseCode, Instant, OffloadHeader};

/// Commands taken per turn.
const COMMANDS_PER_TURN: usize = 16;
/// Octets of messages after which a turn is over: some hundred microseconds of work where the packets are large.
const OCTETS_PER_TURN: usize = 64 * 1024;
/// Packets read per turn: enough to fill a message of 256 KiB from packets of 1,500 octets, and small enough that clients
/// get their turn within a millisecond.
const PACKETS_PER_TURN: usize = 192;
/// Octets of packets read per turn: a message's worth, so that packets of many segments do not overflow a session's queue
/// before its connection has been offered any.
const READ_PER_TURN: usize = 256 * 1024;
/// Packets of other shards taken per turn, and how many wait at most: of the largest size they are 16 MiB.
const TRANSFERS_PER_TURN: usize = 64;
const TRANSFERS_WAITING: usize = 256;
/// The longest wait, where nothing has a deadline.
const IDLE: Duration = Duration::from_secs(3600);

/// Reads the clock that the state machines are told.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    origin: tokio::time::Instant,
}

impl Clock {
    /// A clock that begins now.
    pub fn start() -> Self {
        Self { origin: tokio::time::Instant::now() }
    }

    /// The time.
    pub fn now(self) -> Instant {
        Instant::from_micros(u64::try_from(self.origin.elapsed().as_micros()).unwrap_or(u64::MAX))
    }

    pub(in crate::io) fn deadline(self, at: Instant) -> tokio::time::Instant {
        self.origin + Duration::from_micros(at.as_micros())
    }
}

/// See the module.
pub struct Driver {
    gateway: Gateway,
    egress: Device,
    inner: InnerHost,
    answers: mpsc::Receiver<Answer>,
    clock: Clock,
    commands: mpsc::Receiver<Command>,
    links: Links,
    streams: Streams,
    places: BTreeMap<SessionId, Place>,
    inbox: mpsc::Receiver<Transfer>,
    /// In the order of the shards; empty where there is one.
    others: Vec<mpsc::Sender<Transfer>>,
    audit: Audit,
    /// Port blocks that sessions have.
    blocks: u64,
    /// For the device.
    buffer: BytesMut,
    /// What has been read in this turn.
    packets: Vec<(BytesMut, OffloadHeader)>,
}

impl Driver {
    /// A driver and the way to reach it.
    pub fn new(
        gateway: Gateway,
        egress: Device,
        (inner, answers): (InnerHost, mpsc::Receiver<Answer>),
        forwarder: Arc<Forwarder>,
        clock: Clock,
        audit: Audit,
    ) -> (Self, DriverHandle) {
        let (handle, commands) = DriverHandle::new(COMMANDS_PER_TURN);
        let driver = Self {
            gateway,
            egress,
            inner,
            answers,
            clock,
            commands,
            links: Links::default(),
            streams: Streams::new(forwarder),
            places: BTreeMap::new(),
            inbox: mpsc::channel(1).1,
            others: Vec::new(),
            audit,
            blocks: 0,
            buffer: BytesMut::new(),
            packets: Vec::new(),
        };
        (driver, handle)
    }

    /// Lets the drivers of shards, in their order, hand packets to each other.
    pub fn connect(drivers: &mut [Self]) {
        let (senders, inboxes): (Vec<_>, Vec<_>) = drivers.iter().map(|_| mpsc::channel(TRANSFERS_WAITING)).unzip();
        for (driver, inbox) in drivers.iter_mut().zip(inboxes) {
            (driver.inbox, driver.others) = (inbox, senders.clone());
        }
    }

    /// Runs until `shutdown` says so, and then closes every session.
    ///
    /// # Errors
    /// Where the TUN device fails for good.
    pub async fn run(mut self, mut shutdown: oneshot::Receiver<()>) -> io::Result<()> {
        loop {
            self.flush();
            let wake = self.wake();
            tokio::select! {
                _ = &mut shutdown => {
                    self.close_all();
                    return Ok(());
                }
                Some(command) = self.commands.recv() => {
                    self.take_commands(command);
                    // What is answered at once goes to the client together with the acknowledgement of its message.
                    self.flush_packets();
                    self.read_packets()?;
                }
                ready = self.egress.readable() => {
                    ready?;
                    self.read_packets()?;
                }
                Some(transfer) = self.inbox.recv() => self.take_transfers(transfer),
                id = self.links.room() => self.links.pump(id, &mut self.gateway, self.clock.now()),
                progress = self.streams.next() => {
                    self.streams.handle(progress, &mut self.gateway, self.clock.now());
                }
                Some(answer) = self.answers.recv() => self.inner.answer(answer, self.clock.now()),
                () = sleep_until(wake) => {
                    let now = self.clock.now();
                    self.gateway.handle_timeout(now);
                    self.inner.handle_timeout(now);
                    self.egress.handle_timeout(now);
                }
            }
        }
    }

    fn wake(&self) -> tokio::time::Instant {
        let timeouts = [self.gateway.poll_timeout(), self.inner.poll_timeout(), self.egress.poll_timeout()];
        let next = timeouts.into_iter().flatten().min();
        next.map_or_else(|| tokio::time::Instant::now() + IDLE, |at| self.clock.deadline(at))
    }

    /// Carries out everything that the state machines want done.
    fn flush(&mut self) {
        self.flush_packets();
        let now = self.clock.now();
        self.handle_events(now);
    }

    /// False where the egress could not have a port that was mapped.
    fn handle_events(&mut self, now: Instant) -> bool {
        let mut all_mapped = true;
        while let Some(event) = self.gateway.poll_event() {
            all_mapped &= self.handle_event(event, now);
        }
        all_mapped
    }

    /// Of these, what goes to others than the clients.
    fn flush_packets(&mut self) {
        let now = self.clock.now();
        loop {
            while let Some(transmit) = self.gateway.poll_transmit() {
                match transmit.to {
                    Destination::Egress => self.send_out(&transmit, now),
                    Destination::Local => self.inner.handle_packet(&transmit.packet, now),
                }
            }
            while let Some(transfer) = self.gateway.poll_transfer() {
                self.hand_over(transfer);
            }
            while let Some((from, request)) = self.inner.poll_port_request() {
                if let Some(answer) = self.answer_port_request(from, &request, now) {
                    self.inner.answer_port_request(from, &answer, now);
                }
            }
            let Some(packet) = self.inner.poll_packet(now) else { break };
            self.gateway.process_local(packet, now);
        }
    }

    /// Asks the dataplane until the egress can have the port that it gives.
    fn answer_port_request(&mut self, from: SocketAddr, request: &[u8], now: Instant) -> Option<Vec<u8>> {
        for _ in 0..PORTS_TRIED {
            let answer = self.gateway.answer_port_control(from, request, now);
            if self.handle_events(now) {
                return answer;
            }
        }
        self.gateway.refuse_port_control(request, now)
    }

    fn hand_over(&mut self, transfer: Transfer) {
        let lost = match self.others.get(transfer.to()) {
            Some(other) => other.try_send(transfer).err().map(TrySendError::into_inner),
            None => Some(transfer),
        };
        if let Some(lost) = lost {
            self.gateway.lose_transfer(lost);
        }
    }

    fn take_transfers(&mut self, first: Transfer) {
        let now = self.clock.now();
        self.gateway.process_transfer(first, now);
        for _ in 1..TRANSFERS_PER_TURN {
            let Ok(transfer) = self.inbox.try_recv() else { return };
            self.gateway.process_transfer(transfer, now);
        }
    }

    fn send_out(&mut self, Transmit { packet, offload, .. }: &Transmit, now: Instant) {
        // As a network card would: a packet that cannot be sent is lost, and the transport above repeats it.
        if let Err(error) = self.egress.send(packet, offload, now) {
            tracing::debug!(%error, len = packet.len(), "the egress does not take a packet");
        }
        while let Some(reason) = self.egress.poll_drop() {
            self.gateway.count_egress_drop(reason);
        }
    }

    fn read_packets(&mut self) -> io::Result<()> {
        let now = self.clock.now();
        let mut octets = 0;
        for _ in 0..PACKETS_PER_TURN {
            if self.buffer.capacity() < BUFFER {
                self.buffer = self.gateway.buffer(BUFFER);
            }
            match self.egress.try_recv(&mut self.buffer, now) {
                Ok((packet, offload)) => {
                    octets += packet.len();
                    self.packets.push((packet, offload));
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::InvalidData => {
                    tracing::debug!(%error, "the TUN device has a packet that cannot be");
                }
                Err(error) => return Err(error),
            }
            if octets >= READ_PER_TURN {
                break;
            }
        }
        self.gateway.process_downlink_batch(self.packets.drain(..), now);
        Ok(())
    }

    fn take_commands(&mut self, first: Command) {
        let (mut next, mut octets) = (Some(first), 0);
        for _ in 1..COMMANDS_PER_TURN {
            let Some(command) = next else { return };
            if let Command::Message { message, .. } = &command {
                octets += message.len();
            }
            self.execute(command);
            if octets >= OCTETS_PER_TURN {
                return;
            }
            next = self.commands.try_recv().ok();
        }
        if let Some(command) = next {
            self.execute(command);
        }
    }

    fn execute(&mut self, command: Command) {
        let now = self.clock.now();
        match command {
            Command::Open { message, peer, room, place, reply } => {
                let opened = self.open(&message, peer.as_deref(), room, now);
                let session = opened.as_ref().ok().map(|opened| opened.link.session);
                self.places.extend(session.zip(place));
                if let (Err(_), Some(session)) = (reply.send(opened), session) {
                    // The connection has meanwhile gone.
                    self.links.forget(session);
                    self.gateway.disconnect(session, now);
                }
            }
            Command::Message { link, message, turn } if self.links.is_current(link) => {
                if let Err(error) = self.gateway.process_uplink(link.session, message, now) {
                    tracing::debug!(session = %link.session, %error, "a client breaks the protocol");
                    self.links.detach(link.session, Farewell::from_gateway(error.code(), error.message()));
                }
                self.give_back(turn, link.session, now);
            }
            Command::End { link, end } if self.links.is_current(link) => {
                self.links.forget(link.session);
                match end {
                    LinkEnd::Gone => self.gateway.disconnect(link.session, now),
                    LinkEnd::Violated(code) => self.gateway.close_session(link.session, code, now),
                }
            }
            Command::Inspect(reply) => {
                // Whoever asked may have given up.
                let _ = reply.send(Box::new(self.snapshot()));
            }
            Command::Drain(retry_after) => self.gateway.drain(retry_after, now),
            Command::OwnAddresses(own) => {
                self.egress.set_own_addresses(&own);
                self.gateway.set_own_addresses(own);
            }
            // From a connection that another one has replaced.
            Command::Message { .. } | Command::End { .. } => {}
        }
    }

    /// Lets a connection be read further, at once or when its session's rate allows it: until then the client's octets
    /// stay in its socket.
    fn give_back(&mut self, turn: OwnedSemaphorePermit, session: SessionId, now: Instant) {
        if let Some(at) = self.gateway.reads_again_at(session, now) {
            let deadline = self.clock.deadline(at);
            tokio::spawn(async move {
                sleep_until(deadline).await;
                drop(turn);
            });
        }
    }

    fn open(
        &mut self,
        message: &[u8],
        peer: Option<&Peer>,
        room: MessageRoom,
        now: Instant,
    ) -> Result<Opened, Farewell> {
        let session = match peer {
            Some(peer) => self.gateway.handshake(message, peer, now),
            None => self.gateway.handshake_by_secret(message, now),
        };
        let session = session.map_err(|reject| {
            tracing::debug!(peer = peer.map(|peer| &*peer.name), %reject, "no session for a client");
            Farewell::from_gateway(reject.code(), Some(reject.message()))
        })?;
        self.links.detach(session, replaced());
        Ok(self.links.attach(session, room))
    }

    fn snapshot(&self) -> Snapshot {
        Snapshot {
            stats: self.gateway.stats().clone(),
            connected: self.links.sessions().count(),
            blocks: self.blocks,
            free_blocks: self.gateway.free_port_blocks(),
            audit_lost: self.audit.lost(),
        }
    }

    fn handle_event(&mut self, event: Event, now: Instant) -> bool {
        let is_had = self.egress.handle_event(&event, now);
        if let (Event::PortMapped { id, protocol, external, .. }, false) = (&event, is_had) {
            self.gateway.refuse_port(*id, *protocol, *external, now);
        }
        self.audit.record(&event);
        match &event {
            Event::BlockAssigned { .. } => self.blocks += 1,
            Event::BlockReturned { .. } => self.blocks = self.blocks.saturating_sub(1),
            _ => {}
        }
        match event {
            Event::MessagesReady(id) => self.links.pump(id, &mut self.gateway, now),
            Event::Stream { id, stream, what } => self.streams.act((id, stream), what, &mut self.gateway, now),
            Event::ConnectionLost { id } => {
                tracing::debug!(session = %id, "a connection is silent and given up");
                self.links.detach(id, Farewell::silent());
            }
            Event::SessionClosed { id, code } => {
                self.places.remove(&id);
                let message = self.gateway.poll_message(id, now).map(Gather::into_bytes);
                tracing::info!(session = %id, ?code, "session closed");
                self.links.detach(id, Farewell::from_gateway(code, message));
            }
            other => tell(&other),
        }
        is_had
    }

    fn close_all(&mut self) {
        let now = self.clock.now();
        let sessions: Vec<SessionId> = self.gateway.sessions().map(|session| session.id).collect();
        for session in sessions {
            self.gateway.close_session(session, CloseCode::Shutdown, now);
        }
        self.flush();
    }
}

fn replaced() -> Farewell {
    let message: Bytes =
        close_message(CloseCode::Replaced, Duration::ZERO, "another connection goes on with the session");
    Farewell::from_gateway(CloseCode::Replaced, Some(message))
}

/// For the log of what goes on; the audit log has lines of its own.
fn tell(event: &Event) {
    match event {
        Event::SessionOpened { id, peer, inner_v4, inner_v6 } => {
            tracing::info!(session = %id, peer = &**peer, %inner_v4, %inner_v6, "session opened");
        }
        Event::SessionResumed { id } => tracing::info!(session = %id, "session resumed"),
        Event::SessionDetached { id } => tracing::info!(session = %id, "session without connection"),
        Event::BlockAssigned { id, peer, inner, block } => {
            tracing::info!(session = %id, peer = &**peer, %inner, address = %block.address, first = block.first, count = block.count, "ports assigned");
        }
        Event::BlockReturned { id, peer, inner, block } => {
            tracing::info!(session = %id, peer = &**peer, %inner, address = %block.address, first = block.first, count = block.count, "ports returned");
        }
        Event::PortMapped { id, protocol, internal_port, external } => {
            tracing::info!(session = %id, protocol, internal_port, %external, "port mapped");
        }
        Event::PortUnmapped { id, protocol, internal_port, external } => {
            tracing::info!(session = %id, protocol, internal_port, %external, "port unmapped");
        }
        Event::StreamConnected { id, local, .. } => tracing::debug!(session = %id, %local, "stream connected"),
        Event::StreamClosed { id, local } => tracing::debug!(session = %id, %local, "stream closed"),
        Event::MessagesReady(_) | Event::ConnectionLost { .. } | Event::SessionClosed { .. } | Event::Stream { .. } => {
        }
    }
}

//! One room: a task that owns its segment.

use super::figures::DoorFigures;
use super::links::{Links, Told};
use super::ports::{Owners, Ports};
use crate::dataplane::Peer;
use crate::io::driver::{Clock, Shards};
use crate::io::pace::MessageRoom;
use bytes::{Bytes, BytesMut};
use std::future::poll_fn;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, mpsc, oneshot};
use tokio::time::sleep_until;
use webtun_stack::bridge::{Bridge, BridgeConfig, BridgeEvent, ConfigError, LinkId, PortError, PortId, SegmentStats};
use webtun_stack::{Instant, Status};

/// Octets that may wait for a port's sessions before the port is not read any more.
const BEHIND: usize = 256 * 1024;
/// How soon what has been counted is shown.
const COUNTED_WITHIN: Duration = Duration::from_secs(1);
/// The longest wait, where nothing has a deadline.
const IDLE: Duration = Duration::from_secs(3600);

/// What WebSockets tell their room.
pub(super) enum Command {
    /// A WebSocket wants a port.
    Enter { peer: Box<Peer>, room: MessageRoom, reply: oneshot::Sender<Result<Entered, PortError>> },
    /// Frames have come.
    Frames {
        port: PortId,
        frames: Vec<Bytes>,
        /// Given back when the next ones may come.
        turn: OwnedSemaphorePermit,
    },
    /// The WebSocket is gone.
    Leave { port: PortId },
}

/// A port.
#[derive(Debug)]
pub(super) struct Entered {
    pub port: PortId,
    /// What the emulator is to receive.
    pub frames: mpsc::Receiver<Vec<BytesMut>>,
}

enum Next {
    /// A session has been sent something.
    Told(LinkId, Told),
    /// A session may send more.
    Turn(LinkId),
    /// A WebSocket takes more.
    Room(PortId),
}

/// See the module.
pub(super) struct Room {
    name: String,
    bridge: Bridge,
    ports: Ports,
    links: Links,
    owners: Owners,
    next_owner: u32,
    clock: Clock,
    figures: DoorFigures,
    counted: (SegmentStats, Instant),
}

impl Room {
    /// `name` is for the log.
    pub(super) fn new(
        name: String,
        config: BridgeConfig,
        drivers: Shards,
        clock: Clock,
        figures: DoorFigures,
    ) -> Result<Self, ConfigError> {
        Ok(Self {
            name,
            bridge: Bridge::new(config)?,
            ports: Ports::default(),
            links: Links::new(drivers),
            owners: Owners::new(),
            next_owner: 0,
            clock,
            figures,
            counted: (SegmentStats::default(), clock.now()),
        })
    }

    /// Runs until nobody is there and no session waits.
    pub(super) async fn run(mut self, mut commands: mpsc::Receiver<Command>) {
        let mut was_used = false;
        loop {
            self.flush().await;
            let is_empty = self.ports.len() == 0 && self.bridge.links().next().is_none();
            if is_empty && was_used && commands.is_empty() {
                break;
            }
            let wake = self.wake();
            tokio::select! {
                command = commands.recv() => match command {
                    Some(command) => self.execute(command),
                    None => break,
                },
                next = poll_fn(|context| self.poll_next(context)) => match next {
                    Next::Told(id, told) => self.hear(id, told),
                    Next::Turn(id) => self.pump(id).await,
                    Next::Room(id) => self.ports.pump(id, &mut self.bridge, self.clock.now()),
                },
                () = sleep_until(wake) => {
                    self.bridge.handle_timeout(self.clock.now());
                    self.ports.overdue(&mut self.bridge, self.clock.now());
                }
            }
            was_used = true;
        }
        self.count(true);
        // Whoever has just come finds the channel closed, and another room.
        commands.close();
        while let Some(command) = commands.recv().await {
            drop(command);
        }
    }

    /// What the driver and the WebSockets have made possible.
    fn poll_next(&mut self, context: &mut Context<'_>) -> Poll<Next> {
        if let Poll::Ready(id) = self.ports.poll_room(context) {
            return Poll::Ready(Next::Room(id));
        }
        if let Poll::Ready(id) = self.links.poll_turn(context) {
            return Poll::Ready(Next::Turn(id));
        }
        self.links.poll_told(&self.bridge, &self.ports, context).map(|(id, told)| Next::Told(id, told))
    }

    fn wake(&self) -> tokio::time::Instant {
        let counts = (*self.bridge.segment().stats() != self.counted.0).then(|| self.counted.1 + COUNTED_WITHIN);
        let next = self.bridge.poll_timeout().into_iter().chain(self.ports.timeout()).chain(counts).min();
        next.map_or_else(|| tokio::time::Instant::now() + IDLE, |at| self.clock.deadline(at))
    }

    fn execute(&mut self, command: Command) {
        let now = self.clock.now();
        match command {
            Command::Enter { peer, room, reply } => {
                // Whoever asked may have given up.
                if let Err(Ok(entered)) = reply.send(self.enter(peer, room)) {
                    self.leave(entered.port);
                }
            }
            Command::Frames { port, frames, turn } => {
                let mut has_room = false;
                for frame in frames {
                    has_room |= self.ports.received(port, &frame);
                    self.bridge.handle_frame(port, &frame, now);
                }
                if has_room {
                    self.ports.pump(port, &mut self.bridge, now);
                }
                if self.links.is_behind(port, BEHIND, &self.bridge) {
                    self.ports.hold(port, turn);
                }
            }
            Command::Leave { port } => self.leave(port),
        }
    }

    fn enter(&mut self, peer: Box<Peer>, room: MessageRoom) -> Result<Entered, PortError> {
        let known = self.owners.iter().find(|(_, it)| it.name == peer.name).map(|(owner, _)| *owner);
        let owner = known.unwrap_or(self.next_owner);
        let port = match self.bridge.add_port(owner, self.clock.now()) {
            Err(PortError::TooManyPorts) if self.displace(owner) => self.bridge.add_port(owner, self.clock.now()),
            result => result,
        }?;
        if known.is_none() {
            self.next_owner = self.next_owner.wrapping_add(1);
        }
        self.owners.insert(owner, peer);
        self.figures.ports.inc();
        let mtu = self.bridge.segment().config().mtu;
        Ok(Entered { port, frames: self.ports.insert(port, owner, room, mtu) })
    }

    /// In a full room, whoever has the most ports gives the last one up for somebody who then has no more. Its WebSocket is
    /// closed for that, since its channel ends.
    fn displace(&mut self, owner: u32) -> bool {
        let port = self.ports.of_the_greediest(owner);
        port.inspect(|port| self.leave(*port)).is_some()
    }

    fn leave(&mut self, port: PortId) {
        self.bridge.remove_port(port, self.clock.now());
        if self.ports.remove(port) {
            self.figures.ports.dec();
        }
        self.forget_owners();
    }

    fn forget_owners(&mut self) {
        let (bridge, ports) = (&self.bridge, &self.ports);
        let has_session = |owner| bridge.links().any(|id| bridge.owner_of(id) == Some(owner));
        self.owners.retain(|owner, _| ports.has_owner(*owner) || has_session(*owner));
    }

    fn hear(&mut self, id: LinkId, told: Told) {
        let now = self.clock.now();
        match told {
            Told::Message(message) => self.bridge.handle_message(id, &message, now),
            Told::End(farewell) => self.links.forget(id, &farewell, &mut self.bridge, now),
        }
    }

    async fn pump(&mut self, id: LinkId) {
        let peer = self.bridge.owner_of(id).and_then(|owner| self.owners.get(&owner)).map(|peer| &**peer);
        self.links.pump(id, peer, &mut self.bridge, self.clock.now()).await;
    }

    /// Carries out everything that the segment and its sessions want done.
    async fn flush(&mut self) {
        loop {
            while let Some(event) = self.bridge.poll_event() {
                self.handle_event(event).await;
            }
            while let Some(port) = self.bridge.poll_port() {
                self.ports.pump(port, &mut self.bridge, self.clock.now());
            }
            let Some(link) = self.bridge.poll_link() else { break };
            self.pump(link).await;
        }
        let (links, bridge) = (&self.links, &self.bridge);
        self.ports.release(|port| !links.is_behind(port, BEHIND, bridge));
        self.count(false);
    }

    async fn handle_event(&mut self, event: BridgeEvent) {
        let room = &*self.name;
        match event {
            // The driver is always there; what opens is the session, by its first message.
            BridgeEvent::OpenTransport(id) => self.bridge.handle_connected(id, self.clock.now()),
            BridgeEvent::CloseTransport(id) => {
                // The last word goes first.
                if self.links.is_open(id) {
                    self.pump(id).await;
                }
                self.links.end(id).await;
            }
            BridgeEvent::Status(id, Status::Connected { resumed }) => {
                let Some(link) = self.bridge.link(id) else { return };
                let addresses = link.lease.map(|lease| lease.addresses.into_iter().map(|it| it.0).collect::<Vec<_>>());
                tracing::info!(room, mac = %link.mac, ?addresses, resumed, "a virtual machine has a session");
            }
            BridgeEvent::Status(id, Status::Closed { code, reason }) => {
                let mac = self.bridge.link(id).map(|it| it.mac);
                tracing::info!(room, ?mac, ?code, reason, "the session of a virtual machine is over");
            }
            BridgeEvent::Status(..) | BridgeEvent::PortMapped { .. } => {}
            BridgeEvent::LeaseGiven { mac, address, host_name } => {
                tracing::debug!(room, %mac, %address, host_name, "a virtual machine has an address");
            }
            BridgeEvent::Removed(id) => {
                self.links.end(id).await;
                self.forget_owners();
            }
        }
    }

    fn count(&mut self, is_last: bool) {
        let (now, stats) = (self.clock.now(), self.bridge.segment().stats());
        if is_last || (now >= self.counted.1 + COUNTED_WITHIN && *stats != self.counted.0) {
            self.figures.add(&self.counted.0, stats);
            self.counted = (stats.clone(), now);
        }
    }
}

use super::window::{Window, question};
use crate::dataplane::Peer;
use crate::io::pace::MessageRoom;
use bytes::BytesMut;
use futures_util::StreamExt;
use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use std::collections::BTreeMap;
use std::task::{Context, Poll};
use tokio::sync::{OwnedSemaphorePermit, mpsc};
use webtun_stack::Instant;
use webtun_stack::bridge::{Bridge, MacAddress, PortId, greediest};

/// Batches between a room and a WebSocket's writer: one is being written, one is ready to be.
const DEPTH: usize = 2;
/// Octets of a batch; one more frame may lie over it.
const BATCH: usize = 64 * 1024;

/// The room's side of a WebSocket.
pub(super) struct Port {
    pub owner: u32,
    pub room: MessageRoom,
    frames: mpsc::Sender<Vec<BytesMut>>,
    window: Window,
    /// Whom the window's question goes to.
    asked: Option<MacAddress>,
    /// True while [`Ports::poll_room`] watches it.
    full: bool,
    /// The port's leave to send more, while its sessions are behind.
    pub held: Option<OwnedSemaphorePermit>,
}

/// The emulators that a room has at the moment.
#[derive(Default)]
pub(super) struct Ports {
    ports: BTreeMap<PortId, Port>,
    full: FuturesUnordered<BoxFuture<'static, PortId>>,
}

impl Ports {
    /// `mtu` is the segment's.
    pub(super) fn insert(
        &mut self,
        id: PortId,
        owner: u32,
        room: MessageRoom,
        mtu: u16,
    ) -> mpsc::Receiver<Vec<BytesMut>> {
        let (frames, receiver) = mpsc::channel(DEPTH);
        let window = Window::new(mtu);
        self.ports.insert(id, Port { owner, room, frames, window, asked: None, full: false, held: None });
        receiver
    }

    pub(super) fn remove(&mut self, id: PortId) -> bool {
        self.ports.remove(&id).is_some()
    }

    pub(super) fn get(&self, id: PortId) -> Option<&Port> {
        self.ports.get(&id)
    }

    pub(super) fn len(&self) -> usize {
        self.ports.len()
    }

    pub(super) fn has_owner(&self, owner: u32) -> bool {
        self.ports.values().any(|port| port.owner == owner)
    }

    /// The last port of the owner with the most, where this owner has two fewer at least.
    pub(super) fn of_the_greediest(&self, owner: u32) -> Option<PortId> {
        let most = greediest(self.ports.values().map(|port| port.owner), owner)?;
        self.ports.iter().rev().find(|(_, port)| port.owner == most).map(|(id, _)| *id)
    }

    /// Keeps a port from being read.
    pub(super) fn hold(&mut self, id: PortId, turn: OwnedSemaphorePermit) {
        if let Some(port) = self.ports.get_mut(&id) {
            port.held = Some(turn);
        }
    }

    /// Lets those be read for which `is_free` holds.
    pub(super) fn release(&mut self, mut is_free: impl FnMut(PortId) -> bool) {
        for (id, port) in self.ports.iter_mut().filter(|(_, port)| port.held.is_some()) {
            if is_free(*id) {
                port.held = None;
            }
        }
    }

    /// A frame has come from a port. True where more may go to it.
    pub(super) fn received(&mut self, id: PortId, frame: &[u8]) -> bool {
        self.ports.get_mut(&id).is_some_and(|port| port.window.received(frame))
    }

    /// When [`Ports::overdue`] is due.
    pub(super) fn timeout(&self) -> Option<Instant> {
        self.ports.values().filter_map(|port| port.window.timeout()).min()
    }

    /// Sends on where a guest has not said in time that it has taken what it got.
    pub(super) fn overdue(&mut self, bridge: &mut Bridge, now: Instant) {
        let is_due = |port: &Port| port.window.timeout().is_some_and(|at| at <= now);
        let due: Vec<PortId> = self.ports.iter().filter(|(_, port)| is_due(port)).map(|(id, _)| *id).collect();
        for id in due {
            self.pump(id, bridge, now);
        }
    }

    /// Hands frames over for as long as there are any and there is room.
    pub(super) fn pump(&mut self, id: PortId, bridge: &mut Bridge, now: Instant) {
        let Some(port) = self.ports.get_mut(&id) else { return };
        let mut again = port.window.overdue(now).then(|| port.asked.and_then(|mac| question_to(mac, bridge))).flatten();
        if port.full {
            return;
        }
        while port.frames.capacity() > 0 {
            let batch = port.batch(id, again.take(), bridge, now);
            // Nobody else sends, so that an error means that the WebSocket is ending, and will say so.
            if batch.is_empty() || port.frames.try_send(batch).is_err() {
                return;
            }
        }
        port.full = true;
        let frames = port.frames.clone();
        self.full.push(Box::pin(async move {
            // The place is taken again by the next `pump`; nobody else sends. An error means that the WebSocket ends.
            drop(frames.reserve().await);
            id
        }));
    }

    /// Names a port that was full and has room.
    pub(super) fn poll_room(&mut self, context: &mut Context<'_>) -> Poll<PortId> {
        while let Poll::Ready(Some(id)) = self.full.poll_next_unpin(context) {
            if let Some(port) = self.ports.get_mut(&id) {
                port.full = false;
                return Poll::Ready(id);
            }
        }
        Poll::Pending
    }
}

impl Port {
    /// What goes next, with the window's question.
    fn batch(&mut self, id: PortId, first: Option<BytesMut>, bridge: &mut Bridge, now: Instant) -> Vec<BytesMut> {
        let (mut batch, mut octets) = (Vec::from_iter(first), 0);
        while octets < BATCH
            && self.window.is_open()
            && let Some(frame) = bridge.poll_frame(id)
        {
            octets += frame.len();
            let asks = self.window.sent(frame.len());
            let guest = frame.first_chunk().map(|mac| MacAddress(*mac));
            batch.push(frame);
            if asks {
                let question = guest.and_then(|mac| question_to(mac, bridge));
                self.asked = guest;
                self.window.asked(question.is_some(), now);
                batch.extend(question);
            }
        }
        batch
    }
}

/// `None` where no guest has this MAC address, or its IPv4 address is not known.
fn question_to(mac: MacAddress, bridge: &Bridge) -> Option<BytesMut> {
    let guest = bridge.links().filter_map(|id| bridge.link(id)).find(|it| it.mac == mac)?;
    let router = bridge.segment().config();
    Some(question((router.router_mac, router.router_v4), (mac, guest.v4?)))
}

/// One principal whose emulators are in a room.
pub(super) type Owners = BTreeMap<u32, Box<Peer>>;

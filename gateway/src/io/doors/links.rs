use super::ports::Ports;
use crate::dataplane::Peer;
use crate::io::driver::{Command, DriverHandle, LinkEnd, Opened, Shards};
use crate::io::pace::MessageRoom;
use crate::io::session::Farewell;
use bytes::Bytes;
use futures_util::FutureExt;
use futures_util::StreamExt;
use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Arc;
use std::task::{Context, Poll};
use tokio::sync::Semaphore;
use webtun_stack::Instant;
use webtun_stack::bridge::{Bridge, LinkId, PortId};

/// Messages of one session that wait for the driver, as of any other client.
const UNDER_WAY: usize = 2;
/// Octets that may wait for a port before its sessions are heard again.
const ENOUGH: usize = 64 * 1024;

/// A session's way to the driver.
struct Link {
    driver: DriverHandle,
    opened: Opened,
    room: MessageRoom,
    turns: Arc<Semaphore>,
    /// True while [`Links::poll_turn`] watches it.
    waits: bool,
    is_over: bool,
}

/// What a session has been sent.
pub(super) enum Told {
    Message(Bytes),
    /// Its last word.
    End(Farewell),
}

/// The sessions of a room.
pub(super) struct Links {
    drivers: Shards,
    links: BTreeMap<LinkId, Link>,
    waiting: FuturesUnordered<BoxFuture<'static, LinkId>>,
    /// Who was heard last, so that all have their turn.
    last: Option<LinkId>,
}

impl Links {
    pub(super) fn new(drivers: Shards) -> Self {
        Self { drivers, links: BTreeMap::new(), waiting: FuturesUnordered::new(), last: None }
    }

    pub(super) fn is_open(&self, id: LinkId) -> bool {
        self.links.contains_key(&id)
    }

    /// Sends what a session has to say, the first message to open it, and as much of the rest as may be under way.
    pub(super) async fn pump(&mut self, id: LinkId, peer: Option<&Peer>, bridge: &mut Bridge, now: Instant) {
        if !self.links.contains_key(&id) {
            let (Some(peer), Some(hello)) = (peer, bridge.poll_transmit(id, now)) else { return };
            let room = MessageRoom::default();
            match self.drivers.open(hello, Some(Box::new(peer.clone())), room.clone()).await {
                Ok((driver, opened)) => {
                    let turns = Arc::new(Semaphore::new(UNDER_WAY));
                    self.links.insert(id, Link { driver, opened, room, turns, waits: false, is_over: false });
                }
                Err(farewell) => return take_leave(id, &farewell, bridge, now),
            }
        }
        let Some(link) = self.links.get_mut(&id).filter(|link| !link.waits) else { return };
        loop {
            let Ok(turn) = Arc::clone(&link.turns).try_acquire_owned() else { break };
            let Some(message) = bridge.poll_transmit(id, now) else { return };
            // A message that is kept for a resumption is still shared.
            let message = message.try_into_mut().unwrap_or_else(|shared| shared.as_ref().into());
            link.driver.send(Command::Message { link: link.opened.link, message, turn }).await;
        }
        link.waits = true;
        let turns = Arc::clone(&link.turns);
        self.waiting.push(Box::pin(async move {
            // An error is impossible: nobody closes it.
            drop(turns.acquire_owned().await);
            id
        }));
    }

    /// Names a session that may send again.
    pub(super) fn poll_turn(&mut self, context: &mut Context<'_>) -> Poll<LinkId> {
        while let Poll::Ready(Some(id)) = self.waiting.poll_next_unpin(context) {
            if let Some(link) = self.links.get_mut(&id) {
                link.waits = false;
                return Poll::Ready(id);
            }
        }
        Poll::Pending
    }

    /// The next message for a session whose port can take more.
    pub(super) fn poll_told(
        &mut self,
        bridge: &Bridge,
        ports: &Ports,
        context: &mut Context<'_>,
    ) -> Poll<(LinkId, Told)> {
        let after = self.last.map_or(Bound::Unbounded, Bound::Excluded);
        let order: Vec<LinkId> = self.links.range((after, Bound::Unbounded)).map(|(id, _)| *id).collect();
        let order: Vec<LinkId> =
            order.iter().copied().chain(self.links.keys().copied()).take(self.links.len()).collect();
        for id in order {
            let Some(link) = self.links.get_mut(&id).filter(|link| !link.is_over) else { continue };
            let port = bridge.port_of(id);
            if port.is_some_and(|it| bridge.segment().waiting_frames(it) >= ENOUGH) {
                continue;
            }
            if let Some(port) = port.and_then(|it| ports.get(it)) {
                link.room.follow(&port.room);
            }
            if let Poll::Ready(Some(message)) = link.opened.outgoing.poll_recv(context) {
                self.last = Some(id);
                return Poll::Ready((id, Told::Message(message.into_bytes())));
            }
            if let Poll::Ready(told) = link.opened.farewell.poll_unpin(context) {
                link.is_over = true;
                let told = told.unwrap_or_else(|_| Farewell::silent());
                return Poll::Ready((id, Told::End(told)));
            }
        }
        Poll::Pending
    }

    /// The driver has let go of a session.
    pub(super) fn forget(&mut self, id: LinkId, farewell: &Farewell, bridge: &mut Bridge, now: Instant) {
        if let Some(mut link) = self.links.remove(&id) {
            while let Ok(message) = link.opened.outgoing.try_recv() {
                bridge.handle_message(id, &message.into_bytes(), now);
            }
        }
        take_leave(id, farewell, bridge, now);
    }

    /// A session gives its connection up.
    pub(super) async fn end(&mut self, id: LinkId) {
        if let Some(link) = self.links.remove(&id) {
            link.driver.send(Command::End { link: link.opened.link, end: LinkEnd::Gone }).await;
        }
    }

    /// Whether the sessions of a port are behind with `most` octets, and somebody works on that.
    pub(super) fn is_behind(&self, port: PortId, most: usize, bridge: &Bridge) -> bool {
        let is_its = |id: &LinkId| bridge.port_of(*id) == Some(port);
        bridge.waiting_packets(port) >= most && self.links.keys().any(is_its)
    }
}

fn take_leave(id: LinkId, farewell: &Farewell, bridge: &mut Bridge, now: Instant) {
    if let Some(message) = &farewell.message {
        bridge.handle_message(id, message, now);
    }
    bridge.handle_disconnected(id, now);
}

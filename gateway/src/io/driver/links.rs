use super::{LinkId, Opened};
use crate::dataplane::{Gateway, Gather, SessionId};
use crate::io::pace::MessageRoom;
use crate::io::session::Farewell;
use futures_util::StreamExt;
use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use std::collections::BTreeMap;
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{mpsc, oneshot};
use webtun_wire::Instant;

/// Messages between the driver and a connection's writer. One is being written, one is ready to be; more would only make
/// the queue longer that the dataplane cannot see.
const DEPTH: usize = 2;

#[derive(Debug)]
struct Link {
    number: u64,
    outgoing: mpsc::Sender<Gather>,
    farewell: oneshot::Sender<Farewell>,
    room: MessageRoom,
    /// True while [`Links::room`] watches it.
    full: bool,
}

/// The connections that sessions have at the moment.
#[derive(Default)]
pub(super) struct Links {
    links: BTreeMap<SessionId, Link>,
    full: FuturesUnordered<BoxFuture<'static, LinkId>>,
    count: u64,
}

impl Links {
    pub(super) fn attach(&mut self, session: SessionId, room: MessageRoom) -> Opened {
        self.count += 1;
        let (outgoing, messages) = mpsc::channel(DEPTH);
        let (farewell, told) = oneshot::channel();
        let link = Link { number: self.count, outgoing, farewell, room, full: false };
        self.links.insert(session, link);
        Opened { link: LinkId { session, number: self.count }, outgoing: messages, farewell: told }
    }

    pub(super) fn is_current(&self, id: LinkId) -> bool {
        self.links.get(&id.session).is_some_and(|link| link.number == id.number)
    }

    /// Has the connection closed, if there is one.
    pub(super) fn detach(&mut self, session: SessionId, farewell: Farewell) {
        if let Some(link) = self.links.remove(&session) {
            // A connection that is closing already need not be told.
            let _ = link.farewell.send(farewell);
        }
    }

    /// The connection has ended by itself.
    pub(super) fn forget(&mut self, session: SessionId) {
        self.links.remove(&session);
    }

    pub(super) fn sessions(&self) -> impl Iterator<Item = SessionId> {
        self.links.keys().copied()
    }

    /// Hands messages over for as long as there are any and there is room.
    pub(super) fn pump(&mut self, session: SessionId, gateway: &mut Gateway, now: Instant) {
        let Some(link) = self.links.get_mut(&session) else { return };
        if link.full {
            return;
        }
        gateway.set_message_room(session, link.room.octets());
        loop {
            match link.outgoing.try_reserve() {
                Ok(permit) => match gateway.poll_message(session, now) {
                    Some(message) => permit.send(message),
                    None => return,
                },
                Err(TrySendError::Full(())) => break,
                // The connection is ending and will say so.
                Err(TrySendError::Closed(())) => return,
            }
        }
        link.full = true;
        let id = LinkId { session, number: link.number };
        let outgoing = link.outgoing.clone();
        self.full.push(Box::pin(async move {
            // The place is taken again by the next `pump`; nobody else sends. An error means that the connection ends.
            drop(outgoing.reserve().await);
            id
        }));
    }

    /// Waits until a full connection has room, and names its session.
    pub(super) async fn room(&mut self) -> SessionId {
        loop {
            let Some(id) = self.full.next().await else { std::future::pending().await };
            if let Some(link) = self.links.get_mut(&id.session)
                && link.number == id.number
            {
                link.full = false;
                return id.session;
            }
        }
    }
}

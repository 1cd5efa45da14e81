use super::Place;
use crate::dataplane::{Gather, OwnAddresses, Peer, SessionId};
use crate::io::metrics::Snapshot;
use crate::io::pace::MessageRoom;
use crate::io::session::Farewell;
use bytes::{Bytes, BytesMut};
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, mpsc, oneshot};
use webtun_wire::CloseCode;

/// One connection of a session. A session has one at a time; the number tells apart those that follow each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LinkId {
    pub(super) session: SessionId,
    pub(super) number: u64,
}

impl LinkId {
    /// Whose connection it is.
    pub fn session(self) -> SessionId {
        self.session
    }
}

/// What connections tell the driver.
pub enum Command {
    /// The first message of a connection whose credentials are good, or which goes on with a session by its secret.
    Open {
        /// As received.
        message: Bytes,
        /// Who it is; none where the secret is all that there is.
        peer: Option<Box<Peer>>,
        /// How long its messages may be.
        room: MessageRoom,
        /// A new session's, where there are several shards.
        place: Option<Place>,
        /// The session, or what to tell the client.
        reply: oneshot::Sender<Result<Opened, Farewell>>,
    },
    /// A later message.
    Message {
        /// Where it came.
        link: LinkId,
        /// As received.
        message: BytesMut,
        /// The link's leave to have this message under way; given back when it has been dealt with and the session is not
        /// past its rate.
        turn: OwnedSemaphorePermit,
    },
    /// Asks for the figures of this moment.
    Inspect(oneshot::Sender<Box<Snapshot>>),
    /// The gateway is about to go: clients are asked to connect elsewhere, or again, after this time.
    Drain(Duration),
    /// This machine has other addresses.
    OwnAddresses(OwnAddresses),
    /// The connection is over.
    End {
        /// Which.
        link: LinkId,
        /// How.
        end: LinkEnd,
    },
}

/// How a connection has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LinkEnd {
    /// By the client or the network: the session may come back.
    Gone,
    /// By us, because the client broke a rule: the session ends.
    Violated(CloseCode),
}

/// A connection's side of its link to the driver.
#[derive(Debug)]
pub struct Opened {
    /// Which.
    pub link: LinkId,
    /// Messages for the client.
    pub outgoing: mpsc::Receiver<Gather>,
    /// Fires when the connection is to be closed.
    pub farewell: oneshot::Receiver<Farewell>,
}

/// The way to one driver.
#[derive(Clone, Debug)]
pub struct DriverHandle {
    commands: mpsc::Sender<Command>,
}

impl DriverHandle {
    pub(super) fn new(capacity: usize) -> (Self, mpsc::Receiver<Command>) {
        let (commands, receiver) = mpsc::channel(capacity);
        (Self { commands }, receiver)
    }

    /// Waits until the driver has taken the command. A driver that has ended takes it too, to no effect: the connection
    /// learns of that end by its link.
    pub async fn send(&self, command: Command) {
        let _ = self.commands.send(command).await;
    }

    /// Opens or resumes a session with a connection's first message.
    ///
    /// # Errors
    /// What to tell the client before its connection is closed.
    pub(super) async fn open(
        &self,
        message: Bytes,
        peer: Option<Box<Peer>>,
        room: MessageRoom,
        place: Option<Place>,
    ) -> Result<Opened, Farewell> {
        let (reply, answer) = oneshot::channel();
        self.send(Command::Open { message, peer, room, place, reply }).await;
        answer.await.unwrap_or_else(|_| Err(Farewell::new(CloseCode::Shutdown, "the gateway goes away")))
    }
}

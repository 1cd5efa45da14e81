//! A session of a door: the client stack's messages, handed to the driver instead of being sent.

use crate::dataplane::Peer;
use crate::io::driver::{Command, DriverHandle, LinkEnd, Opened, Shards};
use crate::io::pace::MessageRoom;
use crate::io::session::Farewell;
use bytes::Bytes;
use futures_util::future::BoxFuture;
use futures_util::{FutureExt, Sink, Stream};
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use tokio::sync::{Semaphore, mpsc};

/// Messages that wait for the driver, as of any other client.
const UNDER_WAY: usize = 2;

/// What opens a session.
#[derive(Clone)]
pub(super) struct Opener {
    shards: Shards,
    peer: Box<Peer>,
    /// How long the driver's messages may be.
    room: MessageRoom,
    /// Told why the session is refused: the stack takes a limit for a reason to try again, and a door has somebody waiting.
    refused: mpsc::Sender<Farewell>,
}

impl Opener {
    /// And how it is told of a refusal.
    pub(super) fn new(shards: Shards, peer: Box<Peer>, room: MessageRoom) -> (Self, mpsc::Receiver<Farewell>) {
        let (refused, told) = mpsc::channel(1);
        (Self { shards, peer, room, refused }, told)
    }

    async fn open(self, message: Bytes) -> Result<(DriverHandle, Opened), Farewell> {
        let opened = self.shards.open(message, Some(self.peer), self.room).await;
        if let Err(farewell) = &opened {
            // Nobody waits any more where it is the session's return that is refused.
            let _ = self.refused.try_send(farewell.clone());
        }
        opened
    }
}

enum State {
    /// The first message is to come.
    Fresh(Opener),
    Opening(BoxFuture<'static, Result<(DriverHandle, Opened), Farewell>>),
    Open(Link),
    Over,
}

struct Link {
    driver: DriverHandle,
    opened: Opened,
    turns: Arc<Semaphore>,
    /// A message on its way.
    sending: Option<BoxFuture<'static, ()>>,
}

/// A transport of the client stack, for one session. The first message opens it; dropped, it gives the session's connection up.
pub(super) struct Line(State);

impl Line {
    pub(super) fn new(opener: Opener) -> Self {
        Self(State::Fresh(opener))
    }

    /// Goes on with opening. The last word of a session that is refused is a message like others.
    fn poll_open(&mut self, context: &mut Context<'_>) -> Poll<Option<Bytes>> {
        let State::Opening(opening) = &mut self.0 else { return Poll::Ready(None) };
        match ready!(opening.poll_unpin(context)) {
            Ok((driver, opened)) => {
                let turns = Arc::new(Semaphore::new(UNDER_WAY));
                self.0 = State::Open(Link { driver, opened, turns, sending: None });
                Poll::Ready(None)
            }
            Err(farewell) => {
                self.0 = State::Over;
                Poll::Ready(farewell.message)
            }
        }
    }
}

impl Stream for Line {
    type Item = io::Result<Bytes>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if let Some(refusal) = ready!(self.poll_open(context)) {
            return Poll::Ready(Some(Ok(refusal)));
        }
        let link = match &mut self.0 {
            State::Open(link) => link,
            // Whoever sends wakes the task.
            State::Fresh(_) | State::Opening(_) => return Poll::Pending,
            State::Over => return Poll::Ready(None),
        };
        if let Some(message) = ready!(link.opened.outgoing.poll_recv(context)) {
            return Poll::Ready(Some(Ok(message.into_bytes())));
        }
        let told = ready!(link.opened.farewell.poll_unpin(context));
        self.0 = State::Over;
        // An error is the driver's own end.
        Poll::Ready(told.ok().and_then(|told| told.message).map(Ok))
    }
}

impl Sink<Bytes> for Line {
    type Error = io::Error;

    fn poll_ready(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.0 {
            State::Fresh(_) => Poll::Ready(Ok(())),
            // Reading goes on with it.
            State::Opening(_) => Poll::Pending,
            State::Open(link) => {
                if let Some(sending) = &mut link.sending {
                    ready!(sending.poll_unpin(context));
                    link.sending = None;
                }
                Poll::Ready(Ok(()))
            }
            State::Over => Poll::Ready(Err(io::ErrorKind::ConnectionAborted.into())),
        }
    }

    fn start_send(mut self: Pin<&mut Self>, message: Bytes) -> io::Result<()> {
        match &mut self.0 {
            State::Fresh(opener) => {
                self.0 = State::Opening(Box::pin(opener.clone().open(message)));
                Ok(())
            }
            State::Open(link) => {
                let (driver, turns, link_id) = (link.driver.clone(), Arc::clone(&link.turns), link.opened.link);
                // A message that is kept for a resumption is still shared.
                let message = message.try_into_mut().unwrap_or_else(|shared| shared.as_ref().into());
                link.sending = Some(Box::pin(async move {
                    if let Ok(turn) = turns.acquire_owned().await {
                        driver.send(Command::Message { link: link_id, message, turn }).await;
                    }
                }));
                Ok(())
            }
            State::Opening(_) | State::Over => Err(io::ErrorKind::NotConnected.into()),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        // The first message is on its way, which reading follows.
        if matches!(self.0, State::Opening(_)) { Poll::Ready(Ok(())) } else { self.poll_ready(context) }
    }

    fn poll_close(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll_ready(context)
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        let State::Open(link) = std::mem::replace(&mut self.0, State::Over) else { return };
        let (driver, id) = (link.driver, link.opened.link);
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(async move { driver.send(Command::End { link: id, end: LinkEnd::Gone }).await });
        }
    }
}

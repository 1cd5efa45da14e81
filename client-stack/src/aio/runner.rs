//! The loop. One turn:
//!
//! 1. input: the transport has opened, failed, or has a message;
//! 2. time: the machine's timer;
//! 3. events: tasks are woken, the transport is opened or closed;
//! 4. output: messages while the transport takes them, and a flush when there are no more.
//!
//! Reading never waits for writing: with both ends doing so, each could wait for the other. What a message causes is
//! bounded by the machine's own buffers.

use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use futures_util::{Sink, Stream};
use tokio::time::{Sleep, sleep};

use super::machine::{Machine, Orders};
use super::shared::Shared;
use super::transport::{Connector, Transport};
use crate::Instant;

/// Turns before other tasks get the thread. A turn handles up to 1 MiB of input, some 1 ms of work.
const TURNS: usize = 16;
/// Messages sent per turn, so that input is looked at in between.
const MESSAGES_PER_TURN: usize = 4;
/// How long the closing message may take to leave.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(2);

type Opening<T> = Pin<Box<dyn Future<Output = io::Result<T>> + Send>>;

enum Link<T> {
    None,
    Opening(Opening<T>),
    Open { transport: T, must_flush: bool },
}

pub(super) struct Runner<M: Machine, C: Connector> {
    shared: Arc<Shared<M>>,
    connector: C,
    link: Link<C::Transport>,
    timer: Pin<Box<Sleep>>,
    timer_at: Option<Instant>,
    /// Set once the machine has said that it is over.
    closing: Option<Pin<Box<Sleep>>>,
}

impl<M: Machine, C: Connector> Runner<M, C> {
    /// `opened` serves the machine's first wish for a transport.
    pub(super) fn new(shared: Arc<Shared<M>>, connector: C, opened: C::Transport) -> Self {
        let link = Link::Opening(Box::pin(std::future::ready(Ok(opened))));
        Self { shared, connector, link, timer: Box::pin(sleep(Duration::ZERO)), timer_at: None, closing: None }
    }

    /// Runs until the session is closed by either side.
    pub(super) async fn run(mut self) {
        poll_fn(|context| self.poll(context)).await;
    }

    fn poll(&mut self, context: &mut Context<'_>) -> Poll<()> {
        // First, so that a call made during this poll is not missed.
        self.shared.runner.register(context.waker());
        for _ in 0..TURNS {
            let mut progress = self.poll_input(context);
            progress |= self.poll_timer(context);
            let is_closing = self.closing.is_some();
            progress |= self.poll_output(context);
            // Behind the output: that carries what the host says to itself, too, which makes events.
            progress |= self.follow_orders();
            // Whoever closes it may do so during this very turn: its CLOSE goes out in the next one.
            if is_closing && self.is_over(context) {
                return Poll::Ready(());
            }
            if !progress {
                return Poll::Pending;
            }
        }
        context.waker().wake_by_ref();
        Poll::Pending
    }

    fn poll_input(&mut self, context: &mut Context<'_>) -> bool {
        let input = match &mut self.link {
            Link::None => return false,
            Link::Opening(opening) => match opening.as_mut().poll(context) {
                Poll::Pending => return false,
                Poll::Ready(result) => result.map(|transport| {
                    self.link = Link::Open { transport, must_flush: false };
                    None
                }),
            },
            Link::Open { transport, .. } => match Pin::new(transport).poll_next(context) {
                Poll::Pending => return false,
                Poll::Ready(Some(result)) => result.map(Some),
                Poll::Ready(None) => Err(io::ErrorKind::ConnectionAborted.into()),
            },
        };
        let now = self.shared.clock.now();
        match input {
            Ok(None) => self.shared.lock().handle_connected(now),
            Ok(Some(message)) => self.shared.lock().handle_message(&message, now),
            Err(error) => self.lose(&error),
        }
        true
    }

    fn lose(&mut self, error: &io::Error) {
        tracing::debug!(%error, "no connection to the gateway");
        self.link = Link::None;
        self.shared.lock().handle_disconnected(self.shared.clock.now());
    }

    fn poll_timer(&mut self, context: &mut Context<'_>) -> bool {
        let wanted = self.shared.lock().poll_timeout();
        if wanted != self.timer_at {
            self.timer_at = wanted;
            if let Some(at) = wanted {
                self.timer.as_mut().reset(self.shared.clock.deadline(at));
            }
        }
        if self.timer_at.is_none() || self.timer.as_mut().poll(context).is_pending() {
            return false;
        }
        self.timer_at = None;
        self.shared.lock().handle_timeout(self.shared.clock.now());
        true
    }

    /// Says whether there is another link to be polled, or a last message to be sent.
    fn follow_orders(&mut self) -> bool {
        let (Orders { open, close }, closed) = {
            let mut machine = self.shared.lock();
            (machine.dispatch(), machine.is_closed())
        };
        let begins_to_close = closed && self.closing.is_none();
        if closed {
            self.closing.get_or_insert_with(|| Box::pin(sleep(CLOSE_TIMEOUT)));
        } else if close {
            // Broken or silent; another follows.
            self.link = Link::None;
        }
        let opens = open && !closed && matches!(self.link, Link::None);
        if opens {
            self.link = Link::Opening(Box::pin(self.connector.connect()));
        }
        opens || begins_to_close
    }

    fn poll_output(&mut self, context: &mut Context<'_>) -> bool {
        let Link::Open { transport, must_flush } = &mut self.link else { return false };
        let shared = &self.shared;
        match send(Pin::new(transport), must_flush, context, || shared.lock().poll_transmit(shared.clock.now())) {
            Ok(progress) => progress,
            Err(error) => {
                self.lose(&error);
                true
            }
        }
    }

    fn is_over(&mut self, context: &mut Context<'_>) -> bool {
        let Some(timeout) = &mut self.closing else { return false };
        match &mut self.link {
            Link::Open { transport, must_flush: false } => {
                if Pin::new(transport).poll_close(context).is_ready() {
                    return true;
                }
            }
            Link::Open { .. } => {}
            Link::None | Link::Opening(_) => return true,
        }
        timeout.as_mut().poll(context).is_ready()
    }
}

/// Gives messages to the transport while it takes them. Says whether to look again at once.
fn send<T: Transport>(
    mut transport: Pin<&mut T>,
    must_flush: &mut bool,
    context: &mut Context<'_>,
    mut next: impl FnMut() -> Option<Bytes>,
) -> io::Result<bool> {
    for _ in 0..MESSAGES_PER_TURN {
        if transport.as_mut().poll_ready(context)?.is_pending() {
            return Ok(false);
        }
        let Some(message) = next() else {
            if *must_flush && transport.poll_flush(context)?.is_ready() {
                *must_flush = false;
            }
            return Ok(false);
        };
        *must_flush = true;
        transport.as_mut().start_send(message)?;
    }
    Ok(true)
}

impl<M: Machine, C: Connector> Drop for Runner<M, C> {
    /// Also when the runtime drops the task in mid-flight nobody may wait forever.
    fn drop(&mut self) {
        self.shared.lock().finish();
    }
}

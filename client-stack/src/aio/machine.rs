use bytes::Bytes;
use tokio::sync::watch;

use crate::{Instant, Status};

/// What the loop drives: the contract of [`Stack`](crate::Stack) without its sockets.
pub(super) trait Machine: Send + 'static {
    fn handle_connected(&mut self, now: Instant);
    fn handle_message(&mut self, message: &Bytes, now: Instant);
    fn handle_disconnected(&mut self, now: Instant);
    fn handle_timeout(&mut self, now: Instant);
    fn poll_transmit(&mut self, now: Instant) -> Option<Bytes>;
    fn poll_timeout(&self) -> Option<Instant>;
    /// Ends the session for good; the closing message leaves by `poll_transmit`.
    fn close(&mut self, now: Instant);
    /// The session has ended and nothing will follow but what `poll_transmit` still has.
    fn is_closed(&self) -> bool;
    /// Drains the events, wakes who waits for them, and says what the loop has to do.
    fn dispatch(&mut self) -> Orders;
    /// The loop has ended: nothing will ever move again.
    fn finish(&mut self);
}

/// What the machine wants of its transport.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Orders {
    /// Open one now.
    pub(super) open: bool,
    /// Close the present one: it is broken, or the session is over.
    pub(super) close: bool,
}

/// Tells whoever follows the status, and the log.
pub(super) fn publish(followers: Option<&watch::Sender<Status>>, status: Status) {
    tracing::debug!(?status, "the tunnel");
    if let Some(followers) = followers {
        followers.send_replace(status);
    }
}

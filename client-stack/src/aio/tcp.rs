use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::StackHandle;
use crate::{CloseReason, Received, SocketId, TcpState};

/// A TCP connection. Dropping it closes it gracefully (in the background, while the tunnel lives); unread data at that
/// moment turns into a RST (RFC 1122 section 4.2.2.13).
///
/// `shutdown` of [`AsyncWrite`] is a half-close: the peer reads to the end, and this side may go on reading.
#[derive(Debug)]
pub struct TcpStream {
    handle: StackHandle,
    id: SocketId,
}

impl TcpStream {
    pub(super) fn new(handle: StackHandle, id: SocketId) -> Self {
        Self { handle, id }
    }

    pub(super) async fn connected(&self) -> io::Result<()> {
        poll_fn(|context| {
            self.handle.look(|machine| match machine.stack.tcp_state(self.id) {
                Some(TcpState::Connecting) => {
                    machine.waiting(self.id).write = Some(context.waker().clone());
                    Poll::Pending
                }
                Some(TcpState::Failed(error)) => Poll::Ready(Err(error.into())),
                // A connection that was open and is closed already: reading tells how.
                Some(TcpState::Open { .. } | TcpState::Closed(_)) => Poll::Ready(Ok(())),
                None => Poll::Ready(Err(io::ErrorKind::NotConnected.into())),
            })
        })
        .await
    }

    /// Waits until both directions are over, which includes that the peer has acknowledged everything.
    pub async fn closed(&self) -> CloseReason {
        poll_fn(|context| {
            self.handle.look(|machine| match machine.stack.tcp_state(self.id) {
                Some(TcpState::Closed(reason)) => Poll::Ready(reason),
                Some(TcpState::Connecting | TcpState::Open { .. }) => {
                    machine.waiting(self.id).closed = Some(context.waker().clone());
                    Poll::Pending
                }
                Some(TcpState::Failed(_)) | None => Poll::Ready(CloseReason::Aborted),
            })
        })
        .await
    }

    /// Our address. Fails once the connection is over.
    ///
    /// # Errors
    /// `NotConnected`.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.addresses().map(|(local, _)| local)
    }

    /// The peer's address.
    ///
    /// # Errors
    /// `NotConnected`.
    pub fn peer_addr(&self) -> io::Result<SocketAddr> {
        self.addresses().map(|(_, remote)| remote)
    }

    fn addresses(&self) -> io::Result<(SocketAddr, SocketAddr)> {
        let addresses = self.handle.look(|machine| machine.stack.tcp_addresses(self.id));
        addresses.ok_or(io::ErrorKind::NotConnected.into())
    }

    /// Switches Nagle's algorithm off (true) or on.
    pub fn set_nodelay(&self, nodelay: bool) {
        self.handle.call(|machine, now| machine.stack.tcp_set_nodelay(self.id, nodelay, now));
    }

    /// Probes an idle peer after `interval`; `None` stops it.
    pub fn set_keep_alive(&self, interval: Option<Duration>) {
        self.handle.call(|machine, now| machine.stack.tcp_set_keep_alive(self.id, interval, now));
    }

    /// Octets written that the peer has not acknowledged.
    pub fn unsent(&self) -> usize {
        self.handle.look(|machine| machine.stack.tcp_unsent(self.id))
    }

    /// Ends the connection with a RST.
    pub fn abort(&self) {
        self.handle.call(|machine, now| machine.stack.tcp_abort(self.id, now));
    }
}

impl AsyncRead for TcpStream {
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if buffer.remaining() == 0 {
            return Poll::Ready(Ok(()));
        }
        self.handle.call(|machine, now| match machine.stack.tcp_recv(self.id, buffer.initialize_unfilled(), now) {
            Ok(Received::Data(len)) => {
                buffer.advance(len);
                Poll::Ready(Ok(()))
            }
            Ok(Received::Finished) => Poll::Ready(Ok(())),
            Ok(Received::Empty) => {
                machine.waiting(self.id).read = Some(context.waker().clone());
                Poll::Pending
            }
            Err(error) => Poll::Ready(Err(error.into())),
        })
    }
}

impl AsyncWrite for TcpStream {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, data: &[u8]) -> Poll<io::Result<usize>> {
        if data.is_empty() {
            return Poll::Ready(Ok(0));
        }
        self.handle.call(|machine, now| match machine.stack.tcp_send(self.id, data, now) {
            Ok(0) => {
                machine.waiting(self.id).write = Some(context.waker().clone());
                Poll::Pending
            }
            Ok(len) => Poll::Ready(Ok(len)),
            Err(error) => Poll::Ready(Err(error.into())),
        })
    }

    /// Nothing is held back here: what was written is on its way.
    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.handle.call(|machine, now| machine.stack.tcp_shutdown(self.id, now));
        Poll::Ready(Ok(()))
    }
}

impl Drop for TcpStream {
    fn drop(&mut self) {
        self.handle.forget(self.id);
    }
}

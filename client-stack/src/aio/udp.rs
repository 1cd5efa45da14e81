use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::task::{Context, Poll};

use super::StackHandle;
use crate::{Datagram, SocketId, Status, UdpError};

/// A UDP socket. Reading and writing may happen in two tasks at once, one each.
#[derive(Debug)]
pub struct UdpSocket {
    handle: StackHandle,
    id: SocketId,
}

impl UdpSocket {
    pub(super) fn new(handle: StackHandle, id: SocketId) -> Self {
        Self { handle, id }
    }

    /// Receives only from `remote`, and sends there unless told otherwise.
    ///
    /// # Errors
    /// A [`UdpError`].
    pub fn connect(&self, remote: SocketAddr) -> Result<(), UdpError> {
        self.handle.call(|machine, _| machine.stack.udp_connect(self.id, remote))
    }

    /// Sends one datagram to `to`, or to the connected peer where that is `None`. Waits while there is no room.
    ///
    /// # Errors
    /// A [`UdpError`] inside of the `io::Error`.
    pub async fn send_to(&self, data: &[u8], to: Option<SocketAddr>) -> io::Result<()> {
        poll_fn(|context| {
            self.handle.call(|machine, now| match machine.stack.udp_send(self.id, data, to, now) {
                Ok(true) => Poll::Ready(Ok(())),
                Ok(false) => {
                    machine.waiting(self.id).write = Some(context.waker().clone());
                    Poll::Pending
                }
                Err(error) => Poll::Ready(Err(error.into())),
            })
        })
        .await
    }

    /// The next datagram. Reports about single peers (say, that one's port is closed) are left out, so that one peer
    /// cannot stop a server; a connected socket reads them with [`recv`](Self::recv).
    ///
    /// # Errors
    /// The whole socket is affected, or the tunnel is closed for good.
    pub async fn recv_from(&self) -> io::Result<Datagram> {
        poll_fn(|context| self.poll_recv(context, |peer| peer.ip().is_unspecified())).await
    }

    /// The next datagram of the connected peer, or a report about one that did not reach it.
    ///
    /// # Errors
    /// A [`UdpError`] inside of the `io::Error`; the socket stays usable unless the tunnel is closed for good.
    pub async fn recv(&self) -> io::Result<Datagram> {
        poll_fn(|context| self.poll_recv(context, |_| true)).await
    }

    fn poll_recv(&self, context: &mut Context<'_>, reports: impl Fn(SocketAddr) -> bool) -> Poll<io::Result<Datagram>> {
        self.handle.call(|machine, _| {
            if let Some(datagram) = machine.stack.udp_recv(self.id) {
                return Poll::Ready(Ok(datagram));
            }
            let closed = matches!(machine.stack.status(), Status::Closed { .. });
            let waiting = machine.waiting(self.id);
            if let Some((error, peer)) = waiting.udp_error.take()
                && reports(peer)
            {
                return Poll::Ready(Err(error.into()));
            }
            if closed {
                return Poll::Ready(Err(UdpError::TunnelClosed.into()));
            }
            waiting.read = Some(context.waker().clone());
            Poll::Pending
        })
    }

    /// The address it is bound to.
    pub fn local_addr(&self) -> Option<SocketAddr> {
        self.handle.look(|machine| machine.stack.local_address(self.id))
    }

    /// Datagrams that were dropped because nobody read them in time.
    pub fn dropped(&self) -> u64 {
        self.handle.look(|machine| machine.stack.udp_dropped(self.id))
    }
}

impl Drop for UdpSocket {
    fn drop(&mut self) {
        self.handle.forget(self.id);
    }
}

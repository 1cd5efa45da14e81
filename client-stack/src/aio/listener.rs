use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::task::Poll;

use super::{StackHandle, TcpStream};
use crate::{SocketId, Status};

/// Accepts TCP connections. Dropping it stops that; those that nobody accepted are reset.
#[derive(Debug)]
pub struct TcpListener {
    handle: StackHandle,
    id: SocketId,
}

impl TcpListener {
    pub(super) fn new(handle: StackHandle, id: SocketId) -> Self {
        Self { handle, id }
    }

    /// The next connection and its peer. One task at a time may wait.
    ///
    /// # Errors
    /// `ConnectionAborted`: the tunnel is closed for good.
    pub async fn accept(&self) -> io::Result<(TcpStream, SocketAddr)> {
        let (id, peer) = poll_fn(|context| {
            self.handle.call(|machine, now| {
                while let Some(id) = machine.stack.tcp_accept(self.id) {
                    match machine.stack.tcp_addresses(id) {
                        Some((_, peer)) => return Poll::Ready(Ok((id, peer))),
                        // Reset before anybody looked.
                        None => machine.stack.close(id, now),
                    }
                }
                if matches!(machine.stack.status(), Status::Closed { .. }) {
                    return Poll::Ready(Err(io::Error::from(io::ErrorKind::ConnectionAborted)));
                }
                machine.waiting(self.id).read = Some(context.waker().clone());
                Poll::Pending
            })
        })
        .await?;
        Ok((TcpStream::new(self.handle.clone(), id), peer))
    }

    /// The address it is bound to.
    pub fn local_addr(&self) -> Option<SocketAddr> {
        self.handle.look(|machine| machine.stack.local_address(self.id))
    }
}

impl Drop for TcpListener {
    fn drop(&mut self) {
        self.handle.forget(self.id);
    }
}

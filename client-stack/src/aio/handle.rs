use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{oneshot, watch};

use super::machine::Machine;
use super::ping::{PingFailure, Pong};
use super::shared::Owner;
use super::stack_machine::StackMachine;
use super::{TcpListener, TcpStream, UdpSocket};
use crate::{
    BindError, HostStats, Instant, Lease, ListenOptions, PingError, PingOptions, SocketId, Status, StreamHost,
    TcpOptions, TunnelStats, UdpOptions,
};

/// The stack of one tunnel. A clone is the same tunnel.
#[derive(Clone, Debug)]
pub struct StackHandle {
    owner: Arc<Owner<StackMachine>>,
    status: watch::Receiver<Status>,
}

impl StackHandle {
    pub(super) fn new(owner: Arc<Owner<StackMachine>>, status: watch::Receiver<Status>) -> Self {
        Self { owner, status }
    }

    /// Runs `call` on the machine, then lets the loop look for output.
    pub(super) fn call<R>(&self, call: impl FnOnce(&mut StackMachine, Instant) -> R) -> R {
        self.owner.0.call(call)
    }

    /// Runs `call` on the machine where that causes no output.
    pub(super) fn look<R>(&self, call: impl FnOnce(&mut StackMachine) -> R) -> R {
        call(&mut self.owner.0.lock())
    }

    /// A handle that owns socket `id` is dropped.
    pub(super) fn forget(&self, id: SocketId) {
        self.call(|machine, now| {
            machine.sockets.remove(&id);
            machine.stack.close(id, now);
        });
    }

    /// Opens a TCP connection.
    ///
    /// # Errors
    /// A [`ConnectError`](crate::ConnectError) inside of the `io::Error`.
    pub async fn tcp_connect(&self, remote: SocketAddr, options: TcpOptions) -> io::Result<TcpStream> {
        let id = self.call(|machine, now| machine.stack.tcp_connect(remote, options, now))?;
        let stream = TcpStream::new(self.clone(), id);
        stream.connected().await?;
        Ok(stream)
    }

    /// Opens a TCP connection that the gateway makes with a socket of its own; see
    /// [`Stack::tcp_connect_split`](crate::Stack::tcp_connect_split).
    ///
    /// # Errors
    /// A [`ConnectError`](crate::ConnectError) inside of the `io::Error`.
    pub async fn tcp_connect_split(&self, host: StreamHost, port: u16) -> io::Result<TcpStream> {
        let options = TcpOptions::default();
        let id = self.call(|machine, now| machine.stack.tcp_connect_split(host, port, &options, now))?;
        let stream = TcpStream::new(self.clone(), id);
        stream.connected().await?;
        Ok(stream)
    }

    /// Listens on a local address; unspecified addresses and port 0 are fine.
    ///
    /// # Errors
    /// A [`BindError`] inside of the `io::Error`.
    pub fn tcp_listen(&self, local: SocketAddr, options: ListenOptions) -> io::Result<TcpListener> {
        let id = self.call(|machine, now| machine.stack.tcp_listen(local, options, now))?;
        Ok(TcpListener::new(self.clone(), id))
    }

    /// Binds a UDP socket; unspecified addresses and port 0 are fine.
    ///
    /// # Errors
    /// A [`BindError`].
    pub fn udp_bind(&self, local: SocketAddr, options: UdpOptions) -> Result<UdpSocket, BindError> {
        let id = self.call(|machine, now| machine.stack.udp_bind(local, options, now))?;
        Ok(UdpSocket::new(self.clone(), id))
    }

    /// Sends one echo request and waits for the reply.
    ///
    /// # Errors
    /// [`PingFailure`]: none came, or somebody said why none will.
    pub async fn ping(&self, target: IpAddr, options: PingOptions) -> Result<Pong, PingFailure> {
        let failure = |error| PingFailure { from: None, error };
        let reply = self.call(|machine, now| {
            let id = machine.stack.ping(target, options, now)?;
            let (sender, reply) = oneshot::channel();
            machine.pings.insert(id, sender);
            Ok(reply)
        });
        reply.map_err(failure)?.await.unwrap_or(Err(failure(PingError::TunnelClosed)))
    }

    /// Follows the tunnel's state. The first value is the present one.
    pub fn status(&self) -> watch::Receiver<Status> {
        self.status.clone()
    }

    /// What the gateway has assigned.
    pub fn lease(&self) -> Option<Lease> {
        self.look(|machine| machine.stack.lease().cloned())
    }

    /// Round trip to the gateway, as last measured.
    pub fn rtt(&self) -> Option<Duration> {
        self.look(|machine| machine.stack.rtt())
    }

    /// Counts of the tunnel.
    pub fn stats(&self) -> TunnelStats {
        self.look(|machine| machine.stack.stats())
    }

    /// Counts of the network stack.
    pub fn host_stats(&self) -> HostStats {
        self.look(|machine| machine.stack.host_stats())
    }

    /// Ends the session and waits until the gateway has been told, for 2 s at most. Sockets end with an error.
    ///
    /// Octets that a peer has not acknowledged are lost: await [`TcpStream::closed`] before.
    pub async fn close(&self) {
        self.call(|machine, now| machine.close(now));
        // The loop drops the sender when it ends.
        let mut status = self.status.clone();
        while status.changed().await.is_ok() {}
    }
}

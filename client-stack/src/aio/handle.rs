use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::task::Waker;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::{oneshot, watch};

use super::machine::{Machine, Orders};
use super::shared::Owner;
use super::{TcpListener, TcpStream, UdpSocket};
use crate::{
    BindError, Event, HostStats, Instant, Lease, ListenOptions, MapId, PingError, PingId, PingOptions, PortMapError,
    PortMapping, QueryId, ResolveError, SocketEvent, SocketId, Stack, Status, TcpOptions, TunnelStats, UdpError, UdpOptions,
};

/// An echo reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pong {
    /// Who answered.
    pub from: IpAddr,
    /// From request to reply.
    pub rtt: Duration,
    /// Octets of payload.
    pub len: usize,
    /// TTL or hop limit of the reply on arrival.
    pub hop_limit: u8,
}

/// No echo reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{error}")]
pub struct PingFailure {
    /// Who reported it, where somebody did.
    pub from: Option<IpAddr>,
    /// Why.
    pub error: PingError,
}

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

/// Tasks that wait for one socket, and what they will want to know.
#[derive(Debug, Default)]
pub(super) struct Waiting {
    pub(super) read: Option<Waker>,
    pub(super) write: Option<Waker>,
    pub(super) closed: Option<Waker>,
    /// The last report about a datagram, and the peer it is about.
    pub(super) udp_error: Option<(UdpError, SocketAddr)>,
}

impl Waiting {
    fn wake_all(&mut self) {
        wake(&mut self.read);
        wake(&mut self.write);
        wake(&mut self.closed);
    }
}

fn wake(waker: &mut Option<Waker>) {
    if let Some(waker) = waker.take() {
        waker.wake();
    }
}

pub(super) type MapOutcome = Option<Result<PortMapping, PortMapError>>;

/// The stack and who waits for what. Everything here is bounded by the stack's own bounds.
#[derive(Debug)]
pub(super) struct StackMachine {
    pub(super) stack: Stack,
    pub(super) sockets: BTreeMap<SocketId, Waiting>,
    pub(super) pings: BTreeMap<PingId, oneshot::Sender<Result<Pong, PingFailure>>>,
    pub(super) queries: BTreeMap<QueryId, oneshot::Sender<Result<Vec<IpAddr>, ResolveError>>>,
    pub(super) maps: BTreeMap<MapId, watch::Sender<MapOutcome>>,
    /// `None` once the loop has ended.
    status: Option<watch::Sender<Status>>,
}

impl StackMachine {
    pub(super) fn new(stack: Stack) -> (Self, watch::Receiver<Status>) {
        let (status, receiver) = watch::channel(stack.status());
        let (sockets, pings, queries, maps) = Default::default();
        (Self { stack, sockets, pings, queries, maps, status: Some(status) }, receiver)
    }

    pub(super) fn waiting(&mut self, id: SocketId) -> &mut Waiting {
        self.sockets.entry(id).or_default()
    }

    fn dispatch_socket(&mut self, event: SocketEvent) {
        match event {
            SocketEvent::TcpReadable(id) | SocketEvent::TcpIncoming(id) | SocketEvent::UdpReadable(id) => {
                self.sockets.get_mut(&id).map(|waiting| wake(&mut waiting.read));
            }
            SocketEvent::TcpConnected(id) | SocketEvent::TcpWritable(id) | SocketEvent::UdpWritable(id) => {
                self.sockets.get_mut(&id).map(|waiting| wake(&mut waiting.write));
            }
            SocketEvent::TcpConnectFailed(id, _) | SocketEvent::TcpClosed(id, _) => {
                self.sockets.get_mut(&id).map(Waiting::wake_all);
            }
            SocketEvent::UdpError(id, error, peer) => {
                if let Some(waiting) = self.sockets.get_mut(&id) {
                    waiting.udp_error = Some((error, peer));
                    waiting.wake_all();
                }
            }
            SocketEvent::Pong { id, from, rtt, len, hop_limit } => {
                if let Some(sender) = self.pings.remove(&id) {
                    let _ = sender.send(Ok(Pong { from, rtt, len, hop_limit }));
                }
            }
            SocketEvent::PingFailed { id, from, error } => {
                if let Some(sender) = self.pings.remove(&id) {
                    let _ = sender.send(Err(PingFailure { from, error }));
                }
            }
        }
    }
}

impl Machine for StackMachine {
    fn handle_connected(&mut self, now: Instant) {
        self.stack.handle_connected(now);
    }

    fn handle_message(&mut self, message: &[u8], now: Instant) {
        self.stack.handle_message(message, now);
    }

    fn handle_disconnected(&mut self, now: Instant) {
        self.stack.handle_disconnected(now);
    }

    fn handle_timeout(&mut self, now: Instant) {
        self.stack.handle_timeout(now);
    }

    fn poll_transmit(&mut self, now: Instant) -> Option<Bytes> {
        self.stack.poll_transmit(now)
    }

    fn poll_timeout(&self) -> Option<Instant> {
        self.stack.poll_timeout()
    }

    fn close(&mut self, now: Instant) {
        self.stack.close_tunnel(now);
    }

    fn is_closed(&self) -> bool {
        matches!(self.stack.status(), Status::Closed { .. })
    }

    fn dispatch(&mut self) -> Orders {
        let mut orders = Orders::default();
        while let Some(event) = self.stack.poll_event() {
            match event {
                Event::Socket(event) => self.dispatch_socket(event),
                Event::Status(status) => {
                    self.status.as_ref().map(|sender| sender.send_replace(status));
                }
                Event::OpenTransport => orders.open = true,
                Event::CloseTransport => orders.close = true,
                Event::Resolved { id, result } => {
                    if let Some(sender) = self.queries.remove(&id) {
                        let _ = sender.send(result);
                    }
                }
                Event::PortMapped { id, result } => {
                    if let Some(sender) = self.maps.get(&id) {
                        sender.send_replace(Some(result));
                    }
                }
                Event::FlowDenied(denied) => tracing::debug!(?denied, "the gateway denied a flow"),
            }
        }
        orders
    }

    fn finish(&mut self) {
        self.sockets.values_mut().for_each(Waiting::wake_all);
        self.pings.clear();
        self.queries.clear();
        self.maps.clear();
        self.status = None;
    }
}

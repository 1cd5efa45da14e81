use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::task::Waker;

use bytes::Bytes;
use tokio::sync::{oneshot, watch};

use super::machine::{Machine, Orders, publish};
use super::ping::{PingFailure, Pong};
use crate::{
    Event, Instant, MapId, PingId, PortMapError, PortMapping, QueryId, ResolveError, SocketEvent, SocketId, Stack,
    Status, UdpError,
};

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
        let (status, receiver) = watch::channel(stack.status().clone());
        let (sockets, pings, queries, maps) = Default::default();
        (Self { stack, sockets, pings, queries, maps, status: Some(status) }, receiver)
    }

    pub(super) fn waiting(&mut self, id: SocketId) -> &mut Waiting {
        self.sockets.entry(id).or_default()
    }

    /// Nobody has waited for a socket without an entry.
    fn with_waiting(&mut self, id: SocketId, notify: impl FnOnce(&mut Waiting)) {
        if let Some(waiting) = self.sockets.get_mut(&id) {
            notify(waiting);
        }
    }

    fn dispatch_socket(&mut self, event: SocketEvent) {
        match event {
            SocketEvent::TcpReadable(id) | SocketEvent::TcpIncoming(id) | SocketEvent::UdpReadable(id) => {
                self.with_waiting(id, |waiting| wake(&mut waiting.read));
            }
            SocketEvent::TcpConnected(id) | SocketEvent::TcpWritable(id) | SocketEvent::UdpWritable(id) => {
                self.with_waiting(id, |waiting| wake(&mut waiting.write));
            }
            SocketEvent::TcpConnectFailed(id, _) | SocketEvent::TcpClosed(id, _) => {
                self.with_waiting(id, Waiting::wake_all);
            }
            SocketEvent::UdpError(id, error, peer) => {
                self.with_waiting(id, |waiting| {
                    waiting.udp_error = Some((error, peer));
                    waiting.wake_all();
                });
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

    fn handle_message(&mut self, message: &Bytes, now: Instant) {
        self.stack.handle_shared_message(message, now);
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
                Event::Status(status) => publish(self.status.as_ref(), status),
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

use std::collections::VecDeque;
use std::future::poll_fn;
use std::io;
use std::sync::Arc;
use std::task::{Poll, Waker};

use bytes::Bytes;
use tokio::sync::watch;
use webtun_wire::capsules;

use super::clock::Clock;
use super::connect::{open, seed, wait_for_lease};
use super::machine::{Machine, Orders, publish};
use super::shared::Owner;
use super::{ConnectOptions, OpenError, WebSocketConnector};
use crate::tunnel::{Incoming, Tunnel, TunnelEvent};
use crate::{Instant, Lease, StackConfig, Status};

/// Octets of packets that may wait for the gateway; the sender waits for room.
const UPLINK_OCTETS: usize = 1 << 20;
/// Octets of packets from the gateway that may wait; what is beyond it is dropped, as a full network card would. There is room
/// for what a gateway sends at once after a cut: by default 4 MiB that were not acknowledged, and 2 that were queued.
const DOWNLINK_OCTETS: usize = 8 << 20;

/// A tunnel without our stack: whole IP packets in and out, for a kernel's or another stack to speak through.
///
/// Packets must come from an address of the [`lease`](Self::lease); the gateway drops others.
#[derive(Debug)]
pub struct PacketTunnel {
    owner: Arc<Owner<PacketMachine>>,
    status: watch::Receiver<Status>,
}

impl PacketTunnel {
    /// Opens one to the gateway at `url` and waits for its lease; see [`connect`](super::connect).
    ///
    /// # Errors
    /// [`OpenError`]: the first attempt failed.
    pub async fn connect(url: &str, options: ConnectOptions) -> Result<Self, OpenError> {
        let connector = WebSocketConnector::new(url, options.token.as_deref())?;
        let clock = Clock::start();
        // The packets are for whoever calls, who knows nothing of offload headers.
        let config = StackConfig { offload: false, streams: false, ..StackConfig::new(seed()?) };
        let tunnel = Tunnel::new(config, clock.now());
        let (sender, mut status) = watch::channel(tunnel.status().clone());
        let machine =
            PacketMachine { tunnel, uplink: Queue::default(), downlink: Queue::default(), status: Some(sender) };
        let owner = open(machine, clock, connector).await?;
        wait_for_lease(&mut status, options.timeout).await?;
        Ok(Self { owner, status })
    }

    /// Sends one packet, as soon as there is room.
    ///
    /// # Errors
    /// `ConnectionAborted`: the tunnel is closed for good.
    pub async fn send(&self, packet: Bytes) -> io::Result<()> {
        poll_fn(|context| {
            self.owner.0.call(|machine, _| {
                if machine.is_closed() {
                    return Poll::Ready(Err(io::ErrorKind::ConnectionAborted.into()));
                }
                if machine.uplink.octets >= UPLINK_OCTETS {
                    machine.uplink.waiting = Some(context.waker().clone());
                    return Poll::Pending;
                }
                machine.uplink.push(packet.clone());
                Poll::Ready(Ok(()))
            })
        })
        .await
    }

    /// The next packet.
    ///
    /// # Errors
    /// `ConnectionAborted`: the tunnel is closed for good.
    pub async fn recv(&self) -> io::Result<Bytes> {
        poll_fn(|context| {
            let mut machine = self.owner.0.lock();
            if let Some(packet) = machine.downlink.pop() {
                return Poll::Ready(Ok(packet));
            }
            if machine.is_closed() {
                return Poll::Ready(Err(io::ErrorKind::ConnectionAborted.into()));
            }
            machine.downlink.waiting = Some(context.waker().clone());
            Poll::Pending
        })
        .await
    }

    /// What the gateway has assigned. It may change whenever the status does.
    pub fn lease(&self) -> Option<Lease> {
        self.owner.0.lock().tunnel.lease().cloned()
    }

    /// Follows the tunnel's state. The first value is the present one.
    pub fn status(&self) -> watch::Receiver<Status> {
        self.status.clone()
    }

    /// Ends the session and waits until the gateway has been told, for 2 s at most.
    pub async fn close(&self) {
        self.owner.0.call(|machine, now| machine.close(now));
        let mut status = self.status.clone();
        while status.changed().await.is_ok() {}
    }
}

/// Packets in one direction.
#[derive(Default)]
struct Queue {
    packets: VecDeque<Bytes>,
    octets: usize,
    /// Who waits for room (uplink) or for a packet (downlink).
    waiting: Option<Waker>,
}

impl Queue {
    fn push(&mut self, packet: Bytes) {
        self.octets += packet.len();
        self.packets.push_back(packet);
    }

    fn pop(&mut self) -> Option<Bytes> {
        let packet = self.packets.pop_front()?;
        self.octets -= packet.len();
        Some(packet)
    }

    fn wake(&mut self) {
        if let Some(waker) = self.waiting.take() {
            waker.wake();
        }
    }
}

struct PacketMachine {
    tunnel: Tunnel,
    uplink: Queue,
    downlink: Queue,
    /// `None` once the loop has ended.
    status: Option<watch::Sender<Status>>,
}

impl Machine for PacketMachine {
    fn handle_connected(&mut self, now: Instant) {
        self.tunnel.handle_connected(now);
    }

    fn handle_message(&mut self, message: &Bytes, now: Instant) {
        if !self.tunnel.begin_message(message.len(), now) {
            return;
        }
        for capsule in capsules(message) {
            let incoming = match capsule {
                Ok(capsule) => self.tunnel.handle_capsule(capsule, now),
                Err(error) => return self.tunnel.handle_malformed(error, now),
            };
            match incoming {
                Incoming::Packet(packet) if self.downlink.octets < DOWNLINK_OCTETS => {
                    self.downlink.push(Bytes::copy_from_slice(packet));
                }
                Incoming::Skip => break,
                // A denied flow gets its ICMP error as well, which is what the kernel understands.
                Incoming::Packet(_)
                | Incoming::Offloaded(_)
                | Incoming::FlowDenied(_)
                | Incoming::PortMap(_)
                | Incoming::Stream(_)
                | Incoming::Done => {}
            }
        }
        self.tunnel.end_message(now);
        if !self.downlink.packets.is_empty() {
            self.downlink.wake();
        }
    }

    fn handle_disconnected(&mut self, now: Instant) {
        self.tunnel.handle_disconnected(now);
    }

    fn handle_timeout(&mut self, now: Instant) {
        self.tunnel.handle_timeout(now);
    }

    fn poll_transmit(&mut self, now: Instant) -> Option<Bytes> {
        if let Some(message) = self.tunnel.poll_control(now) {
            return Some(message);
        }
        let Some((mut batch, wanted)) = self.tunnel.begin_batch() else { return self.tunnel.poll_ack(now) };
        while batch.len() < wanted
            && let Some(packet) = self.uplink.packets.front()
        {
            if !batch.push_packet(0, packet) {
                break;
            }
            self.uplink.pop();
        }
        if self.uplink.octets < UPLINK_OCTETS {
            self.uplink.wake();
        }
        self.tunnel.commit(batch, now)
    }

    fn poll_timeout(&self) -> Option<Instant> {
        self.tunnel.poll_timeout()
    }

    fn close(&mut self, now: Instant) {
        self.tunnel.close(now);
    }

    fn is_closed(&self) -> bool {
        self.tunnel.is_closed()
    }

    fn dispatch(&mut self) -> Orders {
        let mut orders = Orders::default();
        while let Some(event) = self.tunnel.poll_event() {
            match event {
                TunnelEvent::OpenTransport => orders.open = true,
                TunnelEvent::CloseTransport => orders.close = true,
                TunnelEvent::Status(status) => publish(self.status.as_ref(), status),
                TunnelEvent::SessionLost | TunnelEvent::LeaseChanged | TunnelEvent::Streams(_) => {}
            }
        }
        orders
    }

    fn finish(&mut self) {
        self.uplink.wake();
        self.downlink.wake();
        self.status = None;
    }
}

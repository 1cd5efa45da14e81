//! The connections of streams, in the driver's own task: what a client sends goes from its message into the kernel's socket,
//! and what a server sends goes from there into its session's queue, without a channel between.
//!
//! A socket is read and written until it takes or has no more, and then waited for. See `dataplane/streams` for who bounds what.

mod dial;

use super::dns::Forwarder;
use crate::dataplane::{Gateway, SessionId, StreamEvent, StreamHost, Uplink};
use bytes::{BufMut, BytesMut};
use futures_util::future::{AbortHandle, BoxFuture, abortable};
use futures_util::stream::{FuturesUnordered, StreamExt};
use socket2::SockRef;
use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpStream;
use webtun_wire::{Instant, ResetReason};

/// Octets read at once, at most: a message's worth.
const READ: usize = 256 * 1024;
/// With less room the next buffer is taken, and what is shorter is copied, lest it keep the memory of all that was read.
const LEAST: usize = READ / 4;

/// A session and its stream.
type Key = (SessionId, u64);

/// What has come to pass for a stream.
pub(super) struct Progress {
    key: Key,
    step: Step,
}

enum Step {
    Resolved(Vec<IpAddr>, u16),
    Connected(Result<TcpStream, ResetReason>),
    Readable,
    Writable,
}

/// A stream's socket, or the way to it. What is waited for ends with it.
enum Connection {
    Opening(AbortHandle),
    Open { socket: Arc<TcpStream>, reading: Option<AbortHandle>, writing: Option<AbortHandle> },
}

impl Drop for Connection {
    fn drop(&mut self) {
        match self {
            Self::Opening(opening) => opening.abort(),
            Self::Open { reading, writing, .. } => reading.iter().chain(writing.iter()).for_each(AbortHandle::abort),
        }
    }
}

/// The connections of all sessions of a driver.
pub(super) struct Streams {
    connections: BTreeMap<Key, Connection>,
    waits: FuturesUnordered<BoxFuture<'static, Option<Progress>>>,
    forwarder: Arc<Forwarder>,
    buffer: BytesMut,
}

impl Streams {
    /// Names are resolved by `forwarder`.
    pub(super) fn new(forwarder: Arc<Forwarder>) -> Self {
        let (connections, waits) = (BTreeMap::new(), FuturesUnordered::new());
        Self { connections, waits, forwarder, buffer: BytesMut::new() }
    }

    /// Waits until there is something to be handled.
    pub(super) async fn next(&mut self) -> Progress {
        loop {
            match self.waits.next().await {
                Some(Some(progress)) => return progress,
                // It was called off.
                Some(None) => {}
                None => std::future::pending().await,
            }
        }
    }

    /// Does what the dataplane wants done.
    pub(super) fn act(&mut self, key: Key, what: StreamEvent, gateway: &mut Gateway, now: Instant) {
        match what {
            StreamEvent::Open { host: StreamHost::Address(address), port } => {
                self.connect(key, &[address], port, gateway, now);
            }
            StreamEvent::Open { host: StreamHost::Name(name), port } => {
                let forwarder = Arc::clone(&self.forwarder);
                let resolving = async move { Step::Resolved(forwarder.addresses(&name).await, port) };
                let handle = self.wait(key, resolving);
                self.connections.insert(key, Connection::Opening(handle));
            }
            StreamEvent::Write => self.write(key, gateway, now),
            StreamEvent::Read => self.read(key, gateway, now),
            StreamEvent::Over { reset } => self.end(key, reset),
        }
    }

    /// Goes on with what [`Streams::next`] has given.
    pub(super) fn handle(&mut self, Progress { key, step }: Progress, gateway: &mut Gateway, now: Instant) {
        match step {
            Step::Resolved(addresses, _) if addresses.is_empty() => {
                gateway.stream_failed(key.0, key.1, ResetReason::NameNotFound, now);
            }
            Step::Resolved(addresses, port) => self.connect(key, &addresses, port, gateway, now),
            Step::Connected(Ok(stream)) => self.connected(key, stream, gateway, now),
            Step::Connected(Err(reason)) => gateway.stream_failed(key.0, key.1, reason, now),
            Step::Readable => {
                self.change_waits(key, |reading, _| *reading = None);
                self.read(key, gateway, now);
            }
            Step::Writable => {
                self.change_waits(key, |_, writing| *writing = None);
                self.write(key, gateway, now);
            }
        }
    }

    fn connect(&mut self, key: Key, hosts: &[IpAddr], port: u16, gateway: &mut Gateway, now: Instant) {
        let mut denial = ResetReason::Policy;
        let mut admitted = Vec::new();
        for host in hosts {
            match gateway.admit_stream(key.0, SocketAddr::new(*host, port)) {
                Ok(address) => admitted.push(address),
                Err(reason) => denial = reason,
            }
        }
        if admitted.is_empty() {
            return gateway.stream_failed(key.0, key.1, denial, now);
        }
        let handle = self.wait(key, async move { Step::Connected(dial::connect(admitted).await) });
        self.connections.insert(key, Connection::Opening(handle));
    }

    fn connected(&mut self, key: Key, stream: TcpStream, gateway: &mut Gateway, now: Instant) {
        let ends = stream.local_addr().and_then(|local| Ok((local, stream.peer_addr()?)));
        let connection = Connection::Open { socket: Arc::new(stream), reading: None, writing: None };
        self.connections.insert(key, connection);
        match ends {
            Ok((local, remote)) if gateway.stream_connected(key.0, key.1, local, remote, now) => {}
            Ok(_) => self.end(key, true),
            Err(error) => gateway.stream_failed(key.0, key.1, dial::reason_of(&error), now),
        }
    }

    fn write(&mut self, key: Key, gateway: &mut Gateway, now: Instant) {
        let Some(Connection::Open { socket, writing: None, .. }) = self.connections.get(&key) else { return };
        let socket = Arc::clone(socket);
        loop {
            let written = match gateway.stream_uplink(key.0, key.1) {
                Uplink::Data(data) => socket.try_write(data),
                Uplink::Finish => {
                    // Where it fails, reading tells why.
                    let _ = SockRef::from(&*socket).shutdown(std::net::Shutdown::Write);
                    return gateway.stream_finish_written(key.0, key.1);
                }
                Uplink::Nothing => return,
            };
            match written {
                Ok(octets) => gateway.stream_written(key.0, key.1, octets, now),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) => return gateway.stream_failed(key.0, key.1, dial::reason_of(&error), now),
            }
        }
        gateway.stream_stuck(key.0, key.1);
        let handle = self.wait(key, async move {
            // An error shows with the next write.
            let _ = socket.writable().await;
            Step::Writable
        });
        self.change_waits(key, |_, writing| *writing = Some(handle));
    }

    fn read(&mut self, key: Key, gateway: &mut Gateway, now: Instant) {
        let Some(Connection::Open { socket, reading: None, .. }) = self.connections.get(&key) else { return };
        let socket = Arc::clone(socket);
        loop {
            let room = gateway.stream_room(key.0, key.1).min(READ);
            if room == 0 {
                return;
            }
            if self.buffer.capacity() < LEAST {
                self.buffer = gateway.buffer(READ);
            }
            match socket.try_read_buf(&mut (&mut self.buffer).limit(room)) {
                Ok(0) => return gateway.stream_ended(key.0, key.1, now),
                Ok(_) => gateway.stream_received(key.0, key.1, self.take_read(), now),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) => return gateway.stream_failed(key.0, key.1, dial::reason_of(&error), now),
            }
        }
        let handle = self.wait(key, async move {
            // An error shows with the next read.
            let _ = socket.readable().await;
            Step::Readable
        });
        self.change_waits(key, |reading, _| *reading = Some(handle));
    }

    /// What was read. Little is copied, lest it keep the memory of much.
    fn take_read(&mut self) -> BytesMut {
        if self.buffer.len() >= LEAST {
            return self.buffer.split();
        }
        let read = BytesMut::from(&self.buffer[..]);
        self.buffer.clear();
        read
    }

    /// Lets a wait end in progress, unless it is called off.
    fn wait(&mut self, key: Key, step: impl Future<Output = Step> + Send + 'static) -> AbortHandle {
        let (step, handle) = abortable(step);
        self.waits.push(Box::pin(async move { step.await.ok().map(|step| Progress { key, step }) }));
        handle
    }

    fn change_waits(&mut self, key: Key, set: impl FnOnce(&mut Option<AbortHandle>, &mut Option<AbortHandle>)) {
        if let Some(Connection::Open { reading, writing, .. }) = self.connections.get_mut(&key) {
            set(reading, writing);
        }
    }

    fn end(&mut self, key: Key, reset: bool) {
        let Some(connection) = self.connections.remove(&key) else { return };
        if let Connection::Open { socket, .. } = &connection
            && reset
            && let Err(error) = SockRef::from(&**socket).set_linger(Some(Duration::ZERO))
        {
            tracing::debug!(%error, "a connection ends by FIN instead of RST");
        }
    }
}

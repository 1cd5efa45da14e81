//! The connections that the gateway makes itself: what its shell and its machine's kernel do with them.

use bytes::BytesMut;
use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use webtun_gateway::dataplane::{Gateway, SessionId, StreamEvent, StreamHost, Uplink};
use webtun_stack::{CloseReason, ConnectError, Host, HostConfig, Received, SocketEvent, SocketId, TcpOptions};
use webtun_wire::{Instant, ResetReason};

use super::World;
use crate::dns::Zone;
use crate::host::Machine;
use crate::rng::SimRng;

/// Octets read at once, at most. Odd, so that pieces do not end where buffers do.
const READ: usize = 40_001;
const MTU: usize = 1500;
const ADDRESSES: [(IpAddr, u8); 2] = [
    (IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 1)), 24),
    (IpAddr::V6(std::net::Ipv6Addr::new(0x2001, 0xdb8, 1, 0, 0, 0, 0, 1)), 64),
];

/// A session and its stream.
type Key = (SessionId, u64);

/// The machine that the gateway runs on, with the sockets of its streams: a network stack like that of every other host, in
/// the place of a kernel.
pub struct Kernel {
    /// Its network stack.
    pub machine: Machine,
    /// Octets that its sockets have taken of streams.
    pub written: u64,
    /// Octets that streams were given.
    pub read: u64,
    sockets: BTreeMap<Key, SocketId>,
    keys: BTreeMap<SocketId, Key>,
}

impl Kernel {
    pub(super) fn new(mut rng: SimRng, now: Instant) -> Self {
        // Nobody tells the other end of this link: the gateway clamps what sessions send, not what its machine does.
        let config = HostConfig { mtu: MTU, ..HostConfig::new(rng.seed()) };
        let mut machine = Machine::new(&ADDRESSES, MTU, rng, now);
        machine.host = Host::new(config, now);
        machine.host.set_addresses(&ADDRESSES, now);
        Self { machine, written: 0, read: 0, sockets: BTreeMap::new(), keys: BTreeMap::new() }
    }

    /// Sockets of streams that there are.
    pub fn sockets(&self) -> usize {
        self.sockets.len()
    }

    /// Does what the dataplane wants done.
    pub(super) fn act(&mut self, key: Key, what: StreamEvent, zone: &Zone, gateway: &mut Gateway, now: Instant) {
        match what {
            StreamEvent::Open { host: StreamHost::Address(address), port } => {
                self.connect(key, &[address], port, gateway, now);
            }
            StreamEvent::Open { host: StreamHost::Name(name), port } => {
                let addresses = zone.addresses(&name);
                if addresses.is_empty() {
                    gateway.stream_failed(key.0, key.1, ResetReason::NameNotFound, now);
                } else {
                    self.connect(key, &addresses, port, gateway, now);
                }
            }
            StreamEvent::Write => self.write(key, gateway, now),
            StreamEvent::Read => self.read(key, gateway, now),
            StreamEvent::Over { reset } => self.end(key, reset, now),
        }
    }

    /// What has come to pass for its sockets. True where there was anything.
    pub(super) fn go_on(&mut self, gateway: &mut Gateway, now: Instant) -> bool {
        self.machine.drain(now);
        let events = std::mem::take(&mut self.machine.node.events);
        let moved = !events.is_empty();
        for (_, event) in events {
            self.handle(event, gateway, now);
        }
        moved
    }

    /// The process ends, and its sockets with it.
    pub(super) fn kill(&mut self, now: Instant) {
        let all: Vec<_> = self.sockets.keys().copied().collect();
        all.into_iter().for_each(|key| self.end(key, true, now));
    }

    fn handle(&mut self, event: SocketEvent, gateway: &mut Gateway, now: Instant) {
        let key = |id| self.keys.get(&id).copied();
        match event {
            SocketEvent::TcpConnected(id) => {
                if let Some(key) = key(id) {
                    self.connected(key, id, gateway, now);
                }
            }
            SocketEvent::TcpConnectFailed(id, error) => {
                if let Some(key) = key(id) {
                    gateway.stream_failed(key.0, key.1, reason_of(error), now);
                }
            }
            SocketEvent::TcpReadable(id) => {
                if let Some(key) = key(id) {
                    self.read(key, gateway, now);
                }
            }
            SocketEvent::TcpWritable(id) => {
                if let Some(key) = key(id) {
                    self.write(key, gateway, now);
                }
            }
            // As a poll says of a socket in error: whoever tries hears why.
            SocketEvent::TcpClosed(id, _) => {
                if let Some(key) = key(id) {
                    self.read(key, gateway, now);
                    self.write(key, gateway, now);
                }
            }
            _ => {}
        }
    }

    fn connect(&mut self, key: Key, hosts: &[IpAddr], port: u16, gateway: &mut Gateway, now: Instant) {
        let admitted = hosts.iter().map(|host| gateway.admit_stream(key.0, SocketAddr::new(*host, port)));
        let tried = match admitted.reduce(Result::or) {
            Some(Ok(address)) => self.machine.host.tcp_connect(address, TcpOptions::default(), now).map_err(reason_of),
            Some(Err(reason)) => Err(reason),
            None => Err(ResetReason::Unreachable),
        };
        match tried {
            Ok(id) => {
                assert!(self.sockets.insert(key, id).is_none(), "a stream is opened once");
                self.keys.insert(id, key);
            }
            Err(reason) => gateway.stream_failed(key.0, key.1, reason, now),
        }
    }

    fn connected(&mut self, key: Key, id: SocketId, gateway: &mut Gateway, now: Instant) {
        let (local, remote) = self.machine.host.tcp_addresses(id).expect("an open socket has both");
        if !gateway.stream_connected(key.0, key.1, local, remote, now) {
            self.end(key, true, now);
        }
    }

    fn write(&mut self, key: Key, gateway: &mut Gateway, now: Instant) {
        let Some(id) = self.sockets.get(&key).copied() else { return };
        loop {
            let written = match gateway.stream_uplink(key.0, key.1) {
                Uplink::Data(data) => self.machine.host.tcp_send(id, data, now),
                Uplink::Finish => {
                    self.machine.host.tcp_shutdown(id, now);
                    return gateway.stream_finish_written(key.0, key.1);
                }
                Uplink::Nothing => return,
            };
            match written {
                Ok(0) => return gateway.stream_stuck(key.0, key.1),
                Ok(octets) => {
                    self.written += octets as u64;
                    gateway.stream_written(key.0, key.1, octets, now);
                }
                Err(_) => return self.fail(key, id, gateway, now),
            }
        }
    }

    fn read(&mut self, key: Key, gateway: &mut Gateway, now: Instant) {
        let Some(id) = self.sockets.get(&key).copied() else { return };
        loop {
            let room = gateway.stream_room(key.0, key.1);
            if room == 0 {
                return;
            }
            let mut buffer = BytesMut::zeroed(room.min(READ));
            match self.machine.host.tcp_recv(id, &mut buffer, now) {
                Ok(Received::Data(octets)) => {
                    buffer.truncate(octets);
                    self.read += octets as u64;
                    gateway.stream_received(key.0, key.1, buffer, now);
                }
                Ok(Received::Empty) => return,
                Ok(Received::Finished) => return gateway.stream_ended(key.0, key.1, now),
                Err(_) => return self.fail(key, id, gateway, now),
            }
        }
    }

    fn fail(&self, key: Key, id: SocketId, gateway: &mut Gateway, now: Instant) {
        use webtun_stack::TcpState::Closed;
        let timed_out = matches!(self.machine.host.tcp_state(id), Some(Closed(CloseReason::TimedOut)));
        let reason = if timed_out { ResetReason::TimedOut } else { ResetReason::Aborted };
        gateway.stream_failed(key.0, key.1, reason, now);
    }

    fn end(&mut self, key: Key, reset: bool, now: Instant) {
        let Some(id) = self.sockets.remove(&key) else { return };
        self.keys.remove(&id);
        if reset {
            self.machine.host.tcp_abort(id, now);
        }
        self.machine.host.close(id, now);
    }
}

impl World {
    /// Does what is to be done for streams. True where there was anything.
    pub(super) fn drain_kernel(&mut self) -> bool {
        let now = self.now();
        let mut moved = self.kernel.go_on(&mut self.gateway, now);
        while let Some(packet) = self.kernel.machine.poll_packet() {
            moved = true;
            self.egress(packet);
        }
        moved
    }
}

fn reason_of(error: ConnectError) -> ResetReason {
    match error {
        ConnectError::Refused => ResetReason::Refused,
        ConnectError::HostUnreachable | ConnectError::NetUnreachable => ResetReason::Unreachable,
        ConnectError::TimedOut => ResetReason::TimedOut,
        ConnectError::Denied => ResetReason::Policy,
        _ => ResetReason::Aborted,
    }
}

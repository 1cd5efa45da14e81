//! Opening, accepting and ending connections.

use std::net::SocketAddr;

use webtun_wire::Instant;

use super::{Host, MAX_ORPHANS, TimerKey};
use crate::buffers::Reservation;
use crate::demux::{Binding, Flow};
use crate::engine::Core;
use crate::socket::listener::Listener;
use crate::socket::tcp::{Change, Owner, TcpSocket, new_socket};
use crate::{BindError, CloseReason, ConnectError, ListenOptions, SocketEvent, SocketId, TcpOptions, packet};

/// Whose ports are looked at.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Table {
    Listeners,
    Udp,
    Echo,
}

impl Host {
    /// Begins to connect. `TcpConnected` or `TcpConnectFailed` follows.
    ///
    /// # Errors
    /// Where no SYN could be sent: see [`ConnectError`].
    pub fn tcp_connect(
        &mut self,
        remote: SocketAddr,
        options: TcpOptions,
        now: Instant,
    ) -> Result<SocketId, ConnectError> {
        let remote = canonical(remote);
        if remote.port() == 0 || !packet::is_unicast(remote.ip()) {
            return Err(ConnectError::Unaddressable);
        }
        if !self.has_room_for_socket() {
            return Err(ConnectError::TooManySockets);
        }
        let flow = Flow { local: self.choose_local(remote, options.local.map(canonical), now)?, remote };
        let mut buffers = self.reserve_buffers(&options, now).ok_or(ConnectError::NoBuffers)?;
        let mut socket = new_socket(&mut buffers, &options);
        if !self.engine.connect(&mut socket, flow.local, flow.remote) {
            return Err(ConnectError::Unaddressable);
        }
        let id = self.new_id();
        self.insert_tcp(id, Core::new(socket, buffers), flow, Owner::Program, &options, now);
        self.mark_dirty(id);
        Ok(id)
    }

    fn choose_local(
        &mut self,
        remote: SocketAddr,
        wanted: Option<SocketAddr>,
        now: Instant,
    ) -> Result<SocketAddr, ConnectError> {
        let ip = match wanted {
            Some(wanted) if !wanted.ip().is_unspecified() => wanted.ip(),
            _ => self.source_for(remote.ip()).ok_or(ConnectError::AddressNotAvailable)?,
        };
        if !self.is_for_us(ip) || ip.is_ipv4() != remote.is_ipv4() {
            return Err(ConnectError::AddressNotAvailable);
        }
        let (flows, time_wait, listening) = (&self.flows, &self.time_wait, &self.listening);
        let taken = |flow: &Flow| flows.contains_key(flow) || time_wait.contains(flow, now);
        match wanted.map_or(0, |wanted| wanted.port()) {
            0 => {
                let free = |port| {
                    let local = SocketAddr::new(ip, port);
                    local != remote && !taken(&Flow { local, remote }) && listening.find(local, remote).is_none()
                };
                let port = self.ports.pick(ip, Some(remote), free).ok_or(ConnectError::NoPorts)?;
                Ok(SocketAddr::new(ip, port))
            }
            port => {
                let local = SocketAddr::new(ip, port);
                if taken(&Flow { local, remote }) { Err(ConnectError::AddressInUse) } else { Ok(local) }
            }
        }
    }

    /// Takes connections at `local`: unspecified means all of our addresses (of both families for `[::]` unless
    /// `ipv6_only`), port 0 any free one.
    ///
    /// # Errors
    /// See [`BindError`].
    pub fn tcp_listen(
        &mut self,
        local: SocketAddr,
        options: ListenOptions,
        _now: Instant,
    ) -> Result<SocketId, BindError> {
        let binding = self.choose_binding(local, options.ipv6_only, Table::Listeners)?;
        let id = self.new_id();
        self.listening.insert(binding, id);
        self.listeners.insert(id, Listener::new(binding, options));
        Ok(id)
    }

    /// What a listener, or a socket for datagrams, at `local` is bound to.
    pub(super) fn choose_binding(
        &mut self,
        local: SocketAddr,
        ipv6_only: bool,
        table: Table,
    ) -> Result<Binding, BindError> {
        let local = canonical(local);
        if !local.ip().is_unspecified() && !self.is_own(local.ip()) {
            return Err(BindError::AddressNotAvailable);
        }
        if !self.has_room_for_socket() {
            return Err(BindError::TooManySockets);
        }
        let dual = local.is_ipv6() && local.ip().is_unspecified() && !ipv6_only;
        let bound = match table {
            Table::Listeners => &self.listening,
            Table::Udp => &self.udp_bound,
            Table::Echo => &self.echo_bound,
        };
        // The identifier of our own pings is none for a program.
        let pings = self.pings.identifier().filter(|_| table == Table::Echo);
        let binding = |port| Binding { address: local.ip(), port, dual, remote: None };
        let taken = |port| pings == Some(port) || bound.conflicts(&binding(port));
        if local.port() == 0 {
            let free = |port| !taken(port);
            // IPv4 ports are scarcer; a socket for both families takes one that suits them.
            let family = if dual { super::ANY_V4 } else { local.ip() };
            self.ports.pick(family, None, free).map(binding).ok_or(BindError::NoPorts)
        } else if taken(local.port()) {
            Err(BindError::AddressInUse)
        } else {
            Ok(binding(local.port()))
        }
    }

    /// The next connection of a listener.
    pub fn tcp_accept(&mut self, listener: SocketId) -> Option<SocketId> {
        let queue = &mut self.listeners.get_mut(&listener)?.accept_queue;
        let id = queue.pop_front()?;
        let socket = self.tcp.get_mut(&id)?;
        socket.owner = Owner::Program;
        if let crate::TcpState::Closed(reason) = socket.state() {
            self.events.push_back(SocketEvent::TcpClosed(id, reason));
        }
        self.announce(id);
        Some(id)
    }

    pub(super) fn reserve_buffers(&mut self, options: &TcpOptions, now: Instant) -> Option<Reservation> {
        self.budget.reserve(options.buffers.or(self.config.buffers), now)
    }

    pub(super) fn insert_tcp(
        &mut self,
        id: SocketId,
        core: Core,
        flow: Flow,
        owner: Owner,
        options: &TcpOptions,
        now: Instant,
    ) {
        let mut socket = TcpSocket::new(core, flow, owner, options, self.config.tcp_user_timeout, now);
        self.timers.schedule(TimerKey::Tcp(id), socket.deadline(), &mut socket.scheduled);
        self.flows.insert(flow, id);
        self.tcp.insert(id, socket);
    }

    /// Acts on what a connection has gone through, tells its owner, and forgets it where that is all.
    pub(super) fn settle(&mut self, id: SocketId, change: Change) {
        let Some(socket) = self.tcp.get_mut(&id) else { return };
        match (change, socket.owner) {
            (Change::Connected, Owner::Program) => self.events.push_back(SocketEvent::TcpConnected(id)),
            (Change::Connected, Owner::Listener(listener)) => self.offer(listener, id),
            (Change::Vanished, Owner::Program) => {
                let error = ConnectError::Refused;
                socket.fail(error);
                self.events.push_back(SocketEvent::TcpConnectFailed(id, error));
            }
            (Change::Failed(error), Owner::Program) => {
                self.events.push_back(SocketEvent::TcpConnectFailed(id, error));
            }
            (Change::Failed(_) | Change::Vanished, Owner::Listener(listener)) => {
                if let Some(listener) = self.listeners.get_mut(&listener) {
                    listener.half_open -= 1;
                }
                self.forget_tcp(id);
            }
            (Change::Closed(reason), Owner::Program) => {
                self.announce(id);
                self.events.push_back(SocketEvent::TcpClosed(id, reason));
            }
            _ => {}
        }
        self.announce(id);
        self.reap(id);
    }

    /// The handshake of an incoming connection is over.
    fn offer(&mut self, listener_id: SocketId, id: SocketId) {
        let Some(listener) = self.listeners.get_mut(&listener_id) else { return };
        listener.half_open -= 1;
        listener.accept_queue.push_back(id);
        if listener.accept_queue.len() == 1 {
            self.events.push_back(SocketEvent::TcpIncoming(listener_id));
        }
    }

    /// Emits what has turned readable or writable.
    pub(super) fn announce(&mut self, id: SocketId) {
        let Some(socket) = self.tcp.get_mut(&id).filter(|socket| socket.owner == Owner::Program) else { return };
        if socket.turned_readable() {
            self.events.push_back(SocketEvent::TcpReadable(id));
        }
        if socket.turned_writable() {
            self.events.push_back(SocketEvent::TcpWritable(id));
        }
    }

    /// Drops smoltcp's socket once it has nothing left to do, and the whole connection where nobody owns it.
    pub(super) fn reap(&mut self, id: SocketId) {
        let Some(socket) = self.tcp.get_mut(&id) else { return };
        if !socket.is_done() {
            return;
        }
        let (flow, owner) = (socket.flow, socket.owner);
        // A new connection may have taken the addresses over from TIME-WAIT.
        if self.flows.get(&flow) == Some(&id) {
            self.flows.remove(&flow);
        }
        if owner == Owner::Nobody {
            self.tcp.remove(&id);
            self.orphans.remove(&id);
        }
    }

    fn forget_tcp(&mut self, id: SocketId) {
        self.orphans.remove(&id);
        let Some(socket) = self.tcp.remove(&id) else { return };
        if self.flows.get(&socket.flow) == Some(&id) {
            self.flows.remove(&socket.flow);
        }
    }

    /// Ends a connection on our side; `tell` sends a RST.
    pub(super) fn end_tcp(&mut self, id: SocketId, reason: CloseReason, tell: bool, _now: Instant) {
        let Some(socket) = self.tcp.get_mut(&id) else { return };
        let change = socket.end(reason, tell);
        if tell {
            self.mark_dirty(id);
        }
        self.settle(id, change);
    }

    pub(super) fn close_tcp(&mut self, id: SocketId, now: Instant) {
        let Some(socket) = self.tcp.get_mut(&id) else { return };
        let unread = socket.readable() > 0;
        socket.owner = Owner::Nobody;
        self.orphans.insert(id);
        if socket.is_connecting() || unread {
            self.end_tcp(id, CloseReason::Aborted, true, now);
        } else {
            socket.shutdown(now);
            self.rearm(id);
            self.reap(id);
        }
        if self.orphans.len() > MAX_ORPHANS
            && let Some(oldest) = self.orphans.iter().min().copied()
        {
            self.end_tcp(oldest, CloseReason::Aborted, true, now);
            self.forget_tcp(oldest);
        }
    }

    /// Resets what a listener that is gone has not handed out.
    pub(super) fn close_pending(&mut self, listener: SocketId, now: Instant) {
        let pending = self.tcp.iter().filter(|(_, socket)| socket.owner == Owner::Listener(listener));
        for id in super::sorted(pending) {
            if let Some(socket) = self.tcp.get_mut(&id) {
                socket.owner = Owner::Nobody;
            }
            self.orphans.insert(id);
            self.end_tcp(id, CloseReason::Aborted, true, now);
        }
    }
}

/// IPv4-mapped addresses (RFC 4291 section 2.5.5.2) name IPv4 hosts.
pub(super) fn canonical(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}

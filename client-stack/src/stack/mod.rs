//! Host, tunnel, resolver and port maps under one roof.

mod sockets;

use std::collections::VecDeque;
use std::net::IpAddr;
use std::time::Duration;

use bytes::Bytes;
use webtun_wire::{BatchWriter, Capsule, Instant, MAX_PACKET_LEN, OFFLOAD_HEADER_LEN, OffloadHeader, capsules};

use crate::portmap::PortMaps;
use crate::resolver::Resolver;
use crate::streams::Streams;
use crate::tunnel::{Incoming, Tunnel, TunnelEvent};
use crate::{
    CloseReason, ConnectError, Event, Family, Host, HostConfig, HostStats, Lease, MapId, PortMapError, PortMapOptions,
    QueryId, ResolveError, SocketEvent, SocketId, StackConfig, Status, TunnelStats,
};

/// TCP, UDP, ICMP and DNS through one message channel to a gateway. Pure: the shell owns the WebSocket, the clock and
/// the randomness.
///
/// Contract: after any `&mut` call drain [`poll_transmit`](Self::poll_transmit) (while the transport can take a
/// message), then [`poll_event`](Self::poll_event), then wait for [`poll_timeout`](Self::poll_timeout) or input. Extra
/// calls are harmless.
pub struct Stack {
    tunnel: Tunnel,
    host: Host,
    streams: Streams,
    /// Whose turn it is to fill a message first.
    streams_first: bool,
    resolver: Resolver,
    maps: PortMaps,
    events: VecDeque<Event>,
    /// Events of the resolver's own sockets.
    internal: VecDeque<(SocketId, SocketEvent)>,
    /// What goes out before CLOSE.
    farewell: VecDeque<Bytes>,
    oversized: u64,
    ipv6_only: bool,
}

impl Stack {
    /// A stack that asks for its first transport.
    pub fn new(config: StackConfig, now: Instant) -> Self {
        let host_config = HostConfig {
            buffers: config.buffers,
            max_sockets: config.max_sockets,
            queue_octets: config.batch_len.max(MAX_PACKET_LEN),
            fragments: true,
            ..HostConfig::new(config.seed)
        };
        let mut host = Host::new(host_config, now);
        host.set_link(false, now);
        let streams = Streams::new(config.stream_buffer.max(1), config.stream_window);
        let mut stack = Self {
            ipv6_only: config.ipv6_only,
            resolver: Resolver::new(config.seed),
            tunnel: Tunnel::new(config, now),
            host,
            streams,
            streams_first: false,
            maps: PortMaps::default(),
            events: VecDeque::new(),
            internal: VecDeque::new(),
            farewell: VecDeque::new(),
            oversized: 0,
        };
        stack.settle(now);
        stack
    }

    /// The WebSocket is open, with the subprotocol agreed on. HELLO is ready in `poll_transmit`.
    pub fn handle_connected(&mut self, now: Instant) {
        self.tunnel.handle_connected(now);
        self.settle(now);
    }

    /// The WebSocket is gone, or could not be opened. The back-off begins.
    pub fn handle_disconnected(&mut self, now: Instant) {
        self.tunnel.handle_disconnected(now);
        self.settle(now);
    }

    /// One binary message has come: a whole batch, handled in one go.
    pub fn handle_message(&mut self, message: &[u8], now: Instant) {
        self.handle(message, None, now);
    }

    /// As [`handle_message`](Self::handle_message), for a message whose memory may be kept: what it brings on a stream is
    /// not copied where it is a large part of it.
    pub fn handle_shared_message(&mut self, message: &Bytes, now: Instant) {
        self.handle(message, Some(message), now);
    }

    fn handle(&mut self, message: &[u8], shared: Option<&Bytes>, now: Instant) {
        // Also where nobody waits for it: whoever has this message has the last one no more.
        self.host.begin_message(message);
        self.streams.begin_message(message, shared);
        if self.tunnel.begin_message(message.len(), now) {
            self.handle_capsules(message, now);
            self.tunnel.end_message(now);
        }
        self.host.end_message();
        self.streams.end_message();
        self.settle(now);
    }

    fn handle_capsules(&mut self, message: &[u8], now: Instant) {
        for capsule in capsules(message) {
            let incoming = match capsule {
                Ok(capsule) => self.tunnel.handle_capsule(capsule, now),
                Err(error) => {
                    self.tunnel.handle_malformed(error, now);
                    break;
                }
            };
            match incoming {
                Incoming::Packet(packet) => self.host.handle_packet(packet, now),
                Incoming::Offloaded(payload) => self.host.handle_offloaded(payload, now),
                Incoming::FlowDenied(denied) => {
                    self.host.handle_flow_denied(&denied, now);
                    self.events.push_back(Event::FlowDenied(denied));
                }
                Incoming::Stream(capsule) => {
                    if !self.streams.handle(&capsule) {
                        self.tunnel.handle_breach(now);
                    }
                    self.apply_tunnel_events(now);
                }
                Incoming::PortMap(response) => self.maps.handle_response(&response, now),
                Incoming::Done => self.apply_tunnel_events(now),
                Incoming::Skip => break,
            }
        }
    }

    /// Does what has come due.
    pub fn handle_timeout(&mut self, now: Instant) {
        self.tunnel.handle_timeout(now);
        self.host.handle_timeout(now);
        self.resolver.handle_timeout(&mut self.host, now);
        self.maps.handle_timeout(now);
        self.streams.handle_timeout(now);
        self.settle(now);
    }

    /// When [`handle_timeout`](Self::handle_timeout) wants to be called next.
    pub fn poll_timeout(&self) -> Option<Instant> {
        let all = [
            self.tunnel.poll_timeout(),
            self.host.poll_timeout(),
            self.resolver.poll_timeout(),
            self.maps.poll_timeout(),
            self.streams.poll_timeout(),
        ];
        all.into_iter().flatten().min()
    }

    /// The next binary message. To be called only while the transport can take one: what is not taken stays in the
    /// sockets, which is the back-pressure.
    pub fn poll_transmit(&mut self, now: Instant) -> Option<Bytes> {
        let message = self.farewell.pop_front();
        let message = message
            .or_else(|| self.tunnel.poll_control(now))
            .or_else(|| self.poll_batch(now))
            .or_else(|| self.tunnel.poll_ack(now));
        self.settle(now);
        message
    }

    fn poll_batch(&mut self, now: Instant) -> Option<Bytes> {
        let Some((mut batch, wanted)) = self.tunnel.begin_batch() else {
            // What the program sends to itself goes on, whatever the gateway takes.
            self.host.fill_queue(now);
            return None;
        };
        while let Some(request) = self.maps.poll_request() {
            if !batch.push(&Capsule::PortMapRequest(request)) {
                self.maps.put_back(request);
                break;
            }
        }
        self.host.set_pace(wanted);
        self.fill_streams(&mut batch, wanted);
        self.fill_packets(&mut batch, wanted, now);
        // What packets have left.
        self.streams.fill(&mut batch, wanted);
        if batch.is_empty() && self.host.has_packet() && self.host.poll_packet(now).is_some() {
            // Longer than a whole message: the gateway's limits have shrunk since it was made.
            self.oversized += 1;
        }
        self.tunnel.commit(batch, now)
    }

    /// Streams and packets begin in turn, so that neither keep the other from the line.
    fn fill_streams(&mut self, batch: &mut BatchWriter, wanted: usize) {
        if !self.streams.has_something() {
            return;
        }
        self.streams_first = !self.streams_first;
        self.streams.fill(batch, if self.streams_first { wanted } else { wanted / 2 });
    }

    fn fill_packets(&mut self, batch: &mut BatchWriter, wanted: usize, now: Instant) {
        match self.tunnel.offload_context() {
            Some(context) => self.fill_offloaded(context, batch, wanted, now),
            None => {
                while batch.len() < wanted
                    && let Some(packet) = self.host.poll_packet_within(batch.packet_room(), now)
                {
                    self.oversized += u64::from(!batch.push_packet(0, &packet));
                }
            }
        }
    }

    fn fill_offloaded(&mut self, context: u64, batch: &mut BatchWriter, wanted: usize, now: Instant) {
        let room = |batch: &BatchWriter| batch.packet_room().saturating_sub(OFFLOAD_HEADER_LEN);
        while batch.len() < wanted
            && let Some((header, packet)) = self.host.poll_offloaded_within(room(batch), now)
        {
            let is_plain = header == OffloadHeader::default();
            let fits =
                if is_plain { batch.push_packet(0, &packet) } else { batch.push_offload(context, &header, &packet) };
            self.oversized += u64::from(!fits);
        }
    }

    /// The next event.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    /// Ends the session for good. Resets of the open connections and CLOSE go out by `poll_transmit`, then
    /// `CloseTransport` follows.
    pub fn close_tunnel(&mut self, now: Instant) {
        self.host.reset_flows(now);
        self.streams.abort_all();
        while let Some(message) = self.poll_batch(now) {
            self.farewell.push_back(message);
        }
        self.tunnel.close(now);
        self.settle(now);
    }

    /// Skips the rest of the back-off, for example when the browser says that it is online again.
    pub fn reconnect_now(&mut self, now: Instant) {
        self.tunnel.reconnect_now(now);
        self.settle(now);
    }

    /// Where the tunnel stands.
    pub fn status(&self) -> &Status {
        self.tunnel.status()
    }

    /// What the gateway has given us; `None` while there is no session.
    pub fn lease(&self) -> Option<&Lease> {
        self.tunnel.lease()
    }

    /// The latest round trip to the gateway.
    pub fn rtt(&self) -> Option<Duration> {
        self.tunnel.rtt()
    }

    /// Counts of the tunnel.
    pub fn stats(&self) -> TunnelStats {
        TunnelStats { oversized: self.oversized, ..self.tunnel.stats() }
    }

    /// Counts of the network stack.
    pub fn host_stats(&self) -> HostStats {
        self.host.stats()
    }

    /// Asks for the addresses of a name. `Resolved` follows always, also for literals and known names. A name in another
    /// script than ASCII comes as A-labels (RFC 5890): the tables that make them are larger than the rest of the stack.
    pub fn resolve(&mut self, name: &str, family: Family, now: Instant) -> QueryId {
        let id = self.resolver.resolve(name, family, &mut self.host, now);
        if self.tunnel.is_closed() {
            self.resolver.fail_all(ResolveError::TunnelClosed, &mut self.host, now);
        }
        self.settle(now);
        id
    }

    /// Nobody waits for this name any more.
    pub fn cancel_resolve(&mut self, id: QueryId, now: Instant) {
        self.resolver.cancel(id, &mut self.host, now);
        self.events.retain(|event| !matches!(event, Event::Resolved { id: other, .. } if *other == id));
        self.settle(now);
    }

    /// Asks for an external port, and keeps it until [`unmap_port`](Self::unmap_port). `PortMapped` follows.
    pub fn map_port(&mut self, options: PortMapOptions, now: Instant) -> MapId {
        let id = self.maps.map(options);
        if self.tunnel.is_closed() {
            self.maps.fail_all(PortMapError::TunnelClosed);
        }
        self.settle(now);
        id
    }

    /// Gives an external port back.
    pub fn unmap_port(&mut self, id: MapId, now: Instant) {
        self.maps.unmap(id);
        self.events.retain(|event| !matches!(event, Event::PortMapped { id: other, .. } if *other == id));
        self.settle(now);
    }

    /// Brings what the parts have to say to each other and to the program.
    fn settle(&mut self, now: Instant) {
        if !self.tunnel.is_established() || self.host.has_inner_work() {
            // `poll_transmit` is not called while no transport takes a message; what the program sends to itself goes on.
            self.host.fill_queue(now);
        }
        loop {
            self.apply_tunnel_events(now);
            self.collect();
            let Some((id, event)) = self.internal.pop_front() else { break };
            self.resolver.handle_event(id, &event, &mut self.host, now);
        }
        while let Some((id, result)) = self.resolver.poll_result() {
            self.events.push_back(Event::Resolved { id, result });
        }
        while let Some((id, result)) = self.maps.poll_event() {
            self.events.push_back(Event::PortMapped { id, result });
        }
    }

    fn collect(&mut self) {
        while let Some(event) = self.streams.poll_event() {
            self.events.push_back(Event::Socket(event));
        }
        while let Some(event) = self.host.poll_event() {
            match socket_of(&event).filter(|id| self.resolver.owns(*id)) {
                Some(id) => self.internal.push_back((id, event)),
                None => self.events.push_back(Event::Socket(event)),
            }
        }
    }

    fn apply_tunnel_events(&mut self, now: Instant) {
        while let Some(event) = self.tunnel.poll_event() {
            match event {
                TunnelEvent::OpenTransport => self.events.push_back(Event::OpenTransport),
                TunnelEvent::CloseTransport => self.events.push_back(Event::CloseTransport),
                TunnelEvent::LeaseChanged => self.apply_lease(now),
                TunnelEvent::Streams(limits) => self.streams.set_gateway(limits),
                TunnelEvent::SessionLost => {
                    self.streams.drop_all(CloseReason::AddressLost, ConnectError::AddressLost);
                    self.host.drop_flows(CloseReason::AddressLost, now);
                    self.host.set_addresses(&[], now);
                    self.maps.session_lost();
                }
                TunnelEvent::Status(status) => self.apply_status(status, now),
            }
        }
    }

    fn apply_status(&mut self, status: Status, now: Instant) {
        self.host.set_link(matches!(status, Status::Connected { .. }), now);
        if matches!(status, Status::Closed { .. }) {
            self.host.drop_flows(CloseReason::TunnelClosed, now);
            self.streams.drop_all(CloseReason::TunnelClosed, ConnectError::TunnelClosed);
            self.host.set_addresses(&[], now);
            self.resolver.fail_all(ResolveError::TunnelClosed, &mut self.host, now);
            self.maps.fail_all(PortMapError::TunnelClosed);
        }
        self.events.push_back(Event::Status(status));
    }

    fn apply_lease(&mut self, now: Instant) {
        let Some(lease) = self.tunnel.lease() else { return };
        let (ipv4, ipv6) = (lease.port_ranges(true), lease.port_ranges(false));
        self.host.set_port_ranges(&ipv4, &ipv6);
        self.host.set_mtu(lease.mtu as usize, now);
        let is_used = |address: &IpAddr| address.is_ipv6() || !self.ipv6_only;
        let servers: Vec<IpAddr> = lease.dns.iter().copied().filter(is_used).collect();
        self.resolver.set_servers(&servers, &lease.search);
        let addresses: Vec<(IpAddr, u8)> =
            lease.addresses.iter().copied().filter(|(address, _)| is_used(address)).collect();
        if addresses != self.host.addresses() {
            self.host.set_addresses(&addresses, now);
        }
        self.resolver.resume(&mut self.host, now);
    }
}

fn socket_of(event: &SocketEvent) -> Option<SocketId> {
    match *event {
        SocketEvent::TcpConnected(id)
        | SocketEvent::TcpConnectFailed(id, _)
        | SocketEvent::TcpReadable(id)
        | SocketEvent::TcpWritable(id)
        | SocketEvent::TcpIncoming(id)
        | SocketEvent::TcpClosed(id, _)
        | SocketEvent::UdpReadable(id)
        | SocketEvent::UdpWritable(id)
        | SocketEvent::UdpError(id, ..) => Some(id),
        SocketEvent::Pong { .. } | SocketEvent::PingFailed { .. } => None,
    }
}

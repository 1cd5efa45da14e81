//! Events and addresses as 32-bit words: one crossing into JavaScript takes a whole batch.
//!
//! An event is `kind, number of words that follow, words`. An address is five words (4 or 6, then the octets in network
//! order, IPv4 in the first word); an endpoint is an address and a port.

use std::net::{IpAddr, SocketAddr};
#[cfg(feature = "ethernet")]
use webtun_stack::bridge::{BridgeEvent, MacAddress};
#[cfg(feature = "stack")]
use webtun_stack::{Event, SocketEvent, SocketId, Stack};
use webtun_stack::{Instant, Lease, MapId, PortMapError, PortMapping, Status};

use crate::codes::Code;

/// The kind of an event; the numbers are those of `src/engine/events.ts`. Those of an Ethernet segment name their link first.
#[cfg_attr(
    not(all(feature = "stack", feature = "ethernet")),
    expect(dead_code, reason = "each module has some of them")
)]
#[derive(Clone, Copy)]
#[repr(u32)]
enum Kind {
    OpenTransport = 1,
    CloseTransport = 2,
    Status = 3,
    TcpConnected = 4,
    TcpConnectFailed = 5,
    TcpReadable = 6,
    TcpWritable = 7,
    TcpIncoming = 8,
    TcpClosed = 9,
    UdpReadable = 10,
    UdpWritable = 11,
    UdpError = 12,
    Pong = 13,
    PingFailed = 14,
    Resolved = 15,
    PortMapped = 16,
    LinkRemoved = 17,
    GuestLease = 18,
}

/// A batch of words under construction.
#[derive(Default)]
pub struct Words(pub Vec<u32>);

impl Words {
    /// Appends an address.
    pub fn address(&mut self, address: IpAddr) {
        match address {
            IpAddr::V4(v4) => self.0.extend([4, v4.to_bits(), 0, 0, 0]),
            IpAddr::V6(v6) => {
                let bits = v6.to_bits();
                self.0.extend([6, (bits >> 96) as u32, (bits >> 64) as u32, (bits >> 32) as u32, bits as u32]);
            }
        }
    }

    /// Appends an address and a port.
    pub fn endpoint(&mut self, endpoint: SocketAddr) {
        self.address(endpoint.ip());
        self.0.push(endpoint.port().into());
    }

    /// Appends a length, saturating.
    pub fn length(&mut self, length: usize) {
        self.0.push(u32::try_from(length).unwrap_or(u32::MAX));
    }

    fn event<T>(&mut self, kind: Kind, body: impl FnOnce(&mut Self) -> T) -> T {
        self.0.push(kind as u32);
        let at = self.0.len();
        self.0.push(0);
        let result = body(self);
        let length = self.0.len() - at - 1;
        if let Some(slot) = self.0.get_mut(at) {
            *slot = u32::try_from(length).unwrap_or(u32::MAX);
        }
        result
    }

    /// Appends one event of a segment; returns the text of the end of a session, which is no word.
    #[cfg(feature = "ethernet")]
    pub fn push_bridge_event(&mut self, event: BridgeEvent, now: Instant) -> Option<String> {
        match event {
            BridgeEvent::OpenTransport(link) => self.event(Kind::OpenTransport, |words| words.0.push(link.get())),
            BridgeEvent::CloseTransport(link) => self.event(Kind::CloseTransport, |words| words.0.push(link.get())),
            BridgeEvent::Status(link, status) => {
                return self.event(Kind::Status, |words| {
                    words.0.push(link.get());
                    words.status(status, now)
                });
            }
            BridgeEvent::LeaseGiven { mac, address, .. } => self.event(Kind::GuestLease, |words| {
                words.mac(mac);
                words.address(address.into());
            }),
            BridgeEvent::PortMapped { link, map, result } => self.event(Kind::PortMapped, |words| {
                words.0.push(link.get());
                words.port_mapped(map, result);
            }),
            BridgeEvent::Removed(link) => self.event(Kind::LinkRemoved, |words| words.0.push(link.get())),
        }
        None
    }

    /// Appends a network card's address: its first two octets, then the rest.
    #[cfg(feature = "ethernet")]
    pub fn mac(&mut self, mac: MacAddress) {
        let [a, b, c, d, e, f] = mac.0;
        self.0.extend([u32::from_be_bytes([0, 0, a, b]), u32::from_be_bytes([c, d, e, f])]);
    }

    #[cfg(feature = "stack")]
    fn event_of(&mut self, kind: Kind, id: SocketId) {
        self.event(kind, |words| words.0.push(id.get()));
    }

    #[cfg(feature = "stack")]
    fn event_with(&mut self, kind: Kind, id: u32, code: Code) {
        self.event(kind, |words| words.0.extend([id, code.word()]));
    }

    /// Appends one event; returns the text of the end of the session, which is no word.
    #[cfg(feature = "stack")]
    pub fn push_event(&mut self, event: Event, stack: &Stack, now: Instant) -> Option<String> {
        match event {
            Event::Socket(event) => self.push_socket_event(event, stack),
            Event::Status(status) => return self.event(Kind::Status, |words| words.status(status, now)),
            Event::OpenTransport => self.event(Kind::OpenTransport, |_| ()),
            Event::CloseTransport => self.event(Kind::CloseTransport, |_| ()),
            Event::Resolved { id, result } => self.event(Kind::Resolved, |words| {
                words.0.push(id.get());
                match result {
                    Ok(addresses) => {
                        words.0.push(Code::Ok.word());
                        words.length(addresses.len());
                        addresses.into_iter().for_each(|address| words.address(address));
                    }
                    Err(error) => words.0.extend([Code::from(error).word(), 0]),
                }
            }),
            Event::PortMapped { id, result } => self.event(Kind::PortMapped, |words| words.port_mapped(id, result)),
            Event::FlowDenied(_) => {}
        }
        None
    }

    fn port_mapped(&mut self, id: MapId, result: Result<PortMapping, PortMapError>) {
        self.0.push(id.get());
        match result {
            Ok(mapping) => {
                self.0.push(Code::Ok.word());
                self.endpoint(mapping.external);
            }
            Err(error) => self.0.push(Code::from(error).word()),
        }
    }

    /// Appends the words of a status; returns the text of the end of the session.
    fn status(&mut self, status: Status, now: Instant) -> Option<String> {
        let (words, reason) = match status {
            Status::Connecting => ([0, 0, 0, 0], None),
            Status::Connected { resumed } => ([1, u32::from(resumed), 0, 0], None),
            Status::Reconnecting { attempt, retry_at } => {
                let wait = retry_at.saturating_duration_since(now).as_millis();
                ([2, attempt, u32::try_from(wait).unwrap_or(u32::MAX), 0], None)
            }
            Status::Closed { code, reason } => ([3, 0, 0, Code::from(code).word()], Some(reason)),
        };
        self.0.extend(words);
        reason
    }

    #[cfg(feature = "stack")]
    fn push_socket_event(&mut self, event: SocketEvent, stack: &Stack) {
        match event {
            SocketEvent::TcpConnected(id) => self.event(Kind::TcpConnected, |words| {
                words.0.push(id.get());
                if let Some((local, remote)) = stack.tcp_addresses(id) {
                    words.endpoint(local);
                    words.endpoint(remote);
                }
            }),
            SocketEvent::TcpConnectFailed(id, error) => {
                self.event_with(Kind::TcpConnectFailed, id.get(), error.into());
            }
            SocketEvent::TcpReadable(id) => self.event_of(Kind::TcpReadable, id),
            SocketEvent::TcpWritable(id) => self.event_of(Kind::TcpWritable, id),
            SocketEvent::TcpIncoming(id) => self.event_of(Kind::TcpIncoming, id),
            SocketEvent::TcpClosed(id, reason) => self.event_with(Kind::TcpClosed, id.get(), reason.into()),
            SocketEvent::UdpReadable(id) => self.event_of(Kind::UdpReadable, id),
            SocketEvent::UdpWritable(id) => self.event_of(Kind::UdpWritable, id),
            SocketEvent::UdpError(id, error, peer) => self.event(Kind::UdpError, |words| {
                words.0.extend([id.get(), Code::from(error).word()]);
                words.endpoint(peer);
            }),
            SocketEvent::Pong { id, from, rtt, len, hop_limit } => self.event(Kind::Pong, |words| {
                let micros = u32::try_from(rtt.as_micros()).unwrap_or(u32::MAX);
                words.0.extend([id.get(), micros, hop_limit.into()]);
                words.length(len);
                words.address(from);
            }),
            SocketEvent::PingFailed { id, error, .. } => self.event_with(Kind::PingFailed, id.get(), error.into()),
        }
    }

    /// Appends what the gateway has assigned: MTU, grace in milliseconds, then counted lists of addresses, name
    /// servers and external port blocks (address, first port, number of ports).
    pub fn lease(&mut self, lease: &Lease) {
        self.0.push(lease.mtu);
        self.0.push(u32::try_from(lease.grace.as_millis()).unwrap_or(u32::MAX));
        self.length(lease.addresses.len());
        lease.addresses.iter().for_each(|(address, _)| self.address(*address));
        self.length(lease.dns.len());
        lease.dns.iter().for_each(|address| self.address(*address));
        self.length(lease.external_ports.len());
        for block in &lease.external_ports {
            self.address(block.address);
            self.0.extend([u32::from(block.first), u32::from(block.count)]);
        }
    }
}

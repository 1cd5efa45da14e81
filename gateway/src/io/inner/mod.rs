//! The host at the gateway's inner addresses: it answers pings, serves DNS on UDP and TCP port 53, and takes requests
//! for ports on UDP port 5351, which the driver has the dataplane answer.
//!
//! Its network stack is the clients' own one. Queries are answered by tasks of the runtime, whose answers come back to
//! the driver by a bounded channel.

mod stream;

use super::dns::{Door, Forwarder};
use crate::dataplane::PORT_CONTROL;
use bytes::BytesMut;
use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use stream::DnsStream;
use tokio::sync::mpsc;
use webtun_stack::{BindError, Host, HostConfig, ListenOptions, SocketEvent, SocketId, UdpOptions};
use webtun_wire::Instant;

const DNS: SocketAddr = SocketAddr::new(IpAddr::V6(Ipv6Addr::UNSPECIFIED), 53);
/// TCP connections to the resolver at once, of all clients together; a further one is reset.
const MAX_STREAMS: usize = 256;

/// An answer on its way to the client.
#[derive(Debug)]
pub struct Answer {
    to: Asker,
    message: Vec<u8>,
}

#[derive(Clone, Copy, Debug)]
enum Asker {
    Udp(SocketAddr),
    Tcp(SocketId),
}

/// See the module.
pub struct InnerHost {
    host: Host,
    udp: SocketId,
    port_control: SocketId,
    listener: SocketId,
    streams: BTreeMap<SocketId, DnsStream>,
    forwarder: Arc<Forwarder>,
    answers: mpsc::Sender<Answer>,
}

impl InnerHost {
    /// A host with `addresses`, and the channel whose answers go to [`Self::answer`].
    ///
    /// # Errors
    /// Where port 53 of the fresh host cannot be bound, which would be a fault of the stack.
    pub fn new(
        addresses: &[IpAddr],
        forwarder: Forwarder,
        capacity: usize,
        seed: [u8; 32],
        now: Instant,
    ) -> Result<(Self, mpsc::Receiver<Answer>), BindError> {
        let mut host = Host::new(HostConfig::new(seed), now);
        let prefixes: Vec<(IpAddr, u8)> =
            addresses.iter().map(|&it| (it, if it.is_ipv4() { 32 } else { 128 })).collect();
        host.set_addresses(&prefixes, now);
        let port_control = host.udp_bind(SocketAddr::new(DNS.ip(), PORT_CONTROL), UdpOptions::default(), now)?;
        let udp = host.udp_bind(DNS, UdpOptions::default(), now)?;
        let listener = host.tcp_listen(DNS, ListenOptions::default(), now)?;
        let (answers, receiver) = mpsc::channel(capacity);
        let streams = BTreeMap::new();
        Ok((Self { host, udp, port_control, listener, streams, forwarder: Arc::new(forwarder), answers }, receiver))
    }

    /// A packet for one of the host's addresses.
    pub fn handle_packet(&mut self, packet: &[u8], now: Instant) {
        self.host.handle_packet(packet, now);
        self.handle_events(now);
    }

    /// The next packet to a client.
    pub fn poll_packet(&mut self, now: Instant) -> Option<BytesMut> {
        self.host.poll_packet(now)
    }

    /// Lets time pass.
    pub fn handle_timeout(&mut self, now: Instant) {
        self.host.handle_timeout(now);
        let expired: Vec<SocketId> =
            self.streams.iter().filter(|(_, stream)| stream.deadline() <= now).map(|(&id, _)| id).collect();
        for id in expired {
            self.close(id, now);
        }
        self.handle_events(now);
    }

    /// When [`Self::handle_timeout`] is due.
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.host.poll_timeout().into_iter().chain(self.streams.values().map(DnsStream::deadline)).min()
    }

    /// Sends an answer.
    pub fn answer(&mut self, answer: Answer, now: Instant) {
        match answer.to {
            Asker::Udp(to) => {
                // Lost when there is no room, as on a wire; the client asks again.
                if let Err(error) = self.host.udp_send(self.udp, &answer.message, Some(to), now) {
                    tracing::debug!(%error, "a DNS answer cannot be sent");
                }
            }
            Asker::Tcp(id) => {
                if let Some(stream) = self.streams.get_mut(&id) {
                    stream.push_answer(&answer.message, now);
                    self.serve(id, now);
                }
            }
        }
        self.handle_events(now);
    }

    /// The next request for a port (PCP or NAT-PMP), and who asks.
    pub fn poll_port_request(&mut self) -> Option<(SocketAddr, Vec<u8>)> {
        self.host.udp_recv(self.port_control).map(|datagram| (datagram.from, datagram.payload))
    }

    /// Answers such a request.
    pub fn answer_port_request(&mut self, to: SocketAddr, answer: &[u8], now: Instant) {
        // Lost when there is no room, as on a wire; the client asks again.
        if let Err(error) = self.host.udp_send(self.port_control, answer, Some(to), now) {
            tracing::debug!(%error, "an answer about a port cannot be sent");
        }
    }

    fn handle_events(&mut self, now: Instant) {
        while let Some(event) = self.host.poll_event() {
            match event {
                SocketEvent::UdpReadable(id) if id == self.udp => self.read_datagrams(),
                SocketEvent::TcpIncoming(id) if id == self.listener => self.accept(now),
                SocketEvent::TcpReadable(id) | SocketEvent::TcpWritable(id) => self.serve(id, now),
                SocketEvent::TcpClosed(id, _) => self.close(id, now),
                _ => {}
            }
        }
    }

    fn read_datagrams(&mut self) {
        while let Some(datagram) = self.host.udp_recv(self.udp) {
            self.forward(datagram.payload, Asker::Udp(datagram.from));
        }
    }

    fn accept(&mut self, now: Instant) {
        while let Some(id) = self.host.tcp_accept(self.listener) {
            if self.streams.len() >= MAX_STREAMS {
                self.host.tcp_abort(id, now);
                self.host.close(id, now);
            } else {
                self.streams.insert(id, DnsStream::new(now));
                self.serve(id, now);
            }
        }
    }

    /// Moves octets both ways on one connection, and starts on the queries that are complete.
    fn serve(&mut self, id: SocketId, now: Instant) {
        let Some(stream) = self.streams.get_mut(&id) else { return };
        let queries = stream.exchange(&mut self.host, id, now);
        let over = stream.is_over();
        for query in queries {
            self.forward(query, Asker::Tcp(id));
        }
        if over {
            self.close(id, now);
        }
    }

    fn close(&mut self, id: SocketId, now: Instant) {
        if self.streams.remove(&id).is_some() {
            self.host.close(id, now);
        }
    }

    /// Has a task answer the query. Past the bound it is dropped, and the client asks again.
    fn forward(&self, query: Vec<u8>, to: Asker) {
        let Some(slot) = self.forwarder.slot() else {
            tracing::debug!("a DNS query is dropped: too many are under way");
            return;
        };
        let asker = match to {
            Asker::Udp(asker) => Some(asker),
            Asker::Tcp(id) => self.host.tcp_addresses(id).map(|(_, remote)| remote),
        };
        let door =
            Door { over_tcp: matches!(to, Asker::Tcp(_)), over_ipv6: asker.is_some_and(|asker| asker.is_ipv6()) };
        let (forwarder, answers) = (Arc::clone(&self.forwarder), self.answers.clone());
        tokio::spawn(async move {
            if let Some(message) = forwarder.answer(&query, door).await {
                // An error means that the driver has ended.
                let _ = answers.send(Answer { to, message }).await;
            }
            drop(slot);
        });
    }
}

//! The host at the gateway's inner addresses: it answers pings, serves DNS on UDP and TCP port 53, and takes requests
//! for ports on UDP port 5351, which the driver has the dataplane answer.
//!
//! Its network stack is the clients' own one. Queries are answered by tasks of the runtime, whose answers come back to
//! the driver by a bounded channel.

mod stream;

use super::dns::{Door, Forwarder, Slot, Slots};
use crate::dataplane::PORT_CONTROL;
use bytes::BytesMut;
use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use stream::DnsStream;
use tokio::sync::mpsc;
use webtun_stack::{BindError, BufferSizes, Host, HostConfig, ListenOptions, SocketEvent, SocketId, UdpOptions};
use webtun_wire::Instant;

const DNS: SocketAddr = SocketAddr::new(IpAddr::V6(Ipv6Addr::UNSPECIFIED), 53);
/// TCP connections to the resolver at once, of all clients together; each session has its share ([`Slots`]), beyond which
/// its connections are reset.
const MAX_STREAMS: usize = 256;
/// A DNS message and its length fit (RFC 1035 section 4.2.2), and strangers fill no more than that of each stream.
const BUFFERS: BufferSizes = BufferSizes::both(128 * 1024);

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
    streams: BTreeMap<SocketId, (DnsStream, Slot)>,
    stream_slots: Arc<Slots>,
    query_slots: Arc<Slots>,
    /// The host's own, from which those of sessions are counted.
    addresses: Vec<IpAddr>,
    forwarder: Arc<Forwarder>,
    answers: mpsc::Sender<Answer>,
}

impl InnerHost {
    /// A host with `addresses`, which lie in their prefixes as those of each session do in both, and at most `queries` DNS
    /// queries under way; and the channel whose answers go to [`Self::answer`].
    ///
    /// # Errors
    /// Where port 53 of the fresh host cannot be bound, which would be a fault of the stack.
    pub fn new(
        addresses: &[IpAddr],
        forwarder: Arc<Forwarder>,
        queries: usize,
        seed: [u8; 32],
        now: Instant,
    ) -> Result<(Self, mpsc::Receiver<Answer>), BindError> {
        let mut host = Host::new(HostConfig { buffers: Some(BUFFERS), ..HostConfig::new(seed) }, now);
        let prefixes: Vec<(IpAddr, u8)> =
            addresses.iter().map(|&it| (it, if it.is_ipv4() { 32 } else { 128 })).collect();
        host.set_addresses(&prefixes, now);
        let port_control = host.udp_bind(SocketAddr::new(DNS.ip(), PORT_CONTROL), UdpOptions::default(), now)?;
        let udp = host.udp_bind(DNS, UdpOptions::default(), now)?;
        let listener = host.tcp_listen(DNS, ListenOptions::default(), now)?;
        let (answers, receiver) = mpsc::channel(queries);
        let this = Self {
            host,
            udp,
            port_control,
            listener,
            streams: BTreeMap::new(),
            stream_slots: Slots::new(MAX_STREAMS),
            query_slots: Slots::new(queries),
            addresses: addresses.to_vec(),
            forwarder,
            answers,
        };
        Ok((this, receiver))
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
            self.streams.iter().filter(|(_, (stream, _))| stream.deadline() <= now).map(|(&id, _)| id).collect();
        for id in expired {
            self.close(id, now);
        }
        self.handle_events(now);
    }

    /// When [`Self::handle_timeout`] is due.
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.host.poll_timeout().into_iter().chain(self.streams.values().map(|(stream, _)| stream.deadline())).min()
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
                if let Some((stream, _)) = self.streams.get_mut(&id) {
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
            // Lost where there is no place, as on a wire; the client asks again.
            self.forward(&datagram.payload, Asker::Udp(datagram.from));
        }
    }

    fn accept(&mut self, now: Instant) {
        while let Some(id) = self.host.tcp_accept(self.listener) {
            let asker = self.host.tcp_addresses(id).map(|(_, remote)| self.asker(remote.ip()));
            if let Some(slot) = asker.and_then(|asker| self.stream_slots.take(asker)) {
                self.streams.insert(id, (DnsStream::new(now), slot));
                self.serve(id, now);
            } else {
                self.host.tcp_abort(id, now);
                self.host.close(id, now);
            }
        }
    }

    /// Moves octets both ways on one connection, and starts on the queries that are complete.
    fn serve(&mut self, id: SocketId, now: Instant) {
        // Once more after refusals: they make room for queries that have come already.
        loop {
            let Some((stream, _)) = self.streams.get_mut(&id) else { return };
            let mut queries = stream.exchange(&mut self.host, id, now);
            let over = stream.is_over();
            queries.retain(|query| !self.forward(query, Asker::Tcp(id)));
            if over {
                self.close(id, now);
            }
            let Some((stream, _)) = self.streams.get_mut(&id).filter(|_| !queries.is_empty()) else { return };
            for refusal in queries.iter().filter_map(|query| Forwarder::refuse(query)) {
                stream.push_answer(&refusal, now);
            }
        }
    }

    fn close(&mut self, id: SocketId, now: Instant) {
        if self.streams.remove(&id).is_some() {
            self.host.close(id, now);
        }
    }

    /// Has a task answer the query. False where the session has its share of the queries under way.
    fn forward(&self, query: &[u8], to: Asker) -> bool {
        let asker = match to {
            Asker::Udp(asker) => Some(asker),
            Asker::Tcp(id) => self.host.tcp_addresses(id).map(|(_, remote)| remote),
        };
        let Some(asker) = asker.map(|asker| asker.ip().to_canonical()) else { return false };
        let Some(slot) = self.query_slots.take(self.asker(asker)) else {
            tracing::debug!(%asker, "a DNS query is refused: too many are under way");
            return false;
        };
        let door = Door { over_tcp: matches!(to, Asker::Tcp(_)), over_ipv6: asker.is_ipv6() };
        let (forwarder, answers, query) = (Arc::clone(&self.forwarder), self.answers.clone(), query.to_vec());
        tokio::spawn(async move {
            if let Some(message) = forwarder.answer(&query, door).await {
                // An error means that the driver has ended.
                let _ = answers.send(Answer { to, message }).await;
            }
            drop(slot);
        });
        true
    }

    /// A number for the session that has this address: how far it lies from the host's own, the same in both families.
    fn asker(&self, address: IpAddr) -> u32 {
        let own = self.addresses.iter().find(|own| own.is_ipv4() == address.to_canonical().is_ipv4());
        match (own, address.to_canonical()) {
            (Some(IpAddr::V4(own)), IpAddr::V4(v4)) => v4.to_bits().wrapping_sub(own.to_bits()),
            // A host number has at most 28 bits.
            (Some(IpAddr::V6(own)), IpAddr::V6(v6)) => v6.to_bits().wrapping_sub(own.to_bits()) as u32,
            _ => u32::MAX,
        }
    }
}

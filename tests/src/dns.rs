//! A name server for the gateway's inner host. The real one forwards to the system's resolvers; this one knows a few
//! names, and answers over UDP and TCP like any other.

use hickory_proto::op::{Edns, Message, Metadata, ResponseCode};
use hickory_proto::rr::rdata::{A, AAAA, CNAME};
use hickory_proto::rr::{Name, RData, Record, RecordType};
use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use webtun_stack::{Host, ListenOptions, Received, SocketEvent, SocketId, UdpOptions};
use webtun_wire::Instant;

/// How long answers may be kept, in seconds.
const TTL: u32 = 60;
/// The size that a client without EDNS accepts (RFC 1035 section 4.2.1).
const CLASSIC: usize = 512;

/// The names that the simulated DNS knows.
#[derive(Clone, Debug, Default)]
pub struct Zone {
    names: BTreeMap<Name, Vec<RData>>,
}

impl Zone {
    /// Adds addresses of a name.
    ///
    /// # Panics
    ///
    /// Panics where `name` is none.
    pub fn add(&mut self, name: &str, addresses: &[IpAddr]) {
        let records = addresses.iter().map(|address| match address {
            IpAddr::V4(v4) => RData::A(A(*v4)),
            IpAddr::V6(v6) => RData::AAAA(AAAA(*v6)),
        });
        self.names.entry(parse(name)).or_default().extend(records);
    }

    /// Adds an alias.
    ///
    /// # Panics
    ///
    /// Panics where one of them is no name.
    pub fn alias(&mut self, name: &str, target: &str) {
        self.names.entry(parse(name)).or_default().push(RData::CNAME(CNAME(parse(target))));
    }

    /// Every address of a name, as a resolver gives them; none where it has none.
    pub fn addresses(&self, name: &str) -> Vec<IpAddr> {
        let name = Name::from_ascii(name).map(|mut name| {
            name.set_fqdn(true);
            name
        });
        let of = |kind| name.as_ref().ok().and_then(|name| self.lookup(name, kind)).unwrap_or_default();
        let records = of(RecordType::AAAA).into_iter().chain(of(RecordType::A));
        records
            .filter_map(|record| match record.data {
                RData::A(A(v4)) => Some(v4.into()),
                RData::AAAA(AAAA(v6)) => Some(v6.into()),
                _ => None,
            })
            .collect()
    }

    fn answer(&self, question: &[u8]) -> Option<(Message, usize)> {
        let query = Message::from_vec(question).ok()?;
        let [question] = query.queries.as_slice() else { return None };
        let mut answer = Message::response(query.metadata.id, query.metadata.op_code);
        answer.metadata = Metadata::response_from_request(&query.metadata);
        answer.metadata.recursion_available = true;
        answer.queries = query.queries.clone();
        let limit = query.edns.as_ref().map_or(CLASSIC, |edns| usize::from(edns.max_payload()).max(CLASSIC));
        if query.edns.is_some() {
            answer.set_edns(Edns::new());
        }
        match self.lookup(question.name(), question.query_type()) {
            Some(records) => answer.answers = records,
            None => answer.metadata.response_code = ResponseCode::NXDomain,
        }
        Some((answer, limit))
    }

    fn lookup(&self, name: &Name, kind: RecordType) -> Option<Vec<Record>> {
        let mut found = Vec::new();
        for data in self.names.get(name)? {
            if data.record_type() == kind {
                found.push(Record::from_rdata(name.clone(), TTL, data.clone()));
            } else if let RData::CNAME(target) = data {
                found.push(Record::from_rdata(name.clone(), TTL, data.clone()));
                found.extend(self.lookup(&target.0, kind).into_iter().flatten());
            }
        }
        Some(found)
    }
}

/// Serves a zone on port 53 of a host.
#[derive(Debug)]
pub struct DnsServer {
    zone: Zone,
    udp: SocketId,
    listener: SocketId,
    streams: BTreeMap<SocketId, Vec<u8>>,
    /// Questions that came over UDP.
    pub by_udp: u64,
    /// Questions that came over TCP.
    pub by_tcp: u64,
}

impl DnsServer {
    /// Opens its sockets.
    ///
    /// # Panics
    ///
    /// Panics where port 53 of the host is taken.
    pub fn new(zone: Zone, host: &mut Host, now: Instant) -> Self {
        let any = SocketAddr::from(([0_u16; 8], 53));
        let udp = host.udp_bind(any, UdpOptions::default(), now).expect("port 53 is free");
        let listener = host.tcp_listen(any, ListenOptions::default(), now).expect("port 53 is free");
        Self { zone, udp, listener, streams: BTreeMap::new(), by_udp: 0, by_tcp: 0 }
    }

    /// Acts on an event, where it is about its sockets.
    pub fn handle_event(&mut self, event: &SocketEvent, host: &mut Host, now: Instant) {
        match event {
            SocketEvent::UdpReadable(id) if *id == self.udp => self.answer_datagrams(host, now),
            SocketEvent::TcpIncoming(id) if *id == self.listener => {
                while let Some(stream) = host.tcp_accept(self.listener) {
                    self.streams.insert(stream, Vec::new());
                    self.answer_stream(stream, host, now);
                }
            }
            SocketEvent::TcpReadable(id) | SocketEvent::TcpClosed(id, _) => self.answer_stream(*id, host, now),
            _ => {}
        }
    }

    fn answer_datagrams(&mut self, host: &mut Host, now: Instant) {
        while let Some(datagram) = host.udp_recv(self.udp) {
            self.by_udp += 1;
            let Some((answer, limit)) = self.zone.answer(&datagram.payload) else { continue };
            let Ok(mut octets) = answer.to_vec() else { continue };
            if octets.len() > limit {
                octets = answer.truncate().to_vec().unwrap_or_default();
            }
            // A resolver asks again where an answer is lost, so a full queue is not worth waiting for.
            let _ = host.udp_send(self.udp, &octets, Some(datagram.from), now);
        }
    }

    fn answer_stream(&mut self, id: SocketId, host: &mut Host, now: Instant) {
        let Some(pending) = self.streams.get_mut(&id) else { return };
        let mut buffer = [0; 4096];
        let over = loop {
            match host.tcp_recv(id, &mut buffer, now) {
                Ok(Received::Data(len)) => pending.extend_from_slice(&buffer[..len]),
                Ok(Received::Empty) => break false,
                Ok(Received::Finished) | Err(_) => break true,
            }
        };
        while let Some(question) = take_message(pending) {
            self.by_tcp += 1;
            let Some((answer, _)) = self.zone.answer(&question) else { continue };
            let octets = answer.to_vec().unwrap_or_default();
            let framed = [&(octets.len() as u16).to_be_bytes(), octets.as_slice()].concat();
            let _ = host.tcp_send(id, &framed, now);
        }
        if over {
            self.streams.remove(&id);
            host.close(id, now);
        }
    }
}

/// RFC 1035 section 4.2.2: the length in two octets goes before.
fn take_message(pending: &mut Vec<u8>) -> Option<Vec<u8>> {
    let len = usize::from(u16::from_be_bytes([*pending.first()?, *pending.get(1)?]));
    (pending.len() >= 2 + len).then(|| pending.drain(..2 + len).skip(2).collect())
}

fn parse(name: &str) -> Name {
    let mut name = Name::from_ascii(name).expect("a domain name");
    name.set_fqdn(true);
    name
}

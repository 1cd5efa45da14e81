//! The dataplane by itself: sessions whose every octet the test decides, and no stack at either end.

use bytes::{Bytes, BytesMut};
use std::collections::VecDeque;
use std::iter;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use crate::packet::{Offloaded, View};
use webtun_gateway::dataplane::{
    Destination, DropReason, Event, Gateway, GatewayConfig, Peer, Reject, SessionError, SessionId, Stats,
};
use webtun_wire::{
    Accept, BatchWriter, Capsule, CloseCode, ContextKind, FlowDenied, Hello, Instant, MAX_MESSAGE_LEN,
    OFFLOAD_HEADER_LEN, OffloadHeader, PortBlock, PortMapResponse, ReceiveWindow, ResetReason, Resume, Session,
    StreamLimits, VERSION, capsules,
};

/// The context that [`Direct::open_offload`] opens.
pub const OFFLOAD_CONTEXT: u64 = 2;

/// A gateway, and what it has sent that nobody has looked at yet.
pub struct Direct {
    /// The gateway, or its first shard.
    pub gateway: Gateway,
    /// The other shards.
    pub others: Vec<Gateway>,
    /// The present.
    pub now: Instant,
    /// Its sessions, in the order of their opening; closed ones stay.
    pub sessions: Vec<DirectSession>,
    /// Packets for the outside with nothing left to be done.
    pub egress: VecDeque<BytesMut>,
    /// Those of which something is left to the device.
    pub egress_offload: VecDeque<Offloaded>,
    /// Packets for the inner host.
    pub local: VecDeque<BytesMut>,
    /// Events.
    pub events: Vec<Event>,
}

/// One session, as its client sees it.
pub struct DirectSession {
    /// Its name at the gateway.
    pub id: SessionId,
    /// Who it belongs to.
    pub peer: Peer,
    /// The gateway's SESSION.
    pub session: Session,
    /// Inner addresses.
    pub addresses: Vec<IpAddr>,
    /// External port blocks.
    pub blocks: Vec<PortBlock>,
    /// NAT64 prefixes with their lengths.
    pub pref64: Vec<(IpAddr, u8)>,
    /// Packets that came, and were not looked at.
    pub packets: VecDeque<BytesMut>,
    /// Those with an offload header.
    pub offloaded: VecDeque<Offloaded>,
    /// Contexts that the gateway has opened.
    pub contexts: Vec<u64>,
    /// Denied flows.
    pub denied: Vec<FlowDenied>,
    /// Answers to PORT_MAP_REQUEST.
    pub port_maps: Vec<PortMapResponse>,
    /// PONGs: opaque value and octets received.
    pub pongs: Vec<(u64, u64)>,
    /// Contexts that the gateway has refused.
    pub closed_contexts: Vec<u64>,
    /// What the gateway takes of streams.
    pub stream_limits: Option<StreamLimits>,
    /// What it has said of them, and was not looked at.
    pub streams: VecDeque<StreamNews>,
    /// From CLOSE.
    pub closed: Option<CloseCode>,
    /// False while its connection is gone.
    pub connected: bool,
    /// Whether it answers PING; otherwise the gateway gives its connection up.
    pub answers_pings: bool,
    pings: Vec<u64>,
    next_number: u64,
    window: ReceiveWindow,
}

/// What a gateway says of a stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StreamNews {
    /// It has its connection.
    Opened(u64),
    /// Octets.
    Data(u64, Vec<u8>),
    /// How many octets the client may send in all.
    Credit(u64, u64),
    /// No more will come.
    Finish(u64),
    /// It is over.
    Reset(u64, ResetReason),
}

impl Direct {
    /// A gateway without sessions.
    ///
    /// # Panics
    ///
    /// Panics where the configuration is refused.
    pub fn new(config: GatewayConfig, seed: [u8; 32]) -> Self {
        Self::sharded(vec![config], seed)
    }

    /// A gateway of shards. A peer's sessions are in the one that the first octet of its name says.
    ///
    /// # Panics
    ///
    /// Panics where there is no configuration, or one is refused.
    pub fn sharded(configs: Vec<GatewayConfig>, seed: [u8; 32]) -> Self {
        let now = Instant::from_millis(1000);
        let start = |config| Gateway::new(config, seed, now).expect("a valid configuration");
        let mut shards = configs.into_iter().map(start);
        let gateway = shards.next().expect("at least one shard");
        Self {
            gateway,
            others: shards.collect(),
            now,
            sessions: Vec::new(),
            egress: VecDeque::new(),
            egress_offload: VecDeque::new(),
            local: VecDeque::new(),
            events: Vec::new(),
        }
    }

    /// Opens a session and returns its place in [`Direct::sessions`].
    ///
    /// # Errors
    ///
    /// The code of the CLOSE that came instead.
    ///
    /// # Panics
    ///
    /// Panics where the answer lacks what it must have.
    pub fn open(&mut self, peer: &Peer) -> Result<usize, CloseCode> {
        self.open_with(peer, &[])
    }

    /// Opens a session with more in its first message.
    ///
    /// # Errors
    ///
    /// The code of the CLOSE that came instead.
    ///
    /// # Panics
    ///
    /// Panics where the answer lacks what it must have.
    pub fn open_with(&mut self, peer: &Peer, offers: &[Capsule<'_>]) -> Result<usize, CloseCode> {
        let hello = [hello(None), message(offers)].concat();
        let id = self.handshake(&hello, peer).map_err(|reject| reject.code())?;
        let mut session = DirectSession::new(id, peer.clone());
        let now = self.now;
        session.receive_all(self.of(id), now);
        assert!(!session.addresses.is_empty(), "a session comes with addresses");
        self.sessions.push(session);
        self.drain();
        Ok(self.sessions.len() - 1)
    }

    /// Connects again to a session.
    ///
    /// # Errors
    ///
    /// The code of the CLOSE that came instead.
    pub fn resume(&mut self, index: usize) -> Result<(), CloseCode> {
        let session = &self.sessions[index];
        let resume = Resume {
            session_id: session.session.session_id,
            secret: session.session.secret,
            next: session.window.next(),
        };
        let peer = session.peer.clone();
        self.handshake(&hello(Some(resume)), &peer).map_err(|reject| reject.code())?;
        let now = self.now;
        let (session, shards) = (&mut self.sessions[index], iter::once(&mut self.gateway).chain(&mut self.others));
        session.connected = true;
        shards.for_each(|shard| session.receive_all(shard, now));
        // What the gateway has not received is not worth sending again here: the next number follows its count.
        session.next_number = session.session.next;
        self.drain();
        Ok(())
    }

    /// The first message of a connection.
    ///
    /// # Errors
    ///
    /// The gateway's.
    pub fn handshake(&mut self, message: &[u8], peer: &Peer) -> Result<SessionId, Reject> {
        let (count, now) = (1 + self.others.len(), self.now);
        let shard = Gateway::shard_of_resumption(message, count).unwrap_or(self.shard_of(peer));
        let result = self.shard(shard).handshake(message, peer, now);
        self.drain();
        result
    }

    /// The connection of a session is gone.
    pub fn disconnect(&mut self, index: usize) {
        self.sessions[index].connected = false;
        let (id, now) = (self.sessions[index].id, self.now);
        self.of(id).disconnect(id, now);
        self.drain();
    }

    /// Sends packets in one message.
    ///
    /// # Errors
    ///
    /// The gateway's.
    ///
    /// # Panics
    ///
    /// Panics where they do not fit one message.
    pub fn send_packets(&mut self, index: usize, packets: &[BytesMut]) -> Result<(), SessionError> {
        let capsules: Vec<_> =
            packets.iter().map(|packet| Capsule::Datagram { context: 0, payload: packet.as_ref() }).collect();
        self.send_capsules(index, &capsules)
    }

    /// Sends capsules in one sequenced message.
    ///
    /// # Errors
    ///
    /// The gateway's.
    ///
    /// # Panics
    ///
    /// Panics where they do not fit one message.
    pub fn send_capsules(&mut self, index: usize, capsules: &[Capsule<'_>]) -> Result<(), SessionError> {
        let session = &mut self.sessions[index];
        let mut writer = BatchWriter::with_sequence(MAX_MESSAGE_LEN, session.next_number);
        session.next_number += 1;
        session.window.acked();
        let ack = Capsule::Ack { next: session.window.next() };
        for capsule in [&ack].into_iter().chain(capsules) {
            assert!(writer.push(capsule), "the capsules fit one message");
        }
        self.send_octets(index, &writer.finish())
    }

    /// Sends a message as it stands.
    ///
    /// # Errors
    ///
    /// The gateway's.
    pub fn send_octets(&mut self, index: usize, message: &[u8]) -> Result<(), SessionError> {
        let (id, now) = (self.sessions[index].id, self.now);
        let result = self.of(id).process_uplink(id, BytesMut::from(message), now);
        self.drain();
        result
    }

    /// Opens [`OFFLOAD_CONTEXT`].
    ///
    /// # Panics
    ///
    /// Panics where the gateway declines.
    pub fn open_offload(&mut self, index: usize) {
        let offer = Capsule::ContextAssign { context: OFFLOAD_CONTEXT, kind: ContextKind::Offload as u64 };
        self.send_capsules(index, &[offer]).expect("an offer is no error");
        assert!(self.sessions[index].contexts.contains(&OFFLOAD_CONTEXT), "the context is open");
    }

    /// Sends packets with their headers in one message.
    ///
    /// # Errors
    ///
    /// The gateway's.
    ///
    /// # Panics
    ///
    /// Panics where they do not fit one message.
    pub fn send_offloaded(&mut self, index: usize, packets: &[Offloaded]) -> Result<(), SessionError> {
        let payloads: Vec<_> = packets.iter().map(|it| [&it.header.encode()[..], &it.packet].concat()).collect();
        let datagram = |payload| Capsule::Datagram { context: OFFLOAD_CONTEXT, payload };
        self.send_capsules(index, &payloads.iter().map(|payload| datagram(&payload[..])).collect::<Vec<_>>())
    }

    /// A packet comes from a device that has left something to be done.
    pub fn receive_offloaded(&mut self, it: Offloaded) {
        self.gateway.process_downlink(it.packet, &it.header, self.now);
        self.drain();
    }

    /// A packet comes from outside.
    pub fn receive(&mut self, packet: BytesMut) {
        let to = View::parse(&packet).map(|view| view.destination);
        let now = self.now;
        let mut others = self.others.iter_mut();
        let is_theirs = |gateway: &&mut Gateway| {
            to.as_ref().is_ok_and(|to| gateway.config().external.iter().any(|it| it.address == *to))
        };
        let shard = others.find(is_theirs).unwrap_or(&mut self.gateway);
        shard.process_downlink(packet, &OffloadHeader::default(), now);
        self.drain();
    }

    /// A packet comes from the inner host.
    pub fn receive_local(&mut self, packet: BytesMut) {
        let to = View::parse(&packet).map(|view| view.destination);
        let session = self.sessions.iter().find(|session| to.as_ref().is_ok_and(|to| session.addresses.contains(to)));
        let (shard, now) = (session.map_or(0, |session| session.id.shard(1 + self.others.len())), self.now);
        self.shard(shard).process_local(packet, now);
        self.drain();
    }

    /// Lets time pass, with every timer in between.
    pub fn advance(&mut self, time: Duration) {
        let end = self.now + time;
        while let Some(at) = self.next_timeout().filter(|at| *at <= end) {
            self.now = self.now.max(at);
            let now = self.now;
            self.shards().for_each(|shard| shard.handle_timeout(now));
            self.drain();
            let next = self.next_timeout();
            assert!(next.is_none_or(|next| next > self.now), "a timer that is never done: {next:?} at {:?}", self.now);
        }
        self.now = end;
    }

    /// The number of the shard that a peer's sessions are in.
    pub fn shard_of(&self, peer: &Peer) -> usize {
        usize::from(peer.name.as_bytes().first().copied().unwrap_or_default()) % (1 + self.others.len())
    }

    fn next_timeout(&mut self) -> Option<Instant> {
        self.shards().filter_map(|shard| shard.poll_timeout()).min()
    }

    fn shards(&mut self) -> impl Iterator<Item = &mut Gateway> {
        iter::once(&mut self.gateway).chain(&mut self.others)
    }

    fn first<T>(&mut self, poll: impl Fn(&mut Gateway) -> Option<T>) -> Option<T> {
        self.shards().find_map(poll)
    }

    fn shard(&mut self, index: usize) -> &mut Gateway {
        self.shards().nth(index).expect("a shard")
    }

    /// The shard that has this session.
    ///
    /// # Panics
    ///
    /// Never.
    pub fn of(&mut self, id: SessionId) -> &mut Gateway {
        let count = 1 + self.others.len();
        self.shard(id.shard(count))
    }

    /// What the shards have counted together, by a figure of each.
    pub fn sum(&self, figure: impl Fn(&Stats) -> u64) -> u64 {
        iter::once(&self.gateway).chain(&self.others).map(|shard| figure(shard.stats())).sum()
    }

    /// Packets dropped so far for each reason that occurred.
    pub fn drops(&self) -> Vec<(DropReason, u64)> {
        let all = DropReason::ALL.into_iter().map(|reason| (reason, self.sum(|stats| stats.drops(reason))));
        all.filter(|(_, count)| *count > 0).collect()
    }

    /// The code of the last event that closed this session.
    pub fn closed(&self, index: usize) -> Option<CloseCode> {
        let wanted = self.sessions[index].id;
        self.events.iter().rev().find_map(|event| match event {
            Event::SessionClosed { id, code } if *id == wanted => Some(*code),
            _ => None,
        })
    }

    /// Takes everything that the gateway has to say, and answers its pings.
    pub fn drain(&mut self) {
        self.take_all();
        for index in 0..self.sessions.len() {
            let session = &mut self.sessions[index];
            let (id, pings) = (session.id, std::mem::take(&mut session.pings));
            let answers = session.answers_pings && session.connected;
            for opaque in pings.into_iter().filter(|_| answers) {
                let pong = message(&[Capsule::Pong { opaque, received: 0 }]);
                // A session that ends at this moment has an event that says so.
                let now = self.now;
                let _ = self.of(id).process_uplink(id, BytesMut::from(pong.as_slice()), now);
            }
        }
        self.take_all();
    }

    fn take_all(&mut self) {
        let now = self.now;
        while let Some(transfer) = self.first(Gateway::poll_transfer) {
            self.shard(transfer.to()).process_transfer(transfer, now);
        }
        while let Some(transmit) = self.first(Gateway::poll_transmit) {
            match transmit.to {
                Destination::Egress if transmit.offload == OffloadHeader::default() => {
                    self.egress.push_back(transmit.packet);
                }
                Destination::Egress => {
                    self.egress_offload.push_back(Offloaded { header: transmit.offload, packet: transmit.packet });
                }
                Destination::Local => self.local.push_back(transmit.packet),
            }
        }
        while let Some(event) = self.first(Gateway::poll_event) {
            if let Event::ConnectionLost { id } = event {
                self.sessions.iter_mut().filter(|s| s.id == id).for_each(|s| s.connected = false);
            }
            self.events.push(event);
        }
        let shards = iter::once(&mut self.gateway).chain(&mut self.others);
        for shard in shards {
            for session in self.sessions.iter_mut().filter(|session| session.connected) {
                session.receive_all(shard, self.now);
            }
        }
    }
}

impl DirectSession {
    fn new(id: SessionId, peer: Peer) -> Self {
        let session =
            Session { version: 0, resumed: false, session_id: [0; 16], secret: [0; 32], grace_ms: 0, next: 0 };
        Self {
            id,
            peer,
            session,
            addresses: Vec::new(),
            blocks: Vec::new(),
            pref64: Vec::new(),
            packets: VecDeque::new(),
            offloaded: VecDeque::new(),
            contexts: Vec::new(),
            denied: Vec::new(),
            port_maps: Vec::new(),
            pongs: Vec::new(),
            closed_contexts: Vec::new(),
            stream_limits: None,
            streams: VecDeque::new(),
            closed: None,
            connected: true,
            answers_pings: true,
            pings: Vec::new(),
            next_number: 0,
            window: ReceiveWindow::new(),
        }
    }

    /// Its address of a family, with a port.
    ///
    /// # Panics
    ///
    /// Panics where it has none.
    pub fn endpoint(&self, ipv6: bool, port: u16) -> SocketAddr {
        let address = self.addresses.iter().find(|address| address.is_ipv6() == ipv6);
        SocketAddr::new(*address.expect("an address of the family"), port)
    }

    /// Whether an external endpoint lies within its blocks.
    pub fn owns_port(&self, external: SocketAddr) -> bool {
        self.blocks.iter().any(|block| {
            block.address == external.ip()
                && external.port().checked_sub(block.first).is_some_and(|offset| offset < block.count)
        })
    }

    fn receive_all(&mut self, gateway: &mut Gateway, now: Instant) {
        while let Some(message) = gateway.poll_message(self.id, now) {
            self.receive(&message.into_bytes());
        }
    }

    fn receive(&mut self, message: &Bytes) {
        for (index, capsule) in capsules(message).enumerate() {
            let capsule = capsule.expect("the gateway's messages are well-formed");
            if let Capsule::Sequence { number } = capsule {
                assert_eq!(index, 0, "SEQUENCE comes first");
                if self.window.accept(number, message.len()).expect("no gap") == Accept::Duplicate {
                    return;
                }
            } else {
                self.receive_capsule(capsule);
            }
        }
    }

    fn receive_capsule(&mut self, capsule: Capsule<'_>) {
        match capsule {
            Capsule::Session(session) => self.session = session,
            Capsule::AddressAssign(all) => {
                self.addresses = all.iter().map(|assigned| assigned.prefix.address).collect();
            }
            Capsule::ExternalPorts(blocks) => self.blocks = blocks,
            Capsule::Pref64(all) => {
                self.pref64 = all.iter().map(|prefix| (prefix.address, prefix.length)).collect();
            }
            Capsule::Datagram { context: 0, payload } => self.packets.push_back(BytesMut::from(payload)),
            Capsule::Datagram { context: OFFLOAD_CONTEXT, payload } => {
                let header = OffloadHeader::decode(payload).expect("the gateway's headers are well-formed");
                let packet = BytesMut::from(&payload[OFFLOAD_HEADER_LEN..]);
                self.offloaded.push_back(Offloaded { header, packet });
            }
            Capsule::ContextAck { context } => self.contexts.push(context),
            Capsule::FlowDenied(denied) => self.denied.push(denied),
            Capsule::PortMapResponse(response) => self.port_maps.push(response),
            Capsule::Pong { opaque, received } => self.pongs.push((opaque, received)),
            Capsule::Ping { opaque } => self.pings.push(opaque),
            Capsule::ContextClose { context } => self.closed_contexts.push(context),
            Capsule::StreamLimits(limits) => self.stream_limits = Some(limits),
            Capsule::StreamOpened(opened) => self.streams.push_back(StreamNews::Opened(opened.stream)),
            Capsule::StreamData { stream, data } => self.streams.push_back(StreamNews::Data(stream, data.to_vec())),
            Capsule::StreamCredit { stream, limit } => self.streams.push_back(StreamNews::Credit(stream, limit)),
            Capsule::StreamFinish { stream } => self.streams.push_back(StreamNews::Finish(stream)),
            Capsule::StreamReset { stream, reason } => self.streams.push_back(StreamNews::Reset(stream, reason)),
            Capsule::Close(close) => self.closed = Some(close.code),
            _ => {}
        }
    }
}

/// A HELLO without token, as a message.
pub fn hello(resume: Option<Resume>) -> Vec<u8> {
    message(&[Capsule::Hello(Hello { min_version: VERSION, max_version: VERSION, token: b"", resume })])
}

/// Capsules in a message without number.
pub fn message(capsules: &[Capsule<'_>]) -> Vec<u8> {
    let mut out = Vec::new();
    capsules.iter().for_each(|capsule| capsule.encode(&mut out));
    out
}

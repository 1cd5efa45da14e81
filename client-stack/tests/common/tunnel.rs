//! A `Stack`, a channel for messages that can be cut, and a scripted gateway with a host behind it. No NAT: the host
//! behind the gateway sees the inner addresses.

#![allow(dead_code, reason = "every test uses its own part")]

use std::collections::VecDeque;
use std::net::IpAddr;
use std::time::Duration;

use webtun_stack::{
    Event, Host, HostConfig, Instant, ListenOptions, Received, SocketEvent, SocketId, Stack, StackConfig, Status,
    TcpOptions,
};
use webtun_wire::{
    Accept, AssignedAddress, BatchWriter, Capsule, Close, CloseCode, DnsAssign, Limits, OffloadHeader, PortBlock,
    Prefix, ReceiveWindow, SendRing, Session, StreamLimits, capsules,
};

use super::{A4, A6, B4, B6};

/// What the gateway does with a HELLO.
#[derive(Clone, Debug)]
pub enum Policy {
    Accept,
    Refuse(CloseCode, u32),
    Ignore,
}

/// The gateway's half of the wire, as the specification says it.
pub struct Gateway {
    pub host: Host,
    pub policy: Policy,
    /// The answer to the offer of an OFFLOAD context: taken, refused or none.
    pub offload: Option<bool>,
    /// The context that the client has offered, and what has come in it.
    pub offered: Option<u64>,
    pub offloaded: Vec<OffloadHeader>,
    /// What has come in context 0, with the lengths.
    pub plain: Vec<usize>,
    pub limits: Limits,
    /// What it says of streams, where it takes them.
    pub streams: Option<StreamLimits>,
    /// Streams that were asked for, by their numbers.
    pub stream_opens: Vec<u64>,
    pub dns: Vec<IpAddr>,
    pub search: Vec<&'static str>,
    pub session: Option<(u8, SendRing<Vec<u8>>, ReceiveWindow)>,
    sessions: u8,
    established: bool,
    replay_next: u64,
    /// Sent before anything else, as they are.
    pub bare: VecDeque<Vec<u8>>,
    /// Put into sequenced messages.
    pub sequenced: VecDeque<Vec<u8>>,
    /// All capsules that came, but packets, SEQUENCE and ACK.
    pub seen: Vec<String>,
    /// Numbers of all sequenced messages that came.
    pub numbers: Vec<u64>,
    pub answer_pings: bool,
    received: u64,
}

pub fn encode(capsule: &Capsule<'_>) -> Vec<u8> {
    let mut out = Vec::new();
    capsule.encode(&mut out);
    out
}

impl Gateway {
    fn new(now: Instant) -> Self {
        let mut host = Host::new(HostConfig::new([99; 32]), now);
        host.set_addresses(&[(B4, 24), (B6, 64)], now);
        Self {
            host,
            policy: Policy::Accept,
            offload: None,
            offered: None,
            offloaded: Vec::new(),
            plain: Vec::new(),
            limits: Limits { mtu: 65_535, message_len: 1 << 20, unacknowledged: 1 << 20, ping_interval_ms: 15_000 },
            streams: None,
            stream_opens: Vec::new(),
            dns: vec![B4],
            search: Vec::new(),
            session: None,
            sessions: 0,
            established: false,
            replay_next: 0,
            bare: VecDeque::new(),
            sequenced: VecDeque::new(),
            seen: Vec::new(),
            numbers: Vec::new(),
            answer_pings: true,
            received: 0,
        }
    }

    fn disconnected(&mut self) {
        self.established = false;
        self.bare.clear();
    }

    fn handle_message(&mut self, message: &[u8], now: Instant) {
        self.received += message.len() as u64;
        for capsule in capsules(message) {
            match capsule.expect("the stack sends what can be decoded") {
                Capsule::Sequence { number } => {
                    self.numbers.push(number);
                    let (_, _, window) = self.session.as_mut().unwrap();
                    if window.accept(number, message.len()).expect("in order") == Accept::Duplicate {
                        return;
                    }
                }
                Capsule::Ack { next } => self.session.as_mut().unwrap().1.acknowledge(next).expect("of what was sent"),
                Capsule::Datagram { context: 0, payload } => {
                    self.plain.push(payload.len());
                    self.host.handle_packet(payload, now);
                }
                Capsule::Datagram { context, payload } if self.takes_offload(context) => {
                    self.offloaded.push(OffloadHeader::decode(payload).expect("a header by the rules"));
                    self.host.handle_offloaded(payload, now);
                }
                Capsule::ContextAssign { context, .. } => self.offer(context),
                Capsule::StreamOpen(open) => self.stream_opens.push(open.stream),
                Capsule::Ping { opaque } => {
                    self.seen.push("Ping".into());
                    if self.answer_pings {
                        self.bare.push_back(encode(&Capsule::Pong { opaque, received: self.received }));
                    }
                }
                Capsule::Hello(hello) => {
                    self.seen.push(format!("Hello resume {:?}", hello.resume.map(|resume| resume.next)));
                    let resume = hello.resume.map(|resume| (resume.session_id[0], resume.next));
                    self.hello(resume);
                }
                other => self.seen.push(format!("{other:?}")),
            }
        }
    }

    fn takes_offload(&self, context: u64) -> bool {
        let fits = self.limits.message_len >= 70_000;
        fits && self.offload == Some(true) && self.offered == Some(context)
    }

    /// The offer comes behind HELLO, which is answered already.
    fn offer(&mut self, context: u64) {
        self.offered = Some(context);
        let answer = match self.offload {
            Some(true) => Capsule::ContextAck { context },
            Some(false) => Capsule::ContextClose { context },
            None => return,
        };
        if let Some(handshake) = self.bare.front_mut() {
            handshake.extend(encode(&answer));
        }
    }

    fn hello(&mut self, resume: Option<(u8, u64)>) {
        let refusal = match (&self.policy, resume, &self.session) {
            (Policy::Ignore, ..) => return,
            (Policy::Refuse(code, retry_after_ms), ..) => Some((*code, *retry_after_ms)),
            (_, Some((id, _)), Some((known, ..))) if id == *known => None,
            (_, Some(_), _) => Some((CloseCode::UnknownSession, 0)),
            (_, None, _) => None,
        };
        if let Some((code, retry_after_ms)) = refusal {
            self.bare.push_back(encode(&Capsule::Close(Close { code, retry_after_ms, reason: "scripted" })));
            return;
        }
        let next = match resume {
            Some((_, next)) => {
                let (_, ring, window) = self.session.as_mut().unwrap();
                ring.resume(next).unwrap();
                self.replay_next = next;
                window.next()
            }
            None => {
                self.sessions += 1;
                let ring = SendRing::new(self.limits.unacknowledged as usize);
                self.session = Some((self.sessions, ring, ReceiveWindow::new()));
                self.replay_next = 0;
                0
            }
        };
        self.established = true;
        let answer = self.answer(resume.is_some(), next);
        self.bare.push_front(answer);
    }

    fn answer(&self, resumed: bool, next: u64) -> Vec<u8> {
        let address = |address, length| AssignedAddress { request_id: 0, prefix: Prefix { address, length } };
        let session =
            Session { version: 1, resumed, session_id: [self.sessions; 16], secret: [7; 32], grace_ms: 120_000, next };
        let block = |address, first| PortBlock { address, first, count: 1000 };
        let blocks = vec![block(IpAddr::from([198, 51, 100, 7]), 20_000), block(B6, 30_000)];
        [
            Capsule::Session(session),
            Capsule::Limits(self.limits),
            Capsule::AddressAssign(vec![address(A4, 32), address(A6, 128)]),
            Capsule::RouteAdvertisement(Vec::new()),
            Capsule::DnsAssign(DnsAssign { servers: self.dns.clone(), search: self.search.clone() }),
            Capsule::ExternalPorts(blocks),
        ]
        .iter()
        .chain(&self.streams.map(Capsule::StreamLimits))
        .flat_map(encode)
        .collect()
    }

    fn poll_message(&mut self, now: Instant) -> Option<Vec<u8>> {
        if let Some(bare) = self.bare.pop_front() {
            return Some(bare);
        }
        let context = self.offered.filter(|context| self.takes_offload(*context));
        let (_, ring, window) = self.session.as_mut().filter(|_| self.established)?;
        if let Some(message) = ring.get(self.replay_next) {
            self.replay_next += 1;
            return Some(message.clone());
        }
        if !ring.has_room() {
            return None;
        }
        let mut batch = BatchWriter::with_sequence(self.limits.message_len as usize, ring.next_number());
        let mut extra = Vec::new();
        if window.ack_pending() {
            assert!(batch.push(&Capsule::Ack { next: window.next() }));
        }
        let longest = if context.is_some() { 65_600 } else { self.limits.mtu as usize };
        while batch.packet_room() >= longest {
            match context {
                Some(context) => {
                    let Some((header, packet)) = self.host.poll_offloaded(now) else { break };
                    assert!(batch.push_offload(context, &header, &packet));
                }
                None => {
                    let Some(packet) = self.host.poll_packet(now) else { break };
                    assert!(batch.push_packet(0, &packet));
                }
            }
        }
        extra.extend(self.sequenced.drain(..).flatten());
        if batch.is_empty() && extra.is_empty() {
            if window.ack_pending() {
                window.acked();
                return Some(encode(&Capsule::Ack { next: window.next() }));
            }
            return None;
        }
        window.acked();
        let mut message = batch.finish();
        message.extend(extra);
        ring.push(message.clone(), message.len());
        self.replay_next = ring.next_number();
        Some(message)
    }
}

pub struct TunnelWorld {
    pub stack: Stack,
    pub gateway: Gateway,
    pub now: Instant,
    pub delay: Duration,
    pub events: Vec<Event>,
    pub remote: Vec<SocketEvent>,
    /// When the shell was asked to open a transport.
    pub opened: Vec<Instant>,
    /// Whether transports open.
    pub reachable: bool,
    pub connected: bool,
    up: VecDeque<(Instant, Vec<u8>)>,
    down: VecDeque<(Instant, Vec<u8>)>,
}

impl TunnelWorld {
    pub fn new() -> Self {
        Self::with(StackConfig::new([5; 32]))
    }

    pub fn with(config: StackConfig) -> Self {
        let now = Instant::from_millis(1000);
        Self {
            stack: Stack::new(config, now),
            gateway: Gateway::new(now),
            now,
            delay: Duration::from_millis(10),
            events: Vec::new(),
            remote: Vec::new(),
            opened: Vec::new(),
            reachable: true,
            connected: false,
            up: VecDeque::new(),
            down: VecDeque::new(),
        }
    }

    /// A world whose tunnel stands.
    pub fn established() -> Self {
        let mut world = Self::new();
        world.run_until(Duration::from_secs(5), |world| matches!(world.stack.status(), Status::Connected { .. }));
        world
    }

    /// Messages on their way to the gateway.
    pub fn under_way(&self) -> usize {
        self.up.len()
    }

    /// The transport breaks, with all that is on its way.
    pub fn cut(&mut self) {
        self.lose_transport();
        self.stack.handle_disconnected(self.now);
    }

    fn lose_transport(&mut self) {
        self.connected = false;
        self.up.clear();
        self.down.clear();
        self.gateway.disconnected();
    }

    pub fn drain(&mut self) {
        loop {
            while self.connected
                && let Some(message) = self.stack.poll_transmit(self.now)
            {
                self.up.push_back((self.now + self.delay, message.to_vec()));
            }
            while self.connected
                && let Some(message) = self.gateway.poll_message(self.now)
            {
                self.down.push_back((self.now + self.delay, message));
            }
            while let Some(event) = self.gateway.host.poll_event() {
                self.remote.push(event);
            }
            let Some(event) = self.stack.poll_event() else { return };
            match event {
                Event::OpenTransport => {
                    self.opened.push(self.now);
                    self.connected = self.reachable;
                    if self.reachable {
                        self.stack.handle_connected(self.now);
                    } else {
                        self.stack.handle_disconnected(self.now);
                    }
                }
                Event::CloseTransport => {
                    // What was sent before the close arrives.
                    for (_, message) in std::mem::take(&mut self.up) {
                        self.gateway.handle_message(&message, self.now);
                    }
                    self.lose_transport();
                }
                event => self.events.push(event),
            }
        }
    }

    pub fn step(&mut self, until: Instant) -> bool {
        self.drain();
        let arrivals = [self.up.front(), self.down.front()].into_iter().flatten().map(|(at, _)| *at);
        let timers = self.stack.poll_timeout().into_iter().chain(self.gateway.host.poll_timeout());
        let Some(next) = arrivals.chain(timers).min().filter(|next| *next <= until) else {
            self.now = self.now.max(until);
            return false;
        };
        self.now = self.now.max(next);
        while let Some((_, message)) = self.up.pop_front_if(|(at, _)| *at <= self.now) {
            self.gateway.handle_message(&message, self.now);
        }
        while let Some((_, message)) = self.down.pop_front_if(|(at, _)| *at <= self.now) {
            self.stack.handle_shared_message(&message.into(), self.now);
        }
        self.stack.handle_timeout(self.now);
        self.gateway.host.handle_timeout(self.now);
        self.drain();
        true
    }

    pub fn run(&mut self, time: Duration) {
        let until = self.now + time;
        while self.step(until) {}
    }

    pub fn run_until(&mut self, time: Duration, mut done: impl FnMut(&mut Self) -> bool) {
        let until = self.now + time;
        while !done(self) {
            assert!(self.step(until), "nothing more happened within {time:?}: {:?}", self.events);
        }
        self.drain();
    }

    pub fn statuses(&self) -> Vec<&Status> {
        fn status(event: &Event) -> Option<&Status> {
            if let Event::Status(status) = event { Some(status) } else { None }
        }
        self.events.iter().filter_map(status).collect()
    }

    /// A connection of the stack to port 80 of the host behind the gateway.
    pub fn tcp(&mut self) -> (SocketId, SocketId) {
        let local = ([0u16; 8], 80).into();
        let listener = self.gateway.host.tcp_listen(local, ListenOptions::default(), self.now).unwrap();
        let client = self.stack.tcp_connect((B4, 80).into(), TcpOptions::default(), self.now).unwrap();
        let mut server = None;
        self.run_until(Duration::from_secs(30), |world| {
            server = server.or_else(|| world.gateway.host.tcp_accept(listener));
            server.is_some() && world.stack.tcp_writable(client) > 0
        });
        self.gateway.host.close(listener, self.now);
        (client, server.unwrap())
    }

    pub fn read_remote(&mut self, id: SocketId) -> Vec<u8> {
        let (mut data, mut buffer) = (Vec::new(), [0; 16_384]);
        while let Ok(Received::Data(len)) = self.gateway.host.tcp_recv(id, &mut buffer, self.now) {
            data.extend_from_slice(&buffer[..len]);
        }
        data
    }

    pub fn read(&mut self, id: SocketId) -> Vec<u8> {
        let (mut data, mut buffer) = (Vec::new(), [0; 16_384]);
        while let Ok(Received::Data(len)) = self.stack.tcp_recv(id, &mut buffer, self.now) {
            data.extend_from_slice(&buffer[..len]);
        }
        data
    }
}

//! A gateway with clients on one side and the internet on the other, driven by hand.

#![allow(dead_code, reason = "each test file uses a part of it")]

pub mod packets;

use bytes::{Bytes, BytesMut};
use proptest::test_runner::{Config as ProptestConfig, FileFailurePersistence};
use std::cell::Cell;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;
use webtun_gateway::dataplane::{
    Allowance, Destination, Event, ExternalAddress, Gateway, GatewayConfig, Gather, Peer, PeerLimits, Reject,
    SessionError, SessionId,
};
use webtun_wire::{BatchWriter, Capsule, Hello, Instant, OffloadHeader, PortBlock, Resume, capsules};

pub const EXTERNAL_V4: IpAddr = IpAddr::V4(Ipv4Addr::new(198, 51, 100, 1));
pub const EXTERNAL_V6: IpAddr = IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1));
pub const INNER_HOST_V4: IpAddr = IpAddr::V4(Ipv4Addr::new(100, 64, 0, 1));

/// A gateway and the time.
pub struct World {
    pub gateway: Gateway,
    pub now: Instant,
    pub events: Vec<Event>,
    /// Packets that have left to the outside, since the last look.
    pub outside: Vec<Vec<u8>>,
    /// Packets to the inner host.
    pub local: Vec<Vec<u8>>,
}

/// A client's side of a session.
#[derive(Clone, Debug)]
pub struct Client {
    pub id: SessionId,
    pub v4: IpAddr,
    pub v6: IpAddr,
    pub blocks: Vec<PortBlock>,
    pub resume: Resume,
    /// The number of the next sequenced message that it sends.
    pub next: Cell<u64>,
}

/// So many random cases, or as many as `PROPTEST_CASES` says; those that fail are kept beside the test file and tried
/// first from then on.
pub fn cases(count: u32) -> ProptestConfig {
    let default = ProptestConfig::default();
    let cases = if std::env::var_os("PROPTEST_CASES").is_some() { default.cases } else { count };
    let persistence = FileFailurePersistence::WithSource("regressions");
    ProptestConfig { cases, failure_persistence: Some(Box::new(persistence)), ..default }
}

pub fn config() -> GatewayConfig {
    let same = |address| ExternalAddress { address, announced: address };
    GatewayConfig::new(vec![same(EXTERNAL_V4), same(EXTERNAL_V6)])
}

/// As [`config`], for tests in which clients are silent for hours.
pub fn patient() -> GatewayConfig {
    GatewayConfig { ping_interval: Duration::from_secs(1_000_000), ..config() }
}

impl World {
    pub fn new(config: GatewayConfig) -> Self {
        let now = Instant::from_millis(1000);
        let gateway = Gateway::new(config, [7; 32], now).expect("a valid configuration");
        Self { gateway, now, events: Vec::new(), outside: Vec::new(), local: Vec::new() }
    }

    /// Empties the gateway's outputs, as the contract demands.
    pub fn settle(&mut self) {
        while let Some(transmit) = self.gateway.poll_transmit() {
            packets::verify(&transmit.packet);
            match transmit.to {
                Destination::Egress => self.outside.push(transmit.packet.to_vec()),
                Destination::Local => self.local.push(transmit.packet.to_vec()),
            }
        }
        self.events.extend(std::iter::from_fn(|| self.gateway.poll_event()));
    }

    /// Lets time pass, with every timer on the way.
    pub fn pass(&mut self, duration: Duration) {
        let end = self.now + duration;
        while let Some(at) = self.gateway.poll_timeout().filter(|at| *at <= end) {
            self.now = self.now.max(at);
            self.gateway.handle_timeout(self.now);
            self.settle();
        }
        self.now = end;
        self.gateway.handle_timeout(end);
        self.settle();
    }

    pub fn connect(&mut self) -> Client {
        self.connect_as(&Peer {
            limits: PeerLimits { sessions: 1000, total: Allowance::UNLIMITED, ..PeerLimits::default() },
            ..Peer::new("peer")
        })
    }

    pub fn connect_as(&mut self, peer: &Peer) -> Client {
        self.handshake(&hello(None), peer).expect("a session")
    }

    /// Sends a handshake and reads its answer.
    pub fn handshake(&mut self, message: &[u8], peer: &Peer) -> Result<Client, Reject> {
        let id = self.gateway.handshake(message, peer, self.now)?;
        self.settle();
        let answer = self.poll(id).expect("the answer");
        Ok(Client::read(id, &answer))
    }

    /// Sends packets in one sequenced message.
    pub fn send(&mut self, client: &Client, packets: &[Vec<u8>]) {
        let mut writer = client.message();
        for packet in packets {
            assert!(writer.push_packet(0, packet));
        }
        self.message(client, &writer.finish()).expect("a sound message");
    }

    /// Sends capsules in one sequenced message.
    pub fn tell(&mut self, client: &Client, capsules: &[Capsule<'_>]) -> Result<(), SessionError> {
        let mut writer = client.message();
        for capsule in capsules {
            assert!(writer.push(capsule));
        }
        self.message(client, &writer.finish())
    }

    pub fn message(&mut self, client: &Client, message: &[u8]) -> Result<(), SessionError> {
        let result = self.gateway.process_uplink(client.id, BytesMut::from(message), self.now);
        self.settle();
        result
    }

    /// A packet from the outside.
    pub fn receive(&mut self, packet: &[u8]) {
        self.gateway.process_downlink(BytesMut::from(packet), &OffloadHeader::default(), self.now);
        self.settle();
    }

    /// The next message of a session.
    pub fn poll(&mut self, id: SessionId) -> Option<Bytes> {
        self.gateway.poll_message(id, self.now).map(Gather::into_bytes)
    }

    /// All messages that wait for a client, which acknowledges them.
    pub fn messages(&mut self, client: &Client) -> Vec<Bytes> {
        let messages: Vec<_> = std::iter::from_fn(|| self.poll(client.id)).collect();
        let last = messages.iter().filter_map(|message| sequence(message)).max();
        if let Some(number) = last {
            let mut ack = Vec::new();
            Capsule::Ack { next: number + 1 }.encode(&mut ack);
            self.message(client, &ack).expect("a sound message");
        }
        messages
    }

    /// All packets that wait for a client, and every other capsule but SEQUENCE and ACK.
    pub fn collect(&mut self, client: &Client) -> (Vec<Vec<u8>>, Vec<String>) {
        let (mut packets, mut others) = (Vec::new(), Vec::new());
        for message in self.messages(client) {
            for capsule in capsules(&message) {
                match capsule.expect("a sound capsule") {
                    Capsule::Datagram { context, payload } => {
                        assert_eq!(context, 0);
                        packets::verify(payload);
                        packets.push(payload.to_vec());
                    }
                    Capsule::Sequence { .. } | Capsule::Ack { .. } => {}
                    other => others.push(format!("{other:?}")),
                }
            }
        }
        (packets, others)
    }

    pub fn packets(&mut self, client: &Client) -> Vec<Vec<u8>> {
        self.collect(client).0
    }

    /// What has left to the outside since the last call.
    pub fn take_outside(&mut self) -> Vec<Vec<u8>> {
        std::mem::take(&mut self.outside)
    }
}

impl Client {
    pub fn read(id: SessionId, answer: &[u8]) -> Self {
        let mut session = None;
        let mut addresses = Vec::new();
        let mut blocks = Vec::new();
        for capsule in capsules(answer) {
            match capsule.expect("a sound capsule") {
                Capsule::Session(found) => session = Some(found),
                Capsule::AddressAssign(list) => addresses = list,
                Capsule::ExternalPorts(list) => blocks = list,
                _ => {}
            }
        }
        let session = session.expect("SESSION");
        Self {
            id,
            v4: addresses[0].prefix.address,
            v6: addresses[1].prefix.address,
            blocks,
            resume: Resume { session_id: session.session_id, secret: session.secret, next: 0 },
            next: Cell::new(session.next),
        }
    }

    /// The address of the family that `like` is of.
    pub fn address(&self, like: IpAddr) -> IpAddr {
        if like.is_ipv4() { self.v4 } else { self.v6 }
    }

    /// Begins the next sequenced message.
    pub fn message(&self) -> BatchWriter {
        let number = self.next.replace(self.next.get() + 1);
        BatchWriter::with_sequence(webtun_wire::MAX_MESSAGE_LEN, number)
    }
}

pub fn hello(resume: Option<Resume>) -> Vec<u8> {
    let mut message = Vec::new();
    Capsule::Hello(Hello { min_version: 1, max_version: 1, token: b"", resume }).encode(&mut message);
    message
}

/// The number of a sequenced message.
pub fn sequence(message: &[u8]) -> Option<u64> {
    match capsules(message).next()? {
        Ok(Capsule::Sequence { number }) => Some(number),
        _ => None,
    }
}

//! A gateway with sessions that own the bindings, and traffic for it that is made before the clock runs.
//!
//! Each session has as many bindings as any other. Packets come in bursts of one session, and in trains of one binding
//! of it; busy sessions and bindings are drawn at random, so that a large table gains nothing from the order of its making.
//! Limits are the defaults; virtual time passes so fast that no rate is reached.

use std::collections::BTreeMap;
use std::error::Error;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use webtun_gateway::dataplane::{Event, ExternalAddress, Gateway, GatewayConfig, Peer, SessionId};
use webtun_tests::direct::hello;
use webtun_tests::packet::{View, udp};
use webtun_tests::rng::SimRng;
use webtun_wire::{BatchWriter, Capsule, Instant, MAX_MESSAGE_LEN, OffloadHeader, capsules};

use crate::cpu_time;

/// Packets of a burst: as many as a quick sender has in one message.
pub const BURST: usize = 32;
/// Neighbouring packets of one binding, as a sender has them that has more than one packet to send. A divisor of [`BURST`].
pub const TRAIN: usize = 8;
/// External addresses; more sessions than their blocks are enough for get [`MANY_ADDRESSES`], with smaller blocks.
const ADDRESSES: u8 = 4;
const MANY_ADDRESSES: u8 = 8;
/// Whom the bindings speak with.
const REMOTES: u64 = 1000;
/// Virtual time of a packet.
const PACE: Duration = Duration::from_micros(10);
const PAYLOAD: [u8; 64] = [0x5A; 64];

/// Who owns what.
#[derive(Clone, Copy)]
pub struct Layout {
    /// NAT bindings.
    pub bindings: usize,
    /// Sessions that own them.
    pub sessions: usize,
    /// Sessions that have traffic.
    pub busy: usize,
}

/// The gateway and its clients.
pub struct Rig {
    gateway: Gateway,
    now: Instant,
    rng: SimRng,
    clients: Vec<Client>,
    busy: usize,
    by_id: BTreeMap<SessionId, usize>,
    /// Packets that have left to the outside, and to clients.
    transmitted: usize,
    delivered: usize,
}

struct Client {
    id: SessionId,
    address: Ipv4Addr,
    bindings: Vec<Binding>,
    wanted: usize,
    /// Of the next message.
    number: u64,
    /// The gateway's next message.
    expected: u64,
}

/// Small, since its memory counts too.
#[derive(Clone, Copy)]
struct Binding {
    internal: SocketAddrV4,
    external: SocketAddrV4,
    remote: SocketAddrV4,
}

impl Binding {
    fn up(&self) -> BytesMut {
        udp(self.internal.into(), self.remote.into(), &PAYLOAD)
    }

    fn down(&self) -> BytesMut {
        udp(self.remote.into(), self.external.into(), &PAYLOAD)
    }
}

impl Rig {
    /// A gateway with the sessions, and no binding yet.
    pub fn new(layout: Layout) -> Self {
        let now = Instant::from_millis(1000);
        let gateway = Gateway::new(config(layout.sessions), [1; 32], now).expect("a sound configuration");
        let rng = SimRng::new(1, "bench_nat");
        let (clients, by_id) = (Vec::new(), BTreeMap::new());
        let mut rig = Self { gateway, now, rng, clients, busy: layout.busy, by_id, transmitted: 0, delivered: 0 };
        let Layout { bindings, sessions, .. } = layout;
        (0..sessions).for_each(|index| rig.open((index + 1) * bindings / sessions - index * bindings / sessions));
        rig
    }

    fn open(&mut self, wanted: usize) {
        let peer = Peer::new(format!("peer {}", self.clients.len()));
        let id = self.gateway.handshake(&hello(None), &peer, self.now).expect("a session");
        let info = self.gateway.sessions().find(|session| session.id == id).expect("the session");
        self.by_id.insert(id, self.clients.len());
        self.clients.push(Client { id, address: info.inner_v4, bindings: Vec::new(), wanted, number: 0, expected: 0 });
        self.drain(|_| {});
    }

    /// Makes the bindings, and lets each remote endpoint answer once. Returns the CPU time of the former.
    pub fn fill(&mut self) -> Result<Duration, Box<dyn Error>> {
        let mut spent = Duration::ZERO;
        for index in 0..self.clients.len() {
            let mut made = Vec::with_capacity(self.clients[index].wanted);
            for first in (0..self.clients[index].wanted).step_by(BURST) {
                let count = BURST.min(self.clients[index].wanted - first);
                let mut burst: Vec<_> = (first..first + count).map(|number| self.binding(index, number)).collect();
                let packets: Vec<_> = burst.iter().map(Binding::up).collect();
                let message = self.message(index, &packets);
                let (id, began) = (self.clients[index].id, cpu_time()?);
                self.send(id, message);
                let mut sent = Vec::with_capacity(count);
                self.drain(|packet| sent.push(packet));
                spent += cpu_time()? - began;
                for (binding, packet) in burst.iter_mut().zip(&sent) {
                    if let SocketAddr::V4(external) = View::parse(packet)?.source_endpoint() {
                        binding.external = external;
                    }
                }
                made.append(&mut burst);
            }
            for burst in made.chunks(BURST) {
                self.receive(burst.iter().map(Binding::down).collect());
                self.drain(|_| {});
                self.acknowledge(index);
            }
            self.clients[index].bindings = made;
        }
        let bindings: usize = self.clients.iter().map(|client| client.wanted).sum();
        self.check(bindings, bindings)?;
        Ok(spent)
    }

    /// CPU time of so many bursts from sessions, the messages with acknowledgments included.
    pub fn uplink(&mut self, bursts: usize, train: usize) -> Result<Duration, Box<dyn Error>> {
        let messages: Vec<_> = (0..bursts)
            .map(|_| {
                let index = self.any_client();
                let bindings = self.burst(index, train);
                let packets: Vec<_> = bindings.iter().map(Binding::up).collect();
                (self.clients[index].id, self.message(index, &packets))
            })
            .collect();
        let began = cpu_time()?;
        for (id, message) in messages {
            self.send(id, message);
            self.drain(drop);
        }
        let spent = cpu_time()? - began;
        self.check(bursts * BURST, 0)?;
        Ok(spent)
    }

    /// CPU time of so many bursts to sessions, with the messages made of them and their acknowledgments.
    pub fn downlink(&mut self, bursts: usize, train: usize) -> Result<Duration, Box<dyn Error>> {
        let packets: Vec<_> = (0..bursts)
            .map(|_| {
                let index = self.any_client();
                let bindings = self.burst(index, train);
                let packets = bindings.iter().map(Binding::down);
                (index, packets.collect::<Vec<_>>())
            })
            .collect();
        let began = cpu_time()?;
        for (index, burst) in packets {
            self.receive(burst);
            self.drain(drop);
            self.acknowledge(index);
        }
        let spent = cpu_time()? - began;
        self.check(0, bursts * BURST)?;
        Ok(spent)
    }

    fn any_client(&mut self) -> usize {
        self.rng.below(self.busy as u64) as usize
    }

    fn burst(&mut self, client: usize, train: usize) -> Vec<Binding> {
        let bindings = &self.clients[client].bindings;
        let trains = (0..BURST / train).map(|_| bindings[self.rng.below(bindings.len() as u64) as usize]);
        trains.flat_map(|binding| std::iter::repeat_n(binding, train)).collect()
    }

    fn binding(&mut self, client: usize, number: usize) -> Binding {
        let internal = SocketAddrV4::new(self.clients[client].address, 20_000 + number as u16);
        let remote = Ipv4Addr::from_bits(Ipv4Addr::new(93, 184, 0, 0).to_bits() + self.rng.below(REMOTES) as u32);
        Binding { internal, external: internal, remote: SocketAddrV4::new(remote, 443) }
    }

    fn message(&mut self, client: usize, packets: &[BytesMut]) -> BytesMut {
        let client = &mut self.clients[client];
        let mut writer = BatchWriter::with_sequence(MAX_MESSAGE_LEN, client.number);
        client.number += 1;
        assert!(writer.push(&Capsule::Ack { next: client.expected }), "a number fits any message");
        for packet in packets {
            assert!(writer.push_packet(0, packet), "a burst fits one message");
        }
        BytesMut::from(Bytes::from(writer.finish()))
    }

    fn send(&mut self, id: SessionId, message: BytesMut) {
        self.now += PACE * BURST as u32;
        self.gateway.process_uplink(id, message, self.now).expect("a sound message");
    }

    fn receive(&mut self, burst: Vec<BytesMut>) {
        self.now += PACE * burst.len() as u32;
        let packets = burst.into_iter().map(|packet| (packet, OffloadHeader::default()));
        self.gateway.process_downlink_batch(packets, self.now);
    }

    fn acknowledge(&mut self, index: usize) {
        let client = &self.clients[index];
        let ack = acknowledgment(client.expected);
        self.send(client.id, ack);
    }

    /// Takes what the gateway has to say, as its contract demands.
    fn drain(&mut self, mut sent: impl FnMut(BytesMut)) {
        if self.gateway.poll_timeout().is_some_and(|at| at <= self.now) {
            self.gateway.handle_timeout(self.now);
        }
        while let Some(transmit) = self.gateway.poll_transmit() {
            self.transmitted += 1;
            sent(transmit.packet);
        }
        while let Some(event) = self.gateway.poll_event() {
            let Event::MessagesReady(id) = event else { continue };
            while let Some(message) = self.gateway.poll_message(id, self.now) {
                if let (Some(index), Some(Ok(Capsule::Sequence { number }))) =
                    (self.by_id.get(&id), capsules(&message.into_bytes()).next())
                {
                    self.clients[*index].expected = number + 1;
                }
            }
        }
    }

    /// No packet may have been dropped: that would be quick.
    fn check(&mut self, transmitted: usize, delivered: usize) -> Result<(), Box<dyn Error>> {
        let all = self.gateway.stats().delivered.packets as usize;
        let carried = (std::mem::take(&mut self.transmitted), all - std::mem::replace(&mut self.delivered, all));
        if carried == (transmitted, delivered) {
            return Ok(());
        }
        Err(format!("{carried:?} packets were carried up and down, and not {transmitted}, {delivered}").into())
    }
}

fn config(sessions: usize) -> GatewayConfig {
    let few = sessions <= 500;
    let external = (1..=if few { ADDRESSES } else { MANY_ADDRESSES }).map(|number| {
        let address = Ipv4Addr::new(192, 0, 2, number).into();
        ExternalAddress { address, announced: address }
    });
    let mut config = GatewayConfig::new(external.collect());
    if !few {
        config.nat.block_size = 64;
    }
    // Nobody answers one here.
    config.ping_interval = Duration::from_secs(3600);
    config
}

/// A message that says nothing else.
fn acknowledgment(next: u64) -> BytesMut {
    let mut message = Vec::new();
    Capsule::Ack { next }.encode(&mut message);
    BytesMut::from(message.as_slice())
}

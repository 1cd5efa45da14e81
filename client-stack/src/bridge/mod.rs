//! An Ethernet segment for virtual machines: a switch, and a router behind which each guest has a tunnel session.
//!
//! # Contract
//!
//! After any call that takes `&mut self`: drain [`Segment::poll_event`]; take frames of the ports that
//! [`Segment::poll_port`] names by [`Segment::poll_frame`], and packets of the guests that [`Segment::poll_guest`]
//! names by [`Segment::poll_packet`], as many as their emulator or tunnel can take and later the rest; then wait for
//! [`Segment::poll_timeout`] or for input. Extra calls are harmless. `now` must not go backwards.
//!
//! # Bounds
//!
//! | what | bound | at the bound |
//! |---|---|---|
//! | ports, guests at one port | [`SegmentConfig`] | [`PortError`], or the frame is dropped |
//! | guests | [`SegmentConfig`] | the longest silent of the owner with the most goes for one with fewer, else the frame is dropped |
//! | what waits for a port or a tunnel | `queue_octets` and one frame | the newest is dropped |
//! | IPv6 addresses of a guest | 8 | the least recently used is forgotten |
//! | TCP connections of a guest with known segment sizes | 1,024 | the longest silent is forgotten |
//! | DHCP leases | the pool, at most 1,024, and `fixed` | the longest expired is given away, else the oldest of a card that is gone, else no offer |
//! | declined addresses | a quarter of the pool, for 10 minutes | the oldest is tried again |
//! | broadcasts of a port | `flood_rate` | dropped |
//! | refusals, and PONGs, for a stack on the segment | 64, and 16 | no more are given; the oldest goes |
//! | events | what one call makes of its input | the caller drains them |
//!
//! Nothing is shared between two segments: they are the rooms of a gateway.

mod arp;
mod away;
mod checksum;
mod config;
mod cut;
mod dhcp;
mod dhcp6;
mod flows;
mod frame;
mod guest;
mod leases;
mod link;
mod ndp;
mod outbox;
mod page_host;
mod pcp;
mod port;
mod router;
mod share;
mod switch;
mod translate;
mod tunnels;
mod types;
mod view;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use bytes::BytesMut;
use rand::rngs::ChaCha20Rng;
use rand::{Rng, SeedableRng};
use webtun_wire::{Instant, OffloadHeader};

use self::away::Away;
use self::guest::{Guest, PROBE_INTERVAL, PROBES};
use self::leases::Leases;
use self::port::Port;

pub use self::config::{ConfigError, SegmentConfig};
pub use self::port::SegmentHost;
pub use self::share::greediest;
pub use self::tunnels::{Bridge, BridgeConfig, BridgeEvent, LinkId, LinkInfo};
pub use self::types::{Event, FrameDrop, GuestId, MacAddress, PortError, PortId, SegmentStats, Uplink};

/// An Ethernet segment. See the [module](self) for how to drive it.
#[derive(Debug)]
pub struct Segment {
    config: SegmentConfig,
    ports: BTreeMap<PortId, Port>,
    guests: BTreeMap<GuestId, Guest>,
    by_mac: BTreeMap<MacAddress, GuestId>,
    owners: BTreeMap<IpAddr, GuestId>,
    away: BTreeMap<MacAddress, Away>,
    leases: Leases,
    events: VecDeque<Event>,
    ready_ports: BTreeSet<PortId>,
    ready_guests: BTreeSet<GuestId>,
    next_port: u32,
    next_guest: u32,
    /// Identification of the next datagram that is cut (RFC 7739: begins anywhere).
    next_datagram: u32,
    stats: SegmentStats,
}

impl Segment {
    /// A segment with its router and nobody else.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] where the configuration contradicts itself.
    pub fn new(config: SegmentConfig, seed: [u8; 32]) -> Result<Self, ConfigError> {
        config.validate()?;
        Ok(Self {
            leases: Leases::new(&config),
            config,
            ports: BTreeMap::new(),
            guests: BTreeMap::new(),
            by_mac: BTreeMap::new(),
            owners: BTreeMap::new(),
            away: BTreeMap::new(),
            events: VecDeque::new(),
            ready_ports: BTreeSet::new(),
            ready_guests: BTreeSet::new(),
            next_port: 0,
            next_guest: 0,
            next_datagram: ChaCha20Rng::from_seed(seed).next_u32(),
            stats: SegmentStats::default(),
        })
    }

    /// The configuration.
    pub const fn config(&self) -> &SegmentConfig {
        &self.config
    }

    /// Counts since the segment was made.
    pub const fn stats(&self) -> &SegmentStats {
        &self.stats
    }

    /// The next event.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    /// A port for which frames wait that did not before.
    pub fn poll_port(&mut self) -> Option<PortId> {
        self.ready_ports.pop_first()
    }

    /// Names a port to [`Segment::poll_port`].
    fn announce(&mut self, port: PortId) {
        if self.ports.contains_key(&port) {
            self.ready_ports.insert(port);
        }
    }

    /// The next frame for a port, or the next IP packet where it is a host's.
    pub fn poll_frame(&mut self, port: PortId) -> Option<BytesMut> {
        self.ports.get_mut(&port)?.outbox.pop()
    }

    /// Octets that wait for a port.
    pub fn waiting_frames(&self, port: PortId) -> usize {
        self.ports.get(&port).map_or(0, |it| it.outbox.octets())
    }

    /// Octets that wait for the tunnels of a port's guests.
    pub fn waiting_packets(&self, port: PortId) -> usize {
        self.guests.values().filter(|it| it.port == port).map(|it| it.outbox.octets()).sum()
    }

    /// A guest for whose tunnel packets wait that did not before.
    pub fn poll_guest(&mut self) -> Option<GuestId> {
        self.ready_guests.pop_first()
    }

    /// The next packet for a guest's tunnel. Where its [`Uplink`] takes no offload, every header is the empty one.
    pub fn poll_packet(&mut self, guest: GuestId) -> Option<(BytesMut, OffloadHeader)> {
        self.guests.get_mut(&guest)?.outbox.pop()
    }

    /// Says which session a guest has; `None`: none for the moment. What waits for another session is dropped.
    pub fn set_uplink(&mut self, guest: GuestId, uplink: Option<Uplink>, now: Instant) {
        let Some(it) = self.guests.get_mut(&guest) else { return };
        let addresses = |uplink: Option<Uplink>| uplink.map(|it| (it.v4, it.v6));
        if addresses(it.uplink) != addresses(uplink) {
            it.outbox.clear();
            self.ready_guests.remove(&guest);
        }
        let had_v6 = has_v6(it.uplink);
        it.uplink = uplink;
        if had_v6 != has_v6(uplink) && it.advertise.is_some() {
            self.advertise(guest, now);
        }
    }

    /// The session of a guest, its MAC address, and its addresses on the segment: IPv4, and the IPv6 address that it has
    /// used last.
    pub fn guest(&self, guest: GuestId) -> Option<GuestInfo> {
        self.guests.get(&guest).map(|it| GuestInfo {
            port: it.port,
            mac: it.mac,
            v4: it.v4,
            v6: it.v6_below_prefix(),
            uplink: it.uplink,
        })
    }

    /// When [`Segment::handle_timeout`] is due.
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.guests.values().flat_map(|guest| [self.next_probe(guest), guest.advertise]).flatten().min()
    }

    /// Asks silent guests whether they are there, forgets those who do not answer, and repeats router advertisements.
    pub fn handle_timeout(&mut self, now: Instant) {
        let is_due = |time: Option<Instant>| time.is_some_and(|it| it <= now);
        let silent: Vec<GuestId> =
            self.guests.iter().filter(|(_, it)| is_due(self.next_probe(it))).map(|(id, _)| *id).collect();
        for id in silent {
            self.probe(id);
        }
        let advertise: Vec<GuestId> =
            self.guests.iter().filter(|(_, it)| is_due(it.advertise)).map(|(id, _)| *id).collect();
        for id in advertise {
            self.advertise(id, now);
        }
    }

    fn next_probe(&self, guest: &Guest) -> Option<Instant> {
        let due = guest.heard + self.config.guest_timeout + PROBE_INTERVAL * u32::from(guest.probes);
        (!guest.is_host).then_some(due)
    }

    fn probe(&mut self, id: GuestId) {
        let Some(guest) = self.guests.get_mut(&id) else { return };
        guest.probes += 1;
        let (port, mac) = (guest.port, guest.mac);
        match guest.address() {
            Some(address) if guest.probes <= PROBES => self.ask(port, mac, address),
            _ => self.forget_guest(id),
        }
    }
}

/// What is known of a guest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GuestInfo {
    /// Where it is.
    pub port: PortId,
    /// Its network card.
    pub mac: MacAddress,
    /// Its IPv4 address on the segment.
    pub v4: Option<Ipv4Addr>,
    /// The IPv6 address below the segment's prefix that it has used last.
    pub v6: Option<Ipv6Addr>,
    /// Its session.
    pub uplink: Option<Uplink>,
}

fn has_v6(uplink: Option<Uplink>) -> bool {
    uplink.is_some_and(|it| it.v6.is_some())
}

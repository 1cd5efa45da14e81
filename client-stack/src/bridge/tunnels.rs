//! A segment and the tunnel sessions of its guests under one roof.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use rand::rngs::ChaCha20Rng;
use rand::{Rng, SeedableRng};
use webtun_wire::Instant;

use super::link::Link;
use super::page_host::PageHost;
use super::{ConfigError, Event, GuestId, MacAddress, PortError, PortId, Segment, SegmentConfig, SegmentHost};
use crate::tunnel::{Tunnel, TunnelEvent};
use crate::{Lease, MapId, PortMapError, PortMapOptions, PortMapping, StackConfig, Status};

/// The session of one network card, with a transport of its own. Numbers are not used again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LinkId(u32);

impl LinkId {
    /// As a number.
    pub const fn get(self) -> u32 {
        self.0
    }

    /// From the number that [`LinkId::get`] gave.
    pub const fn from_u32(number: u32) -> Self {
        Self(number)
    }
}

/// How a [`Bridge`] is made.
#[derive(Clone, Debug)]
pub struct BridgeConfig {
    /// The segment.
    pub segment: SegmentConfig,
    /// Each session; their seeds are drawn from the one in here.
    pub tunnel: StackConfig,
    /// How long a session waits for a network card that is away, with its addresses and ports: 2 minutes by
    /// [`BridgeConfig::new`].
    pub absence: Duration,
}

impl BridgeConfig {
    /// The defaults, with this seed.
    pub fn new(seed: [u8; 32]) -> Self {
        let tunnel = StackConfig::new(seed);
        Self { segment: SegmentConfig::default(), tunnel, absence: Duration::from_secs(120) }
    }
}

/// What the shell has to do, or may want to know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BridgeEvent {
    /// The session wants a transport: [`Bridge::handle_connected`] or [`Bridge::handle_disconnected`] follows.
    OpenTransport(LinkId),
    /// The session's transport is to be closed, once what [`Bridge::poll_transmit`] still has is sent.
    CloseTransport(LinkId),
    /// Where a session stands.
    Status(LinkId, Status),
    /// A guest has a DHCP lease, for the first time or renewed.
    LeaseGiven {
        /// Its network card.
        mac: MacAddress,
        /// What it may use.
        address: Ipv4Addr,
        /// The name that it has given itself.
        host_name: Option<String>,
    },
    /// A port map has an outcome, the first or another one.
    PortMapped {
        /// Whose.
        link: LinkId,
        /// Which.
        map: MapId,
        /// The external endpoint.
        result: Result<PortMapping, PortMapError>,
    },
    /// The session is over and its number is forgotten.
    Removed(LinkId),
}

/// A [`Segment`] each of whose guests has a tunnel session, over a transport of its own.
///
/// # Contract
///
/// As that of the [segment](super#contract) and of [`Stack`](crate::Stack): after any call that takes `&mut self`, drain
/// [`Bridge::poll_event`]; take frames of the ports that [`Bridge::poll_port`] names, and messages of the links that
/// [`Bridge::poll_link`] names by [`Bridge::poll_transmit`], as many as their transport takes and later the rest.
///
/// A port has an owner, a number that the shell gives: a network card that comes back at a port of the same owner goes on
/// with the session that it had, and nobody else has that card while the session waits for it. At most `max_guests`
/// sessions wait for their network cards; past it, the one that has waited longest ends.
pub struct Bridge {
    pub(super) segment: Segment,
    config: BridgeConfig,
    pub(super) pages: BTreeMap<PortId, PageHost>,
    links: BTreeMap<LinkId, Link>,
    by_guest: BTreeMap<GuestId, LinkId>,
    events: VecDeque<BridgeEvent>,
    ready: BTreeSet<LinkId>,
    next_link: u32,
    rng: ChaCha20Rng,
}

/// What is known of a session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LinkInfo {
    /// The owner of its port.
    pub owner: u32,
    /// The network card.
    pub mac: MacAddress,
    /// Where the network card is; `None` while it is away.
    pub port: Option<PortId>,
    /// The guest's IPv4 address on the segment.
    pub v4: Option<Ipv4Addr>,
    /// What the gateway has given the session.
    pub lease: Option<Lease>,
}

impl Bridge {
    /// An empty one.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] where the segment's configuration contradicts itself.
    pub fn new(config: BridgeConfig) -> Result<Self, ConfigError> {
        let mut rng = ChaCha20Rng::from_seed(config.tunnel.seed);
        let segment = Segment::new(config.segment.clone(), draw(&mut rng))?;
        Ok(Self {
            segment,
            config,
            pages: BTreeMap::new(),
            links: BTreeMap::new(),
            by_guest: BTreeMap::new(),
            events: VecDeque::new(),
            ready: BTreeSet::new(),
            next_link: 0,
            rng,
        })
    }

    /// The segment, for its configuration and counts.
    pub const fn segment(&self) -> &Segment {
        &self.segment
    }

    /// Adds an emulator's port.
    ///
    /// # Errors
    ///
    /// [`PortError::TooManyPorts`] at the configured bound.
    pub fn add_port(&mut self, owner: u32, now: Instant) -> Result<PortId, PortError> {
        self.segment.add_port(owner, now)
    }

    /// Adds a host that speaks IP packets; see [`Segment::add_host`].
    ///
    /// # Errors
    ///
    /// [`PortError`] where there is no room or no address.
    pub fn add_host(&mut self, owner: u32, now: Instant) -> Result<SegmentHost, PortError> {
        let host = self.segment.add_host(owner, now)?;
        self.settle(now);
        Ok(host)
    }

    /// Removes a port. The sessions of its guests wait for them.
    pub fn remove_port(&mut self, port: PortId, now: Instant) {
        self.segment.remove_port(port);
        self.pages.remove(&port);
        self.settle(now);
    }

    /// Takes a frame from an emulator.
    pub fn handle_frame(&mut self, port: PortId, frame: &[u8], now: Instant) {
        self.segment.handle_frame(port, frame, now);
        self.settle(now);
    }

    /// Takes an IP packet from a host.
    pub fn handle_host_packet(&mut self, port: PortId, packet: &[u8], now: Instant) {
        self.segment.handle_host_packet(port, packet, now);
        self.settle(now);
    }

    /// A port for which frames wait that did not before.
    pub fn poll_port(&mut self) -> Option<PortId> {
        self.segment.poll_port()
    }

    /// The next frame for a port, or the next IP packet where it is a host's.
    pub fn poll_frame(&mut self, port: PortId) -> Option<BytesMut> {
        self.segment.poll_frame(port)
    }

    /// A session that may have something to send and had nothing before.
    pub fn poll_link(&mut self) -> Option<LinkId> {
        self.ready.pop_first()
    }

    /// The transport of a session is open.
    pub fn handle_connected(&mut self, link: LinkId, now: Instant) {
        self.with(link, now, |link, _| link.tunnel.handle_connected(now));
    }

    /// The transport of a session is gone, or did not open.
    pub fn handle_disconnected(&mut self, link: LinkId, now: Instant) {
        self.with(link, now, |link, _| link.tunnel.handle_disconnected(now));
    }

    /// A message has come on a session's transport.
    pub fn handle_message(&mut self, link: LinkId, message: &[u8], now: Instant) {
        self.with(link, now, |link, segment| {
            link.handle_message(message, segment, now);
        });
    }

    /// The next message for a session's transport.
    pub fn poll_transmit(&mut self, link: LinkId, now: Instant) -> Option<Bytes> {
        let message = self.links.get_mut(&link)?.poll_transmit(&mut self.segment, now);
        if message.is_some() {
            self.apply(link, now);
        }
        message
    }

    /// Skips what is left of all sessions' back-off.
    pub fn reconnect_now(&mut self, now: Instant) {
        let all: Vec<LinkId> = self.links.keys().copied().collect();
        for id in all {
            self.with(id, now, |link, _| link.tunnel.reconnect_now(now));
        }
    }

    /// Ends all sessions, and the tunnels of stacks.
    pub fn close(&mut self, now: Instant) {
        self.close_pages();
        let all: Vec<LinkId> = self.links.keys().copied().collect();
        for id in all {
            self.with(id, now, |link, _| link.tunnel.close(now));
        }
    }

    /// Asks for an external port for a guest's server, and keeps it. [`BridgeEvent::PortMapped`] follows; `None` where
    /// there is no such session.
    pub fn map_port(&mut self, link: LinkId, options: PortMapOptions, now: Instant) -> Option<MapId> {
        let id = self.links.get_mut(&link)?.maps.map(options);
        self.with(link, now, |_, _| ());
        Some(id)
    }

    /// Gives an external port back.
    pub fn unmap_port(&mut self, link: LinkId, map: MapId, now: Instant) {
        self.with(link, now, |link, _| link.maps.unmap(map));
    }

    /// What is known of a session.
    pub fn link(&self, id: LinkId) -> Option<LinkInfo> {
        let link = self.links.get(&id)?;
        let guest = link.guest.and_then(|it| self.segment.guest(it));
        Some(LinkInfo {
            owner: link.owner,
            mac: link.mac,
            port: guest.map(|it| it.port),
            v4: guest.and_then(|it| it.v4),
            lease: link.tunnel.lease().cloned(),
        })
    }

    /// Where the network card of a session is; `None` while it is away.
    pub fn port_of(&self, id: LinkId) -> Option<PortId> {
        let guest = self.links.get(&id)?.guest?;
        self.segment.guest(guest).map(|it| it.port)
    }

    /// The owner of a session's port.
    pub fn owner_of(&self, id: LinkId) -> Option<u32> {
        self.links.get(&id).map(|it| it.owner)
    }

    /// All sessions.
    pub fn links(&self) -> impl Iterator<Item = LinkId> {
        self.links.keys().copied()
    }

    /// Octets that wait for the tunnels of a port's guests.
    pub fn waiting_packets(&self, port: PortId) -> usize {
        self.segment.waiting_packets(port)
    }

    /// The next event.
    pub fn poll_event(&mut self) -> Option<BridgeEvent> {
        self.events.pop_front()
    }

    /// When [`Bridge::handle_timeout`] is due.
    pub fn poll_timeout(&self) -> Option<Instant> {
        let links = self.links.values().flat_map(|it| [it.tunnel.poll_timeout(), it.maps.poll_timeout(), it.ends_at]);
        links.chain([self.segment.poll_timeout()]).flatten().min()
    }

    /// Does what has come due.
    pub fn handle_timeout(&mut self, now: Instant) {
        self.segment.handle_timeout(now);
        let all: Vec<LinkId> = self.links.keys().copied().collect();
        for id in all {
            self.with(id, now, |link, _| {
                link.tunnel.handle_timeout(now);
                link.maps.handle_timeout(now);
                if link.ends_at.take_if(|at| *at <= now).is_some() {
                    link.tunnel.close(now);
                }
            });
        }
        self.settle(now);
    }

    fn with(&mut self, id: LinkId, now: Instant, act: impl FnOnce(&mut Link, &mut Segment)) {
        let Some(link) = self.links.get_mut(&id) else { return };
        act(link, &mut self.segment);
        self.ready.insert(id);
        self.apply(id, now);
        self.settle(now);
    }

    /// Brings what a session has to say to the segment and the shell.
    fn apply(&mut self, id: LinkId, now: Instant) {
        let Some(link) = self.links.get_mut(&id) else { return };
        while let Some(event) = link.tunnel.poll_event() {
            match event {
                TunnelEvent::OpenTransport => self.events.push_back(BridgeEvent::OpenTransport(id)),
                TunnelEvent::CloseTransport => self.events.push_back(BridgeEvent::CloseTransport(id)),
                TunnelEvent::SessionLost => link.session_lost(),
                TunnelEvent::LeaseChanged | TunnelEvent::Streams(_) => {}
                TunnelEvent::Status(status) => {
                    if matches!(status, Status::Closed { .. }) {
                        link.maps.fail_all(PortMapError::TunnelClosed);
                    }
                    self.events.push_back(BridgeEvent::Status(id, status));
                }
            }
        }
        link.refresh(&mut self.segment, now);
        while let Some((map, result)) = link.maps.poll_event() {
            self.events.push_back(BridgeEvent::PortMapped { link: id, map, result });
        }
        if link.guest.is_none() && link.is_finished() {
            self.segment.unreserve(link.mac, link.owner);
            self.links.remove(&id);
            self.ready.remove(&id);
            self.events.push_back(BridgeEvent::Removed(id));
        }
    }

    /// Gives guests their sessions.
    pub(super) fn settle(&mut self, now: Instant) {
        while let Some(event) = self.segment.poll_event() {
            match event {
                Event::GuestSeen { guest, port, mac } => self.attach(guest, port, mac, now),
                Event::GuestGone { guest, address, .. } => self.detach(guest, address, now),
                Event::LeaseGiven { guest, address, host_name } => {
                    if let Some(mac) = self.segment.guest(guest).map(|it| it.mac) {
                        self.events.push_back(BridgeEvent::LeaseGiven { mac, address, host_name });
                    }
                }
            }
        }
        while let Some(guest) = self.segment.poll_guest() {
            self.ready.extend(self.by_guest.get(&guest));
        }
    }

    fn attach(&mut self, guest: GuestId, port: PortId, mac: MacAddress, now: Instant) {
        let owner = self.segment.owner_of(port).unwrap_or_default();
        let is_its = |it: &Link| it.guest.is_none() && it.owner == owner && it.mac == mac && !it.tunnel.is_closed();
        let known = self.links.iter().find(|(_, it)| is_its(it)).map(|(id, _)| *id);
        let id = known.unwrap_or_else(|| {
            let seed = draw(&mut self.rng);
            let config = StackConfig { seed, streams: false, ..self.config.tunnel.clone() };
            let id = LinkId(self.next_link);
            self.next_link = self.next_link.wrapping_add(1);
            self.links.insert(id, Link::new(Tunnel::new(config, now), owner, mac, guest));
            id
        });
        self.by_guest.insert(guest, id);
        if let Some(link) = self.links.get_mut(&id) {
            (link.guest, link.ends_at) = (Some(guest), None);
        }
        self.ready.insert(id);
        self.apply(id, now);
    }

    fn detach(&mut self, guest: GuestId, address: Option<IpAddr>, now: Instant) {
        let Some(id) = self.by_guest.remove(&guest) else { return };
        let Some(link) = self.links.get_mut(&id) else { return };
        (link.guest, link.ends_at) = (None, Some(now + self.config.absence));
        self.segment.reserve(link.mac, link.owner, address, now);
        self.apply(id, now);
        let away = self.links.iter().filter(|(_, it)| it.guest.is_none() && !it.tunnel.is_closed());
        let (count, first) = away.fold((0, None), |(count, first): (usize, Option<(Instant, LinkId)>), (id, it)| {
            let this = it.ends_at.map(|at| (at, *id));
            (count + 1, first.into_iter().chain(this).min())
        });
        if let Some((_, first)) = first.filter(|_| count > self.config.segment.max_guests) {
            if let Some(link) = self.links.get_mut(&first) {
                link.tunnel.close(now);
            }
            self.ready.insert(first);
            self.apply(first, now);
        }
    }
}

fn draw(rng: &mut ChaCha20Rng) -> [u8; 32] {
    let mut seed = [0; 32];
    rng.fill_bytes(&mut seed);
    seed
}

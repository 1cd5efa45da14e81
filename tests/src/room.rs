//! A segment with virtual machines, each with a session at the real gateway, and one host behind it: in virtual time,
//! without delay on the way.

use bytes::BytesMut;
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;
use webtun_gateway::dataplane::{ExternalAddress, GatewayConfig, Peer};
use webtun_stack::bridge::{Event, GuestId, PortId, Segment, SegmentConfig, Uplink};
use webtun_wire::{Instant, OffloadHeader};

use crate::direct::Direct;
use crate::guest::Guest;
use crate::host::Machine;
use crate::rng::SimRng;

/// Packets that may go around at one moment; more is a loop.
const MOST_ROUNDS: usize = 2_000_000;

/// The gateway's inner addresses.
pub const INNER_HOST: [IpAddr; 2] = [
    IpAddr::V4(std::net::Ipv4Addr::new(100, 64, 0, 1)),
    IpAddr::V6(std::net::Ipv6Addr::new(0xfd77, 0x6562, 0x7475, 0, 0, 0, 0, 1)),
];

/// The world of the bridge.
pub struct Room {
    /// The segment.
    pub segment: Segment,
    /// Its virtual machines, each at a port of its own.
    pub guests: Vec<(PortId, Guest)>,
    /// The gateway.
    pub direct: Direct,
    /// Behind the gateway.
    pub remote: Machine,
    /// The gateway's inner host.
    pub inner: Machine,
    /// While false no packet passes between segment and gateway, and no session opens.
    pub is_online: bool,
    /// Which session of [`Direct`] each guest has.
    pub sessions: BTreeMap<GuestId, usize>,
    /// Every event of the segment.
    pub events: Vec<Event>,
    /// The longest packet that a guest's tunnel has carried.
    pub longest_uplink: usize,
}

impl Room {
    /// An empty room.
    ///
    /// # Panics
    ///
    /// Panics where the configuration is refused.
    pub fn new(config: SegmentConfig, remote: &[IpAddr]) -> Self {
        let address = |text: &str| -> IpAddr { text.parse().expect("an address") };
        let external = ["100.127.255.1", "fd77:6562:7475:ffff::1"].map(|text| {
            let address = address(text);
            ExternalAddress { address, announced: address }
        });
        let direct = Direct::new(GatewayConfig::new(external.to_vec()), [7; 32]);
        let now = direct.now;
        let own = |all: &[IpAddr]| all.iter().map(|it| (*it, if it.is_ipv4() { 24 } else { 64 })).collect::<Vec<_>>();
        Self {
            segment: Segment::new(config, [3; 32]).expect("a configuration"),
            guests: Vec::new(),
            remote: Machine::new(&own(remote), 1500, SimRng::new(1, "remote"), now),
            inner: Machine::new(&own(&INNER_HOST), 65_535, SimRng::new(1, "inner"), now),
            direct,
            is_online: true,
            sessions: BTreeMap::new(),
            events: Vec::new(),
            longest_uplink: 0,
        }
    }

    /// The present.
    pub fn now(&self) -> Instant {
        self.direct.now
    }

    /// Plugs a virtual machine in.
    ///
    /// # Panics
    ///
    /// Panics where there is no port left.
    pub fn plug(&mut self, guest: Guest) -> usize {
        let port = self.segment.add_port(0, self.now()).expect("a port");
        self.guests.push((port, guest));
        self.guests.len() - 1
    }

    /// Goes on until `done` holds; false where `limit` passes first.
    pub fn run_until(&mut self, limit: Duration, done: impl Fn(&mut Self) -> bool) -> bool {
        let end = self.now() + limit;
        loop {
            self.settle();
            if done(self) {
                return true;
            }
            if self.now() >= end {
                return false;
            }
            let next = self.next_timeout().max(self.now() + Duration::from_micros(1)).min(end);
            let step = next - self.now();
            self.direct.advance(step);
            let now = self.now();
            self.segment.handle_timeout(now);
            self.remote.handle_timeout(now);
            self.inner.handle_timeout(now);
        }
    }

    /// Opens a session for each guest that has none.
    ///
    /// # Panics
    ///
    /// Panics where the gateway refuses one.
    pub fn connect_all(&mut self) {
        self.is_online = true;
        let seen: Vec<GuestId> = self.sessions_wanted();
        for guest in seen {
            self.open(guest);
        }
    }

    /// Gives a guest a session, or another one, with other inner addresses.
    ///
    /// # Panics
    ///
    /// Panics where the gateway refuses it.
    pub fn open(&mut self, guest: GuestId) {
        let index = self.direct.open(&Peer::new("room")).expect("a session");
        let session = &self.direct.sessions[index];
        let own = |ipv6: bool| session.endpoint(ipv6, 0).ip();
        let (IpAddr::V4(v4), IpAddr::V6(v6)) = (own(false), own(true)) else { unreachable!("as asked for") };
        let [IpAddr::V4(host_v4), IpAddr::V6(host_v6)] = INNER_HOST else { unreachable!("one of each") };
        let uplink =
            Uplink { v4: Some(v4), v6: Some(v6), host_v4: Some(host_v4), host_v6: Some(host_v6), offload: false };
        self.sessions.insert(guest, index);
        self.segment.set_uplink(guest, Some(uplink), self.now());
    }

    fn sessions_wanted(&self) -> Vec<GuestId> {
        let seen = self.events.iter().filter_map(|event| match event {
            Event::GuestSeen { guest, .. } => Some(*guest),
            _ => None,
        });
        seen.filter(|it| !self.sessions.contains_key(it) && self.segment.guest(*it).is_some()).collect()
    }

    fn next_timeout(&mut self) -> Instant {
        let now = self.now();
        let guests: Vec<Instant> = self.guests.iter_mut().filter_map(|(_, it)| it.poll_timeout(now)).collect();
        let others = [self.segment.poll_timeout(), self.remote.poll_timeout(), self.inner.poll_timeout()];
        let soonest = guests.into_iter().chain(others.into_iter().flatten()).min();
        soonest.unwrap_or(now + Duration::from_secs(1))
    }

    fn settle(&mut self) {
        for _ in 0..MOST_ROUNDS {
            if !self.round() {
                return;
            }
        }
        panic!("packets go around for ever");
    }

    fn round(&mut self) -> bool {
        let now = self.now();
        let mut moved = false;
        for (port, guest) in &mut self.guests {
            guest.run(now);
            while let Some(frame) = guest.poll_frame() {
                self.segment.handle_frame(*port, &frame, now);
                moved = true;
            }
            while let Some(frame) = self.segment.poll_frame(*port) {
                guest.handle_frame(&frame);
                moved = true;
            }
        }
        while let Some(event) = self.segment.poll_event() {
            if let Event::GuestGone { guest, .. } = &event {
                self.sessions.remove(guest);
            }
            self.events.push(event);
            moved = true;
        }
        if self.is_online {
            self.connect_all();
        }
        moved | self.exchange(now)
    }

    /// Between segment, gateway and what is behind it.
    fn exchange(&mut self, now: Instant) -> bool {
        let mut moved = false;
        let sessions: Vec<(GuestId, usize)> = self.sessions.iter().map(|(guest, index)| (*guest, *index)).collect();
        for (guest, index) in sessions {
            let up: Vec<BytesMut> =
                std::iter::from_fn(|| self.segment.poll_packet(guest)).map(|(packet, _)| packet).collect();
            self.longest_uplink = up.iter().map(|packet| packet.len()).chain([self.longest_uplink]).max().unwrap_or(0);
            moved |= !up.is_empty();
            // A message at a time is what a session takes.
            for packet in up.into_iter().filter(|_| self.is_online) {
                self.direct.send_packets(index, &[packet]).expect("no packet ends a session");
            }
            while let Some(packet) = self.direct.sessions[index].packets.pop_front().filter(|_| self.is_online) {
                self.segment.handle_packet(guest, packet, OffloadHeader::default());
                moved = true;
            }
        }
        while let Some(packet) = self.direct.egress.pop_front() {
            self.remote.handle_packet(packet, now);
            moved = true;
        }
        while let Some(packet) = self.direct.local.pop_front() {
            self.inner.handle_packet(packet, now);
            moved = true;
        }
        self.remote.drain(now);
        while let Some(packet) = self.remote.poll_packet() {
            self.direct.receive(packet);
            moved = true;
        }
        self.inner.drain(now);
        while let Some(packet) = self.inner.poll_packet() {
            self.direct.receive_local(packet);
            moved = true;
        }
        moved
    }
}

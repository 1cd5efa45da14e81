//! Who is on the segment, and which addresses are whose.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use bytes::BytesMut;
use webtun_wire::{Instant, OffloadHeader};

use super::flows::Flows;
use super::outbox::Outbox;
use super::share::greediest;
use super::{Event, FrameDrop, GuestId, MacAddress, PortId, Segment, Uplink};

/// IPv6 addresses of one guest; beyond it the one that was used least recently is forgotten.
const MAX_ADDRESSES: usize = 8;
/// What every Ethernet card takes; more is believed when it is seen.
const USUAL_MTU: u16 = 1500;
/// How long a network card must be silent at one port before it is asked whether it has moved to another of its owner's,
/// so that many frames from there make few questions.
const ASK_AFTER: Duration = Duration::from_secs(1);
/// How long it has for an answer.
const ANSWER_WITHIN: Duration = Duration::from_secs(2);
/// How long it must be silent instead, where it has no address to be asked for.
const UNASKED_AFTER: Duration = Duration::from_secs(30);
/// Questions to a silent guest, and the time between them.
pub(super) const PROBES: u8 = 3;
pub(super) const PROBE_INTERVAL: Duration = Duration::from_secs(10);

/// One network card.
#[derive(Debug)]
pub(super) struct Guest {
    pub port: PortId,
    pub mac: MacAddress,
    /// Behind a port that takes packets, not frames.
    pub is_host: bool,
    pub heard: Instant,
    pub probes: u8,
    /// When it was asked, since it was heard, because it has appeared elsewhere.
    contested: Option<Instant>,
    /// The longest packet that the guest has shown to take; it may ignore what it was told.
    pub mtu: u16,
    pub v4: Option<Ipv4Addr>,
    /// The latest used comes last.
    pub v6: Vec<Ipv6Addr>,
    /// When it is told again who its router is; `None` until it has spoken IPv6.
    pub advertise: Option<Instant>,
    pub uplink: Option<Uplink>,
    pub flows: Flows,
    pub outbox: Outbox<(BytesMut, OffloadHeader)>,
}

impl Guest {
    fn new(port: PortId, mac: MacAddress, is_host: bool, mtu: u16, bound: usize, now: Instant) -> Self {
        Self {
            port,
            mac,
            is_host,
            heard: now,
            probes: 0,
            contested: None,
            mtu,
            v4: None,
            v6: Vec::new(),
            advertise: None,
            uplink: None,
            flows: Flows::default(),
            outbox: Outbox::new(bound),
        }
    }

    /// By which it can be asked whether it is there.
    pub fn address(&self) -> Option<IpAddr> {
        self.v4.map(IpAddr::V4).or_else(|| self.v6.last().copied().map(IpAddr::V6))
    }

    /// The address that the tunnel's packets go to.
    pub fn v6_below_prefix(&self) -> Option<Ipv6Addr> {
        self.v6.iter().rev().find(|it| !is_link_local(**it)).copied()
    }
}

pub(super) fn is_link_local(address: Ipv6Addr) -> bool {
    address.segments()[0] & 0xffc0 == 0xfe80
}

impl Segment {
    /// The guest whose frame this is; a new one where there is room.
    pub(super) fn learn(&mut self, port: PortId, mac: MacAddress, now: Instant) -> Result<GuestId, FrameDrop> {
        if mac == self.config.router_mac {
            return Err(FrameDrop::SourceMac);
        }
        let known = self.by_mac.get(&mac).copied();
        if let Some(id) = known
            && let Some(guest) = self.guests.get_mut(&id)
        {
            if guest.port != port {
                if !self.gives_way(id, port, now) {
                    return Err(FrameDrop::ForeignMac);
                }
                if !self.has_room_at(port) {
                    return Err(FrameDrop::TooManyGuests);
                }
                self.forget_guest(id);
                return Ok(self.insert_guest(port, mac, false, now));
            }
            (guest.heard, guest.probes, guest.contested) = (now, 0, None);
            return Ok(id);
        }
        if self.is_reserved(mac, port) {
            return Err(FrameDrop::ForeignMac);
        }
        if !self.has_room_at(port) || !self.make_room(port) {
            return Err(FrameDrop::TooManyGuests);
        }
        Ok(self.insert_guest(port, mac, false, now))
    }

    /// Whether a guest leaves its network card, or its address, to another port: only to one of the same owner, and only
    /// where it does not answer a question at its own.
    fn gives_way(&mut self, id: GuestId, to: PortId, now: Instant) -> bool {
        let Some(guest) = self.guests.get(&id) else { return true };
        if guest.is_host || self.owner_of(guest.port) != self.owner_of(to) || now - guest.heard < ASK_AFTER {
            return false;
        }
        let Some(address) = guest.address() else { return now - guest.heard >= UNASKED_AFTER };
        if let Some(asked) = guest.contested {
            return now - asked >= ANSWER_WITHIN;
        }
        let (port, mac) = (guest.port, guest.mac);
        if let Some(guest) = self.guests.get_mut(&id) {
            guest.contested = Some(now);
        }
        self.ask(port, mac, address);
        false
    }

    fn has_room_at(&self, port: PortId) -> bool {
        self.guests.values().filter(|guest| guest.port == port).count() < self.config.max_guests_per_port
    }

    /// Whether there is room for one more guest. At the bound, of the owner with the most the one that has been silent
    /// longest has to go, for an owner who then has no more than that.
    fn make_room(&mut self, port: PortId) -> bool {
        if self.guests.len() < self.config.max_guests {
            return true;
        }
        let owners = self.guests.values().filter_map(|it| self.owner_of(it.port));
        let Some(most) = self.owner_of(port).and_then(|own| greediest(owners, own)) else { return false };
        let of_most = self.guests.iter().filter(|(_, it)| !it.is_host && self.owner_of(it.port) == Some(most));
        let silent = of_most.min_by_key(|(_, it)| it.heard).map(|(id, _)| *id);
        silent.inspect(|id| self.forget_guest(*id)).is_some()
    }

    pub(super) fn insert_guest(&mut self, port: PortId, mac: MacAddress, is_host: bool, now: Instant) -> GuestId {
        let id = GuestId(self.next_guest);
        self.next_guest = self.next_guest.wrapping_add(1);
        let mtu = if is_host { self.config.mtu } else { self.config.mtu.min(USUAL_MTU) };
        self.guests.insert(id, Guest::new(port, mac, is_host, mtu, self.config.queue_octets, now));
        self.by_mac.insert(mac, id);
        self.away.remove(&mac);
        self.events.push_back(Event::GuestSeen { guest: id, port, mac });
        id
    }

    pub(super) fn forget_guest(&mut self, id: GuestId) {
        let Some(guest) = self.guests.remove(&id) else { return };
        self.by_mac.remove(&guest.mac);
        self.owners.retain(|_, owner| *owner != id);
        self.ready_guests.remove(&id);
        let address = guest.address().filter(|_| !guest.is_host);
        self.events.push_back(Event::GuestGone { guest: id, mac: guest.mac, address });
    }

    /// The guest uses this address from now on, or has no right to it.
    ///
    /// A guest that comes back from a saved state may use another network card's address: at the same port, or where
    /// that card is no longer here and kept for nobody else, the address goes over; so it does between ports of one owner
    /// where that card does not answer.
    pub(super) fn claim(&mut self, id: GuestId, address: IpAddr, now: Instant) -> Result<(), FrameDrop> {
        if self.owners.get(&address) != Some(&id) {
            self.check_claim(id, address)?;
            self.check_holders(id, address, now)?;
            if let Some(other) = self.owners.insert(address, id).and_then(|other| self.guests.get_mut(&other)) {
                other.v4 = other.v4.filter(|it| IpAddr::V4(*it) != address);
                other.v6.retain(|it| IpAddr::V6(*it) != address);
            }
        }
        let Some(guest) = self.guests.get_mut(&id) else { return Err(FrameDrop::NoSuchPort) };
        let forgotten = match address {
            IpAddr::V4(v4) => {
                let old = guest.v4.replace(v4).filter(|old| *old != v4).map(IpAddr::V4);
                if old.is_some() || !self.leases.is_held_by(v4, guest.mac) {
                    self.leases.moved(v4, guest.mac);
                }
                old
            }
            IpAddr::V6(v6) => {
                guest.advertise.get_or_insert(now);
                use_address(&mut guest.v6, v6).map(IpAddr::V6)
            }
        };
        if let Some(old) = forgotten {
            self.owners.remove(&old);
        }
        Ok(())
    }

    fn check_claim(&self, id: GuestId, address: IpAddr) -> Result<(), FrameDrop> {
        let Some(guest) = self.guests.get(&id) else { return Err(FrameDrop::NoSuchPort) };
        if self.is_router(address) {
            return Err(FrameDrop::SpoofedRouter);
        }
        let is_here = match address {
            IpAddr::V4(v4) => self.config.is_host(v4),
            IpAddr::V6(v6) => self.config.in_prefix(v6) || is_link_local(v6),
        };
        // A host has the addresses that it was given.
        if !is_here || guest.is_host {
            return Err(FrameDrop::ForeignSource);
        }
        let is_anothers = |(mac, fixed): (&MacAddress, &Ipv4Addr)| IpAddr::V4(*fixed) == address && *mac != guest.mac;
        if self.config.fixed.iter().any(is_anothers) { Err(FrameDrop::SpoofedGuest) } else { Ok(()) }
    }

    /// Whether those who have the address, a lease of it, or the network card that it is made of, leave it to this guest.
    fn check_holders(&mut self, id: GuestId, address: IpAddr, now: Instant) -> Result<(), FrameDrop> {
        let (port, mac) = self.guests.get(&id).map(|it| (it.port, it.mac)).ok_or(FrameDrop::NoSuchPort)?;
        let holder = match address {
            IpAddr::V4(v4) => self.leases.holder(v4, now),
            IpAddr::V6(v6) => MacAddress::of_address(v6),
        };
        let holder = holder.filter(|it| *it != mac);
        if holder.is_some_and(|it| self.is_reserved(it, port)) {
            return Err(FrameDrop::SpoofedGuest);
        }
        let user = self.owners.get(&address).copied();
        for other in user.into_iter().chain(holder.and_then(|it| self.by_mac.get(&it).copied())) {
            let is_elsewhere = self.guests.get(&other).is_some_and(|it| it.port != port || it.is_host);
            if is_elsewhere && !self.gives_way(other, port, now) {
                return Err(FrameDrop::SpoofedGuest);
            }
        }
        Ok(())
    }

    /// Whether the router answers to this address.
    pub(super) fn is_router(&self, address: IpAddr) -> bool {
        match address {
            IpAddr::V4(v4) => self.config.is_router(v4),
            IpAddr::V6(v6) => v6 == self.config.router_v6() || v6 == super::config::ROUTER_LINK_LOCAL,
        }
    }
}

/// Puts the address last; returns the one that had to go.
fn use_address(known: &mut Vec<Ipv6Addr>, address: Ipv6Addr) -> Option<Ipv6Addr> {
    if known.last() == Some(&address) {
        return None;
    }
    known.retain(|it| *it != address);
    known.push(address);
    (known.len() > MAX_ADDRESSES).then(|| known.remove(0))
}

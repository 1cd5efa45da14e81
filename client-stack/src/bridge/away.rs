//! Network cards that are away: kept for their owners, and looked for where they may come back.
//!
//! A guest whose emulator has got another WebSocket knows nothing of that. One that waits for data says nothing, and so would
//! not be found: it is asked.

use std::net::IpAddr;
use std::time::Duration;

use webtun_wire::Instant;

use super::leases::Standing;
use super::{MacAddress, PortId, Segment};

/// How long a question has for its answer before packets for the card cause another one.
const ANSWER_WITHIN: Duration = Duration::from_millis(200);

/// What is known of such a card.
#[derive(Debug)]
pub(super) struct Away {
    owner: u32,
    /// By which it can be asked.
    address: Option<IpAddr>,
    asked: Instant,
}

impl Segment {
    /// Keeps a network card, with its address, for ports of this owner, and asks for it there.
    pub(super) fn reserve(&mut self, mac: MacAddress, owner: u32, address: Option<IpAddr>, now: Instant) {
        if self.by_mac.contains_key(&mac) {
            return;
        }
        self.away.insert(mac, Away { owner, address, asked: now });
        let address = address.into_iter();
        let ports: Vec<PortId> = self.emulators_of(owner).collect();
        for (port, address) in address.flat_map(|address| ports.iter().map(move |port| (*port, address))) {
            self.ask(port, mac, address);
        }
    }

    /// Something has come for a card that is away.
    pub(super) fn look_for(&mut self, mac: MacAddress, now: Instant) {
        let is_due = |it: &&Away| now - it.asked >= ANSWER_WITHIN;
        if let Some(Away { owner, address, .. }) = self.away.get(&mac).filter(is_due) {
            self.reserve(mac, *owner, *address, now);
        }
    }

    /// Asks behind a new port for the cards of its owner that are away.
    pub(super) fn look_behind(&mut self, port: PortId, owner: u32) {
        let of_owner = self.away.iter().filter(|(_, it)| it.owner == owner);
        let wanted: Vec<_> = of_owner.filter_map(|(mac, it)| Some((*mac, it.address?))).collect();
        for (mac, address) in wanted {
            self.ask(port, mac, address);
        }
    }

    /// Asks for a card by its address.
    pub(super) fn ask(&mut self, port: PortId, mac: MacAddress, address: IpAddr) {
        let sent = match address {
            IpAddr::V4(v4) => self.ask_by_arp(port, mac, v4),
            IpAddr::V6(v6) => self.ask_by_ndp(port, mac, v6),
        };
        self.count(sent);
    }

    /// The owner's network card is kept no longer.
    pub(super) fn unreserve(&mut self, mac: MacAddress, owner: u32) {
        if self.away.get(&mac).is_some_and(|it| it.owner == owner) {
            self.away.remove(&mac);
        }
    }

    /// Whether a network card is kept for others than the owner of this port.
    pub(super) fn is_reserved(&self, mac: MacAddress, port: PortId) -> bool {
        self.away.get(&mac).is_some_and(|it| self.owner_of(port) != Some(it.owner))
    }

    /// Where a network card is, for a guest at this port.
    pub(super) fn standing(&self, mac: MacAddress, port: PortId) -> Standing {
        match self.by_mac.get(&mac).and_then(|it| self.guests.get(it)) {
            Some(guest) if guest.port == port => Standing::Near,
            None if !self.away.contains_key(&mac) => Standing::Gone,
            None if !self.is_reserved(mac, port) => Standing::Near,
            _ => Standing::Elsewhere,
        }
    }

    /// Whether a network card is here, or kept for somebody.
    pub(super) fn is_known(&self, mac: MacAddress) -> bool {
        self.by_mac.contains_key(&mac) || self.away.contains_key(&mac)
    }
}

//! A look ahead at the packets of a batch. Many mappings lie in memory, which takes longer to answer one question than a
//! packet takes otherwise, and answers many at once as quickly: so all are asked first, none waiting for the answer to
//! another, and then each packet finds what it needs in the processor's cache.

use super::mappings::Place;
use super::{MappingIndex, NatTable, Protocol};
use crate::dataplane::SessionId;
use crate::dataplane::packet::{Glance, Side, protocol};

/// Packets of a batch; what is asked for them fits the first-level cache.
pub(in crate::dataplane) const BATCH: usize = 32;

/// The mapping that a packet probably belongs to. Whoever follows it has to look whether it is the right one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::dataplane) struct Guess(pub(super) MappingIndex);

impl Guess {
    /// No mapping.
    pub(in crate::dataplane) const NONE: Self = Self(MappingIndex::MAX);
}

/// Where the mappings of a batch of packets are looked for.
#[derive(Debug)]
pub(in crate::dataplane) struct Places([Place; BATCH], usize);

/// In this order: the places of the packets are asked for, with them the mappings are guessed, and those are asked for. What
/// `ask_*` return means nothing: it is the reading that counts, and whoever calls them makes sure that it is not left out.
impl NatTable {
    /// Of packets from a session, by their source, or from outside, by their destination; of [`BATCH`] of them at most.
    /// Nobody has looked at the packets yet. For one alone there is nothing to be gained.
    pub(in crate::dataplane) fn places<'a>(&self, packets: impl Iterator<Item = &'a [u8]>, side: Side) -> Places {
        let mut places = Places([Place::NONE; BATCH], 0);
        for (place, octets) in places.0.iter_mut().zip(packets) {
            *place = self.place(octets, side).unwrap_or(Place::NONE);
            places.1 += 1;
        }
        if places.1 < 2 {
            places.1 = 0;
        }
        places
    }

    pub(in crate::dataplane) fn ask_places(&self, Places(places, count): &Places) -> u64 {
        places[..*count].iter().fold(0, |sum, place| sum ^ self.mappings.look_at(*place))
    }

    pub(in crate::dataplane) fn guess(&self, Places(places, count): &Places) -> [Guess; BATCH] {
        let mut guesses = [Guess::NONE; BATCH];
        for (guess, place) in guesses.iter_mut().zip(&places[..*count]) {
            *guess = self.mappings.guess(*place);
        }
        guesses
    }

    pub(in crate::dataplane) fn ask_mappings(&self, guesses: &[Guess]) -> u64 {
        let mappings = guesses.iter().filter_map(|guess| self.mapping(guess.0));
        mappings.fold(0, |sum, mapping| sum ^ u64::from(mapping.port))
    }

    /// The session of a mapping.
    pub(in crate::dataplane) fn session_of(&self, guess: Guess) -> Option<SessionId> {
        self.mapping(guess.0).map(|mapping| mapping.session)
    }

    fn place(&self, octets: &[u8], side: Side) -> Option<Place> {
        let glance = Glance::of(octets, side)?;
        let protocol = match glance.protocol {
            protocol::TCP => Protocol::Tcp,
            protocol::UDP => Protocol::Udp,
            protocol::ICMP | protocol::ICMPV6 => Protocol::Icmp,
            _ => return None,
        };
        let internal = match side {
            Side::Source => Some(glance.address),
            Side::Destination => self.internal_by_prefix(glance.address),
        };
        Some(match internal {
            Some(internal) => self.mappings.place_of_internal((protocol, internal, glance.port)),
            None => self.mappings.place_of_external((protocol, self.address_index(glance.address)?, glance.port)),
        })
    }
}

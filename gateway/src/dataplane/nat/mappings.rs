//! All mappings, found by either of their ends.
//!
//! The tables hold numbers of slots and no keys, those are compared in the mapping itself: a table of 100,000 mappings takes
//! a megabyte.

use core::hash::BuildHasher;
use core::net::IpAddr;
use foldhash::fast::FixedState;

use super::index::Index;
use super::prefix::BY_PREFIX;
use super::{ExternalPort, Guess, Mapping, MappingIndex, Protocol};

/// A session's endpoint.
pub(super) type InternalPort = (Protocol, IpAddr, u16);

/// Where in the tables a mapping is looked for: the part of the hash that says so, and in which one.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place(u64);

impl Place {
    pub(super) const NONE: Self = Self(0);
    const INTERNAL: u64 = 1;
    const EXTERNAL: u64 = 2;

    fn new(hash: u64, kind: u64) -> Self {
        Self(hash & !3 | kind)
    }
}

/// The mappings. One by prefix has no entry among the external ends: its internal one follows from the address.
#[derive(Debug)]
pub(super) struct Mappings {
    slots: Vec<Option<Mapping>>,
    unused: Vec<MappingIndex>,
    internal: Index,
    external: Index,
    hasher: FixedState,
}

impl Mappings {
    /// None. Whoever does not know the seed finds no collisions cheaply.
    pub(super) fn new(seed: u64) -> Self {
        Self {
            slots: Vec::new(),
            unused: Vec::new(),
            internal: Index::default(),
            external: Index::default(),
            hasher: FixedState::with_seed(seed),
        }
    }

    pub(super) fn len(&self) -> usize {
        self.internal.len()
    }

    pub(super) fn get(&self, index: MappingIndex) -> Option<&Mapping> {
        self.slots.get(index as usize)?.as_ref()
    }

    pub(super) fn get_mut(&mut self, index: MappingIndex) -> Option<&mut Mapping> {
        self.slots.get_mut(index as usize)?.as_mut()
    }

    /// The mapping of a session's endpoint.
    pub(super) fn by_internal(&self, port: InternalPort) -> Option<MappingIndex> {
        let is_it = |index| self.get(index).is_some_and(|mapping| mapping.internal_port == port);
        self.internal.find(hash_internal(&self.hasher, port), is_it)
    }

    /// The mapping of a session's endpoint, where it was guessed.
    pub(super) fn by_internal_near(&self, guess: Guess, port: InternalPort) -> Option<MappingIndex> {
        let is_it = self.get(guess.0).is_some_and(|mapping| mapping.internal_port == port);
        if is_it { Some(guess.0) } else { self.by_internal(port) }
    }

    pub(super) fn place_of_internal(&self, port: InternalPort) -> Place {
        Place::new(hash_internal(&self.hasher, port), Place::INTERNAL)
    }

    pub(super) fn place_of_external(&self, port: ExternalPort) -> Place {
        Place::new(hash_external(&self.hasher, port), Place::EXTERNAL)
    }

    /// Asks for a place in the tables; what it returns means nothing.
    pub(super) fn look_at(&self, place: Place) -> u64 {
        self.table(place).map_or(0, |table| table.look_at(place.0))
    }

    /// The mapping that is probably found at this place, without a look at it.
    pub(super) fn guess(&self, place: Place) -> Guess {
        self.table(place).and_then(|table| table.guess(place.0)).map_or(Guess::NONE, Guess)
    }

    fn table(&self, place: Place) -> Option<&Index> {
        match place.0 & 3 {
            Place::INTERNAL => Some(&self.internal),
            Place::EXTERNAL => Some(&self.external),
            _ => None,
        }
    }

    /// The mapping that has this external port.
    pub(super) fn by_external(&self, port: ExternalPort) -> Option<MappingIndex> {
        let is_it = |index| self.get(index).is_some_and(|mapping| mapping.external_port() == port);
        self.external.find(hash_external(&self.hasher, port), is_it)
    }

    /// Adds a mapping neither end of which is there.
    pub(super) fn insert(&mut self, mapping: Mapping) -> MappingIndex {
        let (internal, external) = (mapping.internal_port, mapping.external_port());
        let index = self.unused.pop().unwrap_or_else(|| {
            self.slots.push(None);
            (self.slots.len() - 1) as MappingIndex
        });
        self.slots[index as usize] = Some(mapping);
        self.internal.insert(hash_internal(&self.hasher, internal), index);
        if external.1 != BY_PREFIX {
            self.external.insert(hash_external(&self.hasher, external), index);
        }
        index
    }

    /// Takes a mapping out.
    pub(super) fn remove(&mut self, index: MappingIndex) -> Option<Mapping> {
        let mapping = self.slots.get_mut(index as usize)?.take()?;
        self.internal.remove(hash_internal(&self.hasher, mapping.internal_port), index);
        self.external.remove(hash_external(&self.hasher, mapping.external_port()), index);
        self.unused.push(index);
        Some(mapping)
    }
}

fn hash_internal(hasher: &FixedState, (protocol, address, port): InternalPort) -> u64 {
    let ports = u32::from(port) << 8 | protocol as u32;
    match address {
        IpAddr::V4(v4) => hasher.hash_one(u64::from(v4.to_bits()) << 32 | u64::from(ports)),
        IpAddr::V6(v6) => hasher.hash_one((v6.to_bits(), ports)),
    }
}

fn hash_external(hasher: &FixedState, (protocol, address, port): ExternalPort) -> u64 {
    hasher.hash_one(u64::from(address) << 32 | u64::from(port) << 8 | protocol as u64)
}

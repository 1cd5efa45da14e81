//! All mappings, found by either of their ends.
//!
//! The tables hold numbers of slots and no keys, those are compared in the mapping itself: with 100,000 mappings both tables
//! stay in a processor's cache, and a packet waits for memory once, for the mapping.

use core::hash::BuildHasher;
use core::net::IpAddr;
use foldhash::fast::FixedState;
use hashbrown::HashTable;

use super::prefix::BY_PREFIX;
use super::{ExternalPort, Mapping, MappingIndex, Protocol};

/// A session's endpoint.
pub(super) type InternalPort = (Protocol, IpAddr, u16);

/// The mappings. One by prefix has no entry among the external ends: its internal one follows from the address.
#[derive(Debug)]
pub(super) struct Mappings {
    slots: Vec<Option<Mapping>>,
    unused: Vec<MappingIndex>,
    internal: HashTable<MappingIndex>,
    external: HashTable<MappingIndex>,
    hasher: FixedState,
}

impl Mappings {
    /// None. Whoever does not know the seed finds no collisions cheaply.
    pub(super) fn new(seed: u64) -> Self {
        Self {
            slots: Vec::new(),
            unused: Vec::new(),
            internal: HashTable::new(),
            external: HashTable::new(),
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
        let is_it = |index: &MappingIndex| self.get(*index).is_some_and(|mapping| mapping.internal_port() == port);
        self.internal.find(hash_internal(&self.hasher, port), is_it).copied()
    }

    /// The mapping that has this external port.
    pub(super) fn by_external(&self, port: ExternalPort) -> Option<MappingIndex> {
        let is_it = |index: &MappingIndex| self.get(*index).is_some_and(|mapping| mapping.external_port() == port);
        self.external.find(hash_external(&self.hasher, port), is_it).copied()
    }

    /// Adds a mapping neither end of which is there.
    pub(super) fn insert(&mut self, mapping: Mapping) -> MappingIndex {
        let (internal, external) = (mapping.internal_port(), mapping.external_port());
        let index = self.unused.pop().unwrap_or_else(|| {
            self.slots.push(None);
            (self.slots.len() - 1) as MappingIndex
        });
        self.slots[index as usize] = Some(mapping);
        let Self { slots, hasher, .. } = self;
        let mapping = |index: &MappingIndex| slots[*index as usize].as_ref();
        self.internal.insert_unique(hash_internal(hasher, internal), index, |index| {
            mapping(index).map_or(0, |mapping| hash_internal(hasher, mapping.internal_port()))
        });
        if external.1 != BY_PREFIX {
            self.external.insert_unique(hash_external(hasher, external), index, |index| {
                mapping(index).map_or(0, |mapping| hash_external(hasher, mapping.external_port()))
            });
        }
        index
    }

    /// Takes a mapping out.
    pub(super) fn remove(&mut self, index: MappingIndex) -> Option<Mapping> {
        let mapping = self.slots.get_mut(index as usize)?.take()?;
        let is_it = |other: &MappingIndex| *other == index;
        for (table, hash) in [
            (&mut self.internal, hash_internal(&self.hasher, mapping.internal_port())),
            (&mut self.external, hash_external(&self.hasher, mapping.external_port())),
        ] {
            if let Ok(entry) = table.find_entry(hash, is_it) {
                entry.remove();
            }
        }
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

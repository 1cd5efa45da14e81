//! Which external ports may be given to whom, and when.

use std::net::{IpAddr, SocketAddr};
use webtun_gateway::dataplane::{ExternalAddress, NatConfig};
use webtun_wire::{Instant, PortBlock};

use super::{Protocol, Reference};

/// One block of an external address.
#[derive(Clone, Debug)]
pub struct Block {
    /// The external address, by its place in the configuration.
    pub place: usize,
    /// The address.
    pub address: IpAddr,
    /// Its first port.
    pub first: u16,
    /// How many it has.
    pub count: u16,
    /// The session that has it.
    pub owner: Option<usize>,
    /// When it goes back, where it stays empty.
    pub idle_at: Option<Instant>,
    /// Something has been mapped in it since it was given.
    pub was_used: bool,
    /// From when on someone else should have it.
    pub rested: Instant,
}

/// A port that was in use a moment ago.
#[derive(Clone, Debug)]
pub struct Hold {
    pub(super) protocol: Protocol,
    pub(super) external: SocketAddr,
    pub(super) session: usize,
    pub(super) internal: SocketAddr,
    pub(super) until: Instant,
    /// It lay in nobody's block.
    pub(super) is_single: bool,
}

/// Every block of every address.
pub(super) fn blocks(external: &[ExternalAddress], config: &NatConfig) -> Vec<Block> {
    let all = external.iter().enumerate().flat_map(|(place, external)| {
        let firsts = (0..config.block_count()).map(|number| config.first_port + number * config.block_size);
        firsts.map(move |first| (place, external.address, first))
    });
    let count = config.block_size;
    all.map(|(place, address, first)| {
        let (owner, idle_at, rested) = (None, None, Instant::ZERO);
        Block { place, address, first, count, owner, idle_at, was_used: false, rested }
    })
    .collect()
}

impl Block {
    /// Whether an endpoint lies in it.
    pub fn contains(&self, external: SocketAddr) -> bool {
        let offset = external.port().checked_sub(self.first);
        external.ip() == self.address && offset.is_some_and(|offset| offset < self.count)
    }

    fn ports(&self) -> impl Iterator<Item = SocketAddr> {
        (0..self.count).map(|offset| SocketAddr::new(self.address, self.first + offset))
    }
}

impl Reference {
    /// The block that an endpoint lies in.
    pub fn block_of(&self, external: SocketAddr) -> Option<usize> {
        self.blocks.iter().position(|block| block.contains(external))
    }

    /// The blocks that a session has of a family.
    pub fn blocks_of(&self, session: usize, ipv6: bool) -> impl Iterator<Item = &Block> {
        self.blocks.iter().filter(move |block| block.owner == Some(session) && block.address.is_ipv6() == ipv6)
    }

    /// Whether a session may get this block: nobody has it, it has rested, and no single port of it is or was in use.
    pub fn is_free(&self, block: &Block, now: Instant) -> bool {
        block.owner.is_none() && block.rested <= now && !self.has_singles(block)
    }

    fn has_singles(&self, block: &Block) -> bool {
        let is_mapped = self.mappings.iter().any(|mapping| block.contains(mapping.external));
        block.owner.is_none()
            && (is_mapped || self.holds.iter().any(|hold| hold.is_single && block.contains(hold.external)))
    }

    /// Whether a session may get this block if there is no other: it may still rest.
    fn is_spare(&self, block: &Block) -> bool {
        block.owner.is_none() && !self.has_singles(block)
    }

    /// How many blocks of an address are free, and how many rest.
    fn spare_blocks(&self, address: IpAddr, now: Instant) -> (usize, usize) {
        let of = || self.blocks.iter().filter(|block| block.address == address && self.is_spare(block));
        let free = of().filter(|block| self.is_free(block, now)).count();
        (free, of().count() - free)
    }

    /// Whether each family has a block for a new session of a shard.
    pub fn has_room(&self, shard: usize) -> bool {
        let fits = |b: &Block, ipv6: bool| b.address.is_ipv6() == ipv6 && self.slices[shard].contains(&b.address);
        let has = |ipv6: bool| self.blocks.iter().any(|b| fits(b, ipv6) && self.is_spare(b));
        has(false) && has(true)
    }

    /// A session has got a block.
    ///
    /// # Panics
    ///
    /// Panics where it must not have it.
    pub fn assigned(&mut self, session: usize, assigned: &PortBlock, now: Instant) {
        let external = SocketAddr::new(assigned.address, assigned.first);
        let place = self.block_of(external).expect("a block of ours");
        let ipv6 = assigned.address.is_ipv6();
        let block = &self.blocks[place];
        assert_eq!((block.first, block.count), (assigned.first, assigned.count), "a block is given as a whole");
        assert!(self.is_spare(block), "{block:?} is not free");
        if !self.is_free(block, now) {
            let of_address = || self.blocks.iter().filter(|b| b.address == block.address && self.is_spare(b));
            let longest = of_address().map(|block| block.rested).min();
            assert_eq!(Some(block.rested), longest, "a block that rests is given though another is free");
        }
        match self.blocks_of(session, ipv6).next() {
            Some(other) => assert_eq!(other.address, block.address, "a session stays on one address"),
            None => {
                let spare = |block: &Block| self.spare_blocks(block.address, now);
                let slice = self.slices.iter().find(|slice| slice.contains(&block.address)).expect("a shard has it");
                let fits = |b: &&Block| b.address.is_ipv6() == ipv6 && slice.contains(&b.address);
                let most = self.blocks.iter().filter(fits).map(spare).max();
                assert_eq!(Some(spare(block)), most, "sessions spread over the addresses");
            }
        }
        assert!(self.blocks_of(session, ipv6).count() < self.limits.blocks, "more blocks than the limit");
        let given = self.blocks[place].clone();
        self.holds.retain(|hold| !given.contains(hold.external));
        self.blocks[place] = Block { owner: Some(session), idle_at: None, was_used: false, ..given };
    }

    /// Whether this very port can be given: no mapping has it, and nobody else has had it a moment ago.
    pub fn is_available(&self, protocol: Protocol, session: usize, internal: SocketAddr, external: SocketAddr) -> bool {
        let is_other = |hold: &&Hold| hold.session != session || hold.internal != internal;
        let mut holds = self.holds.iter().filter(|hold| (hold.protocol, hold.external) == (protocol, external));
        self.by_external(protocol, external).is_none() && !holds.any(|hold| is_other(&hold))
    }

    /// Whether one of the session's ports can be given to anyone, of the parity of `like` where that is wanted.
    pub fn has_port(&self, protocol: Protocol, session: usize, internal: SocketAddr, like: Option<u16>) -> bool {
        let is_free = |external: SocketAddr| {
            let is_held = || self.holds.iter().any(|hold| (hold.protocol, hold.external) == (protocol, external));
            self.by_external(protocol, external).is_none() && !is_held()
        };
        let fits = |port: &SocketAddr| like.is_none_or(|like| like % 2 == port.port() % 2);
        self.blocks_of(session, internal.is_ipv6()).flat_map(Block::ports).filter(fits).any(is_free)
    }

    /// Whether a new mapping can get some port.
    pub fn can_assign(&self, protocol: Protocol, session: usize, internal: SocketAddr, now: Instant) -> bool {
        let ipv6 = internal.is_ipv6();
        if self.identity(protocol, session, internal).is_some() || self.has_port(protocol, session, internal, None) {
            return true;
        }
        let mut own = self.blocks_of(session, ipv6);
        let address = own.next().map(|block| block.address);
        own.count() + 1 < self.limits.blocks && address.is_some_and(|address| self.spare_blocks(address, now) != (0, 0))
    }

    /// The port that is kept: the internal one, where it is the session's own outside as well.
    pub fn identity(&self, protocol: Protocol, session: usize, internal: SocketAddr) -> Option<SocketAddr> {
        let address = self.blocks_of(session, internal.is_ipv6()).next()?.address;
        let kept = SocketAddr::new(address, internal.port());
        let is_own = self.blocks_of(session, internal.is_ipv6()).any(|block| block.contains(kept));
        (is_own && self.is_available(protocol, session, internal, kept)).then_some(kept)
    }

    /// Whether a port outside the session's blocks can be mapped explicitly: at most a quarter of an address' blocks
    /// serve this.
    pub fn can_be_single(
        &self,
        protocol: Protocol,
        session: usize,
        internal: SocketAddr,
        external: SocketAddr,
        now: Instant,
    ) -> bool {
        let Some(block) = self.block_of(external).map(|place| &self.blocks[place]) else { return false };
        let of_address = || self.blocks.iter().filter(|other| other.address == block.address);
        let singles = of_address().filter(|other| self.has_singles(other)).count();
        let has_room = self.has_singles(block) || singles < of_address().count() / 4;
        let is_open = block.owner.is_none() && block.rested <= now;
        is_open && has_room && self.is_available(protocol, session, internal, external)
    }

    /// Nothing is mapped in the block of a mapping that is gone: it waits for its return.
    pub(super) fn emptied(&mut self, external: SocketAddr, at: Instant) {
        let Some(place) = self.block_of(external) else { return };
        let block = &self.blocks[place];
        let is_empty = !self.mappings.iter().any(|mapping| block.contains(mapping.external));
        if block.owner.is_some() && is_empty {
            self.blocks[place].idle_at = Some(at + self.config.block_idle);
        }
    }

    /// Blocks that have been empty for long enough go back, but for the last one of a session and family.
    pub(super) fn return_idle(&mut self, at: Instant) {
        let mut due: Vec<_> =
            (0..self.blocks.len()).filter(|place| self.blocks[*place].idle_at.is_some_and(|idle| idle <= at)).collect();
        due.sort_by_key(|place| (self.blocks[*place].idle_at, self.blocks[*place].place, self.blocks[*place].first));
        for place in due {
            self.blocks[place].idle_at = None;
            let Some(owner) = self.blocks[place].owner else { continue };
            if self.blocks_of(owner, self.blocks[place].address.is_ipv6()).count() > 1 {
                self.give_back(place, at);
            }
        }
    }

    pub(super) fn give_back(&mut self, place: usize, at: Instant) {
        let block = &mut self.blocks[place];
        let owner = block.owner.take();
        block.idle_at = None;
        block.rested = if block.was_used { at + self.config.port_hold } else { at };
        let returned = PortBlock { address: block.address, first: block.first, count: block.count };
        self.returned.extend(owner.map(|owner| (owner, returned)));
    }
}

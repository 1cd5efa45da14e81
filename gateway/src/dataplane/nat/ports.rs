//! The external ports of one address: cut into blocks, which sessions draw their ports from (RFC 7422).

use rand::seq::SliceRandom;
use std::collections::VecDeque;
use webtun_wire::Instant;

use super::block::Block;
use crate::dataplane::{ExternalAddress, NatConfig, SessionId};

/// An external address by its place in the configuration.
pub(super) type AddressIndex = u16;

#[derive(Debug)]
enum Slot {
    Free,
    /// Given back, and not to be given to anyone yet (RFC 6888 REQ-8).
    Resting,
    /// All of it is a session's.
    Assigned(Box<Block>),
    /// So many single ports of it have been mapped explicitly, by whichever session.
    Singles(u16),
}

/// The blocks of one external address.
#[derive(Debug)]
pub(super) struct AddressPool {
    pub address: ExternalAddress,
    slots: Vec<Slot>,
    /// A block that comes back is used again as late as possible. Entries may be out of date: a block whose single ports
    /// are mapped stays in the line, and is passed over.
    free: VecDeque<u16>,
    resting: VecDeque<(Instant, u16)>,
    /// Blocks that are of use to no new session.
    occupied: usize,
    singles: usize,
    first_port: u16,
    block_size: u16,
}

impl AddressPool {
    pub(super) fn new(address: ExternalAddress, config: &NatConfig, rng: &mut impl rand::Rng) -> Self {
        let count = config.block_count();
        let mut order: Vec<u16> = (0..count).collect();
        order.shuffle(rng);
        Self {
            address,
            slots: (0..count).map(|_| Slot::Free).collect(),
            free: order.into(),
            resting: VecDeque::new(),
            occupied: 0,
            singles: 0,
            first_port: config.first_port,
            block_size: config.block_size,
        }
    }

    /// Blocks that a session could get: those that are free, and those that rest.
    pub(super) fn spare_blocks(&self) -> (usize, usize) {
        (self.slots.len() - self.occupied, self.resting.len())
    }

    /// Assigns a block: the one numbered `wanted` if it is free, otherwise one that is, otherwise the one that has rested
    /// longest. Refusing sessions instead would let whoever opens and closes many keep all others out.
    pub(super) fn take_block(&mut self, owner: SessionId, wanted: Option<u16>, now: Instant) -> Option<u16> {
        self.wake_blocks(now);
        if self.slots.len() == self.occupied {
            let (_, number) = self.resting.pop_front()?;
            self.wake_block(number);
        }
        let is_free = |number: u16| matches!(self.slots[usize::from(number)], Slot::Free);
        let place = wanted
            .and_then(|wanted| self.free.iter().position(|number| *number == wanted && is_free(*number)))
            .or_else(|| self.free.iter().position(|number| is_free(*number)))?;
        let number = self.free.remove(place)?;
        let block = Block::new(owner, number, self.first_port + number * self.block_size, self.block_size);
        self.slots[usize::from(number)] = Slot::Assigned(Box::new(block));
        self.occupied += 1;
        Some(number)
    }

    /// Takes a block back, for the use of others from `rested` on; at once, where nothing was ever mapped in it.
    pub(super) fn return_block(&mut self, number: u16, rested: Instant) -> Option<Box<Block>> {
        let slot = self.slots.get_mut(usize::from(number))?;
        match core::mem::replace(slot, Slot::Resting) {
            Slot::Assigned(block) => {
                match block.was_used {
                    true => self.resting.push_back((rested, number)),
                    false => self.wake_block(number),
                }
                Some(block)
            }
            other => {
                *slot = other;
                None
            }
        }
    }

    /// Frees the blocks that have rested.
    pub(super) fn wake_blocks(&mut self, now: Instant) {
        while let Some((_, number)) = self.resting.pop_front_if(|(rested, _)| *rested <= now) {
            self.wake_block(number);
        }
    }

    fn wake_block(&mut self, number: u16) {
        self.slots[usize::from(number)] = Slot::Free;
        self.free.push_back(number);
        self.occupied -= 1;
    }

    /// The block that is some session's and has this port.
    pub(super) fn block_mut(&mut self, port: u16) -> Option<&mut Block> {
        let number = self.number_of(port)?;
        self.block_by_number_mut(number)
    }

    pub(super) fn block_by_number_mut(&mut self, number: u16) -> Option<&mut Block> {
        match self.slots.get_mut(usize::from(number))? {
            Slot::Assigned(block) => Some(block),
            Slot::Free | Slot::Resting | Slot::Singles(_) => None,
        }
    }

    pub(super) fn block(&self, number: u16) -> Option<&Block> {
        match self.slots.get(usize::from(number))? {
            Slot::Assigned(block) => Some(block),
            Slot::Free | Slot::Resting | Slot::Singles(_) => None,
        }
    }

    /// Sets one port outside any session's block apart. At most a quarter of the blocks serve this, so that port mapping
    /// cannot use up what new sessions need. The caller has seen that the port itself is not mapped.
    pub(super) fn take_single(&mut self, port: u16, now: Instant) -> bool {
        self.wake_blocks(now);
        let Some(number) = self.number_of(port) else { return false };
        let limit = self.slots.len() / 4;
        match &mut self.slots[usize::from(number)] {
            Slot::Assigned(_) | Slot::Resting => return false,
            Slot::Singles(count) => *count += 1,
            Slot::Free if self.singles >= limit => return false,
            slot @ Slot::Free => {
                *slot = Slot::Singles(1);
                self.singles += 1;
                self.occupied += 1;
            }
        }
        true
    }

    pub(super) fn return_single(&mut self, port: u16) {
        let Some(number) = self.number_of(port) else { return };
        match &mut self.slots[usize::from(number)] {
            Slot::Singles(count) if *count > 1 => *count -= 1,
            slot @ Slot::Singles(_) => {
                *slot = Slot::Free;
                self.singles -= 1;
                self.occupied -= 1;
            }
            Slot::Assigned(_) | Slot::Resting | Slot::Free => {}
        }
    }

    fn number_of(&self, port: u16) -> Option<u16> {
        let number = port.checked_sub(self.first_port)? / self.block_size;
        (usize::from(number) < self.slots.len()).then_some(number)
    }
}

/// The addresses of one family that have most blocks to spare, if there is any: sessions spread over all of them.
pub(super) fn least_used(pools: &[AddressPool], ipv4: bool) -> Option<AddressIndex> {
    let family = pools.iter().enumerate().filter(|(_, pool)| pool.address.address.is_ipv4() == ipv4);
    let (index, _) = family.max_by_key(|(index, pool)| (pool.spare_blocks(), core::cmp::Reverse(*index)))?;
    AddressIndex::try_from(index).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::SeedableRng;
    use rand::rngs::ChaCha8Rng;

    const NOW: Instant = Instant::from_millis(1000);
    const OWNER: SessionId = SessionId(1);

    fn pool() -> AddressPool {
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        let address = "192.0.2.1".parse().expect("an address");
        let external = ExternalAddress { address, announced: address };
        AddressPool::new(external, &NatConfig { block_size: 256, ..NatConfig::default() }, &mut rng)
    }

    #[test]
    fn blocks_are_disjoint_end_and_rest() {
        let mut pool = pool();
        let numbers: Vec<_> = core::iter::from_fn(|| pool.take_block(OWNER, None, NOW)).collect();
        assert_eq!((numbers.len(), pool.spare_blocks()), (192, (0, 0)));
        let mut firsts: Vec<_> = numbers.iter().map(|n| pool.block(*n).expect("assigned").first).collect();
        firsts.sort_unstable();
        assert!(firsts.windows(2).all(|pair| pair[1] - pair[0] == 256));
        assert_eq!((firsts[0], firsts[191]), (16_384, 65_280));
        let (rested, later) = (Instant::from_millis(121_000), Instant::from_millis(122_000));
        for number in [5, 6, 7] {
            let number = numbers[number];
            pool.block_by_number_mut(number).expect("assigned").was_used = number != numbers[7];
            assert!(pool.return_block(number, if number == numbers[5] { rested } else { later }).is_some());
            assert!(pool.return_block(number, rested).is_none());
        }
        assert_eq!(pool.take_block(OWNER, None, NOW), Some(numbers[7]), "nothing was ever mapped in it");
        assert_eq!(pool.take_block(OWNER, None, NOW), Some(numbers[5]), "the one that has rested longest");
        assert_eq!(pool.take_block(OWNER, None, later), Some(numbers[6]));
        assert_eq!(pool.take_block(OWNER, None, later), None);
    }

    #[test]
    fn single_ports_keep_their_block_from_sessions() {
        let mut pool = pool();
        assert!(pool.take_single(20_000, NOW));
        assert!(pool.take_single(20_001, NOW));
        let number = (20_000 - 16_384) / 256;
        assert_ne!(pool.take_block(OWNER, Some(number), NOW), Some(number));
        pool.return_single(20_000);
        pool.return_single(20_001);
        assert_eq!(pool.take_block(OWNER, Some(number), NOW), Some(number));
        assert!(!pool.take_single(20_002, NOW));
        assert!(!pool.take_single(80, NOW));
    }
}

//! External ports: an address's range is cut into blocks, and a session draws its ports from blocks of its own
//! (RFC 7422). A session stays on one address per family (paired pooling, RFC 4787 REQ-2).

use core::net::IpAddr;
use rand::RngExt;
use rand::seq::SliceRandom;
use std::collections::VecDeque;

use super::Protocol;
use crate::dataplane::{ExternalAddress, NatConfig};

/// An external address by its place in the configuration.
pub(super) type AddressIndex = u16;

/// Ports of even and of odd number in a word of the bitmap (RFC 4787 REQ-4: parity is kept where possible).
const PARITY: [u64; 2] = [0x5555_5555_5555_5555, 0xAAAA_AAAA_AAAA_AAAA];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum BlockState {
    Free,
    /// All of it is a session's.
    Assigned,
    /// So many single ports of it have been mapped explicitly, by whichever session.
    Singles(u16),
}

/// The blocks of one external address.
#[derive(Debug)]
pub(super) struct AddressPool {
    pub address: ExternalAddress,
    states: Vec<BlockState>,
    /// A block that comes back is used again as late as possible (RFC 6888 REQ-8). Entries may be out of date: a block
    /// whose single ports are mapped stays in the line, and is passed over.
    free: VecDeque<u16>,
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
            states: vec![BlockState::Free; usize::from(count)],
            free: order.into(),
            singles: 0,
            first_port: config.first_port,
            block_size: config.block_size,
        }
    }

    pub(super) fn free_blocks(&self) -> usize {
        self.free.len()
    }

    /// Assigns a block, the one numbered `wanted` if it is free.
    pub(super) fn take_block(&mut self, wanted: Option<u16>) -> Option<Block> {
        let is_free = |number: u16| self.states[usize::from(number)] == BlockState::Free;
        let place = wanted
            .and_then(|wanted| self.free.iter().position(|number| *number == wanted && is_free(*number)))
            .or_else(|| self.free.iter().position(|number| is_free(*number)))?;
        let number = self.free.remove(place)?;
        self.states[usize::from(number)] = BlockState::Assigned;
        let first = self.first_port + number * self.block_size;
        Some(Block::new(number, first, self.block_size))
    }

    pub(super) fn return_block(&mut self, block: &Block) {
        self.states[usize::from(block.number)] = BlockState::Free;
        self.free.push_back(block.number);
    }

    /// Sets one port outside any session's block apart. At most a quarter of the blocks serve this, so that port mapping
    /// cannot use up what new sessions need. The caller has seen that the port itself is not mapped.
    pub(super) fn take_single(&mut self, port: u16) -> bool {
        let Some(number) = self.block_of(port) else { return false };
        let limit = self.states.len() / 4;
        match &mut self.states[number] {
            BlockState::Assigned => return false,
            BlockState::Singles(count) => *count += 1,
            BlockState::Free if self.singles >= limit => return false,
            state @ BlockState::Free => {
                *state = BlockState::Singles(1);
                self.singles += 1;
            }
        }
        true
    }

    pub(super) fn return_single(&mut self, port: u16) {
        let Some(number) = self.block_of(port) else { return };
        match &mut self.states[number] {
            BlockState::Singles(count) if *count > 1 => *count -= 1,
            state @ BlockState::Singles(_) => {
                *state = BlockState::Free;
                self.singles -= 1;
            }
            BlockState::Assigned | BlockState::Free => {}
        }
    }

    fn block_of(&self, port: u16) -> Option<usize> {
        let number = usize::from(port.checked_sub(self.first_port)? / self.block_size);
        (number < self.states.len()).then_some(number)
    }
}

/// A range of external ports that is one session's, with the ports in use per protocol.
#[derive(Clone, Debug)]
pub(super) struct Block {
    pub number: u16,
    pub first: u16,
    pub size: u16,
    used: [Box<[u64]>; Protocol::COUNT],
}

impl Block {
    fn new(number: u16, first: u16, size: u16) -> Self {
        let words = vec![0; usize::from(size) / 64].into_boxed_slice();
        Self { number, first, size, used: core::array::from_fn(|_| words.clone()) }
    }

    pub(super) fn contains(&self, port: u16) -> bool {
        port.checked_sub(self.first).is_some_and(|offset| offset < self.size)
    }

    /// Takes this very port, which lies within the block.
    pub(super) fn take_port(&mut self, protocol: Protocol, port: u16) -> bool {
        let (word, bit) = self.position(port);
        let word = &mut self.used[protocol as usize][word];
        let was_free = *word & bit == 0;
        *word |= bit;
        was_free
    }

    pub(super) fn return_port(&mut self, protocol: Protocol, port: u16) {
        let (word, bit) = self.position(port);
        self.used[protocol as usize][word] &= !bit;
    }

    /// Takes some free port, beginning the search at a random place (RFC 6056); of one parity only where that is given.
    pub(super) fn take_any(
        &mut self,
        protocol: Protocol,
        parity: Option<u16>,
        rng: &mut impl rand::Rng,
    ) -> Option<u16> {
        let wanted = parity.map_or(u64::MAX, |odd| PARITY[usize::from((odd ^ self.first) & 1)]);
        let words = &self.used[protocol as usize];
        let start = rng.random_range(0..words.len());
        let turn = rng.random_range(0..64u32);
        let index = (0..words.len()).map(|i| (start + i) % words.len()).find(|i| !words[*i] & wanted != 0)?;
        let free = !words[index] & wanted;
        let bit = (free.rotate_right(turn).trailing_zeros() + turn) % 64;
        let port = self.first + (index as u16) * 64 + bit as u16;
        self.take_port(protocol, port);
        Some(port)
    }

    fn position(&self, port: u16) -> (usize, u64) {
        let offset = port - self.first;
        (usize::from(offset / 64), 1 << (offset % 64))
    }
}

/// The addresses of one family that have most blocks to spare, if there is any.
pub(super) fn least_used(pools: &[AddressPool], ipv4: bool) -> Option<AddressIndex> {
    let family = pools.iter().enumerate().filter(|(_, pool)| pool.address.address.is_ipv4() == ipv4);
    let (index, _) = family.max_by_key(|(index, pool)| (pool.free_blocks(), core::cmp::Reverse(*index)))?;
    AddressIndex::try_from(index).ok()
}

/// The place of an address in per-family arrays.
pub(super) fn family(address: IpAddr) -> usize {
    usize::from(address.is_ipv6())
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::SeedableRng;
    use rand::rngs::ChaCha8Rng;

    fn pool() -> (AddressPool, ChaCha8Rng) {
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        let address = "192.0.2.1".parse().expect("an address");
        let external = ExternalAddress { address, announced: address };
        (AddressPool::new(external, &NatConfig::default(), &mut rng), rng)
    }

    #[test]
    fn blocks_are_disjoint_and_end() {
        let (mut pool, _) = pool();
        let blocks: Vec<_> = core::iter::from_fn(|| pool.take_block(None)).collect();
        assert_eq!(blocks.len(), 192);
        let mut firsts: Vec<_> = blocks.iter().map(|b| b.first).collect();
        firsts.sort_unstable();
        assert!(firsts.windows(2).all(|pair| pair[1] - pair[0] == 256));
        assert_eq!((firsts[0], firsts[191]), (16_384, 65_280));
        pool.return_block(&blocks[5]);
        assert_eq!(pool.take_block(None).map(|b| b.number), Some(blocks[5].number));
    }

    #[test]
    fn a_block_gives_each_port_once_and_parity_first() {
        let (mut pool, mut rng) = pool();
        let mut block = pool.take_block(Some(7)).expect("a block");
        assert_eq!(block.number, 7);
        let odd: Vec<_> = core::iter::from_fn(|| block.take_any(Protocol::Udp, Some(1), &mut rng)).collect();
        assert_eq!(odd.len(), 128);
        assert!(odd.iter().all(|port| port % 2 == 1));
        let rest: Vec<_> = core::iter::from_fn(|| block.take_any(Protocol::Udp, None, &mut rng)).collect();
        assert_eq!(rest.len(), 128);
        assert!(block.take_port(Protocol::Tcp, block.first));
        assert!(!block.take_port(Protocol::Tcp, block.first));
    }

    #[test]
    fn single_ports_keep_their_block_from_sessions() {
        let (mut pool, _) = pool();
        assert!(pool.take_single(20_000));
        assert!(pool.take_single(20_001));
        let number = (20_000 - 16_384) / 256;
        assert_ne!(pool.take_block(Some(number)).map(|b| b.number), Some(number));
        pool.return_single(20_000);
        pool.return_single(20_001);
        let block = pool.take_block(Some(number)).expect("free again");
        assert_eq!(block.number, number);
        assert!(!pool.take_single(20_002));
        assert!(!pool.take_single(80));
    }
}

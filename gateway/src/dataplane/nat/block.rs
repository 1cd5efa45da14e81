//! A block of external ports (RFC 7422) and which of them are taken.

use rand::Rng;
use rand::RngExt;
use webtun_wire::Instant;

use super::Protocol;
use crate::dataplane::SessionId;
use crate::dataplane::timer::Wake;

/// Ports of even and of odd number in a word of the bitmap (RFC 4787 REQ-4: parity is kept where possible).
const PARITY: [u64; 2] = [0x5555_5555_5555_5555, 0xAAAA_AAAA_AAAA_AAAA];

/// A range of external ports that is one session's.
#[derive(Debug)]
pub(super) struct Block {
    pub owner: SessionId,
    pub number: u16,
    pub first: u16,
    pub size: u16,
    /// Something has been mapped in it since it was assigned.
    pub was_used: bool,
    /// Mappings in it. A port that is only held down is taken, but no mapping.
    pub mappings: u16,
    /// When it goes back, where nothing is mapped in it until then.
    pub idle_at: Option<Instant>,
    pub wake: Wake,
    taken: [Box<[u64]>; Protocol::COUNT],
}

impl Block {
    pub(super) fn new(owner: SessionId, number: u16, first: u16, size: u16) -> Self {
        let words = vec![0; usize::from(size) / 64].into_boxed_slice();
        let taken = core::array::from_fn(|_| words.clone());
        Self { owner, number, first, size, was_used: false, mappings: 0, idle_at: None, wake: Wake::default(), taken }
    }

    /// Takes this very port, which lies within the block. False where it is taken.
    pub(super) fn take_port(&mut self, protocol: Protocol, port: u16) -> bool {
        let (word, bit) = self.position(port);
        let word = &mut self.taken[protocol as usize][word];
        let was_free = *word & bit == 0;
        *word |= bit;
        was_free
    }

    /// Frees a port.
    pub(super) fn free_port(&mut self, protocol: Protocol, port: u16) {
        let (word, bit) = self.position(port);
        self.taken[protocol as usize][word] &= !bit;
    }

    /// Takes some free port, beginning the search at a random place (RFC 6056); of one parity only where that is given.
    pub(super) fn take_any(&mut self, protocol: Protocol, parity: Option<u16>, rng: &mut impl Rng) -> Option<u16> {
        let wanted = parity.map_or(u64::MAX, |like| PARITY[usize::from((like ^ self.first) & 1)]);
        let words = &self.taken[protocol as usize];
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

#[cfg(test)]
mod tests {
    use super::*;
    use rand::SeedableRng;
    use rand::rngs::ChaCha8Rng;

    #[test]
    fn each_port_is_given_once_and_parity_first() {
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        let mut block = Block::new(SessionId(1), 7, 20_001, 128);
        let odd: Vec<_> = core::iter::from_fn(|| block.take_any(Protocol::Udp, Some(1), &mut rng)).collect();
        assert_eq!(odd.len(), 64);
        assert!(odd.iter().all(|port| port % 2 == 1));
        let rest: Vec<_> = core::iter::from_fn(|| block.take_any(Protocol::Udp, None, &mut rng)).collect();
        assert_eq!(rest.len(), 64);
        assert!(block.take_port(Protocol::Tcp, block.first));
        assert!(!block.take_port(Protocol::Tcp, block.first));
        block.free_port(Protocol::Udp, 20_005);
        assert_eq!(block.take_any(Protocol::Udp, None, &mut rng), Some(20_005));
    }
}

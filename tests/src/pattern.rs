//! Octets that know their place: what a stream carries at an offset follows from a seed, so that a receiver sees at
//! once, and at which octet, when something is lost, doubled or moved.

/// Fills `out` with what the stream `seed` carries from `offset` on.
pub fn fill(seed: u64, offset: u64, out: &mut [u8]) {
    let mut position = offset;
    let mut rest = out;
    while !rest.is_empty() {
        let word = word(seed, position / 8).to_le_bytes();
        let skip = (position % 8) as usize;
        let len = rest.len().min(8 - skip);
        let (head, tail) = rest.split_at_mut(len);
        head.copy_from_slice(&word[skip..skip + len]);
        position += len as u64;
        rest = tail;
    }
}

/// `len` octets of the stream `seed` from its beginning.
pub fn octets(seed: u64, len: usize) -> Vec<u8> {
    let mut out = vec![0; len];
    fill(seed, 0, &mut out);
    out
}

/// The offset within the stream of the first octet of `data` that is not what `seed` says.
pub fn mismatch(seed: u64, offset: u64, data: &[u8]) -> Option<u64> {
    let mut expected = [0; 4096];
    let mut position = offset;
    for chunk in data.chunks(expected.len()) {
        let expected = &mut expected[..chunk.len()];
        fill(seed, position, expected);
        if let Some(index) = chunk.iter().zip(expected.iter()).position(|(got, want)| got != want) {
            return Some(position + index as u64);
        }
        position += chunk.len() as u64;
    }
    None
}

/// SplitMix64 of a counter.
fn word(seed: u64, index: u64) -> u64 {
    let mut z = seed.wrapping_add(index.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15));
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_are_what_the_whole_is() {
        let whole = octets(7, 1000);
        for (offset, len) in [(0, 1), (3, 10), (8, 8), (15, 985), (999, 1)] {
            let mut piece = vec![0; len];
            fill(7, offset as u64, &mut piece);
            assert_eq!(piece, whole[offset..offset + len]);
        }
    }

    #[test]
    fn the_first_wrong_octet_is_named() {
        let mut data = octets(9, 10_000);
        assert_eq!(mismatch(9, 0, &data), None);
        data[5000] ^= 1;
        assert_eq!(mismatch(9, 0, &data), Some(5000));
        assert_eq!(mismatch(9, 5001, &data[5001..]), None);
    }
}

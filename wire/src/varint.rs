//! Variable-length integers (RFC 9000 section 16).

/// The largest number that a variable-length integer holds, 2^62 - 1.
pub const MAX_VARINT: u64 = (1 << 62) - 1;

/// How many octets the shortest encoding of `value` has: 1, 2, 4 or 8.
pub const fn varint_len(value: u64) -> usize {
    match value {
        0..=0x3f => 1,
        0x40..=0x3fff => 2,
        0x4000..=0x3fff_ffff => 4,
        _ => 8,
    }
}

/// The shortest encoding of `value` in the first octets of the array, and its length. Above [`MAX_VARINT`] it
/// saturates, so that encoding cannot fail; no counter of the protocol gets there.
pub(crate) fn encode(value: u64) -> ([u8; 8], usize) {
    let value = value.min(MAX_VARINT);
    let len = varint_len(value);
    let tag = (len.trailing_zeros() as u64) << 62;
    let shifted = value << (64 - 8 * len);
    ((shifted | tag).to_be_bytes(), len)
}

/// Decodes the integer at the start of `octets`; `None` where it is cut short. The encoding need not be the shortest.
pub(crate) fn decode(octets: &[u8]) -> Option<(u64, usize)> {
    let first = *octets.first()?;
    let len = 1usize << (first >> 6);
    let rest = octets.get(1..len)?;
    let value = rest.iter().fold(u64::from(first & 0x3f), |value, octet| (value << 8) | u64::from(*octet));
    Some((value, len))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn examples_of_rfc_9000_appendix_a_1() {
        let examples: [(&[u8], u64); 4] = [
            (&[0xc2, 0x19, 0x7c, 0x5e, 0xff, 0x14, 0xe8, 0x8c], 151_288_809_941_952_652),
            (&[0x9d, 0x7f, 0x3e, 0x7d], 494_878_333),
            (&[0x7b, 0xbd], 15_293),
            (&[0x25], 37),
        ];
        for (octets, value) in examples {
            assert_eq!(decode(octets), Some((value, octets.len())));
            let (encoded, len) = encode(value);
            assert_eq!(&encoded[..len], octets);
            assert_eq!(varint_len(value), len);
        }
        assert_eq!(decode(&[0x40, 0x25]), Some((37, 2)));
    }

    #[test]
    fn edges_and_saturation() {
        for value in [0, 63, 64, 16_383, 16_384, (1 << 30) - 1, 1 << 30, MAX_VARINT] {
            let (encoded, len) = encode(value);
            assert_eq!(decode(&encoded[..len]), Some((value, len)));
            assert_eq!(decode(&encoded[..len - 1]), None);
        }
        assert_eq!(encode(u64::MAX), encode(MAX_VARINT));
    }
}

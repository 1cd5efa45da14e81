//! The Internet checksum: in full (RFC 1071) and by difference (RFC 1624, equation 3).

use core::net::IpAddr;

/// The ones' complement sum of `octets`, not folded; an odd last octet counts as the high half of a word.
///
/// At most 128 KiB per call keep the sum within 32 bits.
pub(super) fn sum(octets: &[u8]) -> u64 {
    let (words, tail) = octets.as_chunks::<8>();
    let mut total = 0u64;
    for word in words {
        // Ones' complement addition is indifferent to the word size as long as carries come back in (RFC 1071 2.(C)).
        let value = u64::from_be_bytes(*word);
        total += (value >> 32) + (value & 0xFFFF_FFFF);
    }
    let mut last = [0u8; 8];
    last[..tail.len()].copy_from_slice(tail);
    let value = u64::from_be_bytes(last);
    total + (value >> 32) + (value & 0xFFFF_FFFF)
}

/// Folds a sum into 16 bits.
pub(super) fn fold(mut total: u64) -> u16 {
    while total > 0xFFFF {
        total = (total >> 16) + (total & 0xFFFF);
    }
    total as u16
}

/// The checksum of `octets`; zero where they contain their own, correct one.
pub(super) fn checksum(octets: &[u8]) -> u16 {
    !fold(sum(octets))
}

/// The sum of the pseudo-header (RFC 9293 3.1, RFC 8200 8.1).
pub(super) fn pseudo_header(source: IpAddr, destination: IpAddr, protocol: u8, len: usize) -> u64 {
    address_sum(source) + address_sum(destination) + u64::from(protocol) + len as u64
}

/// The checksum of a transport header with its payload, whose checksum field is zero.
///
/// A result of zero stays zero: UDP has to send it as 0xFFFF (RFC 768).
pub(super) fn transport(source: IpAddr, destination: IpAddr, protocol: u8, segment: &[u8]) -> u16 {
    !fold(pseudo_header(source, destination, protocol, segment.len()) + sum(segment))
}

fn address_sum(address: IpAddr) -> u64 {
    match address {
        IpAddr::V4(v4) => sum(&v4.octets()),
        IpAddr::V6(v6) => sum(&v6.octets()),
    }
}

/// The difference that rewritten fields make to every checksum that covers them.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Delta(u64);

impl Delta {
    /// A 16-bit word changes.
    pub(super) fn word(&mut self, old: u16, new: u16) {
        self.0 += u64::from(!old) + u64::from(new);
    }

    /// An address changes, to one of either family.
    pub(super) fn address(&mut self, old: IpAddr, new: IpAddr) {
        self.0 += u64::from(!fold(address_sum(old))) + address_sum(new);
    }

    /// Something else is covered from now on, whose sum this is.
    pub(super) fn include(&mut self, sum: u64) {
        self.0 += u64::from(fold(sum));
    }

    /// What has this sum is no longer covered.
    pub(super) fn exclude(&mut self, sum: u64) {
        self.0 += u64::from(!fold(sum));
    }

    /// The checksum after the change. RFC 1624 (3): `HC' = ~(~HC + ~m + m')`.
    pub(super) fn apply(self, checksum: u16) -> u16 {
        !fold(u64::from(!checksum) + self.0)
    }
}

impl core::ops::Add for Delta {
    type Output = Self;
    fn add(self, rhs: Self) -> Self {
        Self(self.0 + rhs.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// RFC 1071 section 3's own example.
    #[test]
    fn rfc_1071_example() {
        assert_eq!(fold(sum(&[0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7])), 0xddf2);
    }

    /// RFC 1624 section 4: equation 2 gives 0xFFFF here, equation 3 the right 0.
    #[test]
    fn rfc_1624_example() {
        let mut delta = Delta::default();
        delta.word(0x5555, 0x3285);
        assert_eq!(delta.apply(0xdd2f), 0x0000);
    }

    fn naive(octets: &[u8]) -> u16 {
        let mut total = 0u32;
        for pair in octets.chunks(2) {
            total += u32::from(pair[0]) << 8 | u32::from(*pair.get(1).unwrap_or(&0));
            total = (total & 0xFFFF) + (total >> 16);
        }
        !(total as u16)
    }

    proptest! {
        #[test]
        fn agrees_with_the_definition(octets in proptest::collection::vec(any::<u8>(), 0..300)) {
            prop_assert_eq!(checksum(&octets), naive(&octets));
        }

        #[test]
        fn difference_equals_recomputation(
            mut octets in proptest::collection::vec(any::<u8>(), 4..200),
            position in any::<proptest::sample::Index>(),
            word in any::<u16>(),
        ) {
            octets[0] |= 1; // an all-zero packet has two checksums
            let at = position.index(octets.len() / 2 - 1) * 2 + 2;
            prop_assume!(at + 2 <= octets.len());
            let before = checksum(&octets);
            let mut delta = Delta::default();
            delta.word(u16::from_be_bytes([octets[at], octets[at + 1]]), word);
            octets[at..at + 2].copy_from_slice(&word.to_be_bytes());
            prop_assert_eq!(delta.apply(before), checksum(&octets));
        }
    }
}

//! The Internet checksum: in full (RFC 1071) and by difference (RFC 1624, equation 3).

use std::net::IpAddr;

/// The ones' complement sum, not folded. An odd last octet is the high half of a word.
pub(super) fn sum(octets: &[u8]) -> u64 {
    let (words, rest) = octets.as_chunks::<4>();
    let mut last = [0; 4];
    last[..rest.len()].copy_from_slice(rest);
    words.iter().map(|word| u64::from(u32::from_be_bytes(*word))).sum::<u64>() + u64::from(u32::from_be_bytes(last))
}

/// The sum of an address.
pub(super) fn address_sum(address: IpAddr) -> u64 {
    match address {
        IpAddr::V4(v4) => sum(&v4.octets()),
        IpAddr::V6(v6) => sum(&v6.octets()),
    }
}

pub(super) const fn fold(mut total: u64) -> u16 {
    while total > 0xffff {
        total = (total >> 16) + (total & 0xffff);
    }
    total as u16
}

/// The checksum of a transport header and its payload; 0 where they hold their own, correct one.
pub(super) fn transport(source: IpAddr, destination: IpAddr, protocol: u8, octets: &[u8]) -> u16 {
    let pseudo_header = address_sum(source) + address_sum(destination) + u64::from(protocol) + octets.len() as u64;
    !fold(pseudo_header + sum(octets))
}

/// What changed fields make of a checksum that covers them.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Delta(u64);

impl Delta {
    /// What had the sum `old` has the sum `new`.
    pub(super) fn change(&mut self, old: u64, new: u64) {
        self.0 += u64::from(!fold(old)) + u64::from(fold(new));
    }

    /// The changed checksum: `HC' = ~(~HC + ~m + m')`.
    pub(super) const fn apply(self, checksum: u16) -> u16 {
        !fold((!checksum) as u64 + self.0)
    }
}

/// Applies a change to the checksum at `at`, where there is one.
pub(super) fn adjust(octets: &mut [u8], at: usize, delta: Delta) {
    if let Some(field) = octets.get_mut(at..at + 2) {
        let new = delta.apply(u16::from_be_bytes([field[0], field[1]]));
        field.copy_from_slice(&new.to_be_bytes());
    }
}

//! IPv4 addresses within IPv6 addresses (RFC 6052).

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use ipnet::Ipv6Net;

use crate::dataplane::special;

/// The prefix under which IPv6 hosts address IPv4 hosts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pref64 {
    prefix: Ipv6Net,
}

/// Bits 64 to 71 are zero in all such addresses (RFC 6052 section 2.2).
const U_OCTET: usize = 8;

impl Pref64 {
    /// `64:ff9b::/96` (RFC 6052 section 2.1).
    pub const WELL_KNOWN: Self =
        Self { prefix: Ipv6Net::new_assert(Ipv6Addr::new(0x64, 0xff9b, 0, 0, 0, 0, 0, 0), 96) };

    /// A prefix of one of the lengths 32, 40, 48, 56, 64 and 96 with zeros in bits 64 to 71 (RFC 6052 section 2.2).
    pub fn new(prefix: Ipv6Net) -> Option<Self> {
        let prefix = prefix.trunc();
        let fits = matches!(prefix.prefix_len(), 32 | 40 | 48 | 56 | 64 | 96);
        (fits && prefix.network().octets()[U_OCTET] == 0).then_some(Self { prefix })
    }

    /// The prefix itself.
    pub fn prefix(self) -> Ipv6Net {
        self.prefix
    }

    /// Whether an address lies below the prefix.
    pub fn contains(self, address: IpAddr) -> bool {
        matches!(address, IpAddr::V6(v6) if self.prefix.contains(&v6))
    }

    /// The IPv6 address that stands for `v4`.
    pub fn embed(self, v4: Ipv4Addr) -> Ipv6Addr {
        let mut octets = self.prefix.network().octets();
        for (at, octet) in self.places().zip(v4.octets()) {
            octets[at] = octet;
        }
        octets.into()
    }

    /// What `v6` stands for; `None` where it is none of the addresses that [`Pref64::embed`] makes.
    pub fn extract(self, v6: Ipv6Addr) -> Option<Ipv4Addr> {
        let octets = v6.octets();
        let mut v4 = [0; 4];
        for (octet, at) in v4.iter_mut().zip(self.places()) {
            *octet = octets[at];
        }
        let v4 = Ipv4Addr::from(v4);
        (self.embed(v4) == v6).then_some(v4)
    }

    /// The well-known prefix must not stand for IPv4 addresses that are not global (RFC 6052 section 3.1), wherever an
    /// operator would let packets to them pass; any other prefix may.
    pub fn may_represent(self, v4: Ipv4Addr) -> bool {
        self != Self::WELL_KNOWN || special::is_global_unicast(v4.into())
    }

    fn places(self) -> impl Iterator<Item = usize> {
        let first = usize::from(self.prefix.prefix_len() / 8);
        (first..16).filter(|at| *at != U_OCTET).take(4)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn pref64(text: &str) -> Option<Pref64> {
        Pref64::new(text.parse().expect("a prefix"))
    }

    /// RFC 6052 section 2.4, table 2, and the well-known prefix.
    #[test]
    fn the_rfcs_examples() {
        let v4 = Ipv4Addr::new(192, 0, 2, 33);
        for (prefix, expected) in [
            ("2001:db8::/32", "2001:db8:c000:221::"),
            ("2001:db8:100::/40", "2001:db8:1c0:2:21::"),
            ("2001:db8:122::/48", "2001:db8:122:c000:2:2100::"),
            ("2001:db8:122:300::/56", "2001:db8:122:3c0:0:221::"),
            ("2001:db8:122:344::/64", "2001:db8:122:344:c0:2:2100::"),
            ("2001:db8:122:344::/96", "2001:db8:122:344::192.0.2.33"),
            ("64:ff9b::/96", "64:ff9b::192.0.2.33"),
        ] {
            let prefix = pref64(prefix).expect("a length of RFC 6052");
            let v6: Ipv6Addr = expected.parse().expect("an address");
            assert_eq!(prefix.embed(v4), v6);
            assert_eq!(prefix.extract(v6), Some(v4));
        }
    }

    #[test]
    fn other_lengths_and_a_used_u_octet_are_refused() {
        for prefix in ["2001:db8::/33", "2001:db8::/128", "2001:db8::/0", "2001:db8:0:0:100::/96"] {
            assert_eq!(pref64(prefix), None, "{prefix}");
        }
    }

    #[test]
    fn the_well_known_prefix_stands_for_global_addresses_alone() {
        let own = pref64("2001:db8::/96").expect("a prefix");
        for (v4, global) in [([8, 8, 8, 8], true), ([10, 0, 0, 1], false), ([127, 0, 0, 1], false)] {
            assert_eq!(Pref64::WELL_KNOWN.may_represent(v4.into()), global);
            assert!(own.may_represent(v4.into()));
        }
    }

    proptest! {
        #[test]
        fn what_is_extracted_was_embedded(
            length in proptest::sample::select(&[32u8, 40, 48, 56, 64, 96][..]), high in any::<u64>(), low in any::<u64>(),
        ) {
            let address = Ipv6Addr::from_bits(u128::from(high) << 64 | u128::from(low & 0x00ff_ffff_ffff_ffff));
            let prefix = Pref64::new(Ipv6Net::new_assert(address, length).trunc()).expect("a prefix");
            if let Some(v4) = prefix.extract(address) {
                prop_assert_eq!(prefix.embed(v4), address);
            }
            let v4 = Ipv4Addr::from_bits(low as u32);
            prop_assert!(prefix.contains(prefix.embed(v4).into()));
            prop_assert_eq!(prefix.extract(prefix.embed(v4)), Some(v4));
        }
    }
}

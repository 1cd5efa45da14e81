//! IPv6 without port translation: each session has an address of its own, by prefix translation (NPTv6, RFC 6296) or
//! as it is.
//!
//! The address translation itself has no state and leaves every checksum as it was. Mappings exist all the same, with
//! the same port on both sides: they are what filters look at, so that nothing comes in that was not asked for.

use core::net::{IpAddr, Ipv6Addr};
use ipnet::Ipv6Net;
use webtun_wire::PortBlock;

use super::ports::{AddressIndex, AddressPool};
use super::{Guess, Mapping, MappingIndex, NatTable, Protocol};
use crate::dataplane::{ExternalAddress, GatewayConfig};

/// In place of the number of an external address: the mapping's external address follows from its internal one.
pub(super) const BY_PREFIX: AddressIndex = AddressIndex::MAX;

/// Translates between two prefixes of one length, at most 64 bits; or not at all, where both are the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct PrefixTranslation {
    inner: Ipv6Net,
    outer: Ipv6Net,
    /// What the word of choice gets on the way out (RFC 6296 section 3.1).
    adjustment: u16,
}

impl PrefixTranslation {
    pub(super) fn new(config: &GatewayConfig) -> Option<Self> {
        let (inner, outer) = (config.inner_v6.trunc(), config.external_prefix?.trunc());
        if inner == outer {
            return Some(Self { inner, outer, adjustment: 0 });
        }
        // The shorter one is filled up with zeros (RFC 6296 section 3.1).
        let length = inner.prefix_len().max(outer.prefix_len());
        let extend = |prefix: Ipv6Net| Ipv6Net::new(prefix.network(), length).ok();
        let (inner, outer) = (extend(inner)?, extend(outer)?);
        let adjustment = add(sum(inner.network()), !sum(outer.network()));
        Some(Self { inner, outer, adjustment })
    }

    /// The address by which the outside knows an inner one; `None` where it has none.
    pub(super) fn to_external(self, address: Ipv6Addr) -> Option<Ipv6Addr> {
        self.translate(address, self.inner, self.outer, self.adjustment)
    }

    /// The inner address that the outside knows by this one; `None` where there is none.
    pub(super) fn to_internal(self, address: Ipv6Addr) -> Option<Ipv6Addr> {
        self.translate(address, self.outer, self.inner, !self.adjustment)
    }

    fn translate(self, address: Ipv6Addr, from: Ipv6Net, to: Ipv6Net, adjustment: u16) -> Option<Ipv6Addr> {
        if !from.contains(&address) {
            return None;
        }
        if from == to {
            return Some(address);
        }
        let host = address.to_bits() & from.hostmask().to_bits();
        let mut words = Ipv6Addr::from_bits(to.network().to_bits() | host).segments();
        // The subnet where the prefix leaves one (section 3.4), else the first word of the interface that can take it
        // (section 3.5): 0xFFFF is the other zero, and would not come back.
        let candidates = if from.prefix_len() <= 48 { 3..4 } else { 4..8 };
        let word = words[candidates].iter_mut().find(|word| **word != 0xFFFF)?;
        *word = match add(*word, adjustment) {
            0xFFFF => 0,
            sum => sum,
        };
        Some(words.into())
    }
}

/// The prefix that the outside knows the `1 << bits` inner addresses from `first` on by.
pub(in crate::dataplane) fn to_external_prefix(config: &GatewayConfig, first: Ipv6Addr, bits: u32) -> Option<Ipv6Net> {
    let external = PrefixTranslation::new(config)?.to_external(first)?;
    Ipv6Net::new(external, 128 - u8::try_from(bits).ok()?).ok()
}

/// Ones' complement addition.
fn add(a: u16, b: u16) -> u16 {
    let (sum, carry) = a.overflowing_add(b);
    sum + u16::from(carry)
}

fn sum(address: Ipv6Addr) -> u16 {
    address.segments().into_iter().fold(0, add)
}

/// The external address of a mapping.
pub(super) fn external_address(
    pools: &[AddressPool],
    prefix: Option<PrefixTranslation>,
    mapping: &Mapping,
) -> ExternalAddress {
    match (mapping.internal_port.1, prefix) {
        (IpAddr::V6(v6), Some(prefix)) if mapping.address == BY_PREFIX => {
            let address = prefix.to_external(v6).unwrap_or(v6).into();
            ExternalAddress { address, announced: address }
        }
        _ => pools[usize::from(mapping.address)].address,
    }
}

impl NatTable {
    /// The mapping with this external endpoint.
    pub(super) fn find_external(&self, protocol: Protocol, external: IpAddr, port: u16) -> Option<MappingIndex> {
        self.find_external_near(Guess::NONE, protocol, external, port)
    }

    /// The same, where it was guessed.
    pub(super) fn find_external_near(
        &self,
        guess: Guess,
        protocol: Protocol,
        external: IpAddr,
        port: u16,
    ) -> Option<MappingIndex> {
        let is_it = |mapping: &&Mapping| {
            let pool = self.pools.get(usize::from(mapping.address));
            (mapping.protocol(), mapping.port) == (protocol, port)
                && pool.is_some_and(|it| it.address.address == external)
        };
        if self.mapping(guess.0).filter(is_it).is_some() {
            return Some(guess.0);
        }
        if let Some(internal) = self.internal_by_prefix(external) {
            return self.mappings.by_internal_near(guess, (protocol, internal, port));
        }
        self.mappings.by_external((protocol, self.address_index(external)?, port))
    }

    /// The internal address behind an external one that a prefix gives.
    pub(in crate::dataplane) fn internal_by_prefix(&self, external: IpAddr) -> Option<IpAddr> {
        let IpAddr::V6(v6) = external else { return None };
        self.prefix?.to_internal(v6).map(IpAddr::V6)
    }

    /// The external address that a prefix gives to an internal one.
    pub(in crate::dataplane) fn external_by_prefix(&self, internal: Ipv6Addr) -> Option<Ipv6Addr> {
        self.prefix?.to_external(internal)
    }

    /// All ports of the external address that a prefix gives to a session, but for the well-known ones.
    pub(in crate::dataplane) fn prefix_block(&self, internal: Ipv6Addr) -> Option<PortBlock> {
        const FIRST: u16 = 1024;
        let address = self.external_by_prefix(internal)?.into();
        Some(PortBlock { address, first: FIRST, count: u16::MAX - FIRST + 1 })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn translation(inner: &str, outer: &str) -> PrefixTranslation {
        let mut config = GatewayConfig::new(Vec::new());
        config.inner_v6 = inner.parse().expect("a prefix");
        config.external_prefix = Some(outer.parse().expect("a prefix"));
        PrefixTranslation::new(&config).expect("a prefix is set")
    }

    fn address(text: &str) -> Ipv6Addr {
        text.parse().expect("an address")
    }

    /// RFC 6296 section 3.6: the adjustment is 0xD54F, and the way back is its inverse.
    #[test]
    fn the_rfcs_example() {
        let both = translation("fd01:203:405::/48", "2001:db8:1::/48");
        assert_eq!(both.adjustment, 0xD54F);
        let (inner, outer) = (address("fd01:203:405:1::1234"), address("2001:db8:1:d550::1234"));
        assert_eq!(both.to_external(inner), Some(outer));
        assert_eq!(both.to_internal(outer), Some(inner));
    }

    #[test]
    fn what_cannot_come_back_is_not_translated() {
        let short = translation("fd01:203:405::/48", "2001:db8:1::/48");
        assert_eq!(short.to_external(address("fd01:203:405:ffff::1")), None);
        assert_eq!(short.to_external(address("fd01:203:406::1")), None);
        let long = translation("fd01:203:405:6::/64", "2001:db8:1:2::/64");
        assert_eq!(long.to_external(address("fd01:203:405:6:ffff:ffff:ffff:ffff")), None);
        let kept = long.to_external(address("fd01:203:405:6:ffff::1")).expect("the next word takes it");
        assert_eq!(kept.segments()[4], 0xFFFF);
    }

    #[test]
    fn one_prefix_for_both_sides_translates_nothing() {
        let both = translation("2001:db8:1:2::/64", "2001:db8:1:2::/64");
        let all_ones = address("2001:db8:1:2:ffff:ffff:ffff:ffff");
        assert_eq!((both.to_external(all_ones), both.to_internal(all_ones)), (Some(all_ones), Some(all_ones)));
        assert_eq!(both.to_external(address("2001:db8:1:3::1")), None);
    }

    /// The definition, without shortcuts: whichever value of the word makes both addresses sum up to the same, but for
    /// 0xFFFF.
    fn naive(address: Ipv6Addr, from: Ipv6Net, to: Ipv6Net) -> Option<Ipv6Addr> {
        let length = u32::from(from.prefix_len());
        let kept = address.to_bits() & u128::MAX.checked_shr(length).unwrap_or(0);
        let mut words = Ipv6Addr::from_bits(to.network().to_bits() | kept).segments();
        let at = if length <= 48 { (words[3] != 0xFFFF).then_some(3) } else { (4..8).find(|at| words[*at] != 0xFFFF) }?;
        let total = |words: [u16; 8]| words.into_iter().map(u64::from).sum::<u64>() % 0xFFFF;
        let wanted = total(address.segments());
        (0..0xFFFF).find_map(|value| {
            words[at] = value;
            (total(words) == wanted).then(|| words.into())
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn agrees_with_the_definition(
            bits in any::<[u64; 4]>(), inner_len in 16u8..=64, outer_len in 16u8..=64, ones in 0usize..6,
        ) {
            let prefix = |bits, length| Ipv6Net::new_assert(Ipv6Addr::from_bits(u128::from(bits) << 64), length).trunc();
            let (inner, outer) = (prefix(bits[0], inner_len), prefix(bits[1], outer_len));
            prop_assume!(inner != outer);
            let both = translation(&inner.to_string(), &outer.to_string());
            let host = u128::from(bits[2]) << 64 | u128::from(bits[3]);
            let mut words =
                Ipv6Addr::from_bits(both.inner.network().to_bits() | host & both.inner.hostmask().to_bits()).segments();
            words[8 - ones.min(5)..].fill(0xFFFF);
            words[4..4 + ones.min(4)].fill(0xFFFF);
            let address = Ipv6Addr::from(words);
            let external = both.to_external(address);
            prop_assert_eq!(external, naive(address, both.inner, both.outer));
            if let Some(external) = external {
                prop_assert_eq!(both.to_internal(external), Some(address));
                prop_assert_eq!(u32::from(sum(external)) % 0xFFFF, u32::from(sum(address)) % 0xFFFF);
            }
        }
    }
}

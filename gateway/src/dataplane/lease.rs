//! Inner addresses: each session has one of each family, with the same host number in both.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::collections::VecDeque;

use super::GatewayConfig;

/// The inner addresses of a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Lease {
    pub v4: Ipv4Addr,
    pub v6: Ipv6Addr,
    /// What the NAT knows `v6` as in flows to IPv4; in no packet outside of the gateway.
    pub nat64: Ipv4Addr,
    host: u32,
}

impl Lease {
    /// Whether `address` is one of the session's.
    pub(super) fn contains(&self, address: IpAddr) -> bool {
        match address {
            IpAddr::V4(v4) => v4 == self.v4,
            IpAddr::V6(v6) => v6 == self.v6,
        }
    }
}

/// Class E (RFC 1112), which nobody can be in: the aliases of NAT64.
const ALIASES: (u32, u32) = (0xF000_0000, 28);

/// The pool of host numbers, in equal parts for shards. Their size is a power of two, so that the addresses of one are a
/// prefix.
#[derive(Clone, Copy, Debug)]
pub(super) struct Slices {
    base_v4: u32,
    base_v6: u128,
    /// Of host numbers in all, and within one slice.
    all_bits: u32,
    bits: u32,
}

impl Slices {
    pub(super) fn new(config: &GatewayConfig) -> Self {
        let bits_v4 = u32::from(32 - config.inner_v4.prefix_len());
        let bits_v6 = u32::from(128 - config.inner_v6.prefix_len());
        let all_bits = bits_v4.min(bits_v6).min(ALIASES.1);
        Self {
            base_v4: config.inner_v4.network().to_bits(),
            base_v6: config.inner_v6.network().to_bits(),
            all_bits,
            bits: all_bits.saturating_sub(config.shard.count().next_power_of_two().ilog2()),
        }
    }

    /// The bits of a host number within its slice.
    pub(super) fn bits(&self) -> u32 {
        self.bits
    }

    /// The inner IPv6 address of the first host of a slice.
    pub(super) fn first_v6(&self, index: usize) -> Ipv6Addr {
        Ipv6Addr::from_bits(self.base_v6 + ((index as u128) << self.bits))
    }

    /// The number of the slice that has an inner address, which may be that of no shard.
    pub(super) fn index_of(&self, address: IpAddr) -> Option<usize> {
        let host = match address {
            IpAddr::V4(v4) => v4.to_bits().checked_sub(self.base_v4)?.into(),
            IpAddr::V6(v6) => v6.to_bits().checked_sub(self.base_v6)?,
        };
        (host >> self.all_bits == 0).then_some((host >> self.bits) as usize)
    }

    /// The host numbers of a slice that sessions can have, and one past the last. Host 1 is the gateway, and the last IPv4
    /// address the broadcast address of the prefix.
    fn hosts(&self, index: usize) -> (u32, u32) {
        let first = (index as u32) << self.bits;
        (first.max(2), (first + (1 << self.bits)).min((1 << self.all_bits) - 1))
    }
}

/// Hands out host numbers; one that comes back is used again as late as possible.
#[derive(Debug)]
pub(super) struct LeasePool {
    slices: Slices,
    fresh: u32,
    /// One past the last host number.
    end: u32,
    returned: VecDeque<u32>,
}

impl LeasePool {
    /// The pool of a configuration that has been validated.
    pub(super) fn new(config: &GatewayConfig) -> Self {
        let slices = Slices::new(config);
        let (fresh, end) = slices.hosts(config.shard.index);
        Self { slices, fresh, end, returned: VecDeque::new() }
    }

    /// A free pair of addresses, if there is one.
    pub(super) fn take(&mut self) -> Option<Lease> {
        let host = if self.fresh < self.end {
            self.fresh += 1;
            self.fresh - 1
        } else {
            self.returned.pop_front()?
        };
        let v4 = Ipv4Addr::from_bits(self.slices.base_v4 + host);
        let v6 = Ipv6Addr::from_bits(self.slices.base_v6 + u128::from(host));
        let nat64 = Ipv4Addr::from_bits(ALIASES.0 + host);
        Some(Lease { v4, v6, nat64, host })
    }

    /// The session that held it is gone.
    pub(super) fn give_back(&mut self, lease: Lease) {
        self.returned.push_back(lease.host);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pool_ends_and_returns_the_oldest_first() {
        let mut config = GatewayConfig::new(Vec::new());
        config.inner_v4 = "10.9.0.0/29".parse().expect("a prefix");
        let mut pool = LeasePool::new(&config);
        let leases: Vec<_> = std::iter::from_fn(|| pool.take()).collect();
        let last: Vec<_> = leases.iter().map(|l| l.v4.octets()[3]).collect();
        assert_eq!(last, [2, 3, 4, 5, 6]);
        assert_eq!(leases[0].v6, "fd77:6562:7475::2".parse::<Ipv6Addr>().expect("an address"));
        pool.give_back(leases[3]);
        pool.give_back(leases[0]);
        assert_eq!(pool.take(), Some(leases[3]));
        assert_eq!(pool.take(), Some(leases[0]));
        assert_eq!(pool.take(), None);
    }

    #[test]
    fn shards_have_slices_that_do_not_meet_and_are_found_by_address() {
        let mut config = GatewayConfig::new(Vec::new());
        config.inner_v4 = "10.9.0.0/26".parse().expect("a prefix");
        let slice = crate::dataplane::Slice { external: Vec::new(), ports: 1024..=65_535 };
        let shards = config.shards(&vec![slice; 3]);
        let hosts = |index: usize| {
            let mut pool = LeasePool::new(&shards[index]);
            let leases: Vec<_> = core::iter::from_fn(|| pool.take()).collect();
            let slices = Slices::new(&shards[0]);
            for lease in &leases {
                assert_eq!(slices.index_of(lease.v4.into()), Some(index));
                assert_eq!(slices.index_of(lease.v6.into()), Some(index));
            }
            (leases[0].host, leases[leases.len() - 1].host)
        };
        assert_eq!([hosts(0), hosts(1), hosts(2)], [(2, 15), (16, 31), (32, 47)]);
        let slices = Slices::new(&shards[1]);
        for outside in ["10.8.255.255", "10.9.0.64", "fd77:6562:7475::40", "fd77:6562:7474::1"] {
            assert_eq!(slices.index_of(outside.parse().expect("an address")), None, "{outside}");
        }
    }
}

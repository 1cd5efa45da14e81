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

/// Hands out host numbers; one that comes back is used again as late as possible.
#[derive(Debug)]
pub(super) struct LeasePool {
    base_v4: u32,
    base_v6: u128,
    fresh: u32,
    /// One past the last host number.
    end: u32,
    returned: VecDeque<u32>,
}

impl LeasePool {
    /// The pool of a configuration that has been validated. Host 1 is the gateway.
    pub(super) fn new(config: &GatewayConfig) -> Self {
        let bits_v4 = u32::from(32 - config.inner_v4.prefix_len());
        let bits_v6 = u32::from(128 - config.inner_v6.prefix_len());
        // The last IPv4 address is the broadcast address of the prefix.
        let end = (1u32 << bits_v4.min(bits_v6).min(ALIASES.1)) - 1;
        Self {
            base_v4: config.inner_v4.network().to_bits(),
            base_v6: config.inner_v6.network().to_bits(),
            fresh: 2,
            end,
            returned: VecDeque::new(),
        }
    }

    /// A free pair of addresses, if there is one.
    pub(super) fn take(&mut self) -> Option<Lease> {
        let host = if self.fresh < self.end {
            self.fresh += 1;
            self.fresh - 1
        } else {
            self.returned.pop_front()?
        };
        let v4 = Ipv4Addr::from_bits(self.base_v4 + host);
        let v6 = Ipv6Addr::from_bits(self.base_v6 + u128::from(host));
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
}

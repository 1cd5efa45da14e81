use std::collections::BTreeMap;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::ops::RangeInclusive;
use std::time::Duration;

use super::MacAddress;

/// The router's link-local address; each segment is a link of its own, so all may use the same.
pub(super) const ROUTER_LINK_LOCAL: Ipv6Addr = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 1);

/// How a [`Segment`](super::Segment) is made. The fields say their defaults.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SegmentConfig {
    /// The router's IPv4 address on the segment: 192.168.127.1.
    pub router_v4: Ipv4Addr,
    /// Length of the subnet's prefix, 8 to 30: 24.
    pub prefix_len: u8,
    /// What DHCP gives out, both inclusive: 192.168.127.2 to 192.168.127.254. The router's address, aliases and the
    /// addresses in `fixed` are left out. At most 1,024 of it are used.
    pub pool: RangeInclusive<Ipv4Addr>,
    /// Addresses of the subnet that belong to one network card each; they need not lie in the pool: none.
    pub fixed: BTreeMap<MacAddress, Ipv4Addr>,
    /// Further addresses of the router, and for which address behind the tunnel each stands: none. No address may be
    /// in two pairs, else an answer could not be translated back.
    pub aliases: Vec<(Ipv4Addr, Ipv4Addr)>,
    /// What DHCP names as DNS servers, at most three: the router.
    pub dns_v4: Vec<Ipv4Addr>,
    /// The /64 prefix that guests make addresses below: fd77:6562:746e:6574::. They are seen on this segment alone, so
    /// that all segments may have the same. The router's is the prefix and 1.
    pub prefix_v6: Ipv6Addr,
    /// The router's network card: 02:77:74:00:00:01. A segment that is made anew should have the same one, as guests
    /// remember it.
    pub router_mac: MacAddress,
    /// The longest IP packet of a frame, 1,280 to 65,000 octets: 1500. Guests hear it by DHCP and router advertisement.
    pub mtu: u16,
    /// The path's MTU, at most that of the segment: 1500. Segments of guests are cut to it at the latest.
    pub path_mtu: u16,
    /// How long a DHCP lease lasts, a minute at least: 1 hour.
    pub lease_time: Duration,
    /// After how much silence a guest is asked whether it is there: 5 minutes. It is gone 30 seconds later.
    pub guest_timeout: Duration,
    /// Bound on ports: 64.
    pub max_ports: usize,
    /// Bound on guests at all ports together: 256. At the bound, owners of ports share them evenly.
    pub max_guests: usize,
    /// Bound on guests at one port: 16.
    pub max_guests_per_port: usize,
    /// How many octets may wait for one port, and for one guest's tunnel: 1 MiB. One more frame may lie over it.
    pub queue_octets: usize,
    /// How many broadcast and multicast frames of 1500 octets one port may have passed on, per second: 200, and as many
    /// at once.
    pub flood_rate: u32,
}

impl Default for SegmentConfig {
    fn default() -> Self {
        Self {
            router_v4: Ipv4Addr::new(192, 168, 127, 1),
            prefix_len: 24,
            pool: Ipv4Addr::new(192, 168, 127, 2)..=Ipv4Addr::new(192, 168, 127, 254),
            fixed: BTreeMap::new(),
            aliases: Vec::new(),
            dns_v4: vec![Ipv4Addr::new(192, 168, 127, 1)],
            prefix_v6: Ipv6Addr::new(0xfd77, 0x6562, 0x746e, 0x6574, 0, 0, 0, 0),
            router_mac: MacAddress([2, 0x77, 0x74, 0, 0, 1]),
            mtu: 1500,
            path_mtu: 1500,
            lease_time: Duration::from_secs(3600),
            guest_timeout: Duration::from_secs(300),
            max_ports: 64,
            max_guests: 256,
            max_guests_per_port: 16,
            queue_octets: 1 << 20,
            flood_rate: 200,
        }
    }
}

/// What a configuration contradicts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// The prefix length leaves no room for hosts, or is no subnet's.
    #[error("the prefix length of a segment is 8 to 30")]
    PrefixLen,
    /// An address lies outside of the subnet, or is its first or last.
    #[error("{0} is no host's address in the segment's subnet")]
    NotInSubnet(Ipv4Addr),
    /// An address is given to two.
    #[error("{0} is given twice")]
    Twice(Ipv4Addr),
    /// More DNS servers than a lease names.
    #[error("a lease names one to three DNS servers")]
    DnsServers,
    /// The last 64 bits of the IPv6 prefix are not 0, or it is not for unicast.
    #[error("the IPv6 prefix of a segment is a unicast /64")]
    PrefixV6,
    /// The router's MAC address is a group's.
    #[error("the router's MAC address is a group's")]
    RouterMac,
    /// An MTU out of its range.
    #[error("the MTU of a segment is 1280 to 65000, and that of the path 576 to that")]
    Mtu,
    /// A lease that ends before it can be renewed.
    #[error("a lease lasts a minute at least and 2^32 seconds at most")]
    LeaseTime,
}

impl SegmentConfig {
    /// The network that container2wasm's images expect: the virtual machine at 192.168.127.3, whose network card they
    /// call 02:00:00:00:00:01, and its host at 192.168.127.254, which stands for `host` behind the tunnel.
    pub fn container2wasm(host: Ipv4Addr) -> Self {
        let guest = MacAddress([2, 0, 0, 0, 0, 1]);
        Self {
            pool: Ipv4Addr::new(192, 168, 127, 3)..=Ipv4Addr::new(192, 168, 127, 253),
            fixed: BTreeMap::from([(guest, Ipv4Addr::new(192, 168, 127, 3))]),
            aliases: vec![(Ipv4Addr::new(192, 168, 127, 254), host)],
            ..Self::default()
        }
    }

    /// Checks that the configuration does not contradict itself.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] for the first contradiction.
    pub fn validate(&self) -> Result<(), ConfigError> {
        if !(8..=30).contains(&self.prefix_len) {
            return Err(ConfigError::PrefixLen);
        }
        let mut taken = Vec::new();
        let own = std::iter::once(&self.router_v4).chain(self.aliases.iter().map(|(own, _)| own));
        for address in own.chain(self.fixed.values()) {
            if !self.is_host(*address) {
                return Err(ConfigError::NotInSubnet(*address));
            }
            if taken.contains(address) {
                return Err(ConfigError::Twice(*address));
            }
            taken.push(*address);
        }
        if let Some(end) = [self.pool.start(), self.pool.end()].into_iter().find(|it| !self.in_subnet(**it)) {
            return Err(ConfigError::NotInSubnet(*end));
        }
        for (index, (_, behind)) in self.aliases.iter().enumerate() {
            if self.in_subnet(*behind) {
                return Err(ConfigError::NotInSubnet(*behind));
            }
            if self.aliases[..index].iter().any(|(_, other)| other == behind) {
                return Err(ConfigError::Twice(*behind));
            }
        }
        self.validate_rest()
    }

    fn validate_rest(&self) -> Result<(), ConfigError> {
        if !(1..=3).contains(&self.dns_v4.len()) {
            return Err(ConfigError::DnsServers);
        }
        let segments = self.prefix_v6.segments();
        if segments[4..] != [0; 4] || segments[0] == 0 || segments[0] >= 0xfe80 {
            return Err(ConfigError::PrefixV6);
        }
        if self.router_mac.is_multicast() {
            return Err(ConfigError::RouterMac);
        }
        if !(1280..=65_000).contains(&self.mtu) || !(576..=self.mtu).contains(&self.path_mtu) {
            return Err(ConfigError::Mtu);
        }
        if !(60..=u64::from(u32::MAX)).contains(&self.lease_time.as_secs()) {
            return Err(ConfigError::LeaseTime);
        }
        Ok(())
    }

    pub(super) fn netmask(&self) -> Ipv4Addr {
        Ipv4Addr::from(u32::MAX.checked_shl(32 - u32::from(self.prefix_len)).unwrap_or(0))
    }

    pub(super) fn in_subnet(&self, address: Ipv4Addr) -> bool {
        address & self.netmask() == self.router_v4 & self.netmask()
    }

    /// The last address of the subnet.
    pub(super) fn broadcast(&self) -> Ipv4Addr {
        self.router_v4 | !self.netmask()
    }

    /// In the subnet, and neither its first nor its last address.
    pub(super) fn is_host(&self, address: Ipv4Addr) -> bool {
        self.in_subnet(address) && address & !self.netmask() != Ipv4Addr::UNSPECIFIED && address != self.broadcast()
    }

    /// An IPv4 address that the router answers to.
    pub(super) fn is_router(&self, address: Ipv4Addr) -> bool {
        address == self.router_v4 || self.aliases.iter().any(|(own, _)| *own == address)
    }

    pub(super) fn router_v6(&self) -> Ipv6Addr {
        Ipv6Addr::from(u128::from(self.prefix_v6) | 1)
    }

    pub(super) fn in_prefix(&self, address: Ipv6Addr) -> bool {
        address.segments()[..4] == self.prefix_v6.segments()[..4]
    }
}

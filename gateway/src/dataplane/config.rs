//! Everything that can be set, with its defaults. The shell fills it from files and flags; here it is checked.

use core::fmt;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use core::ops::RangeInclusive;
use core::time::Duration;
use ipnet::{Ipv4Net, Ipv6Net};

use super::IPV6_MIN_MTU;
use super::nat::{NatTimeouts, Pref64};
use super::offload::EgressOffload;
use super::policy::{OwnAddresses, Rule};
use super::shards::ShardConfig;

/// What holds one packet of the largest size, with what it is wrapped in.
pub(super) const SMALLEST_WINDOW: usize = 70_000;

/// The configuration of a gateway.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GatewayConfig {
    /// Inner IPv4 addresses; the first host (`.1`) is the gateway's own. At least a /29.
    pub inner_v4: Ipv4Net,
    /// Inner IPv6 addresses; `::1` is the gateway's own. At least a /125.
    pub inner_v6: Ipv6Net,
    /// Addresses that sessions appear from. Without one of a family, that family is not routed.
    pub external: Vec<ExternalAddress>,
    /// A prefix of at most 64 bits that is routed here: each session's inner IPv6 address is translated into it (RFC 6296),
    /// or, where it is `inner_v6` itself, left as it is. There is no external IPv6 address beside it.
    pub external_prefix: Option<Ipv6Net>,
    /// Resolvers that are told to clients; empty: the gateway's inner addresses.
    pub dns_servers: Vec<IpAddr>,
    /// DNS search domains that are told to clients.
    pub dns_search: Vec<String>,
    /// The MTU of the path behind the egress, in octets, 1280 to 65535. Larger UDP and ICMP packets are fragmented, the
    /// MSS of TCP is clamped.
    pub path_mtu: u16,
    /// Largest message that is made, in octets, 70,000 to 1,048,576.
    pub message_len: usize,
    /// How many octets of sequenced messages may be unacknowledged, each way; 70,000 or more.
    pub unacknowledged: usize,
    /// How long a session outlives its connection.
    pub grace: Duration,
    /// Silence after which a PING is sent, a second or more; a connection that is silent for twice as long is given up.
    pub ping_interval: Duration,
    /// Sessions at most, detached ones included; the address pool bounds them too.
    pub max_sessions: usize,
    /// Whether clients are given contexts of kind OFFLOAD. Where the egress, or the receiver, segments nothing itself, the
    /// gateway does.
    pub offload: bool,
    /// What the device at the egress takes over.
    pub egress_offload: EgressOffload,
    /// Whether TCP connections may be split here.
    pub split: Split,
    /// Network address translation.
    pub nat: NatConfig,
    /// This gateway's place among others that serve with it; see [`GatewayConfig::shards`].
    pub shard: ShardConfig,
    /// The prefix under which sessions reach IPv4 hosts from their IPv6 addresses, where there is an external IPv4
    /// address; `None`: they do not.
    pub nat64: Option<Pref64>,
    /// Rules that override the default of "global unicast only, and no port 25". The first that matches decides.
    pub rules: Vec<Rule>,
    /// The machine's addresses, which are denied except by rules that name them. [`super::Gateway::set_own_addresses`]
    /// changes them.
    pub own: OwnAddresses,
    /// NAT64 prefixes of other translators in the network: what lies below them is judged as IPv4, too.
    pub foreign_nat64: Vec<Pref64>,
}

/// An address that sessions appear from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ExternalAddress {
    /// The address in packets at the egress.
    pub address: IpAddr,
    /// The address as the outside sees it, of the same family; differs where a kernel translates 1:1 behind the egress.
    pub announced: IpAddr,
}

/// Whether TCP connections may be split at the gateway (streams; wire specification, section 8).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Split {
    /// Where the client asks for it.
    #[default]
    Allowed,
    /// Never.
    Forbidden,
    /// Always: packets that would begin a TCP connection to the outside are denied.
    Required,
}

/// Which packets from outside a mapping admits (RFC 4787 section 5).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Filtering {
    /// From anywhere.
    EndpointIndependent,
    /// From addresses that the mapping has sent to.
    #[default]
    AddressDependent,
    /// From endpoints that the mapping has sent to.
    AddressAndPortDependent,
}

/// Network address translation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NatConfig {
    /// Which packets from outside a mapping admits.
    pub filtering: Filtering,
    /// Idle timers.
    pub timeouts: NatTimeouts,
    /// The first external port.
    pub first_port: u16,
    /// The last external port, inclusive.
    pub last_port: u16,
    /// Ports per block, 64 to 16384 and a multiple of 64. What the range holds beyond whole blocks is not used.
    pub block_size: u16,
    /// For how long nothing may be mapped in a block before it goes back; a session keeps one in each family.
    pub block_idle: Duration,
    /// For how long a port rests between two mappings, and a block between two sessions (RFC 6888 REQ-8).
    pub port_hold: Duration,
    /// Ports that rest at the same time, of all addresses together; beyond it the one that has rested longest is free
    /// early.
    pub held_ports: usize,
    /// Whether a SYN from outside that no session has asked for is answered, after 6 seconds, by an ICMP error (RFC 5382
    /// REQ-4) or not at all.
    pub answer_unsolicited: bool,
    /// Longest lifetime of an explicitly mapped port.
    pub max_map_lifetime: Duration,
}

impl GatewayConfig {
    /// The defaults, with the external addresses that a gateway cannot do without.
    pub fn new(external: Vec<ExternalAddress>) -> Self {
        Self {
            inner_v4: Ipv4Net::new_assert(Ipv4Addr::new(100, 64, 0, 0), 16),
            inner_v6: Ipv6Net::new_assert(Ipv6Addr::new(0xfd77, 0x6562, 0x7475, 0, 0, 0, 0, 0), 64),
            external,
            external_prefix: None,
            dns_servers: Vec::new(),
            dns_search: Vec::new(),
            path_mtu: 1500,
            message_len: 256 * 1024,
            unacknowledged: 4 << 20,
            grace: Duration::from_secs(120),
            ping_interval: Duration::from_secs(15),
            max_sessions: 10_000,
            offload: true,
            egress_offload: EgressOffload::None,
            split: Split::default(),
            nat: NatConfig::default(),
            shard: ShardConfig::default(),
            nat64: Some(Pref64::WELL_KNOWN),
            rules: Vec::new(),
            own: OwnAddresses::default(),
            foreign_nat64: Vec::new(),
        }
    }

    /// The gateway's own inner IPv4 address.
    pub fn inner_host_v4(&self) -> Ipv4Addr {
        Ipv4Addr::from_bits(self.inner_v4.network().to_bits() + 1)
    }

    /// The gateway's own inner IPv6 address.
    pub fn inner_host_v6(&self) -> Ipv6Addr {
        Ipv6Addr::from_bits(self.inner_v6.network().to_bits() + 1)
    }

    /// The NAT64 prefix in use.
    pub fn pref64(&self) -> Option<Pref64> {
        self.nat64.filter(|_| self.external.iter().any(|external| external.address.is_ipv4()))
    }

    /// Checks what the types do not say.
    ///
    /// # Errors
    ///
    /// The first contradiction that is found.
    pub fn validate(&self) -> Result<(), ConfigError> {
        if self.inner_v4.prefix_len() > 29 || self.inner_v6.prefix_len() > 125 {
            return Err(ConfigError::InnerPrefix);
        }
        if self.external.iter().any(|e| e.address.is_ipv4() != e.announced.is_ipv4()) {
            return Err(ConfigError::ExternalFamily);
        }
        if has_twice(self.external.iter().map(|e| e.address)) || has_twice(self.external.iter().map(|e| e.announced)) {
            return Err(ConfigError::ExternalTwice);
        }
        let inner = |address: &IpAddr| match address {
            IpAddr::V4(v4) => self.inner_v4.contains(v4),
            IpAddr::V6(v6) => self.inner_v6.contains(v6),
        };
        if self.external.iter().any(|e| inner(&e.address) || inner(&e.announced)) {
            return Err(ConfigError::ExternalInside);
        }
        self.validate_prefix()?;
        let own = [Some(self.inner_v6), self.external_prefix];
        if self.nat64.is_some_and(|pref64| own.into_iter().flatten().any(|own| overlap(own, pref64.prefix()))) {
            return Err(ConfigError::Pref64);
        }
        if self.path_mtu < IPV6_MIN_MTU {
            return Err(ConfigError::PathMtu);
        }
        if !(SMALLEST_WINDOW..=webtun_wire::MAX_MESSAGE_LEN).contains(&self.message_len) {
            return Err(ConfigError::MessageLen);
        }
        if self.unacknowledged < SMALLEST_WINDOW {
            return Err(ConfigError::Window);
        }
        if self.ping_interval < Duration::from_secs(1) {
            return Err(ConfigError::PingInterval);
        }
        self.shard.validate(self)?;
        self.nat.validate()
    }

    /// External ports that sessions can have, those of other shards included.
    pub(super) fn all_ports(&self) -> RangeInclusive<u16> {
        let others = self.shard.slices.iter().map(|slice| &slice.ports);
        let (mut first, mut last) = (self.nat.first_port, self.nat.last_port);
        for ports in others {
            (first, last) = (first.min(*ports.start()), last.max(*ports.end()));
        }
        first..=last
    }

    fn validate_prefix(&self) -> Result<(), ConfigError> {
        let Some(outer) = self.external_prefix.map(|prefix| prefix.trunc()) else { return Ok(()) };
        let inner = self.inner_v6.trunc();
        let is_translated = inner != outer;
        let is_long = inner.prefix_len() > 64 || outer.prefix_len() > 64;
        let has_address = self.external.iter().any(|external| external.address.is_ipv6());
        let is_wrong = has_address || is_translated && (is_long || overlap(inner, outer));
        if is_wrong { Err(ConfigError::Prefix) } else { Ok(()) }
    }
}

fn overlap(a: Ipv6Net, b: Ipv6Net) -> bool {
    a.contains(&b) || b.contains(&a)
}

fn has_twice(addresses: impl Iterator<Item = IpAddr>) -> bool {
    let mut addresses: Vec<_> = addresses.collect();
    addresses.sort_unstable();
    addresses.windows(2).any(|pair| pair[0] == pair[1])
}

impl NatConfig {
    /// How many whole blocks the range holds.
    pub fn block_count(&self) -> u16 {
        let ports = u32::from(self.last_port) + 1 - u32::from(self.first_port);
        (ports / u32::from(self.block_size)) as u16
    }

    fn validate(&self) -> Result<(), ConfigError> {
        if !(64..=16_384).contains(&self.block_size) || !self.block_size.is_multiple_of(64) {
            return Err(ConfigError::BlockSize);
        }
        if self.first_port < 1024 || self.first_port >= self.last_port || self.block_count() == 0 {
            return Err(ConfigError::PortRange);
        }
        self.timeouts.validate()
    }
}

impl Default for NatConfig {
    fn default() -> Self {
        Self {
            filtering: Filtering::default(),
            timeouts: NatTimeouts::default(),
            first_port: 16_384,
            last_port: 65_535,
            block_size: 128,
            block_idle: Duration::from_secs(120),
            port_hold: Duration::from_secs(120),
            held_ports: 32_768,
            answer_unsolicited: true,
            max_map_lifetime: Duration::from_secs(24 * 3600),
        }
    }
}

/// What is wrong with a configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ConfigError {
    /// An inner prefix is too long to hold the gateway and a few sessions.
    InnerPrefix,
    /// An external address and its announced address are of different families.
    ExternalFamily,
    /// An external or announced address stands twice.
    ExternalTwice,
    /// An external address lies within an inner prefix.
    ExternalInside,
    /// The external prefix is too long, overlaps the inner one without being the same, or stands beside an external IPv6
    /// address; or the inner prefix is too long for it.
    Prefix,
    /// The NAT64 prefix overlaps the inner or the external one.
    Pref64,
    /// The path MTU is below the minimum of IPv6.
    PathMtu,
    /// The message length does not hold one packet of the largest size, or exceeds the protocol's limit.
    MessageLen,
    /// The window of unacknowledged octets does not hold one packet of the largest size.
    Window,
    /// The ping interval is below a second.
    PingInterval,
    /// The block size is out of range or no multiple of 64.
    BlockSize,
    /// The external port range is empty, holds no whole block, or reaches below 1024.
    PortRange,
    /// A timer is shorter than the RFCs allow.
    Timeout,
    /// A shard's slice is not its configuration's, two of them overlap, or there are too many for the inner addresses.
    Shards,
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::InnerPrefix => "an inner prefix is too long: at most /29 (IPv4) and /125 (IPv6)",
            Self::ExternalFamily => "an external address and its announced address must be of one family",
            Self::ExternalTwice => "an external address is listed twice",
            Self::ExternalInside => "an external address lies within an inner prefix",
            Self::Prefix => {
                "an external IPv6 prefix must be the inner one or, like that, have at most 64 bits and not overlap it, and \
                 leaves no place for external IPv6 addresses"
            }
            Self::Pref64 => "the NAT64 prefix overlaps the inner or the external IPv6 prefix",
            Self::PathMtu => "the path MTU is below 1280",
            Self::MessageLen => "the message length must lie between 70,000 and 1,048,576",
            Self::Window => "the unacknowledged octets must be 70,000 or more",
            Self::PingInterval => "the ping interval must be a second or more",
            Self::BlockSize => "the port block size must be a multiple of 64 between 64 and 16384",
            Self::PortRange => "the external port range is empty, too small for one block, or reaches below 1024",
            Self::Shards => {
                "the shards' slices overlap, are not those of their configurations, or leave fewer than 8 inner addresses each"
            }
            Self::Timeout => "a NAT timer is shorter than RFC 4787, 5382 or 5508 allows",
        })
    }
}

impl core::error::Error for ConfigError {}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dataplane::Slice;

    fn address(text: &str) -> IpAddr {
        text.parse().expect("an address")
    }

    fn check(change: impl FnOnce(&mut GatewayConfig)) -> Result<(), ConfigError> {
        let external = |text| ExternalAddress { address: address(text), announced: address(text) };
        let mut config = GatewayConfig::new(vec![external("192.0.2.1"), external("2001:db8::1")]);
        change(&mut config);
        config.validate()
    }

    #[test]
    fn the_defaults_are_sound() {
        assert_eq!(check(|_| {}), Ok(()));
        assert_eq!(NatConfig::default().block_count(), 384);
    }

    #[test]
    fn each_contradiction_has_its_error() {
        use ConfigError as E;
        assert_eq!(check(|c| c.inner_v4 = "10.0.0.0/30".parse().expect("a prefix")), Err(E::InnerPrefix));
        assert_eq!(check(|c| c.external[0].announced = address("2001:db8::2")), Err(E::ExternalFamily));
        assert_eq!(check(|c| c.external.push(c.external[0])), Err(E::ExternalTwice));
        assert_eq!(check(|c| c.external[0].address = address("100.64.3.4")), Err(E::ExternalInside));
        let prefix = |c: &mut GatewayConfig, text: &str| {
            c.external.truncate(1);
            c.external_prefix = Some(text.parse().expect("a prefix"));
        };
        assert_eq!(check(|c| prefix(c, "2001:db8::/56")), Ok(()));
        assert_eq!(check(|c| prefix(c, "fd77:6562:7475::/64")), Ok(()));
        assert_eq!(check(|c| prefix(c, "2001:db8::/65")), Err(E::Prefix));
        assert_eq!(check(|c| prefix(c, "fd77::/16")), Err(E::Prefix));
        assert_eq!(check(|c| c.external_prefix = Some("2001:db8::/56".parse().expect("a prefix"))), Err(E::Prefix));
        assert_eq!(check(|c| c.inner_v6 = "64:ff9b::/64".parse().expect("a prefix")), Err(E::Pref64));
        assert_eq!(check(|c| c.path_mtu = 1279), Err(E::PathMtu));
        assert_eq!(check(|c| c.message_len = 65_535), Err(E::MessageLen));
        assert_eq!(check(|c| c.unacknowledged = 65_535), Err(E::Window));
        assert_eq!(check(|c| c.ping_interval = Duration::ZERO), Err(E::PingInterval));
        assert_eq!(check(|c| c.nat.block_size = 100), Err(E::BlockSize));
        assert_eq!(check(|c| c.nat.first_port = 1000), Err(E::PortRange));
        assert_eq!(check(|c| c.nat.last_port = c.nat.first_port + 100), Err(E::PortRange));
        let shard = |c: &mut GatewayConfig, ports: [RangeInclusive<u16>; 2]| {
            let slices = ports.map(|ports| Slice { external: c.external.clone(), ports });
            *c = c.shards(&slices)[1].clone();
        };
        assert_eq!(check(|c| shard(c, [16_384..=32_767, 32_768..=65_535])), Ok(()));
        assert_eq!(check(|c| shard(c, [16_384..=32_768, 32_768..=65_535])), Err(E::Shards));
        assert_eq!(check(|c| c.shard.index = 1), Err(E::Shards));
        let small = |c: &mut GatewayConfig| {
            c.inner_v4 = "10.0.0.0/29".parse().expect("a prefix");
            shard(c, [16_384..=32_767, 32_768..=65_535]);
        };
        assert_eq!(check(small), Err(E::Shards));
        assert_eq!(check(|c| c.nat.timeouts.udp = Duration::from_secs(60)), Err(E::Timeout));
    }
}

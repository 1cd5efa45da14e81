//! What the machine is to be set up for: a device per shard, and which addresses and ports belong to it.

use super::EgressOffload;
use crate::config::{Addresses, Config, ExternalMode, Family, PortRange};
use crate::dataplane::{ExternalAddress, GatewayConfig, ShardConfig, Slice};
use ipnet::Ipv6Net;
use std::fmt::Write;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// See the module.
#[derive(Clone, Debug)]
pub(super) struct Plan {
    pub mode: ExternalMode,
    /// One per shard.
    pub devices: Vec<Device>,
    /// Routed in every mode.
    pub ipv6_prefix: Option<Ipv6Net>,
    /// Of all devices.
    pub ports: PortRange,
    /// Spared from the port range.
    pub listen_port: u16,
}

/// A device, and what is the shard's behind it.
#[derive(Clone, Debug)]
pub(super) struct Device {
    pub name: String,
    pub ipv4: Vec<OnDevice<Ipv4Addr>>,
    pub ipv6: Vec<OnDevice<Ipv6Addr>>,
    /// Its part of the prefix; the first one's is the whole, in which those of the others are more specific.
    pub ipv6_prefix: Option<Ipv6Net>,
    pub ports: PortRange,
}

/// An address of the NAT on a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct OnDevice<A> {
    /// Its place among those that are configured.
    pub place: usize,
    pub address: A,
    /// The machine's address that the kernel translates it to; `None`: the one that the route asks for, or none in mode
    /// `routed`.
    pub machine: Option<A>,
}

impl Plan {
    pub(super) fn new(config: &Config, shards: usize, has_ipv6: bool, listen_port: u16) -> Self {
        let external = &config.external;
        let prefix = external.ipv6_prefix.filter(|_| has_ipv6).map(|prefix| prefix.trunc());
        let translated = if has_ipv6 && prefix.is_none() { &external.ipv6 } else { &Addresses::OFF };
        let v4 = on_devices(&external.ipv4, &external.machine_ipv4, external.mode, shards);
        let v6 = on_devices(translated, &external.machine_ipv6, external.mode, shards);
        let prefixes = prefix_parts(config, prefix, shards);
        let ports = port_parts(config, shards);
        let devices = v4.into_iter().zip(v6).zip(prefixes).zip(ports).enumerate();
        let devices = devices.map(|(index, (((ipv4, ipv6), ipv6_prefix), ports))| Device {
            name: config.device_name(index),
            ipv4,
            ipv6,
            ipv6_prefix,
            ports,
        });
        Self {
            mode: external.mode,
            devices: devices.collect(),
            ipv6_prefix: prefix,
            ports: external.port_range,
            listen_port,
        }
    }

    pub(super) fn has_ipv6(&self) -> bool {
        self.ipv6_prefix.is_some() || self.devices.iter().any(|device| !device.ipv6.is_empty())
    }

    pub(super) fn has_ipv4(&self) -> bool {
        self.devices.iter().any(|device| !device.ipv4.is_empty())
    }

    /// The names of the devices, as a value of nft.
    pub(super) fn names(&self) -> String {
        let mut names = String::new();
        for device in &self.devices {
            let separator = if names.is_empty() { "" } else { ", " };
            let written = write!(names, "{separator}\"{}\"", device.name);
            debug_assert!(written.is_ok(), "writing to a String does not fail");
        }
        if self.devices.len() == 1 { names } else { format!("{{ {names} }}") }
    }

    pub(super) fn has_device(&self, name: &str) -> bool {
        self.devices.iter().any(|device| device.name == name)
    }

    /// The addresses of the machine's own end of the devices: those after the external ones. Only what is not routed needs
    /// them.
    pub(super) fn host_side(&self) -> Vec<IpAddr> {
        if self.mode == ExternalMode::Routed {
            return Vec::new();
        }
        // Those of further shards come behind it.
        let Some(first) = self.devices.first() else { return Vec::new() };
        address_after(&first.ipv4).into_iter().chain(address_after(&first.ipv6)).collect()
    }

    /// What each shard has on the outside, where `announced` says what that makes of an address of the first one's, or of its
    /// own in mode `routed`.
    pub(super) fn slices(&self, announced: [&[IpAddr]; 2]) -> Vec<Slice> {
        let external = |it: (usize, IpAddr), names: &[IpAddr]| ExternalAddress {
            address: it.1,
            announced: names.get(it.0).copied().unwrap_or(it.1),
        };
        let slice = |device: &Device| {
            let v4 = device.ipv4.iter().map(|it| external((it.place, it.address.into()), announced[0]));
            let v6 = device.ipv6.iter().map(|it| external((it.place, it.address.into()), announced[1]));
            Slice { external: v4.chain(v6).collect(), ports: device.ports.first..=device.ports.last }
        };
        self.devices.iter().map(slice).collect()
    }
}

impl Device {
    /// The NAT's addresses, with the machine's.
    pub(super) fn addresses(&self) -> impl Iterator<Item = (IpAddr, Option<IpAddr>)> {
        let v4 = self.ipv4.iter().map(|it| (it.address.into(), it.machine.map(IpAddr::V4)));
        v4.chain(self.ipv6.iter().map(|it| (it.address.into(), it.machine.map(IpAddr::V6))))
    }
}

/// When routed, each shard has a part of the addresses. When masquerading, each has its own addresses for all of them, and a
/// part of the ports: the kernel tells by the port whose a packet is, and routes by the address that it gives it then.
fn on_devices<A: Family>(
    addresses: &Addresses<A>,
    machine: &Addresses<A>,
    mode: ExternalMode,
    shards: usize,
) -> Vec<Vec<OnDevice<A>>> {
    let machine = machine.as_slice().iter().copied().map(Some).chain(std::iter::repeat(None));
    let whole = addresses.as_slice().iter().zip(machine).enumerate();
    let whole: Vec<_> = whole.map(|(place, (&address, machine))| OnDevice { place, address, machine }).collect();
    if mode == ExternalMode::Routed {
        let start = |shard: usize| shard * whole.len() / shards;
        return (0..shards).map(|shard| whole[start(shard)..start(shard + 1)].to_vec()).collect();
    }
    // The one after the highest is the machine's own.
    let mut last = whole.iter().map(|it| it.address).max().map(A::next);
    let mut next = || {
        last = last.map(A::next);
        last
    };
    let mut all = vec![whole.clone()];
    for _ in 1..shards {
        let renamed = whole.iter().filter_map(|it| Some(OnDevice { address: next()?, ..*it }));
        all.push(renamed.collect());
    }
    all
}

/// The address after all of them.
fn address_after<A: Family>(on_device: &[OnDevice<A>]) -> Option<IpAddr> {
    on_device.iter().map(|it| it.address).max().map(|last| last.next().into())
}

fn port_parts(config: &Config, shards: usize) -> Vec<PortRange> {
    let range = config.external.port_range;
    if shards == 1 || config.external.mode == ExternalMode::Routed {
        return vec![range; shards];
    }
    let block = u32::from(config.nat.block_size);
    let size = range.count() / block / u32::try_from(shards).unwrap_or(u32::MAX) * block;
    let port = |number: u32| u16::try_from(number).unwrap_or(u16::MAX);
    let part = |(shard, first): (usize, u32)| PortRange {
        first: port(first),
        last: if shard + 1 == shards { range.last } else { port(first + size - 1) },
    };
    (0..shards).zip((u32::from(range.first)..).step_by(size.max(1) as usize)).map(part).collect()
}

fn prefix_parts(config: &Config, prefix: Option<Ipv6Net>, shards: usize) -> Vec<Option<Ipv6Net>> {
    let empty = Slice { external: Vec::new(), ports: 1024..=u16::MAX };
    let whole = GatewayConfig {
        inner_v4: config.inner.ipv4,
        inner_v6: config.inner.ipv6,
        external_prefix: prefix,
        egress_offload: EgressOffload::None,
        shard: ShardConfig { index: 0, slices: vec![empty; shards] },
        ..GatewayConfig::new(Vec::new())
    };
    (0..shards).map(|shard| if shard == 0 { prefix } else { whole.shard_prefix(shard) }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(change: impl FnOnce(&mut Config), shards: usize) -> Plan {
        let mut config = Config::default();
        change(&mut config);
        Plan::new(&config, shards, true, 8077)
    }

    fn ipv4(plan: &Plan) -> Vec<Vec<Ipv4Addr>> {
        plan.devices.iter().map(|device| device.ipv4.iter().map(|it| it.address).collect()).collect()
    }

    #[test]
    fn masquerading_shards_share_an_address_by_its_ports() {
        let plan = plan(|_| {}, 3);
        let names: Vec<_> = plan.devices.iter().map(|device| device.name.as_str()).collect();
        assert_eq!(names, ["webtun0", "webtun0-1", "webtun0-2"]);
        assert_eq!(plan.names(), "{ \"webtun0\", \"webtun0-1\", \"webtun0-2\" }");
        let address = |last| Ipv4Addr::new(100, 127, 255, last);
        assert_eq!(ipv4(&plan), [[address(1)], [address(3)], [address(4)]]);
        assert_eq!(plan.host_side()[0], IpAddr::V4(address(2)));
        let ports: Vec<_> = plan.devices.iter().map(|device| device.ports.to_string()).collect();
        assert_eq!(ports, ["16384-32767", "32768-49151", "49152-65535"]);
        let seen = [IpAddr::from([192, 0, 2, 7])];
        for slice in plan.slices([&seen, &[]]) {
            assert_eq!(slice.external[0].announced, seen[0]);
        }
    }

    #[test]
    fn what_is_left_of_the_ports_is_the_last_ones() {
        let range = PortRange { first: 20_000, last: 20_999 };
        let plan = plan(|config| config.external.port_range = range, 2);
        let ports: Vec<_> = plan.devices.iter().map(|device| device.ports.to_string()).collect();
        assert_eq!(ports, ["20000-20383", "20384-20999"]);
    }

    #[test]
    fn routed_shards_have_addresses_of_their_own_and_parts_of_a_prefix() {
        let plan = plan(
            |config| {
                config.external.mode = ExternalMode::Routed;
                config.external.ipv4 = serde_json::from_str("\"198.51.100.0/30\"").expect("a pool");
                config.external.ipv6_prefix = "2001:db8:7:1::/64".parse().ok();
            },
            3,
        );
        let address = |last| Ipv4Addr::new(198, 51, 100, last);
        assert_eq!(ipv4(&plan), [vec![address(0)], vec![address(1)], vec![address(2), address(3)]]);
        assert!(plan.devices.iter().all(|device| device.ports == plan.ports));
        let prefixes: Vec<_> = plan.devices.iter().filter_map(|device| device.ipv6_prefix).collect();
        assert_eq!(prefixes[0].to_string(), "2001:db8:7:1::/64");
        assert_eq!(prefixes[1].prefix_len(), 114, "a quarter of 2^16 hosts");
        assert!(prefixes.iter().all(|prefix| prefixes[0].contains(prefix)) && prefixes[1] != prefixes[2]);
    }
}

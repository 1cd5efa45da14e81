//! What an unprivileged process can find out about its machine, and does to itself.

use super::super::machine::source_of_default_route;
use super::super::{EgressOffload, Surroundings, announced};
use super::super::{Plan, SetupError};
use crate::config::{Config, ExternalMode};
use crate::dataplane::OwnAddresses;
use nix::ifaddrs::{InterfaceAddress, getifaddrs};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::sys::socket::SockaddrStorage;
use std::io;
use std::net::IpAddr;

/// Nothing is forwarded, so nothing has to fit a link: the kernel cuts streams, and fragments datagrams.
const PATH_MTU: u16 = u16::MAX;

/// Looks around for the `user` egress.
///
/// # Errors
/// [`SetupError::NotByUser`] where something is configured that takes a TUN device, else where the system does not tell its
/// addresses.
pub(in crate::io::egress) fn survey(config: &Config, plan: &Plan) -> Result<Surroundings, SetupError> {
    check(config)?;
    raise_descriptors();
    let own = own_addresses().map_err(SetupError::Addresses)?;
    let external = &config.external;
    let is_global = |address: &&IpAddr| crate::io::dial::check(**address).is_ok();
    let any = |ipv6: bool| own.hosts.iter().filter(is_global).find(|it| it.is_ipv6() == ipv6).copied();
    let found = |ipv6: bool| source_of_default_route(ipv6).or_else(|| any(ipv6));
    let v4 = announced([&external.ipv4, &external.machine_ipv4, &external.announced_ipv4], || found(false));
    let v6 = announced([&external.ipv6, &external.machine_ipv6, &external.announced_ipv6], || found(true));
    Ok(Surroundings {
        slices: plan.slices([&v4, &v6]),
        prefix: None,
        own,
        path_mtu: PATH_MTU,
        offload: EgressOffload::Tcp,
    })
}

fn check(config: &Config) -> Result<(), SetupError> {
    let external = &config.external;
    let needs = [
        ("external.mode", external.mode == ExternalMode::Routed),
        ("external.ipv6_prefix", external.ipv6_prefix.is_some()),
        ("external.machine_ipv4", !external.machine_ipv4.is_off()),
        ("external.machine_ipv6", !external.machine_ipv6.is_off()),
        ("external.ipv4", external.ipv4.as_slice().len() > 1),
        ("external.ipv6", external.ipv6.as_slice().len() > 1),
    ];
    match needs.into_iter().find(|(_, takes_tun)| *takes_tun) {
        Some((key, _)) => Err(SetupError::NotByUser { key }),
        None => Ok(()),
    }
}

/// The addresses of this machine as they are at the moment.
///
/// # Errors
/// The system's word.
pub fn own_addresses() -> io::Result<OwnAddresses> {
    Ok(collect(getifaddrs()?))
}

fn collect(interfaces: impl IntoIterator<Item = InterfaceAddress>) -> OwnAddresses {
    let mut own = OwnAddresses::default();
    for interface in interfaces {
        let host = interface.address.as_ref().and_then(address);
        own.hosts.extend(host);
        // Where there is none, glibc tells of the address itself.
        let broadcast = interface.broadcast.as_ref().and_then(address).filter(|it| Some(*it) != host);
        if let Some(IpAddr::V4(broadcast)) = broadcast {
            own.broadcasts.insert(broadcast);
        }
        let mask = interface.netmask.as_ref().and_then(address);
        if let (Some(IpAddr::V4(v4)), Some(IpAddr::V4(mask))) = (host, mask)
            && mask.to_bits().count_ones() < 31
        {
            // As the kernel has it whatever is set (RFC 1122 section 3.2.1.3).
            own.broadcasts.insert(v4 | !mask);
        }
    }
    own
}

fn address(storage: &SockaddrStorage) -> Option<IpAddr> {
    let v4 = storage.as_sockaddr_in().map(|it| it.ip().into());
    v4.or_else(|| storage.as_sockaddr_in6().map(|it| it.ip().into()))
}

/// A connection takes a descriptor. What the system lets everybody have by default is 1,024 of them, and more on request.
fn raise_descriptors() {
    let raised = getrlimit(Resource::RLIMIT_NOFILE)
        .and_then(|(soft, hard)| if soft < hard { setrlimit(Resource::RLIMIT_NOFILE, hard, hard) } else { Ok(()) });
    if let Err(error) = raised {
        tracing::debug!(%error, "no more descriptors than before");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_machine_has_its_loopback_address_at_least() {
        let own = own_addresses().expect("addresses");
        assert!(own.hosts.contains(&IpAddr::from([127, 0, 0, 1])), "{own:?}");
    }

    #[test]
    fn an_address_is_no_broadcast_of_its_own() {
        let storage = |text: &str| Some(text.parse::<std::net::SocketAddrV4>().expect("an endpoint").into());
        let interface = InterfaceAddress {
            interface_name: "eth0".into(),
            flags: nix::net::if_::InterfaceFlags::IFF_BROADCAST,
            address: storage("198.18.0.1:0"),
            netmask: storage("255.255.255.0:0"),
            broadcast: storage("198.18.0.1:0"),
            destination: None,
        };
        let own = collect([interface]);
        assert_eq!(own.hosts.into_iter().collect::<Vec<_>>(), [IpAddr::from([198, 18, 0, 1])]);
        assert_eq!(own.broadcasts.into_iter().collect::<Vec<_>>(), [std::net::Ipv4Addr::new(198, 18, 0, 255)]);
    }
}

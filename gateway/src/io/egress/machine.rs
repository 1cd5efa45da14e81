//! What this machine's network looks like from the outside.

use super::SetupError;
use super::command::run;
use crate::dataplane::OwnAddresses;
use ipnet::Ipv4Net;
use serde::Deserialize;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};

/// The MTU that is assumed where the machine has no way to the outside.
const ETHERNET_MTU: u32 = 1500;

#[derive(Debug, Deserialize)]
struct Link {
    ifname: String,
    #[serde(default)]
    mtu: u32,
    #[serde(default)]
    addr_info: Vec<Address>,
}

#[derive(Debug, Deserialize)]
struct Address {
    local: Option<IpAddr>,
    broadcast: Option<Ipv4Addr>,
    #[serde(default)]
    prefixlen: u8,
    scope: Option<String>,
}

impl Address {
    /// As set, and as the kernel has it whatever is set (RFC 1122 section 3.2.1.3).
    fn broadcasts(&self) -> impl Iterator<Item = Ipv4Addr> {
        let implied = match self.local {
            Some(IpAddr::V4(v4)) if self.prefixlen < 31 => Ipv4Net::new(v4, self.prefixlen).ok(),
            _ => None,
        };
        self.broadcast.into_iter().chain(implied.map(|net| net.broadcast()))
    }
}

impl Link {
    fn global_addresses(&self) -> impl Iterator<Item = IpAddr> {
        self.addr_info.iter().filter(|it| it.scope.as_deref() == Some("global")).filter_map(|it| it.local)
    }
}

#[derive(Debug, Deserialize)]
struct Route {
    dev: Option<String>,
}

/// The machine's network.
#[derive(Debug)]
pub(super) struct Machine {
    /// But the TUN devices and loopback.
    links: Vec<Link>,
    own: OwnAddresses,
    default_links: Vec<String>,
}

impl Machine {
    /// Asks `ip`. `is_ours` says which links are TUN devices of the gateway.
    pub(super) fn look(is_ours: impl Fn(&str) -> bool) -> Result<Self, SetupError> {
        let unreadable = |error: serde_json::Error| SetupError::Command { program: "ip", message: error.to_string() };
        let ask = |arguments: &[&str]| run("ip", arguments, "");
        let text = ask(&["-json", "address", "show"])?;
        let mut links: Vec<Link> = serde_json::from_str(&text).map_err(unreadable)?;
        let addresses = || links.iter().flat_map(|link| &link.addr_info);
        let own = OwnAddresses {
            hosts: addresses().filter_map(|address| address.local).collect(),
            broadcasts: addresses().flat_map(Address::broadcasts).collect(),
        };
        links.retain(|link| !is_ours(&link.ifname) && link.ifname != "lo");
        let mut default_links = Vec::new();
        for family in ["-4", "-6"] {
            let text = ask(&["-json", family, "route", "show", "default"])?;
            let routes: Vec<Route> =
                if text.trim().is_empty() { Vec::new() } else { serde_json::from_str(&text).map_err(unreadable)? };
            default_links.extend(routes.into_iter().filter_map(|route| route.dev));
        }
        Ok(Self { links, own, default_links })
    }

    /// Every address, also those of loopback and the TUN devices.
    pub(super) fn own(&self) -> OwnAddresses {
        self.own.clone()
    }

    /// Every global address.
    fn addresses(&self) -> Vec<IpAddr> {
        self.links.iter().flat_map(Link::global_addresses).collect()
    }

    /// The address that the outside sees: the source that the kernel chooses for the default route, or, without such a
    /// route, the first global one.
    pub(super) fn primary(&self, ipv6: bool) -> Option<IpAddr> {
        source_of_default_route(ipv6).or_else(|| self.addresses().into_iter().find(|it| it.is_ipv6() == ipv6))
    }

    /// The smallest MTU of the links with a default route, or, without such a route, of all links with a global address.
    pub(super) fn path_mtu(&self) -> u16 {
        let leads_out = |link: &&Link| {
            if self.default_links.is_empty() {
                link.global_addresses().next().is_some()
            } else {
                self.default_links.contains(&link.ifname)
            }
        };
        let mtu = self.links.iter().filter(leads_out).map(|link| link.mtu).min().unwrap_or(ETHERNET_MTU);
        u16::try_from(mtu).unwrap_or(u16::MAX).max(1280)
    }
}

/// Connecting a UDP socket sends nothing, but makes the kernel choose the source address.
pub(super) fn source_of_default_route(ipv6: bool) -> Option<IpAddr> {
    // Any address of the world will do; these are the root server A's.
    let (local, remote): (IpAddr, IpAddr) = if ipv6 {
        (Ipv6Addr::UNSPECIFIED.into(), Ipv6Addr::new(0x2001, 0x503, 0xba3e, 0, 0, 0, 2, 0x30).into())
    } else {
        (Ipv4Addr::UNSPECIFIED.into(), Ipv4Addr::new(198, 41, 0, 4).into())
    };
    let socket = UdpSocket::bind(SocketAddr::new(local, 0)).ok()?;
    socket.connect(SocketAddr::new(remote, 53)).ok()?;
    let address = socket.local_addr().ok()?.ip();
    (!address.is_unspecified() && !address.is_loopback()).then_some(address)
}

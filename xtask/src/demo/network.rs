//! The playground's network: a namespace, joined to ours by a pair of virtual Ethernet devices.
//!
//! The addresses are those for benchmarks (RFC 2544 and RFC 5180), which nobody uses for anything else.

use std::net::IpAddr;

use crate::Result;
use crate::command::Command;

/// The namespace with the playground's servers.
pub const NAMESPACE: &str = "webtun-play";
/// Our end of the pair.
const DEVICE: &str = "wtplay0";
/// What the gateway must be told to allow: these addresses are not global unicast.
pub const PREFIXES: [&str; 2] = ["198.18.0.0/15", "2001:2::/48"];

/// The network while it exists. Dropping it removes all of it.
pub struct Network {
    ipv6: bool,
}

impl Network {
    /// Removes what an earlier run left, and makes it anew.
    pub fn create() -> Result<Self> {
        remove();
        let network = Self { ipv6: std::path::Path::new("/proc/sys/net/ipv6").exists() };
        network.set_up()?;
        Ok(network)
    }

    fn set_up(&self) -> Result {
        ip(&format!("netns add {NAMESPACE}"))?;
        ip(&format!("link add {DEVICE} type veth peer name eth0 netns {NAMESPACE}"))?;
        ip(&format!("address add 198.18.0.1/24 dev {DEVICE}"))?;
        ip(&format!("-n {NAMESPACE} address add 198.18.0.2/24 dev eth0"))?;
        if self.ipv6 {
            // No duplicate address detection: the servers can bind at once, and no link-local address comes a second later,
            // at which Chromium would give up the page that it is loading (ERR_NETWORK_CHANGED).
            let now = |device| format!("echo 0 > /proc/sys/net/ipv6/conf/{device}/accept_dad");
            Command::new("sh").args(["-c", &now(DEVICE)]).output()?;
            in_namespace(&now("eth0"))?;
            ip(&format!("address add 2001:2::1/64 dev {DEVICE}"))?;
            ip(&format!("-n {NAMESPACE} address add 2001:2::2/64 dev eth0"))?;
        }
        ip(&format!("-n {NAMESPACE} link set lo up"))?;
        ip(&format!("-n {NAMESPACE} link set eth0 up"))?;
        ip(&format!("link set {DEVICE} up"))?;
        self.set_up_errors()
    }

    /// The namespace is a router without routes: it reports that it has none. What it is told to swallow vanishes
    /// without a word.
    fn set_up_errors(&self) -> Result {
        in_namespace("echo 1 > /proc/sys/net/ipv4/ip_forward")?;
        ip(&format!("-n {NAMESPACE} route add blackhole 198.18.1.0/24"))?;
        ip(&format!("route add 198.18.1.0/24 via 198.18.0.2 dev {DEVICE}"))?;
        ip(&format!("route add 198.18.2.0/24 via 198.18.0.2 dev {DEVICE}"))?;
        if self.ipv6 {
            in_namespace("echo 1 > /proc/sys/net/ipv6/conf/all/forwarding")?;
            ip(&format!("-n {NAMESPACE} -6 route add blackhole 2001:2:0:1::/64"))?;
            ip(&format!("-6 route add 2001:2:0:1::/64 via 2001:2::2 dev {DEVICE}"))?;
            ip(&format!("-6 route add 2001:2:0:2::/64 via 2001:2::2 dev {DEVICE}"))?;
        }
        Ok(())
    }

    /// The addresses of the playground.
    pub fn playground(&self) -> Vec<IpAddr> {
        self.families(&["198.18.0.2", "2001:2::2"])
    }

    /// Names beside the fixed ones: the gateway's external address as the playground sees it, one from which nothing
    /// comes back, one that the gateway's kernel reports as unreachable because no host has it, and one in a network to
    /// which a router on the way has no route.
    pub fn names(&self) -> Vec<(&'static str, IpAddr)> {
        let names = [
            ("host", ["198.18.0.1", "2001:2::1"]),
            ("blackhole", ["198.18.1.1", "2001:2:0:1::1"]),
            ("unreachable", ["198.18.0.99", "2001:2::99"]),
            ("noroute", ["198.18.2.1", "2001:2:0:2::1"]),
        ];
        names
            .into_iter()
            .flat_map(|(name, texts)| self.families(&texts).into_iter().map(move |at| (name, at)))
            .collect()
    }

    fn families(&self, texts: &[&str]) -> Vec<IpAddr> {
        texts.iter().filter_map(|text| text.parse().ok()).filter(|at: &IpAddr| self.ipv6 || at.is_ipv4()).collect()
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        remove();
    }
}

/// The devices and routes go with the namespace, once no process is left in it.
fn remove() {
    let Ok(pids) = Command::line("ip netns pids").args([NAMESPACE]).output() else { return };
    for pid in pids.split_ascii_whitespace().filter_map(|pid| pid.parse().ok()) {
        let _ = nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), nix::sys::signal::Signal::SIGKILL);
    }
    let _ = ip(&format!("netns delete {NAMESPACE}"));
    // The kernel takes the namespace down in the background; the name must be free before it is used again.
    let _ = ip(&format!("link delete {DEVICE}"));
}

fn in_namespace(line: &str) -> Result {
    Command::line(&format!("ip netns exec {NAMESPACE} sh -c")).args([line]).output().map(drop)
}

fn ip(arguments: &str) -> Result {
    Command::line(&format!("ip {arguments}")).output().map(drop)
}

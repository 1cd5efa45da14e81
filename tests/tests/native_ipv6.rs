//! A kernel that has nothing but IPv6 and the tunnel: IPv4 by NAT64 and DNS64, and IPv6 by a routed prefix.

use std::fs;
use std::path::PathBuf;

use webtun_tests::lab::{Attached, IPV4_NAME, Lab, REMOTE};
use webtun_tests::netns::Netns;

const PREFIX: &str = "wt-six";
const DEVICE: &str = "webtun-c0";
/// The remote's IPv4 address below a prefix of our own: the well-known one stands for global addresses alone.
const EMBEDDED: &str = "fd00:64::c612:2";
const NAMESERVER: &str = "fd77:6562:7475::1";

/// The name servers of a namespace, as `ip netns exec` puts them in place.
struct ResolvConf(PathBuf);

impl ResolvConf {
    fn new(netns: &Netns, address: &str) -> Self {
        let folder = PathBuf::from("/etc/netns").join(netns.name());
        fs::create_dir_all(&folder).expect("root may write there");
        fs::write(folder.join("resolv.conf"), format!("nameserver {address}\n")).expect("root may write there");
        Self(folder)
    }
}

impl Drop for ResolvConf {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// A client whose kernel has no IPv4 at all on the tunnel.
fn ipv6_only() -> Option<(Lab, Attached, ResolvConf)> {
    let lab = Lab::start_if_available(PREFIX, &["--set", r#"nat64.prefix="fd00:64::/96""#])?;
    for netns in [&lab.gateway, &lab.remote] {
        netns.exec("sysctl", &["-qw", "net.ipv4.icmp_ratelimit=0", "net.ipv6.icmp.ratelimit=0"]);
    }
    let host = format!("{NAMESERVER}/128");
    let attached = lab.attach(DEVICE, &["--route", "fd00:64::/96", "--route", "2001:2::/48", "--route", &host]);
    lab.client.ip(&["-4", "address", "flush", "dev", DEVICE]);
    let names = ResolvConf::new(&lab.client, NAMESERVER);
    Some((lab, attached, names))
}

#[test]
fn an_ipv6_only_kernel_reaches_an_ipv4_only_host_by_name() {
    let Some((lab, _attached, _names)) = ipv6_only() else { return };
    let client = &lab.client;
    client.exec("ping", &["-6", "-c", "3", "-i", "0.2", "-W", "5", EMBEDDED]);
    let found = client.exec("getent", &["ahostsv6", &format!("{IPV4_NAME}.playground.test")]);
    assert!(found.contains(EMBEDDED), "{found}");
    let url = format!("http://{IPV4_NAME}.playground.test/blob?size=3000000");
    let taken = ["-gsS", "-m", "60", "-o", "/dev/null", "-w", "%{size_download} %{remote_ip}", &url];
    assert_eq!(client.exec("curl", &taken), format!("3000000 {EMBEDDED}"));
    // Who has an IPv6 address keeps it.
    let found = client.exec("getent", &["ahostsv6", "www.playground.test"]);
    assert!(found.contains(REMOTE[1]) && !found.contains("fd00:64"), "{found}");
    let denied = client.output("curl", &["-gsS", "-m", "10", "http://[fd00:64::a51:2]/"]);
    assert!(!denied.status.success(), "10.81.0.2 is none of the allowed addresses");
}

#[test]
fn tools_find_the_way_and_its_mtu_through_nat64() {
    let Some((lab, _attached, _names)) = ipv6_only() else { return };
    let client = &lab.client;
    let printed = client.exec("traceroute", &["-6", "-n", "-q", "1", "-w", "5", EMBEDDED]);
    // The gateway, the kernel behind it (100.127.255.2), the remote.
    for hop in [NAMESERVER, "fd00:64::647f:ff02", EMBEDDED] {
        assert!(printed.contains(hop), "{hop}\n{printed}");
    }
    let printed = client.exec("tracepath", &["-6", "-n", EMBEDDED]);
    assert!(printed.contains("pmtu 1520") && printed.contains("reached"), "{printed}");
    // The first one may only teach the kernel that.
    client.output("ping", &["-6", "-s", "20000", "-c", "1", "-W", "1", EMBEDDED]);
    let printed = client.exec("ping", &["-6", "-s", "20000", "-c", "4", "-i", "0.2", "-W", "5", EMBEDDED]);
    assert!(printed.contains("4 received, 0% packet loss"), "{printed}");
}

#[test]
fn a_routed_prefix_gives_each_client_an_address_of_its_own() {
    let outer = r#"external.ipv6_prefix="2001:2:0:7::/64""#;
    let translated = &["--set", outer][..];
    let routed = &["--set", outer, "--set", r#"inner.ipv6="2001:2:0:7::/64""#][..];
    for (flags, is_translated) in [(translated, true), (routed, false)] {
        let Some(lab) = Lab::start_if_available(PREFIX, flags) else { return };
        lab.remote.ip(&["route", "add", "2001:2:0:7::/64", "via", "2001:2::1"]);
        let attached = lab.attach(DEVICE, &["--route", "2001:2::/64"]);
        assert_eq!(attached.ipv6.starts_with("fd77:"), is_translated, "{}", attached.ipv6);
        lab.client.exec("ping", &["-6", "-c", "3", "-i", "0.2", "-W", "5", REMOTE[1]]);
        let url = format!("http://[{}]/blob?size=3000000", REMOTE[1]);
        let taken = ["-gsS", "-m", "60", "-o", "/dev/null", "-w", "%{size_download}", &url];
        assert_eq!(lab.client.exec("curl", &taken), "3000000");
        if !is_translated {
            // What the client has not asked for stays out.
            let unasked = lab.remote.output("ping", &["-6", "-c", "1", "-W", "1", &attached.ipv6]);
            assert!(!unasked.status.success());
        }
    }
}

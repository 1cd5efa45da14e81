//! What tools that look at the path itself see of it: hops, sizes, errors. Their packets go through a kernel that is joined
//! to the tunnel.

use webtun_tests::lab::{Attached, Lab, REMOTE};
use webtun_tests::netns;

const PREFIX: &str = "wt-path";
/// The gateway's inner addresses, the kernel behind it, the remote.
const HOPS: [[&str; 3]; 2] =
    [["100.64.0.1", "100.127.255.2", REMOTE[0]], ["fd77:6562:7475::1", "fd77:6562:7475:ffff::2", REMOTE[1]]];
const FAMILIES: [&str; 2] = ["-4", "-6"];

fn lab() -> Option<(Lab, Attached)> {
    if netns::available() {
        let lab = Lab::start(PREFIX, &[]);
        // The kernels on the way limit their errors, which is not the question here.
        for netns in [&lab.gateway, &lab.remote] {
            netns.exec("sysctl", &["-qw", "net.ipv4.icmp_ratelimit=0", "net.ipv6.icmp.ratelimit=0"]);
        }
        let attached = lab.attach("webtun-c0", &[]);
        return Some((lab, attached));
    }
    eprintln!("left out: needs root and /dev/net/tun");
    None
}

/// The addresses in the second column, behind a number of hops.
fn hops(printed: &str) -> Vec<&str> {
    let numbered = printed.lines().filter_map(|line| line.trim_start().split_once(char::is_whitespace));
    let numbered = numbered.filter(|(number, _)| number.trim_end_matches(':').parse::<u8>().is_ok());
    let mut addresses: Vec<_> = numbered.filter_map(|(_, rest)| rest.split_whitespace().next()).collect();
    addresses.dedup();
    addresses
}

#[test]
fn traceroute_sees_every_hop_whatever_it_asks_with() {
    let Some((lab, _attached)) = lab() else { return };
    for (family, expected) in FAMILIES.into_iter().zip(HOPS) {
        for method in [&[][..], &["-I"], &["-T", "-p", "80"], &["-F"]] {
            let target = expected[2];
            let arguments = [&[family, "-n", "-q", "2", "-N", "2", "-w", "5"], method, &[target]].concat();
            let printed = lab.client.exec("traceroute", &arguments);
            assert_eq!(hops(&printed), expected, "{method:?}\n{printed}");
            assert!(!printed.contains('!'), "{printed}");
        }
    }
}

#[test]
fn tracepath_sees_every_hop_and_finds_the_path_mtu() {
    let Some((lab, _attached)) = lab() else { return };
    for (family, expected) in FAMILIES.into_iter().zip(HOPS) {
        let printed = lab.client.exec("tracepath", &[family, "-n", expected[2]]);
        let seen: Vec<_> = hops(&printed).into_iter().filter(|hop| hop.contains([':', '.'])).collect();
        assert_eq!(seen, expected, "{printed}");
        assert!(printed.contains("reached") && printed.contains("pmtu 1500"), "{printed}");
    }
}

#[test]
fn echoes_far_above_the_path_mtu_come_back_whole() {
    let Some((lab, _attached)) = lab() else { return };
    for (family, expected) in FAMILIES.into_iter().zip(HOPS) {
        for target in [expected[0], expected[2]] {
            if target == expected[0] {
                lab.client.ip(&["route", "add", target, "dev", "webtun-c0"]);
            }
            // The first one is told what fits (RFC 1191, RFC 8201): a kernel neither lets routers cut IPv4 nor can it for IPv6.
            lab.client.output("ping", &[family, "-s", "20000", "-c", "1", "-W", "1", target]);
            let printed = lab.client.exec("ping", &[family, "-s", "20000", "-c", "5", "-i", "0.2", "-W", "5", target]);
            assert!(printed.contains("5 received, 0% packet loss"), "{printed}");
            assert!(printed.contains(&format!("20008 bytes from {target}")), "{printed}");
        }
    }
}

#[test]
fn a_narrower_hop_behind_the_gateway_is_found() {
    let Some((lab, _attached)) = lab() else { return };
    for (netns, device) in [(&lab.gateway, "outside"), (&lab.remote, "eth0")] {
        netns.ip(&["link", "set", device, "mtu", "1300"]);
    }
    for host in [REMOTE[0].to_owned(), format!("[{}]", REMOTE[1])] {
        let url = format!("http://{host}/blob?size=300000");
        let taken = ["-gsS", "-m", "30", "-o", "/dev/null", "-w", "%{size_download}", &url];
        assert_eq!(lab.client.exec("curl", &taken), "300000");
    }
    lab.client.exec("ping", &["-s", "4000", "-c", "3", "-i", "0.2", "-W", "5", REMOTE[0]]);
}

//! Ports mapped by foreign programs behind a kernel that is joined to the tunnel: `natpmpc` (NAT-PMP, RFC 6886), and PCP
//! over IPv6 (RFC 6887) octet by octet, for which no such program is packaged.

use std::process::{Child, Stdio};
use std::time::Duration;
use webtun_tests::lab::{Attached, Lab, OUTSIDE};

const PREFIX: &str = "wt-pmap";
const INNER: [&str; 2] = ["100.64.0.1", "fd77:6562:7475::1"];
const OUTSIDE_V6: &str = "2001:2::1";
/// The well-known prefix does not stand for the remote, whose address is for tests alone.
const NAT64: &str = "fd77:6562:7475:64::/96";

fn lab() -> Option<(Lab, Attached)> {
    let nat64 = format!("nat64.prefix={NAT64:?}");
    let lab = Lab::start_if_available(PREFIX, &["--set", &nat64])?;
    let routes = ["198.18.0.0/24", "2001:2::/48", NAT64, "100.64.0.1/32", "fd77:6562:7475::1/128"];
    let flags: Vec<_> = routes.iter().flat_map(|route| ["--route", route]).collect();
    let attached = lab.attach("webtun-c0", &flags);
    Some((lab, attached))
}

/// What `natpmpc` says.
fn natpmpc(lab: &Lab, arguments: &[&str]) -> String {
    lab.client.exec("timeout", &[&["30", "natpmpc", "-g", INNER[0]], arguments].concat())
}

/// The public port and the lifetime that `natpmpc` has got for this local one.
fn mapped(printed: &str, protocol: &str, local: u16) -> (u16, u32) {
    let line = printed.lines().find_map(|line| line.strip_prefix("Mapped public port "));
    let line = line.unwrap_or_else(|| panic!("{printed}"));
    let (port, rest) = line.split_once(' ').expect("a port");
    let words = format!("protocol {protocol} to local port {local} l");
    assert!(rest.starts_with(&words), "{printed}");
    let lifetime = rest.rsplit(' ').next().and_then(|number| number.parse().ok());
    (port.parse().expect("a port"), lifetime.unwrap_or_else(|| panic!("{printed}")))
}

/// `nc` in the client's namespace, listening with these flags; `ss` is how that shows.
fn listen(lab: &Lab, flags: &[&str], local: u16, ss: &str) -> Child {
    let mut listen = lab.client.command("timeout");
    listen.args(["15", "nc", "-l"]).args(flags).arg(local.to_string()).stdout(Stdio::piped()).stdin(Stdio::null());
    let listener = listen.spawn().expect("nc runs");
    for _ in 0..200 {
        if !lab.client.exec("ss", &[ss, &format!("sport = {local}")]).is_empty() {
            break;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    listener
}

fn heard(listener: Child) -> String {
    String::from_utf8_lossy(&listener.wait_with_output().expect("it ends").stdout).into_owned()
}

/// What arrives at the client's `local` TCP port when the remote connects to `address` and `port` and says hello.
fn connect(lab: &Lab, family: &str, local: u16, (address, port): (&str, u16)) -> String {
    let listener = listen(lab, &[family], local, "-Hlnt");
    let say = format!("echo hello | nc -N -w 4 {address} {port}");
    lab.remote.output("sh", &["-c", &say]);
    // Where nothing has come it still listens.
    let end = format!("ss -Hlnt 'sport = {local}' | grep -q . && exec 3<>/dev/tcp/localhost/{local}; true");
    lab.client.exec("bash", &["-c", &end]);
    heard(listener)
}

/// What arrives at the client's `local` UDP port when the remote says hello.
fn datagram(lab: &Lab, local: u16, port: u16) -> String {
    let listener = listen(lab, &["-4", "-u", "-W", "1"], local, "-Hlnu");
    lab.remote.exec("sh", &["-c", &format!("echo hello | nc -u -w 1 {OUTSIDE} {port}")]);
    heard(listener)
}

#[test]
fn natpmpc_maps_renews_and_deletes_ports() {
    let Some((lab, _attached)) = lab() else { return };
    let address = format!("Public IP address : {OUTSIDE}");
    assert!(natpmpc(&lab, &[]).contains(&address), "the public address");

    let (port, lifetime) = mapped(&natpmpc(&lab, &["-a", "0", "8000", "tcp", "600"]), "TCP", 8000);
    assert_eq!(lifetime, 600);
    assert_eq!(connect(&lab, "-4", 8000, (OUTSIDE, port)), "hello\n", "a stranger's connection arrives");
    let wanted = port.to_string();
    assert_eq!(mapped(&natpmpc(&lab, &["-a", &wanted, "8000", "tcp", "900"]), "TCP", 8000), (port, 900), "renewed");
    assert_eq!(connect(&lab, "-4", 8000, (OUTSIDE, port)), "hello\n");

    let (udp, _) = mapped(&natpmpc(&lab, &["-a", "0", "8000", "udp", "600"]), "UDP", 8000);
    assert_eq!(datagram(&lab, 8000, udp), "hello\n", "a stranger's datagram arrives");

    let (unused, _) = mapped(&natpmpc(&lab, &["-a", "0", "8001", "tcp", "600"]), "TCP", 8001);
    assert_eq!(mapped(&natpmpc(&lab, &["-a", "0", "8001", "tcp", "0"]), "TCP", 8001), (0, 0), "deleted");
    assert_eq!(connect(&lab, "-4", 8001, (OUTSIDE, unused)), "", "nobody gets in any more");
}

/// A MAP request for a TCP port, without options (RFC 6887 section 11.1).
fn map_request(client: &str, port: u16, suggested: [u8; 16]) -> Vec<u8> {
    let client: std::net::Ipv6Addr = client.parse().expect("an IPv6 address");
    let mut request = vec![2, 1, 0, 0];
    request.extend(600_u32.to_be_bytes());
    request.extend(client.octets());
    request.extend([7; 12]);
    request.extend([6, 0, 0, 0]);
    request.extend(port.to_be_bytes());
    request.extend([0, 0]);
    request.extend(suggested);
    request
}

/// The external port, which must be at this address.
fn map_over_ipv6(lab: &Lab, request: &[u8], address: [u8; 16]) -> u16 {
    let escaped: String = request.iter().map(|octet| format!("\\{octet:03o}")).collect();
    let ask = format!("printf '{escaped}' | nc -u -w 3 {} 5351", INNER[1]);
    let answer = lab.client.output("sh", &["-c", &ask]).stdout;
    assert_eq!(answer.len(), 60, "{answer:?}");
    assert_eq!((answer[..4].to_vec(), &answer[44..]), (vec![2, 0x81, 0, 0], &address[..]), "{answer:?}");
    assert_eq!(answer[24..36], [7; 12], "the nonce");
    u16::from_be_bytes([answer[42], answer[43]])
}

#[test]
fn an_ipv6_client_maps_ports_of_both_families() {
    let Some((lab, attached)) = lab() else { return };
    let v6: std::net::Ipv6Addr = OUTSIDE_V6.parse().expect("an address");
    let port = map_over_ipv6(&lab, &map_request(&attached.ipv6, 8002, [0; 16]), v6.octets());
    assert_eq!(connect(&lab, "-6", 8002, (OUTSIDE_V6, port)), "hello\n");

    let v4: std::net::Ipv4Addr = OUTSIDE.parse().expect("an address");
    let anywhere = std::net::Ipv4Addr::UNSPECIFIED.to_ipv6_mapped().octets();
    let port = map_over_ipv6(&lab, &map_request(&attached.ipv6, 8003, anywhere), v4.to_ipv6_mapped().octets());
    assert_eq!(connect(&lab, "-6", 8003, (OUTSIDE, port)), "hello\n", "by NAT64");
}

//! The NAT as coturn's `turnutils_natdiscovery` sees it (RFC 5780), through a kernel that is joined to the tunnel.

use webtun_tests::lab::{Attached, Lab, OUTSIDE};
use webtun_tests::netns;
use webtun_tests::process::Daemon;

const PREFIX: &str = "wt-disc";
const DEVICE: &str = "webtun-c0";
/// The STUN server's addresses: it answers from the one that was not asked, where a test wants that.
const SERVER: [&str; 2] = ["198.18.0.2", "198.18.0.3"];

/// A gateway with this filtering, a STUN server and a session.
struct Setup {
    attached: Attached,
    _server: Daemon,
    lab: Lab,
}

impl Setup {
    fn new(filtering: &str, flags: &[&str]) -> Option<Self> {
        if !netns::available() {
            eprintln!("left out: needs root and /dev/net/tun");
            return None;
        }
        let filtering = format!("nat.filtering={filtering:?}");
        let lab = Lab::start(PREFIX, &[&["--set", &filtering], flags].concat());
        lab.remote.ip(&["address", "add", &format!("{}/24", SERVER[1]), "dev", "eth0"]);
        let server = start_server(&lab);
        let attached = lab.attach(DEVICE, &[]);
        Some(Self { attached, _server: server, lab })
    }

    /// What the tool says.
    fn discover(&self, arguments: &[&str]) -> String {
        let all = [&["400", "turnutils_natdiscovery"], arguments, &["-L", &self.attached.ipv4, SERVER[0]]].concat();
        self.lab.client.exec("timeout", &all)
    }
}

fn start_server(lab: &Lab) -> Daemon {
    let mut command = lab.remote.command("turnserver");
    command.args(["-n", "--stun-only", "--no-tls", "--no-dtls", "--no-cli", "--log-file", "stdout"]);
    command.arg("--pidfile").arg(lab.file("turnserver.pid"));
    for address in SERVER {
        command.args(["--listening-ip", address]);
    }
    let server = Daemon::start(&mut command);
    for _ in 0..200 {
        if lab.remote.exec("ss", &["-Hlun", "sport", "=", "3479"]).lines().count() >= SERVER.len() {
            return server;
        }
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
    panic!("the STUN server does not listen")
}

/// Asserts that the tool says this, and that the outside saw the session at the announced address.
#[track_caller]
fn says(printed: &str, words: &str) {
    assert!(printed.contains(words), "{printed}");
    assert!(printed.contains(&format!("UDP reflexive addr: {OUTSIDE}:")), "{printed}");
}

#[test]
fn the_mapping_is_endpoint_independent() {
    for filtering in ["address_dependent", "endpoint_independent", "address_and_port_dependent"] {
        let Some(setup) = Setup::new(filtering, &[]) else { return };
        says(&setup.discover(&["-m"]), "NAT with Endpoint Independent Mapping!");
    }
}

#[test]
fn the_filtering_is_what_the_configuration_says() {
    let cases = [
        ("address_dependent", "NAT with Address Dependent Filtering!"),
        ("endpoint_independent", "NAT with Endpoint Independent Filtering!"),
        ("address_and_port_dependent", "NAT with Address and Port Dependent Filtering!"),
    ];
    for (filtering, words) in cases {
        let Some(setup) = Setup::new(filtering, &[]) else { return };
        says(&setup.discover(&["-f"]), words);
    }
}

#[test]
fn a_session_reaches_itself_by_its_external_endpoint() {
    let Some(setup) = Setup::new("endpoint_independent", &[]) else { return };
    says(&setup.discover(&["-H", "-l", "41000"]), "Received a request (maybe a successful hairpinning)");
}

/// Two sessions use the same internal port: each has an external port of its own (RFC 4787 section 4.2).
#[test]
fn equal_internal_ports_do_not_collide() {
    let Some(setup) = Setup::new("address_dependent", &[]) else { return };
    let client = &setup.lab.client;
    let second = setup.lab.attach("webtun-c1", &["--route", "198.18.9.0/24"]);
    client.ip(&["route", "add", "198.18.0.0/24", "dev", "webtun-c1", "table", "101"]);
    client.ip(&["rule", "add", "from", &second.ipv4, "lookup", "101"]);
    let printed = setup.discover(&["-c", "-l", "40000", "-A", &second.ipv4]);
    let seen: Vec<_> = printed.lines().filter_map(|line| line.split_once("UDP reflexive addr: ")).collect();
    assert_eq!(seen.len(), 2, "{printed}");
    assert_ne!(seen[0].1, seen[1].1, "{printed}");
    assert!(seen.iter().all(|(_, address)| address.starts_with(OUTSIDE)), "{printed}");
}

/// A mapping that was used by one socket alone: after `seconds` the server's answer to it still comes in, or not.
fn is_alive_after(setup: &Setup, seconds: &str) -> bool {
    let printed = setup.discover(&["-t", "-T", seconds]);
    says(&printed, "RFC 5780 response 1");
    printed.contains("RFC 5780 response 2")
}

#[test]
fn a_mapping_outlives_silence() {
    let Some(setup) = Setup::new("address_dependent", &[]) else { return };
    assert!(is_alive_after(&setup, "3"));
}

/// RFC 4787 REQ-5: never below two minutes, five by default.
#[test]
#[ignore = "waits for more than ten minutes"]
fn a_mapping_ends_when_its_timer_says_so() {
    std::thread::scope(|scope| {
        for (flags, alive, over) in [(&[][..], "290", "330"), (&["--set", "nat.udp_timeout_s=120"], "110", "150")] {
            scope.spawn(move || {
                let Some(setup) = Setup::new("address_dependent", flags) else { return };
                assert!(is_alive_after(&setup, alive));
                assert!(!is_alive_after(&setup, over));
            });
        }
    });
}

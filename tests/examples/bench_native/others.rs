//! Other programs that carry the packets of a namespace, or the octets of a WebSocket, in sockets of another one.

use std::io;

use super::flows;
use webtun_tests::netns::Netns;
use webtun_tests::process::{Daemon, eventually};

/// The longest packets that both take.
const MTU: &str = "65520";
/// What a guest of slirp4netns has.
const GUEST: &str = "10.0.2.100";
const ROUTER: &str = "10.0.2.2";
/// Octets that socat moves at once; by default 8 KiB.
const SOCAT_BUFFER: &str = "262144";

/// Joins `guest` to what `outside` reaches.
pub fn slirp4netns(outside: &Netns, guest: &Netns) -> Daemon {
    let mut command = outside.command("slirp4netns");
    command.args(["--configure", "--mtu", MTU, "--netns-type=path"]).args([&path(guest), "tap0"]);
    started(Daemon::start(&mut command), guest)
}

/// The same.
pub fn pasta(outside: &Netns, guest: &Netns) -> Daemon {
    // It takes the interface of the default route for a model.
    outside.ip(&["route", "add", "default", "dev", "outside"]);
    let mut command = outside.command("sh");
    // It tells its addresses on its stderr.
    command.args(["-c", r#"exec pasta "$@" 2>/dev/null"#, "pasta", "--foreground", "--config-net", "--ipv4-only"]);
    command.args(["--interface", "outside", "--address", GUEST, "--netmask", "24", "--gateway", ROUTER]);
    command.args(["--mtu", MTU, "--runas", "0", "--netns", &path(guest)]);
    started(Daemon::start(&mut command), guest)
}

/// Octets of WebSockets at `listen` to where their paths say, by a program that is built beside this one.
pub fn relay(outside: &Netns, listen: &str) -> io::Result<Daemon> {
    let program = std::env::current_exe()?.with_file_name("bench_relay");
    Ok(super::ready(outside.command(program).arg(listen)))
}

/// TCP connections to these ports of the gateway go on to the remote's, with nothing added.
pub fn socat(outside: &Netns, ports: &[u16]) -> Vec<Daemon> {
    let relay = |port: u16| {
        let [near, far] = [format!("TCP-LISTEN:{port},fork,reuseaddr"), format!("TCP:{}:{port}", flows::REMOTE)];
        let daemon =
            Daemon::start(outside.command("socat").args(["-lf", "/dev/null", "-b", SOCAT_BUFFER, &near, &far]));
        let listens = || (!outside.exec("ss", &["-Hltn", "sport", "=", &port.to_string()]).is_empty()).then_some(());
        assert!(eventually(listens).is_some(), "socat does not listen within a minute");
        daemon
    };
    ports.iter().copied().map(relay).collect()
}

fn path(guest: &Netns) -> String {
    format!("/run/netns/{}", guest.name())
}

fn started(daemon: Daemon, guest: &Netns) -> Daemon {
    let has_route = || guest.ip(&["route"]).contains("default").then_some(());
    assert!(eventually(has_route).is_some(), "the guest has got no route within a minute");
    daemon
}

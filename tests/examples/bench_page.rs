//! One measurement in Chromium, in a network of its own; see `tests/browser/measures`. What that writes to its stdout, a line
//! `FIGURE VALUE` for each figure, this writes too.
//!
//! With `--mbit-s` the client's access is a line of that speed, on which every packet takes `--delay-ms`; see `line.rs`.

use std::error::Error;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use clap::Parser;
use webtun_tests::bins;
use webtun_tests::lab::{Lab, TOKEN, URL};
use webtun_tests::line::{End, Line};
use webtun_tests::netns;
use webtun_tests::process::Daemon;

/// Ten thousand sockets of one session are more than a gateway allows by itself.
const LIMITS: &str = r#"{mappings="unlimited",flows="unlimited",port_blocks="unlimited",new_flows_per_s="unlimited"}"#;

/// Where the relay is that some measurements compare with, and what is in its network beside.
const RELAY: &str = "10.81.0.1:8079";
const GATEWAY: &str = "10.81.0.1";

/// Browsers open no WebSocket at the ports of the old services.
const ABOVE: u16 = 8000;

/// Where websockify is.
const WEBSOCKIFY: &str = "10.81.0.1:8078";

/// One measurement in Chromium
#[derive(Debug, Parser)]
struct Flags {
    /// The speed of the client's line
    #[arg(long, value_name = "MBIT/S")]
    mbit_s: Option<u32>,
    /// How long a packet is on the line
    #[arg(long, default_value_t = 0, value_name = "MS")]
    delay_ms: u32,
    /// Puts websockify, which is this program, before a SOCKS5 server in the gateway's network
    #[arg(long, value_name = "FILE")]
    websockify: Option<PathBuf>,
    /// Puts a relay to this address into the gateway's network, at a port that is higher by 8000
    #[arg(long, value_name = "ADDRESS:PORT")]
    relay_to: Vec<SocketAddr>,
    /// The measurement
    name: String,
    /// What it wants to be told
    arguments: Vec<String>,
}

fn main() -> Result<(), Box<dyn Error>> {
    let flags = Flags::parse();
    if !netns::available() {
        return Err("needs root and /dev/net/tun".into());
    }
    let (session, peer) = (format!("limits.session={LIMITS}"), format!("limits.peer={LIMITS}"));
    let lab = Lab::start("wt-page", &["--set", "allow_origins=[\"*\"]", "--set", &session, "--set", &peer]);
    let _line = flags.mbit_s.map(|mbit_s| {
        let client = End { netns: &lab.client, device: "eth0", address: "10.81.0.2" };
        let gateway = End { netns: &lab.gateway, device: "inside", address: GATEWAY };
        Line { mbit_s, delay_ms: flags.delay_ms, ..Line::default() }.lay(client, gateway)
    });
    let _relay = relay(&lab, &[RELAY]);
    let to = |to: &SocketAddr| {
        relay(&lab, &[&format!("{GATEWAY}:{}", to.port().saturating_add(ABOVE)), "--to", &to.to_string()])
    };
    let _relays: Vec<_> = flags.relay_to.iter().map(to).collect();
    let _socks = flags.websockify.as_deref().map(|websockify| socks(&lab, websockify));
    let program = Path::new(env!("CARGO_MANIFEST_DIR")).join("browser/measure.mjs");
    let mut run = lab.client.command("timeout");
    run.args(["--kill-after=5", "180", "node"]).arg(program).arg(&flags.name).args(&flags.arguments);
    run.env("WEBTUN_URL", URL).env("WEBTUN_TOKEN", TOKEN).env("WEBTUN_RELAY", format!("ws://{RELAY}"));
    let status = run.status()?;
    if status.success() { Ok(()) } else { Err(format!("{} has failed: {status}", flags.name).into()) }
}

fn relay(lab: &Lab, arguments: &[&str]) -> Daemon {
    let mut relay = Daemon::start(lab.gateway.command(bins::example("bench_relay")).args(arguments));
    relay.wait_for_line("ready");
    relay
}

/// A SOCKS5 server and, where a WebSocket reaches it, websockify.
fn socks(lab: &Lab, websockify: &Path) -> [Daemon; 2] {
    // Debian 12's knows no way to be told that each connection is not worth a line.
    let mut server = lab.gateway.command("sh");
    let server = Daemon::start(server.args(["-c", "exec microsocks -i 127.0.0.1 -p 1080 2>/dev/null"]));
    // It speaks on its stderr.
    let mut relay = lab.gateway.command("sh");
    relay.args(["-c", r#"exec "$0" "$@" 2>&1"#]).arg(websockify);
    let mut relay = Daemon::start(relay.args([WEBSOCKIFY, "127.0.0.1:1080"]));
    relay.wait_for_line("  - proxying from");
    [server, relay]
}

//! The native tools when something ends early: the WebSocket below them, or they themselves.

use std::process::Command;

use webtun_tests::lab::{Lab, REMOTE};
use webtun_tests::process::{Daemon, Log, Signal, succeed};

const PREFIX: &str = "wt-end";
const CUTS: usize = 3;

/// Adds what makes the log tell of the tunnel's states.
fn logged(command: &mut Command, lab: &Lab) -> Log {
    command.args(["--log", "webtun_stack=debug"]);
    Log::of(command, lab.file("log"))
}

#[test]
fn a_download_survives_cuts_of_the_websocket() {
    let Some(lab) = Lab::start_if_available(PREFIX, &[]) else { return };
    let size = "size=30000000";
    let hash = succeed(lab.tool("webtun-get").arg(format!("http://www.playground.test/sha256?{size}")));
    // Four minutes at this rate: the download cannot be over before the cuts are.
    lab.remote
        .exec("tc", &["qdisc", "add", "dev", "eth0", "root", "tbf", "rate", "1mbit", "burst", "64kb", "latency", "1s"]);
    let mut get = lab.tool("webtun-get");
    let log = logged(&mut get, &lab);
    let mut download = Daemon::start(get.arg("--sha256").arg(format!("http://www.playground.test/blob?{size}")));
    for cut in 1..=CUTS {
        log.wait_for("Connected", cut);
        cut_websocket(&lab, &log);
    }
    let back = log.wait_for("Connected", CUTS + 1);
    assert!(back.contains("resumed: true"), "{back}");
    lab.remote.exec("tc", &["qdisc", "delete", "dev", "eth0", "root"]);
    assert_eq!(download.wait_for_line("").trim(), hash.trim());
}

/// Both kernels are told that the WebSocket's connection was reset: what either sends is answered by a RST until the
/// client has seen it.
fn cut_websocket(lab: &Lab, log: &Log) {
    let lost = "no connection to the gateway";
    let before = log.lines(lost).len();
    let rule = "add table inet cut; add chain inet cut input { type filter hook input priority 0; }; \
                add rule inet cut input tcp dport 8077 reject with tcp reset";
    lab.gateway.exec("nft", &[rule]);
    log.wait_for(lost, before + 1);
    lab.gateway.exec("nft", &["delete table inet cut"]);
}

/// With one session for each peer a second tool is served only if the first has ended its own.
#[test]
fn a_tool_that_is_interrupted_closes_its_session() {
    let Some(lab) = Lab::start_if_available(PREFIX, &["--set", "limits.sessions_per_peer=1"]) else { return };
    let endless = "http://www.playground.test/blob?size=16000000000";
    let cases: [(&'static str, &[&str], Signal); 5] = [
        ("webtun-nc", &["echo.playground.test", "7"], Signal::SIGINT),
        ("webtun-nc", &["-u", "echo.playground.test", "7"], Signal::SIGTERM),
        ("webtun-nc", &["-l", "8000", "--external"], Signal::SIGTERM),
        ("webtun-get", &["--output", "/dev/null", endless], Signal::SIGINT),
        ("webtun-get", &["--output", "/dev/null", endless], Signal::SIGTERM),
    ];
    for (name, arguments, signal) in cases {
        let mut tool = lab.tool(name);
        let log = logged(&mut tool, &lab);
        let mut running = Daemon::start(tool.args(arguments));
        log.wait_for("Connected", 1);
        assert_eq!(running.end(signal), Some(130), "{name} {arguments:?} {signal}: {}", log.text());
        succeed(lab.tool("webtun-ping").args(["-c", "1", REMOTE[0]]));
    }
}

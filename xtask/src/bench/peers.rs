//! Families in Chromium, beside a bare WebSocket and other tunnels. A harness outside of this repository starts those,
//! interleaves the rounds and writes a JSON line for each run; ours is the row in `wasm/npm/bench/rows.mjs`.

use std::path::Path;

use serde_json::Value;

use crate::Result;
use crate::bench::family::{Context, Family, Figure, Sample, Unavailable};
use crate::command::Command;
use crate::files::root;
use crate::workspace::{is_root, scratch};

const ROW: &str = "webtun";
/// With connections that the gateway makes.
const SPLIT: &str = "webtun/split";
/// Our door for Wisp, by a client of others.
const WISP: &str = "webtun/wisp";
/// A gateway without a TUN device.
const USER: &str = "webtun/user";
/// By HTTPS, which rows of their own have.
const SECURE: &str = "webtun/tls";
/// The rows that need nothing of the harness's.
const OURS: [&str; 7] = [ROW, SPLIT, USER, SECURE, "relay", "relay/256k", "wsbare/udp"];
const NAMESPACE: &str = "webtun-bench";
/// Where the harness's targets are found by packets of a tunnel; `rows.mjs` names it too.
const HOST: &str = "198.18.0.1";
/// What listens on all addresses answers a datagram from the address of the device that the answer leaves by, which is not
/// the one that was asked. Before the connection tracking, so that it knows the answer.
const ANSWERS: &str = "table ip answers { chain output { type filter hook output priority -310; \
                       oifname \"wtbench0\" meta l4proto udp ip saddr set 198.18.0.1; }; }";
const GIB: f64 = (1 << 30) as f64;

/// Datagrams that had no room in the socket of the server that was to answer them.
const OVERFLOWS: &str = "dropped by a server's socket";

const MIB_S: &str = "MiB/s";
const CPU: &str = "CPU s/GiB";

/// One stream.
pub static FLOW: Family = Family {
    name: "flow",
    about: "one TCP flow in Chromium, beside a WebSocket with nothing behind it",
    reference: "wsbare",
    figures: &[
        Figure { name: "down", unit: MIB_S },
        Figure { name: "up", unit: MIB_S },
        Figure { name: "down, server", unit: CPU },
        Figure { name: "up, server", unit: CPU },
    ],
    measure: |context| {
        let peers = ["wsbare", ROW, SPLIT, "wsbare/again", "relay", "relay/256k", "wsbare/256k", "js/wispjs"];
        measure(context, &peers, &[("down", &[("mib_s", "down")]), ("up", &[("mib_s", "up")])])
    },
};

/// One stream, by the two ways out of the gateway.
pub static EGRESS: Family = Family {
    name: "egress",
    about: "one TCP flow in Chromium, by a gateway with a TUN device and by one without",
    reference: ROW,
    figures: FLOW.figures,
    measure: |context| {
        measure(context, &[ROW, USER, SPLIT], &[("down", &[("mib_s", "down")]), ("up", &[("mib_s", "up")])])
    },
};

/// Ten streams.
pub static FLOWS: Family = Family {
    name: "flows10",
    about: "ten TCP flows down in Chromium, their total",
    reference: "wsbare",
    figures: &[Figure { name: "down", unit: MIB_S }, Figure { name: "ten down", unit: MIB_S }],
    measure: |context| {
        let ops: &[Operation] = &[("down", &[("mib_s", "down")]), ("par", &[("mib_s", "ten down")])];
        measure(context, &["wsbare", ROW, SPLIT, "wsbare/again", "relay", "js/wispjs"], ops)
    },
};

/// Datagrams.
pub static UDP: Family = Family {
    name: "udp",
    about: "UDP echoes of 512 octets in Chromium, beside messages of a bare WebSocket, and through a bare relay: one each millisecond, and a burst of 1,000",
    reference: "wsbare/udp",
    figures: &[
        Figure { name: "echo", unit: "ms" },
        Figure { name: "echo, 95 %", unit: "ms" },
        Figure { name: "lost", unit: "of 1,000" },
        Figure { name: "lost of the burst", unit: "of 1,000" },
        Figure { name: OVERFLOWS, unit: "a run" },
    ],
    measure: |context| {
        let keys = [("ms", "echo"), ("p95", "echo, 95 %"), ("lost", "lost"), ("burst_lost", "lost of the burst")];
        let mut samples = measure(context, &["wsbare/udp", ROW, "relay"], &[("udp", &keys)])?;
        if !context.smoke {
            samples.extend(measure(context, &["js/wispjs", "py/wispjs"], &[("udp", &keys)])?);
        }
        Ok(samples)
    },
};

/// Connections.
pub static OPENS: Family = Family {
    name: "opens",
    about: "200 connections in Chromium, each opened, used for an echo and closed: one by one, and all at once",
    reference: "js/wispjs",
    figures: &[
        Figure { name: "sequential", unit: "per s" },
        Figure { name: "concurrent", unit: "per s" },
        Figure { name: "failed", unit: "of 200" },
    ],
    measure: |context| {
        let ops: &[Operation] =
            &[("seq", &[("per_s", "sequential")]), ("conc", &[("per_s", "concurrent"), ("fail", "failed")])];
        measure(context, &["js/wispjs", ROW, SPLIT, "py/wispjs", "wsbare"], ops)
    },
};

/// HTTP by a fetch that a page brings along.
pub static FETCH: Family = Family {
    name: "fetch",
    about: "HTTP by fetch in Chromium: a transfer down and up, a request on an open tunnel, and 200 requests at once",
    reference: ROW,
    figures: &[
        Figure { name: "down", unit: MIB_S },
        Figure { name: "up", unit: MIB_S },
        Figure { name: "request", unit: "ms" },
        Figure { name: "at once", unit: "per s" },
        Figure { name: "failed", unit: "of 200" },
        Figure { name: "by a socket, down", unit: MIB_S },
    ],
    measure: |context| {
        let ops = [HTTP, &[("down", &[("mib_s", "by a socket, down")])]].concat();
        // Down by a fetch and by a socket are compared, so both are of one size.
        measure_sized(context, &[ROW, "js/libcurl", "js/epoxy2"], &ops, Some(64))
    },
};

/// The same with TLS. libcurl.js takes no authority but those it has.
pub static FETCH_TLS: Family = Family {
    name: "fetch-tls",
    about: "the same by HTTPS, by clients that take the authority of the harness's server",
    reference: SECURE,
    figures: &[
        Figure { name: "down", unit: MIB_S },
        Figure { name: "up", unit: MIB_S },
        Figure { name: "request", unit: "ms" },
        Figure { name: "at once", unit: "per s" },
        Figure { name: "failed", unit: "of 200" },
    ],
    measure: |context| measure_sized(context, &[SECURE, "js/epoxy2/tls"], HTTP, Some(64)),
};

const HTTP: &[Operation] = &[
    ("fdown", &[("mib_s", "down")]),
    ("fup", &[("mib_s", "up")]),
    ("ffirst", &[("ms", "request")]),
    ("fconc", &[("per_s", "at once"), ("fail", "failed")]),
];

/// From nothing to an octet.
pub static FIRST: Family = Family {
    name: "first",
    about: "time in Chromium until a tunnel is open, and until a new connection has echoed an octet",
    reference: "wsbare",
    figures: &[
        Figure { name: "tunnel open", unit: "ms" },
        Figure { name: "first octet", unit: "ms" },
        Figure { name: "first octet, 95 %", unit: "ms" },
    ],
    measure: |context| {
        let keys = [("open_ms", "tunnel open"), ("ms", "first octet"), ("p95", "first octet, 95 %")];
        measure(context, &["wsbare", ROW, SPLIT, "wsbare/again", "js/wispjs"], &[("first", &keys)])
    },
};

/// From nothing to an octet, to a gateway far away.
pub static FAR: Family = Family {
    name: "far",
    about: "time in Chromium until a new connection has echoed an octet, with 25 ms each way to the gateway",
    reference: "js/wispjs",
    figures: &[Figure { name: "first octet", unit: "ms" }, Figure { name: "first octet, 95 %", unit: "ms" }],
    measure: |context| {
        let keys = [("ms", "first octet"), ("p95", "first octet, 95 %")];
        measure(context, &["js/wispjs", ROW, SPLIT, WISP], &[("first@25", &keys)])
    },
};

/// By a client of others.
pub static DOOR: Family = Family {
    name: "wisp",
    about: "the Wisp client of wisp-js in Chromium: with its own server, with wisp-python, and at our door",
    reference: "js/wispjs",
    figures: &[
        Figure { name: "down", unit: MIB_S },
        Figure { name: "up", unit: MIB_S },
        Figure { name: "ten down", unit: MIB_S },
        Figure { name: "sequential", unit: "per s" },
        Figure { name: "concurrent", unit: "per s" },
    ],
    measure: |context| {
        if context.smoke {
            return Err(Unavailable("needs programs of others, and shows nothing that the tests do not".into()).into());
        }
        let ops: &[Operation] = &[
            ("down", &[("mib_s", "down")]),
            ("up", &[("mib_s", "up")]),
            ("par", &[("mib_s", "ten down")]),
            ("seq", &[("per_s", "sequential")]),
            ("conc", &[("per_s", "concurrent")]),
        ];
        measure(context, &["js/wispjs", WISP, "py/wispjs"], ops)
    },
};

/// An operation of the harness, and which of its results are our figures.
type Operation<'a> = (&'a str, &'a [(&'a str, &'a str)]);

fn measure(context: &Context, peers: &[&str], operations: &[Operation]) -> Result<Vec<Sample>> {
    measure_sized(context, peers, operations, None)
}

/// `size` is that of a transfer in MiB, where the harness's own do not fit.
fn measure_sized(
    context: &Context,
    peers: &[&str],
    operations: &[Operation],
    size: Option<u32>,
) -> Result<Vec<Sample>> {
    let harness = context.peers.join("run.mjs");
    if !harness.exists() {
        let folder = context.peers.display();
        return Err(
            Unavailable(format!("the harness with the peers is not in {folder}: name its folder by --peers")).into()
        );
    }
    if !is_root() {
        return Err(Unavailable("needs root, for a TUN device in a namespace".into()).into());
    }
    context.built.npm()?;
    let relay = context.built.examples(&["bench_relay"])?.join("bench_relay");
    let gateway = context.built.packages(&["webtun-gateway"])?.join("webtun-gateway");
    let lines = scratch("bench")?.join("peers.jsonl");
    let _ = std::fs::remove_file(&lines);
    let names: Vec<_> = operations.iter().map(|(name, _)| *name).collect();
    // The others' programs are no part of this repository, and need not work.
    let peers: Vec<_> = peers.iter().copied().filter(|peer| !context.smoke || OURS.contains(peer)).collect();
    let namespace = Namespace::create()?;
    let mut run = Command::line(&format!("ip netns exec {NAMESPACE} node")).args([harness]);
    run = run.args(["--peers", &peers.join(","), "--ops", &names.join(","), "--ref", peers[0]]);
    run = run.args(["--rounds", &context.rounds.to_string(), "--limit", "60"]);
    for rows in ["rows.mjs"].into_iter().chain(peers.contains(&SECURE).then_some("tls-rows.mjs")) {
        run = run.args(["--rows".as_ref(), root().join("wasm/npm/bench").join(rows).as_path()]);
    }
    run = run.args(["--out".as_ref(), lines.as_path()]).env("BENCH_GATEWAY", gateway);
    run = run.env("BENCH_RELAY", relay);
    if context.smoke {
        // MiB of a transfer, and how often the rest is done.
        run = run.args(["--n", "4", "--count", "10"]);
    } else if let Some(size) = size {
        run = run.args(["--n", &size.to_string()]);
    }
    // It says by this code, and on stderr, that its programs are not installed.
    if let Err(error) = run.output_beside_errors() {
        let message = error.to_string();
        return Err(if message.contains("exit status: 2") { Unavailable(message).into() } else { error });
    }
    let mut samples = read(&lines, operations)?;
    if peers.contains(&ROW) && names.contains(&"udp") {
        // The first run of each peer is not recorded.
        let value = namespace.udp_overflows()? / f64::from(context.rounds + 1);
        samples.push(Sample { round: 0, variant: ROW.to_owned(), figure: OVERFLOWS.to_owned(), value });
    }
    if peers.contains(&ROW) && !samples.iter().any(|sample| sample.variant.starts_with(ROW)) {
        return Err("nothing of ours was measured: did the gateway start?".into());
    }
    Ok(samples)
}

fn read(lines: &Path, operations: &[Operation]) -> Result<Vec<Sample>> {
    let text = std::fs::read_to_string(lines).map_err(|error| format!("the harness has written nothing: {error}"))?;
    let lines = text.lines().map(serde_json::from_str).collect::<std::result::Result<Vec<Value>, _>>()?;
    let mut samples = Vec::new();
    for line in &lines {
        samples.extend(samples_of(line, operations)?);
    }
    Ok(samples)
}

fn samples_of(line: &Value, operations: &[Operation]) -> Result<Vec<Sample>> {
    let text = |key: &str| line[key].as_str().unwrap_or_default().to_owned();
    let (variant, operation) = (text("peer"), text("op"));
    if let Some(error) = line["error"].as_str() {
        let message = format!("{variant}, {operation}: {error}");
        // A peer may fail; its row has a sample less.
        eprintln!("{message}");
        return if variant.starts_with(ROW) { Err(message.into()) } else { Ok(Vec::new()) };
    }
    if line["bad"].as_f64().is_some_and(|offset| offset >= 0.0) {
        return Err(format!("{variant}, {operation}: a wrong octet at {}", line["bad"]).into());
    }
    if line["short"].as_f64().is_some_and(|octets| octets != 0.0) {
        return Err(format!("{variant}, {operation}: {} octets are missing", line["short"]).into());
    }
    let round = line["round"].as_u64().ok_or("a line without a round")? as u32 - 1;
    // What stands behind an @ is a delay, which the line has for itself.
    let is_meant = |name: &str| name.split('@').next() == Some(operation.as_str());
    let keys = operations.iter().find(|(name, _)| is_meant(name)).map_or(&[][..], |(_, keys)| *keys);
    let sample = |figure: String, value| Sample { round, variant: variant.clone(), figure, value };
    let mut samples: Vec<_> =
        keys.iter().filter_map(|(key, figure)| Some(sample((*figure).to_owned(), line[*key].as_f64()?))).collect();
    if let ("down" | "up", Some(cpu), Some(octets)) = (operation.as_str(), line["srv_cpu"].as_f64(), line["n"].as_f64())
    {
        samples.push(sample(format!("{operation}, server"), cpu / (octets / GIB)));
    }
    Ok(samples)
}

/// A network without any other program's devices and rules; gone when dropped.
struct Namespace;

impl Namespace {
    fn create() -> Result<Self> {
        let _ = Command::line(&format!("ip netns delete {NAMESPACE}")).output();
        Command::line(&format!("ip netns add {NAMESPACE}")).output()?;
        let namespace = Self;
        Command::line(&format!("ip -n {NAMESPACE} link set lo up")).output()?;
        Command::line(&format!("ip -n {NAMESPACE} address add {HOST}/32 dev lo")).output()?;
        Command::line(&format!("ip netns exec {NAMESPACE} nft")).args([ANSWERS]).output()?;
        Ok(namespace)
    }

    /// Datagrams that found no room in the receive buffer of their socket (RFC 4113, and `RcvbufErrors` of Linux).
    fn udp_overflows(&self) -> Result<f64> {
        let text = Command::line(&format!("ip netns exec {NAMESPACE} cat /proc/net/snmp")).output()?;
        overflows_in(&text).ok_or_else(|| "/proc/net/snmp without RcvbufErrors".into())
    }
}

/// The counter in two lines of `/proc/net/snmp`, the names of its columns and their values.
fn overflows_in(text: &str) -> Option<f64> {
    let mut lines = text.lines().filter(|line| line.starts_with("Udp:")).map(str::split_whitespace);
    let (mut names, mut values) = (lines.next()?, lines.next()?);
    values.nth(names.position(|name| name == "RcvbufErrors")?)?.parse().ok()
}

impl Drop for Namespace {
    fn drop(&mut self) {
        let _ = Command::line(&format!("ip netns delete {NAMESPACE}")).output();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DOWN: Operation = ("down", &[("mib_s", "down")]);

    #[test]
    fn a_line_becomes_figures() {
        let line = serde_json::json!({
            "peer": "webtun", "op": "down", "round": 2, "n": 1 << 29, "mib_s": 350.5, "bad": -1, "srv_cpu": 0.25,
        });
        let samples = samples_of(&line, &[DOWN]).unwrap();
        let seen: Vec<_> = samples.iter().map(|sample| (sample.round, sample.figure.as_str(), sample.value)).collect();
        assert_eq!(seen, [(1, "down", 350.5), (1, "down, server", 0.5)]);
    }

    #[test]
    fn a_delay_is_no_part_of_the_operation() {
        let line = serde_json::json!({"peer": "webtun", "op": "first", "delay": 25, "round": 1, "ms": 56.0});
        assert_eq!(samples_of(&line, &[("first@25", &[("ms", "first octet")])]).unwrap().len(), 1);
    }

    #[test]
    fn overflows_are_found_by_the_name_of_their_column() {
        let text = "Tcp: A B\nTcp: 1 2\nUdp: InDatagrams NoPorts RcvbufErrors\nUdp: 5 6 7\n";
        assert_eq!(overflows_in(text), Some(7.0));
        assert_eq!(overflows_in("Udp: InDatagrams\nUdp: 5\n"), None);
    }

    #[test]
    fn our_failure_is_one_and_a_peers_is_not() {
        let line = |peer: &str| serde_json::json!({"peer": peer, "op": "down", "round": 1, "error": "hung"});
        assert!(samples_of(&line("py/wispjs"), &[DOWN]).unwrap().is_empty());
        assert!(samples_of(&line("webtun"), &[DOWN]).is_err());
        let wrong = serde_json::json!({"peer": "webtun", "op": "down", "round": 1, "mib_s": 1.0, "bad": 17});
        assert!(samples_of(&wrong, &[DOWN]).unwrap_err().to_string().contains("wrong octet at 17"));
        let short = serde_json::json!({"peer": "webtun", "op": "fdown", "round": 1, "mib_s": 1.0, "short": 5});
        assert!(samples_of(&short, &[]).unwrap_err().to_string().contains("5 octets are missing"));
    }
}

//! Families in Chromium, in a network of their own where lines can be slow.

use crate::Result;
use crate::bench::family::{Context, Family, Figure, Sample, Unavailable};
use crate::command::Command;
use crate::files::has;
use crate::workspace::is_root;

const MS: &str = "ms";
const MB_S: &str = "MB/s";

/// Megabits per second of the slow line, and milliseconds each way.
const SLOW: &str = "--mbit-s 20 --delay-ms 20";

const RELAY: &str = "relay, ";
/// What an echo is beside, and whether of a tunnel or of a relay with a WebSocket for each flow.
const BESIDE: [&str; 5] = ["idle", "down", "up", "relay, down", "relay, up"];

/// On a slow line.
pub static LOADED: Family = Family {
    name: "loaded",
    about: "an echo in Chromium beside a bulk flow, on a line of 20 Mbit/s and 40 ms",
    reference: "idle",
    figures: &[
        Figure { name: "echo", unit: MS },
        Figure { name: "echo, 95 %", unit: MS },
        Figure { name: "link used", unit: "%" },
    ],
    measure: |context| {
        let seconds = context.or_least("12", "0.5");
        measure(context, context.or_least(&BESIDE, &["idle", "relay, down"]), |variant| {
            format!("{SLOW} loaded {} {seconds} 20 {}", direction(variant), by(variant))
        })
    },
};

/// On a line that is as fast as the machine.
pub static NEAR: Family = Family {
    name: "near",
    about: "an echo in Chromium beside a bulk flow, on a line without a limit",
    reference: "idle",
    figures: &[Figure { name: "echo", unit: MS }, Figure { name: "echo, 95 %", unit: MS }],
    measure: |context| {
        let seconds = context.or_least("5", "0.5");
        measure(context, context.or_least(&BESIDE, &["up"]), |variant| {
            format!("loaded {} {seconds} 0 {}", direction(variant), by(variant))
        })
    },
};

/// By the number of idle sockets.
pub static IDLE: Family = Family {
    name: "idle",
    about: "one flow in Chromium beside sockets that are open and do nothing",
    reference: "0",
    figures: &[
        Figure { name: "down", unit: MB_S },
        Figure { name: "up", unit: MB_S },
        Figure { name: "memory of a socket", unit: "KiB" },
    ],
    measure: |context| {
        let counts: &[&str] = context.or_least(&["0", "1000", "10000"], &["10"]);
        let seconds = context.or_least("3", "0.2");
        measure(context, counts, |count| format!("idle {count} {seconds}"))
    },
};

/// By the number of flows, and who makes them.
pub static FAIR: Family = Family {
    name: "fair",
    about: "flows side by side in Chromium, end to end and split: their total, and Jain's index of fairness",
    reference: "1",
    figures: &[
        Figure { name: "down", unit: MB_S },
        Figure { name: "up", unit: MB_S },
        Figure { name: "fairness, down", unit: "of 1" },
        Figure { name: "fairness, up", unit: "of 1" },
    ],
    measure: |context| {
        let seconds = context.or_least("4", "0.2");
        measure(context, context.or_least(&["1", "10", "1, split", "10, split"], &["10", "10, split"]), |variant| {
            let (count, split) = variant.split_once(',').map_or((variant, 0), |(count, _)| (count, 1));
            format!("fair {count} {seconds} {split}")
        })
    },
};

/// By which interface.
pub static EMSCRIPTEN: Family = Family {
    name: "emscripten",
    about: "unmodified curl, and one octet to and fro in C, beside a TCPSocket in Chromium",
    reference: "TCPSocket",
    figures: &[
        Figure { name: "down", unit: MB_S },
        Figure { name: "up", unit: MB_S },
        Figure { name: "round trip", unit: MS },
    ],
    measure: |context| {
        context.built.npm()?;
        build_programs("emscripten")?;
        let sizes = context.or_least("128 1000", "1 10");
        measure(context, &["TCPSocket", "emscripten"], |variant| {
            format!("emscripten {} {sizes}", u8::from(variant == "emscripten"))
        })
    },
};

const SOCKFS: &str = "websockify";
const SPLIT: &str = "emscripten, split";
/// What the same program does where a relay takes its WebSockets, and nobody asks a proxy.
const BARE: &str = "relay";

/// By whose sockets.
pub static WEBSOCKIFY: Family = Family {
    name: "websockify",
    about: "connections of a C program in Chromium, one long and 200 short, by emcc's own sockets with websockify and SOCKS5, \
            by ours, end to end and split, and by emcc's own with a bare relay",
    reference: SOCKFS,
    figures: &[Figure { name: "one long", unit: MB_S }, Figure { name: "short ones", unit: "per s" }],
    measure: |context| {
        context.built.npm()?;
        build_programs("websockify")?;
        let sizes = context.or_least("256 200", "1 2");
        let websockify = if context.smoke { None } else { Some(websockify()?) };
        let variants: &[&str] = context.or_least(&[SOCKFS, "emscripten", SPLIT, BARE], &["emscripten", BARE]);
        measure(context, variants, |variant| match (variant, &websockify) {
            (SOCKFS, Some(file)) => format!("--websockify {file} websockify 0 {sizes}"),
            (SPLIT, _) => format!("websockify 2 {sizes}"),
            (BARE, _) => format!("--relay-to 198.18.0.2:19 --relay-to 198.18.0.2:7 websockify 3 {sizes}"),
            _ => format!("websockify 1 {sizes}"),
        })
    },
};

/// Here, since there is no way to Debian's sources from where a measurement runs.
fn build_programs(measurement: &str) -> Result {
    Command::line(&format!("node tests/browser/measure.mjs --build {measurement}")).run()
}

/// Where it is.
fn websockify() -> Result<String> {
    if !has("microsocks") {
        return Err(Unavailable("needs microsocks, a SOCKS5 server (apt-get install microsocks)".into()).into());
    }
    if has("websockify") {
        return Ok("websockify".into());
    }
    // Where the harness with the peers has put its own.
    let cache = std::env::var("PEERS_DIR").or_else(|_| Ok(std::env::var("HOME")? + "/.cache/bench-peers"));
    let file = cache.map_err(|_: std::env::VarError| "HOME is not set")? + "/py/bin/websockify";
    if std::path::Path::new(&file).exists() {
        return Ok(file);
    }
    Err(Unavailable("needs websockify (apt-get install websockify)".into()).into())
}

/// As the measurement numbers them.
fn direction(variant: &str) -> u8 {
    match variant.trim_start_matches(RELAY) {
        "down" => 1,
        "up" => 2,
        _ => 0,
    }
}

fn by(variant: &str) -> u8 {
    u8::from(variant.starts_with(RELAY))
}

fn measure(context: &Context, variants: &[&str], arguments: impl Fn(&str) -> String) -> Result<Vec<Sample>> {
    if !is_root() {
        return Err(Unavailable("needs root, for namespaces and a TUN device".into()).into());
    }
    context.built.npm()?;
    context.built.packages(&["webtun-gateway", "webtun-playground"])?;
    let program = context.built.examples(&["bench_page", "bench_relay", "line"])?.join("bench_page");
    context.interleave(variants, |variant| Command::new(&program).args(arguments(variant).split(' ')))
}

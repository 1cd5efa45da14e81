//! Families in Chromium, in a network of their own where lines can be slow.

use crate::Result;
use crate::bench::family::{Context, Family, Figure, Sample, Unavailable};
use crate::command::{Command, cargo};
use crate::npm;
use crate::workspace::{build_release, is_root, target};

const MS: &str = "ms";
const MB_S: &str = "MB/s";

/// Megabits per second of the slow line, and milliseconds each way.
const SLOW: &str = "--mbit-s 20 --delay-ms 20";

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
        let seconds = if context.smoke { "1" } else { "12" };
        measure(context, &["idle", "down", "up"], |way| format!("{SLOW} loaded {} {seconds} 20", direction(way)))
    },
};

/// On a line that is as fast as the machine.
pub static NEAR: Family = Family {
    name: "near",
    about: "an echo in Chromium beside a bulk flow, on a line without a limit",
    reference: "idle",
    figures: &[Figure { name: "echo", unit: MS }, Figure { name: "echo, 95 %", unit: MS }],
    measure: |context| {
        let seconds = if context.smoke { "1" } else { "5" };
        measure(context, &["idle", "down", "up"], |way| format!("loaded {} {seconds} 0", direction(way)))
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
        let (counts, seconds) = if context.smoke { (["0", "10", "100"], "0.2") } else { (["0", "1000", "10000"], "3") };
        measure(context, &counts, |count| format!("idle {count} {seconds}"))
    },
};

/// By the number of flows.
pub static FAIR: Family = Family {
    name: "fair",
    about: "flows side by side in Chromium: their total, and Jain's index of fairness",
    reference: "1",
    figures: &[
        Figure { name: "down", unit: MB_S },
        Figure { name: "up", unit: MB_S },
        Figure { name: "fairness, down", unit: "of 1" },
        Figure { name: "fairness, up", unit: "of 1" },
    ],
    measure: |context| {
        let seconds = if context.smoke { "0.2" } else { "4" };
        measure(context, &["1", "10"], |count| format!("fair {count} {seconds}"))
    },
};

/// As the measurement numbers them.
fn direction(way: &str) -> u8 {
    match way {
        "down" => 1,
        "up" => 2,
        _ => 0,
    }
}

fn measure(context: &Context, variants: &[&str], arguments: impl Fn(&str) -> String) -> Result<Vec<Sample>> {
    if !is_root() {
        return Err(Unavailable("needs root, for namespaces and a TUN device".into()).into());
    }
    npm::build()?;
    cargo().args("build --release --package webtun-tests --example bench_page --example line".split(' ')).run()?;
    // One by one, as the program would build them: two together have other features.
    for package in ["webtun-gateway", "webtun-playground"] {
        build_release(&[package])?;
    }
    let program = target()?.join("release/examples/bench_page");
    context.interleave(variants, |variant| Command::new(&program).args(arguments(variant).split(' ')))
}

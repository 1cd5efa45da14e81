//! Native programs through network namespaces.

use std::path::PathBuf;

use crate::Result;
use crate::bench::family::{Context, Family, Figure, Sample, Unavailable};
use crate::command::Command;
use crate::workspace::is_root;

/// See the module.
pub static FAMILY: Family = Family {
    name: "native",
    about: "one TCP flow of the native client, beside a bare WebSocket and the kernel's TCP",
    reference: "websocket",
    figures: &[
        Figure { name: "down", unit: "MB/s" },
        Figure { name: "up", unit: "MB/s" },
        Figure { name: "down, gateway", unit: "CPU s/GiB" },
        Figure { name: "up, gateway", unit: "CPU s/GiB" },
    ],
    measure,
};

/// What it costs to have several dataplanes.
pub static SHARDS: Family = Family {
    name: "shards",
    about: "four TCP flows of native clients at once, each of a peer of its own, through one gateway of so many shards",
    reference: "1",
    figures: FAMILY.figures,
    measure: measure_shards,
};

fn measure_shards(context: &Context) -> Result<Vec<Sample>> {
    let (program, seconds) = prepare(context)?;
    context.interleave(context.or_least(&["1", "2", "4"], &["2"]), |shards| {
        Command::new(&program).args(["--by", "webtun", "--seconds", seconds, "--shards", shards])
    })
}

fn measure(context: &Context) -> Result<Vec<Sample>> {
    let (program, seconds) = prepare(context)?;
    context.interleave(&["websocket", "webtun", "tcp"], |by| {
        Command::new(&program).args(["--by", by, "--seconds", seconds])
    })
}

/// Builds what is measured: the program, and how long each of its flows is to be.
fn prepare(context: &Context) -> Result<(PathBuf, &'static str)> {
    if !is_root() {
        return Err(Unavailable("needs root, for namespaces and a TUN device".into()).into());
    }
    // Built here, since the program would build them while it is timed.
    context.built.packages(&["webtun-gateway", "webtun-playground"])?;
    let program = context.built.examples(&["bench_native"])?.join("bench_native");
    Ok((program, context.or_least("3", "0.1")))
}

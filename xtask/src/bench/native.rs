//! Native programs through network namespaces.

use crate::Result;
use crate::bench::family::{Context, Family, Figure, Sample, Unavailable};
use crate::command::{Command, cargo};
use crate::workspace::{is_root, target};

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

fn measure(context: &Context) -> Result<Vec<Sample>> {
    if !is_root() {
        return Err(Unavailable("needs root, for namespaces and a TUN device".into()).into());
    }
    cargo().args("build --release --package webtun-tests --example bench_native".split(' ')).run()?;
    // Built here, since the program would build them while it is timed.
    cargo().args("build --release --package webtun-gateway --package webtun-playground".split(' ')).run()?;
    let program = target()?.join("release/examples/bench_native");
    let seconds = if context.smoke { "0.1" } else { "3" };
    context.interleave(&["websocket", "webtun", "tcp"], |by| {
        Command::new(&program).args(["--by", by, "--seconds", seconds])
    })
}

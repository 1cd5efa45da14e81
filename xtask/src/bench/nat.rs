//! The NAT with one binding and with many: the dataplane in one process, without sockets.

use crate::Result;
use crate::bench::family::{Context, Family, Figure, Sample};
use crate::command::{Command, cargo};
use crate::workspace::target;

/// See the module.
pub static FAMILY: Family = Family {
    name: "nat",
    about: "packets through the dataplane, with 1 to 100,000 NAT bindings",
    reference: "1",
    figures: &[
        Figure { name: "uplink", unit: "packets/s" },
        Figure { name: "downlink", unit: "packets/s" },
        Figure { name: "uplink, scattered", unit: "packets/s" },
        Figure { name: "downlink, scattered", unit: "packets/s" },
        Figure { name: "new", unit: "bindings/s" },
        Figure { name: "memory", unit: "octets/binding" },
    ],
    measure,
};

fn measure(context: &Context) -> Result<Vec<Sample>> {
    cargo().args("build --release --package webtun-tests --example bench_nat".split(' ')).run()?;
    let program = target()?.join("release/examples/bench_nat");
    let (variants, seconds) =
        if context.smoke { (["1", "100", "1000"], "0.01") } else { (["1", "1000", "100000"], "0.5") };
    context
        .interleave(&variants, |bindings| Command::new(&program).args(["--bindings", bindings, "--seconds", seconds]))
}

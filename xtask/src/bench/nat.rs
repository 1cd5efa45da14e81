//! The dataplane in one process, without sockets: the NAT with few bindings and with many, and one session beside thousands.

use crate::Result;
use crate::bench::family::{Context, Family, Figure, Sample};
use crate::command::Command;

/// By the number of bindings.
pub static NAT: Family = Family {
    name: "nat",
    about: "packets through the dataplane, with 1 to 100,000 NAT bindings, in trains of eight, and scattered: each of \
            another binding than the last, the worst case",
    reference: "1",
    figures: &[
        Figure { name: "uplink", unit: "packets/s" },
        Figure { name: "downlink", unit: "packets/s" },
        Figure { name: "uplink, scattered", unit: "packets/s" },
        Figure { name: "downlink, scattered", unit: "packets/s" },
        Figure { name: "new", unit: "bindings/s" },
        Figure { name: "memory", unit: "octets/binding" },
    ],
    measure: |context| {
        let variants = context.or_least(["1", "1000", "100000"], ["1", "100", "1000"]);
        measure(context, &variants, |bindings| vec!["--bindings", bindings])
    },
};

/// By the number of sessions.
pub static SESSIONS: Family = Family {
    name: "sessions",
    about: "packets of ten busy sessions among 5,000 with 100,000 flows, and of one session alone",
    reference: "1",
    figures: &[
        Figure { name: "uplink", unit: "packets/s" },
        Figure { name: "downlink", unit: "packets/s" },
        Figure { name: "memory of a session", unit: "octets" },
    ],
    measure: |context| {
        let many = context.or_least("5000", "100");
        measure(context, &["1", many], |sessions| match sessions {
            "1" => vec!["--bindings", "20", "--sessions", "1"],
            "100" => vec!["--bindings", "2000", "--sessions", "100", "--busy", "10"],
            _ => vec!["--bindings", "100000", "--sessions", "5000", "--busy", "10"],
        })
    },
};

fn measure(context: &Context, variants: &[&str], flags: impl Fn(&str) -> Vec<&str>) -> Result<Vec<Sample>> {
    let program = context.built.examples(&["bench_nat"])?.join("bench_nat");
    let seconds = context.or_least("0.5", "0.01");
    context.interleave(variants, |variant| Command::new(&program).args(["--seconds", seconds]).args(flags(variant)))
}

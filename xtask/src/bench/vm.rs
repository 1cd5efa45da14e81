//! A Linux guest under v86 in Node, by our ways out and by others. A relay outside of this repository is the reference: it
//! passes frames to a TAP device and does nothing else.

use std::env::current_exe;

use crate::Result;
use crate::bench::family::{Context, Family, Figure, Sample, Unavailable};
use crate::command::Command;
use crate::files::root;
use crate::vm;
use crate::workspace::{is_root, npm_ci};

const MBIT_S: &str = "Mbit/s";

/// See the module.
pub static FAMILY: Family = Family {
    name: "vm",
    about: "a warm Linux guest under v86 in Node, virtio: TCP, and UDP down at 20 Mbit/s; beside a relay to a TAP device",
    reference: "relay",
    figures: &[
        Figure { name: "down, MTU 1500", unit: MBIT_S },
        Figure { name: "up, MTU 1500", unit: MBIT_S },
        Figure { name: "down, MTU 65000", unit: MBIT_S },
        Figure { name: "up, MTU 65000", unit: MBIT_S },
        Figure { name: "UDP lost, MTU 1500", unit: "%" },
        Figure { name: "UDP lost, MTU 65000", unit: "%" },
        // Without those that the guest's socket had no room for.
        Figure { name: "UDP lost on the way, MTU 1500", unit: "%" },
        Figure { name: "UDP lost on the way, MTU 65000", unit: "%" },
    ],
    measure,
};

fn measure(context: &Context) -> Result<Vec<Sample>> {
    let unavailable = |why: &str| Err(Unavailable(why.into()).into());
    if !is_root() {
        return unavailable("needs root, for namespaces, a TUN and a TAP device");
    }
    if !context.smoke && !context.relay.join("tap_relay.py").exists() {
        return unavailable("the reference relay (tap_relay.py) is not there: name its folder by --relay");
    }
    if !context.smoke && !context.peers.join("lib/paths.mjs").exists() {
        return unavailable("the harness with the peers is not there: name its folder by --peers");
    }
    let Some(guest) = vm::build() else {
        return unavailable("the guest is made of Debian packages, and this is no Debian");
    };
    guest.run()?;
    context.built.npm()?;
    npm_ci(&root().join("tests/vm"))?;
    context.built.packages(&["webtun-gateway", "webtun-playground"])?;
    let program = current_exe()?;
    let ways: &[&str] = context.or_least(&["relay", "door", "adapter", "v86 wisp"], &["adapter"]);
    context.interleave(ways, |by| {
        let run = Command::new(&program).args(["demo"]).args(context.built.demo_flags());
        let run = run.args(["--run", "node", "tests/vm/bench.mjs", "--by", by]);
        let run = run.args(context.smoke.then_some("--smoke"));
        run.env("BENCH_PEERS", &context.peers).env("BENCH_VM_RELAY", &context.relay)
    })
}

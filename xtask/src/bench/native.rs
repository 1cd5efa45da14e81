//! Native programs through network namespaces.

use std::path::PathBuf;

use crate::Result;
use crate::bench::family::{Context, Family, Figure, Sample, Unavailable};
use crate::command::Command;
use crate::files::has;
use crate::workspace::is_root;

/// See the module.
pub static FAMILY: Family = Family {
    name: "native",
    about: "one TCP flow of the native client, beside a bare WebSocket, a bare pump between TUN devices, and the kernel's TCP",
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

/// Who carries packets in sockets.
pub static SOCKETS: Family = Family {
    name: "sockets",
    about: "one TCP flow of native programs by what carries packets in ordinary sockets, beside plain TCP: the native client \
            through a gateway without a TUN device, a bare WebSocket with a bare relay, socat with nothing but TCP, \
            slirp4netns and pasta with the kernel of a namespace",
    reference: "tcp",
    figures: FAMILY.figures,
    measure: measure_sockets,
};

/// What idle ones cost.
pub static CONNECTIONS: Family = Family {
    name: "connections",
    about: "10,000 idle TCP connections of one session through a gateway with a TUN device and one without: the gateway's \
            memory",
    reference: "tun",
    figures: &[Figure { name: "memory of a connection", unit: "KiB" }, Figure { name: "opened", unit: "per s" }],
    measure: |context| {
        let program = build(context, &["bench_connections"])?;
        let count = context.or_least("10000", "100");
        context.interleave(&["tun", "user"], |by| Command::new(&program).args(["--by", by, "--count", count]))
    },
};

/// A line that loses packets.
pub static LOSSY: Family = Family {
    name: "lossy",
    about: "one TCP flow over a line behind the gateway that loses 1 % or 3 % of all packets, 100 Mbit/s, 80 ms to and fro: of \
            the native client, beside a Linux in the gateway's place that sends by BBR or CUBIC",
    reference: "linux",
    figures: &[
        Figure { name: "up at 1 %, beside bbr", unit: "MB/s" },
        Figure { name: "up at 1 %, beside cubic", unit: "MB/s" },
        Figure { name: "down at 1 %, from bbr", unit: "MB/s" },
        Figure { name: "down at 1 %, from cubic", unit: "MB/s" },
        Figure { name: "up at 3 %, beside bbr", unit: "MB/s" },
        Figure { name: "up at 3 %, beside cubic", unit: "MB/s" },
        Figure { name: "down at 3 %, from bbr", unit: "MB/s" },
        Figure { name: "down at 3 %, from cubic", unit: "MB/s" },
    ],
    measure: |context| {
        let program = build(context, &["bench_lossy", "line"])?;
        let variants = context.or_least(&["linux", "end-to-end", "split", "user"][..], &["split"]);
        let (seconds, loss) = (context.or_least("10", "0.2"), context.or_least("1,3", "1"));
        context.interleave_seeded(variants, |by, round| {
            Command::new(&program).args([
                "--by",
                by,
                "--seconds",
                seconds,
                "--loss",
                loss,
                "--seed",
                &round.to_string(),
            ])
        })
    },
};

fn measure_sockets(context: &Context) -> Result<Vec<Sample>> {
    let (program, seconds) = (build(context, &["bench_native", "bench_relay"])?, duration(context));
    let others = [("socat", "socat"), ("slirp4netns", "slirp4netns"), ("pasta", "passt")];
    let present: Vec<&str> = others.iter().map(|(program, _)| *program).filter(|program| has(program)).collect();
    if present.is_empty() && !context.smoke {
        return Err(
            Unavailable("needs socat, slirp4netns or pasta (apt-get install socat slirp4netns passt)".into()).into()
        );
    }
    for (program, package) in others.iter().filter(|(program, _)| !context.smoke && !has(program)) {
        eprintln!("{program} is left out (apt-get install {package})");
    }
    let variants = [&["tcp", "user", "relay"][..], if context.smoke { &[] } else { &present }].concat();
    context.interleave(&variants, |by| Command::new(&program).args(["--by", by, "--seconds", seconds]))
}

fn measure_shards(context: &Context) -> Result<Vec<Sample>> {
    let (program, seconds) = prepare(context)?;
    context.interleave(context.or_least(&["1", "2", "4"], &["2"]), |shards| {
        Command::new(&program).args(["--by", "webtun", "--seconds", seconds, "--shards", shards])
    })
}

fn measure(context: &Context) -> Result<Vec<Sample>> {
    let (program, seconds) = prepare(context)?;
    context.interleave(&["websocket", "webtun", "pump", "tcp"], |by| {
        Command::new(&program).args(["--by", by, "--seconds", seconds])
    })
}

/// The program for flows, and how long each is to be.
fn prepare(context: &Context) -> Result<(PathBuf, &'static str)> {
    Ok((build(context, &["bench_native"])?, duration(context)))
}

fn duration(context: &Context) -> &'static str {
    context.or_least("3", "0.1")
}

/// Builds these programs, of which the first is to be run, and what they start: they would build that while it is timed.
fn build(context: &Context, examples: &[&str]) -> Result<PathBuf> {
    if !is_root() {
        return Err(Unavailable("needs root, for namespaces and a TUN device".into()).into());
    }
    context.built.packages(&["webtun-gateway", "webtun-playground"])?;
    Ok(context.built.examples(examples)?.join(examples[0]))
}

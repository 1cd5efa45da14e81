//! `cargo xtask bench`: families of measurements, each in interleaved rounds, told as ratios within a round.

mod built;
mod chart;
mod family;
mod machine;
mod nat;
mod native;
mod page;
mod peers;
mod report;
mod size;
mod summary;
mod vm;

use std::path::PathBuf;
use std::process::ExitCode;
use std::rc::Rc;

use clap::Args;

use crate::Result;
use crate::bench::built::Built;
use crate::bench::family::{Context, Family, Unavailable};
use crate::bench::report::Report;
use crate::bench::summary::Summary;
use crate::files::root;

/// All families. To add one, add a row.
static FAMILIES: &[&Family] = &[
    &nat::NAT,
    &peers::FLOW,
    &peers::EGRESS,
    &peers::FLOWS,
    &page::FAIR,
    &page::LOADED,
    &page::NEAR,
    &page::IDLE,
    &page::EMSCRIPTEN,
    &page::WEBSOCKIFY,
    &native::FAMILY,
    &native::SHARDS,
    &native::SOCKETS,
    &native::CONNECTIONS,
    &native::LOSSY,
    &size::FAMILY,
    &peers::UDP,
    &peers::OPENS,
    &peers::FETCH,
    &peers::FETCH_TLS,
    &peers::FIRST,
    &peers::FAR,
    &peers::DOOR,
    &nat::SESSIONS,
    &vm::FAMILY,
];

/// Flags of `cargo xtask bench`.
#[derive(Args)]
pub struct Options {
    /// Families to measure; all that this machine can, where none is named
    #[arg(value_name = "NAME")]
    names: Vec<String>,
    /// Name the families and measure nothing
    #[arg(long)]
    list: bool,
    /// Rounds: in each, every variant is measured once, beginning with another one
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..))]
    rounds: u32,
    /// Write all figures, with the samples they are made of, to FILE
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Write the tables into docs/performance.md and the charts into docs/performance/
    #[arg(long)]
    docs: bool,
    /// One round of the smallest sizes: whether it works, and no figure of any worth
    #[arg(long, conflicts_with = "docs")]
    smoke: bool,
    /// The folder of the harness that starts the peers; by default a neighbour of this checkout
    #[arg(long, value_name = "DIR", env = "BENCH_PEERS")]
    peers: Option<PathBuf>,
    /// The folder of the reference relay for virtual machines; by default a neighbour of this checkout
    #[arg(long, value_name = "DIR", env = "BENCH_VM_RELAY")]
    relay: Option<PathBuf>,
}

/// Measures the chosen families.
pub fn run(options: &Options) -> Result<ExitCode> {
    let chosen = choose(&options.names)?;
    if options.list {
        chosen.iter().for_each(|family| println!("{:<10} {}", family.name, family.about));
        return Ok(ExitCode::SUCCESS);
    }
    let context = options.context();
    let mut report = Report::begin()?;
    for family in chosen {
        let samples = match (family.measure)(&context) {
            Ok(samples) => samples,
            // What was not asked for by its name may be out of reach here.
            Err(error) if options.names.is_empty() && error.is::<Unavailable>() => {
                println!("{}: not measured: {error}\n", family.name);
                continue;
            }
            Err(error) => return Err(format!("{}: {error}", family.name).into()),
        };
        let summary = Summary::new(family, samples);
        println!("{}: {}\n\n{}", family.name, family.about, summary.table());
        report.families.push(summary);
    }
    if let Some(file) = &options.json {
        report.write_json(file)?;
    }
    if options.docs {
        report.write_docs()?;
    }
    Ok(ExitCode::SUCCESS)
}

impl Options {
    fn context(&self) -> Context {
        let neighbour = |name| root().join("../shared").join(name);
        let peers = self.peers.clone().unwrap_or_else(|| neighbour("bench-peers"));
        let relay = self.relay.clone().unwrap_or_else(|| neighbour("vm-guest"));
        let built = Rc::new(Built::new(!self.smoke));
        Context { rounds: if self.smoke { 1 } else { self.rounds }, smoke: self.smoke, peers, relay, built }
    }
}

fn choose(names: &[String]) -> Result<Vec<&'static Family>> {
    let find = |name: &String| {
        let family = FAMILIES.iter().find(|family| family.name == name).copied();
        family.ok_or_else(|| {
            let all: Vec<_> = FAMILIES.iter().map(|family| family.name).collect();
            format!("no family is called '{name}'; there are {}", all.join(", ")).into()
        })
    };
    if names.is_empty() { Ok(FAMILIES.to_vec()) } else { names.iter().map(find).collect() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_families_are_unique_and_mistyped_ones_an_error() {
        let names: std::collections::BTreeSet<_> = FAMILIES.iter().map(|family| family.name).collect();
        assert_eq!(names.len(), FAMILIES.len());
        assert!(choose(&["nat".into()]).is_ok_and(|chosen| chosen.len() == 1));
        assert!(choose(&["nut".into()]).is_err_and(|error| error.to_string().contains("nat")));
    }
}

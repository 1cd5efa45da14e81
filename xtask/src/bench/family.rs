//! What a family is, and how programs are measured side by side.

use std::fmt;
use std::path::PathBuf;
use std::rc::Rc;

use serde::Serialize;

use crate::Result;
use crate::bench::built::Built;
use crate::command::Command;

/// Variants of one thing, measured by the same figures.
pub struct Family {
    /// What it is chosen by.
    pub name: &'static str,
    /// What it measures, for people.
    pub about: &'static str,
    /// The variant that the others are divided by.
    pub reference: &'static str,
    /// The figures, in the order of the table. A variant may lack some.
    pub figures: &'static [Figure],
    /// Measures all variants in all rounds.
    pub measure: fn(&Context) -> Result<Vec<Sample>>,
}

/// Something that is measured.
pub struct Figure {
    /// Its name in the programs' output, the table and the chart.
    pub name: &'static str,
    /// Its unit.
    pub unit: &'static str,
}

/// How to measure.
#[derive(Clone)]
pub struct Context {
    /// How often.
    pub rounds: u32,
    /// As little as shows that it works.
    pub smoke: bool,
    /// Where the harness with the peers should be.
    pub peers: PathBuf,
    /// Where the reference relay for virtual machines should be.
    pub relay: PathBuf,
    /// What is measured.
    pub built: Rc<Built>,
}

/// Why a family cannot be measured on this machine.
#[derive(Debug)]
pub struct Unavailable(pub String);

impl fmt::Display for Unavailable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Unavailable {}

/// One measurement.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Sample {
    /// Of which round, from 0 on.
    pub round: u32,
    /// The variant.
    pub variant: String,
    /// The figure.
    pub figure: String,
    /// In the figure's unit.
    pub value: f64,
}

impl Context {
    /// One of two: what is measured, and the least that runs every line of the measurement.
    pub fn or_least<T>(&self, measured: T, least: T) -> T {
        if self.smoke { least } else { measured }
    }

    /// Runs each variant's program once in each round. The order is A B C, then B C A: whatever grows or shrinks with
    /// time meets all alike. A program writes lines `FIGURE VALUE` to its stdout.
    pub fn interleave(&self, variants: &[&str], program: impl Fn(&str) -> Command) -> Result<Vec<Sample>> {
        self.interleave_seeded(variants, |variant, _| program(variant))
    }

    /// The same, for programs that are told the round: what is drawn by lot is the same for all variants of one.
    pub fn interleave_seeded(&self, variants: &[&str], program: impl Fn(&str, u32) -> Command) -> Result<Vec<Sample>> {
        let mut samples = Vec::new();
        for round in 0..self.rounds {
            for variant in rotated(variants, round) {
                let output = program(variant, round).output()?;
                for line in output.lines() {
                    let (figure, value) = line.rsplit_once(' ').ok_or_else(|| format!("no figure: {line}"))?;
                    let value = value.parse().map_err(|error| format!("{line}: {error}"))?;
                    samples.push(Sample { round, variant: variant.to_owned(), figure: figure.to_owned(), value });
                }
            }
        }
        Ok(samples)
    }
}

fn rotated<'a>(variants: &[&'a str], round: u32) -> impl Iterator<Item = &'a str> {
    variants.iter().copied().cycle().skip(round as usize % variants.len().max(1)).take(variants.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn context(rounds: u32) -> Context {
        let built = Rc::new(Built::new(false));
        Context { rounds, smoke: true, peers: PathBuf::new(), relay: PathBuf::new(), built }
    }

    #[test]
    fn each_round_begins_with_another_variant() {
        let orders: Vec<String> = (0..4).map(|round| rotated(&["A", "B", "C"], round).collect()).collect();
        assert_eq!(orders, ["ABC", "BCA", "CAB", "ABC"]);
    }

    #[test]
    fn lines_of_a_program_become_samples() {
        let program = |variant: &str| Command::line(&format!("echo {variant} 2.5"));
        let samples = context(2).interleave(&["fast", "slow"], program).unwrap();
        let seen: Vec<_> = samples.iter().map(|sample| (sample.round, sample.variant.as_str())).collect();
        assert_eq!(seen, [(0, "fast"), (0, "slow"), (1, "slow"), (1, "fast")]);
        assert!(samples.iter().all(|sample| sample.value == 2.5 && sample.figure == sample.variant));
        assert!(context(1).interleave(&["x"], |_| Command::line("echo nonsense")).is_err());
    }
}

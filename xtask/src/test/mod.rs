//! `cargo xtask test`: named steps in order, one line each.

mod runner;
mod steps;

use std::process::ExitCode;
use std::time::Duration;

use clap::Args;

use crate::Result;
use crate::test::runner::{Outcome, Runner};
use crate::test::steps::{SETUP, STEPS, Step, Tier};

/// Flags of `cargo xtask test`.
#[derive(Args)]
pub struct Options {
    /// Only the steps whose name contains NAME; may be given several times
    #[arg(short, value_name = "NAME")]
    keep: Vec<String>,
    /// Formatting, lints and unit tests: the daily loop
    #[arg(long, conflicts_with = "full")]
    fast: bool,
    /// All of it, and the long matrices, soaks and Firefox
    #[arg(long)]
    full: bool,
    /// Name the steps and run none
    #[arg(long)]
    list: bool,
}

/// Runs the chosen steps. Their output is kept in the target directory and shown where one fails.
pub async fn run(options: &Options) -> Result<ExitCode> {
    options.check_names()?;
    let chosen = options.chosen();
    if options.list {
        chosen.iter().for_each(|step| println!("{:<12} {}", step.name, step.about));
        return Ok(ExitCode::SUCCESS);
    }
    let runner = Runner::new(options.full)?;
    let (mut passed, mut failed, mut skipped) = (0, 0, 0);
    for step in chosen {
        let (outcome, took) = runner.run(step).await?;
        match outcome {
            Outcome::Passed(_) => passed += 1,
            Outcome::Failed(_) => failed += 1,
            Outcome::Skipped(_) => skipped += 1,
        }
        report(step, &outcome, took);
    }
    let tail = if skipped == 0 { String::new() } else { format!(", {skipped} skipped") };
    println!("{passed} passed, {failed} failed{tail}");
    Ok(if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

impl Options {
    /// A name that was mistyped must not look like a test that has passed.
    fn check_names(&self) -> Result {
        let of_tier = || STEPS.iter().filter(|step| self.allows(step.tier));
        match self.keep.iter().find(|part| !of_tier().any(|step| step.name.contains(*part))) {
            None => Ok(()),
            Some(part) => {
                let names: Vec<_> = of_tier().map(|step| step.name).collect();
                Err(format!("no step has '{part}' in its name; there are {}", names.join(", ")).into())
            }
        }
    }

    fn allows(&self, tier: Tier) -> bool {
        match tier {
            Tier::Fast => true,
            Tier::Normal => !self.fast,
            // Naming a long step is enough to want it.
            Tier::Full => self.full || (!self.keep.is_empty() && !self.fast),
        }
    }

    /// Steps beyond the fast ones lean on what `setup` installs, which goes before them therefore, named or not.
    fn chosen(&self) -> Vec<&'static Step> {
        let needs_setup = STEPS.iter().any(|step| self.chooses(step) && step.tier != Tier::Fast);
        STEPS.iter().filter(|step| self.chooses(step) || needs_setup && step.name == SETUP).collect()
    }

    fn chooses(&self, step: &Step) -> bool {
        self.allows(step.tier) && (self.keep.is_empty() || self.keep.iter().any(|part| step.name.contains(part)))
    }
}

fn report(step: &Step, outcome: &Outcome, took: Duration) {
    let (word, reason) = match outcome {
        Outcome::Passed(unsteady) => ("ok  ", unsteady.as_str()),
        Outcome::Failed(output) => ("FAIL", output.as_str()),
        Outcome::Skipped(reason) => ("skip", reason.as_str()),
    };
    println!(
        "{word} {:<12} {:7.1} s  {}",
        step.name,
        took.as_secs_f64(),
        if word == "skip" { reason } else { step.about }
    );
    if word != "skip" && !reason.is_empty() {
        println!("{reason}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(arguments: &[&str]) -> Options {
        #[derive(clap::Parser)]
        struct Cli {
            #[command(flatten)]
            options: Options,
        }
        let Cli { options } = clap::Parser::parse_from([&["test"], arguments].concat());
        options
    }

    fn chosen(arguments: &[&str]) -> Vec<&'static str> {
        parse(arguments).chosen().iter().map(|step| step.name).collect()
    }

    #[test]
    fn names_of_steps_are_unique() {
        let names: std::collections::BTreeSet<_> = STEPS.iter().map(|step| step.name).collect();
        assert_eq!(names.len(), STEPS.len());
    }

    #[test]
    fn the_daily_loop_is_short() {
        assert_eq!(chosen(&["--fast"]), ["fmt", "clippy", "unit"]);
    }

    #[test]
    fn a_part_of_a_name_chooses() {
        assert_eq!(chosen(&["-k", "net"]), ["setup", "netns"], "it needs what is installed there");
        assert_eq!(chosen(&["-k", "fmt", "-k", "unit"]), ["fmt", "unit"]);
    }

    #[test]
    fn a_name_that_chooses_nothing_is_an_error() {
        assert!(parse(&["-k", "fmt", "-k", "unit"]).check_names().is_ok());
        let error = parse(&["-k", "fmt", "-k", "fnt"]).check_names().unwrap_err().to_string();
        assert!(error.contains("'fnt'") && error.contains("clippy"), "{error}");
        assert!(parse(&["--fast", "-k", "e2e"]).check_names().is_err());
    }

    #[test]
    fn long_steps_run_when_asked_for() {
        assert!(!chosen(&[]).contains(&"firefox"));
        assert!(chosen(&["--full"]).contains(&"firefox"));
        assert!(chosen(&["-k", "firefox"]).contains(&"firefox"));
    }
}

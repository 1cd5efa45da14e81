//! Runs one step: its commands one after the other, with their output in one log.

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use tokio::time::timeout;

use crate::Result;
use crate::command::Command;
use crate::daemon::ask_to_end;
use crate::files::{last_lines, read_text};
use crate::test::steps::{Plan, Step};
use crate::workspace::scratch;

/// Lines of the log's end that are shown of a step that failed, and of those that name a failure.
const SHOWN: usize = 60;
const NAMED: usize = 20;
/// How such a line begins: a scenario's, a test's of cargo or Node, a panic's, a compiler's.
const FAILURES: [&str; 7] = ["FAILED ", "UNSTEADY ", "not ok ", "error: ", "error[", "---- ", "thread '"];

/// How a step ended.
pub enum Outcome {
    /// Every command succeeded: what passed at its second try only, with why not at the first.
    Passed(String),
    /// One did not: the end of the log.
    Failed(String),
    /// It cannot run on this machine: why.
    Skipped(String),
}

/// Runs steps.
pub struct Runner {
    logs: PathBuf,
    full: bool,
}

impl Runner {
    /// `full`: steps may take long, and nothing may be skipped for want of time.
    pub fn new(full: bool) -> Result<Self> {
        let logs = scratch("")?;
        Ok(Self { logs, full })
    }

    /// Runs `step` to its end. Err only where it cannot even be logged.
    #[expect(clippy::disallowed_methods, reason = "this shell measures how long a step takes")]
    pub async fn run(&self, step: &Step) -> Result<(Outcome, Duration)> {
        let began = Instant::now();
        let path = self.logs.join(format!("{}.log", step.name));
        let mut log = File::create(&path)?;
        let outcome = match (step.plan)(self.full) {
            Err(error) => Outcome::Failed(error.to_string()),
            Ok(Plan::Skip(reason)) => Outcome::Skipped(reason),
            Ok(Plan::Run(commands)) => match self.run_all(step, commands, &mut log).await {
                Ok(()) => Outcome::Passed(lines_that(&read_text(&path), &["UNSTEADY "])),
                Err(error) => Outcome::Failed(explain(&path, &error.to_string())),
            },
        };
        Ok((outcome, began.elapsed()))
    }

    async fn run_all(&self, step: &Step, commands: Vec<Command>, log: &mut File) -> Result {
        let limit = Duration::from_secs(60 * if self.full { 4 * step.minutes } else { step.minutes });
        let all = async {
            for command in commands {
                run_logged(command, log, limit).await?;
            }
            Ok(())
        };
        all.await
    }
}

async fn run_logged(command: Command, log: &mut File, limit: Duration) -> Result {
    let name = command.to_string();
    writeln!(log, "$ {name}")?;
    let mut command = command.into_tokio();
    command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log.try_clone()?).kill_on_drop(true);
    let mut child = command.spawn().map_err(|error| format!("cannot run `{name}`: {error}"))?;
    match timeout(limit, child.wait()).await {
        Ok(status) => {
            let status = status?;
            if status.success() { Ok(()) } else { Err(format!("`{name}` failed: {status}").into()) }
        }
        Err(_) => {
            ask_to_end(&mut child).await;
            Err(format!("`{name}` did not end within {} minutes", limit.as_secs() / 60).into())
        }
    }
}

/// What failed comes first: a log of CI may be cut at its end.
fn explain(path: &Path, error: &str) -> String {
    let log = read_text(path);
    let (named, end) = (lines_that(&log, &FAILURES), last_lines(&log, SHOWN));
    format!("{error}\n{named}\nthe whole log: {}\nits end:\n{end}", path.display())
}

/// The first of the lines that begin with one of these.
fn lines_that(log: &str, begin: &[&str]) -> String {
    let does = |line: &&str| begin.iter().any(|begin| line.trim_start().starts_with(begin));
    log.lines().filter(does).take(NAMED).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_failure_stands_before_the_end_of_the_log() {
        let path = scratch("").unwrap().join("explained.log");
        let rest = "ok     another\n".repeat(2 * SHOWN);
        std::fs::write(&path, format!("ok     one\nFAILED two  it hung\n{rest}")).unwrap();
        let text = explain(&path, "`run` failed");
        std::fs::remove_file(&path).unwrap();
        assert!(text.starts_with("`run` failed\nFAILED two  it hung\n"), "{text}");
        assert_eq!(text.lines().filter(|line| line.contains("another")).count(), SHOWN);
    }
}

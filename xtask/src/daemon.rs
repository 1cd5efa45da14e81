//! A child process that runs beside us and is ended with us.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::io::{AsyncBufReadExt, BufReader, Lines};
use tokio::process::{Child, ChildStdout};
use tokio::time::timeout;

use crate::Result;
use crate::command::Command;

const START: Duration = Duration::from_secs(20);
/// From the request to end to the kill.
const PATIENCE: Duration = Duration::from_secs(10);

/// A server that we started. Dropping it kills it; `stop` lets it clean up.
pub struct Daemon {
    name: String,
    child: Child,
    log: PathBuf,
}

impl Daemon {
    /// Starts `program` with `args` and waits for the first line of its stdout that begins with `ready`. Its stderr goes
    /// to `log`. A namespace of the network can be given.
    pub async fn start(
        program: &Path,
        args: &[String],
        ready: &str,
        log: PathBuf,
        namespace: Option<&str>,
    ) -> Result<Self> {
        let name = program.file_name().unwrap_or_default().display().to_string();
        // Where we are killed, the kernel ends the child: it would hold the port and the devices.
        let mut command = Command::new("setpriv").args(["--pdeathsig", "TERM", "--"]);
        if let Some(namespace) = namespace {
            command = command.args(["ip", "netns", "exec", namespace]);
        }
        let mut command = command.args([program]).args(args).into_tokio();
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(File::create(&log)?);
        let mut child = command.kill_on_drop(true).spawn().map_err(|error| format!("cannot start {name}: {error}"))?;
        let stdout = child.stdout.take().ok_or("no stdout")?;
        let mut daemon = Self { name, child, log };
        let mut lines = BufReader::new(stdout).lines();
        match timeout(START, wait_for(&mut lines, ready)).await {
            Ok(true) => {}
            Ok(false) => return Err(daemon.explain("ended at its start")),
            Err(_) => {
                let error = daemon.explain("is not ready after 20 s");
                daemon.stop().await;
                return Err(error);
            }
        }
        // A full pipe would stop it.
        tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
        Ok(daemon)
    }

    /// Resolves when it ends by itself.
    pub async fn ended(&mut self) -> crate::Error {
        let status = self.child.wait().await.map_or_else(|error| error.to_string(), |status| status.to_string());
        self.explain(&format!("ended: {status}"))
    }

    /// Asks it to end, and kills it when it does not.
    pub async fn stop(&mut self) {
        if ask_to_end(&mut self.child).await.is_none() {
            eprintln!("{} did not end in {} s and was killed", self.name, PATIENCE.as_secs());
        }
    }

    fn explain(&self, what: &str) -> crate::Error {
        let log = std::fs::read_to_string(&self.log).unwrap_or_default();
        let lines: Vec<_> = log.lines().collect();
        let tail = lines[lines.len().saturating_sub(20)..].join("\n");
        format!("{} {what}\n{tail}", self.name).into()
    }
}

/// SIGTERM, and SIGKILL for a child that does not heed it, in which case the result is None.
pub async fn ask_to_end(child: &mut Child) -> Option<ExitStatus> {
    if let Some(pid) = child.id() {
        let _ = kill(Pid::from_raw(pid.cast_signed()), Signal::SIGTERM);
    }
    match timeout(PATIENCE, child.wait()).await {
        Ok(status) => status.ok(),
        Err(_) => {
            let _ = child.kill().await;
            None
        }
    }
}

async fn wait_for(lines: &mut Lines<BufReader<ChildStdout>>, ready: &str) -> bool {
    while let Ok(Some(line)) = lines.next_line().await {
        if line.starts_with(ready) {
            return true;
        }
    }
    false
}

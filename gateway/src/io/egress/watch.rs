//! Notices when this machine gets or loses addresses, for the policy denies them.

use super::{own_addresses, user};
use crate::dataplane::OwnAddresses;
use crate::io::driver::Shards;
use std::io;
use std::process::Stdio;
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, BufReader, Lines};
use tokio::process::{Child, ChildStdout};
use tokio::time::timeout;

/// Changes come in groups; so long one waits for the rest of them.
const SETTLE: Duration = Duration::from_millis(20);
/// The addresses are looked at this often even where nothing was noticed.
const AT_LEAST_EVERY: Duration = Duration::from_secs(60);

/// What `ip monitor` says, for as long as it runs.
struct Monitor {
    lines: Lines<BufReader<ChildStdout>>,
    /// Ends with this value.
    _child: Child,
}

impl Monitor {
    fn start() -> io::Result<Self> {
        let mut command = tokio::process::Command::new("ip");
        command.args(["-oneline", "monitor", "address"]).kill_on_drop(true);
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn()?;
        let output = child.stdout.take().ok_or(io::ErrorKind::BrokenPipe)?;
        Ok(Self { lines: BufReader::new(output).lines(), _child: child })
    }

    /// Waits for a change; false where there will be no more.
    async fn change(&mut self) -> bool {
        matches!(self.lines.next_line().await, Ok(Some(_)))
    }
}

/// How often they are looked at where `ip` may be missing.
const LOOK_EVERY: Duration = Duration::from_secs(2);

/// Tells the drivers of each change, and never ends by itself. `by_ip`: `ip` is there.
pub async fn watch_addresses(known: OwnAddresses, drivers: Shards, by_ip: bool) {
    if by_ip { watch_by_ip(known, drivers).await } else { look_again(known, drivers).await }
}

/// A look costs some microseconds, and the sockets have a check of their own.
async fn look_again(mut known: OwnAddresses, drivers: Shards) {
    loop {
        tokio::time::sleep(LOOK_EVERY).await;
        match user::own_addresses() {
            Ok(own) if own != known => {
                tracing::info!(hosts = ?own.hosts, "this machine's addresses have changed");
                drivers.set_own_addresses(&own).await;
                known = own;
            }
            Ok(_) => {}
            Err(error) => tracing::warn!(%error, "this machine's addresses cannot be read"),
        }
    }
}

async fn watch_by_ip(mut known: OwnAddresses, drivers: Shards) {
    let mut monitor = None;
    loop {
        if monitor.is_none() {
            monitor = Monitor::start().inspect_err(|error| tracing::warn!(%error, "`ip monitor` does not run")).ok();
        }
        // What changed while nobody watched is found here.
        match tokio::task::spawn_blocking(own_addresses).await {
            Ok(Ok(own)) if own != known => {
                tracing::info!(hosts = ?own.hosts, "this machine's addresses have changed");
                drivers.set_own_addresses(&own).await;
                known = own;
            }
            Ok(Ok(_)) => {}
            Ok(Err(error)) => tracing::warn!(%error, "this machine's addresses cannot be read"),
            Err(error) => tracing::error!(%error, "reading this machine's addresses has failed"),
        }
        let is_alive = match &mut monitor {
            Some(monitor) => timeout(AT_LEAST_EVERY, next_changes(monitor)).await.unwrap_or(true),
            None => {
                tokio::time::sleep(AT_LEAST_EVERY).await;
                true
            }
        };
        if !is_alive {
            monitor = None;
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
    }
}

/// Waits for a change and those that come with it.
async fn next_changes(monitor: &mut Monitor) -> bool {
    let mut is_alive = monitor.change().await;
    while is_alive && let Ok(more) = timeout(SETTLE, monitor.change()).await {
        is_alive = more;
    }
    is_alive
}

//! How a tool ends.

use std::error::Error;
use std::future::Future;

use tokio::signal::unix::{SignalKind, signal};

/// Runs a tool on a runtime and ends the process with the status it gives; an error is printed and gives 1.
///
/// The process is ended outright: a blocked read of the standard input would hold up the runtime's own end.
pub fn run(name: &str, tool: impl Future<Output = Result<i32, Box<dyn Error>>>) -> ! {
    let result = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(Into::into)
        .and_then(|runtime| runtime.block_on(tool));
    std::process::exit(match result {
        Ok(status) => status,
        Err(error) => {
            eprintln!("{name}: {error}");
            1
        }
    })
}

/// Runs `work` until it ends or the process is asked to end (SIGINT, SIGTERM), so that the session can be closed in either
/// case and does not wait out its grace at the gateway. Status 130: interrupted.
///
/// # Errors
/// Those of `work`.
pub async fn unless_interrupted(
    work: impl Future<Output = Result<i32, Box<dyn Error>>>,
) -> Result<i32, Box<dyn Error>> {
    let mut terminated = signal(SignalKind::terminate())?;
    tokio::select! {
        result = work => result,
        result = tokio::signal::ctrl_c() => Ok(result.map(|()| 130)?),
        _ = terminated.recv() => Ok(130),
    }
}

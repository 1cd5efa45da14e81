//! How a tool ends.

use std::error::Error;
use std::future::Future;

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

//! The real iperf3 server, where it is installed.

use tokio::process::{Child, Command};

use crate::listen::Binder;

const IPERF3: u16 = 5201;

/// Starts iperf3 on this address. The child ends when the result is dropped. One iperf3 serves one test at a time.
pub fn start(bind: &Binder) -> Option<Child> {
    let at = bind.at(IPERF3);
    let child = Command::new("iperf3")
        .args(["--server", "--bind", &at.ip().to_string(), "--port", &at.port().to_string()])
        .stdin(std::process::Stdio::null())
        .stdout(std::process::Stdio::null())
        .kill_on_drop(true)
        .spawn();
    match child {
        Ok(child) => Some(child),
        Err(error) => {
            eprintln!("webtun-playground: no iperf3 on {at}: {error} (apt-get install iperf3)");
            None
        }
    }
}

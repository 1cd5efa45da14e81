//! Systems whose kernel does not forward and translate as Linux does: sockets do there.

use super::super::SetupError;
use crate::dataplane::EgressOffload;
use std::fs::File;
use tokio::io::unix::AsyncFd;

pub(super) fn create(name: &str, _with_header: bool) -> Result<(AsyncFd<File>, EgressOffload), SetupError> {
    let message = "only Linux forwards what it brings; set `egress` to \"user\" or \"auto\"".to_owned();
    Err(SetupError::Tun { name: name.to_owned(), message })
}

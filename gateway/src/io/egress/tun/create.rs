//! Making the device, and telling it what the kernel is to take over.

use super::super::SetupError;
use super::sys;
use crate::dataplane::EgressOffload;
use ::tun::Configuration;
use std::fs::File;
use std::io;
use tokio::io::unix::AsyncFd;

/// The device, and what of the offload it has.
pub(super) fn create(name: &str, with_header: bool) -> Result<(AsyncFd<File>, EgressOffload), SetupError> {
    let mut configuration = Configuration::default();
    configuration.tun_name(name);
    // Address, MTU and state are set by `ip`, in one batch with the routes.
    configuration.platform_config(|platform| {
        platform.ensure_root_privileges(false).vnet_hdr(with_header);
    });
    let other = |message: String| SetupError::Tun { name: name.to_owned(), message };
    let device = ::tun::create(&configuration).map_err(|error| match error {
        ::tun::Error::Io(error) => explain(name, &error),
        error => other(error.to_string()),
    })?;
    let device = sys::watch(device, with_header).map_err(|error| other(error.to_string()))?;
    let offload = if with_header { sys::enable_offload(device.get_ref()) } else { EgressOffload::None };
    Ok((device, offload))
}

fn explain(name: &str, error: &io::Error) -> SetupError {
    match error.raw_os_error() {
        Some(libc::ENOENT | libc::ENODEV | libc::ENXIO) => SetupError::NoTun,
        Some(libc::EPERM | libc::EACCES) => SetupError::Privilege { what: format!("make the TUN device {name}") },
        Some(libc::EBUSY) => SetupError::TunBusy { name: name.to_owned() },
        _ => SetupError::Tun { name: name.to_owned(), message: error.to_string() },
    }
}

//! The only `unsafe` code of the gateway: taking a descriptor over from the crate that made it.
#![allow(unsafe_code)]

use ::tun::Device;
use std::fs::File;
use std::io;
use std::os::fd::{FromRawFd, IntoRawFd};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// The device as a file that the runtime watches for reading. As a file, because `Device::recv` and `Device::send` clear
/// a buffer on the stack per packet, and `Device` does not vouch for its descriptor.
pub(super) fn watch(device: Device) -> io::Result<AsyncFd<File>> {
    device.set_nonblock()?;
    // SAFETY: `into_raw_fd` gives up ownership of an open descriptor, which nothing else owns from here on.
    let file = unsafe { File::from_raw_fd(device.into_raw_fd()) };
    // SAFETY: `File` owns its descriptor, always shows the same one, and keeps it open until it is dropped.
    unsafe { AsyncFd::register_with_interest(file, Interest::READABLE) }.map_err(io::Error::from)
}

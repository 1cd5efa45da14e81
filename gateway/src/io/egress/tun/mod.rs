//! The TUN device: whole IP packets, without blocking.

mod sys;

use super::SetupError;
use ::tun::Configuration;
use std::fs::File;
use std::io::{self, Read, Write};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// The largest packet in octets. The path's own MTU is the kernel's business: it fragments and reassembles.
pub const MTU: usize = 65_535;

/// An open device.
#[derive(Debug)]
pub struct TunDevice {
    device: AsyncFd<File>,
}

/// Makes the device `name`, or attaches to one that was made beforehand. It is neither up nor has it addresses.
///
/// # Errors
/// [`SetupError::NoTun`], [`SetupError::Privilege`], [`SetupError::TunBusy`], or [`SetupError::Tun`] for the rest.
pub(super) fn open(name: &str) -> Result<TunDevice, SetupError> {
    let mut configuration = Configuration::default();
    configuration.tun_name(name);
    // Address, MTU and state are set by `ip`, in one batch with the routes.
    configuration.platform_config(|platform| {
        platform.ensure_root_privileges(false);
    });
    let other = |message: String| SetupError::Tun { name: name.to_owned(), message };
    let device = ::tun::create(&configuration).map_err(|error| match error {
        ::tun::Error::Io(error) => explain(name, &error),
        error => other(error.to_string()),
    })?;
    let device = sys::watch(device).map_err(|error| other(error.to_string()))?;
    Ok(TunDevice { device })
}

fn explain(name: &str, error: &io::Error) -> SetupError {
    match error.raw_os_error() {
        Some(libc::ENOENT | libc::ENODEV | libc::ENXIO) => SetupError::NoTun,
        Some(libc::EPERM | libc::EACCES) => SetupError::Privilege { what: format!("make the TUN device {name}") },
        Some(libc::EBUSY) => SetupError::TunBusy { name: name.to_owned() },
        _ => SetupError::Tun { name: name.to_owned(), message: error.to_string() },
    }
}

impl TunDevice {
    /// Waits until [`Self::try_recv`] has something.
    ///
    /// # Errors
    /// Where the runtime cannot watch the device.
    pub async fn readable(&self) -> io::Result<()> {
        self.device.readable().await.map(|mut guard| guard.retain_ready())
    }

    /// The next packet, cut off at the end of `buffer`.
    ///
    /// # Errors
    /// `WouldBlock` where there is none; others where the device is gone.
    pub fn try_recv(&self, buffer: &mut [u8]) -> io::Result<usize> {
        self.device.try_io(Interest::READABLE, |mut device| device.read(buffer))
    }

    /// Hands one packet to the kernel. It does not wait: a TUN device takes a packet at once or never.
    ///
    /// # Errors
    /// Where the kernel does not take the packet, because it is malformed or the device is down.
    pub fn send(&self, packet: &[u8]) -> io::Result<()> {
        let mut device = self.device.get_ref();
        device.write(packet).map(drop)
    }
}

//! Settings of TCP sockets that Linux has, and other systems do not.

use socket2::SockRef;
use std::io;

/// TCP_CONGESTION.
///
/// # Errors
/// Where the kernel has no such congestion control, or no choice.
#[cfg(target_os = "linux")]
pub fn set_congestion(socket: &SockRef<'_>, name: &[u8]) -> io::Result<()> {
    socket.set_tcp_congestion(name)
}

/// TCP_NOTSENT_LOWAT: how many octets wait unsent before the socket takes no more.
///
/// # Errors
/// Where the kernel does not know it.
#[cfg(target_os = "linux")]
pub fn set_notsent_lowat(socket: &SockRef<'_>, octets: u32) -> io::Result<()> {
    socket.set_tcp_notsent_lowat(octets)
}

/// See Linux's.
///
/// # Errors
/// Always.
#[cfg(not(target_os = "linux"))]
pub fn set_congestion(_socket: &SockRef<'_>, _name: &[u8]) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}

/// See Linux's.
///
/// # Errors
/// Always.
#[cfg(not(target_os = "linux"))]
pub fn set_notsent_lowat(_socket: &SockRef<'_>, _octets: u32) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}

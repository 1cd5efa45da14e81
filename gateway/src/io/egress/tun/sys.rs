//! The only `unsafe` code of the gateway: taking a descriptor over from the crate that made it, what that crate does not
//! know to ask of it, reading without clearing a buffer first, and letting the runtime watch a descriptor.
#![allow(unsafe_code)]

use bytes::BytesMut;
use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
#[cfg(target_os = "linux")]
use {
    crate::dataplane::EgressOffload,
    ::tun::Device,
    std::ffi::{c_int, c_uint, c_ulong},
    std::os::fd::{FromRawFd, IntoRawFd},
    webtun_wire::OFFLOAD_HEADER_LEN,
};

/// What a kernel may have taken over before USO was there (Linux 6.2).
#[cfg(target_os = "linux")]
const TCP: c_uint = libc::TUN_F_CSUM | libc::TUN_F_TSO4 | libc::TUN_F_TSO6 | libc::TUN_F_TSO_ECN;
#[cfg(target_os = "linux")]
const ALL: c_uint = TCP | libc::TUN_F_USO4 | libc::TUN_F_USO6;

/// The device as a file that the runtime watches for reading. As a file, because `Device::recv` and `Device::send` clear
/// a buffer on the stack per packet, and `Device` does not vouch for its descriptor. `with_header`: packets have a
/// `virtio_net_hdr` of 10 octets, also where a device was made beforehand with a longer one.
#[cfg(target_os = "linux")]
pub(super) fn watch(device: Device, with_header: bool) -> io::Result<AsyncFd<File>> {
    device.set_nonblock()?;
    // SAFETY: `into_raw_fd` gives up ownership of an open descriptor, which nothing else owns from here on.
    let file = unsafe { File::from_raw_fd(device.into_raw_fd()) };
    if with_header {
        set_header_len(&file)?;
    }
    // SAFETY: `File` owns its descriptor, always shows the same one, and keeps it open until it is dropped.
    unsafe { AsyncFd::register_with_interest(file, Interest::READABLE) }.map_err(io::Error::from)
}

/// Lets the runtime watch what itself watches other descriptors.
pub(in super::super) fn watch_poll(poll: mio::Poll) -> io::Result<AsyncFd<mio::Poll>> {
    // SAFETY: `Poll` owns its descriptor, always shows the same one, and keeps it open until it is dropped.
    unsafe { AsyncFd::register_with_interest(poll, Interest::READABLE) }.map_err(io::Error::from)
}

#[cfg(target_os = "linux")]
fn set_header_len(device: &File) -> io::Result<()> {
    let len = OFFLOAD_HEADER_LEN as c_int;
    // SAFETY: the descriptor is open, and TUNSETVNETHDRSZ reads one `int` behind the pointer.
    let result = unsafe { libc::ioctl(device.as_raw_fd(), libc::TUNSETVNETHDRSZ, &raw const len) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Has the kernel hand over, and take, packets whose checksums and segments are left to be made: as much of it as it knows.
#[cfg(target_os = "linux")]
pub(super) fn enable_offload(device: &File) -> EgressOffload {
    let takes = |features: c_uint| {
        // SAFETY: the descriptor is open, and TUNSETOFFLOAD takes its argument by value.
        unsafe { libc::ioctl(device.as_raw_fd(), libc::TUNSETOFFLOAD, c_ulong::from(features)) == 0 }
    };
    if takes(ALL) {
        EgressOffload::All
    } else if takes(TCP) {
        EgressOffload::Tcp
    } else {
        // A device made beforehand may have been told otherwise.
        takes(0);
        EgressOffload::None
    }
}

/// Reads once into what is free of `buffer`.
pub(super) fn read(device: &File, buffer: &mut BytesMut) -> io::Result<()> {
    let room = buffer.spare_capacity_mut();
    // SAFETY: the kernel writes at most `room.len()` octets to where `room` begins, which is ours alone and need not hold
    // anything.
    let len = unsafe { libc::read(device.as_raw_fd(), room.as_mut_ptr().cast(), room.len()) };
    let len = usize::try_from(len).map_err(|_| io::Error::last_os_error())?;
    // SAFETY: the kernel has written `len` octets behind those that the buffer held, within its capacity.
    unsafe { buffer.set_len(buffer.len() + len) };
    Ok(())
}

//! The TUN device: whole IP packets, without blocking, and where the kernel can, many segments in one.

#[cfg_attr(not(target_os = "linux"), path = "elsewhere.rs")]
mod create;
mod sys;
mod vnet;

pub(super) use sys::watch_poll;

use super::SetupError;
use crate::dataplane::EgressOffload;
use bytes::BytesMut;
use std::fs::File;
use std::io::{self, IoSlice, Write};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use webtun_wire::{OFFLOAD_HEADER_LEN, OffloadHeader};

/// The largest packet in octets. The path's own MTU is the kernel's business: it fragments and reassembles.
pub const MTU: usize = 65_535;

/// Room for one with the kernel's header.
pub const BUFFER: usize = OFFLOAD_HEADER_LEN + MTU;

/// Octets from which on a packet is handed on in the buffer that it was read into. Smaller ones are copied out of it:
/// while they are queued, the buffer would take more memory than they are counted as.
const LARGE: usize = MTU / 2;

/// An open device.
#[derive(Debug)]
pub struct TunDevice {
    device: AsyncFd<File>,
    has_header: bool,
    offload: EgressOffload,
}

/// Makes the device `name`, or attaches to one that was made beforehand. It is neither up nor has it addresses. Whatever of
/// the offload the kernel refuses is done without.
///
/// # Errors
/// [`SetupError::NoTun`], [`SetupError::Privilege`], [`SetupError::TunBusy`], or [`SetupError::Tun`] for the rest.
pub(super) fn open(name: &str, wants_offload: bool) -> Result<TunDevice, SetupError> {
    if wants_offload {
        match create::create(name, true) {
            Ok((device, offload)) => return Ok(TunDevice { device, has_header: true, offload }),
            // The kernel knows no such header, or the device was made without it and cannot change.
            Err(SetupError::Tun { message, .. }) => tracing::debug!(message, "the TUN device without offload"),
            Err(error) => return Err(error),
        }
    }
    let (device, offload) = create::create(name, false)?;
    Ok(TunDevice { device, has_header: false, offload })
}

impl TunDevice {
    /// What the kernel takes over.
    pub fn offload(&self) -> EgressOffload {
        self.offload
    }

    /// Waits until [`Self::try_recv`] has something.
    ///
    /// # Errors
    /// Where the runtime cannot watch the device.
    pub async fn readable(&self) -> io::Result<()> {
        self.device.readable().await.map(|mut guard| guard.retain_ready())
    }

    /// The next packet, with what is left to be done to it. `buffer` is for the device alone; with room for
    /// [`BUFFER`] octets there is no allocation.
    ///
    /// # Errors
    /// `WouldBlock` where there is none; `InvalidData` where the kernel says of a packet what no packet can be; others where
    /// the device is gone.
    pub fn try_recv(&self, buffer: &mut BytesMut) -> io::Result<(BytesMut, OffloadHeader)> {
        let header_len = if self.has_header { OFFLOAD_HEADER_LEN } else { 0 };
        buffer.clear();
        buffer.reserve(BUFFER);
        self.device.try_io(Interest::READABLE, |device| sys::read(device, buffer))?;
        let offload = if self.has_header {
            vnet::decode(buffer).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?
        } else {
            OffloadHeader::default()
        };
        if buffer.len() < LARGE {
            return Ok((BytesMut::from(buffer.get(header_len..).unwrap_or_default()), offload));
        }
        let mut packet = buffer.split();
        let _ = packet.split_to(header_len);
        Ok((packet, offload))
    }

    /// Hands one packet to the kernel. It does not wait: a TUN device takes a packet at once or never.
    ///
    /// # Errors
    /// Where the kernel does not take the packet, because it is malformed or the device is down.
    pub fn send(&self, packet: &[u8], offload: &OffloadHeader) -> io::Result<()> {
        let mut device = self.device.get_ref();
        if !self.has_header {
            return device.write(packet).map(drop);
        }
        device.write_vectored(&[IoSlice::new(&vnet::encode(offload)), IoSlice::new(packet)]).map(drop)
    }
}

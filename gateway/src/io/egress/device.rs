//! Either egress, as a driver sees it.

use super::tun::TunDevice;
use super::user::UserEgress;
use crate::dataplane::{DropReason, Event, GatewayConfig, OwnAddresses};
use bytes::BytesMut;
use std::io;
use std::net::IpAddr;
use webtun_wire::{Instant, OffloadHeader};

/// How a shard's packets are to leave.
#[derive(Debug)]
pub enum Way {
    /// By this device.
    Tun(TunDevice),
    /// By sockets of this machine, whose programs clients know by these addresses.
    User(Vec<IpAddr>),
}

/// Where packets go and come from.
pub enum Device {
    /// The kernel forwards them.
    Tun(TunDevice),
    /// Their octets travel by sockets of this machine.
    User(Box<UserEgress>),
}

impl Device {
    /// For the dataplane of this configuration.
    ///
    /// # Errors
    /// Where the system has no descriptor left.
    pub fn open(way: Way, config: &GatewayConfig, seed: [u8; 32], now: Instant) -> io::Result<Self> {
        Ok(match way {
            Way::Tun(device) => Self::Tun(device),
            Way::User(stand_ins) => Self::User(Box::new(UserEgress::new(config, &stand_ins, seed, now)?)),
        })
    }

    /// Waits until [`Self::try_recv`] may have something.
    ///
    /// # Errors
    /// Where the runtime cannot watch for it.
    pub async fn readable(&mut self) -> io::Result<()> {
        match self {
            Self::Tun(device) => device.readable().await,
            Self::User(user) => user.readable().await,
        }
    }

    /// The next packet, with what is left to be done to it. `buffer` is for the device alone; with room for
    /// [`BUFFER`](super::BUFFER) octets there is no allocation.
    ///
    /// # Errors
    /// `WouldBlock` where there is none; `InvalidData` where the kernel says of a packet what no packet can be; others where
    /// there will be none any more.
    pub fn try_recv(&mut self, buffer: &mut BytesMut, now: Instant) -> io::Result<(BytesMut, OffloadHeader)> {
        match self {
            Self::Tun(device) => device.try_recv(buffer),
            Self::User(user) => user.try_recv(now),
        }
    }

    /// Takes one packet. It does not wait: a packet is taken at once or never.
    ///
    /// # Errors
    /// Where the kernel does not take the packet, because it is malformed or the device is down.
    pub fn send(&mut self, packet: &[u8], offload: &OffloadHeader, now: Instant) -> io::Result<()> {
        match self {
            Self::Tun(device) => device.send(packet, offload),
            Self::User(user) => {
                user.send(packet, offload, now);
                Ok(())
            }
        }
    }

    /// The next loss that is to be counted.
    pub fn poll_drop(&mut self) -> Option<DropReason> {
        match self {
            Self::Tun(_) => None,
            Self::User(user) => user.poll_drop(),
        }
    }

    /// When [`Self::handle_timeout`] is due.
    pub fn poll_timeout(&self) -> Option<Instant> {
        match self {
            Self::Tun(_) => None,
            Self::User(user) => user.poll_timeout(),
        }
    }

    /// Lets time pass.
    pub fn handle_timeout(&mut self, now: Instant) {
        if let Self::User(user) = self {
            user.handle_timeout(now);
        }
    }

    /// The dataplane knows this machine by other addresses now.
    pub fn set_own_addresses(&mut self, own: &OwnAddresses) {
        if let Self::User(user) = self {
            user.set_own_addresses(own);
        }
    }

    /// Hears what the dataplane has to say. False where that is of a mapped port which is not to be had.
    #[must_use]
    pub fn handle_event(&mut self, event: &Event, now: Instant) -> bool {
        match self {
            Self::Tun(_) => true,
            Self::User(user) => user.handle_event(event, now),
        }
    }
}

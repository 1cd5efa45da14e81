//! Ethernet for virtual machines whose emulators speak no protocol of ours: rooms, each a segment of the client stack's
//! bridge, and WebSockets that are its ports.
//!
//! A room is a task of its own. Each network card in it has a session, which reaches the driver as those of other clients
//! do: its tunnel's messages are handed over instead of being sent. So policy, limits, NAT, figures and audit are the same.
//!
//! Nothing waits without bound. A room reads no message of a session while the port that it is for has more than enough to
//! take, so that packets wait in the session's queue; and a port's WebSocket is not read while its sessions are behind. A port
//! gets no more than its network card has room for (`window.rs`).

mod address;
mod figures;
mod framing;
mod keys;
mod links;
mod ports;
mod room;
mod rooms;
mod socket;
mod window;

pub(in crate::io) use address::{Address, is_door};
pub use figures::DoorFigures;
pub use rooms::Doors;
pub(in crate::io) use socket::{Visitor, serve};

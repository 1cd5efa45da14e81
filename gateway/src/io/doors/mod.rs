//! Ways in for clients that speak no protocol of ours.
//!
//! `carried.rs` is about those that want connections: Wisp, a WebSocket for each connection, and SOCKS. The rest of this page
//! is about Ethernet for virtual machines: rooms, each a segment of the client stack's bridge, and WebSockets that are its
//! ports.
//!
//! A room is a task of its own. Each network card in it has a session, which reaches the driver as those of other clients
//! do: its tunnel's messages are handed over instead of being sent. So policy, limits, NAT, figures and audit are the same.
//!
//! Nothing waits without bound. A room reads no message of a session while the port that it is for has more than enough to
//! take, so that packets wait in the session's queue; and a port's WebSocket is not read while its sessions are behind. A port
//! gets no more than its network card has room for (`window.rs`).

mod address;
mod carried;
mod figures;
mod framing;
mod hub;
mod keys;
mod line;
mod links;
mod pipe;
mod ports;
mod room;
mod rooms;
mod route;
mod socket;
mod socks;
mod tcp;
mod window;
mod wisp;

pub use carried::Entrance;
pub(in crate::io) use carried::{Guest, serve as serve_guest};
pub use figures::DoorFigures;
pub use rooms::Doors;
pub(in crate::io) use route::{Carried, Route, find};
pub(in crate::io) use socket::serve;

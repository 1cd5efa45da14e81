#![doc = include_str!("../README.md")]

mod ack_steps;
#[cfg(feature = "aio")]
pub mod aio;
mod arena;
mod arrival;
#[cfg(feature = "bridge")]
pub mod bridge;
mod buffers;
mod config;
mod demux;
mod device;
mod engine;
mod error;
mod event;
mod fragment;
mod host;
mod mss;
mod options;
mod outbound;
mod packet;
mod portmap;
mod ports;
mod recovery;
mod resolver;
mod segment_limit;
mod send_next;
mod socket;
mod stack;
mod state;
#[cfg_attr(not(feature = "streams"), path = "streams/absent.rs")]
mod streams;
mod time_wait;
mod timers;
mod tunnel;
mod turns;

pub use buffers::BufferSizes;
pub use config::*;
pub use error::*;
pub use event::*;
pub use host::Host;
pub use options::*;
pub use stack::Stack;
pub use state::*;
pub use tunnel::Lease;
pub use webtun_wire::{CloseCode, DenyReason, FlowDenied, Instant, PortBlock, PortMapResult};

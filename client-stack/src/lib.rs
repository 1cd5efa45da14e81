//! placeholder
#![forbid(unsafe_code)]

mod config;
mod demux;
mod device;
mod engine;
mod error;
mod event;
mod host;
mod packet;
mod ports;
mod socket;
mod timers;

pub use config::*;
pub use error::*;
pub use event::*;
pub use host::Host;
pub use webtun_wire::Instant;

#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

mod bindings;
mod body;
mod connection;
mod exchange;
mod failure;
mod head;
mod pipe;

pub use bindings::HttpConnection;
pub use connection::{BodyLength, Connection, ResponseHead};
pub use exchange::{Event, EventKind};
pub use failure::Failure;

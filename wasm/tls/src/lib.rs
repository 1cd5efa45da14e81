#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

mod bindings;
mod config;
mod failure;
mod session;

pub use bindings::{TlsConfig, TlsSession};
pub use config::{Clock, ConfigError, client_config};
pub use failure::{Code, Failure};
pub use session::Session;

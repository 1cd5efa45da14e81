#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

mod arguments;
mod codes;
mod encode;
#[cfg(feature = "ethernet")]
mod ethernet;
#[cfg(feature = "stack")]
#[cfg_attr(not(feature = "streams"), path = "input/plain.rs")]
mod input;
#[cfg(feature = "stack")]
mod names;
#[cfg(all(feature = "stack", feature = "streams"))]
mod split;
#[cfg(feature = "stack")]
mod stack;
#[cfg(feature = "stack")]
mod tcp;
#[cfg(feature = "stack")]
mod udp;

#[cfg(feature = "ethernet")]
pub use ethernet::WasmEthernet;
#[cfg(feature = "stack")]
pub use stack::WasmStack;

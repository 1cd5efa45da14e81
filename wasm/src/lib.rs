#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

mod codes;
mod encode;
mod names;
mod stack;
mod tcp;
mod udp;

pub use stack::WasmStack;

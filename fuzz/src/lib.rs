//! Each fuzz target is a function here that takes arbitrary octets and panics where a promise is broken.
//!
//! `fuzz_targets/NAME.rs` hands it to libFuzzer (`cargo +nightly fuzz run --features libfuzzer NAME`); the tests of the
//! main workspace replay `corpus/NAME` through the same function on the stable toolchain. A new target is a module
//! with such a function, its line in [`TARGETS`], a file in `fuzz_targets` and a `[[bin]]` in the manifest.

#![forbid(unsafe_code)]

mod bridge_frame;
mod fragments;
mod gateway;
mod gateway_model;
mod icmp;
mod nat_rewrite;
mod packet_parse;
mod pcp;
mod streams;
mod wire_decode;

pub use bridge_frame::bridge_frame;
pub use fragments::fragments;
pub use gateway_model::gateway_model;
pub use icmp::icmp;
pub use nat_rewrite::nat_rewrite;
pub use packet_parse::packet_parse;
pub use pcp::pcp;
pub use streams::streams;
pub use wire_decode::wire_decode;

/// What a target does with an input.
pub type Target = fn(&[u8]);

/// Every target by its name, which is also its folder in `corpus`.
pub const TARGETS: &[(&str, Target)] = &[
    ("wire_decode", wire_decode),
    ("packet_parse", packet_parse),
    ("nat_rewrite", nat_rewrite),
    ("fragments", fragments),
    ("icmp", icmp),
    ("pcp", pcp),
    ("streams", streams),
    ("gateway_model", gateway_model),
    ("bridge_frame", bridge_frame),
];

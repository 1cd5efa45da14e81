//! The gateway alone, by its messages and packets.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod exhaustion;
mod hairpin_errors;
mod hostile_messages;
mod hostile_packets;
mod limits;
mod nat64;
mod network;
mod offload;
mod prefix;
mod shards;
mod slow_link;

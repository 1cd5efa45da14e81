//! The whole system in virtual time: stack, wire, tunnel, gateway and servers, from one seed.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod bridge;
mod chaos;
mod close_after_last_octet;
mod cut;
mod datagrams;
mod determinism;
mod dns;
mod errors;
mod half_close;
mod isolation;
mod many_sockets;
mod nat64;
mod path_mtu;
mod ping;
mod port_mapping;
mod session_lost;
mod stalled_reader;
mod stalled_remote;
mod streams;
mod streams_chaos;
mod transfer;

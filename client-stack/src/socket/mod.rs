//! The sockets, one file per kind. Each knows its own state; the tables and the packets are the host's.

pub(crate) mod icmp;
pub(crate) mod listener;
pub(crate) mod tcp;
pub(crate) mod udp;

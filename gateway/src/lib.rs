//! The webtun gateway.
//!
//! [`dataplane`] is the pure part: a state machine of sessions, NAT and policy that knows no clock, no sockets and no
//! threads. The feature `io` adds the shells around it, which touch the world.

pub mod dataplane;

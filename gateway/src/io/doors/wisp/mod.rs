//! Wisp (versions 1 and 2) at `/wisp/`: many streams in one WebSocket.
//!
//! A connection is a session: a client stack behind it (`relay.rs`) speaks the tunnel's protocol with the driver, and asks it
//! for a stream for each TCP connection, so that policy, limits, rates, names, audit and figures are those of every client.
//! Datagrams go by the stack's UDP sockets, and so by the NAT.
//!
//! Who waits for whom:
//!
//! - client to destination: the protocol's credits (`credit.rs`), in packets that we choose by their length, so that each
//!   stream has its 256 KiB to 8 MiB, and a destination that does not read stops its own stream alone. All streams together
//!   may have 32 MiB waiting; at that bound the WebSocket is not read, and after 2 s the stream with the most, of those whose
//!   destination takes nothing, is closed with reason 0x49;
//! - destination to client: the protocol has no credits there, so all streams share the WebSocket's back-pressure: while it
//!   takes nothing, the session's messages are not read, and wait where the driver bounds them (1 MiB for all streams). Streams
//!   take turns of 64 KiB;
//! - who has closed a stream, or the whole connection, has what was sent before delivered all the same, as long as the
//!   destination takes it.

mod credit;
mod handshake;
mod packet;
mod reason;
mod relay;
mod socket;
mod stream;

pub(super) use socket::serve;

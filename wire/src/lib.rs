#![doc = include_str!("../README.md")]
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;

mod batch;
mod capsule;
pub mod capsule_type;
mod error;
mod field;
mod message;
mod offload;
mod replay;
mod time;
mod varint;

pub use batch::BatchWriter;
pub use capsule::*;
pub use error::{DecodeError, Problem};
pub use message::{Capsules, RawCapsule, RawCapsules, capsules, next_capsule, split_capsules};
pub use offload::{
    OFFLOAD_HEADER_LEN, OffloadChecksum, OffloadError, OffloadHeader, PacketShape, Segmentation, SegmentationKind,
};
pub use replay::{Accept, ReceiveWindow, ReplayError, SendRing};
pub use time::Instant;
pub use varint::{MAX_VARINT, varint_len};

/// The WebSocket subprotocol of this version of the protocol.
pub const SUBPROTOCOL: &str = "webtun.v1";
/// A subprotocol offer that begins with this carries a bearer token; the server never selects it.
pub const BEARER_PREFIX: &str = "bearer.";
/// The protocol version that HELLO offers and SESSION selects.
pub const VERSION: u8 = 1;
/// The largest WebSocket message, in octets. A longer one is an error of the connection.
pub const MAX_MESSAGE_LEN: usize = 1 << 20;
/// The largest IP packet, header included, in octets; also the tunnel's MTU.
pub const MAX_PACKET_LEN: usize = 65_535;

//! IP fragments: put together on the way in ([`Reassembler`]), made on the way out ([`split`]).

mod reassembly;
mod split;

pub(super) use self::reassembly::{Reassembler, ReassemblyLimits};
pub(super) use self::split::split;

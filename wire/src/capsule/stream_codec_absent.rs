//! In the place of `stream_codec` where that is not built: an end that carries no streams writes nothing of them, and its peer
//! sends none.

use super::Capsule;
use crate::error::Problem;
use crate::field::{Reader, Sink};

pub(super) fn encode_value(_: &Capsule<'_>, _: &mut impl Sink) {}

/// As a type that is not known.
pub(super) fn decode_value<'a>(kind: u64, value: &mut Reader<'a>) -> Result<Capsule<'a>, Problem> {
    Ok(Capsule::Unknown { kind, value: value.take_rest() })
}

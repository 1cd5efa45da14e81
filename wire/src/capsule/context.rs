use crate::error::Problem;
use crate::field::Reader;

/// Context kinds that CONTEXT_ASSIGN can offer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u64)]
pub enum ContextKind {
    /// A packet behind an offload header (the fields of `virtio_net_hdr`).
    Offload = 1,
}

/// Contexts that CONTEXT_ASSIGN offers are the client's: even, and 0 is taken (RFC 9484 section 6).
pub(super) fn decode_offered(value: &mut Reader<'_>) -> Result<u64, Problem> {
    match value.varint()? {
        context if context != 0 && context.is_multiple_of(2) => Ok(context),
        _ => Err(Problem::Value),
    }
}

/// Context 0 is always open, so it can be neither acknowledged nor closed.
pub(super) fn decode_negotiated(value: &mut Reader<'_>) -> Result<u64, Problem> {
    match value.varint()? {
        0 => Err(Problem::Value),
        context => Ok(context),
    }
}

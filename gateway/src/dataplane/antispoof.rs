//! BCP 38: a session sends from its own addresses, and from no other (RFC 9484 section 11).

use super::DropReason;
use super::lease::Lease;
use super::packet::Headers;

/// The source has to be the session's address of that family. Nothing overrides this.
pub(super) fn check(headers: &Headers, lease: &Lease) -> Result<(), DropReason> {
    if lease.contains(headers.source) { Ok(()) } else { Err(DropReason::SpoofedSource) }
}

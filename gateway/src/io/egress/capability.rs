//! The one capability that a TUN device takes, of a process that is not root.

use caps::{CapSet, Capability};

/// Raises CAP_NET_ADMIN, where this thread may have it, also for the programs that it starts. A container's runtime
/// leaves a user other than root without capabilities, but lets a file have some: those that are permitted only, so that the
/// program starts where the container lacks them, have to be raised by the program itself.
///
/// Capabilities belong to threads: call it before any other one is made. Root, and a service with an ambient capability, have nothing to
/// raise.
pub fn raise() {
    const NET_ADMIN: Capability = Capability::CAP_NET_ADMIN;
    let has = |set| caps::has_cap(None, set, NET_ADMIN).unwrap_or(false);
    if has(CapSet::Effective) || !has(CapSet::Permitted) {
        return;
    }
    // In this order: each set is bounded by those before it.
    let raised = [CapSet::Effective, CapSet::Inheritable, CapSet::Ambient]
        .into_iter()
        .try_for_each(|set| caps::raise(None, set, NET_ADMIN));
    if let Err(error) = raised {
        tracing::warn!(%error, "CAP_NET_ADMIN cannot be raised");
    }
}

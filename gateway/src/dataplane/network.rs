//! Networks of peers: sessions whose peers are in the same one reach each other's inner addresses directly.
//!
//! What goes from one session to another is not translated, and of any protocol. Its source has been checked as that of
//! all packets, it is charged to the sender as all it sends, and it waits in the receiver's queue among all it gets. Rules
//! that deny an inner address hold here too. A session in no network has no neighbours, and whoever has no session looks
//! like one in another network.

use core::net::IpAddr;
use webtun_wire::Instant;

use super::packet::Packet;
use super::policy::Subject;
use super::{DropReason, Gateway, SessionId};

impl Gateway {
    /// The session in `from`'s network that has this inner address.
    pub(super) fn neighbour(&self, from: SessionId, address: IpAddr) -> Option<SessionId> {
        let network = self.sessions.get(&from)?.peer.network.as_ref()?;
        let to = *self.by_inner.get(&address)?;
        let is_near = to != from && self.sessions.get(&to)?.peer.network.as_ref() == Some(network);
        is_near.then_some(to)
    }

    /// Hands a packet that has passed the policy to a neighbour.
    pub(super) fn deliver_to_neighbour(&mut self, to: SessionId, packet: &mut Packet, now: Instant) {
        self.stats.network.count(packet.octets.len());
        if let Err(reason) = self.enqueue(to, packet, now) {
            self.stats.count_drop(reason);
        }
    }

    /// Whether the rules let a packet pass between neighbours.
    pub(super) fn check_neighbour(&self, subject: Subject<'_>, packet: &Packet) -> Result<(), DropReason> {
        self.policy.check_neighbour(subject)?;
        if packet.headers.hop_limit > 1 { Ok(()) } else { Err(DropReason::HopLimit) }
    }
}

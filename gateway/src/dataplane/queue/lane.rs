//! The lanes of a queue: what waits of one flow, or of several where there are more flows than lanes.

use super::slots::{Chain, Slots};

/// Lanes next to each other in which a flow looks for one that no other has, as CAKE's flows do: what shares a lane shares the
/// losses of the largest.
const WAYS: u64 = 8;

#[derive(Clone, Debug, Default)]
pub(super) struct Lane {
    pub packets: Chain,
    pub octets: usize,
    pub credit: usize,
    /// The hash of the flow that has it, for as long as there are packets.
    flow: u64,
    /// Flows that found no other have packets in it, too.
    is_shared: bool,
}

impl Lane {
    /// Octets that it has to earn before its first packet may leave; `None` where there is no packet.
    pub fn debt(&self, packets: &Slots) -> Option<usize> {
        packets.front(self.packets).map(|queued| queued.packet.len().saturating_sub(self.credit))
    }
}

/// Where a flow's next packet waits: behind those that it has waiting, so that none overtakes another.
pub(super) fn choose(lanes: &mut [Lane], flow: u64) -> u8 {
    let count = lanes.len() as u64;
    let ways = (0..WAYS).map(|way| ((flow % count + way) % count) as usize);
    let own = ways.clone().find(|at| !lanes[*at].packets.is_empty() && lanes[*at].flow == flow);
    if let Some(own) = own {
        return own as u8;
    }
    let first = (flow % count) as usize;
    let may_move = lanes[first].packets.is_empty() || !lanes[first].is_shared;
    let free = ways.clone().find(|at| may_move && lanes[*at].packets.is_empty());
    match free {
        Some(free) => (lanes[free].flow, lanes[free].is_shared) = (flow, false),
        None => lanes[first].is_shared = true,
    }
    free.unwrap_or(first) as u8
}

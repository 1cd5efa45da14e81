use std::hash::{DefaultHasher, Hash, Hasher};
use std::net::{IpAddr, SocketAddr};

use crate::PortRange;

/// What is used without a block of the session's: the dynamic ports (RFC 6335 section 6).
const DYNAMIC: PortRange = 49_152..=65_535;

const TABLE_LEN: usize = 64;

/// Ephemeral ports by double-hash port selection (RFC 6056 section 3.3.4): hard to guess from outside, and the same
/// port comes back towards the same peer only after all others.
///
/// The ranges are the session's external port blocks, so that the gateway's NAT leaves the ports as they are.
pub(crate) struct EphemeralPorts {
    ipv4: Vec<PortRange>,
    ipv6: Vec<PortRange>,
    secret: [u8; 32],
    table: [u32; TABLE_LEN],
}

impl EphemeralPorts {
    pub fn new(secret: [u8; 32]) -> Self {
        Self { ipv4: vec![DYNAMIC], ipv6: vec![DYNAMIC], secret, table: [0; TABLE_LEN] }
    }

    /// Replaces the ranges; an empty list means the dynamic ports.
    pub fn set_ranges(&mut self, ipv4: &[PortRange], ipv6: &[PortRange]) {
        let ranges = |list: &[PortRange]| {
            let list: Vec<_> = list.iter().filter(|range| !range.is_empty() && *range.start() > 0).cloned().collect();
            if list.is_empty() { vec![DYNAMIC] } else { list }
        };
        self.ipv4 = ranges(ipv4);
        self.ipv6 = ranges(ipv6);
    }

    /// A port for `local` towards `remote` that `is_free` agrees to; `None` when no port is left.
    ///
    /// When the ranges are used up the dynamic ports follow: the gateway translates those, and gives the session
    /// another block for them.
    pub fn pick(
        &mut self,
        local: IpAddr,
        remote: Option<SocketAddr>,
        mut is_free: impl FnMut(u16) -> bool,
    ) -> Option<u16> {
        let offset = self.hash(0, local, remote);
        let slot = self.hash(1, local, remote) as usize % TABLE_LEN;
        let ranges = if local.is_ipv4() { &self.ipv4 } else { &self.ipv6 };
        for ranges in [ranges.as_slice(), &[DYNAMIC]] {
            let count: u32 = ranges.iter().map(|range| range.len() as u32).sum();
            for _ in 0..count {
                let index = offset.wrapping_add(self.table[slot]) % count;
                self.table[slot] = self.table[slot].wrapping_add(1);
                let port = nth(ranges, index)?;
                if is_free(port) {
                    return Some(port);
                }
            }
        }
        None
    }

    /// The port that a random number stands for.
    pub fn at(&self, ipv4: bool, random: u32) -> u16 {
        let ranges = if ipv4 { &self.ipv4 } else { &self.ipv6 };
        let count: u32 = ranges.iter().map(|range| range.len() as u32).sum();
        random.checked_rem(count).and_then(|index| nth(ranges, index)).unwrap_or(0)
    }

    fn hash(&self, which: u8, local: IpAddr, remote: Option<SocketAddr>) -> u32 {
        let mut hasher = DefaultHasher::new();
        (self.secret, which, local, remote).hash(&mut hasher);
        hasher.finish() as u32
    }
}

fn nth(ranges: &[PortRange], mut index: u32) -> Option<u16> {
    for range in ranges {
        let len = range.len() as u32;
        if index < len {
            return u16::try_from(u32::from(*range.start()) + index).ok();
        }
        index -= len;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_port_of_every_range_comes_once_before_any_comes_twice() {
        let mut ports = EphemeralPorts::new([7; 32]);
        ports.set_ranges(&[20_000..=20_003, 30_000..=30_001], &[]);
        let remote = Some(SocketAddr::from(([192, 0, 2, 1], 80)));
        let local = IpAddr::from([100, 64, 0, 2]);
        let mut seen: Vec<u16> = (0..6).filter_map(|_| ports.pick(local, remote, |_| true)).collect();
        seen.sort_unstable();
        assert_eq!(seen, [20_000, 20_001, 20_002, 20_003, 30_000, 30_001]);
        assert_eq!(ports.pick(local, remote, |_| false), None);
    }

    #[test]
    fn dynamic_ports_follow_when_the_ranges_are_used_up() {
        let mut ports = EphemeralPorts::new([7; 32]);
        ports.set_ranges(&[20_000..=20_001], &[]);
        let mut taken = Vec::new();
        for _ in 0..100 {
            let port = ports.pick(IpAddr::from([100, 64, 0, 2]), None, |port| !taken.contains(&port));
            taken.push(port.expect("a port is left"));
        }
        assert!(taken[..2].iter().all(|port| (20_000..=20_001).contains(port)));
        assert!(taken[2..].iter().all(|port| DYNAMIC.contains(port)));
    }
}

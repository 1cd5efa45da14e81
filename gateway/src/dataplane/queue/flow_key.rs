//! By what packets are sorted into flows.

use core::hash::{Hash, Hasher};

/// What tells flows apart: addresses, protocol and ports, where they lie in packets without extension headers. Others are
/// told apart by less.
pub(super) struct FlowKey<'a>(pub &'a [u8]);

impl Hash for FlowKey<'_> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        let (protocol, addresses, ports) = match self.0.first().map(|octet| octet >> 4) {
            Some(4) => (9, 12..20, usize::from(self.0[0] & 0x0F) * 4),
            _ => (6, 8..40, 40),
        };
        let kind = self.0.get(protocol).copied().unwrap_or(0);
        state.write_u8(kind);
        state.write(self.0.get(addresses).unwrap_or_default());
        // An echo's identifier stands behind its checksum.
        let ports = if kind == 1 || kind == 58 { ports + 4..ports + 6 } else { ports..ports + 4 };
        state.write(self.0.get(ports).unwrap_or_default());
    }
}

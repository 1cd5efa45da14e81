use std::net::IpAddr;
use std::time::Duration;

use bytes::Bytes;
use webtun_wire::{Capsule, Instant, Limits, PortBlock, ReceiveWindow, Resume, SendRing};

use crate::PortRange;

/// What the gateway has given this session.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Lease {
    /// Inner addresses with their prefix lengths.
    pub addresses: Vec<(IpAddr, u8)>,
    /// Name servers, in order of preference.
    pub dns: Vec<IpAddr>,
    /// Search domains.
    pub search: Vec<String>,
    /// Prefixes below which IPv4 hosts have IPv6 addresses (RFC 6052), with their lengths.
    pub pref64: Vec<(IpAddr, u8)>,
    /// The session's own external ports (RFC 7422).
    pub external_ports: Vec<PortBlock>,
    /// The largest packet, in octets.
    pub mtu: u32,
    /// Names the session; no secret.
    pub session_id: [u8; 16],
    /// How long the session survives without a connection.
    pub grace: Duration,
}

impl Lease {
    /// Takes over what a capsule of the gateway says; false where it says nothing of a lease.
    pub(super) fn apply(&mut self, capsule: &Capsule<'_>) -> bool {
        match capsule {
            Capsule::AddressAssign(list) => {
                self.addresses = list.iter().map(|entry| (entry.prefix.address, entry.prefix.length)).collect();
            }
            Capsule::DnsAssign(dns) => {
                self.dns.clone_from(&dns.servers);
                self.search = dns.search.iter().map(|domain| (*domain).to_owned()).collect();
            }
            Capsule::Pref64(list) => {
                self.pref64 = list.iter().map(|prefix| (prefix.address, prefix.length)).collect();
            }
            Capsule::ExternalPorts(blocks) => self.external_ports.clone_from(blocks),
            _ => return false,
        }
        true
    }

    /// The external ports of one family, as ranges.
    pub(crate) fn port_ranges(&self, ipv4: bool) -> Vec<PortRange> {
        let blocks = self.external_ports.iter().filter(|block| block.address.is_ipv4() == ipv4 && block.count > 0);
        blocks.map(|block| block.first..=block.first.saturating_add(block.count - 1)).collect()
    }
}

/// Where the context of kind OFFLOAD stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum OffloadContext {
    /// Offered, or not; not answered.
    #[default]
    Absent,
    /// Both sides may use it.
    Open,
    /// Refused or ended: it is not used again in this session.
    Closed,
}

/// What lives as long as the session: both directions' counts, and what the gateway has not acknowledged.
pub(super) struct Session {
    pub id: [u8; 16],
    pub secret: [u8; 32],
    pub limits: Limits,
    pub lease: Lease,
    pub ring: SendRing<Bytes>,
    pub window: ReceiveWindow,
    pub offload: OffloadContext,
    /// While there is no connection: when the gateway forgets the session.
    pub expires_at: Option<Instant>,
}

impl Session {
    pub fn new(answer: &webtun_wire::Session, limits: Limits, lease: Lease, offload: OffloadContext) -> Self {
        let mut window = ReceiveWindow::new();
        window.spare_acks(limits.unacknowledged as usize);
        Self {
            id: answer.session_id,
            secret: answer.secret,
            limits,
            lease,
            ring: SendRing::new(limits.unacknowledged as usize),
            window,
            offload,
            expires_at: None,
        }
    }

    pub fn resume(&self) -> Resume {
        Resume { session_id: self.id, secret: self.secret, next: self.window.next() }
    }
}

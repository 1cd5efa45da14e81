//! From the operator's keys to the dataplane's.

use super::{Config, Filtering, PolicyAction, PolicyProtocol, PolicyRule, Split};
use crate::dataplane::{self, Action, GatewayConfig, NatConfig, NatTimeouts, Pref64, Rule};
use crate::io::egress::Surroundings;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

const TCP: u8 = 6;
const UDP: u8 = 17;
const ICMP: u8 = 1;
const ICMPV6: u8 = 58;

fn seconds(count: u32) -> Duration {
    Duration::from_secs(count.into())
}

impl Config {
    /// The configurations of the shards' dataplanes. Without a rule of the operator's, clients reach nothing on this machine but mapped
    /// ports, and answer its own connections.
    pub fn dataplanes(&self, surroundings: &Surroundings) -> Vec<GatewayConfig> {
        let slices = &surroundings.slices;
        let whole = GatewayConfig {
            inner_v4: self.inner.ipv4,
            inner_v6: self.inner.ipv6,
            path_mtu: self.external.path_mtu.unwrap_or(surroundings.path_mtu),
            grace: seconds(self.limits.grace_s),
            max_sessions: usize::try_from(self.limits.sessions).unwrap_or(usize::MAX),
            external_prefix: surroundings.prefix,
            offload: self.tun.offload,
            egress_offload: surroundings.offload,
            nat: self.nat(slices.len()),
            nat64: self.pref64(),
            split: self.policy.split.into(),
            rules: self.policy.rule.iter().map(rule_of).collect(),
            own: surroundings.own.clone(),
            foreign_nat64: self.policy.nat64_prefixes.iter().filter_map(|prefix| Pref64::new(*prefix)).collect(),
            ..GatewayConfig::new(slices.first().map_or(Vec::new(), |slice| slice.external.clone()))
        };
        if slices.len() == 1 { vec![whole] } else { whole.shards(slices) }
    }

    /// The NAT64 prefix that is wanted, where it is one (RFC 6052 section 2.2).
    pub fn pref64(&self) -> Option<Pref64> {
        self.nat64.prefix.value().copied().and_then(Pref64::new)
    }

    fn nat(&self, shards: usize) -> NatConfig {
        NatConfig {
            filtering: self.nat.filtering.into(),
            timeouts: NatTimeouts {
                udp: seconds(self.nat.udp_timeout_s),
                icmp: seconds(self.nat.icmp_timeout_s),
                tcp_established: seconds(self.nat.tcp_established_timeout_s),
                tcp_opening: seconds(self.nat.tcp_opening_timeout_s),
                tcp_closing: seconds(self.nat.tcp_closing_timeout_s),
            },
            first_port: self.external.port_range.first,
            last_port: self.external.port_range.last,
            block_size: self.nat.block_size,
            block_idle: seconds(self.nat.block_idle_s),
            port_hold: seconds(self.nat.port_hold_s),
            held_ports: usize::try_from(self.nat.held_ports).unwrap_or(usize::MAX).div_ceil(shards.max(1)),
            answer_unsolicited: self.nat.answer_unsolicited,
            ..NatConfig::default()
        }
    }
}

impl From<Filtering> for dataplane::Filtering {
    fn from(filtering: Filtering) -> Self {
        match filtering {
            Filtering::EndpointIndependent => Self::EndpointIndependent,
            Filtering::AddressDependent => Self::AddressDependent,
            Filtering::AddressAndPortDependent => Self::AddressAndPortDependent,
        }
    }
}

impl From<Split> for dataplane::Split {
    fn from(split: Split) -> Self {
        match split {
            Split::Allowed => Self::Allowed,
            Split::Forbidden => Self::Forbidden,
            Split::Required => Self::Required,
        }
    }
}

fn rule_of(rule: &PolicyRule) -> Rule {
    let protocol = match (rule.protocol, rule.prefix.map(|prefix| prefix.addr())) {
        (PolicyProtocol::Any, _) => None,
        (PolicyProtocol::Tcp, _) => Some(TCP),
        (PolicyProtocol::Udp, _) => Some(UDP),
        (PolicyProtocol::Icmp, Some(IpAddr::V4(_))) => Some(ICMP),
        (PolicyProtocol::Icmp, _) => Some(ICMPV6),
    };
    let action = match rule.action {
        PolicyAction::Allow => Action::Allow,
        PolicyAction::Deny => Action::Deny,
    };
    let ports = rule.ports.map(|ports| ports.first..=ports.last);
    Rule { action, group: rule.group.as_deref().map(Arc::from), destination: rule.prefix, protocol, ports }
}

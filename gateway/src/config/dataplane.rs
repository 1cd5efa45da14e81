//! From the operator's keys to the dataplane's.

use super::{Config, Filtering, PolicyAction, PolicyProtocol, PolicyRule};
use crate::dataplane::{self, Action, GatewayConfig, NatConfig, NatTimeouts, Pref64, Rule};
use crate::io::egress::Surroundings;
use std::net::IpAddr;
use std::time::Duration;

const TCP: u8 = 6;
const UDP: u8 = 17;
const ICMP: u8 = 1;
const ICMPV6: u8 = 58;

fn seconds(count: u32) -> Duration {
    Duration::from_secs(count.into())
}

impl Config {
    /// The dataplane's configuration. Without a rule of the operator's, clients reach nothing on this machine but mapped
    /// ports, and answer its own connections.
    pub fn dataplane(&self, surroundings: &Surroundings) -> GatewayConfig {
        let mut rules: Vec<Rule> = self.policy.rule.iter().map(rule_of).collect();
        for &address in &surroundings.host_side {
            let destination = Some(address.into());
            rules.push(Rule { action: Action::Allow, destination, protocol: None, ports: None });
        }
        for &address in &surroundings.own_addresses {
            let announced = surroundings.external.iter().any(|it| it.announced == address);
            rules.extend(self.protect(address, announced));
        }
        GatewayConfig {
            inner_v4: self.inner.ipv4,
            inner_v6: self.inner.ipv6,
            path_mtu: self.external.path_mtu.unwrap_or(surroundings.path_mtu),
            grace: seconds(self.limits.grace_s),
            max_sessions: usize::try_from(self.limits.sessions).unwrap_or(usize::MAX),
            external_prefix: surroundings.prefix,
            nat: self.nat(),
            nat64: self.pref64(),
            rules,
            ..GatewayConfig::new(surroundings.external.clone())
        }
    }

    /// The NAT64 prefix that is wanted, where it is one (RFC 6052 section 2.2).
    pub fn pref64(&self) -> Option<Pref64> {
        self.nat64.prefix.value().copied().and_then(Pref64::new)
    }

    fn nat(&self) -> NatConfig {
        NatConfig {
            filtering: self.nat.filtering.into(),
            timeouts: NatTimeouts {
                udp: seconds(self.nat.udp_timeout_s),
                icmp: seconds(self.nat.icmp_timeout_s),
                tcp_established: seconds(self.nat.tcp_established_timeout_s),
                tcp_transitory: seconds(self.nat.tcp_transitory_timeout_s),
            },
            first_port: self.external.port_range.first,
            last_port: self.external.port_range.last,
            block_size: self.nat.block_size,
            ..NatConfig::default()
        }
    }

    /// Denies what a client could reach at an address of this machine. At an announced address the clients' ports stay
    /// open: they lead to clients, by hairpinning.
    fn protect(&self, address: IpAddr, announced: bool) -> Vec<Rule> {
        let deny = |ports| Rule { action: Action::Deny, destination: Some(address.into()), protocol: None, ports };
        if !announced {
            return vec![deny(None)];
        }
        let range = self.external.port_range;
        let below = range.first.checked_sub(1).map(|last| deny(Some(0..=last)));
        let above = range.last.checked_add(1).map(|first| deny(Some(first..=u16::MAX)));
        below.into_iter().chain(above).collect()
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

fn rule_of(rule: &PolicyRule) -> Rule {
    let protocol = match (rule.protocol, rule.prefix.addr()) {
        (PolicyProtocol::Any, _) => None,
        (PolicyProtocol::Tcp, _) => Some(TCP),
        (PolicyProtocol::Udp, _) => Some(UDP),
        (PolicyProtocol::Icmp, IpAddr::V4(_)) => Some(ICMP),
        (PolicyProtocol::Icmp, IpAddr::V6(_)) => Some(ICMPV6),
    };
    let action = match rule.action {
        PolicyAction::Allow => Action::Allow,
        PolicyAction::Deny => Action::Deny,
    };
    let ports = rule.ports.map(|ports| ports.first..=ports.last);
    Rule { action, destination: Some(rule.prefix), protocol, ports }
}

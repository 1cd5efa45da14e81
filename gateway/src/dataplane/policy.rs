//! Where packets may go.
//!
//! A destination is judged on the packet that is about to leave, so that names and what they resolve to do not matter.
//! In order: what no router forwards, and the inner prefixes, are refused for good; then the first rule that matches
//! decides; then the default, which is global unicast without TCP port 25. An IPv6 destination that stands for an IPv4
//! one has to pass as both.

use core::net::IpAddr;
use core::ops::RangeInclusive;
use ipnet::{IpNet, Ipv4Net, Ipv6Net};

use super::packet::protocol;
use super::special;
use super::{DropReason, GatewayConfig};

/// What a rule does with packets that match it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// They pass.
    Allow,
    /// They are refused: the client gets an ICMP error and FLOW_DENIED.
    Deny,
}

/// One rule. A field that is `None` matches everything.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// What happens.
    pub action: Action,
    /// The destination.
    pub destination: Option<IpNet>,
    /// The IP protocol number.
    pub protocol: Option<u8>,
    /// The destination port; a rule with ports matches only TCP and UDP.
    pub ports: Option<RangeInclusive<u16>>,
}

/// The rules in force.
#[derive(Debug)]
pub(super) struct Policy {
    rules: Vec<Rule>,
    inner_v4: Ipv4Net,
    inner_v6: Ipv6Net,
}

impl Policy {
    pub(super) fn new(config: &GatewayConfig) -> Self {
        Self { rules: config.rules.clone(), inner_v4: config.inner_v4, inner_v6: config.inner_v6 }
    }

    /// Judges a packet to the outside. `port` is 0 where the protocol has none.
    pub(super) fn check(&self, destination: IpAddr, protocol: u8, port: u16) -> Result<(), DropReason> {
        if special::is_never_forwarded(destination) || self.is_inner(destination) {
            return Err(DropReason::Unroutable);
        }
        self.judge(destination, protocol, port)?;
        match special::embedded_v4(destination) {
            Some(v4) if special::is_never_forwarded(v4.into()) || self.inner_v4.contains(&v4) => {
                Err(DropReason::Unroutable)
            }
            Some(v4) => self.judge(v4.into(), protocol, port),
            None => Ok(()),
        }
    }

    /// Judges a packet to an external address of the gateway itself (hairpinning, RFC 4787 REQ-9), which the default
    /// allows: it reaches no host but a session's, through its mapping.
    pub(super) fn check_hairpin(&self, destination: IpAddr, protocol: u8, port: u16) -> Result<(), DropReason> {
        match self.first_match(destination, protocol, port) {
            Some(Action::Deny) => Err(DropReason::DeniedByRule),
            Some(Action::Allow) | None => Ok(()),
        }
    }

    fn judge(&self, destination: IpAddr, protocol: u8, port: u16) -> Result<(), DropReason> {
        match self.first_match(destination, protocol, port) {
            Some(Action::Allow) => Ok(()),
            Some(Action::Deny) => Err(DropReason::DeniedByRule),
            None if !special::is_global_unicast(destination) => Err(DropReason::DestinationClass),
            // Mail to strangers is the classic abuse of an open gateway.
            None if protocol == protocol::TCP && port == 25 => Err(DropReason::DeniedByRule),
            None => Ok(()),
        }
    }

    fn first_match(&self, destination: IpAddr, protocol: u8, port: u16) -> Option<Action> {
        self.rules.iter().find(|rule| rule.matches(destination, protocol, port)).map(|rule| rule.action)
    }

    /// Whether an address lies within the tunnel.
    pub(super) fn is_inner(&self, address: IpAddr) -> bool {
        match address {
            IpAddr::V4(v4) => self.inner_v4.contains(&v4),
            IpAddr::V6(v6) => self.inner_v6.contains(&v6),
        }
    }
}

impl Rule {
    fn matches(&self, destination: IpAddr, protocol: u8, port: u16) -> bool {
        let has_ports = protocol == protocol::TCP || protocol == protocol::UDP;
        self.destination.is_none_or(|prefix| prefix.contains(&destination))
            && self.protocol.is_none_or(|number| number == protocol)
            && self.ports.as_ref().is_none_or(|ports| has_ports && ports.contains(&port))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(action: Action, prefix: &str, protocol: Option<u8>, ports: Option<RangeInclusive<u16>>) -> Rule {
        Rule { action, destination: Some(prefix.parse().expect("a prefix")), protocol, ports }
    }

    fn policy(rules: Vec<Rule>) -> Policy {
        let mut config = GatewayConfig::new(Vec::new());
        config.rules = rules;
        Policy::new(&config)
    }

    fn check(policy: &Policy, destination: &str, protocol: u8, port: u16) -> Result<(), DropReason> {
        policy.check(destination.parse().expect("an address"), protocol, port)
    }

    #[test]
    fn the_default_is_global_unicast_without_mail() {
        let policy = policy(Vec::new());
        assert_eq!(check(&policy, "8.8.8.8", 6, 443), Ok(()));
        assert_eq!(check(&policy, "8.8.8.8", 6, 25), Err(DropReason::DeniedByRule));
        assert_eq!(check(&policy, "8.8.8.8", 17, 25), Ok(()));
        assert_eq!(check(&policy, "192.168.1.1", 6, 443), Err(DropReason::DestinationClass));
        assert_eq!(check(&policy, "169.254.169.254", 6, 80), Err(DropReason::Unroutable));
    }

    #[test]
    fn the_first_rule_that_matches_decides() {
        let policy = policy(vec![
            rule(Action::Deny, "10.1.0.0/16", Some(6), Some(1..=1023)),
            rule(Action::Allow, "10.0.0.0/8", None, None),
            rule(Action::Deny, "8.8.8.0/24", None, None),
        ]);
        assert_eq!(check(&policy, "10.1.2.3", 6, 80), Err(DropReason::DeniedByRule));
        assert_eq!(check(&policy, "10.1.2.3", 6, 8080), Ok(()));
        assert_eq!(check(&policy, "10.1.2.3", 1, 0), Ok(()));
        assert_eq!(check(&policy, "8.8.8.8", 17, 53), Err(DropReason::DeniedByRule));
    }

    #[test]
    fn no_rule_opens_inner_or_link_local_addresses() {
        let policy =
            policy(vec![rule(Action::Allow, "0.0.0.0/0", None, None), rule(Action::Allow, "::/0", None, None)]);
        for destination in ["100.64.0.7", "fd77:6562:7475::7", "127.0.0.1", "fe80::1", "224.0.0.1", "ff02::1"] {
            assert_eq!(check(&policy, destination, 6, 80), Err(DropReason::Unroutable), "{destination}");
        }
    }

    #[test]
    fn an_embedded_destination_is_judged_too() {
        let policy =
            policy(vec![rule(Action::Deny, "10.0.0.0/8", None, None), rule(Action::Allow, "::/0", None, None)]);
        assert_eq!(check(&policy, "64:ff9b::10.0.0.1", 6, 80), Err(DropReason::DeniedByRule));
        assert_eq!(check(&policy, "64:ff9b::192.168.0.1", 6, 80), Err(DropReason::DestinationClass));
        assert_eq!(check(&policy, "64:ff9b::127.0.0.1", 6, 80), Err(DropReason::Unroutable));
        assert_eq!(check(&policy, "64:ff9b::8.8.8.8", 6, 80), Ok(()));
    }
}

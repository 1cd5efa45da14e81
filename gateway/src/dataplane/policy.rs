//! Where packets may go.
//!
//! A destination is judged on the packet that is about to leave, so that names and what they resolve to do not matter.
//! In order: what no router forwards, and the inner prefixes, are refused for good; then the first rule that matches
//! decides; then the default, which is global unicast without this machine's own addresses and without TCP port 25. An
//! IPv6 destination that stands for an IPv4 one has to pass as both.
//!
//! A cloud's metadata service and this machine's own addresses lie within prefixes that rules open for other reasons:
//! only a rule for that one address opens them.

use core::net::{IpAddr, Ipv4Addr};
use core::ops::RangeInclusive;
use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use std::collections::BTreeSet;
use std::sync::Arc;

use super::packet::protocol;
use super::special;
use super::{DropReason, GatewayConfig, Pref64};

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
    /// The group of the session's peer.
    pub group: Option<Arc<str>>,
    /// The destination.
    pub destination: Option<IpNet>,
    /// The IP protocol number.
    pub protocol: Option<u8>,
    /// The destination port; a rule with ports matches only TCP and UDP.
    pub ports: Option<RangeInclusive<u16>>,
}

/// The addresses of the machine that the gateway runs on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OwnAddresses {
    /// Its hosts' addresses.
    pub hosts: BTreeSet<IpAddr>,
    /// The broadcast addresses of its links.
    pub broadcasts: BTreeSet<Ipv4Addr>,
}

impl OwnAddresses {
    pub(super) fn contains(&self, address: IpAddr) -> bool {
        self.hosts.contains(&address) || self.is_broadcast(address)
    }

    pub(super) fn is_broadcast(&self, address: IpAddr) -> bool {
        matches!(address, IpAddr::V4(v4) if self.broadcasts.contains(&v4))
    }
}

/// What a packet is judged by.
#[derive(Clone, Copy, Debug)]
pub(super) struct Subject<'a> {
    pub destination: IpAddr,
    pub protocol: u8,
    /// 0 where the protocol has none.
    pub port: u16,
    pub group: Option<&'a str>,
}

/// The rules in force.
#[derive(Debug)]
pub(super) struct Policy {
    rules: Vec<Rule>,
    inner_v4: Ipv4Net,
    inner_v6: Ipv6Net,
    external_ports: RangeInclusive<u16>,
    /// Sessions have IPv6 addresses of their own, with all ports.
    has_prefix: bool,
    foreign_nat64: Vec<Pref64>,
    pub own: OwnAddresses,
}

impl Policy {
    pub(super) fn new(config: &GatewayConfig) -> Self {
        Self {
            rules: config.rules.clone(),
            inner_v4: config.inner_v4,
            inner_v6: config.inner_v6,
            external_ports: config.all_ports(),
            has_prefix: config.external_prefix.is_some(),
            foreign_nat64: config.foreign_nat64.clone(),
            own: config.own.clone(),
        }
    }

    /// Judges a packet to the outside.
    pub(super) fn check(&self, subject: Subject) -> Result<(), DropReason> {
        self.check_one(subject)?;
        for v4 in self.embedded_v4(subject.destination) {
            self.check_one(Subject { destination: v4.into(), ..subject })?;
        }
        Ok(())
    }

    /// Judges an answer to what came from outside: only what no router forwards is refused.
    pub(super) fn check_answer(&self, destination: IpAddr) -> Result<(), DropReason> {
        let is_unroutable = special::is_never_forwarded(destination) || self.is_inner(destination);
        if is_unroutable { Err(DropReason::Unroutable) } else { Ok(()) }
    }

    /// Judges a packet to an external address of the gateway itself (hairpinning, RFC 4787 REQ-9), which the default
    /// allows for ports that sessions can have: it reaches no host but a session's, through its mapping.
    pub(super) fn check_hairpin(&self, subject: Subject) -> Result<(), DropReason> {
        match self.first_match(subject).map(|rule| rule.action) {
            Some(Action::Deny) => Err(DropReason::DeniedByRule),
            _ if self.is_foreign_port(subject) => Err(DropReason::OwnAddress),
            Some(Action::Allow) | None => Ok(()),
        }
    }

    /// Judges a packet to another session of the same network, which the default allows.
    pub(super) fn check_neighbour(&self, subject: Subject) -> Result<(), DropReason> {
        match self.first_match(subject).map(|rule| rule.action) {
            Some(Action::Deny) => Err(DropReason::DeniedByRule),
            Some(Action::Allow) | None => Ok(()),
        }
    }

    /// Whether a port at an external address can be no session's.
    fn is_foreign_port(&self, subject: Subject) -> bool {
        let is_shared = subject.destination.is_ipv4() || !self.has_prefix;
        is_shared && has_ports(subject.protocol) && !self.external_ports.contains(&subject.port)
    }

    fn check_one(&self, subject: Subject) -> Result<(), DropReason> {
        let destination = subject.destination;
        self.check_answer(destination)?;
        let is_own = self.own.contains(destination);
        let rule = self.first_match(subject);
        match rule.map(|rule| rule.action) {
            Some(Action::Deny) => Err(DropReason::DeniedByRule),
            Some(Action::Allow) if rule.is_some_and(|rule| rule.names(destination)) => Ok(()),
            _ if is_own => Err(DropReason::OwnAddress),
            _ if special::is_metadata(destination) => Err(DropReason::DestinationClass),
            Some(Action::Allow) => Ok(()),
            None if !special::is_global_unicast(destination) => Err(DropReason::DestinationClass),
            // Mail to strangers is the classic abuse of an open gateway.
            None if subject.protocol == protocol::TCP && subject.port == 25 => Err(DropReason::DeniedByRule),
            None => Ok(()),
        }
    }

    fn embedded_v4(&self, destination: IpAddr) -> impl Iterator<Item = Ipv4Addr> {
        let foreign = self.foreign_nat64.iter().filter_map(move |prefix| match destination {
            IpAddr::V6(v6) if prefix.contains(destination) => prefix.extract(v6),
            _ => None,
        });
        special::embedded_v4(destination).chain(foreign)
    }

    fn first_match(&self, subject: Subject) -> Option<&Rule> {
        self.rules.iter().find(|rule| rule.matches(subject))
    }

    /// Whether an address lies within the tunnel.
    pub(super) fn is_inner(&self, address: IpAddr) -> bool {
        match address {
            IpAddr::V4(v4) => self.inner_v4.contains(&v4),
            IpAddr::V6(v6) => self.inner_v6.contains(&v6),
        }
    }
}

fn has_ports(number: u8) -> bool {
    number == protocol::TCP || number == protocol::UDP
}

impl Rule {
    /// A rule that matches everything.
    pub const fn new(action: Action) -> Self {
        Self { action, group: None, destination: None, protocol: None, ports: None }
    }

    fn matches(&self, subject: Subject) -> bool {
        self.destination.is_none_or(|prefix| prefix.contains(&subject.destination))
            && self.group.as_deref().is_none_or(|group| subject.group == Some(group))
            && self.protocol.is_none_or(|number| number == subject.protocol)
            && self.ports.as_ref().is_none_or(|ports| has_ports(subject.protocol) && ports.contains(&subject.port))
    }

    /// Whether the rule is about this one address.
    fn names(&self, address: IpAddr) -> bool {
        self.destination.is_some_and(|prefix| prefix == IpNet::from(address))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(action: Action, prefix: &str, protocol: Option<u8>, ports: Option<RangeInclusive<u16>>) -> Rule {
        Rule { destination: Some(prefix.parse().expect("a prefix")), protocol, ports, ..Rule::new(action) }
    }

    fn allow(prefix: &str) -> Rule {
        rule(Action::Allow, prefix, None, None)
    }

    fn policy(rules: Vec<Rule>) -> Policy {
        let mut config = GatewayConfig::new(Vec::new());
        config.rules = rules;
        config.own.hosts.extend(["192.168.7.1".parse::<IpAddr>(), "5.6.7.8".parse()].map(|it| it.expect("an address")));
        config.own.broadcasts.insert(Ipv4Addr::new(192, 168, 7, 255));
        config.foreign_nat64 = Pref64::new("2606:64::/96".parse().expect("a prefix")).into_iter().collect();
        Policy::new(&config)
    }

    fn subject(destination: &str, protocol: u8, port: u16) -> Subject<'static> {
        Subject { destination: destination.parse().expect("an address"), protocol, port, group: None }
    }

    fn check(policy: &Policy, destination: &str, protocol: u8, port: u16) -> Result<(), DropReason> {
        policy.check(subject(destination, protocol, port))
    }

    #[test]
    fn the_default_is_global_unicast_without_mail() {
        let policy = policy(Vec::new());
        assert_eq!(check(&policy, "8.8.8.8", 6, 443), Ok(()));
        assert_eq!(check(&policy, "8.8.8.8", 6, 25), Err(DropReason::DeniedByRule));
        assert_eq!(check(&policy, "8.8.8.8", 17, 25), Ok(()));
        assert_eq!(check(&policy, "192.168.1.1", 6, 443), Err(DropReason::DestinationClass));
        assert_eq!(check(&policy, "169.254.169.254", 6, 80), Err(DropReason::Unroutable));
        assert_eq!(check(&policy, "5.6.7.8", 6, 443), Err(DropReason::OwnAddress));
    }

    #[test]
    fn the_first_rule_that_matches_decides() {
        let policy = policy(vec![
            rule(Action::Deny, "10.1.0.0/16", Some(6), Some(1..=1023)),
            allow("10.0.0.0/8"),
            rule(Action::Deny, "8.8.8.0/24", None, None),
        ]);
        assert_eq!(check(&policy, "10.1.2.3", 6, 80), Err(DropReason::DeniedByRule));
        assert_eq!(check(&policy, "10.1.2.3", 6, 8080), Ok(()));
        assert_eq!(check(&policy, "10.1.2.3", 1, 0), Ok(()));
        assert_eq!(check(&policy, "8.8.8.8", 17, 53), Err(DropReason::DeniedByRule));
    }

    #[test]
    fn a_rule_may_be_for_a_group() {
        let policy = policy(vec![Rule { group: Some("staff".into()), ..allow("10.0.0.0/8") }]);
        let staff = Subject { group: Some("staff"), ..subject("10.1.2.3", 6, 22) };
        assert_eq!(policy.check(staff), Ok(()));
        assert_eq!(policy.check(Subject { group: Some("guests"), ..staff }), Err(DropReason::DestinationClass));
        assert_eq!(policy.check(Subject { group: None, ..staff }), Err(DropReason::DestinationClass));
    }

    #[test]
    fn no_rule_opens_inner_or_link_local_addresses() {
        let policy = policy(vec![allow("0.0.0.0/0"), allow("::/0"), allow("169.254.169.254/32")]);
        for destination in ["100.64.0.7", "fd77:6562:7475::7", "127.0.0.1", "fe80::1", "224.0.0.1", "ff02::1"] {
            assert_eq!(check(&policy, destination, 6, 80), Err(DropReason::Unroutable), "{destination}");
        }
        assert_eq!(check(&policy, "169.254.169.254", 6, 80), Err(DropReason::Unroutable));
    }

    #[test]
    fn metadata_and_own_addresses_take_a_rule_of_their_own() {
        let wide = || vec![allow("0.0.0.0/0"), allow("::/0")];
        let closed = policy(wide());
        let metadata = ["168.63.129.16", "100.100.100.200", "192.0.0.192", "fd00:ec2::254", "fd20:ce::254"];
        let own = ["192.168.7.1", "192.168.7.255", "5.6.7.8"];
        for (destinations, reason) in
            [(&metadata[..], DropReason::DestinationClass), (&own[..], DropReason::OwnAddress)]
        {
            for destination in destinations {
                assert_eq!(check(&closed, destination, 6, 80), Err(reason), "{destination}");
                let mut rules = wide();
                rules.insert(
                    0,
                    Rule { destination: destination.parse::<IpAddr>().ok().map(IpNet::from), ..allow("::/0") },
                );
                assert_eq!(check(&policy(rules), destination, 6, 80), Ok(()), "{destination}");
            }
        }
        assert_eq!(check(&closed, "192.168.7.2", 6, 80), Ok(()));
    }

    #[test]
    fn an_embedded_destination_is_judged_too() {
        let policy = policy(vec![rule(Action::Deny, "10.0.0.0/8", None, None), allow("::/0")]);
        for (destination, verdict) in [
            ("64:ff9b::10.0.0.1", Err(DropReason::DeniedByRule)),
            ("64:ff9b::192.168.0.1", Err(DropReason::DestinationClass)),
            ("64:ff9b::127.0.0.1", Err(DropReason::Unroutable)),
            ("64:ff9b::5.6.7.8", Err(DropReason::OwnAddress)),
            ("64:ff9b::8.8.8.8", Ok(())),
            ("2606:64::10.0.0.1", Err(DropReason::DeniedByRule)),
            ("2606:64::8.8.8.8", Ok(())),
            ("2606:4700::5efe:10.0.0.1", Err(DropReason::DeniedByRule)),
            ("::ffff:169.254.169.254", Err(DropReason::Unroutable)),
            ("2002:a00:1::", Err(DropReason::DeniedByRule)),
        ] {
            assert_eq!(check(&policy, destination, 6, 80), verdict, "{destination}");
        }
        assert_eq!(check(&policy, "64:ff9b::8.8.8.8", 6, 25), Err(DropReason::DeniedByRule));
    }

    #[test]
    fn hairpinning_is_for_the_ports_of_sessions() {
        let policy = policy(vec![rule(Action::Deny, "5.6.7.8/32", Some(17), None)]);
        let hairpin = |protocol, port| policy.check_hairpin(subject("5.6.7.8", protocol, port));
        assert_eq!(hairpin(6, 20_000), Ok(()));
        assert_eq!(hairpin(6, 443), Err(DropReason::OwnAddress));
        assert_eq!(hairpin(17, 20_000), Err(DropReason::DeniedByRule));
        assert_eq!(hairpin(1, 0), Ok(()));
    }
}

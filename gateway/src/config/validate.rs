use super::{Addresses, Config, ExternalMode, Family, is_peer_name};
use crate::dataplane::Pref64;
use ipnet::IpNet;
use std::net::IpAddr;

/// A value that is well-formed but cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{key}`: {problem}")]
pub struct Invalid {
    /// The key, with dots between its parts.
    pub key: &'static str,
    /// What is wrong and what would be right.
    pub problem: String,
}

impl Config {
    /// Checks what the types alone cannot.
    ///
    /// # Errors
    /// The first key whose value cannot be used.
    pub fn validate(&self) -> Result<(), Invalid> {
        let fail = |key, problem: &str| Err(Invalid { key, problem: problem.to_owned() });
        if self.tun.name.is_empty() || self.tun.name.len() > 15 || self.tun.name.contains(['/', ' ', '"', '%', '\n']) {
            return fail(
                "tun.name",
                "an interface name has 1 to 15 characters, without space, slash, quote and percent",
            );
        }
        if let Some(dir) = &self.static_dir
            && !dir.is_dir()
        {
            return fail("static_dir", &format!("{} is not a folder", dir.display()));
        }
        if self.tls.certificate.is_some() != self.tls.key.is_some() {
            return fail("tls", "TLS needs both files, `tls.certificate` and `tls.key`");
        }
        if !self.http.has_usable_url() {
            return fail("http.public_url", "write it as https://gateway.example/, with a slash at the end");
        }
        self.validate_sections()
    }

    fn validate_sections(&self) -> Result<(), Invalid> {
        self.validate_least()?;
        self.validate_external()?;
        self.validate_shards()?;
        self.validate_groups()?;
        self.validate_tokens()?;
        self.validate_jwt()?;
        self.validate_doors()?;
        let fail = |key, problem: String| Err(Invalid { key, problem });
        if self.inner.ipv4.prefix_len() > 29 {
            return fail("inner.ipv4", "too small a pool; a prefix length of at most 29".to_owned());
        }
        if self.inner.ipv6.prefix_len() > 125 {
            return fail("inner.ipv6", "too small a pool; a prefix length of at most 125".to_owned());
        }
        let block = u32::from(self.nat.block_size);
        if !(64..=16384).contains(&block) || block % 64 != 0 || block > self.external.port_range.count() {
            let problem = "a multiple of 64 from 64 to 16384 that is not larger than `external.port_range`";
            return fail("nat.block_size", problem.to_owned());
        }
        if self.nat64.prefix.value().is_some() && self.pref64().is_none() {
            let problem = "a prefix of 32, 40, 48, 56, 64 or 96 bits with zeros in bits 64 to 71, as RFC 6052 has it";
            return fail("nat64.prefix", problem.to_owned());
        }
        if let Some(prefix) = self.policy.nat64_prefixes.iter().find(|prefix| Pref64::new(**prefix).is_none()) {
            let problem =
                format!("{prefix} is none of RFC 6052: 32, 40, 48, 56, 64 or 96 bits, zeros in bits 64 to 71");
            return fail("policy.nat64_prefixes", problem);
        }
        match self.dns.zones.iter().find(|(_, servers)| servers.is_empty()) {
            Some((zone, _)) => fail("dns.zones", format!("`{zone}` has no resolver")),
            None => Ok(()),
        }
    }

    /// Timers have a minimum by RFC, and of most things there must be one.
    fn validate_least(&self) -> Result<(), Invalid> {
        let (nat, limits) = (&self.nat, &self.limits);
        for (key, value, least) in [
            ("nat.udp_timeout_s", nat.udp_timeout_s, 120),
            ("nat.tcp_established_timeout_s", nat.tcp_established_timeout_s, 7440),
            ("nat.tcp_opening_timeout_s", nat.tcp_opening_timeout_s, 30),
            ("nat.tcp_closing_timeout_s", nat.tcp_closing_timeout_s, 240),
            ("nat.icmp_timeout_s", nat.icmp_timeout_s, 60),
            ("auth.failures_per_minute", self.auth.failures_per_minute, 1),
            ("auth.ticket_life_s", self.auth.ticket_life_s, 1),
            ("auth.tickets", self.auth.tickets, 1),
            ("auth.tickets_per_peer", self.auth.tickets_per_peer, 1),
            ("dns.timeout_s", self.dns.timeout_s, 1),
            ("limits.connections", limits.connections, 1),
            ("audit.file_octets", self.audit.file_octets, 4096),
            ("audit.files", self.audit.files, 1),
            ("limits.handshakes", limits.handshakes, 1),
            ("limits.handshakes_per_address", limits.handshakes_per_address, 1),
            ("limits.sessions", limits.sessions, 1),
            ("limits.sessions_per_peer", limits.sessions_per_peer, 1),
            ("limits.handshake_timeout_s", limits.handshake_timeout_s, 1),
            ("limits.write_timeout_s", limits.write_timeout_s, 1),
            ("doors.rooms", self.doors.rooms, 1),
            ("doors.rooms_per_peer", self.doors.rooms_per_peer, 1),
            ("doors.ports", self.doors.ports, 1),
            ("doors.guests", self.doors.guests, 1),
            ("limits.dns_queries", limits.dns_queries, 1),
        ] {
            if value < least {
                return Err(Invalid { key, problem: format!("{value} is too small; at least {least}") });
            }
        }
        Ok(())
    }

    fn validate_groups(&self) -> Result<(), Invalid> {
        let fail = |problem: String| Err(Invalid { key: "group", problem });
        let is_known = |name: &String| self.group.iter().any(|group| group.name == *name);
        if let Some(name) = self.policy.rule.iter().filter_map(|rule| rule.group.as_ref()).find(|name| !is_known(name))
        {
            let problem = format!("there is no group `{name}`");
            return Err(Invalid { key: "policy.rule", problem });
        }
        for (index, group) in self.group.iter().enumerate() {
            if group.name.is_empty() || group.network.as_ref().is_some_and(String::is_empty) {
                return fail("a name must not be empty".to_owned());
            }
            if self.group[..index].iter().any(|other| other.name == group.name) {
                return fail(format!("`{}` stands twice", group.name));
            }
        }
        Ok(())
    }

    fn validate_tokens(&self) -> Result<(), Invalid> {
        let fail = |problem: String| Err(Invalid { key: "auth.token", problem });
        let mut hashes: Vec<_> = self.tokens.iter().map(|token| token.hash).collect();
        for token in &self.auth.token {
            let name = &token.name;
            if !is_peer_name(name) {
                return fail(format!("`{name}`: a name has 1 to 128 octets and no control characters"));
            }
            if let Some(group) = token.group.as_ref().filter(|group| self.peer(name, Some(group)).is_none()) {
                return fail(format!("there is no group `{group}`"));
            }
            hashes.push(token.hash);
        }
        for key in &self.auth.key {
            let fail = |problem| Err(Invalid { key: "auth.key", problem });
            if !is_peer_name(&key.name) {
                return fail(format!("`{}`: a name has 1 to 128 octets and no control characters", key.name));
            }
            if let Some(group) = key.group.as_ref().filter(|group| self.peer(&key.name, Some(group)).is_none()) {
                return fail(format!("there is no group `{group}`"));
            }
        }
        if let Some(hash) = hashes.iter().enumerate().find_map(|(at, hash)| hashes[..at].contains(hash).then_some(hash))
        {
            return fail(format!("the token with the hash {hash} stands twice"));
        }
        Ok(())
    }

    fn validate_jwt(&self) -> Result<(), Invalid> {
        let fail = |key, problem: String| Err(Invalid { key, problem });
        for jwt in &self.auth.jwt {
            if jwt.key.as_os_str().is_empty() {
                return fail("auth.jwt.key", "the file with the key is missing".to_owned());
            }
            if jwt.leeway_s > 300 {
                return fail("auth.jwt.leeway_s", format!("{} is too much; at most 300", jwt.leeway_s));
            }
            if let Some(group) = jwt.group.as_ref().filter(|group| self.peer("", Some(group)).is_none()) {
                return fail("auth.jwt.group", format!("there is no group `{group}`"));
            }
        }
        Ok(())
    }

    fn validate_external(&self) -> Result<(), Invalid> {
        let fail = |key, problem: String| Err(Invalid { key, problem });
        let external = &self.external;
        let has_ipv6 = !external.ipv6.is_off() || external.ipv6_prefix.is_some();
        if external.ipv4.is_off() && !has_ipv6 {
            return fail("external.ipv4", "IPv4 and IPv6 cannot both be \"off\"".to_owned());
        }
        if let Some(prefix) = external.ipv6_prefix.filter(|prefix| prefix.trunc() != self.inner.ipv6.trunc()) {
            if prefix.prefix_len() > 64 || self.inner.ipv6.prefix_len() > 64 {
                return fail("external.ipv6_prefix", "it and `inner.ipv6` must have at most 64 bits".to_owned());
            }
            if prefix.contains(&self.inner.ipv6) || self.inner.ipv6.contains(&prefix) {
                return fail("external.ipv6_prefix", "must be `inner.ipv6`, or lie apart from it".to_owned());
            }
        }
        if external.port_range.first < 1024 {
            return fail("external.port_range", "the range must begin at 1024 or above".to_owned());
        }
        if external.path_mtu.is_some_and(|mtu| mtu < 1280) {
            return fail("external.path_mtu", "at least 1280, the minimum of IPv6".to_owned());
        }
        validate_pool(external.mode, &V4, [&external.ipv4, &external.machine_ipv4, &external.announced_ipv4])?;
        validate_pool(external.mode, &V6, [&external.ipv6, &external.machine_ipv6, &external.announced_ipv6])?;
        let v6 = if external.ipv6_prefix.is_some() { &Addresses::OFF } else { &external.ipv6 };
        let v4 = external.ipv4.as_slice().iter().map(|&it| (V4[0], IpAddr::V4(it), IpNet::V4(self.inner.ipv4)));
        let v6 = v6.as_slice().iter().map(|&it| (V6[0], IpAddr::V6(it), IpNet::V6(self.inner.ipv6)));
        for (key, address, inner) in v4.chain(v6) {
            if address.is_loopback() || address.is_unspecified() || address.is_multicast() {
                return fail(key, "must be addresses that other machines could have".to_owned());
            }
            if inner.contains(&address) {
                return fail(key, format!("must not be one of the clients' addresses ({inner})"));
            }
        }
        Ok(())
    }
}

const V4: [&str; 3] = ["external.ipv4", "external.machine_ipv4", "external.announced_ipv4"];
const V6: [&str; 3] = ["external.ipv6", "external.machine_ipv6", "external.announced_ipv6"];

/// Checks the addresses of a family, those of the machine that they become, and those that are announced for them; `keys`
/// are theirs. The NAT uses the same ports at each address, so that two of them cannot become one.
fn validate_pool<A: Family>(
    mode: ExternalMode,
    keys: &[&'static str; 3],
    [own, machine, announced]: [&Addresses<A>; 3],
) -> Result<(), Invalid> {
    let fail = |key, problem: String| Err(Invalid { key, problem });
    for (&key, addresses) in keys.iter().zip([own, machine, announced]) {
        if let Some(address) = addresses.repeated() {
            return fail(key, format!("{address} stands twice"));
        }
        let (count, wanted) = (addresses.as_slice().len(), own.as_slice().len());
        if !addresses.is_off() && count != wanted {
            return fail(key, format!("{count} for the {wanted} of `{}`; one for each is needed", keys[0]));
        }
    }
    if mode == ExternalMode::Routed && !machine.is_off() {
        return fail(keys[1], "nothing is translated to it in mode \"routed\"".to_owned());
    }
    if mode == ExternalMode::Masquerade && own.as_slice().len() > 1 && machine.is_off() {
        let problem = format!(
            "several addresses need as many of this machine's own in `{}`, since at one their ports would clash; or the \
             mode \"routed\"",
            keys[1]
        );
        return fail(keys[0], problem);
    }
    Ok(())
}

//! The DNS forwarder: queries of clients go to the operator's resolvers, over this machine's sockets.
//!
//! Answers are passed on as they are, whatever their type, but for what `dns64` makes for clients that ask over IPv6.
//! Nothing is cached: the clients' stacks do that.

mod dns64;
mod lookup;
pub mod message;
mod slots;
mod upstream;

use crate::config;
use crate::dataplane::Pref64;
use dns64::{Dns64, Plan};
use message::{Query, TYPICAL_UDP_LEN};
pub(super) use slots::{Slot, Slots};
use std::collections::BTreeMap;
use std::io;
use std::net::IpAddr;
use std::time::Duration;

/// How often the list of resolvers is gone through before the client is told SERVFAIL.
const ROUNDS: usize = 2;
/// Where the machine's own resolvers are listed.
const RESOLV_CONF: &str = "/etc/resolv.conf";

/// How a client has sent a query.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Door {
    /// Over UDP, an answer that is larger than the client has announced is cut to a header that makes it ask again over
    /// TCP.
    pub over_tcp: bool,
    /// Who asks over IPv4 has IPv4, and no use for synthesized addresses.
    pub over_ipv6: bool,
}

/// See the module.
#[derive(Debug)]
pub struct Forwarder {
    resolvers: Vec<IpAddr>,
    /// By domain in lower case, without dots at its ends.
    zones: BTreeMap<String, Vec<IpAddr>>,
    timeout: Duration,
    dns64: Option<Dns64>,
}

impl Forwarder {
    /// With `pref64` it synthesizes IPv6 addresses below that
    /// prefix for names that have none (RFC 6147).
    pub fn new(config: &config::Dns, pref64: Option<Pref64>) -> Self {
        let resolvers = if config.upstream.is_empty() { machine_resolvers() } else { config.upstream.clone() };
        if resolvers.is_empty() && config.zones.is_empty() {
            tracing::warn!("no resolver is known, so clients cannot resolve names; set dns.upstream");
        }
        let zones = config.zones.iter();
        Self {
            resolvers,
            zones: zones.map(|(zone, servers)| (message::normalise(zone), servers.clone())).collect(),
            timeout: Duration::from_secs(config.timeout_s.into()),
            dns64: pref64.map(Dns64::new),
        }
    }

    /// That `query` will not be answered; none where it is no query at all.
    pub fn refuse(query: &[u8]) -> Option<Vec<u8>> {
        match Query::parse(query) {
            Ok(query) => Some(query.failure()),
            Err(refusal) => refusal,
        }
    }

    /// Answers `query`; none where it is no query at all.
    pub async fn answer(&self, query: &[u8], door: Door) -> Option<Vec<u8>> {
        let query = match Query::parse(query) {
            Ok(query) => query,
            Err(refusal) => return refusal,
        };
        let answer = match &self.dns64 {
            Some(dns64) if door.over_ipv6 => self.answer_with(dns64, &query).await,
            _ => self.resolve(&query).await,
        };
        let room = if door.over_tcp { usize::from(u16::MAX) } else { query.udp_len };
        Some(if answer.len() <= room { answer } else { query.truncated(&answer) })
    }

    async fn answer_with(&self, dns64: &Dns64, query: &Query) -> Vec<u8> {
        match dns64.plan(query) {
            Plan::Pass => self.resolve(query).await,
            Plan::Answer(answer) => answer,
            Plan::Synthesize => {
                let answer = self.resolve(query).await;
                match dns64.usable(&answer) {
                    Some(usable) => usable,
                    None => dns64.synthesize(&answer, &self.resolve(&query.with_type(dns64::TYPE_A)).await),
                }
            }
            Plan::Reverse(reverse) => {
                let answer = self.resolve(&reverse).await;
                dns64.reverse(query, &reverse, &answer)
            }
        }
    }

    /// The answer of the first resolver that gives one, else SERVFAIL.
    async fn resolve(&self, query: &Query) -> Vec<u8> {
        for _ in 0..ROUNDS {
            for &resolver in self.resolvers_for(&query.name) {
                match upstream::ask(resolver, query, self.timeout).await {
                    Ok(mut answer) => {
                        query.restore_id(&mut answer);
                        return answer;
                    }
                    Err(error) => tracing::debug!(%resolver, %error, "a resolver does not answer"),
                }
            }
        }
        query.failure()
    }

    fn resolvers_for(&self, name: &str) -> &[IpAddr] {
        let mut rest = name;
        loop {
            if let Some(servers) = self.zones.get(rest) {
                return servers;
            }
            match rest.split_once('.') {
                Some((_, parent)) => rest = parent,
                None => return &self.resolvers,
            }
        }
    }
}

fn machine_resolvers() -> Vec<IpAddr> {
    match std::fs::read_to_string(RESOLV_CONF) {
        Ok(text) => parse_resolv_conf(&text),
        Err(error) => {
            if error.kind() != io::ErrorKind::NotFound {
                tracing::warn!(%error, "{RESOLV_CONF} cannot be read");
            }
            Vec::new()
        }
    }
}

/// The `nameserver` lines. An address with a zone (`fe80::1%eth0`) is left out.
fn parse_resolv_conf(text: &str) -> Vec<IpAddr> {
    let mut words = text.lines().map(str::split_ascii_whitespace);
    words
        .by_ref()
        .filter_map(|mut line| (line.next() == Some("nameserver")).then(|| line.next()?.parse().ok())?)
        .collect()
}

const _: () = assert!(TYPICAL_UDP_LEN >= 512, "RFC 1035 section 4.2.1");

#[cfg(test)]
mod tests {
    use super::*;

    fn forwarder() -> Forwarder {
        let zone = |name: &str, last: u8| (name.to_owned(), vec![IpAddr::from([10, 0, 0, last])]);
        let config = config::Dns {
            upstream: vec![IpAddr::from([10, 0, 0, 1])],
            zones: BTreeMap::from([zone("Playground.Test.", 2), zone("deep.playground.test", 3)]),
            ..config::Dns::default()
        };
        Forwarder::new(&config, None)
    }

    #[test]
    fn the_longest_zone_decides() {
        let forwarder = forwarder();
        let last = |name| match forwarder.resolvers_for(name) {
            [IpAddr::V4(address)] => address.octets()[3],
            other => panic!("{other:?}"),
        };
        assert_eq!(last("example.org"), 1);
        assert_eq!(last("playground.test"), 2);
        assert_eq!(last("www.playground.test"), 2);
        assert_eq!(last("a.deep.playground.test"), 3);
        assert_eq!(last("notplayground.test"), 1);
        assert_eq!(last(""), 1);
    }

    #[test]
    fn resolv_conf_is_read() {
        let text =
            "# comment\nsearch example.org\nnameserver 192.0.2.1\nnameserver fe80::1%eth0\n nameserver 2001:db8::1\n";
        let expected: Vec<IpAddr> =
            ["192.0.2.1", "2001:db8::1"].iter().map(|it| it.parse().expect("an address")).collect();
        assert_eq!(parse_resolv_conf(text), expected);
    }
}

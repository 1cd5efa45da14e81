//! DNS: queries of clients, and names of streams, go to the operator's resolvers, or to those of the machine's configuration.
//!
//! Answers to queries are passed on as they are, whatever their type, but for what `dns64` makes for clients that ask over IPv6.
//! A resolver's library would not do that: it has read them, and makes errors of the negative ones. What names lead to it
//! finds (`names`). Nothing is cached: the clients' stacks do that.

mod dns64;
pub mod message;
mod names;
mod servers;
mod slots;
mod upstream;

use crate::config;
use crate::dataplane::Pref64;
use dns64::{Dns64, Plan};
use message::{Query, TYPICAL_UDP_LEN};
use servers::Servers;
pub(super) use slots::{Slot, Slots};
use std::collections::BTreeMap;
use std::time::Duration;

/// How often the list of resolvers is gone through before the client is told SERVFAIL.
const ROUNDS: usize = 2;

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
    servers: Servers,
    /// By domain in lower case, without dots at its ends.
    zones: BTreeMap<String, Servers>,
    /// For one resolver.
    patience: Duration,
    dns64: Option<Dns64>,
}

impl Forwarder {
    /// With `pref64` it synthesizes IPv6 addresses below that
    /// prefix for names that have none (RFC 6147).
    pub fn new(config: &config::Dns, pref64: Option<Pref64>) -> Self {
        let patience = Duration::from_secs(config.timeout_s.into());
        let servers = match &config.upstream[..] {
            [] => Servers::of_the_machine(patience),
            configured => Servers::new(configured, patience),
        };
        if servers.addresses.is_empty() && config.zones.is_empty() {
            tracing::warn!("no resolver is known, so clients cannot resolve names; set dns.upstream");
        }
        let zones = config.zones.iter();
        Self {
            servers,
            zones: zones.map(|(zone, all)| (message::normalise(zone), Servers::new(all, patience))).collect(),
            patience,
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
            for &resolver in &self.servers_for(&query.name).addresses {
                match upstream::ask(resolver, query, self.patience).await {
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

    /// `name`: as in [`Query::name`].
    fn servers_for(&self, name: &str) -> &Servers {
        let mut rest = name;
        loop {
            if let Some(servers) = self.zones.get(rest) {
                return servers;
            }
            match rest.split_once('.') {
                Some((_, parent)) => rest = parent,
                None => return &self.servers,
            }
        }
    }
}

const _: () = assert!(TYPICAL_UDP_LEN >= 512, "RFC 1035 section 4.2.1");

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::IpAddr;

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
        let last = |name| match &forwarder.servers_for(name).addresses[..] {
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
}

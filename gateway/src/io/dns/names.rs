//! The addresses of a name, for streams, whose clients leave that to the gateway.
//!
//! hickory-resolver finds them: by the machine's file of hosts, and by the resolvers, two at a time, over TCP where UDP does not do.

use super::{Forwarder, message};
use hickory_proto::rr::Name;
use std::net::IpAddr;

/// Addresses of a name that are made use of.
const MOST: usize = 16;

impl Forwarder {
    /// The addresses of `name`, or the one that it is, in the order in which they are to be tried (RFC 8305 section 4): IPv6
    /// first, then in turn. None where the name has none, or cannot be.
    pub async fn addresses(&self, name: &str) -> Vec<IpAddr> {
        if let Ok(address) = name.trim_matches(['[', ']']).parse() {
            return vec![address];
        }
        let servers = self.servers_for(&message::normalise(name));
        let (Some(resolver), Ok(mut whole)) = (&servers.resolver, Name::from_utf8(name)) else { return Vec::new() };
        whole.set_fqdn(true);
        match resolver.lookup_ip(whole).await {
            Ok(found) => in_turn(found.iter()),
            Err(error) => {
                tracing::debug!(name, %error, "a name has no address");
                Vec::new()
            }
        }
    }
}

fn in_turn(all: impl Iterator<Item = IpAddr>) -> Vec<IpAddr> {
    let (v6, v4): (Vec<IpAddr>, Vec<IpAddr>) = all.partition(IpAddr::is_ipv6);
    let (mut v6, mut v4) = (v6.into_iter(), v4.into_iter());
    let pairs = std::iter::from_fn(|| match (v6.next(), v4.next()) {
        (None, None) => None,
        pair => Some(pair),
    });
    pairs.flat_map(|(v6, v4)| v6.into_iter().chain(v4)).take(MOST).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn families_take_turns_and_ipv6_begins() {
        let of = |texts: &[&str]| texts.iter().map(|it| it.parse().expect("an address")).collect::<Vec<IpAddr>>();
        let all = of(&["192.0.2.1", "192.0.2.2", "192.0.2.3", "2001:db8::1"]);
        assert_eq!(in_turn(all.into_iter()), of(&["2001:db8::1", "192.0.2.1", "192.0.2.2", "192.0.2.3"]));
        assert_eq!(in_turn(of(&["192.0.2.1"; 40]).into_iter()).len(), MOST);
    }
}

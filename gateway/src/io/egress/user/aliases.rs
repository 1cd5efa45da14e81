//! How clients know the programs of this machine that call a mapped port: by the address that the TUN device's own end would
//! have. The announced address, which these programs have, stands for clients: with it as source a packet would be forged.

use crate::dataplane::ExternalAddress;
use std::net::{IpAddr, SocketAddr};

/// Pairs of an announced address, and what stands for the machine that has it.
#[derive(Clone, Debug, Default)]
pub(super) struct Aliases(Vec<(IpAddr, IpAddr)>);

impl Aliases {
    /// `stand_ins`: an address for each family, which nobody has.
    pub fn new(external: &[ExternalAddress], stand_ins: &[IpAddr]) -> Self {
        let stand_in = |it: &ExternalAddress| {
            let alias = stand_ins.iter().find(|alias| alias.is_ipv4() == it.announced.is_ipv4());
            Some((it.announced, *alias?))
        };
        Self(external.iter().filter_map(stand_in).collect())
    }

    /// The endpoint by which a client is to know who calls.
    pub fn inward(&self, from: SocketAddr) -> SocketAddr {
        let alias = self.0.iter().find(|(announced, _)| *announced == from.ip());
        SocketAddr::new(alias.map_or(from.ip(), |(_, alias)| *alias), from.port())
    }

    /// Whom a client means by an address; `None`: the address itself.
    pub fn outward(&self, to: IpAddr) -> Option<IpAddr> {
        self.0.iter().find(|(_, alias)| *alias == to).map(|(announced, _)| *announced)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_announced_address_has_an_alias() {
        let ip = |text: &str| text.parse::<IpAddr>().expect("an address");
        let external =
            ["198.18.0.1", "2001:2::1"].map(|it| ExternalAddress { address: ip("100.127.255.1"), announced: ip(it) });
        let aliases = Aliases::new(&external, &[ip("100.127.255.2")]);
        let port = |text: &str| SocketAddr::new(ip(text), 7);
        assert_eq!(aliases.inward(port("198.18.0.1")), port("100.127.255.2"));
        assert_eq!(aliases.inward(port("198.18.0.2")), port("198.18.0.2"));
        assert_eq!(aliases.inward(port("2001:2::1")), port("2001:2::1"));
        assert_eq!(aliases.outward(ip("100.127.255.2")), Some(ip("198.18.0.1")));
        assert_eq!(aliases.outward(ip("198.18.0.1")), None);
    }
}

//! Whom to ask.

use hickory_resolver::TokioResolver;
use hickory_resolver::config::{
    LookupIpStrategy, NameServerConfig, ResolverConfig, ResolverOpts, ServerOrderingStrategy,
};
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::system_conf::read_system_conf;
use std::fmt;
use std::net::IpAddr;
use std::time::Duration;

/// Resolvers in the order in which they are asked.
pub(super) struct Servers {
    pub addresses: Vec<IpAddr>,
    /// Asks them for what names lead to. None where it could not be made.
    pub resolver: Option<TokioResolver>,
}

impl Servers {
    /// Of the operator's choice. Each has `patience` for an answer.
    pub(super) fn new(addresses: &[IpAddr], patience: Duration) -> Self {
        Self { addresses: addresses.to_vec(), resolver: resolver(addresses, patience) }
    }

    /// Of the machine's configuration; none where it has none.
    pub(super) fn of_the_machine(patience: Duration) -> Self {
        let configured =
            read_system_conf().inspect_err(|error| tracing::warn!(%error, "the machine's resolvers are not known"));
        let servers = configured.map(|(config, _)| config.name_servers).unwrap_or_default();
        Self::new(&usable(servers.iter().map(|server| server.ip)), patience)
    }
}

/// An address of one link means nothing without its zone, which is lost where it is read.
fn usable(addresses: impl Iterator<Item = IpAddr>) -> Vec<IpAddr> {
    addresses.filter(|it| !matches!(it, IpAddr::V6(v6) if v6.is_unicast_link_local())).collect()
}

fn resolver(addresses: &[IpAddr], patience: Duration) -> Option<TokioResolver> {
    let servers = addresses.iter().map(|&address| NameServerConfig::udp_and_tcp(address)).collect();
    // Names are whole: no domain of the machine's is put behind them.
    let config = ResolverConfig::from_parts(None, Vec::new(), servers);
    let mut options = ResolverOpts::default();
    options.timeout = patience;
    options.attempts = super::ROUNDS - 1;
    options.ip_strategy = LookupIpStrategy::Ipv6AndIpv4;
    options.server_ordering_strategy = ServerOrderingStrategy::UserProvidedOrder;
    options.cache_size = 0;
    let builder = TokioResolver::builder_with_config(config, TokioRuntimeProvider::default()).with_options(options);
    builder.build().inspect_err(|error| tracing::warn!(%error, "names of streams cannot be resolved")).ok()
}

impl fmt::Debug for Servers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Servers").field(&self.addresses).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_without_its_link_is_left_out() {
        let all = ["192.0.2.1", "fe80::1", "2001:db8::1"].map(|it| it.parse::<IpAddr>().expect("an address"));
        assert_eq!(usable(all.into_iter()), [all[0], all[2]]);
    }
}

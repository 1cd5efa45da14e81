//! Which door a request is for.

use super::address::{Address, AddressError, is_door};
use crate::config::doors::Doors as Settings;
use webtun_stack::StreamHost;

/// A way in by WebSocket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::io) enum Route {
    /// The tunnel's own.
    Tunnel,
    /// Ethernet, for virtual machines.
    Ethernet(Result<Address, AddressError>),
    /// Connections, without packets.
    Carried(Carried),
}

/// What carries connections.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::io) enum Carried {
    /// `/wisp/`.
    Wisp {
        /// By whether the client offers a subprotocol.
        second_version: bool,
    },
    /// `/tcp/HOST/PORT`; none where that cannot be read.
    Tcp(Option<(StreamHost, u16)>),
    /// `/` with the subprotocol `binary`.
    Socks,
}

/// What a request's address says.
pub(in crate::io) struct Found<'a> {
    pub route: Route,
    /// A token or a ticket in the path.
    pub key: Option<&'a str>,
}

/// Finds the door; `offers` tells whether the client offers a subprotocol, of any name where none is given. `None`: there is
/// none at this path, or it is closed.
pub(in crate::io) fn find<'a>(
    path: &'a str,
    query: &str,
    settings: &Settings,
    offers: impl Fn(Option<&str>) -> bool,
) -> Option<Found<'a>> {
    let found = |route| Some(Found { route, key: None });
    if path == "/" {
        let is_socks = settings.socks && offers(Some("binary")) && !offers(Some(webtun_wire::SUBPROTOCOL));
        return found(if is_socks { Route::Carried(Carried::Socks) } else { Route::Tunnel });
    }
    if is_door(path) {
        return found(Route::Ethernet(Address::parse(path, query)));
    }
    if let Some(rest) = path.strip_prefix("/tcp/").filter(|_| settings.tcp) {
        return found(Route::Carried(Carried::Tcp(target(rest))));
    }
    // The client of libcurl.js wants an address with a slash at its end, and so no query.
    let key = path.strip_prefix("/wisp").filter(|_| settings.wisp)?;
    let key = match key.strip_suffix('/').unwrap_or(key) {
        "" => None,
        key => Some(key.strip_prefix('/').filter(|key| !key.contains('/'))?),
    };
    let route = Route::Carried(Carried::Wisp { second_version: offers(None) });
    Some(Found { route, key })
}

/// `HOST/PORT`, or `HOST:PORT` as wsproxy has it. An IPv6 address may stand in brackets, escaped or not.
fn target(text: &str) -> Option<(StreamHost, u16)> {
    let text = text.strip_suffix('/').unwrap_or(text);
    let (host, port) = text.rsplit_once('/').or_else(|| text.rsplit_once(':'))?;
    let host = host.replace("%5B", "[").replace("%5b", "[").replace("%5D", "]").replace("%5d", "]");
    let host = host.trim_matches(['[', ']']).replace("%3A", ":").replace("%3a", ":");
    let port = port.parse().ok().filter(|port| *port != 0)?;
    let is_name = |octet: u8| octet.is_ascii_alphanumeric() || b"-._".contains(&octet);
    match host.parse() {
        Ok(address) => Some((StreamHost::Address(address), port)),
        Err(_) if (1..=253).contains(&host.len()) && host.bytes().all(is_name) => Some((StreamHost::Name(host), port)),
        Err(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn route(path: &str, protocols: &[&str], settings: &Settings) -> Option<(Route, Option<String>)> {
        let offers = |name: Option<&str>| name.map_or(!protocols.is_empty(), |name| protocols.contains(&name));
        find(path, "", settings, offers).map(|found| (found.route, found.key.map(str::to_owned)))
    }

    #[test]
    fn each_path_has_its_door() {
        let settings = Settings::default();
        let found = |path, protocols: &[&str]| route(path, protocols, &settings);
        assert_eq!(found("/", &[]), Some((Route::Tunnel, None)));
        assert_eq!(found("/", &["webtun.v1", "binary"]), Some((Route::Tunnel, None)));
        assert_eq!(found("/", &["binary"]), Some((Route::Carried(Carried::Socks), None)));
        let wisp = |second_version| Route::Carried(Carried::Wisp { second_version });
        assert_eq!(found("/wisp/", &[]), Some((wisp(false), None)));
        assert_eq!(found("/wisp", &["wisp-v2"]), Some((wisp(true), None)));
        assert_eq!(found("/wisp/s3cret/", &[]), Some((wisp(false), Some("s3cret".to_owned()))));
        assert_eq!(found("/wisp/a/b/", &[]), None);
        assert_eq!(found("/wispy/", &[]), None);
        assert!(matches!(found("/ethernet/", &[]), Some((Route::Ethernet(Ok(_)), None))));
        let closed = Settings { wisp: false, tcp: false, socks: false, ..Settings::default() };
        assert_eq!(route("/wisp/", &[], &closed), None);
        assert_eq!(route("/tcp/a/1", &[], &closed), None);
        assert_eq!(route("/", &["binary"], &closed), Some((Route::Tunnel, None)));
    }

    #[test]
    fn targets_are_names_and_addresses_with_a_port() {
        let name = |name: &str, port| Some((StreamHost::Name(name.to_owned()), port));
        let address = |text: &str, port| Some((StreamHost::Address(text.parse().expect("an address")), port));
        assert_eq!(target("example.org/80"), name("example.org", 80));
        assert_eq!(target("example.org:80/"), name("example.org", 80));
        assert_eq!(target("192.0.2.1/443"), address("192.0.2.1", 443));
        assert_eq!(target("2001:db8::1/443"), address("2001:db8::1", 443));
        assert_eq!(target("%5B2001:db8::1%5D:443"), address("2001:db8::1", 443));
        for wrong in ["", "a", "a/", "/80", "a/0", "a/65536", "a/b/80", "a b/80", "a%00/80", "a/+1x"] {
            assert_eq!(target(wrong), None, "{wrong}");
        }
    }
}

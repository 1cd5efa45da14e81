//! Which pages may connect.
//!
//! A browser adds an Origin to every WebSocket, so a page of another site cannot hide; native clients send none. Where no
//! token is asked for, the name in Host must not be one that a stranger's DNS can point here (DNS rebinding): then his
//! page would be "of the same host".

use crate::config::{AllowedOrigin, Origin, split_authority};
use http::HeaderMap;
use http::header::ORIGIN;
use std::net::Ipv4Addr;

/// Why a request is refused; for the person who reads the response.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum OriginError {
    /// The page is not on the list.
    #[error("pages of the origin {0} may not connect to this gateway; the operator can add it to allow_origins\n")]
    Foreign(String),
    /// The name is unknown and there is no token.
    #[error(
        "this gateway asks for no token, so it answers only to IP addresses, localhost and the hosts in allow_origins, \
         not to the name {0}\n"
    )]
    Name(String),
}

/// Checks Origin against `host`, which the client has asked for, and that. `open` tells that no token is asked for.
pub(super) fn check(headers: &HeaderMap, host: &str, allowed: &[AllowedOrigin], open: bool) -> Result<(), OriginError> {
    if let Some(origin) = headers.get(ORIGIN).map(|value| String::from_utf8_lossy(value.as_bytes())) {
        let is_same_host = Origin::parse(&origin).is_some_and(|it| it.is_at(host));
        if !is_same_host && !allowed.iter().any(|it| it.covers(&origin)) {
            return Err(OriginError::Foreign(origin.into_owned()));
        }
    }
    if open && !is_unforgeable(host, allowed) {
        return Err(OriginError::Name(host.to_owned()));
    }
    Ok(())
}

/// True where no stranger's DNS can make `host` lead here. Who sends no Host is no browser.
fn is_unforgeable(host: &str, allowed: &[AllowedOrigin]) -> bool {
    let Some((name, _)) = split_authority(host) else { return host.is_empty() };
    let is_local = name == "localhost" || name.ends_with(".localhost");
    let is_address = name.starts_with('[') || name.parse::<Ipv4Addr>().is_ok();
    is_local || is_address || allowed.iter().any(|it| it.names(host))
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::header::HOST;

    /// As for a client without a proxy.
    fn check(headers: &HeaderMap, allowed: &[AllowedOrigin], open: bool) -> Result<(), OriginError> {
        super::check(headers, headers[HOST].to_str().expect("text"), allowed, open)
    }

    fn list(origins: &[&str]) -> Vec<AllowedOrigin> {
        origins.iter().map(|&it| AllowedOrigin::try_from(it.to_owned()).expect("an origin")).collect()
    }

    fn headers(origin: Option<&'static str>, host: &'static str) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert(HOST, host.parse().expect("a header value"));
        if let Some(origin) = origin {
            headers.insert(ORIGIN, origin.parse().expect("a header value"));
        }
        headers
    }

    #[test]
    fn same_host_and_native_clients_pass() {
        assert_eq!(check(&headers(Some("https://gw.example"), "gw.example"), &[], false), Ok(()));
        assert_eq!(check(&headers(Some("http://127.0.0.1:8077"), "127.0.0.1:8077"), &[], true), Ok(()));
        assert_eq!(check(&headers(None, "gw.example"), &[], false), Ok(()));
    }

    #[test]
    fn foreign_pages_pass_only_when_listed() {
        let foreign = headers(Some("https://evil.example"), "gw.example");
        assert!(matches!(check(&foreign, &[], false), Err(OriginError::Foreign(_))));
        assert_eq!(check(&foreign, &list(&["https://evil.example"]), false), Ok(()));
        assert_eq!(check(&foreign, &list(&["*"]), false), Ok(()));
        let other_port = headers(Some("http://127.0.0.1:9000"), "127.0.0.1:8077");
        assert!(matches!(check(&other_port, &[], true), Err(OriginError::Foreign(_))));
        assert!(check(&headers(Some("null"), "gw.example"), &[], false).is_err());
        assert!(check(&headers(Some("null"), "null"), &[], false).is_err());
        assert_eq!(check(&headers(Some("null"), "gw.example"), &list(&["null"]), false), Ok(()));
    }

    #[test]
    fn an_open_gateway_does_not_answer_to_rebound_names() {
        let rebound = headers(Some("http://evil.example:8077"), "evil.example:8077");
        assert!(matches!(check(&rebound, &[], true), Err(OriginError::Name(_))));
        assert_eq!(check(&rebound, &list(&["http://evil.example:8077"]), true), Ok(()));
        // A page of any origin is not a host of any name.
        assert!(matches!(check(&rebound, &list(&["*"]), true), Err(OriginError::Name(_))));
        assert_eq!(check(&headers(None, "a.gw.example"), &list(&["https://*.gw.example"]), true), Ok(()));
        for host in
            ["[::1].evil.example", "127.0.0.1.evil.example", "localhost.evil.example", "evil.example:80:80", "[evil]"]
        {
            assert!(matches!(check(&headers(None, host), &[], true), Err(OriginError::Name(_))), "{host}");
        }
        assert_eq!(check(&headers(None, "[::1]:8077"), &[], true), Ok(()));
        assert_eq!(check(&headers(None, "localhost:8077"), &[], true), Ok(()));
    }
}

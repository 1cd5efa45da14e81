//! Which pages may connect.
//!
//! A browser adds an Origin to every WebSocket, so a page of another site cannot hide; native clients send none. Where no
//! token is asked for, the name in Host must not be one that a stranger's DNS can point here (DNS rebinding): then his
//! page would be "of the same host".

use http::HeaderMap;
use http::header::{HOST, ORIGIN};
use std::net::IpAddr;

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

/// Checks Origin and Host. `open` tells that no token is asked for.
pub(super) fn check(headers: &HeaderMap, allowed: &[String], open: bool) -> Result<(), OriginError> {
    let text = |name| headers.get(name).map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned());
    let host = text(HOST).unwrap_or_default();
    if let Some(origin) = text(ORIGIN) {
        let listed = allowed.iter().any(|it| it == "*" || it.eq_ignore_ascii_case(&origin));
        if !listed && !is_same_host(&origin, &host) {
            return Err(OriginError::Foreign(origin));
        }
    }
    if open && !is_unforgeable(&host, allowed) {
        return Err(OriginError::Name(host));
    }
    Ok(())
}

/// An origin is `scheme://host[:port]`, where a default port is left out, in Host too.
fn is_same_host(origin: &str, host: &str) -> bool {
    origin.split_once("://").is_some_and(|(_, authority)| !host.is_empty() && authority.eq_ignore_ascii_case(host))
}

fn is_unforgeable(host: &str, allowed: &[String]) -> bool {
    let name = without_port(host);
    let bare = name.trim_start_matches('[').trim_end_matches(']');
    let local = name.eq_ignore_ascii_case("localhost") || name.to_ascii_lowercase().ends_with(".localhost");
    host.is_empty()
        || local
        || bare.parse::<IpAddr>().is_ok()
        || allowed.iter().any(|origin| {
            let listed = origin.split_once("://").map_or("", |(_, authority)| without_port(authority));
            listed.eq_ignore_ascii_case(name)
        })
}

fn without_port(authority: &str) -> &str {
    match authority.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|octet| octet.is_ascii_digit()) => name,
        _ => authority,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
        assert_eq!(check(&foreign, &["https://evil.example".to_owned()], false), Ok(()));
        assert_eq!(check(&foreign, &["*".to_owned()], false), Ok(()));
        let other_port = headers(Some("http://127.0.0.1:9000"), "127.0.0.1:8077");
        assert!(matches!(check(&other_port, &[], true), Err(OriginError::Foreign(_))));
        assert!(check(&headers(Some("null"), "gw.example"), &[], false).is_err());
    }

    #[test]
    fn an_open_gateway_does_not_answer_to_rebound_names() {
        let rebound = headers(Some("http://evil.example:8077"), "evil.example:8077");
        assert!(matches!(check(&rebound, &[], true), Err(OriginError::Name(_))));
        assert_eq!(check(&rebound, &["http://evil.example:8077".to_owned()], true), Ok(()));
        assert_eq!(check(&headers(None, "[::1]:8077"), &[], true), Ok(()));
        assert_eq!(check(&headers(None, "localhost:8077"), &[], true), Ok(()));
    }
}

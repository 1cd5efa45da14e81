//! Origins of pages (RFC 6454), and which of them may connect.

use serde::{Deserialize, Serialize};
use std::net::Ipv6Addr;

/// Scheme, host and port of a page, in one form for each: lower case, IPv6 addresses as RFC 5952 has them, and a port where
/// the scheme has one by default.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin {
    scheme: String,
    host: String,
    port: Option<u16>,
}

impl Origin {
    /// Reads `scheme://host[:port]`, and nothing more than that.
    pub fn parse(text: &str) -> Option<Self> {
        let (scheme, authority) = text.split_once("://")?;
        let is_scheme = scheme.bytes().all(|octet| octet.is_ascii_alphanumeric() || b"+-.".contains(&octet));
        if scheme.is_empty() || !is_scheme {
            return None;
        }
        let scheme = scheme.to_ascii_lowercase();
        let (host, port) = split_authority(authority)?;
        let port = port.or(default_port(&scheme));
        Some(Self { scheme, host, port })
    }

    /// True where the page has been loaded from the host and port of a Host header.
    ///
    /// The scheme is left out of it: behind a proxy that does TLS, nothing here tells it.
    pub fn is_at(&self, host: &str) -> bool {
        split_authority(host)
            .is_some_and(|(name, port)| name == self.host && port.or(default_port(&self.scheme)) == self.port)
    }
}

fn default_port(scheme: &str) -> Option<u16> {
    match scheme {
        "http" | "ws" => Some(80),
        "https" | "wss" => Some(443),
        _ => None,
    }
}

/// Host and port of an authority (RFC 3986 section 3.2) without user, in the form that [`Origin`] has.
pub fn split_authority(authority: &str) -> Option<(String, Option<u16>)> {
    let (host, port) = match authority.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => (host, Some(port)),
        _ => (authority, None),
    };
    let port =
        port.filter(|port| !port.is_empty()).map(|port| port.parse().ok()).map_or(Some(None), |it| it.map(Some))?;
    if let Some(literal) = host.strip_prefix('[') {
        let address: Ipv6Addr = literal.strip_suffix(']')?.parse().ok()?;
        return Some((format!("[{address}]"), port));
    }
    let is_name = |octet: u8| octet.is_ascii_alphanumeric() || b"-._".contains(&octet);
    (!host.is_empty() && host.bytes().all(is_name)).then(|| (host.to_ascii_lowercase(), port))
}

/// An item of `allow_origins`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct AllowedOrigin {
    text: String,
    pattern: Pattern,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Pattern {
    Any,
    /// Pages without an origin of their own, such as files and sandboxed frames.
    Null,
    Page(Origin),
    /// Pages at hosts below this one.
    Below(Origin),
}

impl AllowedOrigin {
    /// True where it covers an Origin header.
    pub fn covers(&self, origin: &str) -> bool {
        match &self.pattern {
            Pattern::Any => true,
            Pattern::Null => origin == "null",
            Pattern::Page(page) => Origin::parse(origin).is_some_and(|it| it == *page),
            Pattern::Below(parent) => Origin::parse(origin).is_some_and(|it| {
                it.scheme == parent.scheme && it.port == parent.port && is_below(&it.host, &parent.host)
            }),
        }
    }

    /// True where it names the host of a Host header, whatever the scheme and port. `*` names none.
    pub fn names(&self, host: &str) -> bool {
        let Some((host, _)) = split_authority(host) else { return false };
        match &self.pattern {
            Pattern::Any | Pattern::Null => false,
            Pattern::Page(page) => page.host == host,
            Pattern::Below(parent) => is_below(&host, &parent.host),
        }
    }
}

fn is_below(host: &str, parent: &str) -> bool {
    host.strip_suffix(parent).and_then(|rest| rest.strip_suffix('.')).is_some_and(|labels| !labels.is_empty())
}

impl TryFrom<String> for AllowedOrigin {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let pattern = match text.as_str() {
            "*" => Some(Pattern::Any),
            "null" => Some(Pattern::Null),
            page => match page.split_once("://*.") {
                Some((scheme, parent)) => Origin::parse(&format!("{scheme}://{parent}")).map(Pattern::Below),
                None => Origin::parse(page).map(Pattern::Page),
            },
        };
        match pattern {
            Some(pattern) => Ok(Self { text, pattern }),
            None => Err(format!(
                "`{text}` is not an origin; write it as https://example.org, without path, or https://*.example.org"
            )),
        }
    }
}

impl From<AllowedOrigin> for String {
    fn from(allowed: AllowedOrigin) -> Self {
        allowed.text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn covers(allowed: &str, origin: &str) -> bool {
        AllowedOrigin::try_from(allowed.to_owned()).expect("an origin").covers(origin)
    }

    #[test]
    fn case_and_default_ports_make_no_difference_and_all_else_does() {
        for same in ["https://app.example", "HTTPS://App.Example", "https://app.example:443", "https://app.example:"] {
            assert!(covers("https://app.example", same) && covers(same, "https://app.example"), "{same}");
        }
        for other in [
            "http://app.example",
            "https://app.example:8443",
            "https://app.example.evil.example",
            "https://evilapp.example",
            "https://app.example@evil.example",
            "https://app.example/",
            "https://app.example https://evil.example",
            "app.example",
            "null",
            "",
        ] {
            assert!(!covers("https://app.example", other), "{other}");
        }
    }

    #[test]
    fn a_star_stands_for_names_below() {
        for below in ["https://a.app.example", "https://a.b.app.example", "https://a.app.example:443"] {
            assert!(covers("https://*.app.example", below), "{below}");
        }
        for other in [
            "https://app.example",
            "https://.app.example",
            "https://evilapp.example",
            "http://a.app.example",
            "https://a.app.example:444",
            "https://a.app.example.evil.example",
        ] {
            assert!(!covers("https://*.app.example", other), "{other}");
        }
    }

    #[test]
    fn null_is_covered_by_itself_and_by_any() {
        assert!(covers("null", "null") && covers("*", "null") && covers("*", "https://evil.example"));
        assert!(!covers("null", "https://evil.example") && !covers("null", "NULL"));
    }

    #[test]
    fn a_page_is_at_its_host_with_either_form_of_the_port_and_of_the_address() {
        let is_at = |origin: &str, host: &str| Origin::parse(origin).is_some_and(|it| it.is_at(host));
        for (origin, host) in [
            ("https://gw.example", "gw.example"),
            ("https://gw.example", "GW.example:443"),
            ("http://gw.example:8077", "gw.example:8077"),
            ("http://[::1]:8077", "[0:0:0:0:0:0:0:1]:8077"),
            ("https://[2001:DB8::1]", "[2001:db8::1]"),
        ] {
            assert!(is_at(origin, host), "{origin} {host}");
        }
        for (origin, host) in [
            ("https://gw.example", "gw.example:80"),
            ("http://gw.example", "gw.example:8077"),
            ("https://gw.example", "gw.example.evil.example"),
            ("https://[::1]", "[::2]"),
            ("https://[::1]", "::1"),
            ("https://gw.example", ""),
            ("null", "null"),
        ] {
            assert!(!is_at(origin, host), "{origin} {host}");
        }
    }

    #[test]
    fn what_is_no_origin_is_not_configured() {
        for wrong in [
            "app.example",
            "https://",
            "https://a/",
            "https://a:x",
            "https://a:65536",
            "https://*",
            "://a",
            "https://[::1",
            "https://a b",
        ] {
            assert!(AllowedOrigin::try_from(wrong.to_owned()).is_err(), "{wrong}");
        }
    }
}

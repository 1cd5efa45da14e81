//! Who a request is from, where a proxy that is trusted hands it on.

use crate::config::{ForwardedHeader, Http};
use http::header::{FORWARDED, HOST};
use http::{HeaderMap, HeaderName};
use std::net::{IpAddr, SocketAddr};

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");

/// What a request says of where it comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Origin {
    /// The client's address.
    pub client: IpAddr,
    /// The host that the client has asked for; empty where it has named none.
    pub host: String,
}

/// Reads it from a connection of `remote`.
///
/// Each proxy appends the address that it has the request from, so only what stands right of the leftmost trusted proxy
/// is true: the client is the rightmost address that is not a trusted proxy's. Where an item is not an address, the one
/// right of it is as far as can be told.
pub(super) fn origin(remote: IpAddr, headers: &HeaderMap, http: &Http) -> Origin {
    let text = |name| headers.get(name).map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned());
    let mut origin = Origin { client: remote.to_canonical(), host: text(HOST).unwrap_or_default() };
    if !is_trusted(origin.client, http) {
        return origin;
    }
    let (addresses, host) = match http.forwarded_header {
        ForwardedHeader::XForwardedFor => {
            let addresses = items(headers, &X_FORWARDED_FOR).map(|item| address(&item)).collect();
            // Of several the last is that of the proxy next to us.
            (addresses, items(headers, &X_FORWARDED_HOST).last())
        }
        ForwardedHeader::Forwarded => {
            let elements: Vec<String> = items(headers, &FORWARDED).collect();
            let addresses: Vec<Option<IpAddr>> =
                elements.iter().map(|element| parameter(element, "for").and_then(|node| address(&node))).collect();
            (addresses, elements.last().and_then(|element| parameter(element, "host")))
        }
    };
    for hop in addresses.into_iter().rev() {
        let Some(hop) = hop else { break };
        origin.client = hop;
        if !is_trusted(hop, http) {
            break;
        }
    }
    if let Some(host) = host {
        origin.host = host;
    }
    origin
}

fn is_trusted(address: IpAddr, http: &Http) -> bool {
    http.trusted_proxies.iter().any(|proxy| proxy.contains(&address))
}

/// The items of a list that may stand in several headers; a comma within quotes separates nothing.
fn items<'a>(headers: &'a HeaderMap, name: &HeaderName) -> impl Iterator<Item = String> + use<'a> {
    let lines = headers.get_all(name).into_iter().map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned());
    lines.flat_map(|line| split(&line, ',')).filter(|item| !item.is_empty())
}

/// Splits outside of quoted strings (RFC 9110 section 5.6.4).
fn split(text: &str, separator: char) -> Vec<String> {
    let (mut parts, mut quoted, mut escaped) = (vec![String::new()], false, false);
    for character in text.chars() {
        if character == separator && !quoted {
            parts.push(String::new());
            continue;
        }
        match character {
            '"' if !escaped => quoted = !quoted,
            _ => {}
        }
        escaped = quoted && character == '\\' && !escaped;
        if let Some(part) = parts.last_mut() {
            part.push(character);
        }
    }
    parts.iter().map(|part| part.trim().to_owned()).collect()
}

/// The value of a parameter of RFC 7239 section 4, without its quotes.
fn parameter(element: &str, name: &str) -> Option<String> {
    split(element, ';').iter().find_map(|pair| {
        let (key, value) = pair.split_once('=')?;
        let value = value.strip_prefix('"').and_then(|value| value.strip_suffix('"')).unwrap_or(value);
        key.eq_ignore_ascii_case(name).then(|| value.replace('\\', ""))
    })
}

/// An address, with or without a port, in the ways in which proxies write it.
fn address(node: &str) -> Option<IpAddr> {
    let bare = || node.trim_start_matches('[').trim_end_matches(']').parse().ok();
    let with_port = || node.parse::<SocketAddr>().ok().map(|endpoint| endpoint.ip());
    bare().or_else(with_port).map(|address: IpAddr| address.to_canonical())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(remote: &str, header: ForwardedHeader, lines: &[(HeaderName, &'static str)]) -> (String, String) {
        let mut headers = HeaderMap::new();
        headers.insert(HOST, "backend:8077".parse().expect("a header value"));
        for (name, line) in lines {
            headers.append(name, line.parse().expect("a header value"));
        }
        let prefixes = ["10.0.0.0/8", "2001:db8:1::/48"].map(|prefix| prefix.parse().expect("a prefix"));
        let http = Http { trusted_proxies: prefixes.to_vec(), forwarded_header: header, ..Http::default() };
        let found = origin(remote.parse().expect("an address"), &headers, &http);
        (found.client.to_string(), found.host)
    }

    fn x(remote: &str, line: &'static str) -> String {
        read(remote, ForwardedHeader::XForwardedFor, &[(X_FORWARDED_FOR, line)]).0
    }

    fn rfc(line: &'static str) -> String {
        read("10.0.0.1", ForwardedHeader::Forwarded, &[(FORWARDED, line)]).0
    }

    #[test]
    fn strangers_are_not_believed() {
        assert_eq!(x("192.0.2.1", "203.0.113.5"), "192.0.2.1");
        let lines = [(X_FORWARDED_HOST, "evil.example"), (FORWARDED, "for=203.0.113.5;host=evil.example")];
        for header in [ForwardedHeader::XForwardedFor, ForwardedHeader::Forwarded] {
            assert_eq!(read("192.0.2.1", header, &lines), ("192.0.2.1".to_owned(), "backend:8077".to_owned()));
        }
    }

    #[test]
    fn the_rightmost_address_that_is_no_proxys_is_the_client() {
        assert_eq!(x("10.0.0.1", "203.0.113.5"), "203.0.113.5");
        assert_eq!(x("::ffff:10.0.0.1", "198.51.100.9, 203.0.113.5"), "203.0.113.5");
        assert_eq!(x("10.0.0.1", "198.51.100.9, 203.0.113.5, 10.9.9.9, 2001:db8:1::7"), "203.0.113.5");
        assert_eq!(x("10.0.0.1", "10.0.0.7"), "10.0.0.7");
        let lines = [(X_FORWARDED_FOR, "198.51.100.9"), (X_FORWARDED_FOR, "203.0.113.5, 10.0.0.3")];
        assert_eq!(read("10.0.0.1", ForwardedHeader::XForwardedFor, &lines).0, "203.0.113.5");
    }

    #[test]
    fn what_is_no_address_ends_the_search() {
        assert_eq!(x("10.0.0.1", "203.0.113.5, unknown, 10.0.0.3"), "10.0.0.3");
        assert_eq!(x("10.0.0.1", "rubbish"), "10.0.0.1");
        assert_eq!(rfc("for=203.0.113.5, for=_hidden"), "10.0.0.1");
        assert_eq!(rfc("proto=https"), "10.0.0.1");
        assert_eq!(rfc("\"for=\\"), "10.0.0.1");
    }

    #[test]
    fn addresses_are_read_as_proxies_write_them() {
        assert_eq!(x("10.0.0.1", "203.0.113.5:4711"), "203.0.113.5");
        assert_eq!(x("10.0.0.1", "[2001:db8::7]:4711"), "2001:db8::7");
        assert_eq!(x("10.0.0.1", "2001:db8::7"), "2001:db8::7");
        assert_eq!(rfc("For=\"[2001:db8:cafe::17]:4711\";proto=http;by=203.0.113.43"), "2001:db8:cafe::17");
        assert_eq!(rfc("for=192.0.2.43, for=198.51.100.17;by=\"a,b;for=192.0.2.1\""), "198.51.100.17");
    }

    #[test]
    fn only_the_configured_header_is_believed() {
        let lines = [(FORWARDED, "for=198.51.100.1;host=evil.example"), (X_FORWARDED_FOR, "203.0.113.5")];
        assert_eq!(
            read("10.0.0.1", ForwardedHeader::XForwardedFor, &lines),
            ("203.0.113.5".to_owned(), "backend:8077".to_owned())
        );
    }

    #[test]
    fn the_host_is_the_one_that_the_client_has_asked_for() {
        let lines = [(X_FORWARDED_FOR, "203.0.113.5"), (X_FORWARDED_HOST, "gw.example")];
        assert_eq!(read("10.0.0.1", ForwardedHeader::XForwardedFor, &lines).1, "gw.example");
        let lines = [(FORWARDED, "for=203.0.113.5;host=\"gw.example:8443\"")];
        assert_eq!(read("10.0.0.1", ForwardedHeader::Forwarded, &lines).1, "gw.example:8443");
    }
}

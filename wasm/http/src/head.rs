//! Heads as text: a field is a line `name`, then a line `value`, of Latin-1 as the Fetch standard's byte strings are.

use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Uri, Version, header};

use crate::body::RequestBody;
use crate::failure::Failure;

/// A request's head for HTTP/1.1 (origin form, RFC 9112 section 3.2.1) or HTTP/2.
pub fn request(http2: bool, method: &str, url: &str, fields: &str) -> Result<Request<()>, Failure> {
    let uri: Uri = url.parse().map_err(Failure::invalid)?;
    let mut request = Request::new(());
    *request.method_mut() = Method::from_bytes(method.as_bytes()).map_err(Failure::invalid)?;
    *request.headers_mut() = parse(fields)?;
    if http2 {
        // The authority of the URL is in a field of its own (RFC 9113 section 8.3.1).
        request.headers_mut().remove(header::HOST);
        *request.version_mut() = Version::HTTP_2;
        *request.uri_mut() = uri;
        return Ok(request);
    }
    let authority = uri.authority().ok_or_else(|| Failure::invalid("the URL has no host"))?;
    if !request.headers().contains_key(header::HOST) {
        let host = HeaderValue::from_str(authority.as_str()).map_err(Failure::invalid)?;
        request.headers_mut().insert(header::HOST, host);
    }
    let target = uri.path_and_query().map_or("/", |path| path.as_str());
    *request.uri_mut() = target.parse().map_err(Failure::invalid)?;
    Ok(request)
}

/// The same with its body.
pub fn with_body(head: Request<()>, body: RequestBody) -> Request<RequestBody> {
    head.map(|()| body)
}

fn parse(fields: &str) -> Result<HeaderMap, Failure> {
    let mut headers = HeaderMap::new();
    let mut lines = fields.split('\n');
    while let (Some(name), Some(value)) = (lines.next(), lines.next()) {
        let name = HeaderName::from_bytes(name.as_bytes()).map_err(Failure::invalid)?;
        let octets: Option<Vec<u8>> = value.chars().map(|letter| u8::try_from(letter).ok()).collect();
        let octets = octets.ok_or_else(|| Failure::invalid(format!("the field {name} has letters beyond Latin-1")))?;
        headers.append(name, HeaderValue::from_bytes(&octets).map_err(Failure::invalid)?);
    }
    Ok(headers)
}

/// A response's fields as text.
pub fn fields(headers: &HeaderMap) -> String {
    let mut text = String::new();
    for (name, value) in headers {
        text.push_str(name.as_str());
        text.push('\n');
        text.extend(value.as_bytes().iter().map(|octet| char::from(*octet)));
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_two_versions_name_the_host_in_their_own_ways() {
        let old = request(false, "GET", "http://www.example.test:8080/a?b", "accept\n*/*\n").unwrap();
        assert_eq!(old.uri(), "/a?b");
        assert_eq!(old.headers()["host"], "www.example.test:8080");
        let own = request(false, "GET", "http://www.example.test/", "host\nother.test\n").unwrap();
        assert_eq!(own.headers()["host"], "other.test");
        let new = request(true, "GET", "https://www.example.test/a?b", "host\nother.test\n").unwrap();
        assert_eq!(new.uri(), "https://www.example.test/a?b");
        assert!(new.headers().get("host").is_none());
    }

    #[test]
    fn what_cannot_be_sent_is_refused() {
        for (method, url, fields) in [
            ("G T", "http://a/", ""),
            ("GET", "no URL", ""),
            ("GET", "/path", ""),
            ("GET", "http://a/", "na me\nvalue\n"),
            ("GET", "http://a/", "name\nva\rlue\n"),
            ("GET", "http://a/", "name\n\u{20ac}\n"),
        ] {
            assert_eq!(request(false, method, url, fields).map_err(|failure| failure.code).err(), Some("EINVAL"));
        }
    }

    #[test]
    fn octets_beyond_ascii_are_latin_1() {
        let head = request(false, "GET", "http://a/", "name\ngr\u{fc}n\n").unwrap();
        assert_eq!(head.headers()["name"].as_bytes(), b"gr\xfcn");
        assert!(fields(head.headers()).contains("name\ngr\u{fc}n\n"));
    }
}

//! The handshake of RFC 6455 section 4.2, server side.

use http::header::{
    CONNECTION, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_PROTOCOL, SEC_WEBSOCKET_VERSION, UPGRADE,
};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Response, StatusCode};
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use webtun_wire::{BEARER_PREFIX, SUBPROTOCOL};

/// True where the request asks for a WebSocket, whether or not it asks well.
pub(super) fn is_upgrade(headers: &HeaderMap) -> bool {
    items(headers, &UPGRADE).any(|item| item.eq_ignore_ascii_case("websocket"))
}

/// What is wrong with an upgrade; the status and the text of the response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct UpgradeError {
    pub status: StatusCode,
    pub text: &'static str,
}

/// A request that is fit to be upgraded.
#[derive(Debug)]
pub(super) struct Upgrade {
    accept: String,
    /// What is selected of the subprotocols that the client offers.
    protocol: Option<String>,
    /// From the second subprotocol, `bearer.<token>`.
    pub token: Option<String>,
}

/// What is spoken on the WebSocket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Purpose {
    /// The tunnel.
    Tunnel,
    /// A door, for clients most of which offer no subprotocol; those that do offer `binary`.
    Door,
    /// A door that takes the first subprotocol that is offered, whatever it is.
    Any,
}

impl Upgrade {
    /// Checks a request for which [`is_upgrade`] holds.
    pub(super) fn parse(method: &Method, headers: &HeaderMap, purpose: Purpose) -> Result<Self, UpgradeError> {
        let bad = |text| Err(UpgradeError { status: StatusCode::BAD_REQUEST, text });
        if method != Method::GET || !items(headers, &CONNECTION).any(|item| item.eq_ignore_ascii_case("upgrade")) {
            return bad("a WebSocket is opened by GET with `Connection: Upgrade`\n");
        }
        if headers.get(SEC_WEBSOCKET_VERSION).map(HeaderValue::as_bytes) != Some(b"13") {
            let text = "only version 13 of the WebSocket protocol is spoken here\n";
            return Err(UpgradeError { status: StatusCode::UPGRADE_REQUIRED, text });
        }
        let Some(key) = headers.get(SEC_WEBSOCKET_KEY).filter(|key| key.len() == 24) else {
            return bad("Sec-WebSocket-Key is missing or not 16 octets in base64\n");
        };
        let is_wanted = |item: &&str| match purpose {
            Purpose::Tunnel => *item == SUBPROTOCOL,
            Purpose::Door => *item == "binary",
            Purpose::Any => is_name(item),
        };
        let protocol = items(headers, &SEC_WEBSOCKET_PROTOCOL).find(is_wanted).map(str::to_owned);
        if purpose == Purpose::Tunnel && protocol.is_none() {
            return bad("this is a webtun gateway: open the WebSocket with the subprotocol \"webtun.v1\", as in \
                 new WebSocket(url, [\"webtun.v1\"])\n");
        }
        let token = items(headers, &SEC_WEBSOCKET_PROTOCOL).find_map(|item| item.strip_prefix(BEARER_PREFIX));
        Ok(Self { accept: derive_accept_key(key.as_bytes()), protocol, token: token.map(str::to_owned) })
    }

    /// The 101 response. It selects the real subprotocol and never repeats the token.
    pub(super) fn response<B: Default>(&self) -> Response<B> {
        let mut response = Response::new(B::default());
        *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
        let headers = response.headers_mut();
        headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
        headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
        if let Some(protocol) = self.protocol.as_deref().and_then(|protocol| HeaderValue::from_str(protocol).ok()) {
            headers.insert(SEC_WEBSOCKET_PROTOCOL, protocol);
        }
        if let Ok(accept) = HeaderValue::from_str(&self.accept) {
            headers.insert(SEC_WEBSOCKET_ACCEPT, accept);
        }
        response
    }
}

/// Whether a client offers this subprotocol, or any where none is given.
pub(super) fn offers(headers: &HeaderMap, name: Option<&str>) -> bool {
    items(headers, &SEC_WEBSOCKET_PROTOCOL).any(|item| name.map_or_else(|| is_name(item), |name| item == name))
}

/// Not a token in disguise.
fn is_name(item: &str) -> bool {
    !item.is_empty() && !item.starts_with(BEARER_PREFIX)
}

/// The items of a header that is a comma-separated list and may occur several times.
fn items<'a>(headers: &'a HeaderMap, name: &HeaderName) -> impl Iterator<Item = &'a str> {
    let values = headers.get_all(name).into_iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).map(str::trim)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(protocol: &'static str) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in [
            (UPGRADE, "websocket"),
            (CONNECTION, "keep-alive, Upgrade"),
            (SEC_WEBSOCKET_VERSION, "13"),
            (SEC_WEBSOCKET_KEY, "dGhlIHNhbXBsZSBub25jZQ=="),
            (SEC_WEBSOCKET_PROTOCOL, protocol),
        ] {
            headers.insert(name, HeaderValue::from_static(value));
        }
        headers
    }

    #[test]
    fn the_example_of_rfc_6455_section_1_3() {
        let upgrade = Upgrade::parse(&Method::GET, &request("webtun.v1"), Purpose::Tunnel).expect("a good request");
        let response: Response<()> = upgrade.response();
        assert_eq!(response.headers()[SEC_WEBSOCKET_ACCEPT], "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    }

    #[test]
    fn the_token_is_taken_and_not_repeated() {
        let upgrade = Upgrade::parse(&Method::GET, &request("webtun.v1, bearer.s3cret"), Purpose::Tunnel)
            .expect("a good request");
        assert_eq!(upgrade.token.as_deref(), Some("s3cret"));
        let response: Response<()> = upgrade.response();
        assert_eq!(response.headers()[SEC_WEBSOCKET_PROTOCOL], "webtun.v1");
    }

    #[test]
    fn another_subprotocol_is_refused_in_words() {
        let error = Upgrade::parse(&Method::GET, &request("chat"), Purpose::Tunnel).expect_err("a foreign subprotocol");
        assert!(error.status == StatusCode::BAD_REQUEST && error.text.contains("webtun.v1"));
    }
}

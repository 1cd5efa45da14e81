//! `POST /ticket`: exchanges a credential for a ticket, for clients that can set nothing but a WebSocket's address.

use super::{Body, Site, forwarded, origin, text};
use crate::io::auth::{Issued, NoTicket, Refusal};
use crate::io::metrics::TicketResult;
use crate::io::session::Farewell;
use bytes::Bytes;
use http::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN, ACCESS_CONTROL_MAX_AGE,
    ALLOW, AUTHORIZATION, CACHE_CONTROL, CONTENT_TYPE, ORIGIN, RETRY_AFTER, VARY, WWW_AUTHENTICATE,
};
use http::{HeaderMap, HeaderValue, Method, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use std::net::IpAddr;
use std::time::Duration;

/// Answers a request to `/ticket`. Pages of the origins that may open WebSockets may read the answer.
pub(super) fn respond(site: &Site, method: &Method, headers: &HeaderMap, remote: IpAddr) -> Response<Body> {
    let forwarded::Origin { client, host } = forwarded::origin(remote, headers, &site.http);
    if let Err(error) = origin::check(headers, &host, &site.allow_origins, site.gate.is_open()) {
        site.gate.ticket_results().count(TicketResult::Origin);
        tracing::info!("a ticket for a foreign page is refused");
        return text(StatusCode::FORBIDDEN, &error.to_string());
    }
    let mut response = match *method {
        Method::POST => issue(site, headers, client),
        Method::OPTIONS => preflight(),
        _ => {
            let mut response = text(StatusCode::METHOD_NOT_ALLOWED, "a ticket is asked for by POST\n");
            response.headers_mut().insert(ALLOW, HeaderValue::from_static("POST, OPTIONS"));
            response
        }
    };
    let answer = response.headers_mut();
    answer.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    answer.insert(VARY, HeaderValue::from_static("origin"));
    if let Some(origin) = headers.get(ORIGIN) {
        answer.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone());
    }
    response
}

fn issue(site: &Site, headers: &HeaderMap, client: IpAddr) -> Response<Body> {
    match site.gate.issue(bearer(headers), client) {
        Ok(Issued { ticket, life }) => {
            let body = serde_json::json!({ "ticket": ticket, "expires_in": life.as_secs() });
            let body = Full::new(Bytes::from(body.to_string())).map_err(|never| match never {}).boxed_unsync();
            let mut response = Response::new(body);
            response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
            response
        }
        Err(NoTicket::Open) => text(StatusCode::NOT_FOUND, "no credential is needed here, and so no ticket\n"),
        Err(NoTicket::Refused(refusal)) => refuse(site, refusal),
        Err(NoTicket::Full(wait)) => later("too many tickets are not spent yet\n", wait),
        Err(NoTicket::Internal) => text(StatusCode::INTERNAL_SERVER_ERROR, "there is no randomness\n"),
    }
}

/// Counted as that of a WebSocket is: an operator wants to know who guesses, and not by which way.
fn refuse(site: &Site, refusal: Refusal) -> Response<Body> {
    site.doorway.count(Farewell::refusal(refusal).result());
    match refusal {
        Refusal::Failures(wait) => later("too many wrong tokens have come from this address\n", wait),
        Refusal::Missing | Refusal::Wrong => {
            let mut response = text(StatusCode::UNAUTHORIZED, "the token is missing or wrong\n");
            response.headers_mut().insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
            response
        }
    }
}

/// RFC 6585 section 4, in whole seconds.
fn later(words: &str, wait: Duration) -> Response<Body> {
    let mut response = text(StatusCode::TOO_MANY_REQUESTS, words);
    let seconds = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
    response.headers_mut().insert(RETRY_AFTER, HeaderValue::from(seconds.max(1)));
    response
}

/// What a browser asks before it sends Authorization to another origin (Fetch, CORS protocol).
fn preflight() -> Response<Body> {
    let mut response = text(StatusCode::NO_CONTENT, "");
    let answer = response.headers_mut();
    answer.remove(CONTENT_TYPE);
    answer.insert(ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static("POST"));
    answer.insert(ACCESS_CONTROL_ALLOW_HEADERS, HeaderValue::from_static("authorization"));
    answer.insert(ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static("600"));
    response
}

/// The credential of RFC 6750 section 2.1; empty where there is none.
fn bearer(headers: &HeaderMap) -> &[u8] {
    let value = headers.get(AUTHORIZATION).map(HeaderValue::as_bytes).unwrap_or_default();
    match value.split_at_checked(7) {
        Some((scheme, credential)) if scheme.eq_ignore_ascii_case(b"bearer ") => credential.trim_ascii(),
        _ => b"",
    }
}

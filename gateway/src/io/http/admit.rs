//! What a request for a WebSocket proves, on whichever path.

use crate::io::auth::Gate;
use crate::io::session::Admission;
use std::net::IpAddr;

/// Judges the subprotocol's token, or else the ticket in the address. A ticket that is not good, and may have been spent by
/// the connection before a cut, is as good as none: the first message may prove more.
pub(super) fn admit(gate: &Gate, token: Option<&str>, query: Option<&str>, remote: IpAddr) -> Admission {
    let shown = token.unwrap_or_default();
    match gate.judge(shown.as_bytes(), remote) {
        Ok(peer) => Admission::Granted(Box::new(peer)),
        Err(refusal) if token.is_some() => Admission::Denied(refusal),
        Err(_) => match query.and_then(ticket).and_then(|ticket| gate.spend(ticket)) {
            Some(peer) => Admission::Granted(Box::new(peer)),
            None => Admission::ByHello(remote),
        },
    }
}

/// As [`admit`], for emulators, which come back by the same address: a token in its query counts as the subprotocol's does.
pub(super) fn admit_emulator(gate: &Gate, token: Option<&str>, query: Option<&str>, remote: IpAddr) -> Admission {
    admit(gate, token.or_else(|| query.and_then(|query| parameter(query, "token="))), query, remote)
}

/// As [`admit`], for clients that can say nothing but an address, and that come back by the same: a `key` in its path, or
/// `token=` in its query, which may be a token or a ticket, counts as the subprotocol's token does.
pub(super) fn admit_guest(
    gate: &Gate,
    token: Option<&str>,
    key: Option<&str>,
    query: Option<&str>,
    remote: IpAddr,
) -> Admission {
    let key = key.or_else(|| query.and_then(|query| parameter(query, "token=")));
    if let Some(peer) = key.filter(|_| token.is_none()).and_then(|key| gate.spend_if_any(key)) {
        return Admission::Granted(Box::new(peer));
    }
    admit(gate, token.or(key), query, remote)
}

/// Tickets are hexadecimal, so nothing in them is escaped.
fn ticket(query: &str) -> Option<&str> {
    parameter(query, "ticket=")
}

fn parameter<'a>(query: &'a str, prefix: &str) -> Option<&'a str> {
    query.split('&').find_map(|pair| pair.strip_prefix(prefix))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ticket_is_found_among_others() {
        assert_eq!(ticket("ticket=0a"), Some("0a"));
        assert_eq!(ticket("room=1&ticket=0a&x"), Some("0a"));
        assert_eq!(ticket("tickets=0a&notticket=1"), None);
    }
}

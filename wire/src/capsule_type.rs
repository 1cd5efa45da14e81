//! The capsule types, as they stand before a capsule's length.

/// DATAGRAM, RFC 9297 section 3.5.
pub const DATAGRAM: u64 = 0x00;
/// ADDRESS_ASSIGN, RFC 9484 section 4.7.1.
pub const ADDRESS_ASSIGN: u64 = 0x01;
/// ADDRESS_REQUEST, RFC 9484 section 4.7.2.
pub const ADDRESS_REQUEST: u64 = 0x02;
/// ROUTE_ADVERTISEMENT, RFC 9484 section 4.7.3.
pub const ROUTE_ADVERTISEMENT: u64 = 0x03;
/// DNS_ASSIGN, draft-ietf-masque-connect-ip-dns-06.
pub const DNS_ASSIGN: u64 = 0x1ACE_79EC;
/// PREF64, draft-ietf-masque-connect-ip-dns-06.
pub const PREF64: u64 = 0x274C_0FBC;

/// Our own types begin here. 0x2B7E_150E and 0x2B7E_1537 are the nearest values reserved for greasing.
pub const OWN_BASE: u64 = 0x2B7E_1510;
/// HELLO.
pub const HELLO: u64 = OWN_BASE;
/// SESSION.
pub const SESSION: u64 = OWN_BASE + 0x01;
/// CLOSE.
pub const CLOSE: u64 = OWN_BASE + 0x02;
/// LIMITS.
pub const LIMITS: u64 = OWN_BASE + 0x03;
/// SEQUENCE.
pub const SEQUENCE: u64 = OWN_BASE + 0x04;
/// ACK.
pub const ACK: u64 = OWN_BASE + 0x05;
/// PING.
pub const PING: u64 = OWN_BASE + 0x06;
/// PONG.
pub const PONG: u64 = OWN_BASE + 0x07;
/// DRAIN.
pub const DRAIN: u64 = OWN_BASE + 0x08;
/// CONTEXT_ASSIGN.
pub const CONTEXT_ASSIGN: u64 = OWN_BASE + 0x09;
/// CONTEXT_ACK.
pub const CONTEXT_ACK: u64 = OWN_BASE + 0x0A;
/// CONTEXT_CLOSE.
pub const CONTEXT_CLOSE: u64 = OWN_BASE + 0x0B;
/// FLOW_DENIED.
pub const FLOW_DENIED: u64 = OWN_BASE + 0x0C;
/// EXTERNAL_PORTS.
pub const EXTERNAL_PORTS: u64 = OWN_BASE + 0x0D;
/// PORT_MAP_REQUEST.
pub const PORT_MAP_REQUEST: u64 = OWN_BASE + 0x0E;
/// PORT_MAP_RESPONSE.
pub const PORT_MAP_RESPONSE: u64 = OWN_BASE + 0x0F;
/// STREAM_OPEN.
pub const STREAM_OPEN: u64 = OWN_BASE + 0x10;
/// STREAM_DATA.
pub const STREAM_DATA: u64 = OWN_BASE + 0x11;
/// STREAM_CREDIT.
pub const STREAM_CREDIT: u64 = OWN_BASE + 0x12;
/// STREAM_FINISH.
pub const STREAM_FINISH: u64 = OWN_BASE + 0x13;
/// STREAM_RESET.
pub const STREAM_RESET: u64 = OWN_BASE + 0x14;
/// STREAM_OPENED.
pub const STREAM_OPENED: u64 = OWN_BASE + 0x15;
/// STREAM_LIMITS.
pub const STREAM_LIMITS: u64 = OWN_BASE + 0x16;

#[cfg(test)]
mod tests {
    /// RFC 9297 section 5.4 reserves 0x29 * N + 0x17 so that receivers are exercised with types nobody knows.
    #[test]
    fn none_is_reserved_for_greasing() {
        for kind in super::OWN_BASE..=super::STREAM_LIMITS {
            assert_ne!((kind - 0x17) % 0x29, 0, "0x{kind:x}");
        }
    }
}

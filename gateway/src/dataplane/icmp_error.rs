//! ICMP errors that the gateway sends to a session: built here, limited in rate by [`Budget`].

use bytes::{BufMut, BytesMut};
use core::net::{IpAddr, Ipv4Addr};
use core::time::Duration;
use webtun_wire::Instant;

use super::checksum;
use super::packet::{Headers, Transport, protocol};

/// What went wrong, in the terms of both versions of ICMP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Problem {
    /// Communication administratively prohibited (RFC 1812 5.2.7.1, RFC 4443 3.1).
    Prohibited,
    /// No route to the destination.
    NoRoute,
    /// Host unreachable, address unreachable.
    HostUnreachable,
    /// Port unreachable.
    PortUnreachable,
    /// Hop limit exceeded in transit.
    HopLimit,
    /// Fragmentation needed, packet too big; with the MTU of the next hop (RFC 1191, RFC 4443 3.2).
    TooBig(u16),
}

impl Problem {
    /// Type, code, and the second word of the header.
    fn fields(self, is_ipv4: bool) -> (u8, u8, u32) {
        match (self, is_ipv4) {
            (Self::Prohibited, true) => (3, 13, 0),
            (Self::Prohibited, false) => (1, 1, 0),
            (Self::NoRoute, true) => (3, 0, 0),
            (Self::NoRoute, false) => (1, 0, 0),
            (Self::HostUnreachable, true) => (3, 1, 0),
            (Self::HostUnreachable, false) => (1, 3, 0),
            (Self::PortUnreachable, true) => (3, 3, 0),
            (Self::PortUnreachable, false) => (1, 4, 0),
            (Self::HopLimit, true) => (11, 0, 0),
            (Self::HopLimit, false) => (3, 0, 0),
            (Self::TooBig(mtu), true) => (3, 4, u32::from(mtu)),
            (Self::TooBig(mtu), false) => (2, 0, u32::from(mtu)),
        }
    }
}

/// Longest ICMP error: RFC 1812 4.3.2.3 for IPv4, the minimum MTU for IPv6 (RFC 4443 2.4 (c)).
const MAX_LEN_V4: usize = 576;
const MAX_LEN_V6: usize = 1280;

/// The error about `packet`, from `from` (of the packet's family) to the packet's source; `None` where none may be sent
/// (RFC 1122 3.2.2, RFC 4443 2.4 (e)).
pub(super) fn build(packet: &[u8], headers: &Headers, from: IpAddr, problem: Problem) -> Option<BytesMut> {
    let is_icmp = matches!(headers.transport, Transport::IcmpError { .. } | Transport::IcmpOther);
    let is_group = |address: IpAddr| address.is_multicast() || address == IpAddr::V4(Ipv4Addr::BROADCAST);
    if is_icmp || is_group(headers.source) || is_group(headers.destination) {
        return None;
    }
    let (kind, code, word) = problem.fields(from.is_ipv4());
    let (header_len, max_len) = if from.is_ipv4() { (20, MAX_LEN_V4) } else { (40, MAX_LEN_V6) };
    let quoted = &packet[..packet.len().min(max_len - header_len - 8)];
    let message_len = 8 + quoted.len();
    let mut octets = BytesMut::with_capacity(header_len + message_len);
    let number = match (from, headers.source) {
        (IpAddr::V4(from), IpAddr::V4(to)) => {
            octets.put_slice(&[0x45, 0xC0]); // precedence 6, internetwork control (RFC 1812 4.3.2.5)
            octets.put_u16((header_len + message_len) as u16);
            octets.put_slice(&[0, 0, 0x40, 0, 64, protocol::ICMP, 0, 0]);
            octets.put_slice(&from.octets());
            octets.put_slice(&to.octets());
            let sum = checksum::checksum(&octets);
            octets[10..12].copy_from_slice(&sum.to_be_bytes());
            protocol::ICMP
        }
        (IpAddr::V6(from), IpAddr::V6(to)) => {
            octets.put_u32(0x6000_0000);
            octets.put_u16(message_len as u16);
            octets.put_slice(&[protocol::ICMPV6, 64]);
            octets.put_slice(&from.octets());
            octets.put_slice(&to.octets());
            protocol::ICMPV6
        }
        _ => return None,
    };
    octets.put_slice(&[kind, code, 0, 0]);
    octets.put_u32(word);
    octets.put_slice(quoted);
    let message = &octets[header_len..];
    let sum = if number == protocol::ICMP {
        checksum::checksum(message)
    } else {
        checksum::transport(from, headers.source, number, message)
    };
    octets[header_len + 2..header_len + 4].copy_from_slice(&sum.to_be_bytes());
    Some(octets)
}

/// A token bucket: who provokes reports gets a bounded number of them (RFC 1812 4.3.2.8, RFC 4443 2.4 (f)).
#[derive(Clone, Copy, Debug)]
pub(super) struct Budget {
    burst: u32,
    interval: Duration,
    tokens: u32,
    since: Instant,
}

impl Budget {
    /// Of ICMP errors: 50 at once, 100 per second.
    pub(super) fn of_errors(now: Instant) -> Self {
        Self::new(50, Duration::from_millis(10), now)
    }

    /// Of FLOW_DENIED: 500 at once, 500 per second, which is what a session may begin of flows that are not denied.
    pub(super) fn of_denials(now: Instant) -> Self {
        Self::new(500, Duration::from_millis(2), now)
    }

    fn new(burst: u32, interval: Duration, now: Instant) -> Self {
        Self { burst, interval, tokens: burst, since: now }
    }

    /// True where one more may be sent.
    pub(super) fn take(&mut self, now: Instant) -> bool {
        let elapsed = now.saturating_duration_since(self.since).as_micros() / self.interval.as_micros();
        let earned = u32::try_from(elapsed).unwrap_or(u32::MAX).min(self.burst);
        if earned > 0 {
            self.tokens = (self.tokens + earned).min(self.burst);
            self.since = if earned == self.burst { now } else { self.since + self.interval * earned };
        }
        let has_token = self.tokens > 0;
        self.tokens -= u32::from(has_token);
        has_token
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_budget_refills_and_is_bounded() {
        let mut budget = Budget::of_errors(Instant::ZERO);
        let spend = |budget: &mut Budget, at: u64| (0..200).filter(|_| budget.take(Instant::from_millis(at))).count();
        assert_eq!(spend(&mut budget, 0), 50);
        assert_eq!(spend(&mut budget, 15), 1);
        assert_eq!(spend(&mut budget, 20), 1);
        assert_eq!(spend(&mut budget, 60_000), 50);
    }
}

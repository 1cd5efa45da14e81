//! SYNs from outside that nobody has asked for: they are answered by an ICMP error, but only after a while (RFC 5382
//! REQ-4), in which the session may begin the same connection from its own side (simultaneous open) and be heard.
//!
//! Bound: [`LIMIT`]; a SYN beyond it gets no answer.

use bytes::BytesMut;
use core::net::IpAddr;
use core::time::Duration;
use std::collections::VecDeque;
use webtun_wire::Instant;

use crate::dataplane::icmp_error::{self, Problem};
use crate::dataplane::nat::{NatTable, Protocol};
use crate::dataplane::packet::{Headers, Packet, Transport, tcp_flag};
use crate::dataplane::{DropReason, Gateway};

/// SYNs that wait at the same time, of all sessions together.
pub(in crate::dataplane) const LIMIT: usize = 1024;
/// RFC 5382 REQ-4: at least 6 seconds.
const WAIT: Duration = Duration::from_secs(6);
/// What is kept of a SYN: its headers with all options, which is more than an error has to quote.
const KEPT: usize = 160;

/// SYNs that wait for their answer, the oldest first.
#[derive(Debug, Default)]
pub(in crate::dataplane) struct Unsolicited {
    waiting: VecDeque<(Instant, BytesMut)>,
}

impl Unsolicited {
    /// When the next one is due.
    pub(in crate::dataplane) fn next_timeout(&self) -> Option<Instant> {
        self.waiting.front().map(|(due, _)| *due)
    }
}

impl Gateway {
    /// A packet that the NAT has refused: where it is a SYN, it waits for its answer.
    pub(in crate::dataplane) fn hold_unsolicited(&mut self, packet: &Packet, reason: DropReason, now: Instant) {
        let is_unsolicited = matches!(reason, DropReason::NoMapping | DropReason::Filtered);
        let Transport::Tcp { flags, .. } = packet.headers.transport else { return };
        let is_syn = flags & (tcp_flag::SYN | tcp_flag::ACK | tcp_flag::RST) == tcp_flag::SYN;
        let is_wanted = self.config.nat.answer_unsolicited && is_unsolicited && is_syn;
        if is_wanted && self.unsolicited.waiting.len() < LIMIT {
            let kept = packet.octets.len().min(KEPT);
            self.unsolicited.waiting.push_back((now + WAIT, BytesMut::from(&packet.octets[..kept])));
        }
    }

    /// Answers the SYNs that have waited for long enough and that no session has wanted meanwhile.
    pub(in crate::dataplane) fn answer_unsolicited(&mut self, now: Instant) {
        while let Some((_, syn)) = self.unsolicited.waiting.pop_front_if(|(due, _)| *due <= now) {
            self.answer_syn(&syn, now);
        }
    }

    fn answer_syn(&mut self, syn: &[u8], now: Instant) {
        let Ok(headers) = Headers::parse_quoted(syn) else { return };
        let (source, destination) = headers.ports();
        let endpoints = ((headers.destination, destination), (headers.source, source));
        if self.nat.has_spoken(endpoints.0, endpoints.1, now) || !self.outside_budget.take(now) {
            return;
        }
        if let Some(error) = icmp_error::build(syn, &headers, headers.destination, Problem::PortUnreachable) {
            self.stats.icmp_errors += 1;
            self.transmit_octets(error);
        }
    }
}

impl NatTable {
    /// Whether a session has sent TCP segments from this external endpoint to the remote one.
    fn has_spoken(&self, external: (IpAddr, u16), remote: (IpAddr, u16), now: Instant) -> bool {
        let index = self.find_external(Protocol::Tcp, external.0, external.1);
        let mapping = index.and_then(|index| self.mapping(index));
        mapping.is_some_and(|mapping| mapping.flows.get(remote, now).is_some_and(|flow| flow.inside_spoke()))
    }
}

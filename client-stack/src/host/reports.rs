//! Reports about packets of ours, from the path (ICMP) or from the gateway (FLOW_DENIED), brought to their sockets.

use std::net::{IpAddr, SocketAddr};

use webtun_wire::{DenyReason, FlowDenied, Instant};

use super::Host;
use crate::demux::Flow;
use crate::socket::icmp::{Problem, Report};
use crate::{SocketEvent, packet};

impl Host {
    /// The gateway does not forward a flow of ours.
    pub fn handle_flow_denied(&mut self, denied: &FlowDenied, now: Instant) {
        let problem = match denied.reason {
            DenyReason::Policy => Problem::Prohibited,
            DenyReason::Exhausted | DenyReason::Limit => Problem::Limit,
        };
        let remote = SocketAddr::new(denied.destination, denied.destination_port);
        let own: Vec<IpAddr> = self.addresses.iter().map(|(address, _)| *address).collect();
        for address in own.into_iter().filter(|address| address.is_ipv4() == remote.is_ipv4()) {
            let local = SocketAddr::new(address, denied.source_port);
            match denied.protocol {
                packet::ICMP | packet::ICMPV6 => {
                    self.fail_pings_to(remote.ip(), problem.ping_error());
                    self.report_datagram(&Report { problem, protocol: denied.protocol, local, remote }, true, now);
                }
                protocol => self.report(&Report { problem, protocol, local, remote }, None, now),
            }
        }
    }

    /// Brings a report to the socket whose packet it is about. `from` is the router that said it by ICMP.
    pub(super) fn report(&mut self, report: &Report, from: Option<IpAddr>, now: Instant) {
        match report.protocol {
            packet::TCP => self.report_tcp(report),
            packet::UDP => self.report_datagram(report, from.is_none(), now),
            _ => {
                let (identifier, sequence) = (report.local.port(), report.remote.port());
                self.fail_ping(identifier, sequence, report.remote.ip(), from, report.problem.ping_error());
                self.report_datagram(report, from.is_none(), now);
            }
        }
    }

    /// Only a connection that is being opened fails by a report; an open one outlives it (RFC 5461), and fits its
    /// segments to the path.
    fn report_tcp(&mut self, report: &Report) {
        let flow = Flow { local: report.local, remote: report.remote };
        let Some(id) = self.flows.get(&flow).copied() else { return };
        let Some(socket) = self.tcp.get_mut(&id) else { return };
        if let Problem::TooBig(mtu) = report.problem {
            if let Some(core) = socket.core_mut() {
                core.limit_packets(mtu, report.remote.is_ipv4());
            }
            return;
        }
        if !socket.is_connecting() {
            return;
        }
        if let Some(error) = report.problem.connect_error() {
            let change = socket.fail(error);
            self.settle(id, change);
        }
    }

    fn report_datagram(&mut self, report: &Report, by_gateway: bool, now: Instant) {
        let (bound, remote) = match report.protocol {
            packet::UDP => (&self.udp_bound, report.remote),
            _ => (&self.echo_bound, SocketAddr::new(report.remote.ip(), 0)),
        };
        let Some(id) = bound.find(report.local, remote) else { return };
        let Some(socket) = self.udp.get_mut(&id) else { return };
        let denial = matches!(report.problem, Problem::Prohibited | Problem::Limit);
        if !denial || socket.note_denial(remote, by_gateway, now) {
            self.events.push_back(SocketEvent::UdpError(id, report.problem.udp_error(), remote));
        }
    }
}

/// How many ICMP errors we send (RFC 1812 section 4.3.2.8, RFC 4443 section 2.4 (f)): a bucket of 50, 100 per second.
pub(super) struct RateLimit {
    tokens: u32,
    filled_at: Instant,
}

impl RateLimit {
    const BURST: u32 = 50;
    /// In microseconds.
    const INTERVAL: u64 = 10_000;

    pub const fn new() -> Self {
        Self { tokens: Self::BURST, filled_at: Instant::ZERO }
    }

    pub fn allow(&mut self, now: Instant) -> bool {
        let earned = now.as_micros().saturating_sub(self.filled_at.as_micros()) / Self::INTERVAL;
        if earned > 0 {
            let earned = u32::try_from(earned).unwrap_or(u32::MAX);
            self.tokens = self.tokens.saturating_add(earned).min(Self::BURST);
            self.filled_at = now;
        }
        let allowed = self.tokens > 0;
        self.tokens = self.tokens.saturating_sub(1);
        allowed
    }
}

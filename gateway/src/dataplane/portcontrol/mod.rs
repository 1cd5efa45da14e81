//! The server that programs behind a client ask for ports: PCP (RFC 6887) and NAT-PMP (RFC 6886), told apart by the first
//! octet. Requests are answered at once from the session's own mappings, and nothing is kept for them.
//!
//! Of PCP there are ANNOUNCE and MAP with PREFER_FAILURE. Refused are PEER (UNSUPP_OPCODE), because no mapping is made for
//! a single remote, and THIRD_PARTY and FILTER (UNSUPP_OPTION): a session speaks for its own addresses alone, and
//! who may come in is the operator's to say. NAT-PMP is for IPv4, as it was made.

mod capsule;
mod natpmp;
mod pcp;

use core::net::SocketAddr;
use webtun_wire::Instant;

pub(super) use capsule::PortAnswer;

use super::Gateway;

/// The port of both protocols (RFC 6887 section 19.1).
pub const PORT: u16 = 5351;

/// How many ports are tried for a request where the egress does not get them ([`Gateway::refuse_port`]).
pub const PORTS_TRIED: usize = 4;

impl Gateway {
    /// The answer to a datagram that the client at the inner address `from` has sent to [`PORT`] of the gateway's inner
    /// host; `None` where there is to be none. Octets that are no request are answered by an error or not at all.
    pub fn answer_port_control(&mut self, from: SocketAddr, request: &[u8], now: Instant) -> Option<Vec<u8>> {
        let (version, opcode) = (*request.first()?, *request.get(1)?);
        // A response, whose sender would take ours for another one (RFC 6887 section 8.2).
        if opcode & 0x80 != 0 {
            return None;
        }
        let epoch = epoch(now);
        let from = from.ip().to_canonical();
        if version == natpmp::VERSION && from.is_ipv4() {
            return natpmp::answer(self, from, opcode, request, epoch, now);
        }
        Some(pcp::answer(self, from, request, epoch, now))
    }

    /// The answer to a request for a port that was granted [`PORTS_TRIED`] times, each time with one that the egress did not get:
    /// that there is none at the moment.
    pub fn refuse_port_control(&self, request: &[u8], now: Instant) -> Option<Vec<u8>> {
        let (version, opcode) = (*request.first()?, *request.get(1)?);
        Some(match version {
            natpmp::VERSION => natpmp::refuse(opcode, request, epoch(now))?,
            _ => pcp::refuse(request, epoch(now)),
        })
    }
}

fn epoch(now: Instant) -> u32 {
    u32::try_from(now.as_micros() / 1_000_000).unwrap_or(u32::MAX)
}

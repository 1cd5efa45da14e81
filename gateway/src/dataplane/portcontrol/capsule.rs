//! Requests by the tunnel's own capsules (`wire/README.md`).

use core::net::{IpAddr, SocketAddr};
use webtun_wire::{Instant, PortMapRequest, PortMapResponse, PortMapResult};

use super::PORTS_TRIED;
use crate::dataplane::nat::refusal;
use crate::dataplane::tunnel::Control;
use crate::dataplane::{Gateway, MapRequest, MapResponse, SessionId};

/// An answer that waits for its message, and what it answers.
#[derive(Clone, Copy, Debug)]
pub(in crate::dataplane) struct PortAnswer {
    request: PortMapRequest,
    internal: IpAddr,
    pub response: PortMapResponse,
    /// Ports that the egress did not get.
    refused: usize,
}

impl PortAnswer {
    fn set(&mut self, granted: MapResponse) {
        self.response = PortMapResponse {
            request_id: self.request.request_id,
            result: granted.result,
            external_address: granted.external.ip(),
            external_port: granted.external.port(),
            lifetime: granted.lifetime,
        };
    }

    fn wanted(&self) -> MapRequest {
        MapRequest {
            protocol: self.request.protocol,
            internal_port: self.request.internal_port,
            external_port: self.request.external_port,
            prefer_failure: false,
            lifetime: self.request.lifetime,
            nonce: None,
        }
    }

    fn is_about(&self, protocol: u8, external: SocketAddr) -> bool {
        self.request.protocol == protocol
            && SocketAddr::new(self.response.external_address, self.response.external_port) == external
    }
}

impl Gateway {
    /// Answers a session's request; false where its client asks faster than it reads.
    pub(in crate::dataplane) fn request_port(&mut self, id: SessionId, request: PortMapRequest, now: Instant) -> bool {
        let Some(session) = self.sessions.get_mut(&id) else { return false };
        let internal: IpAddr = if request.ipv6 { session.lease.v6.into() } else { session.lease.v4.into() };
        let nothing = PortMapResponse {
            request_id: request.request_id,
            result: PortMapResult::NoResources,
            external_address: internal,
            external_port: 0,
            lifetime: 0,
        };
        let mut answer = PortAnswer { request, internal, response: nothing, refused: 0 };
        answer.set(self.nat.map_port(id, internal, &answer.wanted(), now));
        session.tunnel.answer(Control::PortMap(answer))
    }

    /// The egress cannot take what comes to a port of which [`crate::dataplane::Event::PortMapped`] has told: another program of
    /// the machine has it. The mapping ends, and nobody gets the port for as long as ports rest.
    ///
    /// To be called before the session's next message is asked for: the answer in it then tells of another port, of which there is
    /// an event too, or after [`PORTS_TRIED`] of them of NO_RESOURCES. A request by PCP or NAT-PMP is to be answered anew.
    pub fn refuse_port(&mut self, id: SessionId, protocol: u8, external: SocketAddr, now: Instant) {
        let is_gone = self.nat.withdraw(protocol, external, now);
        if let Some(session) = self.sessions.get_mut(&id) {
            for answer in session.tunnel.port_answers().filter(|answer| answer.is_about(protocol, external)) {
                answer.refused += 1;
                answer.set(if is_gone && answer.refused < PORTS_TRIED {
                    self.nat.map_port(id, answer.internal, &answer.wanted(), now)
                } else {
                    refusal(answer.internal, PortMapResult::NoResources)
                });
            }
        }
        self.settle(id, now);
    }
}

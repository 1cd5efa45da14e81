//! Ports that sessions ask for.

use std::net::SocketAddr;
use std::time::Duration;
use webtun_wire::{Capsule, PortMapRequest, PortMapResponse, PortMapResult};

use super::{LIMITS, Model};
use crate::action::{Kind, MapPort};
use crate::packet::protocol;
use crate::reference::Protocol;

impl Model {
    pub(super) fn map_port(&mut self, wanted: &MapPort) {
        let Some(index) = self.pick(wanted.session, |life| life.detached.is_none()) else { return };
        let (number, protocol) = match wanted.kind {
            Kind::Udp => (protocol::UDP, Some(Protocol::Udp)),
            Kind::Tcp(_) => (protocol::TCP, Some(Protocol::Tcp)),
            Kind::Echo | Kind::WrongEcho | Kind::Other => (47, None),
        };
        let internal = SocketAddr::new(
            self.direct.sessions[index].endpoint(wanted.ipv6, 0).ip(),
            self.port(index, wanted.ipv6, wanted.port),
        );
        let external_port = match (wanted.external, self.target(wanted.external)) {
            (0..100, _) => 0,
            (_, Some(mapping)) => self.reference.mappings[mapping].external.port(),
            (_, None) => 20_000 + u16::from(wanted.external),
        };
        let request = PortMapRequest {
            request_id: 7,
            protocol: number,
            ipv6: wanted.ipv6,
            internal_port: internal.port(),
            external_port,
            lifetime: wanted.lifetime,
        };
        let predicted = protocol.and_then(|protocol| self.predict(index, protocol, internal, external_port));
        let sent = self.direct.send_capsules(index, &[Capsule::PortMapRequest(request)]);
        sent.expect("a request is no protocol error");
        let response = self.direct.sessions[index].port_maps.pop().expect("an answer");
        self.compare_port_map(index, (protocol, internal), predicted, &request, &response);
    }

    fn compare_port_map(
        &mut self,
        index: usize,
        (protocol, internal): (Option<Protocol>, SocketAddr),
        predicted: Option<SocketAddr>,
        request: &PortMapRequest,
        response: &PortMapResponse,
    ) {
        let Some(protocol) = protocol.filter(|_| internal.port() != 0) else {
            assert!(matches!(response.result, PortMapResult::UnsupportedProtocol | PortMapResult::MalformedRequest));
            return;
        };
        let now = self.direct.now;
        if request.lifetime == 0 {
            assert_eq!(response.result, PortMapResult::Success);
            self.reference.unmap(protocol, internal, now);
            return;
        }
        if !self.may_map(index, protocol, internal) {
            assert_eq!(response.result, PortMapResult::UserExceededQuota);
            return;
        }
        let can_assign = predicted.is_some() || self.reference.can_assign(protocol, index, internal, now);
        if !can_assign {
            assert_eq!(response.result, PortMapResult::NoResources);
            return;
        }
        assert_eq!(response.result, PortMapResult::Success, "{request:?}");
        let external = SocketAddr::new(response.external_address, response.external_port);
        assert!(predicted.is_none_or(|predicted| predicted == external), "{external}, expected {predicted:?}");
        self.take_events();
        let is_own = self.reference.blocks_of(index, internal.is_ipv6()).any(|block| block.contains(external));
        assert!(is_own || predicted.is_some(), "{external} is neither the session's nor what it wanted");
        assert!(response.lifetime > 0 && response.lifetime <= request.lifetime);
        let until = now + Duration::from_secs(response.lifetime.into());
        let filtering = self.filtering(index);
        let known = self.reference.by_internal(protocol, internal);
        let mapping = known.unwrap_or_else(|| self.reference.add(index, protocol, internal, external, filtering));
        self.reference.map(mapping, until);
    }

    /// The external endpoint, where it can be known beforehand: that of the mapping that there is, the one asked for, or the
    /// internal port itself.
    fn predict(&self, index: usize, protocol: Protocol, internal: SocketAddr, wanted: u16) -> Option<SocketAddr> {
        if let Some(mapping) = self.reference.by_internal(protocol, internal) {
            return Some(self.reference.mappings[mapping].external);
        }
        let now = self.direct.now;
        let address = self.reference.blocks_of(index, internal.is_ipv6()).next()?.address;
        let wanted = SocketAddr::new(address, wanted);
        let is_own = self.reference.blocks_of(index, internal.is_ipv6()).any(|block| block.contains(wanted));
        let is_granted = match is_own {
            true => self.reference.is_available(protocol, index, internal, wanted),
            false => self.reference.can_be_single(protocol, index, internal, wanted, now),
        };
        if wanted.port() != 0 && is_granted { Some(wanted) } else { self.reference.identity(protocol, index, internal) }
    }

    fn may_map(&self, index: usize, protocol: Protocol, internal: SocketAddr) -> bool {
        let mapping = self.reference.by_internal(protocol, internal).map(|mapping| &self.reference.mappings[mapping]);
        let count = self.reference.mappings.iter().filter(|mapping| mapping.session == index).count();
        let has_room = mapping.is_some() || count < LIMITS.each.mappings;
        let is_mapped = mapping.is_some_and(|mapping| mapping.mapped_until.is_some());
        has_room && (is_mapped || self.reference.mapped_ports(Some(index)) < LIMITS.each.mapped_ports)
    }
}

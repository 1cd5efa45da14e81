//! Ports that a session asks for: MAP of RFC 6887, over the tunnel's own capsules.

use core::net::{IpAddr, SocketAddr};
use core::time::Duration;
use webtun_wire::{Instant, PortMapRequest, PortMapResponse, PortMapResult};

use super::{Event, MappingIndex, NatTable, Protocol, SessionId};
use crate::dataplane::DropReason;
use crate::dataplane::packet::protocol;

/// For how long asking again is of no use, in seconds (RFC 6887 section 7.4 recommends these two).
const SHORT_ERROR: u32 = 30;
const LONG_ERROR: u32 = 1800;

impl NatTable {
    /// Maps a port of `internal`, renews the mapping, or deletes it (lifetime 0).
    ///
    /// A mapping that traffic has made keeps its external port and becomes an explicit one; a deleted one lives on as
    /// long as its connections do. The external port asked for is given where it is in the session's blocks, or in the
    /// range and in nobody's; otherwise another one is given, as RFC 6887 section 11.3 has it.
    pub(in crate::dataplane) fn map_port(
        &mut self,
        session: SessionId,
        internal: IpAddr,
        request: &PortMapRequest,
        now: Instant,
    ) -> PortMapResponse {
        self.expire(now);
        let protocol = match request.protocol {
            protocol::TCP => Protocol::Tcp,
            protocol::UDP => Protocol::Udp,
            _ => return refusal(request, PortMapResult::UnsupportedProtocol),
        };
        if request.internal_port == 0 {
            return refusal(request, PortMapResult::MalformedRequest);
        }
        let index = self.by_internal.get(&(protocol, internal, request.internal_port)).copied();
        if request.lifetime == 0 {
            if let Some(index) = index {
                self.unmap(index);
                self.prune(index, now);
            }
            return response(request, PortMapResult::Success, unspecified(request), 0);
        }
        let granted = match index {
            Some(index) => self.extend(index, request, now),
            None => self.map_new(session, protocol, internal, request, now),
        };
        match granted {
            Ok((external, lifetime)) => response(request, PortMapResult::Success, external, lifetime),
            Err(result) => refusal(request, result),
        }
    }

    fn map_new(
        &mut self,
        session: SessionId,
        protocol: Protocol,
        internal: IpAddr,
        request: &PortMapRequest,
        now: Instant,
    ) -> Result<(SocketAddr, u32), PortMapResult> {
        let wanted = (request.external_port != 0).then_some(request.external_port);
        let internal = (internal, request.internal_port);
        let index = self.create(session, protocol, internal, wanted).map_err(|reason| match reason {
            DropReason::MappingLimit => PortMapResult::UserExceededQuota,
            DropReason::NoExternalAddress => PortMapResult::CannotProvideExternal,
            _ => PortMapResult::NoResources,
        })?;
        let extended = self.extend(index, request, now);
        self.remove_unused(index);
        extended
    }

    fn extend(
        &mut self,
        index: MappingIndex,
        request: &PortMapRequest,
        now: Instant,
    ) -> Result<(SocketAddr, u32), PortMapResult> {
        let slot = self.mappings.get_mut(index as usize).and_then(Option::as_mut);
        let mapping = slot.ok_or(PortMapResult::NoResources)?;
        let announced = self.pools[usize::from(mapping.address)].address.announced;
        let external = SocketAddr::new(announced, mapping.port);
        if mapping.mapped_until.is_none() {
            let subscriber = self.subscribers.get_mut(&mapping.session).ok_or(PortMapResult::NoResources)?;
            if subscriber.mapped_ports >= subscriber.limits.mapped_ports {
                return Err(PortMapResult::UserExceededQuota);
            }
            subscriber.mapped_ports += 1;
            self.mapped_ports += 1;
            self.events.push_back(Event::PortMapped {
                id: mapping.session,
                protocol: request.protocol,
                internal_port: request.internal_port,
                external,
            });
        }
        let longest = u32::try_from(self.config.max_map_lifetime.as_secs()).unwrap_or(u32::MAX);
        let lifetime = request.lifetime.min(longest);
        let until = now + Duration::from_secs(u64::from(lifetime));
        mapping.mapped_until = Some(until);
        self.timers.set(&mut mapping.wake, index, until);
        Ok((external, lifetime))
    }

    /// Ends an explicit mapping; what traffic has made of it stays.
    pub(super) fn unmap(&mut self, index: MappingIndex) {
        let Some(mapping) = self.mappings.get_mut(index as usize).and_then(Option::as_mut) else { return };
        if mapping.mapped_until.take().is_none() {
            return;
        }
        let id = mapping.session;
        let announced = self.pools[usize::from(mapping.address)].address.announced;
        let protocol = if mapping.protocol == Protocol::Tcp { protocol::TCP } else { protocol::UDP };
        let external = SocketAddr::new(announced, mapping.port);
        self.events.push_back(Event::PortUnmapped { id, protocol, internal_port: mapping.internal.1, external });
        self.mapped_ports -= 1;
        if let Some(subscriber) = self.subscribers.get_mut(&id) {
            subscriber.mapped_ports -= 1;
        }
    }
}

fn unspecified(request: &PortMapRequest) -> SocketAddr {
    let address = if request.ipv6 {
        IpAddr::V6(core::net::Ipv6Addr::UNSPECIFIED)
    } else {
        IpAddr::V4(core::net::Ipv4Addr::UNSPECIFIED)
    };
    SocketAddr::new(address, 0)
}

fn refusal(request: &PortMapRequest, result: PortMapResult) -> PortMapResponse {
    let lifetime = match result {
        PortMapResult::NoResources | PortMapResult::UserExceededQuota => SHORT_ERROR,
        _ => LONG_ERROR,
    };
    response(request, result, unspecified(request), lifetime)
}

fn response(request: &PortMapRequest, result: PortMapResult, external: SocketAddr, lifetime: u32) -> PortMapResponse {
    PortMapResponse {
        request_id: request.request_id,
        result,
        external_address: external.ip(),
        external_port: external.port(),
        lifetime,
    }
}

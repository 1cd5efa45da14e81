//! Ports that a session asks for: MAP of RFC 6887, whichever protocol carries the request.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use core::time::Duration;
use webtun_wire::{Instant, PortMapResult};

use super::mapping::Explicit;
use super::prefix::external_address;
use super::{Event, MappingIndex, NatTable, Protocol, SessionId};
use crate::dataplane::packet::protocol;
use crate::dataplane::{DropReason, Filtering, Gateway};

/// For how long asking again is of no use, in seconds (RFC 6887 section 7.4 recommends these two).
const SHORT_ERROR: u32 = 30;
const LONG_ERROR: u32 = 1800;

/// A request to map a port, to renew that, or to end it (RFC 6887 section 11.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MapRequest {
    /// 6 (TCP) or 17 (UDP).
    pub protocol: u8,
    /// The client's port.
    pub internal_port: u16,
    /// The external port that is suggested; 0: any.
    pub external_port: u16,
    /// Rather none than another external port (PREFER_FAILURE, RFC 6887 section 13.2).
    pub prefer_failure: bool,
    /// In seconds; 0 ends the mapping.
    pub lifetime: u32,
    /// The mapping nonce of PCP: a mapping made with one is renewed and ended only with the same.
    pub nonce: Option<[u8; 12]>,
}

/// The answer to a [`MapRequest`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MapResponse {
    /// Success, or why not, in the numbers of RFC 6887 section 7.4.
    pub result: PortMapResult,
    /// The announced endpoint; unspecified with port 0 where there is none.
    pub external: SocketAddr,
    /// In seconds: what was granted, or for how long asking again is of no use.
    pub lifetime: u32,
}

impl Gateway {
    /// Maps a port of the session whose inner address is `inner`, renews the mapping, or ends it. `NotAuthorized` where no
    /// session has the address, or the mapping has another nonce.
    pub fn map_port(&mut self, inner: IpAddr, request: &MapRequest, now: Instant) -> MapResponse {
        let Some(id) = self.by_inner.get(&inner).copied() else {
            return refusal(inner, PortMapResult::NotAuthorized);
        };
        let response = self.nat.map_port(id, inner, request, now);
        self.settle(id, now);
        response
    }

    /// Like [`Self::map_port`], for an IPv6 address of a session that strangers are to reach at an IPv4 one, by NAT64
    /// (RFC 6887 section 11.1). `CannotProvideExternal` where nothing is translated.
    pub(in crate::dataplane) fn map_port_by_nat64(
        &mut self,
        inner: Ipv6Addr,
        request: &MapRequest,
        now: Instant,
    ) -> MapResponse {
        let Some((id, alias)) = self.nat64_alias(inner.into()) else {
            return refusal(inner.into(), PortMapResult::CannotProvideExternal);
        };
        let response = self.nat.map_port(id, alias, request, now);
        self.settle(id, now);
        response
    }

    /// The announced external IPv4 address of what a session sends from its IPv6 address by NAT64.
    pub(in crate::dataplane) fn external_address_by_nat64(&self, inner: IpAddr) -> Option<IpAddr> {
        let (id, alias) = self.nat64_alias(inner)?;
        self.nat.paired_address(id, alias)
    }

    fn nat64_alias(&self, inner: IpAddr) -> Option<(SessionId, IpAddr)> {
        self.config.pref64()?;
        let id = *self.by_inner.get(&inner)?;
        Some((id, self.sessions.get(&id)?.lease.nat64.into()))
    }

    /// Ends every mapping that was asked for explicitly from `inner`, of one protocol or of both, but for those with a
    /// nonce (RFC 6886 section 3.4).
    pub fn unmap_ports(&mut self, inner: IpAddr, protocol: Option<u8>, now: Instant) {
        if let Some(id) = self.by_inner.get(&inner).copied() {
            self.nat.unmap_all(id, inner, protocol, now);
            self.settle(id, now);
        }
    }

    /// The announced external address that packets from `inner` appear from; `None` where no session has that address or
    /// its family is not routed.
    pub fn external_address(&self, inner: IpAddr) -> Option<IpAddr> {
        let id = *self.by_inner.get(&inner)?;
        match inner {
            IpAddr::V6(v6) if self.config.external_prefix.is_some() => self.nat.external_by_prefix(v6).map(IpAddr::V6),
            _ => self.nat.paired_address(id, inner),
        }
    }
}

impl NatTable {
    /// Maps a port of `internal`, renews the mapping, or deletes it (lifetime 0).
    ///
    /// A mapping that traffic has made keeps its external port and becomes an explicit one; a deleted one lives on as
    /// long as its connections do and admits nothing else. The external port asked for is given where it is in the session's blocks, or in the
    /// range and in nobody's; otherwise another one is given, as RFC 6887 section 11.3 has it.
    pub(in crate::dataplane) fn map_port(
        &mut self,
        session: SessionId,
        internal: IpAddr,
        request: &MapRequest,
        now: Instant,
    ) -> MapResponse {
        self.expire(now);
        match self.map(session, internal, request, now) {
            Ok((external, lifetime)) => MapResponse { result: PortMapResult::Success, external, lifetime },
            Err(result) => refusal(internal, result),
        }
    }

    fn map(
        &mut self,
        session: SessionId,
        internal: IpAddr,
        request: &MapRequest,
        now: Instant,
    ) -> Result<(SocketAddr, u32), PortMapResult> {
        let protocol = match request.protocol {
            protocol::TCP => Protocol::Tcp,
            protocol::UDP => Protocol::Udp,
            _ => return Err(PortMapResult::UnsupportedProtocol),
        };
        if request.internal_port == 0 {
            return Err(PortMapResult::MalformedRequest);
        }
        let index = self.mappings.by_internal((protocol, internal, request.internal_port));
        let explicit = index.and_then(|index| self.mapping(index)?.explicit.as_ref());
        if explicit.is_some_and(|explicit| explicit.nonce.is_some() && explicit.nonce != request.nonce) {
            return Err(PortMapResult::NotAuthorized);
        }
        match index {
            _ if request.lifetime == 0 => {
                if let Some(index) = index {
                    self.unmap(index);
                    self.prune(index, now);
                }
                Ok((unspecified(internal), 0))
            }
            Some(index) => self.extend(index, request, now),
            None => self.map_new(session, protocol, internal, request, now),
        }
    }

    fn map_new(
        &mut self,
        session: SessionId,
        protocol: Protocol,
        internal: IpAddr,
        request: &MapRequest,
        now: Instant,
    ) -> Result<(SocketAddr, u32), PortMapResult> {
        let has_total = self.has_total_room(session, |total| total.mapped_ports, |totals| totals.mapped_ports);
        if !has_total || self.subscribers.get(session).is_some_and(|s| s.mapped_ports >= s.limits.mapped_ports) {
            return Err(PortMapResult::UserExceededQuota);
        }
        let wanted = (request.external_port != 0).then_some(request.external_port);
        let internal = (internal, request.internal_port);
        let index = self.create(session, protocol, internal, wanted, now).map_err(|reason| match reason {
            DropReason::MappingLimit => PortMapResult::UserExceededQuota,
            DropReason::NoExternalAddress => PortMapResult::CannotProvideExternal,
            _ => PortMapResult::NoResources,
        })?;
        let extended = self.extend(index, request, now);
        self.remove_unused(index, now);
        extended
    }

    fn extend(
        &mut self,
        index: MappingIndex,
        request: &MapRequest,
        now: Instant,
    ) -> Result<(SocketAddr, u32), PortMapResult> {
        let mapping = self.mappings.get_mut(index).ok_or(PortMapResult::NoResources)?;
        if request.prefer_failure && request.external_port != 0 && request.external_port != mapping.port {
            return Err(PortMapResult::CannotProvideExternal);
        }
        let announced = external_address(&self.pools, self.prefix, mapping).announced;
        let external = SocketAddr::new(announced, mapping.port);
        if mapping.explicit.is_none() {
            let (subscriber, totals) = self.subscribers.both_mut(mapping.session).ok_or(PortMapResult::NoResources)?;
            if subscriber.mapped_ports >= subscriber.limits.mapped_ports {
                return Err(PortMapResult::UserExceededQuota);
            }
            subscriber.mapped_ports += 1;
            totals.mapped_ports += 1;
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
        mapping.explicit = Some(Box::new(Explicit { until, nonce: request.nonce }));
        self.timers.set(&mut mapping.wake, index, until);
        Ok((external, lifetime))
    }

    /// Ends an explicit mapping; what traffic has made of it stays. Whoever has been let in has been answered, which would
    /// make the port open to its address by address-dependent filtering for as long as the last connection is remembered.
    pub(super) fn unmap(&mut self, index: MappingIndex) {
        let Some(mapping) = self.mappings.get_mut(index) else { return };
        if mapping.explicit.take().is_none() {
            return;
        }
        mapping.filtering = Filtering::AddressAndPortDependent;
        let id = mapping.session;
        let announced = external_address(&self.pools, self.prefix, mapping).announced;
        let protocol = mapping.protocol().number();
        let external = SocketAddr::new(announced, mapping.port);
        self.events.push_back(Event::PortUnmapped { id, protocol, internal_port: mapping.internal_port.2, external });
        self.mapped_ports -= 1;
        if let Some((subscriber, totals)) = self.subscribers.both_mut(id) {
            subscriber.mapped_ports -= 1;
            totals.mapped_ports -= 1;
        }
    }

    /// Undoes an explicit mapping whose external port the egress could not get. Without traffic of its own the mapping is gone,
    /// and nobody gets the port before it has rested; true in this case, where another port may be tried.
    pub(in crate::dataplane) fn withdraw(&mut self, protocol: u8, external: SocketAddr, now: Instant) -> bool {
        let protocol = match protocol {
            protocol::TCP => Protocol::Tcp,
            protocol::UDP => Protocol::Udp,
            _ => return false,
        };
        let Some(&address) = self.by_announced.get(&external.ip()) else { return false };
        let port = (protocol, address, external.port());
        let Some(index) = self.mappings.by_external(port) else { return false };
        self.unmap(index);
        let is_unused = self.mapping(index).is_some_and(|mapping| mapping.flows.len() == 0);
        if is_unused {
            self.remove(index, true, now);
            self.hold.disown(port);
        }
        is_unused
    }

    fn unmap_all(&mut self, session: SessionId, internal: IpAddr, protocol: Option<u8>, now: Instant) {
        let Some(subscriber) = self.subscribers.get(session) else { return };
        for index in subscriber.mappings.clone() {
            let is_meant = self.mapping(index).is_some_and(|mapping| {
                mapping.internal_port.1 == internal
                    && protocol.is_none_or(|number| mapping.protocol().number() == number)
                    && mapping.explicit.as_ref().is_some_and(|explicit| explicit.nonce.is_none())
            });
            if is_meant {
                self.unmap(index);
                self.prune(index, now);
            }
        }
    }
}

fn unspecified(like: IpAddr) -> SocketAddr {
    match like {
        IpAddr::V4(_) => SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), 0),
        IpAddr::V6(_) => SocketAddr::new(Ipv6Addr::UNSPECIFIED.into(), 0),
    }
}

pub(in crate::dataplane) fn refusal(like: IpAddr, result: PortMapResult) -> MapResponse {
    let lifetime = match result {
        PortMapResult::NoResources | PortMapResult::UserExceededQuota => SHORT_ERROR,
        _ => LONG_ERROR,
    };
    MapResponse { result, external: unspecified(like), lifetime }
}

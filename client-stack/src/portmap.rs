//! External ports: asked for, renewed, asked for again in a new session, given back.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::Duration;

use webtun_wire::{Instant, PortMapRequest, PortMapResponse, PortMapResult};

use crate::demux::SeededMap;
use crate::{MapId, PortMapError, PortMapOptions, PortMapping, Protocol, packet};

/// Port maps of one stack.
const MAX_MAPS: usize = 1024;

/// After a refusal: not before this.
const RETRY_MIN: Duration = Duration::from_secs(30);

type Outcome = Result<PortMapping, PortMapError>;

struct Map {
    options: PortMapOptions,
    outcome: Option<Outcome>,
    /// The gateway has to be asked.
    wanted: bool,
    /// The gateway was asked in this session.
    asked: bool,
    /// When it has to be asked again.
    again_at: Option<Instant>,
}

/// All wanted external ports.
#[derive(Default)]
pub(crate) struct PortMaps {
    maps: SeededMap<MapId, Map>,
    /// Requests to be sent as they are.
    ready: VecDeque<PortMapRequest>,
    events: VecDeque<(MapId, Outcome)>,
    next_id: u32,
}

impl PortMaps {
    pub fn map(&mut self, options: PortMapOptions) -> MapId {
        self.next_id = self.next_id.wrapping_add(1);
        let id = MapId::from_u32(self.next_id);
        if self.maps.len() >= MAX_MAPS {
            self.events.push_back((id, Err(PortMapError::TooManyMaps)));
        } else {
            self.maps.insert(id, Map { options, outcome: None, wanted: true, asked: false, again_at: None });
        }
        id
    }

    pub fn unmap(&mut self, id: MapId) {
        let Some(map) = self.maps.remove(&id) else { return };
        self.events.retain(|(other, _)| *other != id);
        // What the gateway never heard of need not be given back.
        if map.asked && self.ready.len() < MAX_MAPS {
            self.ready.push_back(request(id, &map, 0));
        }
    }

    /// The gateway has forgotten everything.
    pub fn session_lost(&mut self) {
        self.ready.clear();
        for map in self.maps.values_mut() {
            (map.wanted, map.asked, map.again_at) = (true, false, None);
        }
    }

    /// Nothing will be mapped any more.
    pub fn fail_all(&mut self, error: PortMapError) {
        let ids: Vec<MapId> = std::mem::take(&mut self.maps).into_keys().collect();
        self.events.extend(ids.into_iter().map(|id| (id, Err(error))));
        self.ready.clear();
    }

    /// The next request for the gateway.
    pub fn poll_request(&mut self) -> Option<PortMapRequest> {
        if let Some(request) = self.ready.pop_front() {
            return Some(request);
        }
        let (id, map) = self.maps.iter_mut().find(|(_, map)| map.wanted)?;
        (map.wanted, map.asked) = (false, true);
        Some(request(*id, map, seconds(map.options.lifetime)))
    }

    /// A request that did not fit the message; it comes next.
    pub fn put_back(&mut self, request: PortMapRequest) {
        self.ready.push_front(request);
    }

    pub fn handle_response(&mut self, response: &PortMapResponse, now: Instant) {
        let Ok(id) = u32::try_from(response.request_id).map(MapId::from_u32) else { return };
        let Some(map) = self.maps.get_mut(&id) else { return };
        let lifetime = Duration::from_secs(response.lifetime.into());
        let outcome = if response.result == PortMapResult::Success {
            map.again_at = Some(now + (lifetime / 2).max(Duration::from_secs(1)));
            Ok(PortMapping { external: SocketAddr::new(response.external_address, response.external_port), lifetime })
        } else {
            map.again_at = Some(now + lifetime.max(RETRY_MIN));
            Err(PortMapError::Refused(response.result))
        };
        let same = match (&map.outcome, &outcome) {
            (Some(Ok(old)), Ok(new)) => old.external == new.external,
            (Some(old), new) => old == new,
            (None, _) => false,
        };
        map.outcome = Some(outcome);
        if !same {
            self.events.push_back((id, outcome));
        }
    }

    pub fn handle_timeout(&mut self, now: Instant) {
        for map in self.maps.values_mut() {
            map.wanted |= map.again_at.take_if(|at| now >= *at).is_some();
        }
    }

    pub fn poll_timeout(&self) -> Option<Instant> {
        self.maps.values().filter_map(|map| map.again_at).min()
    }

    pub fn poll_event(&mut self) -> Option<(MapId, Outcome)> {
        self.events.pop_front()
    }
}

/// A granted port is wished for again, so that a renewal or a new session keeps it.
fn request(id: MapId, map: &Map, lifetime: u32) -> PortMapRequest {
    let granted = map.outcome.and_then(Result::ok).map(|mapping| mapping.external.port());
    PortMapRequest {
        request_id: id.get().into(),
        protocol: if map.options.protocol == Protocol::Tcp { packet::TCP } else { packet::UDP },
        ipv6: map.options.ipv6,
        internal_port: map.options.internal_port,
        external_port: granted.unwrap_or(map.options.external_port),
        lifetime,
    }
}

fn seconds(duration: Duration) -> u32 {
    u32::try_from(duration.as_secs()).unwrap_or(u32::MAX).max(1)
}

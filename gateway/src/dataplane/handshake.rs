//! The first message of a connection: a session is opened, gone on with, or refused.

use bytes::Bytes;
use core::fmt;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use core::time::Duration;
use rand::Rng;
use webtun_wire::{
    AddressRange, BatchWriter, Capsule, Close, CloseCode, DnsAssign, Hello, Instant, Limits, MAX_MESSAGE_LEN,
    MAX_PACKET_LEN, Prefix, Resume, StreamLimits, VERSION, capsules,
};

use super::session::Session;
use super::shards::shard_of_identity;
use super::tunnel::{self, Tunnel};
use super::{Event, Gateway, Peer, SessionId, Split};

/// A handshake that is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reject {
    code: CloseCode,
    retry_after: Duration,
    reason: &'static str,
}

impl Reject {
    fn new(code: CloseCode, retry_after: Duration, reason: &'static str) -> Self {
        Self { code, retry_after, reason }
    }

    fn protocol(reason: &'static str) -> Self {
        Self::new(CloseCode::Protocol, Duration::ZERO, reason)
    }

    /// Why.
    pub fn code(&self) -> CloseCode {
        self.code
    }

    /// The message to send before the connection is closed.
    pub fn message(&self) -> Bytes {
        close_message(self.code, self.retry_after, self.reason)
    }
}

impl fmt::Display for Reject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "handshake refused ({:?}): {}", self.code, self.reason)
    }
}

impl core::error::Error for Reject {}

/// A message of one CLOSE, for refusals that the shell makes itself. `retry_after` is when another attempt makes sense;
/// zero: never. A reason beyond 512 octets is cut.
pub fn close_message(code: CloseCode, retry_after: Duration, reason: &str) -> Bytes {
    let retry_after_ms = u32::try_from(retry_after.as_millis()).unwrap_or(u32::MAX);
    let reason = &reason[..reason.floor_char_boundary(512)];
    let mut message = Vec::new();
    Capsule::Close(Close { code, retry_after_ms, reason }).encode(&mut message);
    message.into()
}

/// What else a handshake asks for.
#[derive(Default)]
struct Wishes {
    /// With their kinds.
    contexts: Vec<(u64, u64)>,
    streams: Option<StreamLimits>,
    address_v4: u64,
    address_v6: u64,
}

/// Contexts that one handshake may offer.
const MAX_CONTEXTS: usize = 16;
/// What a connection without a credential is told, unless it goes on with a session that needs none.
const UNPROVED: Reject =
    Reject { code: CloseCode::Unauthorized, retry_after: Duration::ZERO, reason: "a token is needed" };
/// When a client that was refused for want of room may try again, where nothing tells of room before.
const RETRY: Duration = Duration::from_secs(10);
/// The shortest such time, for the rush that might follow.
const RETRY_SOON: Duration = Duration::from_millis(250);

impl Gateway {
    /// The first message of a connection whose credentials the shell has accepted. Opens a session or goes on with one;
    /// the answer leaves by [`Gateway::poll_message`].
    ///
    /// Where the id returned is that of a session whose earlier connection is still there, the shell drops that
    /// connection, with [`close_message`] of [`CloseCode::Replaced`] as its last word.
    ///
    /// # Errors
    ///
    /// [`Reject`] carries the message to send before the connection is closed.
    pub fn handshake(&mut self, message: &[u8], peer: &Peer, now: Instant) -> Result<SessionId, Reject> {
        self.handshake_of(message, Some(peer), now)
    }

    /// As [`Gateway::handshake`], for a connection without a credential: it goes on with a session whose secret it knows and
    /// whose peer [`resumes_by_secret`](Peer::resumes_by_secret).
    ///
    /// # Errors
    ///
    /// [`Reject`], with the same code whether the session is unknown, the secret is wrong, or it is not enough.
    pub fn handshake_by_secret(&mut self, message: &[u8], now: Instant) -> Result<SessionId, Reject> {
        self.handshake_of(message, None, now)
    }

    fn handshake_of(&mut self, message: &[u8], peer: Option<&Peer>, now: Instant) -> Result<SessionId, Reject> {
        let result = self.admit(message, peer, now);
        if result.is_err() {
            self.stats.handshakes_rejected += 1;
        }
        if let Ok(id) = result {
            self.settle(id, now);
        }
        result
    }

    /// The token in a HELLO, empty where it carries none; `None` where the message does not begin with a HELLO.
    pub fn hello_token(message: &[u8]) -> Option<&[u8]> {
        match capsules(message).next()? {
            Ok(Capsule::Hello(hello)) => Some(hello.token),
            _ => None,
        }
    }

    /// True where the message begins with a HELLO that goes on with a session.
    pub fn is_resumption(message: &[u8]) -> bool {
        matches!(capsules(message).next(), Some(Ok(Capsule::Hello(Hello { resume: Some(_), .. }))))
    }

    /// Of so many shards the one that has the session which the message, where [`Gateway::is_resumption`], goes on with.
    pub fn shard_of_resumption(message: &[u8], count: usize) -> Option<usize> {
        match capsules(message).next()? {
            Ok(Capsule::Hello(hello)) => Some(shard_of_identity(&hello.resume?.session_id, count)),
            _ => None,
        }
    }

    fn admit(&mut self, message: &[u8], peer: Option<&Peer>, now: Instant) -> Result<SessionId, Reject> {
        let (hello, wishes) = parse(message)?;
        if !(hello.min_version..=hello.max_version).contains(&VERSION) {
            return Err(Reject::new(CloseCode::Version, Duration::ZERO, "this gateway speaks version 1"));
        }
        let id = match (&hello.resume, peer) {
            (Some(resume), _) => self.resume(resume, &wishes, peer)?,
            (None, Some(peer)) => self.open(peer, now)?,
            (None, None) => return Err(UNPROVED),
        };
        self.answer(id, hello.resume.is_some(), &wishes, message.len(), now);
        Ok(id)
    }

    fn open(&mut self, peer: &Peer, now: Instant) -> Result<SessionId, Reject> {
        if let Some(retry_after) = self.draining {
            return Err(Reject::new(CloseCode::Shutdown, retry_after, "the gateway is going away"));
        }
        if self.sessions.len() >= self.config.max_sessions {
            let retry_after = self.room_after(|_| true, now);
            return Err(Reject::new(CloseCode::Exhausted, retry_after, "the gateway has as many sessions as it may"));
        }
        if self.peers.sessions(&peer.name) >= peer.limits.sessions {
            let retry_after = self.room_after(|session| session.peer.name == peer.name, now);
            return Err(Reject::new(CloseCode::Limit, retry_after, "the peer has as many sessions as it may"));
        }
        let exhausted = |reason| Reject::new(CloseCode::Exhausted, RETRY, reason);
        let lease = self.leases.take().ok_or(exhausted("no inner address is free"))?;
        let id = SessionId(self.next_session);
        self.next_session += self.shards.count() as u64;
        if self.nat.open(id, peer, &lease, now).is_err() {
            self.leases.give_back(lease);
            return Err(exhausted("no block of external ports is free"));
        }
        let (mut identity, mut secret) = ([0; 16], [0; 32]);
        self.rng.fill_bytes(&mut identity);
        self.rng.fill_bytes(&mut secret);
        identity[0] = self.shards.index() as u8;
        let tunnel = Tunnel::new(identity, secret, &self.config, now);
        self.identities.insert(identity, id);
        self.by_inner.insert(lease.v4.into(), id);
        self.by_inner.insert(lease.v6.into(), id);
        let (index, seed) = (self.peers.enter(peer, now), self.rng.next_u64());
        self.sessions.insert(id, Session::new(peer.clone(), index, seed, lease, tunnel, now));
        self.stats.sessions_opened += 1;
        let peer = peer.name.clone();
        self.events.push_back(Event::SessionOpened { id, peer, inner_v4: lease.v4, inner_v6: lease.v6 });
        Ok(id)
    }

    /// When the first of the sessions `among` which one must go ends its grace, if its client does not come back.
    fn room_after(&self, among: impl Fn(&Session) -> bool, now: Instant) -> Duration {
        let ends = self.sessions.values().filter(|session| among(session)).filter_map(|it| it.tunnel.grace_end());
        let first = ends.map(|end| end.saturating_duration_since(now)).min();
        first.map_or(RETRY, |wait| wait.clamp(RETRY_SOON, RETRY))
    }

    /// A wrong secret, a foreign peer and a session that is gone look alike from outside.
    fn resume(&mut self, resume: &Resume, wishes: &Wishes, peer: Option<&Peer>) -> Result<SessionId, Reject> {
        let unknown = match peer {
            Some(_) => Reject::new(CloseCode::UnknownSession, Duration::from_millis(1), "no such session"),
            None => UNPROVED,
        };
        let id = *self.identities.get(&resume.session_id).ok_or(unknown)?;
        let session = self.sessions.get_mut(&id).ok_or(unknown)?;
        let is_theirs = peer.map_or(session.peer.resumes_by_secret, |peer| peer.name == session.peer.name);
        if !session.tunnel.knows(&resume.secret) || !is_theirs {
            return Err(unknown);
        }
        let differs = |(context, kind): &(u64, u64)| session.tunnel.differs(*context, *kind);
        if wishes.contexts.iter().any(differs) {
            return Err(Reject::protocol("a context is open as another kind"));
        }
        session.tunnel.resume(resume.next).map_err(|_| Reject::protocol("the two ends no longer fit together"))?;
        self.stats.sessions_resumed += 1;
        self.events.push_back(Event::SessionResumed { id });
        Ok(id)
    }

    fn answer(&mut self, id: SessionId, resumed: bool, wishes: &Wishes, received: usize, now: Instant) {
        let mut ports = self.nat.blocks(id);
        let Some(session) = self.sessions.get_mut(&id) else { return };
        let streams = wishes.streams.filter(|_| self.config.split != Split::Forbidden);
        streams.into_iter().for_each(|limits| session.streams.negotiate(limits));
        let streams = self.stream_limits(id);
        let Some(session) = self.sessions.get_mut(&id) else { return };
        let mut contexts = Vec::new();
        for (context, kind) in &wishes.contexts {
            contexts.push((*context, session.tunnel.offer(*context, *kind, self.config.offload)));
        }
        let (config, lease) = (&self.config, &session.lease);
        ports.extend(self.nat.prefix_block(lease.v6));
        let millis = |duration: Duration| u32::try_from(duration.as_millis()).unwrap_or(u32::MAX);
        let next = if resumed { session.tunnel.expected() } else { 0 };
        let mut answer = vec![
            Capsule::Session(webtun_wire::Session {
                version: VERSION,
                resumed,
                session_id: session.tunnel.identity,
                secret: session.tunnel.secret,
                grace_ms: millis(config.grace),
                next,
            }),
            Capsule::Limits(Limits {
                mtu: MAX_PACKET_LEN as u32,
                message_len: MAX_MESSAGE_LEN as u32,
                unacknowledged: u32::try_from(config.unacknowledged).unwrap_or(u32::MAX),
                ping_interval_ms: millis(config.ping_interval),
            }),
            Capsule::AddressAssign(tunnel::addresses(lease, wishes.address_v4, wishes.address_v6)),
            Capsule::RouteAdvertisement(self.routes.clone()),
            Capsule::DnsAssign(DnsAssign {
                servers: self.resolvers.clone(),
                search: config.dns_search.iter().map(String::as_str).collect(),
            }),
            Capsule::ExternalPorts(ports),
        ];
        answer.extend(streams.map(Capsule::StreamLimits));
        answer.extend(config.pref64().map(|pref64| {
            let prefix = pref64.prefix();
            Capsule::Pref64(vec![Prefix { address: prefix.network().into(), length: prefix.prefix_len() }])
        }));
        answer.extend(contexts.into_iter().map(|(context, is_open)| {
            if is_open { Capsule::ContextAck { context } } else { Capsule::ContextClose { context } }
        }));
        let mut writer = BatchWriter::new(MAX_MESSAGE_LEN);
        for capsule in &answer {
            // A search list of a megabyte would be the only capsule not to fit, and can be done without.
            let _ = writer.push(capsule);
        }
        session.tunnel.attach(writer.finish().into(), received, now);
        session.is_announced = false;
    }
}

fn parse(message: &[u8]) -> Result<(Hello<'_>, Wishes), Reject> {
    let mut items = capsules(message);
    let Some(Ok(Capsule::Hello(hello))) = items.next() else {
        return Err(Reject::protocol("the first capsule must be a well-formed HELLO"));
    };
    let mut wishes = Wishes::default();
    for item in items {
        match item {
            Ok(Capsule::ContextAssign { context, kind })
                if wishes.contexts.iter().any(|it| it.0 == context && it.1 != kind) =>
            {
                return Err(Reject::protocol("a context is offered as two kinds"));
            }
            Ok(Capsule::ContextAssign { context, kind }) if wishes.contexts.len() < MAX_CONTEXTS => {
                wishes.contexts.push((context, kind));
            }
            Ok(Capsule::AddressRequest(requests)) => {
                for request in requests {
                    match request.prefix.address {
                        IpAddr::V4(_) => wishes.address_v4 = request.request_id,
                        IpAddr::V6(_) => wishes.address_v6 = request.request_id,
                    }
                }
            }
            Ok(Capsule::StreamLimits(limits)) => wishes.streams = Some(limits),
            Ok(Capsule::Unknown { .. }) => {}
            Ok(_) => return Err(Reject::protocol("a capsule that has no place in a handshake")),
            Err(_) => return Err(Reject::protocol("a malformed capsule in the handshake")),
        }
    }
    Ok((hello, wishes))
}

/// What a client may send to: everything of the families that have an external address; of those that have not, the
/// inner host and what is translated to the other family.
pub(super) fn routes(config: &super::GatewayConfig) -> Vec<AddressRange> {
    let has = |ipv4: bool| config.external.iter().any(|external| external.address.is_ipv4() == ipv4);
    let (host_v4, host_v6) = (config.inner_host_v4(), config.inner_host_v6());
    let v4 = if has(true) { (Ipv4Addr::UNSPECIFIED, Ipv4Addr::BROADCAST) } else { (host_v4, host_v4) };
    let mut v6 = vec![(host_v6, host_v6)];
    if has(false) || config.external_prefix.is_some() {
        v6 = vec![(Ipv6Addr::UNSPECIFIED, Ipv6Addr::from_bits(u128::MAX))];
    } else if let Some(pref64) = config.pref64() {
        v6.push((pref64.prefix().network(), pref64.prefix().broadcast()));
        v6.sort_unstable();
    }
    let v6 = v6.into_iter().map(|(start, end)| AddressRange { start: start.into(), end: end.into(), protocol: 0 });
    let v4 = AddressRange { start: v4.0.into(), end: v4.1.into(), protocol: 0 };
    core::iter::once(v4).chain(v6).collect()
}

use bytes::BytesMut;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;
use webtun_gateway::dataplane::{
    Allowance, Event, ExternalAddress, GatewayConfig, Peer, PeerLimits, StreamEvent, StreamHost, Uplink,
};
use webtun_tests::direct::{Direct, StreamNews};
use webtun_tests::pattern;
use webtun_wire::{Capsule, CloseCode, Host, Instant, ResetReason, StreamLimits, StreamOpen};

use crate::gateway;

/// Every action takes so many octets.
const ACTION_LEN: usize = 4;
const MOST_ACTIONS: usize = 400;
/// The most of a capsule.
const PIECE: usize = 16_000;
/// What the gateway lets the client be ahead of a connection, at most.
const WINDOW: u64 = 4 << 20;
/// What the gateway reads from connections while the client takes nothing: of each, and of all.
const QUEUED: (u64, u64) = (512 << 10, 2 << 20);
/// From here on an amount means what no client may send, or a time in which its session ends.
const BREACH: u16 = 65_000;
const REASONS: [ResetReason; 5] = [
    ResetReason::Aborted,
    ResetReason::Refused,
    ResetReason::Unreachable,
    ResetReason::TimedOut,
    ResetReason::NameNotFound,
];

/// Whatever a client sends of streams, and whatever becomes of their connections: octets come whole and in order, nobody is
/// ahead by more than it was allowed, each connection is told of its end once, and a cut loses nothing.
///
/// Four octets are an action: what, which stream, and how much. The first octet of the input says how much the client takes.
pub fn streams(data: &[u8]) {
    let Some((credit, actions)) = data.split_first() else { return };
    let mut model = Model::new(u64::from(*credit) * 600);
    for action in actions.chunks_exact(ACTION_LEN).take(MOST_ACTIONS) {
        let &[what, which, high, low] = action else { continue };
        model.act(what, which, u16::from_be_bytes([high, low]));
        model.check();
        if model.is_over {
            return;
        }
    }
    model.finish();
}

/// One stream, as both of its ends know it.
#[derive(Debug, Default)]
struct Stream {
    connected: bool,
    /// The shell was told that it is over, or has said so.
    over: bool,
    /// Octets from the client: sent, allowed, and taken by the connection.
    sent: u64,
    allowed: u64,
    taken: u64,
    finished: bool,
    finish_taken: bool,
    /// Octets from the connection: put into the gateway, allowed, and come to the client.
    put: u64,
    credit: u64,
    heard: u64,
    ended: bool,
    end_heard: bool,
    /// Reset by the client, or by the gateway: why, and whether the client has heard it.
    dropped: bool,
    failed: Option<ResetReason>,
    reset_heard: bool,
}

impl Stream {
    fn is_live(&self) -> bool {
        let is_graceful = self.finish_taken && self.end_heard;
        !self.dropped && self.failed.is_none() && !is_graceful
    }
}

struct Model {
    direct: Direct,
    first_credit: u64,
    streams: BTreeMap<u64, Stream>,
    next: u64,
    away_since: Option<Instant>,
    is_over: bool,
}

impl Model {
    fn new(first_credit: u64) -> Self {
        let external = gateway::externals().map(|address| ExternalAddress { address, announced: address });
        let mut direct = Direct::new(GatewayConfig::new(external.to_vec()), [7; 32]);
        let each = Allowance { flows: usize::MAX, new_flows: Allowance::UNLIMITED.new_flows, ..Allowance::SESSION };
        let limits = PeerLimits { each, total: Allowance::UNLIMITED, ..PeerLimits::default() };
        let offer = Capsule::StreamLimits(StreamLimits { streams: 0, credit: first_credit, required: false });
        direct.open_with(&Peer { limits, ..Peer::new("fuzz") }, &[offer]).expect("the first session");
        Self { direct, first_credit, streams: BTreeMap::new(), next: 0, away_since: None, is_over: false }
    }

    fn act(&mut self, what: u8, which: u8, amount: u16) {
        let action = what % 20;
        match action {
            12 => return self.disconnect(),
            13 => return self.resume(),
            14 => return self.wait(amount),
            0..=6 if self.away_since.is_some() => return,
            0 | 1 => return self.open(which, amount),
            _ => {}
        }
        let Some(id) = self.pick(which) else { return };
        // Few inputs are to end by a breach.
        if matches!(action, 2..=4) && self.streams[&id].finished && amount < BREACH {
            return;
        }
        match action {
            2 | 3 => self.send(id, u64::from(amount), amount >= BREACH),
            4 => self.tell(id, &[Capsule::StreamFinish { stream: id }], |stream| {
                !std::mem::replace(&mut stream.finished, true)
            }),
            5 => {
                let limit = self.streams[&id].credit.saturating_add(u64::from(amount)).saturating_sub(1000);
                let take = |stream: &mut Stream| stream.credit = stream.credit.max(limit);
                self.tell(id, &[Capsule::StreamCredit { stream: id, limit }], |stream| {
                    take(stream);
                    true
                });
            }
            6 => {
                let reset = Capsule::StreamReset { stream: id, reason: REASONS[usize::from(amount) % REASONS.len()] };
                self.tell(id, &[reset], |stream| {
                    stream.dropped = true;
                    true
                });
            }
            7 | 8 => self.connected(id),
            9 => self.fail(id, REASONS[usize::from(amount) % REASONS.len()]),
            10 | 11 | 15 => self.take(id, u64::from(amount)),
            16 | 17 => self.put(id, usize::from(amount)),
            18 => self.end(id),
            _ => self.take(id, u64::MAX),
        }
    }

    /// One that there was, mostly of the last ones.
    fn pick(&self, which: u8) -> Option<u64> {
        let count = self.streams.len();
        self.streams.keys().nth_back(usize::from(which) % count.clamp(1, 16)).copied()
    }

    /// Sends capsules; `is_allowed` says what they change, and whether they may.
    fn tell(&mut self, id: u64, capsules: &[Capsule<'_>], is_allowed: impl FnOnce(&mut Stream) -> bool) {
        let Some(stream) = self.streams.get_mut(&id) else { return };
        // What has crossed the end of a stream is skipped.
        let is_sound = !stream.is_live() || is_allowed(stream);
        self.send_capsules(capsules, is_sound);
    }

    fn send_capsules(&mut self, capsules: &[Capsule<'_>], is_sound: bool) {
        match self.direct.send_capsules(0, capsules) {
            Ok(()) => assert!(is_sound, "a breach is seen"),
            Err(error) => {
                assert!(!is_sound && error.code() == CloseCode::Protocol, "only a breach ends a session: {error:?}");
                self.is_over = true;
            }
        }
    }

    fn open(&mut self, which: u8, amount: u16) {
        let is_again = which == u8::MAX && self.next > 0;
        let id = if is_again { self.next - 1 } else { self.next + u64::from(which % 3) };
        let allowed = self.direct.sessions[0].stream_limits.expect("it takes streams").credit;
        let data = octets(up(id), 0, usize::from(amount).min(PIECE));
        let (address, port) = (gateway::remote(which & 4 != 0, 443).ip(), 443);
        let open = Capsule::StreamOpen(StreamOpen { stream: id, host: Host::Address(address), port, data: &data });
        if !is_again {
            let (sent, credit) = (data.len() as u64, self.first_credit);
            self.streams.insert(id, Stream { allowed, sent, credit, ..Stream::default() });
            self.next = id + 1;
        }
        self.send_capsules(&[open], !is_again);
        if self.is_over {
            return;
        }
        let host = StreamHost::Address(address);
        let wanted = StreamEvent::Open { host, port };
        let is_asked =
            |event: &Event| matches!(event, Event::Stream { stream, what, .. } if *stream == id && *what == wanted);
        assert!(self.direct.events.iter().any(is_asked), "the shell is asked to connect");
    }

    /// Data within the credit, or one octet beyond it.
    fn send(&mut self, id: u64, len: u64, beyond: bool) {
        let stream = &self.streams[&id];
        let (sent, room) = (stream.sent, stream.allowed - stream.sent);
        let len = if beyond && room < WINDOW { room + 1 } else { len.min(room) } as usize;
        let data = octets(up(id), sent, len);
        let pieces: Vec<_> = data.chunks(PIECE).map(|data| Capsule::StreamData { stream: id, data }).collect();
        // A message at a time holds less than a window.
        for pieces in pieces.chunks(10) {
            let len: u64 = pieces
                .iter()
                .map(|piece| if let Capsule::StreamData { data, .. } = piece { data.len() as u64 } else { 0 })
                .sum();
            self.tell(id, pieces, |stream| {
                stream.sent += len;
                !stream.finished && stream.sent <= stream.allowed
            });
            if self.is_over {
                return;
            }
        }
    }

    fn connected(&mut self, id: u64) {
        let Some(stream) = self.streams.get_mut(&id).filter(|stream| !stream.connected) else { return };
        let (session, now) = (self.direct.sessions[0].id, self.direct.now);
        let is_wanted = self.direct.gateway.stream_connected(session, id, local(), gateway::remote(false, 443), now);
        assert_eq!(is_wanted, stream.is_live(), "{stream:?}");
        stream.connected |= is_wanted;
        self.direct.drain();
    }

    fn fail(&mut self, id: u64, reason: ResetReason) {
        let Some(stream) = self.streams.get_mut(&id).filter(|stream| stream.is_live()) else { return };
        stream.failed = Some(reason);
        let (session, now) = (self.direct.sessions[0].id, self.direct.now);
        self.direct.gateway.stream_failed(session, id, reason, now);
        self.direct.drain();
    }

    /// The connection takes so many octets, and the FIN where it comes to that.
    fn take(&mut self, id: u64, most: u64) {
        let (session, now) = (self.direct.sessions[0].id, self.direct.now);
        let Some(stream) = self.streams.get_mut(&id) else { return };
        let is_open = stream.connected && stream.is_live();
        let mut left = most;
        while left > 0 {
            match self.direct.gateway.stream_uplink(session, id) {
                Uplink::Data(data) => {
                    assert!(is_open, "{stream:?}");
                    let len = data.len().min(usize::try_from(left).unwrap_or(usize::MAX));
                    assert_eq!(pattern::mismatch(up(id), stream.taken, &data[..len]), None, "{stream:?}");
                    stream.taken += len as u64;
                    left -= len as u64;
                    self.direct.gateway.stream_written(session, id, len, now);
                }
                Uplink::Finish => {
                    assert!(is_open && stream.finished && stream.taken == stream.sent, "{stream:?}");
                    stream.finish_taken = true;
                    self.direct.gateway.stream_finish_written(session, id);
                    break;
                }
                Uplink::Nothing => {
                    let is_drained = stream.taken == stream.sent && (!stream.finished || stream.finish_taken);
                    assert!(!is_open || is_drained, "something is kept back: {stream:?}");
                    break;
                }
            }
        }
        if left == 0 {
            self.direct.gateway.stream_stuck(session, id);
        }
        self.direct.drain();
    }

    fn put(&mut self, id: u64, most: usize) {
        let (session, now) = (self.direct.sessions[0].id, self.direct.now);
        let Some(stream) = self.streams.get_mut(&id).filter(|stream| stream.connected && stream.is_live()) else {
            return;
        };
        let room = self.direct.gateway.stream_room(session, id);
        assert!(
            room as u64 <= stream.credit.saturating_sub(stream.put),
            "beyond the client's credit: {room} {stream:?}"
        );
        let len = room.min(most);
        if len > 0 && !stream.ended {
            let data = octets(down(id), stream.put, len);
            stream.put += len as u64;
            self.direct.gateway.stream_received(session, id, BytesMut::from(&data[..]), now);
        }
        self.direct.drain();
    }

    fn end(&mut self, id: u64) {
        let (session, now) = (self.direct.sessions[0].id, self.direct.now);
        let Some(stream) = self.streams.get_mut(&id).filter(|stream| stream.connected && stream.is_live()) else {
            return;
        };
        stream.ended = true;
        self.direct.gateway.stream_ended(session, id, now);
        self.direct.drain();
    }

    fn disconnect(&mut self) {
        if self.away_since.is_none() {
            self.away_since = Some(self.direct.now);
            self.direct.disconnect(0);
        }
    }

    fn resume(&mut self) {
        if self.away_since.take().is_some() {
            self.direct.resume(0).expect("a session that lives can be resumed");
        }
    }

    fn wait(&mut self, amount: u16) {
        let time = if amount < BREACH { u64::from(amount) / 8 } else { 200_000 };
        self.direct.advance(Duration::from_millis(time));
        let grace = self.direct.gateway.config().grace;
        if self.away_since.is_some_and(|since| self.direct.now >= since + grace) {
            self.is_over = true;
        }
    }

    /// What holds after every action.
    fn check(&mut self) {
        for news in std::mem::take(&mut self.direct.sessions[0].streams) {
            self.hear(news);
        }
        let overs: Vec<_> = std::mem::take(&mut self.direct.events).into_iter().filter_map(over).collect();
        for (id, reset) in overs {
            let stream = self.streams.get_mut(&id).expect("a stream that was");
            assert!(!std::mem::replace(&mut stream.over, true), "over twice: {stream:?}");
            let is_graceful = stream.finish_taken && stream.end_heard && !stream.dropped && stream.failed.is_none();
            assert_eq!(reset, !is_graceful, "{stream:?}");
        }
        if self.is_over {
            assert!(self.streams.values().all(|stream| stream.over), "connections end with the session");
            assert_eq!(self.direct.gateway.stats().streams, 0);
            return;
        }
        let live = self.streams.values().filter(|stream| stream.is_live()).count() as u64;
        assert_eq!(self.direct.gateway.stats().streams, live);
        let mut waiting = 0;
        for stream in self.streams.values() {
            assert_eq!(stream.over, !stream.is_live(), "{stream:?}");
            assert!(stream.allowed <= stream.taken + WINDOW, "{stream:?}");
            assert!(stream.put - stream.heard <= QUEUED.0 || !stream.is_live(), "{stream:?}");
            waiting += if stream.is_live() { stream.put - stream.heard } else { 0 };
        }
        assert!(waiting <= QUEUED.1, "{waiting} octets wait");
    }

    fn hear(&mut self, news: StreamNews) {
        let (StreamNews::Opened(id)
        | StreamNews::Data(id, _)
        | StreamNews::Credit(id, _)
        | StreamNews::Finish(id)
        | StreamNews::Reset(id, _)) = news;
        let stream = self.streams.get_mut(&id).expect("a stream that was opened");
        assert!(!stream.reset_heard, "more behind a reset: {stream:?}");
        match news {
            StreamNews::Opened(_) => assert!(stream.connected, "{stream:?}"),
            StreamNews::Data(_, data) => {
                assert!(!stream.end_heard, "more behind the end: {stream:?}");
                assert_eq!(pattern::mismatch(down(id), stream.heard, &data), None, "{stream:?}");
                stream.heard += data.len() as u64;
                assert!(stream.heard <= stream.put && stream.heard <= stream.credit, "{stream:?}");
            }
            StreamNews::Credit(_, limit) => stream.allowed = stream.allowed.max(limit),
            StreamNews::Finish(_) => {
                assert!(stream.ended && stream.heard == stream.put && !stream.end_heard, "{stream:?}");
                stream.end_heard = true;
            }
            StreamNews::Reset(_, reason) => {
                assert!(stream.failed == Some(reason) && stream.heard == stream.put, "{stream:?}");
                stream.reset_heard = true;
            }
        }
    }

    /// Everybody goes on to the end: then nothing may be left.
    fn finish(&mut self) {
        self.resume();
        self.check();
        for id in self.streams.keys().copied().collect::<Vec<_>>() {
            if !self.streams[&id].is_live() {
                continue;
            }
            self.connected(id);
            self.check();
            if !self.streams[&id].finished {
                self.tell(id, &[Capsule::StreamFinish { stream: id }], |stream| {
                    !std::mem::replace(&mut stream.finished, true)
                });
            }
            self.take(id, u64::MAX);
            self.end(id);
            self.check();
        }
        assert_eq!(self.direct.gateway.stats().streams, 0);
        for stream in self.streams.values() {
            let is_told = stream.dropped || stream.reset_heard || stream.end_heard && stream.heard == stream.put;
            assert!(stream.over && is_told, "{stream:?}");
        }
        gateway::works(&mut self.direct);
    }
}

fn over(event: Event) -> Option<(u64, bool)> {
    match event {
        Event::Stream { stream, what: StreamEvent::Over { reset }, .. } => Some((stream, reset)),
        _ => None,
    }
}

/// The pattern of what the client sends.
fn up(stream: u64) -> u64 {
    stream * 2
}

/// The pattern of what the connection sends.
fn down(stream: u64) -> u64 {
    stream * 2 + 1
}

fn octets(pattern: u64, offset: u64, len: usize) -> Vec<u8> {
    let mut data = vec![0; len];
    pattern::fill(pattern, offset, &mut data);
    data
}

fn local() -> SocketAddr {
    SocketAddr::from(([192, 0, 2, 1], 40_000))
}

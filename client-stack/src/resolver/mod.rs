//! A stub resolver (RFC 1034 section 5.3.1) on the host's own sockets: A and AAAA, CNAME chains, a cache by TTL, several
//! servers, and TCP for what UDP cuts short.

mod cache;
mod exchange;
mod lookup;
mod message;

use std::collections::VecDeque;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use rand::rngs::ChaCha12Rng;
use rand::{Rng, SeedableRng};
use webtun_wire::Instant;

use self::cache::{Addresses, Cache};
use self::exchange::{Exchange, Step};
use self::lookup::{Half, Lookup};
use self::message::{Answer, Name, Question, join, parse_name};
use crate::demux::SeededMap;
use crate::{Family, Host, QueryId, ResolveError, SocketEvent, SocketId};

/// Names that programs wait for: two, one in each family, for each socket that a host has at most by default.
const MAX_LOOKUPS: usize = 32_768;

/// Questions that are on their way.
const MAX_EXCHANGES: usize = 256;

pub(crate) struct Resolver {
    rng: ChaCha12Rng,
    servers: Vec<IpAddr>,
    search: Vec<Name>,
    /// The server that answered last: the others have failed before it.
    preferred: usize,
    cache: Cache,
    lookups: SeededMap<QueryId, Lookup>,
    exchanges: Vec<Exchange>,
    results: VecDeque<(QueryId, Addresses)>,
    next_id: u32,
}

impl Resolver {
    pub fn new(seed: [u8; 32]) -> Self {
        let mut rng = ChaCha12Rng::from_seed(seed);
        // Host and tunnel draw from the same seed on other streams.
        rng.set_stream(2);
        let cache = Cache::new(rng.next_u64());
        Self {
            rng,
            servers: Vec::new(),
            search: Vec::new(),
            preferred: 0,
            cache,
            lookups: SeededMap::default(),
            exchanges: Vec::new(),
            results: VecDeque::new(),
            next_id: 1,
        }
    }

    /// Replaces servers and search domains.
    pub fn set_servers(&mut self, servers: &[IpAddr], search: &[String]) {
        if self.servers != servers {
            self.servers = servers.to_vec();
            self.preferred = 0;
            self.cache.clear();
        }
        self.search = search.iter().filter_map(|domain| parse_name(domain)).collect();
    }

    /// Begins; the answer comes by [`poll_result`](Self::poll_result), also where it is known already.
    pub fn resolve(&mut self, name: &str, family: Family, host: &mut Host, now: Instant) -> QueryId {
        let id = QueryId::from_u32(self.next_id);
        self.next_id = self.next_id.wrapping_add(1);
        if let Some(addresses) = without_server(name, family) {
            self.results.push_back((id, addresses));
        } else if self.servers.is_empty() {
            self.results.push_back((id, Err(ResolveError::NoServers)));
        } else if self.lookups.len() >= MAX_LOOKUPS {
            self.results.push_back((id, Err(ResolveError::TooManyQueries)));
        } else {
            self.begin(id, name, family, host, now);
        }
        id
    }

    fn begin(&mut self, id: QueryId, name: &str, family: Family, host: &mut Host, now: Instant) {
        let mut candidates = self.candidates(name);
        let Some(first) = candidates.pop_front() else {
            self.results.push_back((id, Err(ResolveError::InvalidName)));
            return;
        };
        let has = |ipv4: bool| host.addresses().iter().any(|(address, _)| address.is_ipv4() == ipv4);
        let (ipv4, ipv6) = match family {
            Family::V4 => (true, false),
            Family::V6 => (false, true),
            Family::Any => (has(true) || !has(false), has(false) || !has(true)),
        };
        let half = |ipv4: bool| Half::Waiting { question: Question { name: first.clone(), ipv4 }, aliases: 0 };
        let lookup = Lookup { candidates, ipv4: ipv4.then(|| half(true)), ipv6: ipv6.then(|| half(false)) };
        self.lookups.insert(id, lookup);
        self.advance(id, host, now);
    }

    /// A name without a dot is looked for in the search domains first; one with a dot at its end is taken as it is.
    fn candidates(&self, name: &str) -> VecDeque<Name> {
        let Some(absolute) = parse_name(name) else { return VecDeque::new() };
        let mut candidates = VecDeque::new();
        if !name.contains('.') {
            candidates.extend(self.search.iter().filter_map(|domain| join(name, domain)));
        }
        candidates.push_back(absolute);
        candidates
    }

    /// Nobody waits for this name any more.
    pub fn cancel(&mut self, id: QueryId, host: &mut Host, now: Instant) {
        self.lookups.remove(&id);
        self.results.retain(|(other, _)| *other != id);
        self.drop_unwanted(host, now);
    }

    /// Fails everything.
    pub fn fail_all(&mut self, error: ResolveError, host: &mut Host, now: Instant) {
        let ids: Vec<QueryId> = std::mem::take(&mut self.lookups).into_keys().collect();
        self.results.extend(ids.into_iter().map(|id| (id, Err(error))));
        self.drop_unwanted(host, now);
    }

    fn drop_unwanted(&mut self, host: &mut Host, now: Instant) {
        let Self { exchanges, lookups, .. } = self;
        exchanges.retain_mut(|exchange| {
            let wanted = lookups.values().any(|lookup| lookup.waits_for(&exchange.question));
            if !wanted {
                exchange.stop(host, now);
            }
            wanted
        });
    }

    /// True where this socket is one of ours; its events are then not the program's.
    pub fn owns(&self, id: SocketId) -> bool {
        self.exchanges.iter().any(|exchange| exchange.socket() == Some(id))
    }

    pub fn handle_event(&mut self, id: SocketId, event: &SocketEvent, host: &mut Host, now: Instant) {
        let Some(index) = self.exchanges.iter().position(|exchange| exchange.socket() == Some(id)) else { return };
        let random = self.rng.next_u32();
        let step = self.exchanges[index].handle_event(event, host, random, now);
        self.finish_step(index, step, host, now);
    }

    /// There is a session (again): what was suspended is asked anew.
    pub fn resume(&mut self, host: &mut Host, now: Instant) {
        // From behind: a step that ends an exchange moves the last one to its place.
        for index in (0..self.exchanges.len()).rev() {
            let random = self.rng.next_u32();
            let Some(exchange) = self.exchanges.get_mut(index) else { continue };
            let step = exchange.resume(&self.servers, host, random, now);
            self.finish_step(index, step, host, now);
        }
    }

    pub fn handle_timeout(&mut self, host: &mut Host, now: Instant) {
        while let Some(index) = self.exchanges.iter().position(|exchange| exchange.deadline <= now) {
            let random = self.rng.next_u32();
            let step = self.exchanges[index].handle_timeout(host, random, now);
            self.finish_step(index, step, host, now);
        }
    }

    pub fn poll_timeout(&self) -> Option<Instant> {
        self.exchanges.iter().map(|exchange| exchange.deadline).min()
    }

    pub fn poll_result(&mut self) -> Option<(QueryId, Addresses)> {
        self.results.pop_front()
    }

    fn finish_step(&mut self, index: usize, step: Step, host: &mut Host, now: Instant) {
        let answer = match step {
            Step::Waiting => return,
            Step::Answered(answer) => answer,
            Step::Exhausted(true) => Answer::Final(Err(ResolveError::ServerFailure), Duration::ZERO),
            Step::Exhausted(false) => Answer::Final(Err(ResolveError::TimedOut), Duration::ZERO),
        };
        let question = self.exchanges.swap_remove(index).question;
        if let Answer::Final(addresses, ttl) = &answer {
            self.cache.insert(question.clone(), addresses.clone(), *ttl, now);
        }
        let waiting = self.lookups.iter_mut().filter(|(_, lookup)| lookup.waits_for(&question));
        let waiting: Vec<QueryId> = waiting.map(|(id, lookup)| lookup.note(&question, &answer, *id)).collect();
        for id in waiting {
            self.advance(id, host, now);
        }
    }

    /// Asks what a lookup still needs, and reports it where nothing is left to ask.
    fn advance(&mut self, id: QueryId, host: &mut Host, now: Instant) {
        loop {
            let Some(lookup) = self.lookups.get_mut(&id) else { return };
            let mut ask = Vec::new();
            for half in lookup.halves() {
                let Half::Waiting { question, .. } = half else { continue };
                match self.cache.get(question, now) {
                    Some(addresses) => *half = Half::Done(addresses.clone()),
                    None => ask.push(question.clone()),
                }
            }
            if let Some(addresses) = lookup.result() {
                if lookup.next_candidate(&addresses) {
                    continue;
                }
                self.lookups.remove(&id);
                self.results.push_back((id, addresses));
                return;
            }
            let failed: Vec<Question> = ask.into_iter().filter(|question| !self.ask(question, host, now)).collect();
            if failed.is_empty() {
                return;
            }
            let Some(lookup) = self.lookups.get_mut(&id) else { return };
            for question in failed {
                lookup.note(&question, &Answer::Final(Err(ResolveError::TooManyQueries), Duration::ZERO), id);
            }
        }
    }

    /// False where the question cannot be asked.
    fn ask(&mut self, question: &Question, host: &mut Host, now: Instant) -> bool {
        if self.exchanges.iter().any(|exchange| exchange.question == *question) {
            return true;
        }
        if self.exchanges.len() >= MAX_EXCHANGES {
            return false;
        }
        let mut exchange = Exchange::new(question.clone(), self.servers.clone(), self.preferred, now);
        let asked = exchange.start(host, self.rng.next_u32(), now) == Step::Waiting;
        if asked {
            self.exchanges.push(exchange);
        }
        asked
    }
}

/// Literals, and names that no server is asked for (RFC 6761 section 6.3).
fn without_server(name: &str, family: Family) -> Option<Addresses> {
    let bare = name.strip_prefix('[').and_then(|name| name.strip_suffix(']')).unwrap_or(name);
    let lower = name.trim_end_matches('.').to_ascii_lowercase();
    let all = if let Ok(literal) = bare.parse::<IpAddr>() {
        vec![literal]
    } else if lower == "localhost" || lower.ends_with(".localhost") {
        vec![IpAddr::V6(Ipv6Addr::LOCALHOST), IpAddr::V4(Ipv4Addr::LOCALHOST)]
    } else if parse_name(name).is_none() {
        return Some(Err(ResolveError::InvalidName));
    } else {
        return None;
    };
    let fits = |address: &IpAddr| match family {
        Family::Any => true,
        Family::V4 => address.is_ipv4(),
        Family::V6 => address.is_ipv6(),
    };
    let fitting: Vec<IpAddr> = all.into_iter().filter(fits).collect();
    Some(if fitting.is_empty() { Err(ResolveError::NoData) } else { Ok(fitting) })
}

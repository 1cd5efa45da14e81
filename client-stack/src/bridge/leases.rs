//! Which IPv4 address is whose (RFC 2131 section 4.3.1).
//!
//! A network card has one address here, whatever client identifiers its boot loader, initial RAM disk and system use: its
//! session has one too. A client identifier finds the lease again where the network card is another than before.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::Ipv4Addr;
use std::time::Duration;

use webtun_wire::Instant;

use super::{MacAddress, SegmentConfig};

/// Of the configured pool this many addresses are used.
const MAX_POOL: usize = 1024;
/// How long an address rests that somebody has found in use.
const DECLINED_FOR: Duration = Duration::from_secs(600);

#[derive(Debug)]
struct Lease {
    mac: MacAddress,
    /// Client identifier (RFC 2132 section 9.14); empty where the client has none.
    client: Vec<u8>,
    expires: Instant,
}

/// Where the network card of a lease is, for the one who asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Standing {
    /// At the same port, or kept for the same owner.
    Near,
    /// At another port, or kept for another owner.
    Elsewhere,
    /// Nowhere.
    Gone,
}

/// The pool, and who has what of it.
#[derive(Debug)]
pub(super) struct Leases {
    pool: Vec<Ipv4Addr>,
    fixed: BTreeMap<MacAddress, Ipv4Addr>,
    reserved: BTreeSet<Ipv4Addr>,
    /// Expired ones too: their clients may come back.
    leases: BTreeMap<Ipv4Addr, Lease>,
    declined: VecDeque<(Ipv4Addr, Instant)>,
}

impl Leases {
    pub fn new(config: &SegmentConfig) -> Self {
        let reserved: BTreeSet<Ipv4Addr> = config.fixed.values().copied().collect();
        let range = u32::from(*config.pool.start())..=u32::from(*config.pool.end());
        let is_usable = |it: &Ipv4Addr| config.is_host(*it) && !config.is_router(*it) && !reserved.contains(it);
        let pool = range.map(Ipv4Addr::from).filter(is_usable).take(MAX_POOL).collect();
        Self { pool, fixed: config.fixed.clone(), reserved, leases: BTreeMap::new(), declined: VecDeque::new() }
    }

    /// The address for a client: the one that it has had, else the one that it wants, else the first that nobody has had,
    /// else the one whose lease has expired first, else the one whose lease is the oldest of those whose network card is
    /// gone. `is_taken`: in use by somebody who has no lease of it. A lease goes to another card by its client identifier
    /// where its own is not elsewhere.
    pub fn choose(
        &self,
        mac: MacAddress,
        client: &[u8],
        wanted: Option<Ipv4Addr>,
        now: Instant,
        is_taken: impl Fn(Ipv4Addr) -> bool,
        standing: impl Fn(MacAddress) -> Standing,
    ) -> Option<Ipv4Addr> {
        if let Some(fixed) = self.fixed.get(&mac) {
            return Some(*fixed);
        }
        let by_mac = || self.leases.iter().find(|(_, it)| it.mac == mac);
        let inherits =
            |it: &Lease| !client.is_empty() && it.client == client && standing(it.mac) != Standing::Elsewhere;
        let by_client = || self.leases.iter().find(|(_, it)| inherits(it));
        if let Some((address, _)) = by_mac().or_else(by_client) {
            return Some(*address);
        }
        let is_usable = |it: &Ipv4Addr| self.pool.contains(it) && !is_taken(*it) && !self.is_declined(*it, now);
        let is_free = |it: &Ipv4Addr| is_usable(it) && self.leases.get(it).is_none_or(|it| it.expires <= now);
        let wanted = wanted.filter(is_free);
        let unused = || self.pool.iter().find(|it| is_free(it) && !self.leases.contains_key(it)).copied();
        let may_go = |it: &Lease| it.expires <= now || standing(it.mac) == Standing::Gone;
        let oldest = || {
            let left = self.leases.iter().filter(|(address, it)| is_usable(address) && may_go(it));
            left.min_by_key(|(_, it)| it.expires).map(|(address, _)| *address)
        };
        wanted.or_else(unused).or_else(oldest)
    }

    /// Gives the address to the client, who has no other from now on.
    pub fn commit(&mut self, address: Ipv4Addr, mac: MacAddress, client: &[u8], now: Instant, time: Duration) {
        self.leases.retain(|other, it| *other == address || it.mac != mac);
        self.leases.insert(address, Lease { mac, client: client.to_vec(), expires: now + time });
    }

    /// Promises the address for as long as a client needs to accept an offer; a lease that runs stays as it is.
    pub fn offer(&mut self, address: Ipv4Addr, mac: MacAddress, client: &[u8], now: Instant, time: Duration) {
        if !self.leases.get(&address).is_some_and(|it| it.mac == mac && it.expires > now + time) {
            self.commit(address, mac, client, now, time);
        }
    }

    /// Who has an unexpired lease of the address.
    pub fn holder(&self, address: Ipv4Addr, now: Instant) -> Option<MacAddress> {
        self.leases.get(&address).filter(|it| it.expires > now).map(|it| it.mac)
    }

    pub fn is_held_by(&self, address: Ipv4Addr, mac: MacAddress) -> bool {
        self.leases.get(&address).is_some_and(|it| it.mac == mac)
    }

    /// The address is used by this network card from now on; a lease of it goes along.
    pub fn moved(&mut self, address: Ipv4Addr, mac: MacAddress) {
        if self.leases.contains_key(&address) {
            self.leases.retain(|other, it| *other == address || it.mac != mac);
            if let Some(lease) = self.leases.get_mut(&address) {
                lease.mac = mac;
            }
        }
    }

    /// The client needs the address no longer, and may come back (RFC 2131 section 4.3.4).
    pub fn release(&mut self, address: Ipv4Addr, mac: MacAddress, now: Instant) {
        if let Some(lease) = self.leases.get_mut(&address).filter(|it| it.mac == mac) {
            lease.expires = lease.expires.min(now);
        }
    }

    /// Forgets a lease.
    pub fn remove(&mut self, address: Ipv4Addr, mac: MacAddress) {
        if self.is_held_by(address, mac) {
            self.leases.remove(&address);
        }
    }

    /// The client has found the address in use (RFC 2131 section 4.3.3). True where it was its own to decline.
    pub fn decline(&mut self, address: Ipv4Addr, mac: MacAddress, now: Instant) -> bool {
        if !self.is_held_by(address, mac) || self.reserved.contains(&address) {
            return false;
        }
        self.leases.remove(&address);
        self.declined.retain(|(other, until)| *other != address && *until > now);
        if self.declined.len() >= (self.pool.len() / 4).max(1) {
            self.declined.pop_front();
        }
        self.declined.push_back((address, now + DECLINED_FOR));
        true
    }

    fn is_declined(&self, address: Ipv4Addr, now: Instant) -> bool {
        self.declined.iter().any(|(it, until)| *it == address && *until > now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Instant = Instant::from_millis(1_000_000);
    const HOUR: Duration = Duration::from_secs(3600);

    fn mac(last: u8) -> MacAddress {
        MacAddress([2, 0, 0, 0, 0, last])
    }

    fn address(last: u8) -> Ipv4Addr {
        Ipv4Addr::new(192, 168, 127, last)
    }

    fn small() -> Leases {
        let config = SegmentConfig {
            pool: address(0)..=address(6),
            fixed: BTreeMap::from([(mac(99), address(3))]),
            aliases: vec![(address(4), Ipv4Addr::new(10, 0, 0, 1))],
            ..SegmentConfig::default()
        };
        Leases::new(&config)
    }

    fn choose(leases: &Leases, card: u8, client: &[u8], now: Instant) -> Option<Ipv4Addr> {
        leases.choose(mac(card), client, None, now, |_| false, |_| Standing::Near)
    }

    #[test]
    fn the_pool_leaves_out_what_is_not_for_it() {
        assert_eq!(small().pool, [address(2), address(5), address(6)]);
        let all = SegmentConfig {
            prefix_len: 8,
            pool: Ipv4Addr::new(192, 0, 0, 0)..=Ipv4Addr::new(192, 255, 255, 255),
            ..SegmentConfig::default()
        };
        assert_eq!(Leases::new(&all).pool.len(), MAX_POOL);
    }

    #[test]
    fn everyone_keeps_an_address_and_the_longest_expired_goes_first() {
        let mut leases = small();
        for (card, last) in [(1, 2), (2, 5), (3, 6)] {
            assert_eq!(choose(&leases, card, &[], NOW), Some(address(last)));
            leases.commit(address(last), mac(card), &[], NOW, HOUR * u32::from(4 - card));
        }
        assert_eq!(choose(&leases, 4, &[], NOW), None, "the pool is empty");
        assert_eq!(choose(&leases, 99, &[], NOW), Some(address(3)), "but not for who has a fixed address");
        let later = NOW + HOUR * 5;
        assert_eq!(choose(&leases, 4, &[], later), Some(address(6)));
        assert_eq!(choose(&leases, 1, &[], later), Some(address(2)), "and who comes back has the old one");
    }

    #[test]
    fn the_oldest_lease_of_a_card_that_is_gone_is_given_away_where_nothing_else_is_left() {
        let mut leases = small();
        for (card, last) in [(1, 6), (2, 5), (3, 2)] {
            leases.commit(address(last), mac(card), &[], NOW, HOUR * u32::from(card));
        }
        let choose = |gone: &[u8]| {
            let standing =
                |it| if gone.iter().any(|card| mac(*card) == it) { Standing::Gone } else { Standing::Elsewhere };
            leases.choose(mac(4), &[], None, NOW, |it| it == address(6), standing)
        };
        assert_eq!(choose(&[]), None);
        assert_eq!(choose(&[1]), None, "somebody uses it");
        assert_eq!(choose(&[1, 2, 3]), Some(address(5)));
    }

    #[test]
    fn a_client_identifier_finds_the_lease_of_another_card() {
        let mut leases = small();
        leases.commit(address(5), mac(1), b"id", NOW, HOUR);
        assert_eq!(choose(&leases, 2, b"id", NOW), Some(address(5)));
        assert_eq!(choose(&leases, 2, b"", NOW), Some(address(2)));
        assert_eq!(leases.choose(mac(2), b"id", None, NOW, |_| false, |_| Standing::Elsewhere), Some(address(2)));
        leases.moved(address(5), mac(2));
        assert_eq!((leases.holder(address(5), NOW), choose(&leases, 1, b"", NOW)), (Some(mac(2)), Some(address(2))));
    }

    #[test]
    fn declined_addresses_rest_and_never_use_up_the_pool() {
        let mut leases = small();
        leases.commit(address(2), mac(1), &[], NOW, HOUR);
        assert!(!leases.decline(address(2), mac(2), NOW), "not its own");
        assert!(leases.decline(address(2), mac(1), NOW));
        assert_eq!(choose(&leases, 1, &[], NOW), Some(address(5)));
        leases.commit(address(5), mac(1), &[], NOW, HOUR);
        assert!(leases.decline(address(5), mac(1), NOW));
        assert_eq!(choose(&leases, 1, &[], NOW), Some(address(2)), "the oldest is tried again");
        assert_eq!(choose(&leases, 1, &[], NOW + DECLINED_FOR), Some(address(2)));
        leases.commit(address(3), mac(99), &[], NOW, HOUR);
        assert!(!leases.decline(address(3), mac(99), NOW), "a fixed address stays");
    }

    #[test]
    fn a_released_address_is_kept_for_its_client_while_others_are_left() {
        let mut leases = small();
        leases.commit(address(2), mac(1), &[], NOW, HOUR);
        leases.release(address(2), mac(2), NOW);
        assert_eq!(leases.holder(address(2), NOW), Some(mac(1)), "only its own");
        leases.release(address(2), mac(1), NOW);
        assert_eq!(leases.holder(address(2), NOW), None);
        assert_eq!((choose(&leases, 2, &[], NOW), choose(&leases, 1, &[], NOW)), (Some(address(5)), Some(address(2))));
    }
}

//! Connections without a session: how many there may be, in all and of one address.
//!
//! A bound that turned newcomers away would let whoever fills it first lock everybody else out. Here the newcomer gets in,
//! and takes the place of a connection that has had its time: of its own address's oldest at the bound per address, and of
//! the oldest of the address with the most at the bound in all. A client that does its part at once, and a health probe,
//! get through for as long as the places are not filled anew within the time that this takes.

use ipnet::IpNet;
use std::cmp::Reverse;
use std::collections::{BTreeMap, VecDeque};
use std::net::{IpAddr, Ipv4Addr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::Notify;

/// Whom a connection counts for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Source {
    /// A trusted proxy, for clients that it has not told yet: no bound of its own.
    Proxy,
    /// An IPv4 address.
    V4(Ipv4Addr),
    /// The first 64 bits of an IPv6 address, which are one link's.
    V6(u64),
}

impl Source {
    /// What `address` counts for where `proxies` are trusted.
    pub fn of(address: IpAddr, proxies: &[IpNet]) -> Self {
        let address = address.to_canonical();
        if proxies.iter().any(|proxy| proxy.contains(&address)) {
            return Self::Proxy;
        }
        match address {
            IpAddr::V4(address) => Self::V4(address),
            IpAddr::V6(address) => {
                let [a, b, c, d, ..] = address.segments();
                Self::V6(u64::from(a) << 48 | u64::from(b) << 32 | u64::from(c) << 16 | u64::from(d))
            }
        }
    }
}

/// All places.
#[derive(Debug)]
pub struct HalfOpen {
    total: usize,
    per_source: usize,
    table: Mutex<Table>,
}

#[derive(Debug, Default)]
struct Table {
    sources: BTreeMap<Source, VecDeque<Entry>>,
    count: usize,
    /// Numbers tell which of two entries has been there longer.
    entries: u64,
}

#[derive(Debug)]
struct Entry {
    number: u64,
    displaced: Arc<Notify>,
}

impl HalfOpen {
    /// `total` places, of which one source may have `per_source`.
    pub fn new(total: usize, per_source: usize) -> Arc<Self> {
        Arc::new(Self { total, per_source, table: Mutex::default() })
    }

    /// A place for a newcomer.
    pub fn enter(self: &Arc<Self>, source: Source) -> Place {
        let mut table = self.lock();
        table.make_room(source, self.total, self.per_source);
        table.entries += 1;
        let (number, displaced) = (table.entries, Arc::new(Notify::new()));
        table.insert(source, Entry { number, displaced: Arc::clone(&displaced) });
        drop(table);
        Place { places: Arc::clone(self), number, source: Mutex::new(source), displaced }
    }

    fn lock(&self) -> MutexGuard<'_, Table> {
        // Nothing that holds it can panic half-way.
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Table {
    fn make_room(&mut self, source: Source, total: usize, per_source: usize) {
        let here = self.sources.get(&source).map_or(0, VecDeque::len);
        if source != Source::Proxy && here >= per_source {
            self.displace_oldest(source);
        } else if self.count >= total {
            let oldest = |queue: &VecDeque<Entry>| Reverse(queue.front().map(|entry| entry.number));
            let fullest = self.sources.iter().max_by_key(|(_, queue)| (queue.len(), oldest(queue)));
            if let Some((&fullest, _)) = fullest {
                self.displace_oldest(fullest);
            }
        }
    }

    fn displace_oldest(&mut self, source: Source) {
        if let Some(entry) = self.sources.get(&source).and_then(VecDeque::front) {
            entry.displaced.notify_one();
            let number = entry.number;
            self.remove(source, number);
        }
    }

    fn insert(&mut self, source: Source, entry: Entry) {
        self.sources.entry(source).or_default().push_back(entry);
        self.count += 1;
    }

    fn remove(&mut self, source: Source, number: u64) -> Option<Entry> {
        let queue = self.sources.get_mut(&source)?;
        let index = queue.iter().position(|entry| entry.number == number)?;
        let entry = queue.remove(index);
        if queue.is_empty() {
            self.sources.remove(&source);
        }
        self.count -= 1;
        entry
    }
}

/// One connection's place; given back with the value at the latest.
#[derive(Debug)]
pub struct Place {
    places: Arc<HalfOpen>,
    number: u64,
    source: Mutex<Source>,
    displaced: Arc<Notify>,
}

impl Place {
    /// Waits until a newcomer has taken it.
    pub async fn displaced(&self) {
        self.displaced.notified().await;
    }

    /// Counts for another source from here on, which a proxy has told.
    pub fn move_to(&self, source: Source) {
        let mut own = self.source.lock().unwrap_or_else(PoisonError::into_inner);
        if *own == source {
            return;
        }
        let mut table = self.places.lock();
        // One that has been displaced stays so.
        if let Some(entry) = table.remove(*own, self.number) {
            table.make_room(source, self.places.total, self.places.per_source);
            table.insert(source, entry);
        }
        *own = source;
    }

    /// Gives it back: the connection has a session.
    pub fn release(&self) {
        let own = self.source.lock().unwrap_or_else(PoisonError::into_inner);
        self.places.lock().remove(*own, self.number);
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.release();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::FutureExt;

    fn source(text: &str) -> Source {
        Source::of(text.parse().expect("an address"), &["10.0.0.0/8".parse().expect("a prefix")])
    }

    fn is_displaced(place: &Place) -> bool {
        place.displaced().now_or_never().is_some()
    }

    #[test]
    fn sources_are_addresses_of_ipv4_and_links_of_ipv6() {
        assert_ne!(source("192.0.2.1"), source("192.0.2.2"));
        assert_eq!(source("::ffff:192.0.2.1"), source("192.0.2.1"));
        assert_eq!(source("2001:db8:1:2::3"), source("2001:db8:1:2:ffff::4"));
        assert_ne!(source("2001:db8:1:2::3"), source("2001:db8:1:3::3"));
        assert_eq!(source("10.1.2.3"), Source::Proxy);
    }

    #[test]
    fn past_the_bound_per_source_its_own_oldest_goes() {
        let places = HalfOpen::new(10, 2);
        let other = places.enter(source("192.0.2.2"));
        let held: Vec<Place> = (0..3).map(|_| places.enter(source("192.0.2.1"))).collect();
        assert_eq!(held.iter().map(is_displaced).collect::<Vec<_>>(), [true, false, false]);
        assert!(!is_displaced(&other));
    }

    #[test]
    fn past_the_bound_in_all_the_fullest_source_loses_its_oldest() {
        let places = HalfOpen::new(3, 10);
        let lonely = places.enter(source("192.0.2.1"));
        let crowd = [places.enter(source("192.0.2.2")), places.enter(source("192.0.2.2"))];
        let newcomer = places.enter(source("192.0.2.3"));
        assert!(is_displaced(&crowd[0]) && !is_displaced(&crowd[1]));
        assert!(!is_displaced(&lonely) && !is_displaced(&newcomer));
        // All have one: the oldest goes.
        let last = places.enter(source("192.0.2.4"));
        assert!(is_displaced(&lonely) && !is_displaced(&last));
    }

    #[test]
    fn places_come_back_and_nothing_is_left() {
        let places = HalfOpen::new(2, 2);
        for _ in 0..5 {
            let (first, second) = (places.enter(source("192.0.2.1")), places.enter(source("192.0.2.1")));
            first.release();
            assert!(!is_displaced(&first) && !is_displaced(&second));
        }
        let table = places.lock();
        assert!(table.count == 0 && table.sources.is_empty(), "{table:?}");
    }

    #[test]
    fn proxies_have_no_bound_of_their_own_and_their_clients_do() {
        let places = HalfOpen::new(10, 2);
        let held: Vec<Place> = (0..5).map(|_| places.enter(source("10.0.0.1"))).collect();
        assert!(!held.iter().any(is_displaced));
        held.iter().take(3).for_each(|place| place.move_to(source("192.0.2.1")));
        assert_eq!(held.iter().map(is_displaced).collect::<Vec<_>>(), [true, false, false, false, false]);
        // A place that is gone is not had again.
        held[0].move_to(source("192.0.2.9"));
        assert_eq!(places.lock().count, 4);
    }
}

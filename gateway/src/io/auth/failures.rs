//! Makes guessing slow: an address from which wrong credentials come is not listened to for a while.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv6Addr};
use std::time::Duration;
use webtun_wire::Instant;

/// Addresses that are remembered. Past it, the one that would be forgotten first is.
const MAX_ADDRESSES: usize = 4096;

/// Failures by remote address, or, as whoever has one of a /64 has all of them, by that prefix.
///
/// Each failure is a debt that is paid off with time; a minute's worth may be owed at once. Who owes that much is not
/// judged at all, so that a guess that is right by chance does not get in either.
pub(super) struct Failures {
    /// What one failure costs.
    cost: Duration,
    /// When each address will owe nothing.
    paid_off: BTreeMap<IpAddr, Instant>,
    soonest: BTreeSet<(Instant, IpAddr)>,
}

const MINUTE: Duration = Duration::from_secs(60);

impl Failures {
    /// So many failures are judged in each minute; at least one.
    pub(super) fn new(per_minute: u32) -> Self {
        Self { cost: MINUTE / per_minute.max(1), paid_off: BTreeMap::new(), soonest: BTreeSet::new() }
    }

    /// # Errors
    /// How long the address has to wait.
    pub(super) fn check(&self, remote: IpAddr, now: Instant) -> Result<(), Duration> {
        let Some(paid_off) = self.paid_off.get(&source(remote)) else { return Ok(()) };
        let wait = (paid_off.saturating_duration_since(now) + self.cost).saturating_sub(MINUTE);
        if wait.is_zero() { Ok(()) } else { Err(wait) }
    }

    /// A wrong credential has come from the address.
    pub(super) fn charge(&mut self, remote: IpAddr, now: Instant) {
        while let Some(&(paid_off, address)) = self.soonest.first()
            && (paid_off <= now || self.soonest.len() >= MAX_ADDRESSES)
        {
            self.soonest.remove(&(paid_off, address));
            self.paid_off.remove(&address);
        }
        let address = source(remote);
        let owed_until = self.paid_off.get(&address).copied();
        if let Some(before) = owed_until {
            self.soonest.remove(&(before, address));
        }
        let paid_off = owed_until.unwrap_or(now).max(now) + self.cost;
        self.paid_off.insert(address, paid_off);
        self.soonest.insert((paid_off, address));
    }
}

fn source(remote: IpAddr) -> IpAddr {
    match remote.to_canonical() {
        IpAddr::V4(v4) => v4.into(),
        IpAddr::V6(v6) => Ipv6Addr::from_bits(v6.to_bits() >> 64 << 64).into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Instant {
        Instant::from_micros(seconds * 1_000_000)
    }

    fn address(text: &str) -> IpAddr {
        text.parse().expect("an address")
    }

    #[test]
    fn a_minutes_worth_of_failures_is_judged_and_then_one_by_one() {
        let mut failures = Failures::new(6);
        let guesser = address("192.0.2.1");
        for _ in 0..6 {
            assert_eq!(failures.check(guesser, at(0)), Ok(()));
            failures.charge(guesser, at(0));
        }
        assert_eq!(failures.check(guesser, at(0)), Err(Duration::from_secs(10)));
        assert_eq!(failures.check(address("192.0.2.2"), at(0)), Ok(()));
        assert_eq!(failures.check(guesser, at(10)), Ok(()));
        failures.charge(guesser, at(10));
        assert_eq!(failures.check(guesser, at(10)), Err(Duration::from_secs(10)));
        assert_eq!(failures.check(guesser, at(70)), Ok(()));
    }

    #[test]
    fn a_prefix_of_64_bits_is_one_source_and_mapped_addresses_are_ipv4() {
        let mut failures = Failures::new(1);
        failures.charge(address("2001:db8::1"), at(0));
        failures.charge(address("::ffff:192.0.2.1"), at(0));
        assert!(failures.check(address("2001:db8::ffff:2"), at(0)).is_err());
        assert!(failures.check(address("2001:db8:0:1::1"), at(0)).is_ok());
        assert!(failures.check(address("192.0.2.1"), at(0)).is_err());
        assert!(failures.check(address("192.0.2.2"), at(0)).is_ok());
    }

    #[test]
    fn the_table_is_bounded_and_forgets_who_owes_least() {
        let mut failures = Failures::new(2);
        let worst = address("192.0.2.1");
        (0..3).for_each(|_| failures.charge(worst, at(0)));
        for low in 0..2 * MAX_ADDRESSES as u32 {
            failures.charge(IpAddr::V4((0x0a00_0000 + low).into()), at(1));
        }
        assert_eq!((failures.paid_off.len(), failures.soonest.len()), (MAX_ADDRESSES, MAX_ADDRESSES));
        assert!(failures.check(worst, at(1)).is_err());
        failures.charge(worst, at(1000));
        assert_eq!((failures.paid_off.len(), failures.soonest.len()), (1, 1));
    }
}

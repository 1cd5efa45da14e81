//! What the playground's DNS knows: the names under playground.test.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use hickory_proto::rr::rdata::{A, AAAA, CNAME, SOA, TXT};
use hickory_proto::rr::{Name, RData, Record, RecordType};

/// Seconds that an answer may be kept. Short: the playground's addresses may change between two runs.
const TTL: u32 = 60;
const ZONE: &str = "playground.test.";
/// Names of the playground itself. They share its addresses.
const SERVICES: [&str; 5] = ["www", "echo", "discard", "chargen", "iperf"];
/// Enough addresses that the answer fits neither 512 octets nor the 1,232 that EDNS clients offer.
const MANY: u8 = 100;

/// The zone, from owner name to its records.
pub struct Names {
    zone: Name,
    records: BTreeMap<Name, Vec<RData>>,
}

/// What a question gets.
pub enum Lookup {
    /// Records, perhaps none of the type that was asked for.
    Found(Vec<Record>),
    /// The name does not exist, RFC 8020.
    NoSuchName,
    /// The name lies outside of the zone.
    Foreign,
}

impl Names {
    /// The fixed names at `addresses`, and `extra` (label, address) ones.
    pub fn new(addresses: &[IpAddr], extra: &[(String, IpAddr)]) -> Self {
        let zone = Name::from_ascii(ZONE).expect("a constant name");
        let mut names = Self { zone, records: BTreeMap::new() };
        for label in SERVICES {
            for &address in addresses {
                names.add(label, record_of(address));
            }
        }
        for (label, address) in extra {
            names.add(label, record_of(*address));
        }
        names.add("alias", RData::CNAME(CNAME(names.name("www"))));
        for last in 1..=MANY {
            // RFC 5737 and RFC 3849: addresses that are nobody's.
            names.add("big", RData::A(A(Ipv4Addr::new(198, 51, 100, last))));
            names.add("big", RData::AAAA(AAAA(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, u16::from(last)))));
        }
        names.add("big", RData::TXT(TXT::new((0..20).map(|_| "x".repeat(200)).collect())));
        names
    }

    /// Looks a name up, and follows an alias within the zone.
    pub fn lookup(&self, name: &Name, kind: RecordType) -> Lookup {
        if !self.zone.zone_of(name) {
            return Lookup::Foreign;
        }
        if *name == self.zone {
            let soa = (kind == RecordType::SOA).then(|| self.authority());
            return Lookup::Found(soa.into_iter().collect());
        }
        let Some(records) = self.records.get(&name.to_lowercase()) else { return Lookup::NoSuchName };
        let mut found = Vec::new();
        for data in records {
            if data.record_type() == kind || kind == RecordType::ANY {
                found.push(Record::from_rdata(name.clone(), TTL, data.clone()));
            } else if let RData::CNAME(target) = data {
                found.push(Record::from_rdata(name.clone(), TTL, data.clone()));
                if let Lookup::Found(more) = self.lookup(&target.0, kind) {
                    found.extend(more);
                }
            }
        }
        Lookup::Found(found)
    }

    /// The SOA record that goes with a negative answer, RFC 2308.
    pub fn authority(&self) -> Record {
        let soa = SOA::new(self.name("www"), self.name("hostmaster"), 1, 3600, 600, 86_400, 5);
        Record::from_rdata(self.zone.clone(), 5, RData::SOA(soa))
    }

    fn name(&self, label: &str) -> Name {
        self.zone.prepend_label(label).expect("labels are checked or constant, and short")
    }

    fn add(&mut self, label: &str, data: RData) {
        self.records.entry(self.name(label)).or_default().push(data);
    }
}

fn record_of(address: IpAddr) -> RData {
    match address {
        IpAddr::V4(address) => RData::A(A(address)),
        IpAddr::V6(address) => RData::AAAA(AAAA(address)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names() -> Names {
        let addresses = ["198.18.0.2".parse().unwrap(), "2001:2::2".parse().unwrap()];
        Names::new(&addresses, &[("host".into(), "198.18.0.1".parse().unwrap())])
    }

    fn count(name: &str, kind: RecordType) -> Option<usize> {
        match names().lookup(&Name::from_ascii(name).unwrap(), kind) {
            Lookup::Found(records) => Some(records.len()),
            Lookup::NoSuchName | Lookup::Foreign => None,
        }
    }

    #[test]
    fn each_service_has_both_families() {
        for label in SERVICES {
            assert_eq!(count(&format!("{label}.playground.test."), RecordType::A), Some(1));
            assert_eq!(count(&format!("{label}.playground.test."), RecordType::AAAA), Some(1));
        }
    }

    #[test]
    fn case_does_not_matter() {
        assert_eq!(count("WWW.Playground.TEST.", RecordType::A), Some(1));
    }

    #[test]
    fn a_name_without_records_of_the_type_exists_all_the_same() {
        assert_eq!(count("host.playground.test.", RecordType::AAAA), Some(0));
    }

    #[test]
    fn an_alias_brings_its_target() {
        assert_eq!(count("alias.playground.test.", RecordType::A), Some(2));
    }

    #[test]
    fn other_names_do_not_exist_and_other_zones_are_foreign() {
        let missing = Name::from_ascii("nobody.playground.test.").unwrap();
        assert!(matches!(names().lookup(&missing, RecordType::A), Lookup::NoSuchName));
        let foreign = Name::from_ascii("example.com.").unwrap();
        assert!(matches!(names().lookup(&foreign, RecordType::A), Lookup::Foreign));
    }
}

//! IPv6 addresses for names that have IPv4 ones alone (DNS64, RFC 6147), and names for such addresses.
//!
//! This module only reads and makes messages; asking is up to the forwarder. What cannot be read is passed on.

use super::message::Query;
use crate::dataplane::Pref64;
use hickory_proto::op::{Message, MessageType, OpCode, ResponseCode};
use hickory_proto::rr::rdata::{AAAA, CNAME};
use hickory_proto::rr::{Name, RData, Record, RecordType};
use std::net::{Ipv4Addr, Ipv6Addr};

pub(super) const TYPE_A: u16 = 1;
const TYPE_PTR: u16 = 12;
const TYPE_AAAA: u16 = 28;
/// For how long synthesized records hold where no SOA says for how long there is no AAAA (RFC 6147 section 5.1.7).
const MAX_TTL: u32 = 600;
/// The name by which clients find the prefix, and its IPv4 addresses (RFC 7050 section 2.2, RFC 8880).
const IPV4ONLY: (&str, [Ipv4Addr; 2]) =
    ("ipv4only.arpa", [Ipv4Addr::new(192, 0, 0, 170), Ipv4Addr::new(192, 0, 0, 171)]);

/// What is to be done with a query.
#[derive(Debug)]
pub(super) enum Plan {
    /// It has nothing to do with DNS64.
    Pass,
    /// This is the answer.
    Answer(Vec<u8>),
    /// Where the answer has no usable address, ask for IPv4 ones.
    Synthesize,
    /// The address stands for an IPv4 one: ask for the name of that.
    Reverse(Query),
}

/// See the module.
#[derive(Clone, Copy, Debug)]
pub(super) struct Dns64 {
    prefix: Pref64,
}

impl Dns64 {
    pub(super) fn new(prefix: Pref64) -> Self {
        Self { prefix }
    }

    pub(super) fn plan(&self, query: &Query) -> Plan {
        match query.question_type() {
            TYPE_AAAA if query.name == IPV4ONLY.0 => Message::from_vec(&query.message)
                .ok()
                .and_then(|asked| self.ipv4only(&asked))
                .map_or(Plan::Pass, Plan::Answer),
            TYPE_AAAA if !validates(&query.message) => Plan::Synthesize,
            TYPE_PTR => self.reverse_query(query).map_or(Plan::Pass, Plan::Reverse),
            _ => Plan::Pass,
        }
    }

    /// The answer to a query for AAAA, where it has to stand: it has addresses, or the name does not exist. Addresses
    /// that are IPv4 ones in truth (RFC 6147 section 5.1.4) are left out.
    pub(super) fn usable(&self, answer: &[u8]) -> Option<Vec<u8>> {
        let Ok(mut message) = Message::from_vec(answer) else { return Some(answer.to_vec()) };
        if message.metadata.response_code == ResponseCode::NXDomain {
            return Some(answer.to_vec());
        }
        let before = message.answers.len();
        message.answers.retain(|record| !matches!(&record.data, RData::AAAA(AAAA(v6)) if is_excluded(*v6)));
        let has_address = message.answers.iter().any(|record| matches!(record.data, RData::AAAA(_)));
        if message.metadata.response_code != ResponseCode::NoError || !has_address {
            None
        } else if message.answers.len() == before {
            Some(answer.to_vec())
        } else {
            message.to_vec().ok()
        }
    }

    /// The answer to a query for AAAA, made of that for A; or the one that there was, where that has no address either.
    pub(super) fn synthesize(&self, six: &[u8], four: &[u8]) -> Vec<u8> {
        self.try_synthesize(six, four).unwrap_or_else(|| six.to_vec())
    }

    fn try_synthesize(&self, six: &[u8], four: &[u8]) -> Option<Vec<u8>> {
        let mut message = Message::from_vec(four).ok()?;
        if message.metadata.response_code != ResponseCode::NoError {
            return None;
        }
        let limit = Message::from_vec(six).ok().and_then(|six| negative_ttl(&six)).unwrap_or(MAX_TTL);
        let answers = std::mem::take(&mut message.answers);
        message.answers = answers.into_iter().filter_map(|record| self.translate(record, limit)).collect();
        if !message.answers.iter().any(|record| matches!(record.data, RData::AAAA(_))) {
            return None;
        }
        for query in &mut message.queries {
            query.set_query_type(RecordType::AAAA);
        }
        // What the rest vouches for is another answer.
        message.authorities.clear();
        message.additionals.clear();
        message.metadata.authentic_data = false;
        message.to_vec().ok()
    }

    /// Addresses become IPv6, aliases stay, everything else (signatures above all) is left out.
    fn translate(&self, mut record: Record, limit: u32) -> Option<Record> {
        match record.data {
            RData::A(address) => {
                record.data = RData::AAAA(AAAA(self.embed(address.0)?));
                record.ttl = record.ttl.min(limit);
                Some(record)
            }
            RData::CNAME(_) => Some(record),
            _ => None,
        }
    }

    fn embed(&self, v4: Ipv4Addr) -> Option<Ipv6Addr> {
        (self.prefix.may_represent(v4) || IPV4ONLY.1.contains(&v4)).then(|| self.prefix.embed(v4))
    }

    fn ipv4only(&self, asked: &Message) -> Option<Vec<u8>> {
        let name = asked.queries.first()?.name().clone();
        let mut answer = response_to(asked);
        for v4 in IPV4ONLY.1 {
            answer.add_answer(Record::from_rdata(name.clone(), MAX_TTL, RData::AAAA(AAAA(self.embed(v4)?))));
        }
        answer.to_vec().ok()
    }

    /// The query for the name of the IPv4 address that the asked one stands for.
    fn reverse_query(&self, query: &Query) -> Option<Query> {
        let v4 = self.prefix.extract(address_of(&query.name)?)?;
        let [a, b, c, d] = v4.octets();
        let mut message = Message::from_vec(&query.message).ok()?;
        let name = Name::from_ascii(format!("{d}.{c}.{b}.{a}.in-addr.arpa.")).ok()?;
        message.queries.first_mut()?.set_name(name);
        Query::parse(&message.to_vec().ok()?).ok()
    }

    /// The answer about an IPv6 address: an alias for the IPv4 one's name, and what is known of that (RFC 6147 section
    /// 5.3.1).
    pub(super) fn reverse(&self, query: &Query, reverse: &Query, answer: &[u8]) -> Vec<u8> {
        alias(&query.message, &reverse.message, answer).unwrap_or_else(|| query.failure())
    }
}

fn alias(query: &[u8], reverse: &[u8], answer: &[u8]) -> Option<Vec<u8>> {
    let (asked, reverse) = (Message::from_vec(query).ok()?, Message::from_vec(reverse).ok()?);
    let mut message = Message::from_vec(answer).ok()?;
    let target = CNAME(reverse.queries.first()?.name().clone());
    let name = asked.queries.first()?.name().clone();
    message.queries = asked.queries;
    message.answers.insert(0, Record::from_rdata(name, MAX_TTL, RData::CNAME(target)));
    message.metadata.authentic_data = false;
    message.to_vec().ok()
}

fn response_to(asked: &Message) -> Message {
    let mut answer = Message::new(asked.metadata.id, MessageType::Response, OpCode::Query);
    answer.metadata.recursion_desired = asked.metadata.recursion_desired;
    answer.metadata.recursion_available = true;
    answer.queries.clone_from(&asked.queries);
    answer.edns.clone_from(&asked.edns);
    answer
}

/// Whether the client checks signatures itself, and would find ours missing (RFC 6147 section 5.5).
fn validates(query: &[u8]) -> bool {
    let Ok(message) = Message::from_vec(query) else { return true };
    message.metadata.checking_disabled && message.edns.is_some_and(|edns| edns.flags().dnssec_ok)
}

/// `::ffff:0:0/96` names hosts that IPv6 does not reach.
fn is_excluded(v6: Ipv6Addr) -> bool {
    v6.to_ipv4_mapped().is_some()
}

/// For how long there is no AAAA, as the SOA of the answer says (RFC 2308 section 5).
fn negative_ttl(message: &Message) -> Option<u32> {
    message.authorities.iter().find_map(|record| match &record.data {
        RData::SOA(soa) => Some(record.ttl.min(soa.minimum)),
        _ => None,
    })
}

/// The address that a name below `ip6.arpa` is for (RFC 3596 section 2.5).
fn address_of(name: &str) -> Option<Ipv6Addr> {
    let nibbles = name.strip_suffix(".ip6.arpa")?;
    let mut bits = 0_u128;
    let mut count = 0;
    for label in nibbles.rsplit('.') {
        let [digit] = label.as_bytes() else { return None };
        bits = bits << 4 | u128::from(char::from(*digit).to_digit(16)?);
        count += 1;
    }
    (count == 32).then(|| Ipv6Addr::from_bits(bits))
}

#[cfg(test)]
mod tests {
    use super::*;
    use hickory_proto::op::{Edns, Query as Question};
    use hickory_proto::rr::rdata::{A, PTR, SOA};

    fn name(text: &str) -> Name {
        Name::from_ascii(text).expect("a name")
    }

    fn query(about: &str, record_type: RecordType, change: impl FnOnce(&mut Message)) -> Query {
        let mut message = Message::new(7, MessageType::Query, OpCode::Query);
        message.metadata.recursion_desired = true;
        message.add_query(Question::query(name(about), record_type));
        change(&mut message);
        Query::parse(&message.to_vec().expect("encodable")).expect("a query")
    }

    fn answer(about: &str, record_type: RecordType, code: ResponseCode, records: &[(&str, u32, RData)]) -> Vec<u8> {
        let mut message = response_to(&Message::from_vec(&query(about, record_type, |_| {}).message).expect("a query"));
        message.metadata.response_code = code;
        message.metadata.authentic_data = true;
        for (owner, ttl, data) in records {
            let record = Record::from_rdata(name(owner), *ttl, data.clone());
            if matches!(data, RData::SOA(_)) {
                message.add_authority(record);
            } else {
                message.add_answer(record);
            }
        }
        message.to_vec().expect("encodable")
    }

    fn a(octets: [u8; 4]) -> RData {
        RData::A(A(octets.into()))
    }

    fn aaaa(text: &str) -> RData {
        RData::AAAA(AAAA(text.parse().expect("an address")))
    }

    fn soa(minimum: u32) -> RData {
        RData::SOA(SOA::new(name("ns.test."), name("mail.test."), 1, 2, 3, 4, minimum))
    }

    fn addresses(message: &[u8]) -> Vec<(String, u32)> {
        let message = Message::from_vec(message).expect("a message");
        assert_eq!(message.queries[0].query_type(), RecordType::AAAA);
        let found = message.answers.iter().filter_map(|record| match record.data {
            RData::AAAA(AAAA(v6)) => Some((v6.to_string(), record.ttl)),
            _ => None,
        });
        found.collect()
    }

    const NONE: ResponseCode = ResponseCode::NoError;

    fn dns64() -> Dns64 {
        Dns64::new(Pref64::WELL_KNOWN)
    }

    #[test]
    fn true_addresses_and_missing_names_stay() {
        let real = answer("w.test.", RecordType::AAAA, NONE, &[("w.test.", 60, aaaa("2600::1"))]);
        assert_eq!(dns64().usable(&real), Some(real));
        let missing = answer("w.test.", RecordType::AAAA, ResponseCode::NXDomain, &[("test.", 60, soa(60))]);
        assert_eq!(dns64().usable(&missing), Some(missing));
        let both = [("w.test.", 60, aaaa("::ffff:8.8.8.8")), ("w.test.", 60, aaaa("2600::1"))];
        let kept = dns64().usable(&answer("w.test.", RecordType::AAAA, NONE, &both)).expect("an address is left");
        assert_eq!(addresses(&kept), [("2600::1".to_owned(), 60)]);
    }

    #[test]
    fn ipv4_addresses_are_translated_with_their_aliases() {
        let none = answer("w.test.", RecordType::AAAA, NONE, &[("test.", 900, soa(40))]);
        let mapped = answer("w.test.", RecordType::AAAA, NONE, &[("w.test.", 60, aaaa("::ffff:8.8.8.8"))]);
        let failed = answer("w.test.", RecordType::AAAA, ResponseCode::ServFail, &[]);
        let chain = [("w.test.", 3600, RData::CNAME(CNAME(name("c.test.")))), ("c.test.", 3600, a([8, 8, 8, 8]))];
        let four = answer("w.test.", RecordType::A, NONE, &chain);
        for (six, ttl) in [(none, 40), (mapped, 600), (failed, 600)] {
            assert_eq!(dns64().usable(&six), None);
            let made = dns64().synthesize(&six, &four);
            assert_eq!(addresses(&made), [("64:ff9b::808:808".to_owned(), ttl)]);
            let made = Message::from_vec(&made).expect("a message");
            assert!(matches!(&made.answers[0].data, RData::CNAME(target) if target.0 == name("c.test.")));
            assert!(!made.metadata.authentic_data && made.metadata.id == 7);
        }
    }

    #[test]
    fn where_there_is_nothing_to_translate_the_first_answer_stands() {
        let none = answer("w.test.", RecordType::AAAA, NONE, &[("test.", 900, soa(40))]);
        let private = answer("w.test.", RecordType::A, NONE, &[("w.test.", 60, a([10, 0, 0, 1]))]);
        let failed = answer("w.test.", RecordType::A, ResponseCode::ServFail, &[]);
        for four in [private.as_slice(), &failed, b"rubbish"] {
            assert_eq!(dns64().synthesize(&none, four), none);
        }
        let own = Dns64::new(Pref64::new("fd00:64::/96".parse().expect("a prefix")).expect("a length"));
        assert_eq!(addresses(&own.synthesize(&none, &private)), [("fd00:64::a00:1".to_owned(), 40)]);
    }

    #[test]
    fn only_queries_for_aaaa_and_for_our_addresses_are_touched() {
        let plan = |about, kind, change: fn(&mut Message)| dns64().plan(&query(about, kind, change));
        assert!(matches!(plan("w.test.", RecordType::AAAA, |_| {}), Plan::Synthesize));
        assert!(matches!(plan("w.test.", RecordType::A, |_| {}), Plan::Pass));
        let validating = |message: &mut Message| {
            message.metadata.checking_disabled = true;
            let mut edns = Edns::new();
            edns.set_dnssec_ok(true);
            message.set_edns(edns);
        };
        assert!(matches!(plan("w.test.", RecordType::AAAA, validating), Plan::Pass));
        let foreign = "1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.6.2.ip6.arpa.";
        assert!(matches!(plan(foreign, RecordType::PTR, |_| {}), Plan::Pass));
    }

    #[test]
    fn the_prefix_can_be_found_by_name() {
        let Plan::Answer(made) = dns64().plan(&query("ipv4only.arpa.", RecordType::AAAA, |_| {})) else {
            panic!("it is answered here")
        };
        let found: Vec<_> = addresses(&made).into_iter().map(|(address, _)| address).collect();
        assert_eq!(found, ["64:ff9b::c000:aa", "64:ff9b::c000:ab"]);
    }

    #[test]
    fn a_synthesized_address_has_the_name_of_its_ipv4_address() {
        let about = "1.2.8.0.8.0.8.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.b.9.f.f.4.6.0.0.ip6.arpa.";
        let asked = query(about, RecordType::PTR, |_| {});
        let Plan::Reverse(reverse) = dns64().plan(&asked) else { panic!("it is ours") };
        assert_eq!(reverse.name, "33.8.8.8.in-addr.arpa");
        let owner = format!("{}.", reverse.name);
        let found = answer(&owner, RecordType::PTR, NONE, &[(&owner, 60, RData::PTR(PTR(name("host.test."))))]);
        let made = Message::from_vec(&dns64().reverse(&asked, &reverse, &found)).expect("a message");
        assert_eq!((made.queries[0].name(), made.answers.len()), (&name(about), 2));
        assert!(matches!(&made.answers[0].data, RData::CNAME(target) if target.0 == name(&owner)));
        assert_eq!(made.answers[0].name, name(about));
    }

    #[test]
    fn octets_that_are_no_message_are_passed_on() {
        let whole = answer("w.test.", RecordType::AAAA, NONE, &[("w.test.", 60, aaaa("2600::1"))]);
        for end in 0..whole.len() {
            assert_eq!(dns64().usable(&whole[..end]).as_deref(), Some(&whole[..end]), "{end} octets");
            assert_eq!(dns64().synthesize(&whole, &whole[..end]), whole);
        }
    }
}

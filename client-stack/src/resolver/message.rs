//! DNS messages (RFC 1035), by hickory-proto.

use std::net::IpAddr;
use std::time::Duration;

use hickory_proto::op::{Edns, Message, MessageType, OpCode, Query, ResponseCode};
use hickory_proto::rr::{DNSClass, Name, RData, RecordType};

use crate::ResolveError;

/// Names of one CNAME chain.
const MAX_CHAIN: usize = 16;

/// No answer is believed for longer (RFC 2308 section 5 for the negative ones).
const MAX_TTL: u32 = 86_400;
const MAX_NEGATIVE_TTL: u32 = 300;

/// Octets of UDP payload that we take (RFC 6891); in the tunnel nothing is fragmented.
const UDP_PAYLOAD: u16 = 4096;

/// One thing that is asked for.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Question {
    /// In lower case and absolute.
    pub name: Name,
    /// True for A, false for AAAA.
    pub ipv4: bool,
}

impl Question {
    fn record_type(&self) -> RecordType {
        if self.ipv4 { RecordType::A } else { RecordType::AAAA }
    }
}

/// What a response says about a question.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Answer {
    /// Addresses, or that there are none, and for how long that holds.
    Final(Result<Vec<IpAddr>, ResolveError>, Duration),
    /// The name is another name, whose addresses the response does not hold.
    Alias(Name),
    /// The response was cut short: ask by TCP.
    Truncated,
    /// The server does not understand EDNS: ask without.
    NoEdns,
    /// The server failed or refuses: ask another.
    Failed,
}

/// A host name as a program gives it, absolute and in lower case; `None` where it is none.
pub(super) fn parse_name(name: &str) -> Option<Name> {
    let name = name.strip_suffix('.').unwrap_or(name);
    if name.is_empty() || name.len() > 253 || name.split('.').any(|label| label.is_empty()) {
        return None;
    }
    let mut name = Name::from_utf8(name).ok()?.to_lowercase();
    name.set_fqdn(true);
    Some(name)
}

/// The query; `None` where it cannot be encoded.
pub(super) fn encode(question: &Question, id: u16, edns: bool) -> Option<Vec<u8>> {
    let mut message = Message::new(id, MessageType::Query, OpCode::Query);
    message.metadata.recursion_desired = true;
    message.add_query(Query::query(question.name.clone(), question.record_type()));
    if edns {
        let mut options = Edns::new();
        options.set_max_payload(UDP_PAYLOAD).set_version(0);
        message.set_edns(options);
    }
    message.to_vec().ok()
}

/// Reads a response; `None` where it is none to this query (RFC 5452 section 9.1).
pub(super) fn decode(message: &[u8], question: &Question, id: u16, edns: bool) -> Option<Answer> {
    let message = Message::from_vec(message).ok()?;
    let head = &message.metadata;
    if head.id != id || head.message_type != MessageType::Response || head.op_code != OpCode::Query {
        return None;
    }
    if head.response_code == ResponseCode::FormErr && edns {
        return Some(Answer::NoEdns);
    }
    let [asked] = message.queries.as_slice() else { return None };
    let same = asked.name().to_lowercase() == question.name
        && asked.query_type() == question.record_type()
        && asked.query_class() == DNSClass::IN;
    if !same {
        return None;
    }
    if head.truncation {
        return Some(Answer::Truncated);
    }
    Some(match head.response_code {
        ResponseCode::NoError => addresses(&message, question),
        ResponseCode::NXDomain => negative(&message, ResolveError::NotFound),
        _ => Answer::Failed,
    })
}

/// Follows the chain of CNAMEs from the asked name to addresses.
fn addresses(message: &Message, question: &Question) -> Answer {
    let mut name = question.name.clone();
    let mut ttl = MAX_TTL;
    for _ in 0..MAX_CHAIN {
        let mut found = Vec::new();
        let mut alias = None;
        for record in message.answers.iter().filter(|record| record.name.to_lowercase() == name) {
            match &record.data {
                RData::A(address) if question.ipv4 => found.push(IpAddr::V4(address.0)),
                RData::AAAA(address) if !question.ipv4 => found.push(IpAddr::V6(address.0)),
                RData::CNAME(target) => alias = Some(target.0.to_lowercase()),
                _ => continue,
            }
            ttl = ttl.min(record.ttl);
        }
        if !found.is_empty() {
            return Answer::Final(Ok(found), Duration::from_secs(ttl.into()));
        }
        match alias {
            Some(target) => name = target,
            None if name == question.name => return negative(message, ResolveError::NoData),
            // The chain may end with "no such address", which the SOA vouches for, or just break off.
            None if has_soa(message) => return negative(message, ResolveError::NoData),
            None => return Answer::Alias(name),
        }
    }
    Answer::Failed
}

fn has_soa(message: &Message) -> bool {
    message.authorities.iter().any(|record| matches!(record.data, RData::SOA(_)))
}

/// For how long "no" holds (RFC 2308 section 5): as the SOA says, and without one not at all.
fn negative(message: &Message, error: ResolveError) -> Answer {
    let ttl = message.authorities.iter().find_map(|record| match &record.data {
        RData::SOA(soa) => Some(record.ttl.min(soa.minimum).min(MAX_NEGATIVE_TTL)),
        _ => None,
    });
    Answer::Final(Err(error), Duration::from_secs(ttl.unwrap_or(0).into()))
}

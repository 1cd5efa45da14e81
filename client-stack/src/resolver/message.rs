//! DNS messages (RFC 1035), by the crate `domain`.

use std::net::IpAddr;
use std::time::Duration;

use domain::base::iana::{Class, Opcode, Rcode, Rtype};
use domain::base::message_builder::MessageBuilder;
use domain::base::name::{NameBuilder, ToName};
use domain::base::{Message, Question as Entry};
use domain::rdata::{A, Aaaa, Cname, Soa};

use crate::ResolveError;

/// An absolute name. Names are compared without regard to case.
pub(super) type Name = domain::base::Name<Vec<u8>>;

/// Names of one CNAME chain.
const MAX_CHAIN: usize = 16;

/// No answer is believed for longer (RFC 2308 section 5 for the negative ones).
const MAX_TTL: u32 = 86_400;
const MAX_NEGATIVE_TTL: u32 = 300;

/// Octets of UDP payload that we take (RFC 6891); in the tunnel nothing is fragmented.
const UDP_PAYLOAD: u16 = 4096;

/// One thing that is asked for.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Question {
    pub name: Name,
    /// True for A, false for AAAA.
    pub ipv4: bool,
}

impl Question {
    fn record_type(&self) -> Rtype {
        if self.ipv4 { Rtype::A } else { Rtype::AAAA }
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

/// A host name as a program gives it; `None` where it is none. Names in other scripts than ASCII come as A-labels (RFC
/// 5890 section 2.3.2.1).
pub(super) fn parse_name(name: &str) -> Option<Name> {
    labels(name)?.into_name().ok()
}

/// A name below a search domain.
pub(super) fn join(name: &str, domain: &Name) -> Option<Name> {
    labels(name)?.append_origin(domain).ok()
}

fn labels(name: &str) -> Option<NameBuilder<Vec<u8>>> {
    let name = name.strip_suffix('.').unwrap_or(name);
    let mut builder = NameBuilder::new_vec();
    for label in name.split('.') {
        if label.is_empty() || !label.bytes().all(|octet| octet.is_ascii_graphic()) {
            return None;
        }
        builder.append_label(label.to_ascii_lowercase().as_bytes()).ok()?;
    }
    Some(builder)
}

/// The query; `None` where it cannot be encoded.
pub(super) fn encode(question: &Question, id: u16, edns: bool) -> Option<Vec<u8>> {
    let mut builder = MessageBuilder::new_vec();
    builder.header_mut().set_id(id);
    builder.header_mut().set_rd(true);
    let mut builder = builder.question();
    builder.push((&question.name, question.record_type())).ok()?;
    let mut builder = builder.additional();
    if edns {
        let options = builder.opt(|options| {
            options.set_udp_payload_size(UDP_PAYLOAD);
            Ok(())
        });
        options.ok()?;
    }
    Some(builder.finish())
}

/// Reads a response; `None` where it is none to this query (RFC 5452 section 9.1).
pub(super) fn decode(message: &[u8], question: &Question, id: u16, edns: bool) -> Option<Answer> {
    let message = Message::from_slice(message).ok()?;
    let head = message.header();
    if head.id() != id || !head.qr() || head.opcode() != Opcode::QUERY {
        return None;
    }
    if head.rcode() == Rcode::FORMERR && edns {
        return Some(Answer::NoEdns);
    }
    let asked = message.sole_question().ok()?;
    if asked != Entry::new(&question.name, question.record_type(), Class::IN) {
        return None;
    }
    if head.tc() {
        return Some(Answer::Truncated);
    }
    match head.rcode() {
        Rcode::NOERROR => addresses(message, question),
        Rcode::NXDOMAIN => negative(message, ResolveError::NotFound),
        _ => Some(Answer::Failed),
    }
}

/// Follows the chain of CNAMEs from the asked name to addresses; `None` where the message is malformed.
fn addresses(message: &Message<[u8]>, question: &Question) -> Option<Answer> {
    let mut name = question.name.clone();
    let mut ttl = MAX_TTL;
    for _ in 0..MAX_CHAIN {
        let mut found = Vec::new();
        let mut alias = None;
        for record in message.answer().ok()? {
            let record = record.ok()?;
            if record.class() != Class::IN || !record.owner().name_eq(&name) {
                continue;
            }
            match record.rtype() {
                Rtype::A if question.ipv4 => found.push(IpAddr::V4(record.to_record::<A>().ok()??.data().addr())),
                Rtype::AAAA if !question.ipv4 => {
                    found.push(IpAddr::V6(record.to_record::<Aaaa>().ok()??.data().addr()))
                }
                Rtype::CNAME => alias = Some(record.to_record::<Cname<_>>().ok()??.data().cname().to_vec()),
                _ => continue,
            }
            ttl = ttl.min(record.ttl().as_secs());
        }
        if !found.is_empty() {
            return Some(Answer::Final(Ok(found), Duration::from_secs(ttl.into())));
        }
        match alias {
            Some(target) => name = target,
            // The chain may end with "no such address", which the SOA vouches for, or just break off.
            None if name == question.name || negative_ttl(message)?.is_some() => {
                return negative(message, ResolveError::NoData);
            }
            None => return Some(Answer::Alias(name)),
        }
    }
    Some(Answer::Failed)
}

/// "No", for as long as the SOA says, and without one not at all.
fn negative(message: &Message<[u8]>, error: ResolveError) -> Option<Answer> {
    let ttl = negative_ttl(message)?.unwrap_or(0);
    Some(Answer::Final(Err(error), Duration::from_secs(ttl.into())))
}

/// What the SOA says, in seconds (RFC 2308 section 5), where there is one.
fn negative_ttl(message: &Message<[u8]>) -> Option<Option<u32>> {
    let Some(soa) = message.authority().ok()?.limit_to_in::<Soa<_>>().next() else { return Some(None) };
    let soa = soa.ok()?;
    Some(Some(soa.ttl().as_secs().min(soa.data().minimum().as_secs()).min(MAX_NEGATIVE_TTL)))
}

#[cfg(test)]
mod tests {
    use domain::base::{Serial, Ttl};
    use proptest::prelude::*;

    use super::*;

    const ID: u16 = 0x1234;

    fn question() -> Question {
        Question { name: parse_name("www.example").unwrap(), ipv4: true }
    }

    /// An alias, its address and an SOA, with names compressed as servers do.
    fn response() -> Vec<u8> {
        use domain::base::StaticCompressor;
        let (asked, target) = (question().name, parse_name("Host.example").unwrap());
        let mut builder = MessageBuilder::from_target(StaticCompressor::new(Vec::new())).unwrap();
        builder.header_mut().set_id(ID);
        builder.header_mut().set_qr(true);
        let mut builder = builder.question();
        builder.push((&asked, Rtype::A)).unwrap();
        let mut builder = builder.answer();
        builder.push((&asked, 300, Cname::new(&target))).unwrap();
        builder.push((&target, 60, A::from_octets(192, 0, 2, 1))).unwrap();
        let mut builder = builder.authority();
        let soa = Soa::new(&target, &target, Serial(1), Ttl::ZERO, Ttl::ZERO, Ttl::ZERO, Ttl::from_secs(30));
        builder.push((&target, 3600, soa)).unwrap();
        builder.finish().into_target()
    }

    #[test]
    fn an_alias_is_followed_within_the_answer() {
        let addresses = Ok(vec![IpAddr::from([192, 0, 2, 1])]);
        let expected = Some(Answer::Final(addresses, Duration::from_secs(60)));
        assert_eq!(decode(&response(), &question(), ID, true), expected);
        assert_eq!(decode(&response(), &question(), ID + 1, true), None);
        assert_eq!(decode(&response(), &Question { ipv4: false, ..question() }, ID, true), None);
    }

    #[test]
    fn a_response_that_is_cut_off_gives_no_address() {
        let whole = response();
        for len in 0..whole.len() - 60 {
            let answer = decode(&whole[..len], &question(), ID, true);
            assert!(!matches!(answer, Some(Answer::Final(Ok(_), _))), "{len}");
        }
    }

    proptest! {
        #[test]
        fn no_octets_do_harm(at in any::<prop::sample::Index>(), put in any::<[u8; 3]>(), rest in any::<Vec<u8>>()) {
            let mut message = response();
            message.extend_from_slice(&rest);
            // Behind the message's number, so that it is read.
            let at = 2 + at.index(message.len() - 4);
            message[at..at + 3].copy_from_slice(&put);
            decode(&message, &question(), ID, true);
            decode(&rest, &question(), ID, true);
        }
    }
}

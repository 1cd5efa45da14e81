//! The addresses of a name, for streams, whose clients leave that to the gateway.

use super::Forwarder;
use super::message::Query;
use hickory_proto::op::{Message, MessageType, OpCode, Query as Question};
use hickory_proto::rr::{Name, RData, RecordType};
use hickory_proto::serialize::binary::BinEncodable;
use std::net::IpAddr;

/// Addresses of a name that are made use of.
const MOST: usize = 16;

impl Forwarder {
    /// The addresses of `name`, or the one that it is, in the order in which they are to be tried (RFC 8305 section 4): IPv6
    /// first, then in turn. None where the name has none, or cannot be.
    pub async fn addresses(&self, name: &str) -> Vec<IpAddr> {
        if let Ok(address) = name.trim_matches(['[', ']']).parse() {
            return vec![address];
        }
        let (v6, v4) = tokio::join!(self.lookup(name, RecordType::AAAA), self.lookup(name, RecordType::A));
        let (mut v6, mut v4) = (v6.into_iter(), v4.into_iter());
        let mut all = Vec::new();
        while all.len() < MOST {
            let before = all.len();
            all.extend(v6.next().into_iter().chain(v4.next()));
            if all.len() == before {
                break;
            }
        }
        all
    }

    async fn lookup(&self, name: &str, kind: RecordType) -> Vec<IpAddr> {
        let Some(query) = question(name, kind).and_then(|message| Query::parse(&message).ok()) else {
            return Vec::new();
        };
        let answer = self.resolve(&query).await;
        let Ok(answer) = Message::from_vec(&answer) else { return Vec::new() };
        let addresses = answer.answers.iter().filter_map(|record| match &record.data {
            RData::A(address) => Some(IpAddr::V4(address.0)),
            RData::AAAA(address) => Some(IpAddr::V6(address.0)),
            _ => None,
        });
        addresses.collect()
    }
}

fn question(name: &str, kind: RecordType) -> Option<Vec<u8>> {
    let mut name = Name::from_utf8(name).ok()?;
    name.set_fqdn(true);
    let mut message = Message::new(0, MessageType::Query, OpCode::Query);
    message.metadata.recursion_desired = true;
    message.add_query(Question::query(name, kind));
    message.to_bytes().ok()
}

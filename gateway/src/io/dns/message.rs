//! As much of a DNS message (RFC 1035 section 4) as a forwarder has to understand: the header, the question, and the
//! size that EDNS announces.

/// The size of the header in octets.
const HEADER: usize = 12;
/// What a client without EDNS takes over UDP (RFC 1035 section 4.2.1).
pub(super) const TYPICAL_UDP_LEN: usize = 512;
const FORMERR: u8 = 1;
const SERVFAIL: u8 = 2;
const NOTIMP: u8 = 4;
const TYPE_OPT: u16 = 41;

/// A query with one question.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Query {
    /// The whole message.
    pub message: Vec<u8>,
    /// The name asked for, in lower case, without the dot at its end.
    pub name: String,
    /// The largest answer that the client takes over UDP, in octets.
    pub udp_len: usize,
    /// Where the question ends.
    question_end: usize,
}

/// A domain in the form of [`Query::name`].
pub(super) fn normalise(name: &str) -> String {
    name.trim_matches('.').to_ascii_lowercase()
}

fn u16_at(message: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_be_bytes(message.get(at..at + 2)?.try_into().ok()?))
}

impl Query {
    /// Reads a client's message.
    ///
    /// # Errors
    /// The answer that refuses it, or none where it is an answer itself or too short to be answered.
    pub(super) fn parse(message: &[u8]) -> Result<Self, Option<Vec<u8>>> {
        let Some(flags) = message.get(2).filter(|flags| message.len() >= HEADER && *flags & 0x80 == 0) else {
            return Err(None);
        };
        if flags & 0x78 != 0 {
            return Err(Some(bare_answer(message, NOTIMP)));
        }
        let formerr = || Some(bare_answer(message, FORMERR));
        if u16_at(message, 4) != Some(1) {
            return Err(formerr());
        }
        let (name, end) = read_name(message, HEADER).ok_or_else(formerr)?;
        let question_end = end + 4;
        if message.len() < question_end {
            return Err(formerr());
        }
        let udp_len = edns_len(message, question_end).unwrap_or(TYPICAL_UDP_LEN).max(TYPICAL_UDP_LEN);
        Ok(Self { message: message.to_vec(), name, udp_len, question_end })
    }

    /// The type that is asked for (RFC 1035 section 3.2.3).
    pub(super) fn question_type(&self) -> u16 {
        u16_at(&self.message, self.question_end - 4).unwrap_or(0)
    }

    /// The same query for another type.
    pub(super) fn with_type(&self, question_type: u16) -> Self {
        let mut query = self.clone();
        query.message[self.question_end - 4..self.question_end - 2].copy_from_slice(&question_type.to_be_bytes());
        query
    }

    /// The message with another id, for a resolver.
    pub(super) fn with_id(&self, id: u16) -> Vec<u8> {
        let mut message = self.message.clone();
        message[..2].copy_from_slice(&id.to_be_bytes());
        message
    }

    /// True where `answer` is one to this question under `id` (RFC 5452 section 9.1). Resolvers may change the case.
    pub(super) fn is_answered_by(&self, answer: &[u8], id: u16) -> bool {
        let question = &self.message[HEADER..self.question_end];
        u16_at(answer, 0) == Some(id)
            && answer.get(2).is_some_and(|flags| flags & 0x80 != 0)
            && u16_at(answer, 4) == Some(1)
            && answer.get(HEADER..self.question_end).is_some_and(|it| it.eq_ignore_ascii_case(question))
    }

    /// Gives an answer the client's id.
    pub(super) fn restore_id(&self, answer: &mut [u8]) {
        answer[..2].copy_from_slice(&self.message[..2]);
    }

    /// SERVFAIL, for when no resolver answers.
    pub(super) fn failure(&self) -> Vec<u8> {
        self.reply(self.message[2] | 0x80, 0x80 | SERVFAIL)
    }

    /// The header of `answer` and the question, with TC set (RFC 2181 section 9: what is cut is left out altogether).
    pub(super) fn truncated(&self, answer: &[u8]) -> Vec<u8> {
        self.reply(answer[2] | 0x02, answer[3])
    }

    fn reply(&self, flags_high: u8, flags_low: u8) -> Vec<u8> {
        let mut reply = self.message[..self.question_end].to_vec();
        reply[2] = flags_high;
        reply[3] = flags_low;
        reply[6..HEADER].fill(0);
        reply
    }
}

/// True where the answer was cut (TC).
pub(super) fn is_truncated(answer: &[u8]) -> bool {
    answer.get(2).is_some_and(|flags| flags & 0x02 != 0)
}

/// A header alone, for what cannot be read.
fn bare_answer(message: &[u8], code: u8) -> Vec<u8> {
    let mut reply = message[..HEADER].to_vec();
    reply[2] |= 0x80;
    reply[3] = 0x80 | code;
    reply[4..].fill(0);
    reply
}

/// The name at `at`, and where it ends. A question has nothing before it that compression could point to.
fn read_name(message: &[u8], mut at: usize) -> Option<(String, usize)> {
    let mut name = String::new();
    loop {
        let len = usize::from(*message.get(at)?);
        at += 1;
        match len {
            0 => return Some((name, at)),
            1..=63 if name.len() + len < 255 => {
                if !name.is_empty() {
                    name.push('.');
                }
                // Octets that are no ASCII, and dots within a label, match no zone; how they look does not matter.
                name.extend(message.get(at..at + len)?.iter().map(|octet| char::from(octet.to_ascii_lowercase())));
                at += len;
            }
            _ => return None,
        }
    }
}

/// The UDP size in the OPT record (RFC 6891 section 6.1.2). In a query without answers it is among the first additional
/// records, and mostly the only one.
fn edns_len(message: &[u8], mut at: usize) -> Option<usize> {
    if u16_at(message, 6)? != 0 || u16_at(message, 8)? != 0 {
        return None;
    }
    for _ in 0..u16_at(message, 10)?.min(8) {
        let (_, end) = read_name(message, at)?;
        if u16_at(message, end)? == TYPE_OPT {
            return u16_at(message, end + 2).map(usize::from);
        }
        at = end + 10 + usize::from(u16_at(message, end + 8)?);
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A query for `a.Test`, type A, and an OPT record with the size `udp_len`.
    fn query(udp_len: u16) -> Vec<u8> {
        let mut message = vec![0x12, 0x34, 0x01, 0x00, 0, 1, 0, 0, 0, 0, 0, 1];
        message.extend(b"\x01a\x04Test\x00\x00\x01\x00\x01");
        message.extend([0, 0, 41]);
        message.extend(udp_len.to_be_bytes());
        message.extend([0; 6]);
        message
    }

    #[test]
    fn the_question_and_the_size_are_read() {
        let query = Query::parse(&query(4096)).expect("a query");
        assert_eq!((query.name.as_str(), query.udp_len), ("a.test", 4096));
        let small = Query::parse(&super::tests::query(100)).expect("a query");
        assert_eq!(small.udp_len, TYPICAL_UDP_LEN);
    }

    #[test]
    fn only_the_answer_to_the_question_counts() {
        let query = Query::parse(&query(1232)).expect("a query");
        let mut answer = query.with_id(7);
        assert!(!query.is_answered_by(&answer, 7), "a query is no answer");
        answer[2] |= 0x80;
        assert!(query.is_answered_by(&answer, 7));
        assert!(!query.is_answered_by(&answer, 8));
        answer[13] = b'b';
        assert!(!query.is_answered_by(&answer, 7));
    }

    #[test]
    fn answers_that_do_not_fit_are_cut_to_the_question() {
        let query = Query::parse(&query(512)).expect("a query");
        let cut = query.truncated(&[0, 0, 0x80, 0x80, 0, 0, 0, 0, 0, 0, 0, 0]);
        assert!(is_truncated(&cut) && cut.len() == query.question_end);
        assert_eq!(query.failure()[3] & 0x0f, SERVFAIL);
    }

    #[test]
    fn no_octets_make_it_panic() {
        let whole = query(1232);
        for end in 0..whole.len() {
            let _ = Query::parse(&whole[..end]);
        }
        for at in 0..whole.len() {
            for value in [0, 1, 0x3f, 0x40, 0xc0, 0xff] {
                let mut message = whole.clone();
                message[at] = value;
                if let Ok(query) = Query::parse(&message) {
                    let _ = (query.failure(), query.is_answered_by(&message, 1));
                }
            }
        }
    }
}

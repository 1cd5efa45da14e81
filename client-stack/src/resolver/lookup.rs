use std::collections::VecDeque;

use super::cache::Addresses;
use super::message::{Answer, Name, Question};
use crate::{QueryId, ResolveError};

/// Aliases that are followed by further queries.
const MAX_ALIASES: usize = 8;

/// One name that a program waits for.
pub(super) struct Lookup {
    /// Names still to be tried after the current one (search domains).
    pub candidates: VecDeque<Name>,
    pub ipv4: Option<Half>,
    pub ipv6: Option<Half>,
}

/// One family of a lookup.
pub(super) enum Half {
    Waiting { question: Question, aliases: usize },
    Done(Addresses),
}

impl Lookup {
    pub fn halves(&mut self) -> impl Iterator<Item = &mut Half> {
        self.ipv6.iter_mut().chain(&mut self.ipv4)
    }

    pub fn waits_for(&self, wanted: &Question) -> bool {
        [&self.ipv4, &self.ipv6]
            .into_iter()
            .any(|half| matches!(half, Some(Half::Waiting { question, .. }) if question == wanted))
    }

    pub fn note(&mut self, wanted: &Question, answer: &Answer, id: QueryId) -> QueryId {
        for half in self.halves() {
            let Half::Waiting { question, aliases } = half else { continue };
            if question != wanted {
                continue;
            }
            match answer {
                Answer::Final(addresses, _) => *half = Half::Done(addresses.clone()),
                Answer::Alias(name) if *aliases < MAX_ALIASES => {
                    question.name = name.clone();
                    *aliases += 1;
                }
                _ => *half = Half::Done(Err(ResolveError::ServerFailure)),
            }
        }
        id
    }

    /// Once both families are known: IPv6 addresses, then IPv4 ones; without any, the error that says most.
    pub fn result(&mut self) -> Option<Addresses> {
        let mut addresses = Vec::new();
        let mut error = None;
        for half in self.halves() {
            match half {
                Half::Waiting { .. } => return None,
                Half::Done(Ok(found)) => addresses.extend_from_slice(found),
                // A family that has nothing says less than one that could not be asked.
                Half::Done(Err(ResolveError::NoData)) => error = error.or(Some(ResolveError::NoData)),
                Half::Done(Err(other)) => error = Some(*other),
            }
        }
        if addresses.is_empty() { Some(Err(error.unwrap_or(ResolveError::NoData))) } else { Some(Ok(addresses)) }
    }

    /// Goes on with the next search domain where the current name was not found; false where there is none.
    pub fn next_candidate(&mut self, addresses: &Addresses) -> bool {
        if !matches!(addresses, Err(ResolveError::NotFound | ResolveError::NoData)) {
            return false;
        }
        let Some(name) = self.candidates.pop_front() else { return false };
        for (half, ipv4) in [(&mut self.ipv4, true), (&mut self.ipv6, false)] {
            if let Some(half) = half {
                *half = Half::Waiting { question: Question { name: name.clone(), ipv4 }, aliases: 0 };
            }
        }
        true
    }
}

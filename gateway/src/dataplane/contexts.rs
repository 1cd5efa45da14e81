//! The contexts that a client has opened beside context 0 (wire/README.md section 6). They live as long as the session.

use webtun_wire::ContextKind;

/// Contexts of one session at most; further offers are declined.
const MAX_CONTEXTS: usize = 16;

/// The open contexts of one session, all of kind OFFLOAD, in the order in which they were opened.
#[derive(Debug, Default)]
pub(super) struct Contexts(Vec<u64>);

impl Contexts {
    /// Takes an offer. True: the context is open; false: it is declined.
    pub(super) fn offer(&mut self, context: u64, kind: u64, allowed: bool) -> bool {
        let is_open = self.contains(context);
        let is_opened = !is_open && allowed && kind == ContextKind::Offload as u64 && self.0.len() < MAX_CONTEXTS;
        if is_opened {
            self.0.push(context);
        }
        is_open || is_opened
    }

    /// Whether a context is offered that is open as something else.
    pub(super) fn differs(&self, context: u64, kind: u64) -> bool {
        self.contains(context) && kind != ContextKind::Offload as u64
    }

    pub(super) fn close(&mut self, context: u64) {
        self.0.retain(|open| *open != context);
    }

    pub(super) fn contains(&self, context: u64) -> bool {
        self.0.contains(&context)
    }

    /// The one in which packets go to the client.
    pub(super) fn first(&self) -> Option<u64> {
        self.0.first().copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn offers_are_taken_up_to_the_bound() {
        let mut contexts = Contexts::default();
        for context in (2..).step_by(2).take(MAX_CONTEXTS) {
            assert!(contexts.offer(context, 1, true));
        }
        assert!(!contexts.offer(100, 1, true));
        assert!(contexts.offer(4, 1, true));
        contexts.close(2);
        assert_eq!((contexts.first(), contexts.contains(2)), (Some(4), false));
        assert!(!contexts.offer(100, 2, true));
        assert!(contexts.offer(100, 1, true));
        assert!(contexts.offer(4, 1, false) && !contexts.offer(102, 1, false));
        assert!(contexts.differs(4, 2) && !contexts.differs(4, 1) && !contexts.differs(102, 2));
    }
}

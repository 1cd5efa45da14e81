//! Thousands of sockets behind one descriptor that the runtime watches.

use super::super::tun::watch_poll;
use mio::event::{Event, Source};
use mio::{Events, Interest, Poll, Token};
use std::io;
use tokio::io::unix::AsyncFd;
use webtun_stack::SocketId;

/// Events taken at once.
const EVENTS: usize = 256;

/// Whose a socket is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Owner {
    Stream(SocketId),
    Datagram(u32),
    Listener(u32),
}

impl Owner {
    fn token(self) -> Token {
        let (kind, number) = match self {
            Self::Stream(id) => (0, id.get()),
            Self::Datagram(number) => (1, number),
            Self::Listener(number) => (2, number),
        };
        Token((number as usize) << 2 | kind)
    }

    fn of(token: Token) -> Self {
        let number = (token.0 >> 2) as u32;
        match token.0 & 3 {
            0 => Self::Stream(SocketId::from_u32(number)),
            1 => Self::Datagram(number),
            _ => Self::Listener(number),
        }
    }
}

/// What has happened to a socket. It stays so until a call says `WouldBlock`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Readiness {
    pub readable: bool,
    pub writable: bool,
}

impl From<&Event> for Readiness {
    fn from(event: &Event) -> Self {
        let failed = event.is_error() || event.is_read_closed() || event.is_write_closed();
        Self { readable: event.is_readable() || failed, writable: event.is_writable() || failed }
    }
}

pub(super) struct Poller {
    poll: AsyncFd<Poll>,
    events: Events,
    /// There may be events that were not taken.
    pending: bool,
}

impl Poller {
    pub fn new() -> io::Result<Self> {
        Ok(Self { poll: watch_poll(Poll::new()?)?, events: Events::with_capacity(EVENTS), pending: true })
    }

    pub fn add(&self, source: &mut impl Source, owner: Owner) -> io::Result<()> {
        let interest = match owner {
            Owner::Stream(_) => Interest::READABLE | Interest::WRITABLE,
            Owner::Datagram(_) | Owner::Listener(_) => Interest::READABLE,
        };
        self.poll.get_ref().registry().register(source, owner.token(), interest)
    }

    /// Waits until there are events.
    pub async fn ready(&mut self) -> io::Result<()> {
        if !self.pending {
            // Cleared before the events are taken: those that come later make it ready again.
            self.poll.readable().await?.clear_ready();
            self.pending = true;
        }
        Ok(())
    }

    pub fn is_pending(&self) -> bool {
        self.pending
    }

    /// The events of this moment, some of them.
    pub fn take(&mut self) -> io::Result<Vec<(Owner, Readiness)>> {
        if !self.pending {
            return Ok(Vec::new());
        }
        match self.poll.get_mut().poll(&mut self.events, Some(std::time::Duration::ZERO)) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::Interrupted => return Ok(Vec::new()),
            Err(error) => return Err(error),
        }
        let taken: Vec<_> = self.events.iter().map(|event| (Owner::of(event.token()), event.into())).collect();
        self.pending = taken.len() == EVENTS;
        Ok(taken)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_name_their_owners() {
        for number in [0, 1, u32::MAX] {
            let owners = [Owner::Stream(SocketId::from_u32(number)), Owner::Datagram(number), Owner::Listener(number)];
            for owner in owners {
                assert_eq!(Owner::of(owner.token()), owner);
            }
        }
    }
}

//! One request and its response.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::future::{Future, poll_fn};
use std::rc::Rc;
use std::task::{Poll, Waker};

use bytes::Bytes;
use http::Response;
use http_body::Body;
use http_body_util::BodyExt;
use hyper::body::Incoming;

use crate::connection::ResponseHead;
use crate::failure::Failure;
use crate::head;

/// What has happened to an exchange.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EventKind {
    /// The response's head is there.
    Head = 1,
    /// There is data where there was none.
    Data = 2,
    /// The response is whole.
    End = 3,
    /// It failed; nothing follows.
    Failed = 4,
    /// The request's body has room for a chunk.
    Wanted = 5,
}

/// An event and the exchange that it is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Event {
    /// The exchange.
    pub id: u32,
    /// What has happened.
    pub kind: EventKind,
}

/// Events on their way to the caller. Each exchange adds a handful: data is told once until it is taken.
pub type Events = Rc<RefCell<VecDeque<Event>>>;

/// What the caller reads.
#[derive(Default)]
pub struct Inbox {
    /// The head, until it is taken.
    pub head: Option<ResponseHead>,
    chunks: VecDeque<Bytes>,
    /// Octets that the caller wants, beyond those that wait. Negative after a chunk that was longer.
    credit: i64,
    waker: Option<Waker>,
    /// Why there is no more.
    pub failure: Option<Failure>,
}

impl Inbox {
    /// The caller wants `octets` more.
    pub fn want(&mut self, octets: usize) {
        self.credit = self.credit.saturating_add_unsigned(octets as u64);
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }

    /// The next chunk.
    pub fn take(&mut self) -> Option<Bytes> {
        self.chunks.pop_front()
    }
}

/// Follows an exchange from its response's first octet to the last.
pub struct Follower {
    /// Of the exchange.
    pub id: u32,
    /// Shared with the caller.
    pub inbox: Rc<RefCell<Inbox>>,
    /// Shared with all exchanges.
    pub events: Events,
}

impl Follower {
    /// Runs to the end.
    pub async fn run(self, response: impl Future<Output = hyper::Result<Response<Incoming>>>) {
        let kind = match self.follow(response).await {
            Ok(()) => EventKind::End,
            Err(failure) => {
                self.inbox.borrow_mut().failure = Some(failure);
                EventKind::Failed
            }
        };
        self.tell(kind);
    }

    async fn follow(&self, response: impl Future<Output = hyper::Result<Response<Incoming>>>) -> Result<(), Failure> {
        let (parts, mut body) = response.await?.into_parts();
        let head = ResponseHead { status: parts.status.as_u16(), fields: head::fields(&parts.headers) };
        self.inbox.borrow_mut().head = Some(head);
        self.tell(EventKind::Head);
        // The end of a body that has nothing in it is not waited for: nobody may ever read it.
        if body.is_end_stream() {
            return Ok(());
        }
        let (length, mut received) = (body.size_hint().exact(), 0);
        while !body.is_end_stream() {
            self.credit().await;
            let Some(frame) = body.frame().await else { break };
            // Trailers have no place in a Response.
            let Ok(data) = frame?.into_data() else { continue };
            received += data.len() as u64;
            self.deliver(data);
        }
        // A stream of HTTP/2 that is reset without an error looks like one that has ended.
        if length.is_some_and(|length| length != received) { Err(Failure::incomplete()) } else { Ok(()) }
    }

    fn deliver(&self, data: Bytes) {
        if data.is_empty() {
            return;
        }
        let mut inbox = self.inbox.borrow_mut();
        inbox.credit = inbox.credit.saturating_sub_unsigned(data.len() as u64);
        inbox.chunks.push_back(data);
        if inbox.chunks.len() == 1 {
            self.tell(EventKind::Data);
        }
    }

    /// Waits until the caller wants data.
    async fn credit(&self) {
        poll_fn(|cx| {
            let mut inbox = self.inbox.borrow_mut();
            if inbox.credit > 0 {
                return Poll::Ready(());
            }
            inbox.waker = Some(cx.waker().clone());
            Poll::Pending
        })
        .await;
    }

    fn tell(&self, kind: EventKind) {
        self.events.borrow_mut().push_back(Event { id: self.id, kind });
    }
}

//! The body of a request, fed chunk by chunk.

use std::cell::RefCell;
use std::convert::Infallible;
use std::fmt;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};

/// Why a body has no end: the program has aborted it.
#[derive(Debug)]
pub struct Aborted;

impl fmt::Display for Aborted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the request's body was aborted")
    }
}

impl std::error::Error for Aborted {}

impl From<Infallible> for Aborted {
    fn from(never: Infallible) -> Self {
        match never {}
    }
}

#[derive(Default)]
struct State {
    chunk: Option<Bytes>,
    ended: bool,
    aborted: bool,
    wanted: bool,
    waker: Option<Waker>,
}

/// Where the caller puts chunks.
#[derive(Clone, Default)]
pub struct Feed(Rc<RefCell<State>>);

impl Feed {
    /// Adds a chunk, after which there is no room until [`take_wanted`](Self::take_wanted) says so.
    pub fn push(&self, chunk: Bytes) {
        self.change(|state| state.chunk = Some(chunk));
    }

    /// Nothing follows.
    pub fn end(&self) {
        self.change(|state| state.ended = true);
    }

    /// The body is not whole and never will be.
    pub fn abort(&self) {
        self.change(|state| state.aborted = true);
    }

    /// Whether the next chunk is wanted; tells it once.
    pub fn take_wanted(&self) -> bool {
        std::mem::take(&mut self.0.borrow_mut().wanted)
    }

    fn change(&self, change: impl FnOnce(&mut State)) {
        let mut state = self.0.borrow_mut();
        change(&mut state);
        state.wanted = false;
        if let Some(waker) = state.waker.take() {
            waker.wake();
        }
    }
}

/// What hyper reads.
pub struct RequestBody {
    feed: Option<Feed>,
    length: Option<u64>,
}

impl RequestBody {
    /// No body.
    pub fn none() -> Self {
        Self { feed: None, length: Some(0) }
    }

    /// The chunks of `feed`, `length` octets in all where that is known.
    pub fn fed(feed: Feed, length: Option<u64>) -> Self {
        Self { feed: Some(feed), length }
    }
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = Aborted;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Aborted>>> {
        let Some(feed) = &self.feed else { return Poll::Ready(None) };
        let mut state = feed.0.borrow_mut();
        if state.aborted {
            return Poll::Ready(Some(Err(Aborted)));
        }
        if let Some(chunk) = state.chunk.take() {
            return Poll::Ready(Some(Ok(Frame::data(chunk))));
        }
        if state.ended {
            return Poll::Ready(None);
        }
        state.wanted = true;
        state.waker = Some(cx.waker().clone());
        Poll::Pending
    }

    fn is_end_stream(&self) -> bool {
        self.feed.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        self.length.map_or_else(SizeHint::default, SizeHint::with_exact)
    }
}

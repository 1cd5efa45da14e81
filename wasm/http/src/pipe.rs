//! The transport as hyper sees it: two queues of octets, filled and emptied by the caller.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use bytes::{Buf, Bytes};
use hyper::rt::{Read, ReadBufCursor, Write};

/// Octets from the server that may wait until hyper takes them.
const INCOMING: usize = 512 * 1024;
/// Octets for the server that may wait until the caller takes them.
const OUTGOING: usize = 256 * 1024;

#[derive(Default)]
struct Queues {
    incoming: VecDeque<Bytes>,
    waiting: usize,
    ended: bool,
    outgoing: Vec<u8>,
    shut: bool,
    reader: Option<Waker>,
    writer: Option<Waker>,
}

/// Both ends of it: clones are the same pipe.
#[derive(Clone, Default)]
pub struct Pipe(Rc<RefCell<Queues>>);

impl Pipe {
    /// Octets from the server.
    pub fn push(&self, data: Bytes) {
        let mut queues = self.0.borrow_mut();
        queues.waiting += data.len();
        queues.incoming.push_back(data);
        wake(&mut queues.reader);
    }

    /// Nothing more comes from the server.
    pub fn end(&self) {
        let mut queues = self.0.borrow_mut();
        queues.ended = true;
        wake(&mut queues.reader);
    }

    /// Whether there is room for more octets from the server.
    pub fn wants_data(&self) -> bool {
        let queues = self.0.borrow();
        !queues.ended && queues.waiting < INCOMING
    }

    /// Octets for the server, all there are.
    pub fn take(&self, into: &mut Vec<u8>) {
        let mut queues = self.0.borrow_mut();
        into.clear();
        std::mem::swap(into, &mut queues.outgoing);
        wake(&mut queues.writer);
    }

    /// Whether nothing more will be sent.
    pub fn is_shut(&self) -> bool {
        let queues = self.0.borrow();
        queues.shut && queues.outgoing.is_empty()
    }
}

fn wake(waker: &mut Option<Waker>) {
    if let Some(waker) = waker.take() {
        waker.wake();
    }
}

impl Read for Pipe {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, mut buf: ReadBufCursor<'_>) -> Poll<io::Result<()>> {
        let mut queues = self.0.borrow_mut();
        if queues.incoming.is_empty() && !queues.ended {
            queues.reader = Some(cx.waker().clone());
            return Poll::Pending;
        }
        while let Some(mut front) = queues.incoming.pop_front() {
            let length = front.len().min(buf.remaining());
            buf.put_slice(front.get(..length).unwrap_or_default());
            queues.waiting -= length;
            front.advance(length);
            if !front.is_empty() {
                queues.incoming.push_front(front);
                break;
            }
        }
        Poll::Ready(Ok(()))
    }
}

impl Write for Pipe {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, data: &[u8]) -> Poll<io::Result<usize>> {
        let mut queues = self.0.borrow_mut();
        let room = OUTGOING.saturating_sub(queues.outgoing.len());
        if room == 0 {
            queues.writer = Some(cx.waker().clone());
            return Poll::Pending;
        }
        let length = data.len().min(room);
        queues.outgoing.extend_from_slice(data.get(..length).unwrap_or_default());
        Poll::Ready(Ok(length))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.0.borrow_mut().shut = true;
        Poll::Ready(Ok(()))
    }
}

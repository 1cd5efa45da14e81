//! A client's connection without a socket.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::future::Future;
use std::rc::Rc;

use bytes::Bytes;
use futures_executor::{LocalPool, LocalSpawner};
use futures_util::future::{AbortHandle, LocalFutureObj, abortable};
use futures_util::task::LocalSpawn;
use http::{Request, Response};
use hyper::body::Incoming;
use hyper::client::conn::{http1, http2};

use crate::body::{Feed, RequestBody};
use crate::exchange::{Event, EventKind, Events, Follower, Inbox};
use crate::failure::Failure;
use crate::head;
use crate::pipe::Pipe;

/// Octets that an HTTP/2 server may send on one stream before it is read, and on all together.
const STREAM_WINDOW: u32 = 1024 * 1024;
const CONNECTION_WINDOW: u32 = 4 * 1024 * 1024;
/// Of an HTTP/2 response's head.
const MAX_HEAD: u32 = 64 * 1024;
/// Octets that hyper reads ahead of an HTTP/1.1 response's reader.
const MAX_BUFFER: usize = 256 * 1024;

/// How long a request's body is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BodyLength {
    /// There is none.
    None,
    /// So many octets.
    Known(u64),
    /// The sender does not know.
    Unknown,
}

/// The head of a response.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResponseHead {
    /// RFC 9110 section 15.
    pub status: u16,
    /// Its fields: a line with the name, a line with the value.
    pub fields: String,
}

enum Sender {
    Connecting,
    Http1(http1::SendRequest<RequestBody>),
    Http2(http2::SendRequest<RequestBody>),
}

struct Exchange {
    inbox: Rc<RefCell<Inbox>>,
    feed: Feed,
    abort: AbortHandle,
}

/// Runs hyper's own tasks beside ours.
#[derive(Clone)]
struct Tasks(LocalSpawner);

impl Tasks {
    fn spawn(&self, task: impl Future<Output = ()> + 'static) {
        // It fails only where the executor is gone, and with it whoever waits for the task.
        let _ = self.0.spawn_local_obj(LocalFutureObj::new(Box::new(task)));
    }
}

impl<F: Future<Output = ()> + 'static> hyper::rt::Executor<F> for Tasks {
    fn execute(&self, task: F) {
        self.spawn(task);
    }
}

/// An HTTP connection between octets and octets.
///
/// After any call: send what [`take_outgoing`](Self::take_outgoing) gives, and take what
/// [`poll_event`](Self::poll_event) gives.
pub struct Connection {
    executor: LocalPool,
    tasks: Tasks,
    pipe: Pipe,
    sender: Rc<RefCell<Sender>>,
    exchanges: BTreeMap<u32, Exchange>,
    events: Events,
    http2: bool,
    next: u32,
}

impl Connection {
    /// A connection that is open, of HTTP/2 (RFC 9113) or HTTP/1.1 (RFC 9112).
    pub fn new(http2: bool) -> Self {
        let executor = LocalPool::new();
        let tasks = Tasks(executor.spawner());
        let pipe = Pipe::default();
        let sender = Rc::new(RefCell::new(Sender::Connecting));
        if http2 {
            tasks.spawn(drive_http2(pipe.clone(), sender.clone(), tasks.clone()));
        } else {
            tasks.spawn(drive_http1(pipe.clone(), sender.clone()));
        }
        let exchanges = BTreeMap::new();
        let mut connection =
            Self { executor, tasks, pipe, sender, exchanges, events: Events::default(), http2, next: 1 };
        connection.run();
        connection
    }

    fn run(&mut self) {
        self.executor.run_until_stalled();
    }

    /// Octets from the server.
    pub fn handle_data(&mut self, data: Bytes) {
        self.pipe.push(data);
        self.run();
    }

    /// Nothing more comes from the server.
    pub fn handle_end(&mut self) {
        self.pipe.end();
        self.run();
    }

    /// Whether more octets of the server can be kept.
    pub fn wants_data(&self) -> bool {
        self.pipe.wants_data()
    }

    /// Octets for the server, all there are, in place of what is in `into`.
    pub fn take_outgoing(&mut self, into: &mut Vec<u8>) {
        self.pipe.take(into);
        self.run();
    }

    /// Whether a request can be made: with HTTP/1.1, when none is under way.
    pub fn is_ready(&self) -> bool {
        match &*self.sender.borrow() {
            Sender::Connecting => false,
            Sender::Http1(sender) => sender.is_ready(),
            Sender::Http2(sender) => sender.is_ready(),
        }
    }

    /// Whether the connection is of no use any more.
    pub fn is_closed(&self) -> bool {
        let closed = match &*self.sender.borrow() {
            Sender::Connecting => false,
            Sender::Http1(sender) => sender.is_closed(),
            Sender::Http2(sender) => sender.is_closed(),
        };
        closed || self.pipe.is_shut()
    }

    /// Begins an exchange. `fields` are lines, a name and then its value.
    ///
    /// # Errors
    ///
    /// Where the request cannot be put into words of HTTP.
    pub fn request(&mut self, method: &str, url: &str, fields: &str, length: BodyLength) -> Result<u32, Failure> {
        let head = head::request(self.http2, method, url, fields)?;
        let feed = Feed::default();
        let body = match length {
            BodyLength::None => RequestBody::none(),
            BodyLength::Known(length) => RequestBody::fed(feed.clone(), Some(length)),
            BodyLength::Unknown => RequestBody::fed(feed.clone(), None),
        };
        let id = self.next;
        self.next = self.next.wrapping_add(1) & 0x0fff_ffff;
        let inbox = Rc::new(RefCell::new(Inbox::default()));
        let follower = Follower { id, inbox: inbox.clone(), events: self.events.clone() };
        let (task, abort) = abortable(follower.run(self.send(head::with_body(head, body))));
        self.tasks.spawn(async move {
            let _ = task.await;
        });
        self.exchanges.insert(id, Exchange { inbox, feed, abort });
        self.run();
        Ok(id)
    }

    fn send(&self, request: Request<RequestBody>) -> impl Future<Output = hyper::Result<Response<Incoming>>> + use<> {
        use futures_util::future::Either;
        match &mut *self.sender.borrow_mut() {
            Sender::Http1(sender) => Either::Left(Either::Left(sender.send_request(request))),
            Sender::Http2(sender) => Either::Left(Either::Right(sender.send_request(request))),
            // The handshake of either version waits for nothing, so this is over before the first call returns.
            Sender::Connecting => Either::Right(std::future::pending()),
        }
    }

    /// A chunk of a request's body, after [`EventKind::Wanted`].
    pub fn send_body(&mut self, id: u32, chunk: Bytes) {
        self.with_feed(id, |feed| feed.push(chunk));
    }

    /// The request's body is whole.
    pub fn finish_body(&mut self, id: u32) {
        self.with_feed(id, Feed::end);
    }

    /// The request's body never will be.
    pub fn abort_body(&mut self, id: u32) {
        self.with_feed(id, Feed::abort);
    }

    fn with_feed(&mut self, id: u32, action: impl FnOnce(&Feed)) {
        if let Some(exchange) = self.exchanges.get(&id) {
            action(&exchange.feed);
            self.run();
        }
    }

    /// The caller reads: so many octets more may be taken from the connection.
    pub fn want(&mut self, id: u32, octets: usize) {
        if let Some(exchange) = self.exchanges.get(&id) {
            exchange.inbox.borrow_mut().want(octets);
            self.run();
        }
    }

    /// The head of a response, once.
    pub fn take_head(&mut self, id: u32) -> Option<ResponseHead> {
        self.exchanges.get(&id)?.inbox.borrow_mut().head.take()
    }

    /// The next chunk of a response.
    pub fn take_chunk(&mut self, id: u32) -> Option<Bytes> {
        self.exchanges.get(&id)?.inbox.borrow_mut().take()
    }

    /// Why an exchange failed.
    pub fn failure(&self, id: u32) -> Option<Failure> {
        self.exchanges.get(&id)?.inbox.borrow().failure.clone()
    }

    /// Ends an exchange, or forgets one that is over.
    pub fn forget(&mut self, id: u32) {
        if let Some(exchange) = self.exchanges.remove(&id) {
            exchange.abort.abort();
            self.run();
        }
    }

    /// What has happened.
    pub fn poll_event(&mut self) -> Option<Event> {
        let event = self.events.borrow_mut().pop_front();
        event.or_else(|| {
            let wanted = self.exchanges.iter().find(|(_, exchange)| exchange.feed.take_wanted());
            wanted.map(|(id, _)| Event { id: *id, kind: EventKind::Wanted })
        })
    }
}

async fn drive_http1(pipe: Pipe, sender: Rc<RefCell<Sender>>) {
    let handshake = http1::Builder::new().max_buf_size(MAX_BUFFER).handshake(pipe).await;
    if let Ok((ready, connection)) = handshake {
        *sender.borrow_mut() = Sender::Http1(ready);
        // Whatever ends it, the exchanges that are under way are told.
        let _ = connection.await;
    }
}

async fn drive_http2(pipe: Pipe, sender: Rc<RefCell<Sender>>, tasks: Tasks) {
    let handshake = http2::Builder::new(tasks)
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_header_list_size(MAX_HEAD)
        // Each that is remembered is remembered for a while, and there is no clock.
        .max_concurrent_reset_streams(0)
        .handshake(pipe)
        .await;
    if let Ok((ready, connection)) = handshake {
        *sender.borrow_mut() = Sender::Http2(ready);
        let _ = connection.await;
    }
}

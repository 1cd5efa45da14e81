//! A client's connection, with TLS or without.

use super::pace::{MessageRoom, PacedStream};
use bytes::{Buf, BufMut, Bytes, BytesMut};
use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::pin::{Pin, pin};
use std::task::{Context, Poll, ready};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf};
use tokio_rustls::server::TlsStream;

/// Parts that are written by one system call: more than a message has, whose parts are long.
const PARTS_AT_ONCE: usize = 32;

/// What is below HTTP and the WebSocket.
#[derive(Debug)]
enum Carrier {
    Plain(PacedStream),
    /// Boxed, because its state is some hundred times larger.
    Tls(Box<TlsStream<PacedStream>>),
}

/// What was taken out of a connection's octets for whoever reads it.
#[derive(Debug, Default)]
struct Fed {
    octets: BytesMut,
    has_ended: bool,
}

/// A connection whose octets can be rationed.
///
/// An end without close_notify (RFC 8446 section 6.1) is an error of kind `UnexpectedEof`. That is a lost connection like
/// any other: where a WebSocket is complete, its own close frame says so.
#[derive(Debug)]
pub struct Stream {
    carrier: Carrier,
    /// Octets that may still be read; none where that does not matter.
    ration: Option<usize>,
    /// What is read from it, where that is not what comes.
    fed: Option<Fed>,
    /// What goes before everything that is written from now on.
    ahead: VecDeque<Bytes>,
    /// The last write was taken in part.
    is_torn: bool,
}

impl From<PacedStream> for Stream {
    fn from(stream: PacedStream) -> Self {
        Self::new(Carrier::Plain(stream))
    }
}

impl From<TlsStream<PacedStream>> for Stream {
    fn from(stream: TlsStream<PacedStream>) -> Self {
        Self::new(Carrier::Tls(Box::new(stream)))
    }
}

impl Stream {
    fn new(carrier: Carrier) -> Self {
        Self { carrier, ration: None, fed: None, ahead: VecDeque::new(), is_torn: false }
    }

    /// What it wants messages to be like.
    pub fn message_room(&self) -> MessageRoom {
        match &self.carrier {
            Carrier::Plain(stream) => stream.message_room(),
            Carrier::Tls(stream) => stream.get_ref().0.message_room(),
        }
    }

    /// Lets `octets` be read and then nothing more, or everything again. Whoever waits for more is not woken by a later
    /// call, and has to read anew.
    pub fn ration(&mut self, octets: Option<usize>) {
        self.ration = octets;
    }

    /// From now on [`AsyncRead`] has what [`Stream::feed`] gets alone, and what comes is had by [`Stream::poll_carrier`]; or again
    /// what comes.
    pub fn set_fed(&mut self, is_fed: bool) {
        self.fed = is_fed.then(Fed::default);
    }

    /// Has these octets be read; none means that the end was reached. Whoever waits for them is not woken.
    pub fn feed(&mut self, octets: &[u8]) {
        let fed = self.fed.get_or_insert_default();
        fed.octets.extend_from_slice(octets);
        fed.has_ended = octets.is_empty();
    }

    /// Reads what comes; nothing at its end.
    pub fn poll_carrier(&mut self, context: &mut Context<'_>, into: &mut impl BufMut) -> Poll<io::Result<usize>> {
        pin!(Coming(self).read_buf(into)).poll(context)
    }

    /// Whether [`Stream::put_ahead`] may be called: nothing is ahead yet, and whoever writes does so from a beginning.
    pub fn takes_ahead(&self) -> bool {
        self.ahead.is_empty() && !self.is_torn
    }

    /// Has these octets leave as they are, without a copy, before what is written after this. They go with that, or by
    /// [`AsyncWrite::poll_flush`].
    pub fn put_ahead(&mut self, parts: impl IntoIterator<Item = Bytes>) {
        debug_assert!(self.takes_ahead(), "it would tear what is being written");
        self.ahead.extend(parts.into_iter().filter(|part| !part.is_empty()));
    }

    /// Writes what is ahead, all of it.
    pub fn poll_ahead(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.ahead.is_empty() {
            let mut slices = [IoSlice::new(&[]); PARTS_AT_ONCE];
            let count = self.ahead.len().min(PARTS_AT_ONCE);
            slices.iter_mut().zip(&self.ahead).for_each(|(slice, part)| *slice = IoSlice::new(part));
            let mut written = ready!(self.carrier.poll_write_vectored(context, &slices[..count]))?;
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            while let Some(part) = self.ahead.front_mut().filter(|_| written > 0) {
                let taken = written.min(part.len());
                part.advance(taken);
                written -= taken;
                if part.is_empty() {
                    self.ahead.pop_front();
                }
            }
        }
        Poll::Ready(Ok(()))
    }

    fn note(&mut self, wanted: usize, written: &Poll<io::Result<usize>>) {
        if let Poll::Ready(Ok(written)) = written {
            self.is_torn = *written < wanted;
        }
    }
}

impl AsyncRead for Stream {
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let Some(fed) = &mut this.fed else { return Pin::new(&mut Coming(this)).poll_read(context, buffer) };
        if fed.octets.is_empty() && !fed.has_ended {
            return Poll::Pending;
        }
        let count = fed.octets.len().min(buffer.remaining());
        buffer.put_slice(&fed.octets.split_to(count));
        Poll::Ready(Ok(()))
    }
}

/// What comes, within its ration.
struct Coming<'a>(&'a mut Stream);

impl AsyncRead for Coming<'_> {
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self.get_mut().0;
        let Some(ration) = this.ration else { return this.carrier.poll_read(context, buffer) };
        if ration == 0 {
            return Poll::Pending;
        }
        let mut part = ReadBuf::new(buffer.initialize_unfilled_to(ration.min(buffer.remaining())));
        let polled = this.carrier.poll_read(context, &mut part);
        let count = part.filled().len();
        buffer.advance(count);
        this.ration = Some(ration - count);
        polled
    }
}

impl Carrier {
    fn poll_read(&mut self, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self {
            Self::Plain(stream) => Pin::new(stream).poll_read(context, buffer),
            Self::Tls(stream) => Pin::new(&mut **stream).poll_read(context, buffer),
        }
    }
}

macro_rules! forward {
    ($self:ident, $stream:ident => $call:expr) => {
        match $self {
            Carrier::Plain($stream) => {
                let $stream = Pin::new($stream);
                $call
            }
            Carrier::Tls($stream) => {
                let $stream = Pin::new(&mut **$stream);
                $call
            }
        }
    };
}

impl Carrier {
    fn poll_write(&mut self, context: &mut Context<'_>, octets: &[u8]) -> Poll<io::Result<usize>> {
        forward!(self, stream => stream.poll_write(context, octets))
    }

    fn poll_write_vectored(&mut self, context: &mut Context<'_>, parts: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        forward!(self, stream => stream.poll_write_vectored(context, parts))
    }

    fn poll_flush(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        forward!(self, stream => stream.poll_flush(context))
    }

    fn poll_shutdown(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        forward!(self, stream => stream.poll_shutdown(context))
    }
}

impl AsyncWrite for Stream {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, octets: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        ready!(this.poll_ahead(context))?;
        let written = this.carrier.poll_write(context, octets);
        this.note(octets.len(), &written);
        written
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        parts: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        ready!(this.poll_ahead(context))?;
        let written = this.carrier.poll_write_vectored(context, parts);
        this.note(parts.iter().map(|part| part.len()).sum(), &written);
        written
    }

    fn is_write_vectored(&self) -> bool {
        match &self.carrier {
            Carrier::Plain(stream) => stream.is_write_vectored(),
            Carrier::Tls(stream) => stream.is_write_vectored(),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        ready!(this.poll_ahead(context))?;
        this.carrier.poll_flush(context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        ready!(this.poll_ahead(context))?;
        this.carrier.poll_shutdown(context)
    }
}

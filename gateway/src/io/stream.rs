//! A client's connection, with TLS or without.

use super::pace::{MessageRoom, PacedStream};
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_rustls::server::TlsStream;

/// What is below HTTP and the WebSocket.
#[derive(Debug)]
enum Carrier {
    Plain(PacedStream),
    /// Boxed, because its state is some hundred times larger.
    Tls(Box<TlsStream<PacedStream>>),
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
}

impl From<PacedStream> for Stream {
    fn from(stream: PacedStream) -> Self {
        Self { carrier: Carrier::Plain(stream), ration: None }
    }
}

impl From<TlsStream<PacedStream>> for Stream {
    fn from(stream: TlsStream<PacedStream>) -> Self {
        Self { carrier: Carrier::Tls(Box::new(stream)), ration: None }
    }
}

impl Stream {
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
}

impl AsyncRead for Stream {
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
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
        match &mut $self.get_mut().carrier {
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

impl AsyncWrite for Stream {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, octets: &[u8]) -> Poll<io::Result<usize>> {
        forward!(self, stream => stream.poll_write(context, octets))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        parts: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        forward!(self, stream => stream.poll_write_vectored(context, parts))
    }

    fn is_write_vectored(&self) -> bool {
        match &self.carrier {
            Carrier::Plain(stream) => stream.is_write_vectored(),
            Carrier::Tls(stream) => stream.is_write_vectored(),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        forward!(self, stream => stream.poll_flush(context))
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        forward!(self, stream => stream.poll_shutdown(context))
    }
}

use std::future::Future;
use std::io;

use bytes::Bytes;
use futures_util::{Sink, Stream};

/// An open connection to a gateway: carries whole binary messages in order.
///
/// The sink's `poll_ready` is the back-pressure: while it is pending nothing is taken from the stack.
pub trait Transport:
    Stream<Item = io::Result<Bytes>> + Sink<Bytes, Error = io::Error> + Send + Unpin + 'static
{
}

impl<T> Transport for T where
    T: Stream<Item = io::Result<Bytes>> + Sink<Bytes, Error = io::Error> + Send + Unpin + 'static
{
}

/// Opens connections to one gateway: the first, and each after a cut.
pub trait Connector: Send + 'static {
    /// What it opens.
    type Transport: Transport;

    /// Opens one. Bound its time: the loop waits for as long as this takes.
    fn connect(&self) -> impl Future<Output = io::Result<Self::Transport>> + Send + 'static;
}

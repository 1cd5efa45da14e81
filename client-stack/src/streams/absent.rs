//! In the place of `streams` where that is not built: a gateway that offers it is not taken up on it.

use std::convert::Infallible;
use std::marker::PhantomData;
use std::net::SocketAddr;
use std::ops::Range;

use bytes::Bytes;
use webtun_wire::{BatchWriter, Capsule, Instant, StreamLimits};

use crate::{
    CloseReason, ConnectError, Received, RecvError, SendError, SocketEvent, SocketId, Splitting, StreamHost, TcpState,
};

/// Nothing is said of streams.
pub(crate) const LIMITS: Option<StreamLimits> = None;

/// There is none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct AboutStream<'a>(Infallible, PhantomData<&'a ()>);

/// None is.
pub(crate) fn about(capsule: Capsule<'_>) -> Result<AboutStream<'_>, Capsule<'_>> {
    Err(capsule)
}

/// No streams.
pub(crate) struct Streams {}

impl Streams {
    pub fn new(_: usize, _: u64) -> Self {
        Self {}
    }

    pub fn set_gateway(&mut self, _: Option<StreamLimits>) {}

    pub fn splitting(&self) -> Splitting {
        Splitting::Unavailable
    }

    pub fn contains(&self, _: SocketId) -> bool {
        false
    }

    pub fn is_taken(&self, _: SocketId) -> bool {
        false
    }

    pub fn poll_event(&mut self) -> Option<SocketEvent> {
        None
    }

    pub fn poll_timeout(&self) -> Option<Instant> {
        None
    }

    pub fn handle_timeout(&mut self, _: Instant) {}

    pub fn open(&mut self, _: SocketId, _: (StreamHost, u16), _: Instant) -> Result<(), ConnectError> {
        Err(ConnectError::NetUnreachable)
    }

    pub fn begin_message(&mut self, _: &[u8], _: Option<&Bytes>) {}

    pub fn end_message(&mut self) {}

    pub fn handle(&mut self, about: &AboutStream<'_>) -> bool {
        match about.0 {}
    }

    pub fn drop_all(&mut self, _: CloseReason, _: ConnectError) {}

    pub fn abort_all(&mut self) {}

    pub fn has_something(&self) -> bool {
        false
    }

    pub fn fill(&mut self, _: &mut BatchWriter, _: usize) {}

    pub fn state(&self, _: SocketId) -> Option<TcpState> {
        None
    }

    pub fn ends(&self, _: SocketId) -> Option<(SocketAddr, SocketAddr)> {
        None
    }

    pub fn readable(&self, _: SocketId) -> usize {
        0
    }

    pub fn writable(&self, _: SocketId) -> usize {
        0
    }

    pub fn unsent(&self, _: SocketId) -> usize {
        0
    }

    pub fn arrival(&self, _: SocketId) -> &[Range<usize>] {
        &[]
    }

    pub fn send(&mut self, _: SocketId, _: &[u8]) -> Result<usize, SendError> {
        Err(SendError::UnknownSocket)
    }

    pub fn send_with(&mut self, _: SocketId, _: usize, _: impl FnOnce(&mut [u8]) -> usize) -> Result<usize, SendError> {
        Err(SendError::UnknownSocket)
    }

    pub fn recv(&mut self, _: SocketId, _: &mut [u8]) -> Result<Received, RecvError> {
        Err(RecvError::UnknownSocket)
    }

    pub fn recv_with(&mut self, _: SocketId, _: usize, _: impl FnOnce(&[u8]) -> usize) -> Result<Received, RecvError> {
        Err(RecvError::UnknownSocket)
    }

    pub fn peek(&self, _: SocketId, _: &mut [u8]) -> Result<Received, RecvError> {
        Err(RecvError::UnknownSocket)
    }

    pub fn shutdown(&mut self, _: SocketId) {}

    pub fn abort(&mut self, _: SocketId) {}

    pub fn close(&mut self, _: SocketId, _: Instant) {}
}

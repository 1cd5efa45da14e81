//! How much waits in front of a WebSocket, which is where it can no longer be overtaken.
//!
//! Flows take turns in the dataplane's queue. Behind it a message is as long as it is, and the kernel's socket is a FIFO
//! that would take megabytes. So both are kept as short as the connection is slow: `DELAY` worth of octets in a message,
//! and as many unsent in the socket (`TCP_NOTSENT_LOWAT`). On a fast connection neither bound is felt.

use socket2::SockRef;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::Instant;

/// What a message, and what is unsent behind it, may add to the delay.
const DELAY: Duration = Duration::from_millis(5);
/// The least and the most that may wait, in octets. Less than the least costs throughput, since a message has its price.
const BOUNDS: (u64, u64) = (16 * 1024, 1024 * 1024);
/// Before anything is known: a message that is cheap for its length, and 5 ms at 100 Mbit/s.
const FIRST: u64 = 64 * 1024;
/// How long the socket has to have made us wait for an estimate.
const WINDOW: Duration = Duration::from_millis(50);

/// How many octets of packets a message may have. The connection sets it, the driver reads it.
#[derive(Clone, Debug)]
pub struct MessageRoom(Arc<AtomicU64>);

impl Default for MessageRoom {
    fn default() -> Self {
        Self(Arc::new(AtomicU64::new(FIRST)))
    }
}

impl MessageRoom {
    /// The room at the moment.
    pub fn octets(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// Estimates what a connection delivers, from how long it takes to get rid of messages.
///
/// A socket with room takes a message at once, and a full one as fast as it is emptied. Adding up both, the estimate is too
/// high where the connection is not used to the full, and right where it is, which is where it matters.
#[derive(Debug, Default)]
struct DeliveryRate {
    octets: u64,
    waited: Duration,
}

impl DeliveryRate {
    /// So many octets have been taken in this time. Returns octets per second, where enough has been seen.
    fn observe(&mut self, octets: usize, waited: Duration) -> Option<f64> {
        self.octets += octets as u64;
        self.waited += waited;
        if self.waited < WINDOW {
            return None;
        }
        let rate = self.octets as f64 / self.waited.as_secs_f64();
        *self = Self::default();
        Some(rate)
    }
}

/// What a connection's writing tells, and what follows from it.
#[derive(Debug, Default)]
struct Pace {
    rate: DeliveryRate,
    room: MessageRoom,
}

impl Pace {
    /// So many octets were taken in this time. Returns what may be unsent in the socket, where that is to change.
    fn wrote(&mut self, octets: usize, waited: Duration) -> Option<u32> {
        let rate = self.rate.observe(octets, waited)?;
        let room = ((rate * DELAY.as_secs_f64()) as u64).clamp(BOUNDS.0, BOUNDS.1);
        let before = self.room.0.swap(room, Ordering::Relaxed);
        (before != room).then_some(room as u32)
    }
}

/// A TCP connection that keeps its own queue short.
#[derive(Debug)]
pub struct PacedStream {
    stream: TcpStream,
    pace: Pace,
    /// Since when the socket has had no room.
    full_since: Option<Instant>,
}

impl PacedStream {
    /// Takes an accepted connection. Its congestion control is BBR where the kernel has it, since that keeps the queues of
    /// the path short, too.
    pub fn new(stream: TcpStream) -> Self {
        if let Err(error) = SockRef::from(&stream).set_tcp_congestion(b"bbr") {
            tracing::debug!(%error, "BBR is not to be had; the kernel's default does");
        }
        limit_unsent(&stream, FIRST as u32);
        Self { stream, pace: Pace::default(), full_since: None }
    }

    /// What it wants messages to be like.
    pub fn message_room(&self) -> MessageRoom {
        self.pace.room.clone()
    }

    fn observe(&mut self, written: &Poll<io::Result<usize>>) {
        match written {
            Poll::Pending => {
                self.full_since.get_or_insert_with(Instant::now);
            }
            Poll::Ready(Ok(octets)) => {
                let waited = self.full_since.take().map_or(Duration::ZERO, |since| since.elapsed());
                if let Some(unsent) = self.pace.wrote(*octets, waited) {
                    limit_unsent(&self.stream, unsent);
                }
            }
            Poll::Ready(Err(_)) => {}
        }
    }
}

/// Lets so many octets wait unsent in the kernel.
fn limit_unsent(stream: &TcpStream, octets: u32) {
    if let Err(error) = SockRef::from(stream).set_tcp_notsent_lowat(octets) {
        tracing::debug!(%error, "TCP_NOTSENT_LOWAT cannot be set");
    }
}

impl AsyncRead for PacedStream {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buffer)
    }
}

impl AsyncWrite for PacedStream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, octets: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(cx, octets);
        self.observe(&written);
        written
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(cx, slices);
        self.observe(&written);
        written
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Writes messages as long as the pace wants them for two seconds, over a connection of this rate.
    fn settle(pace: &mut Pace, octets_per_s: f64) -> u64 {
        let mut elapsed = Duration::ZERO;
        while elapsed < Duration::from_secs(2) {
            let octets = pace.room.octets();
            let waited = Duration::from_secs_f64(octets as f64 / octets_per_s);
            pace.wrote(octets as usize, waited);
            elapsed += waited;
        }
        pace.room.octets()
    }

    #[test]
    fn room_follows_the_rate() {
        let mut pace = Pace::default();
        assert_eq!(settle(&mut pace, 1e5), BOUNDS.0);
        let middle = settle(&mut pace, 20e6);
        assert!((95_000..=105_000).contains(&middle), "{middle}");
        assert_eq!(settle(&mut pace, 400e6), BOUNDS.1);
        assert_eq!(settle(&mut pace, 2.5e6), BOUNDS.0);
    }

    #[test]
    fn a_connection_that_takes_everything_at_once_tells_nothing() {
        let mut pace = Pace::default();
        for _ in 0..1000 {
            assert_eq!(pace.wrote(1000, Duration::from_micros(5)), None);
        }
        assert_eq!(pace.room.octets(), FIRST);
    }

    #[test]
    fn the_socket_is_told_when_something_changes() {
        let mut pace = Pace::default();
        assert_eq!(pace.wrote(16_384, Duration::from_millis(60)), Some(16_384));
        assert_eq!(pace.wrote(16_384, Duration::from_millis(60)), None);
    }
}

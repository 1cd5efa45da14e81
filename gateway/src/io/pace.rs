//! How much waits in front of a WebSocket, which is where it can no longer be overtaken.
//!
//! Flows take turns in the dataplane's queue. Behind it a message is as long as it is, and the kernel's socket is a FIFO
//! that would take megabytes. So both are kept as short as the connection is slow: `DELAY` worth of octets in a message,
//! and as many unsent in the socket (`TCP_NOTSENT_LOWAT`). On a fast connection neither bound is felt.

use super::kernel;
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

    /// Becomes as large as another connection's, for what goes on by that one.
    pub fn follow(&self, other: &Self) {
        self.0.store(other.octets(), Ordering::Relaxed);
    }
}

/// Estimates what a connection delivers, from how long it takes to get rid of messages.
///
/// A socket with room takes a message at once, and a full one as fast as it is emptied. Adding up both, the estimate is too
/// high where the connection is not used to the full, and right where it is, which is where it matters. One that never makes
/// us wait delivers at least what it has taken.
#[derive(Debug, Default)]
struct DeliveryRate {
    octets: u64,
    waited: Duration,
    /// Octets since then, waited for or not.
    span: Option<(Instant, u64)>,
}

/// Octets per second.
#[derive(Debug, PartialEq)]
enum Estimate {
    Exactly(f64),
    AtLeast(f64),
}

impl DeliveryRate {
    /// So many octets have been taken in this time.
    fn observe(&mut self, octets: usize, waited: Duration, now: Instant) -> Option<Estimate> {
        self.octets += octets as u64;
        self.waited += waited;
        let (since, in_span) = self.span.get_or_insert((now, 0));
        *in_span += octets as u64;
        let rate = |octets: u64, time: Duration| octets as f64 / time.as_secs_f64();
        if self.waited >= WINDOW {
            let exactly = rate(self.octets, self.waited);
            *self = Self::default();
            return Some(Estimate::Exactly(exactly));
        }
        let elapsed = now - *since;
        if elapsed < WINDOW {
            return None;
        }
        let at_least = rate(*in_span, elapsed);
        self.span = None;
        Some(Estimate::AtLeast(at_least))
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
    fn wrote(&mut self, octets: usize, waited: Duration, now: Instant) -> Option<u32> {
        let room = |rate: f64| ((rate * DELAY.as_secs_f64()) as u64).clamp(BOUNDS.0, BOUNDS.1);
        let room = match self.rate.observe(octets, waited, now)? {
            Estimate::Exactly(rate) => room(rate),
            Estimate::AtLeast(rate) => room(rate).max(self.room.octets()),
        };
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
        if let Err(error) = kernel::set_congestion(&SockRef::from(&stream), b"bbr") {
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
                if let Some(unsent) = self.pace.wrote(*octets, waited, Instant::now()) {
                    limit_unsent(&self.stream, unsent);
                }
            }
            Poll::Ready(Err(_)) => {}
        }
    }
}

/// Lets so many octets wait unsent in the kernel.
fn limit_unsent(stream: &TcpStream, octets: u32) {
    if let Err(error) = kernel::set_notsent_lowat(&SockRef::from(stream), octets) {
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
        let begin = Instant::now();
        let mut now = begin;
        while now - begin < Duration::from_secs(2) {
            let octets = pace.room.octets();
            let waited = Duration::from_secs_f64(octets as f64 / octets_per_s);
            now += waited;
            pace.wrote(octets as usize, waited, now);
        }
        pace.room.octets()
    }

    /// Writes so much, which is taken at once, each millisecond.
    fn take_at_once(pace: &mut Pace, octets: usize) -> u64 {
        let begin = Instant::now();
        for millisecond in 0..1000 {
            pace.wrote(octets, Duration::from_micros(5), begin + Duration::from_millis(millisecond));
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
    fn a_connection_that_takes_everything_at_once_delivers_at_least_that() {
        assert_eq!(take_at_once(&mut Pace::default(), 1000), FIRST, "it was not put to the test");
        let room = take_at_once(&mut Pace::default(), 50_000);
        assert!((240_000..=260_000).contains(&room), "{room}");
        let mut pace = Pace::default();
        settle(&mut pace, 400e6);
        assert_eq!(take_at_once(&mut pace, 1000), BOUNDS.1, "less to do says nothing");
    }

    #[test]
    fn the_socket_is_told_when_something_changes() {
        let mut pace = Pace::default();
        let now = Instant::now();
        assert_eq!(pace.wrote(16_384, Duration::from_millis(60), now), Some(16_384));
        assert_eq!(pace.wrote(16_384, Duration::from_millis(60), now), None);
    }
}

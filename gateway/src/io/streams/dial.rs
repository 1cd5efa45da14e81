use crate::io::dial;
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::{sleep, timeout};
use webtun_wire::ResetReason;

/// How long a destination may take to answer.
const PATIENCE: Duration = Duration::from_secs(30);
/// RFC 8305 section 5: how long the next address waits for the last one.
const ATTEMPT_DELAY: Duration = Duration::from_millis(250);

/// Connects to the first of these addresses that answers, tried in turn (RFC 8305 section 5).
///
/// # Errors
/// Why the last one that failed did not.
pub(super) async fn connect(addresses: Vec<SocketAddr>) -> Result<TcpStream, ResetReason> {
    let mut waiting = VecDeque::from(addresses);
    let mut attempts = FuturesUnordered::new();
    let mut reason = ResetReason::Unreachable;
    loop {
        if let Some(address) = waiting.pop_front() {
            attempts.push(timeout(PATIENCE, connect_to(address)));
        }
        let delay = if waiting.is_empty() { PATIENCE } else { ATTEMPT_DELAY };
        tokio::select! {
            Some(ended) = attempts.next() => match ended {
                Ok(Ok(stream)) => return Ok(stream),
                Ok(Err(error)) => reason = reason_of(&error),
                Err(_) => reason = ResetReason::TimedOut,
            },
            () = sleep(delay) => {}
        }
        if attempts.is_empty() && waiting.is_empty() {
            return Err(reason);
        }
    }
}

async fn connect_to(address: SocketAddr) -> io::Result<TcpStream> {
    let socket = dial::tcp(address)?;
    TcpSocket::from_std_stream(socket.into()).connect(address).await
}

/// What a client is told of an error of a socket.
pub(super) fn reason_of(error: &io::Error) -> ResetReason {
    match error.kind() {
        io::ErrorKind::ConnectionRefused => ResetReason::Refused,
        io::ErrorKind::TimedOut => ResetReason::TimedOut,
        io::ErrorKind::HostUnreachable | io::ErrorKind::NetworkUnreachable | io::ErrorKind::AddrNotAvailable => {
            ResetReason::Unreachable
        }
        io::ErrorKind::PermissionDenied => ResetReason::Policy,
        _ => ResetReason::Aborted,
    }
}

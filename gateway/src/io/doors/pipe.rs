//! One connection in one WebSocket, each message a piece of its octets.
//!
//! A WebSocket has no half-close. When the destination has sent its last octet, the client gets all of it and then a close
//! frame, and what the client sends until it answers that is still delivered. When the client closes, the destination gets what
//! was sent before, and then a FIN.

use super::carried::plain;
use super::hub::Share;
use crate::io::http::{Phase, stopping};
use crate::io::session::Farewell;
use crate::io::session::socket::{Ending, Incoming, Sink, Socket, Stream, classify};
use bytes::Bytes;
use futures_util::{SinkExt, StreamExt};
use std::io;
use std::pin::pin;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt, ReadHalf, WriteHalf};
use tokio::sync::watch;
use tokio::time::{MissedTickBehavior, interval, timeout};
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use webtun_stack::aio::TcpStream;
use webtun_stack::{ConnectError, StreamHost};
use webtun_wire::CloseCode;

/// Octets in a message.
const PIECE: usize = 64 * 1024;
/// How often the client is asked for a sign of life; it is given up after three times that.
const PING_INTERVAL: Duration = Duration::from_secs(15);
/// How long the client may take to answer a close frame, and a destination for what it was sent, or to end.
const LINGER: Duration = Duration::from_secs(30);

/// Connects, by the session.
///
/// # Errors
/// Why not.
pub(super) async fn connect(share: &Share, host: StreamHost, port: u16) -> Result<TcpStream, ConnectError> {
    let connected = share.stack.tcp_connect_split(host, port).await;
    connected.map_err(|error| {
        let inner = error.get_ref().and_then(|inner| inner.downcast_ref::<ConnectError>());
        inner.copied().unwrap_or(ConnectError::Aborted)
    })
}

/// Carries octets both ways until either side ends it. `early` goes to the destination first. A client that does not take a
/// message within `patience` counts as lost.
pub(super) async fn carry(
    socket: Socket,
    remote: TcpStream,
    early: Bytes,
    share: Share,
    patience: Duration,
    phase: &mut watch::Receiver<Phase>,
) -> (Socket, Ending) {
    let (mut sink, mut stream) = socket.split();
    let (mut from, mut to) = tokio::io::split(remote);
    let ending = {
        let mut up = pin!(upload(&mut stream, &mut to, early));
        let mut down = pin!(download(&mut from, &mut sink, patience));
        tokio::select! {
            ending = &mut up => match ending {
                // What it has sent before it broke is still to be had, and then why.
                Uploaded::Broken => down.await,
                Uploaded::Ended(ending) => ending,
            },
            ending = &mut down => {
                if matches!(ending, Ending::Closed) {
                    // The close frame is sent; this takes what comes before the answer.
                    tokio::select! {
                        taken = timeout(LINGER, up) => drop(taken),
                        () = stopping(phase) => {}
                    }
                }
                ending
            }
            () = stopping(phase) => {
                Ending::Farewell(plain(Farewell::new(CloseCode::Shutdown, "the gateway goes away")))
            }
        }
    };
    tokio::spawn(farewell(from, to, share));
    (Socket::reunite(sink, stream), ending)
}

enum Uploaded {
    /// The client has ended.
    Ended(Ending),
    /// The destination takes nothing any more.
    Broken,
}

async fn upload(stream: &mut Stream, to: &mut WriteHalf<TcpStream>, early: Bytes) -> Uploaded {
    if to.write_all(&early).await.is_err() {
        return Uploaded::Broken;
    }
    loop {
        let Ok(item) = timeout(3 * PING_INTERVAL, stream.next()).await else {
            return Uploaded::Ended(Ending::Farewell(Farewell::silent()));
        };
        match classify(item) {
            Incoming::Message(message) => {
                if to.write_all(&message).await.is_err() {
                    return Uploaded::Broken;
                }
            }
            Incoming::Nothing => {}
            Incoming::End(Ending::Farewell(farewell)) => return Uploaded::Ended(Ending::Farewell(plain(farewell))),
            Incoming::End(ending) => return Uploaded::Ended(ending),
        }
    }
}

async fn download(from: &mut ReadHalf<TcpStream>, sink: &mut Sink, patience: Duration) -> Ending {
    let mut pings = interval(PING_INTERVAL);
    pings.set_missed_tick_behavior(MissedTickBehavior::Delay);
    pings.reset();
    let mut buffer = bytes::BytesMut::new();
    loop {
        buffer.reserve(PIECE);
        let read = tokio::select! {
            read = from.read_buf(&mut buffer) => Some(read),
            _ = pings.tick() => None,
        };
        let message = match read {
            None => Message::Ping(Bytes::new()),
            Some(Ok(0)) => {
                let frame = CloseFrame { code: 1000.into(), reason: "the destination has closed".into() };
                return match timeout(patience, sink.send(Message::Close(Some(frame)))).await {
                    Ok(Ok(())) => Ending::Closed,
                    Ok(Err(_)) | Err(_) => Ending::Lost,
                };
            }
            Some(Ok(_)) => Message::Binary(buffer.split().freeze()),
            Some(Err(error)) => return broken(&error),
        };
        match timeout(patience, sink.send(message)).await {
            Ok(Ok(())) => {}
            Ok(Err(_)) => return Ending::Lost,
            Err(_) => {
                tracing::info!("a client reads too slowly and is disconnected");
                return Ending::Lost;
            }
        }
    }
}

/// How a connection that is there has ended early.
fn broken(error: &io::Error) -> Ending {
    let (frame_code, words) = match error.kind() {
        io::ErrorKind::TimedOut => (4504, "the destination does not answer any more"),
        _ => (4502, "the destination has reset the connection"),
    };
    Ending::Farewell(Farewell { frame_code, words, ..plain(Farewell::new(CloseCode::Normal, words)) })
}

/// Has the destination get what it was sent and then a FIN, and reads to its end what nobody wants any more: a destination
/// that is stopped by that would not take the rest.
async fn farewell(mut from: ReadHalf<TcpStream>, mut to: WriteHalf<TcpStream>, share: Share) {
    let over = async {
        to.shutdown().await?;
        tokio::io::copy(&mut from, &mut tokio::io::sink()).await
    };
    // Whether it ends by itself, or in time, makes no difference any more.
    drop(timeout(LINGER, over).await);
    drop(share);
}

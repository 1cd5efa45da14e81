//! The least that a tunnel of streams can do: `ws://.../ADDRESS/PORT` is a TCP connection to there, or each WebSocket one to
//! where `--to` says, by a socket of the kernel, and messages are its octets; at `ws://.../echo/ADDRESS/PORT` messages are
//! datagrams. Nothing is kept, checked, counted or shared between flows.
//!
//! What this reaches beside a WebSocket that ends in its server tells what it costs, with messages of this length, that the
//! octets come from another process on the same machine.

use std::error::Error;
use std::net::{IpAddr, SocketAddr};

use bytes::BytesMut;
use clap::Parser;
use futures_util::stream::{SplitSink, SplitStream};
use futures_util::{SinkExt, StreamExt};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::handshake::server::{ErrorResponse, Request, Response};
use tokio_tungstenite::tungstenite::http::header::SEC_WEBSOCKET_PROTOCOL;
use tokio_tungstenite::{WebSocketStream, accept_hdr_async};

const LONGEST_DATAGRAM: usize = 65_535;

type Outcome<T> = Result<T, Box<dyn Error + Send + Sync>>;
type WebSocket = WebSocketStream<TcpStream>;

/// A TCP connection, or a UDP socket, for each WebSocket
#[derive(Debug, Parser)]
struct Flags {
    /// Where WebSockets are accepted
    listen: SocketAddr,
    /// Where all connections go, whatever a WebSocket's path
    #[arg(long, value_name = "ADDRESS:PORT")]
    to: Option<SocketAddr>,
    /// Octets of a message at most
    #[arg(long, default_value_t = 64 * 1024)]
    message: usize,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Outcome<()> {
    let flags = Flags::parse();
    let listener = TcpListener::bind(flags.listen).await?;
    println!("ready");
    loop {
        let (stream, _) = listener.accept().await?;
        tokio::spawn(async move {
            if let Err(error) = serve(stream, flags.to, flags.message).await {
                eprintln!("{error}");
            }
        });
    }
}

async fn serve(stream: TcpStream, to: Option<SocketAddr>, longest: usize) -> Outcome<()> {
    stream.set_nodelay(true)?;
    let mut path = String::new();
    #[expect(clippy::result_large_err, reason = "the library's own type")]
    let note = |request: &Request, mut response: Response| -> Result<Response, ErrorResponse> {
        path = request.uri().path().to_owned();
        // What a client asks for that its WebSocket would not open without.
        if let Some(protocol) = request.headers().get(SEC_WEBSOCKET_PROTOCOL) {
            response.headers_mut().insert(SEC_WEBSOCKET_PROTOCOL, protocol.clone());
        }
        Ok(response)
    };
    let socket = accept_hdr_async(stream, note).await?;
    if let Some(path) = path.strip_prefix("/echo") {
        return datagrams(socket, named(path)?).await;
    }
    let remote = TcpStream::connect(to.map_or_else(|| named(&path), Ok)?).await?;
    remote.set_nodelay(true)?;
    let ((sink, messages), (from, to)) = (socket.split(), remote.into_split());
    tokio::select! {
        done = down(from, sink, longest) => done,
        done = up(messages, to) => done,
    }
}

async fn datagrams(mut socket: WebSocket, to: SocketAddr) -> Outcome<()> {
    let remote = UdpSocket::bind((IpAddr::from([0, 0, 0, 0]), 0)).await?;
    remote.connect(to).await?;
    let mut buffer = BytesMut::with_capacity(LONGEST_DATAGRAM);
    loop {
        tokio::select! {
            message = socket.next() => match message.transpose()? {
                Some(Message::Binary(octets)) => drop(remote.send(&octets).await?),
                Some(_) => {}
                None => return Ok(()),
            },
            received = remote.recv_buf(&mut buffer) => {
                received?;
                socket.send(Message::Binary(buffer.split().freeze())).await?;
                buffer.reserve(LONGEST_DATAGRAM);
            }
        }
    }
}

fn named(path: &str) -> Outcome<SocketAddr> {
    let (address, port) = path.trim_start_matches('/').split_once('/').ok_or("no /ADDRESS/PORT")?;
    Ok(SocketAddr::new(address.parse::<IpAddr>()?, port.parse()?))
}

async fn down(mut from: OwnedReadHalf, mut sink: SplitSink<WebSocket, Message>, longest: usize) -> Outcome<()> {
    let mut buffer = BytesMut::new();
    loop {
        buffer.reserve(longest);
        if from.read_buf(&mut buffer).await? == 0 {
            return Ok(sink.close().await?);
        }
        let end = buffer.len().min(longest);
        sink.send(Message::Binary(buffer.split_to(end).freeze())).await?;
    }
}

async fn up(mut messages: SplitStream<WebSocket>, mut to: OwnedWriteHalf) -> Outcome<()> {
    while let Some(message) = messages.next().await {
        if let Message::Binary(octets) = message? {
            to.write_all(&octets).await?;
        }
    }
    Ok(to.shutdown().await?)
}

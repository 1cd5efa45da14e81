//! The flows themselves. A client writes one line to its stdout: octets that have arrived, and the seconds that it took.

use std::error::Error;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::Instant;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::{accept_async, connect_async};
use webtun_stack::TcpOptions;
use webtun_stack::aio::{self, ConnectOptions};
use webtun_tests::lab::URL;

use super::{By, Part};

pub const REMOTE: Ipv4Addr = Ipv4Addr::new(198, 18, 0, 2);
/// Where socat listens.
const RELAY: Ipv4Addr = Ipv4Addr::new(10, 81, 0, 1);
/// The playground's services.
pub const DISCARD: u16 = 9;
pub const CHARGEN: u16 = 19;
/// Where the bare WebSocket is served, by this program or by the relay.
pub const BARE: &str = "10.81.0.1:8078";
/// What is written and read at once, and the length of a bare WebSocket's messages.
const CHUNK: usize = 64 * 1024;

type Outcome<T> = Result<T, Box<dyn Error>>;

/// Plays one part to its end.
#[tokio::main(flavor = "current_thread")]
pub async fn run(by: By, part: Part, token: &str, time: Duration) -> Outcome<()> {
    let (octets, took) = match (by, part) {
        (_, Part::Server) => return serve().await,
        (By::Webtun | By::User, part) => tunnel(part, token, time).await?,
        (By::Websocket | By::Relay, Part::Down) => bare_down(&format!("ws://{BARE}/{REMOTE}/{CHARGEN}"), time).await?,
        (By::Websocket | By::Relay, Part::Up) => bare_up(&format!("ws://{BARE}/{REMOTE}/{DISCARD}"), time).await?,
        (by, Part::Down) => receive(TcpStream::connect((far_side(by), CHARGEN)).await?, time).await?,
        (by, Part::Up) => send(TcpStream::connect((far_side(by), DISCARD)).await?, time).await?,
    };
    println!("{octets} {}", took.as_secs_f64());
    Ok(())
}

/// Whom plain TCP is connected to.
fn far_side(by: By) -> Ipv4Addr {
    if by == By::Socat { RELAY } else { REMOTE }
}

async fn tunnel(part: Part, token: &str, time: Duration) -> Outcome<(u64, Duration)> {
    let options = ConnectOptions { token: Some(token.to_owned()), ..ConnectOptions::default() };
    let net = aio::connect(URL, options).await?;
    let connect = |port| net.tcp_connect(SocketAddr::from((REMOTE, port)), TcpOptions::default());
    let done = match part {
        Part::Up => send(connect(DISCARD).await?, time).await?,
        _ => receive(connect(CHARGEN).await?, time).await?,
    };
    net.close().await;
    Ok(done)
}

async fn receive(mut stream: impl AsyncRead + Unpin, time: Duration) -> Outcome<(u64, Duration)> {
    let (mut buffer, mut octets) = (vec![0; CHUNK], 0);
    let began = Instant::now();
    while began.elapsed() < time {
        match stream.read(&mut buffer).await? {
            0 => return Err("the server has ended it".into()),
            len => octets += len as u64,
        }
    }
    Ok((octets, began.elapsed()))
}

/// The time ends when the far side has all of it: it closes after our end.
async fn send(mut stream: impl AsyncRead + AsyncWrite + Unpin, time: Duration) -> Outcome<(u64, Duration)> {
    let (buffer, mut octets) = (vec![7; CHUNK], 0);
    let began = Instant::now();
    while began.elapsed() < time {
        stream.write_all(&buffer).await?;
        octets += CHUNK as u64;
    }
    stream.shutdown().await?;
    stream.read_to_end(&mut Vec::new()).await?;
    Ok((octets, began.elapsed()))
}

async fn bare_down(url: &str, time: Duration) -> Outcome<(u64, Duration)> {
    let (mut socket, _) = connect_async(url).await?;
    socket.send(Message::text("send")).await?;
    let (began, mut octets) = (Instant::now(), 0);
    while began.elapsed() < time {
        octets += socket.next().await.ok_or("the server has ended it")??.len() as u64;
    }
    Ok((octets, began.elapsed()))
}

/// The time ends when the far side has answered the close frame, which it does after all that precedes it.
async fn bare_up(url: &str, time: Duration) -> Outcome<(u64, Duration)> {
    let (mut socket, _) = connect_async(url).await?;
    let (began, mut octets, message) = (Instant::now(), 0, bytes::Bytes::from(vec![7; CHUNK]));
    while began.elapsed() < time {
        socket.send(Message::binary(message.clone())).await?;
        octets += CHUNK as u64;
    }
    socket.close(None).await?;
    while socket.next().await.is_some_and(|message| message.is_ok()) {}
    Ok((octets, began.elapsed()))
}

/// Sends without end to whoever says a word.
async fn serve() -> Outcome<()> {
    let listener = TcpListener::bind(BARE).await?;
    println!("ready");
    let block = bytes::Bytes::from(vec![7; CHUNK]);
    loop {
        let mut socket = accept_async(listener.accept().await?.0).await?;
        // A client that is gone is done.
        while let Some(Ok(message)) = socket.next().await {
            if message.is_text() {
                while socket.send(Message::binary(block.clone())).await.is_ok() {}
            }
        }
    }
}

use std::collections::BTreeMap;
use std::error::Error;
use std::fmt;
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use futures_util::stream::{SplitSink, SplitStream};
use futures_util::{SinkExt, StreamExt};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
pub use tokio_tungstenite::tungstenite::Error as SocketError;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::http::HeaderValue;
use tokio_tungstenite::tungstenite::http::header::SEC_WEBSOCKET_PROTOCOL;
use tokio_tungstenite::{WebSocketStream, client_async};
use webtun_wire::{Capsule, Hello, SUBPROTOCOL, VERSION, capsules};

type Socket = WebSocketStream<TcpStream>;

/// What became of the attack.
#[derive(Debug, Default)]
pub struct Tally {
    /// Sessions that were opened.
    pub sessions: u64,
    /// Messages that the gateway's side has taken.
    pub messages: u64,
    /// Packets that were made.
    pub packets: u64,
    octets: u64,
    closes: BTreeMap<String, u64>,
    answers: Answers,
}

/// What came back.
#[derive(Debug, Default)]
struct Answers {
    datagrams: u64,
    denials: u64,
    others: u64,
}

impl Tally {
    /// A message of this length was taken.
    pub fn count(&mut self, len: usize) {
        self.messages += 1;
        self.octets += len as u64;
    }

    fn close(&mut self, why: String) {
        *self.closes.entry(why).or_default() += 1;
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { sessions, messages, packets, octets, closes, answers } = self;
        write!(f, "sessions={sessions} messages={messages} packets={packets} octets={octets} ")?;
        write!(f, "datagrams={} denials={} others={}", answers.datagrams, answers.denials, answers.others)?;
        closes.iter().try_for_each(|(why, count)| write!(f, " closed:{why}={count}"))
    }
}

/// A session on its connection.
pub struct Link {
    sink: SplitSink<Socket, Message>,
    reader: Option<JoinHandle<Option<String>>>,
    answers: Arc<Mutex<Answers>>,
    addresses: [IpAddr; 2],
    number: u64,
    /// What the gateway's messages have come to.
    received: Arc<AtomicU64>,
    /// Kept open, and never read.
    _unread: Option<SplitStream<Socket>>,
}

impl Link {
    /// Opens a session. None where it is refused. Without `listens` nothing is read after the handshake.
    pub async fn open(
        url: &str,
        token: &str,
        listens: bool,
        tally: &mut Tally,
    ) -> Result<Option<Self>, Box<dyn Error>> {
        let mut request = url.into_client_request()?;
        request.headers_mut().insert(SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static(SUBPROTOCOL));
        let Ok(stream) = TcpStream::connect(authority(url)).await else {
            tally.close("connect".to_owned());
            return Ok(None);
        };
        let (mut socket, _) = match client_async(request, stream).await {
            Ok(opened) => opened,
            Err(error) => {
                tally.close(format!("upgrade({})", short(&error)));
                return Ok(None);
            }
        };
        let hello = Hello { min_version: VERSION, max_version: VERSION, token: token.as_bytes(), resume: None };
        let mut message = Vec::new();
        Capsule::Hello(hello).encode(&mut message);
        let answered = match socket.send(Message::Binary(message.into())).await {
            Ok(()) => socket.next().await,
            Err(error) => Some(Err(error)),
        };
        let Some(Ok(Message::Binary(answer))) = answered else {
            tally.close("handshake".to_owned());
            return Ok(None);
        };
        let Some(addresses) = lease(&answer) else {
            tally.close(close_code(&answer).unwrap_or_else(|| "handshake".to_owned()));
            return Ok(None);
        };
        tally.sessions += 1;
        Ok(Some(Self::start(socket, addresses, listens)))
    }

    fn start(socket: Socket, addresses: [IpAddr; 2], listens: bool) -> Self {
        let (sink, stream) = socket.split();
        let (answers, received) = (Arc::default(), Arc::default());
        let (reader, unread) = if listens {
            (Some(tokio::spawn(read(stream, Arc::clone(&answers), Arc::clone(&received)))), None)
        } else {
            (None, Some(stream))
        };
        Self { sink, reader, answers, addresses, number: 0, received, _unread: unread }
    }

    /// The session's inner addresses.
    pub fn addresses(&self) -> [IpAddr; 2] {
        self.addresses
    }

    /// What the next sequenced message is to begin with.
    pub fn next_number(&self) -> (u64, u64) {
        (self.number, self.received.load(Ordering::Relaxed))
    }

    /// Sends a message and gives its length.
    pub async fn send(&mut self, message: Vec<u8>) -> Result<usize, SocketError> {
        let len = message.len();
        self.sink.send(Message::Binary(message.into())).await.map(|()| len)
    }

    /// Sends a message that has used [`Link::next_number`].
    pub async fn send_sequenced(&mut self, message: Vec<u8>) -> Result<usize, SocketError> {
        self.number += 1;
        self.send(message).await
    }

    /// Ends the connection and notes what the gateway has said last.
    pub async fn finish(mut self, tally: &mut Tally) {
        if let Some(reader) = self.reader.take() {
            let patience = std::time::Duration::from_millis(100);
            let aborter = reader.abort_handle();
            match tokio::time::timeout(patience, reader).await {
                Ok(Ok(why)) => tally.close(why.unwrap_or_else(|| "lost".to_owned())),
                _ => aborter.abort(),
            }
        }
        let answers = std::mem::take(&mut *self.answers.lock().unwrap_or_else(PoisonError::into_inner));
        tally.answers.datagrams += answers.datagrams;
        tally.answers.denials += answers.denials;
        tally.answers.others += answers.others;
    }
}

/// Reads to the end, and says how it ended.
async fn read(
    mut stream: SplitStream<Socket>,
    answers: Arc<Mutex<Answers>>,
    received: Arc<AtomicU64>,
) -> Option<String> {
    let mut close = None;
    while let Some(Ok(item)) = stream.next().await {
        let Message::Binary(message) = item else { continue };
        close = close_code(&message).or(close);
        count(&message, &mut answers.lock().unwrap_or_else(PoisonError::into_inner), &received);
    }
    close
}

fn count(message: &Bytes, answers: &mut Answers, received: &AtomicU64) {
    for capsule in capsules(message).map_while(Result::ok) {
        match capsule {
            Capsule::Sequence { number } => received.store(number + 1, Ordering::Relaxed),
            Capsule::Datagram { .. } => answers.datagrams += 1,
            Capsule::FlowDenied(_) => answers.denials += 1,
            _ => answers.others += 1,
        }
    }
}

fn lease(answer: &[u8]) -> Option<[IpAddr; 2]> {
    capsules(answer).map_while(Result::ok).find_map(|capsule| {
        let Capsule::AddressAssign(addresses) = capsule else { return None };
        let of = |ipv6: bool| addresses.iter().map(|a| a.prefix.address).find(|address| address.is_ipv6() == ipv6);
        Some([of(false)?, of(true)?])
    })
}

fn close_code(message: &[u8]) -> Option<String> {
    capsules(message).map_while(Result::ok).find_map(|capsule| match capsule {
        Capsule::Close(close) => Some(format!("{:?}", close.code)),
        _ => None,
    })
}

/// HOST:PORT of an address.
pub fn authority(url: &str) -> &str {
    url.split("://").nth(1).unwrap_or(url).split('/').next().unwrap_or_default()
}

fn short(error: &SocketError) -> String {
    match error {
        SocketError::Http(response) => response.status().as_str().to_owned(),
        other => other.to_string().split_whitespace().next().unwrap_or_default().to_owned(),
    }
}

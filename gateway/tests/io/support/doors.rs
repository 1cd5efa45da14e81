//! Clients of the doors that carry connections, and servers for them.

use super::{PATIENCE, other_machine, there};
use futures_util::{SinkExt, StreamExt};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::process::Child;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_tungstenite::{WebSocketStream, client_async};

/// This machine's address, which only a rule makes reachable.
pub const HERE: &str = "192.0.2.7";
/// A gateway without a TUN device, whose clients get there.
pub const SETTINGS: [&str; 6] = [
    "--listen",
    "127.0.0.1:0",
    "--egress",
    "user",
    "--set",
    "policy.rule=[{action=\"allow\",prefix=\"192.0.2.7/32\"},{action=\"allow\",prefix=\"192.0.2.0/24\"}]",
];

/// What a client has been sent.
#[derive(Debug, PartialEq, Eq)]
pub enum Heard {
    Message(Vec<u8>),
    /// The close frame's code and reason.
    Closed(u16, String),
    Lost,
}

/// A WebSocket at a door.
pub struct Door(pub WebSocketStream<TcpStream>);

impl Door {
    pub async fn open(gateway: SocketAddr, path: &str, protocol: Option<&str>) -> Result<Self, Error> {
        let mut request = format!("ws://{gateway}{path}").into_client_request()?;
        if let Some(protocol) = protocol {
            request.headers_mut().insert("sec-websocket-protocol", protocol.parse().expect("a header value"));
        }
        let stream = TcpStream::connect(gateway).await?;
        stream.set_nodelay(true)?;
        client_async(request, stream).await.map(|(socket, _)| Self(socket))
    }

    pub async fn send(&mut self, message: &[u8]) {
        self.0.send(Message::Binary(message.to_vec().into())).await.expect("sending");
    }

    pub async fn hear(&mut self) -> Heard {
        loop {
            match self.0.next().await {
                Some(Ok(Message::Binary(message))) => return Heard::Message(message.to_vec()),
                Some(Ok(Message::Close(frame))) => {
                    let (code, reason) =
                        frame.map_or((1005, String::new()), |it| (it.code.into(), it.reason.to_string()));
                    return Heard::Closed(code, reason);
                }
                Some(Ok(_)) => {}
                Some(Err(_)) | None => return Heard::Lost,
            }
        }
    }

    pub async fn message(&mut self) -> Vec<u8> {
        match self.hear().await {
            Heard::Message(message) => message,
            other => panic!("no message: {other:?}"),
        }
    }

    /// Octets up to this many, or the end; and the code of that.
    pub async fn octets(&mut self, count: usize) -> (Vec<u8>, Option<u16>) {
        let mut all = Vec::new();
        while all.len() < count {
            match self.hear().await {
                Heard::Message(message) => all.extend_from_slice(&message),
                Heard::Closed(code, _) => return (all, Some(code)),
                Heard::Lost => panic!("the WebSocket has broken"),
            }
        }
        (all, None)
    }
}

/// A packet of Wisp.
pub fn packet(kind: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    [&[kind][..], &stream.to_le_bytes(), payload].concat()
}

/// A client of Wisp that keeps to its credits.
pub struct Wisp {
    pub door: Door,
    first: u32,
    credits: BTreeMap<u32, u32>,
    /// What has come, and the reason of the end.
    pub received: BTreeMap<u32, Vec<u8>>,
    pub closed: BTreeMap<u32, u8>,
    /// CONTINUEs per stream.
    pub told: BTreeMap<u32, u32>,
}

impl Wisp {
    /// By the first version.
    pub async fn open(gateway: SocketAddr) -> Self {
        Self::greeted(Door::open(gateway, "/wisp/", None).await.expect("a WebSocket")).await
    }

    /// Waits for the CONTINUE that opens a connection.
    pub async fn greeted(mut door: Door) -> Self {
        let hello = door.message().await;
        assert_eq!(hello[..5], [3, 0, 0, 0, 0], "CONTINUE for stream 0");
        let first = u32::from_le_bytes(hello[5..].try_into().expect("a number"));
        let (credits, received, closed, told) = Default::default();
        Self { door, first, credits, received, closed, told }
    }

    pub async fn connect(&mut self, stream: u32, kind: u8, host: &str, port: u16) {
        let payload = [&[kind][..], &port.to_le_bytes(), host.as_bytes()].concat();
        self.door.send(&packet(1, stream, &payload)).await;
        self.credits.insert(stream, self.first);
    }

    pub async fn close(&mut self, stream: u32) {
        self.door.send(&packet(4, stream, &[2])).await;
    }

    /// Sends without a look at credits.
    pub async fn data(&mut self, stream: u32, data: &[u8]) {
        self.door.send(&packet(2, stream, data)).await;
    }

    /// Sends in packets of this length, as credits allow.
    pub async fn upload(&mut self, stream: u32, data: &[u8], length: usize) {
        for piece in data.chunks(length) {
            while self.credits[&stream] == 0 {
                self.step().await;
            }
            *self.credits.get_mut(&stream).expect("open") -= 1;
            self.data(stream, piece).await;
        }
    }

    /// As [`Wisp::upload`], until credits are used up; how many packets that took.
    pub async fn flood(&mut self, stream: u32, length: usize) -> u32 {
        let packets = std::mem::take(self.credits.get_mut(&stream).expect("open"));
        for _ in 0..packets {
            self.data(stream, &vec![7; length]).await;
        }
        packets
    }

    /// Takes the next packet.
    pub async fn step(&mut self) {
        let message = tokio::time::timeout(PATIENCE, self.door.message()).await.expect("a packet in time");
        let (stream, payload) = (u32::from_le_bytes(message[1..5].try_into().expect("a header")), &message[5..]);
        match message[0] {
            2 => self.received.entry(stream).or_default().extend_from_slice(payload),
            3 => {
                self.credits.insert(stream, u32::from_le_bytes(payload.try_into().expect("a number")));
                *self.told.entry(stream).or_default() += 1;
            }
            4 => drop(self.closed.insert(stream, payload[0])),
            other => panic!("a packet of type {other}"),
        }
    }

    /// Until so much has come on a stream.
    pub async fn receive(&mut self, stream: u32, octets: usize) -> Vec<u8> {
        while self.received.get(&stream).map_or(0, Vec::len) < octets {
            assert!(
                !self.closed.contains_key(&stream),
                "closed after {:?}: {:?}",
                self.received.get(&stream).map(Vec::len),
                self.closed
            );
            self.step().await;
        }
        self.received.remove(&stream).unwrap_or_default()
    }

    /// Until a stream is closed: why.
    pub async fn end(&mut self, stream: u32) -> u8 {
        while !self.closed.contains_key(&stream) {
            self.step().await;
        }
        self.closed[&stream]
    }
}

/// Octets that are recognised by their place.
pub fn pattern(count: usize) -> Vec<u8> {
    (0..count as u32).map(|at| ((at.wrapping_mul(2_654_435_761)) >> 13) as u8).collect()
}

/// Serves each connection to a port of this machine.
pub async fn serve<F, S>(serve: F) -> u16
where
    F: Fn(TcpStream) -> S + Send + 'static,
    S: Future<Output = ()> + Send + 'static,
{
    let listener = TcpListener::bind((HERE, 0)).await.expect("a port");
    let port = listener.local_addr().expect("bound").port();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(serve(stream));
        }
    });
    port
}

/// Sends back what it gets.
pub async fn echo() -> u16 {
    serve(|mut stream| async move {
        let (mut from, mut to) = stream.split();
        let _ = tokio::io::copy(&mut from, &mut to).await;
    })
    .await
}

/// Reads to the end, and answers with how many octets that were and whether they are a [`pattern`].
pub async fn sink() -> u16 {
    serve(|mut stream| async move {
        let mut all = Vec::new();
        let told = match stream.read_to_end(&mut all).await {
            Ok(_) => format!("{} {}", all.len(), all == pattern(all.len())),
            Err(error) => format!("{} {error}", all.len()),
        };
        let _ = stream.write_all(told.as_bytes()).await;
    })
    .await
}

/// Takes a connection, and never reads.
pub async fn stalled() -> u16 {
    serve(|stream| async move {
        let _stream = stream;
        std::future::pending::<()>().await;
    })
    .await
}

/// Sends datagrams back, at port 7 of [`THERE`]: of this machine's own addresses none come back.
pub fn echo_datagrams() -> Echo {
    other_machine();
    let mut server = there(
        "exec python3 -uc 'import socket
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.bind((\"\", 7))
print(\"ready\")
while True:
    data, peer = s.recvfrom(65536)
    s.sendto(data, peer)'",
    );
    let mut ready = [0; 6];
    std::io::Read::read_exact(server.stdout.as_mut().expect("piped"), &mut ready).expect("the server's word");
    Echo(server)
}

/// Another machine's address.
pub const THERE: &str = "192.0.2.1";

/// Ends the server with the value.
pub struct Echo(Child);

impl Drop for Echo {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

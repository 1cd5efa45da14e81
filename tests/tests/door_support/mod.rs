//! Virtual machines behind raw WebSockets at the doors of a real gateway.
#![allow(clippy::disallowed_methods, reason = "these tests run in real time")]
#![allow(dead_code, reason = "each test file uses a part")]

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::task::Poll;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures_util::{SinkExt, StreamExt};
use hickory_proto::op::{Message as Dns, OpCode, Query};
use hickory_proto::rr::{Name, RData, RecordType};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::http::HeaderValue;
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_tungstenite::{WebSocketStream, client_async};
use webtun_stack::bridge::MacAddress;
use webtun_tests::guest::Guest;
use webtun_tests::lab::{Lab, TOKEN};
use webtun_tests::rng::SimRng;
use webtun_wire::Instant;

/// Where the lab's gateway listens.
pub const GATEWAY: &str = "10.81.0.1:8077";
/// How long anything may take. A busy machine must not make a test fail.
pub const PATIENCE: Duration = Duration::from_secs(60);

const MARK: &[u8] = b"is anybody else here?";

pub type WebSocket = WebSocketStream<TcpStream>;

/// Runs a future to its end.
pub fn block_on<T>(future: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(future)
}

/// Opens a WebSocket from the lab's client to a path of its gateway, with these subprotocols.
pub async fn try_open(lab: &Lab, path: &str, protocols: Option<&str>) -> Result<(WebSocket, Option<String>), Error> {
    let stream = lab.client.within(|| std::net::TcpStream::connect(GATEWAY))?;
    stream.set_nonblocking(true).expect("a setting");
    stream.set_nodelay(true).expect("a setting");
    let mut request = format!("ws://{GATEWAY}{path}").into_client_request()?;
    if let Some(protocols) = protocols {
        let value = HeaderValue::from_str(protocols).expect("a header value");
        request.headers_mut().insert("sec-websocket-protocol", value);
    }
    let (socket, response) = client_async(request, TcpStream::from_std(stream)?).await?;
    let chosen = response.headers().get("sec-websocket-protocol");
    Ok((socket, chosen.map(|it| it.to_str().expect("text").to_owned())))
}

/// Opens one by its address alone, as often as it takes: for emulators that try again.
pub async fn open_again(lab: &Lab, path: &str) -> WebSocket {
    let end = tokio::time::Instant::now() + PATIENCE;
    loop {
        match try_open(lab, path, None).await {
            Ok((socket, _)) => return socket,
            Err(Error::Io(_)) if tokio::time::Instant::now() < end => {
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
            Err(error) => panic!("the door does not open: {error}"),
        }
    }
}

/// Opens one with the lab's token.
pub async fn open(lab: &Lab, path: &str) -> WebSocket {
    let (socket, chosen) =
        try_open(lab, path, Some(&format!("binary, bearer.{TOKEN}"))).await.expect("the door answers");
    assert_eq!(chosen.as_deref(), Some("binary"));
    socket
}

/// What the WebSocket is closed with.
pub async fn closing(socket: &mut WebSocket) -> (u16, String) {
    let told = async {
        loop {
            match socket.next().await {
                Some(Ok(Message::Close(Some(frame)))) => return (frame.code.into(), frame.reason.to_string()),
                Some(Ok(_)) => {}
                other => panic!("no close frame but {other:?}"),
            }
        }
    };
    tokio::time::timeout(PATIENCE, told).await.expect("it is closed")
}

/// A ticket of the lab's token.
pub fn ticket(lab: &Lab) -> String {
    let answer = lab.client.exec(
        "curl",
        &["-sS", "-X", "POST", "-H", &format!("Authorization: Bearer {TOKEN}"), &format!("http://{GATEWAY}/ticket")],
    );
    let ticket = answer.split_once("\"ticket\":\"").and_then(|(_, rest)| rest.split_once('"'));
    ticket.unwrap_or_else(|| panic!("no ticket: {answer}")).0.to_owned()
}

/// A figure of the gateway, by its name and labels.
pub fn figure(lab: &Lab, name: &str) -> u64 {
    let text = lab.gateway.exec("curl", &["-sS", "http://127.0.0.1:9077/metrics"]);
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    line.unwrap_or_else(|| panic!("no {name}: {text}")).trim().parse().expect("a number")
}

/// Waits until a figure of the gateway is as wanted: rooms show what they count once a second.
pub async fn wait_for_figure(lab: &Lab, name: &str, is_wanted: impl Fn(u64) -> bool) {
    let end = tokio::time::Instant::now() + PATIENCE;
    loop {
        let value = figure(lab, name);
        if is_wanted(value) {
            return;
        }
        assert!(tokio::time::Instant::now() < end, "{name} is {value} still");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// A virtual machine at a door.
pub struct Vm {
    pub guest: Guest,
    pub socket: WebSocket,
    /// Every frame that has come.
    pub seen: Vec<Vec<u8>>,
    /// For QEMU's framing: where messages are cut, and what is not complete yet.
    stream: Option<(SimRng, BytesMut)>,
    started: std::time::Instant,
}

impl Vm {
    /// Switched on, at `/ethernet/` or `/qemu/`.
    pub async fn new(lab: &Lab, path: &str, mac: u8, mtu: usize) -> Self {
        Self::behind(open(lab, path).await, path, mac, mtu)
    }

    /// The same, by an address that has its credential.
    pub async fn by_address(lab: &Lab, path: &str, mac: u8) -> Self {
        Self::behind(open_again(lab, path).await, path, mac, 1500)
    }

    fn behind(socket: WebSocket, path: &str, mac: u8, mtu: usize) -> Self {
        let mac = MacAddress([2, 0, 0, 0, 0, mac]);
        let stream = path.starts_with("/qemu/").then(|| (SimRng::new(mac.0[5].into(), path), BytesMut::new()));
        let guest = Guest::new(mac, mtu, Instant::from_micros(0));
        let started = std::time::Instant::now();
        Self { guest, socket, seen: Vec::new(), stream, started }
    }

    fn now(&self) -> Instant {
        Instant::from_micros(self.started.elapsed().as_micros() as u64)
    }

    /// Sends one frame, whatever it is.
    pub async fn send(&mut self, frame: &[u8]) {
        match &mut self.stream {
            None => self.socket.feed(Message::Binary(frame.to_vec().into())).await.expect("sending"),
            Some((rng, _)) => {
                let mut octets = (frame.len() as u32).to_be_bytes().to_vec();
                octets.extend_from_slice(frame);
                let mut rest = &octets[..];
                while !rest.is_empty() {
                    let (piece, more) = rest.split_at(rng.within(1, rest.len() as u64) as usize);
                    self.socket.feed(Message::Binary(piece.to_vec().into())).await.expect("sending");
                    rest = more;
                }
            }
        }
    }

    fn receive(&mut self, message: &[u8]) {
        let Some((_, rest)) = &mut self.stream else {
            self.guest.handle_frame(message);
            return self.seen.push(message.to_vec());
        };
        rest.extend_from_slice(message);
        while let Some(header) = rest.first_chunk::<4>() {
            let len = u32::from_be_bytes(*header) as usize;
            if rest.len() < 4 + len {
                return;
            }
            let frame = rest.split_to(4 + len).split_off(4);
            self.guest.handle_frame(&frame);
            self.seen.push(frame.to_vec());
        }
    }

    async fn send_all(&mut self) {
        self.guest.run(self.now());
        while let Some(frame) = self.guest.poll_frame() {
            self.send(&frame).await;
        }
        self.socket.flush().await.expect("sending");
    }

    /// Goes on until `done` holds.
    pub async fn run_until(&mut self, what: &str, mut done: impl FnMut(&mut Guest) -> bool) {
        run(&mut [self], what, |all| done(&mut all[0].guest)).await;
    }

    /// Waits for the lease.
    pub async fn boot(&mut self) -> (Ipv4Addr, Ipv4Addr, Ipv4Addr) {
        self.run_until("a lease", |guest| guest.lease.is_some()).await;
        self.guest.lease.expect("there is one")
    }

    /// The IPv4 address of a name, from the name server that DHCP has told.
    pub async fn resolve(&mut self, name: &str) -> IpAddr {
        let (_, _, server) = self.guest.lease.expect("a lease");
        let mut query = Dns::new(7, hickory_proto::op::MessageType::Query, OpCode::Query);
        query.metadata.recursion_desired = true;
        query.add_query(Query::query(Name::from_ascii(name).expect("a name"), RecordType::A));
        let octets = query.to_vec().expect("a message");
        let mut found = None;
        let (mut sent, mut at) = (None, std::time::Instant::now());
        self.run_until("an answer of the name server", |guest| {
            if sent.is_none() || at.elapsed() > Duration::from_secs(2) {
                // Until the session stands there is no way out.
                guest.send_datagram(SocketAddr::new(server.into(), 53), &octets);
                (sent, at) = (Some(()), std::time::Instant::now());
            }
            while let Some((answer, from)) = guest.receive_datagram() {
                assert_eq!(from.ip(), IpAddr::V4(server));
                let answer = Dns::from_vec(&answer).expect("a message");
                found = answer.answers.iter().find_map(|record| match &record.data {
                    RData::A(address) => Some(IpAddr::V4(address.0)),
                    _ => None,
                });
            }
            found.is_some()
        })
        .await;
        found.expect("an address")
    }

    /// Pings until there is an answer.
    pub async fn ping(&mut self, to: IpAddr) {
        let mut at = None;
        self.run_until("an echo reply", |guest| {
            if at.is_none_or(|it: std::time::Instant| it.elapsed() > Duration::from_secs(1)) {
                guest.send_icmp(&echo_request(), to);
                at = Some(std::time::Instant::now());
            }
            guest.receive_icmp().is_some_and(|(message, from)| from == to && message[0] == 0)
        })
        .await;
    }

    /// Lives on for a while.
    pub async fn idle(&mut self, time: Duration) {
        let end = tokio::time::Instant::now() + time;
        self.run_until("the end", |_| tokio::time::Instant::now() >= end).await;
    }

    /// The body of an HTTP answer.
    pub async fn get(&mut self, server: IpAddr, port: u16, path: &str) -> Vec<u8> {
        let request = format!("GET {path} HTTP/1.1\r\nHost: www.playground.test\r\nConnection: close\r\n\r\n");
        let index = self.guest.request(SocketAddr::new(server, 80), port, request.as_bytes());
        self.run_until("an HTTP answer", |guest| guest.requests[index].is_complete).await;
        let answer = &self.guest.requests[index].answer;
        let head = answer.windows(4).position(|it| it == b"\r\n\r\n").expect("a head");
        assert!(answer.starts_with(b"HTTP/1.1 200"), "{}", String::from_utf8_lossy(&answer[..head]));
        answer[head + 4..].to_vec()
    }
}

/// Lets several run until `done` holds.
pub async fn run(vms: &mut [&mut Vm], what: &str, mut done: impl FnMut(&mut [&mut Vm]) -> bool) {
    let end = tokio::time::Instant::now() + PATIENCE;
    loop {
        for vm in vms.iter_mut() {
            vm.send_all().await;
        }
        if done(vms) {
            return;
        }
        assert!(tokio::time::Instant::now() < end, "in vain waited for {what}");
        let incoming = std::future::poll_fn(|context| {
            for (index, vm) in vms.iter_mut().enumerate() {
                if let Poll::Ready(item) = vm.socket.poll_next_unpin(context) {
                    return Poll::Ready((index, item));
                }
            }
            Poll::Pending
        });
        let mut next = tokio::time::timeout(Duration::from_millis(10), incoming).await.ok();
        // What has come at once goes in at once, so that answers leave together.
        for _ in 0..64 {
            let Some((index, item)) = next else { break };
            match item {
                Some(Ok(Message::Binary(message))) => vms[index].receive(&message),
                Some(Ok(Message::Ping(_) | Message::Pong(_))) => {}
                other => panic!("while waiting for {what}: {other:?}"),
            }
            let more = std::future::poll_fn(|context| {
                Poll::Ready(match vms[index].socket.poll_next_unpin(context) {
                    Poll::Ready(item) => Some((index, item)),
                    Poll::Pending => None,
                })
            });
            next = more.await;
        }
    }
}

/// A connection from the second to the first, which has this address, and a mebioctet each way.
pub async fn exchange((server, address): (&mut Vm, Ipv4Addr), client: &mut Vm) {
    const SEED: u64 = 5;
    const OCTETS: u64 = 1 << 20;
    server.guest.listen(9000, SEED, OCTETS);
    client.guest.connect(SocketAddr::new(address.into(), 9000), 30_000, SEED, OCTETS);
    let is_complete = |vm: &&mut Vm| vm.guest.connections[0].is_complete();
    run(&mut [server, client], "both streams", |all| all.iter().all(is_complete)).await;
}

/// An ICMP echo request with identifier 7.
pub fn echo_request() -> Vec<u8> {
    let mut message = vec![8, 0, 0, 0, 0, 7, 0, 1];
    message.extend_from_slice(b"are you there?!!");
    let sum: u32 = message.chunks(2).map(|pair| u32::from(u16::from_be_bytes([pair[0], pair[1]]))).sum();
    let sum = !((sum & 0xffff) + (sum >> 16)) as u16;
    message[2..4].copy_from_slice(&sum.to_be_bytes());
    message
}

/// A frame of an EtherType.
pub fn frame(to: [u8; 6], from: [u8; 6], ether_type: u16, payload: &[u8]) -> Vec<u8> {
    let mut frame = to.to_vec();
    frame.extend_from_slice(&from);
    frame.extend_from_slice(&ether_type.to_be_bytes());
    frame.extend_from_slice(payload);
    frame
}

/// Everything that may reach a neighbour, marked.
pub async fn shout(vm: &mut Vm) {
    let own = vm.guest.mac.0;
    let arp = |target: [u8; 4]| [&[0, 1, 8, 0, 6, 4, 0, 1][..], &own, &[0; 10], &target, MARK].concat();
    for to in [[0xff; 6], [2, 0, 0, 0, 0, 1], [2, 0, 0, 0, 0, 2]] {
        for last in 1..10 {
            vm.send(&frame(to, own, 0x0806, &arp([192, 168, 127, last]))).await;
        }
    }
    vm.idle(Duration::from_millis(300)).await;
}

/// Whether a neighbour has shouted.
pub fn has_heard(vm: &Vm) -> bool {
    vm.seen.iter().any(|frame| frame.windows(MARK.len()).any(|part| part == MARK))
}

/// A message that is no frame of anybody.
pub fn binary(octets: &[u8]) -> Message {
    Message::Binary(Bytes::copy_from_slice(octets))
}

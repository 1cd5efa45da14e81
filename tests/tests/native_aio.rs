//! The async handles over a transport in memory: a real dataplane, an echo server behind it, and tokio's clock stopped.

use std::io;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures_util::{Sink, Stream, sink};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::mpsc::{Receiver, Sender, channel};
use tokio::time::{sleep, sleep_until, timeout};
use webtun_gateway::dataplane::{Action, Destination, ExternalAddress, Gateway, GatewayConfig, Peer, Rule, SessionId};
use webtun_stack::aio::{ConnectOptions, Connector, OpenError, StackHandle, connect_with};
use webtun_stack::{
    Family, Host, HostConfig, Instant, ListenOptions, Received, ResolveError, SocketId, Status, TcpOptions, UdpOptions,
};
use webtun_tests::pattern;
use webtun_wire::OffloadHeader;

const REMOTE: &str = "198.18.0.2:7";
const CLOSED_PORT: &str = "198.18.0.2:8";

/// One connection, seen from the gateway.
struct Link {
    to_client: Sender<Bytes>,
    from_client: Receiver<Bytes>,
}

/// Opens connections to the world's gateway, unless it is told to fail.
#[derive(Clone)]
struct InMemory {
    links: Sender<Link>,
    down: Arc<AtomicBool>,
    closes_on_flush: Arc<Mutex<Option<StackHandle>>>,
}

struct MemoryTransport {
    incoming: Receiver<Bytes>,
    outgoing: Pin<Box<dyn Sink<Bytes, Error = io::Error> + Send>>,
    /// Is closed when something has been sent: between the last look for messages and the first for events.
    closes_on_flush: Arc<Mutex<Option<StackHandle>>>,
}

impl Connector for InMemory {
    type Transport = MemoryTransport;

    fn connect(&self) -> impl Future<Output = io::Result<MemoryTransport>> + Send + 'static {
        let this = self.clone();
        async move {
            if this.down.load(Ordering::Relaxed) {
                return Err(io::ErrorKind::ConnectionRefused.into());
            }
            let (to_client, incoming) = channel(4);
            let (sender, from_client) = channel(4);
            this.links.send(Link { to_client, from_client }).await.map_err(io::Error::other)?;
            let outgoing = sink::unfold(sender, |sender: Sender<Bytes>, message| async move {
                sender.send(message).await.map_err(io::Error::other)?;
                Ok(sender)
            });
            let closes_on_flush = this.closes_on_flush;
            Ok(MemoryTransport { incoming, outgoing: Box::pin(outgoing), closes_on_flush })
        }
    }
}

impl Stream for MemoryTransport {
    type Item = io::Result<Bytes>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.incoming.poll_recv(context).map(|message| message.map(Ok))
    }
}

impl Sink<Bytes> for MemoryTransport {
    type Error = io::Error;

    fn poll_ready(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.outgoing.as_mut().poll_ready(context)
    }

    fn start_send(mut self: Pin<&mut Self>, message: Bytes) -> io::Result<()> {
        self.outgoing.as_mut().start_send(message)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        if let Some(net) = self.closes_on_flush.lock().expect("nobody panics").take() {
            let is_closed = pin!(net.close()).poll(context);
            assert!(is_closed.is_pending(), "it takes another turn");
        }
        self.outgoing.as_mut().poll_flush(context)
    }

    fn poll_close(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.outgoing.as_mut().poll_close(context)
    }
}

/// The gateway, and a host with an echo server behind it.
struct World {
    gateway: Gateway,
    remote: Host,
    listener: SocketId,
    open: Vec<SocketId>,
    start: tokio::time::Instant,
    link: Option<(Link, Option<SessionId>)>,
    sessions: Arc<AtomicUsize>,
}

/// What a test holds of the world.
struct Control {
    connector: InMemory,
    cut: Sender<()>,
    sessions: Arc<AtomicUsize>,
}

impl World {
    fn start() -> Control {
        let now = Instant::ZERO;
        let external = "198.18.0.1".parse().expect("an address");
        let mut config = GatewayConfig::new(vec![ExternalAddress { address: external, announced: external }]);
        let allowed = "198.18.0.0/15".parse().ok();
        config.rules = vec![Rule { destination: allowed, ..Rule::new(Action::Allow) }];
        let echo: SocketAddr = REMOTE.parse().expect("an address");
        let mut remote = Host::new(HostConfig::new([2; 32]), now);
        remote.set_addresses(&[(echo.ip(), 24)], now);
        let listener = remote.tcp_listen(echo, ListenOptions::default(), now).expect("the port is free");
        let (links, new_links) = channel(1);
        let (cut, cuts) = channel(1);
        let sessions = Arc::new(AtomicUsize::new(0));
        let world = Self {
            gateway: Gateway::new(config, [1; 32], now).expect("the configuration is sound"),
            remote,
            listener,
            open: Vec::new(),
            start: tokio::time::Instant::now(),
            link: None,
            sessions: sessions.clone(),
        };
        tokio::spawn(world.run(new_links, cuts));
        Control { connector: InMemory { links, down: Arc::default(), closes_on_flush: Arc::default() }, cut, sessions }
    }

    fn now(&self) -> Instant {
        Instant::from_micros(self.start.elapsed().as_micros() as u64)
    }

    async fn run(mut self, mut links: Receiver<Link>, mut cuts: Receiver<()>) {
        loop {
            let wanted = self.gateway.poll_timeout().into_iter().chain(self.remote.poll_timeout()).min();
            let at = wanted.map_or(Duration::from_secs(3600), |at| at - Instant::ZERO);
            tokio::select! {
                link = links.recv() => match link {
                    Some(link) => { self.lose_link(); self.link = Some((link, None)); }
                    None => return,
                },
                message = receive(&mut self.link) => self.uplink(message),
                Some(()) = cuts.recv() => self.lose_link(),
                () = sleep_until(self.start + at) => {}
            }
            let now = self.now();
            self.gateway.handle_timeout(now);
            self.remote.handle_timeout(now);
            self.pump(now).await;
        }
    }

    fn uplink(&mut self, message: Option<Bytes>) {
        let now = self.now();
        match (message, &mut self.link) {
            (Some(message), Some((_, Some(id)))) => {
                self.gateway
                    .process_uplink(*id, BytesMut::from(&message[..]), now)
                    .expect("the client is well-behaved");
            }
            (Some(message), Some((_, session))) => {
                let id = self.gateway.handshake(&message, &Peer::new("test"), now).expect("the handshake is sound");
                *session = Some(id);
            }
            (None, _) | (_, None) => self.lose_link(),
        }
    }

    fn lose_link(&mut self) {
        if let Some((_, Some(id))) = self.link.take() {
            self.gateway.disconnect(id, self.now());
        }
    }

    async fn pump(&mut self, now: Instant) {
        let mut progress = true;
        while progress {
            progress = false;
            while let Some(transmit) = self.gateway.poll_transmit() {
                progress = true;
                if transmit.to == Destination::Egress {
                    self.remote.handle_packet(&transmit.packet, now);
                }
            }
            self.echo(now);
            while let Some(packet) = self.remote.poll_packet(now) {
                progress = true;
                self.gateway.process_downlink(packet, &OffloadHeader::default(), now);
            }
        }
        while self.gateway.poll_event().is_some() {}
        if let Some((link, Some(id))) = &self.link {
            while let Some(message) = self.gateway.poll_message(*id, now) {
                // A client that is gone shows at the next receive.
                let _ = link.to_client.send(message.into_bytes()).await;
            }
        }
        self.sessions.store(self.gateway.sessions().count(), Ordering::Relaxed);
    }

    fn echo(&mut self, now: Instant) {
        while self.remote.poll_event().is_some() {}
        self.open.extend(std::iter::from_fn(|| self.remote.tcp_accept(self.listener)));
        let mut buffer = [0; 65_536];
        for &id in &self.open {
            loop {
                let room = self.remote.tcp_writable(id).min(buffer.len());
                match self.remote.tcp_recv(id, &mut buffer[..room], now) {
                    Ok(Received::Data(len)) if len > 0 => {
                        assert_eq!(self.remote.tcp_send(id, &buffer[..len], now), Ok(len));
                    }
                    Ok(Received::Finished) => break self.remote.tcp_shutdown(id, now),
                    Ok(Received::Data(_) | Received::Empty) | Err(_) => break,
                }
            }
        }
    }
}

async fn receive(link: &mut Option<(Link, Option<SessionId>)>) -> Option<Bytes> {
    match link {
        Some((link, _)) => link.from_client.recv().await,
        None => std::future::pending().await,
    }
}

async fn open(control: &Control) -> StackHandle {
    connect_with(control.connector.clone(), ConnectOptions::default()).await.expect("the gateway answers")
}

fn address(text: &str) -> SocketAddr {
    text.parse().expect("an address")
}

#[tokio::test(start_paused = true)]
async fn a_stream_carries_both_ways_and_half_closes() {
    let net = open(&World::start()).await;
    let mut stream = net.tcp_connect(address(REMOTE), TcpOptions::default()).await.expect("it listens");
    let sent = pattern::octets(1, 3_000_000);
    let (mut reader, mut writer) = tokio::io::split(stream);
    let mut echoed = Vec::new();
    let write = async {
        writer.write_all(&sent).await?;
        writer.shutdown().await
    };
    let read = reader.read_to_end(&mut echoed);
    tokio::try_join!(write, async { read.await.map(|_| ()) }).expect("nothing fails");
    assert_eq!(echoed.len(), sent.len());
    assert_eq!(pattern::mismatch(1, 0, &echoed), None);
    stream = reader.unsplit(writer);
    timeout(Duration::from_secs(120), stream.closed()).await.expect("both directions are over");
}

/// No packet leaves, so no time passes, whether there is a tunnel or not.
#[tokio::test(start_paused = true)]
async fn it_is_connected_with_itself_at_once() {
    let control = World::start();
    let net = open(&control).await;
    let mut status = net.status();
    for address in ["127.0.0.1:7", "[::1]:7"].map(address) {
        let began = tokio::time::Instant::now();
        let listener = net.tcp_listen(address, ListenOptions::default()).expect("the port is free");
        let mut there = net.tcp_connect(address, TcpOptions::default()).await.expect("it listens");
        let mut here = listener.accept().await.expect("it was connected").0;
        there.write_all(b"hello").await.expect("it is connected");
        let mut heard = [0; 5];
        here.read_exact(&mut heard).await.expect("it is connected");
        assert_eq!(began.elapsed(), Duration::ZERO, "{address}");
        control.connector.down.store(true, Ordering::Relaxed);
        control.cut.send(()).await.expect("the world runs");
        status.wait_for(|status| matches!(status, Status::Reconnecting { .. })).await.expect("it goes on");
    }
}

#[tokio::test(start_paused = true)]
async fn whoever_closes_it_in_the_middle_of_a_turn_ends_the_session_too() {
    let control = World::start();
    let net = open(&control).await;
    assert_eq!(control.sessions.load(Ordering::Relaxed), 1);
    *control.connector.closes_on_flush.lock().expect("nobody panics") = Some(net.clone());
    let socket = net.udp_bind(address("0.0.0.0:0"), UdpOptions::default()).expect("a port is free");
    socket.send_to(b"hello", Some(address(REMOTE))).await.expect("it is sent");
    sleep(Duration::from_millis(1)).await;
    assert!(control.connector.closes_on_flush.lock().expect("nobody panics").is_none(), "it was closed");
    let ended = async {
        while control.sessions.load(Ordering::Relaxed) > 0 {
            sleep(Duration::from_millis(1)).await;
        }
    };
    timeout(Duration::from_secs(1), ended).await.expect("the gateway was told");
}

#[tokio::test(start_paused = true)]
async fn a_name_in_another_script_is_asked_for_in_ascii() {
    let net = open(&World::start()).await;
    let local = net.resolve("\u{ff4c}ocalhost", Family::V4).await;
    assert_eq!(local, Ok(vec![[127, 0, 0, 1].into()]), "the first letter is a fullwidth one");
    assert_eq!(net.resolve("\u{378}.example", Family::V4).await, Err(ResolveError::InvalidName), "nothing is assigned");
}

#[tokio::test(start_paused = true)]
async fn twenty_cuts_lose_nothing() {
    let control = World::start();
    let net = open(&control).await;
    let mut stream = net.tcp_connect(address(REMOTE), TcpOptions::default()).await.expect("it listens");
    let sent = pattern::octets(2, 20 * 50_000);
    for (index, part) in sent.chunks(50_000).enumerate() {
        stream.write_all(part).await.expect("the connection survives");
        control.cut.send(()).await.expect("the world runs");
        let mut echoed = vec![0; part.len()];
        stream.read_exact(&mut echoed).await.expect("the connection survives");
        assert_eq!(pattern::mismatch(2, index as u64 * 50_000, &echoed), None);
        // A cut while there is no link would be none.
        let back = async {
            while net.stats().reconnects <= index as u64
                || !matches!(net.status().borrow().clone(), Status::Connected { .. })
            {
                sleep(Duration::from_millis(10)).await;
            }
        };
        timeout(Duration::from_secs(60), back).await.expect("it comes back");
    }
    assert_eq!(net.stats().reconnects, 20, "{:?}", net.stats());
}

#[tokio::test(start_paused = true)]
async fn it_comes_back_when_the_gateway_does() {
    let control = World::start();
    let net = open(&control).await;
    let mut status = net.status();
    control.connector.down.store(true, Ordering::Relaxed);
    control.cut.send(()).await.expect("the world runs");
    status.wait_for(|status| matches!(status, Status::Reconnecting { attempt: 4.., .. })).await.expect("it tries");
    control.connector.down.store(false, Ordering::Relaxed);
    status.wait_for(|status| matches!(status, Status::Connected { resumed: true })).await.expect("it resumes");
}

#[tokio::test(start_paused = true)]
async fn the_first_failure_reaches_the_caller() {
    let control = World::start();
    control.connector.down.store(true, Ordering::Relaxed);
    let result = connect_with(control.connector.clone(), ConnectOptions::default()).await;
    assert!(matches!(result, Err(OpenError::Transport(error)) if error.kind() == io::ErrorKind::ConnectionRefused));
}

#[tokio::test(start_paused = true)]
async fn refused_is_an_error_of_its_own() {
    let net = open(&World::start()).await;
    let error = net.tcp_connect(address(CLOSED_PORT), TcpOptions::default()).await.map(|_| ()).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused);
    let socket = net.udp_bind(address("0.0.0.0:0"), UdpOptions::default()).expect("a port is free");
    socket.connect(address(CLOSED_PORT)).expect("it is an address");
    socket.send_to(b"anybody?", None).await.expect("there is room");
    assert_eq!(socket.recv().await.map(|_| ()).unwrap_err().kind(), io::ErrorKind::ConnectionRefused);
}

#[tokio::test(start_paused = true)]
async fn the_session_lives_as_long_as_its_last_socket() {
    let control = World::start();
    let net = open(&control).await;
    let stream = net.tcp_connect(address(REMOTE), TcpOptions::default()).await.expect("it listens");
    drop(net);
    sleep(Duration::from_secs(1)).await;
    assert_eq!(control.sessions.load(Ordering::Relaxed), 1);
    drop(stream);
    sleep(Duration::from_secs(1)).await;
    assert_eq!(control.sessions.load(Ordering::Relaxed), 0);
}

#[tokio::test(start_paused = true)]
async fn closing_ends_what_waits() {
    let net = open(&World::start()).await;
    let mut stream = net.tcp_connect(address(REMOTE), TcpOptions::default()).await.expect("it listens");
    let waiting = tokio::spawn(async move { stream.read_u8().await });
    net.close().await;
    let error = waiting.await.expect("it does not panic").unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::ConnectionAborted);
}

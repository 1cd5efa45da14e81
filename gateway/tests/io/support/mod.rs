//! A gateway in a network namespace of its own, and a client for it.
#![allow(clippy::disallowed_methods, reason = "tests read the clock")]

pub mod doors;
pub mod jwt;
pub mod mirror;
pub mod tunnel;

use ::http::HeaderValue;
use futures_util::{SinkExt, StreamExt};
use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, sync_channel};
use std::time::Duration;
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_tungstenite::{WebSocketStream, client_async};
use webtun_wire::{BatchWriter, Capsule, Hello, Resume, capsules};

/// The program under test.
pub const GATEWAY: &str = env!("CARGO_BIN_EXE_webtun-gateway");
const INSIDE: &str = "IO_TEST_INSIDE";
/// How long anything may take. A busy machine must not make a test fail.
const PATIENCE: Duration = Duration::from_secs(60);

/// Declares tests that run in network, mount and process namespaces of their own, which vanish with whatever is in them
/// when the test ends, however it ends. In there, `eth0` is the way out, with 192.0.2.7/24 and 2001:db8::7/64; its other
/// end is `peer0`.
macro_rules! isolated {
    ($($(#[$meta:meta])* fn $name:ident() $body:block)+) => {$(
        $(#[$meta])*
        #[test]
        fn $name() {
            $crate::support::isolate(concat!(module_path!(), "::", stringify!($name)), || $body);
        }
    )+};
}

/// See [`isolated!`].
pub fn isolate(name: &str, body: impl FnOnce()) {
    if std::env::var_os(INSIDE).is_some() {
        shell(
            "ip link set lo up
             ip link add eth0 type veth peer name peer0
             ip addr add 192.0.2.7/24 dev eth0
             ip addr add 2001:db8::7/64 dev eth0 nodad
             ip link set eth0 up
             ip link set peer0 up
             ip route add default via 192.0.2.1",
        );
        return body();
    }
    // Tests are called by their path within their crate.
    let (_, name) = name.split_once("::").expect("a path");
    let test = std::env::current_exe().expect("the test's own program");
    let output = Command::new("unshare")
        .args(["--net", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc"])
        .arg(test)
        .args(["--exact", name, "--nocapture", "--test-threads=1"])
        .env(INSIDE, "1")
        .env("RUST_BACKTRACE", "0")
        .output()
        .expect("unshare (package util-linux) runs; these tests need root");
    let text = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && text.contains("1 passed"), "{text}");
}

/// Runs shell commands, all of which must succeed, and gives back what they print.
pub fn shell(commands: &str) -> String {
    let output = Command::new("sh").args(["-ec", commands]).output().expect("sh runs");
    assert!(output.status.success(), "{commands}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("text")
}

/// Moves `peer0` into a network namespace of its own, which is another machine then: 192.0.2.1 and 2001:db8::1.
pub fn other_machine() {
    shell(
        "mount -t tmpfs tmpfs /run
         ip netns add other
         ip link set peer0 netns other
         ip -n other link set lo up
         ip -n other addr add 192.0.2.1/24 dev peer0
         ip -n other addr add 2001:db8::1/64 dev peer0 nodad
         ip -n other link set peer0 up",
    );
}

/// Runs a shell command on the other machine, in the background.
pub fn there(command: &str) -> Child {
    let mut program = Command::new("ip");
    program.args(["netns", "exec", "other", "sh", "-c", command]);
    program.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("ip runs")
}

/// A folder that goes away with the value.
pub struct Scratch(pub PathBuf);

impl Scratch {
    pub fn new(name: &str) -> Self {
        // Process ids are the same in each namespace.
        let random = getrandom::u64().expect("randomness");
        let path = std::env::temp_dir().join(format!("webtun-{name}-{random:016x}"));
        std::fs::create_dir_all(&path).expect("a temporary folder");
        Self(path)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// A running gateway; killed with the value.
pub struct Gateway {
    child: Child,
    /// Lines of standard output so far.
    pub printed: Vec<String>,
    /// Where it listens.
    pub address: SocketAddr,
    errors: Receiver<String>,
}

/// The gateway's command, with its folders in `scratch` and none of this process's variables.
pub fn command(scratch: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(GATEWAY);
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("WEBTUN_") {
            command.env_remove(name);
        }
    }
    let folder = |key: &str| format!("{key}={}", scratch.join(key).display());
    command.args(["--set", &folder("state_dir"), "--set", &folder("runtime_dir")]).args(arguments);
    command
}

impl Gateway {
    /// Starts one and waits until it serves.
    pub fn start(scratch: &Path, arguments: &[&str]) -> Self {
        let mut child =
            command(scratch, arguments).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it starts");
        let mut stderr = child.stderr.take().expect("piped");
        let (send_errors, errors) = sync_channel(1);
        std::thread::spawn(move || {
            let mut text = String::new();
            let _ = stderr.read_to_string(&mut text);
            let _ = send_errors.send(text);
        });
        let stdout = child.stdout.take().expect("piped");
        let (send_lines, lines) = sync_channel(16);
        std::thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                let _ = send_lines.send(line);
            }
        });
        let address = SocketAddr::from(([0, 0, 0, 0], 0));
        let mut this = Self { child, printed: Vec::new(), address, errors };
        loop {
            let Ok(line) = lines.recv_timeout(PATIENCE) else {
                let _ = this.child.kill();
                panic!("the gateway does not serve: {:?}", this.errors.recv_timeout(PATIENCE));
            };
            this.printed.push(line.clone());
            let url = line.strip_prefix("listening on http");
            if let Some((_, url)) = url.and_then(|url| url.split_once("://")) {
                this.address = url.trim_end_matches('/').parse().expect("an address");
                return this;
            }
        }
    }

    /// Sends it a signal, such as `HUP`.
    pub fn signal(&self, signal: &str) {
        shell(&format!("kill -{signal} {}", self.child.id()));
    }

    /// Stops it as an operator would, and gives back what it has written to standard error.
    pub fn stop(mut self) -> String {
        self.signal("TERM");
        let status = self.child.wait().expect("it ends");
        let errors = self.errors.recv_timeout(PATIENCE).expect("standard error ends");
        assert!(status.success(), "{status}: {errors}");
        errors
    }

    /// Its process.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Asks it to stop, without waiting.
    pub fn terminate(&self) {
        self.signal("TERM");
    }

    /// Ends it as a crash would.
    pub fn crash(mut self) {
        self.signal("KILL");
        let _ = self.child.wait();
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Runs a gateway that is expected to fail at its start; gives back what it writes to standard error.
pub fn failure(mut command: Command) -> String {
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().expect("it starts");
    let deadline = std::time::Instant::now() + PATIENCE;
    let status = loop {
        match child.try_wait().expect("its status") {
            Some(status) => break status,
            None if std::time::Instant::now() < deadline => std::thread::sleep(Duration::from_millis(10)),
            None => {
                let _ = child.kill();
                break child.wait().expect("it is killed");
            }
        }
    };
    let mut text = String::new();
    child.stderr.take().expect("piped").read_to_string(&mut text).expect("text");
    assert_eq!(status.code(), Some(1), "it should have failed: {text}");
    text
}

/// Runs a future to its end, with a limit.
pub fn block_on<T>(future: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async { tokio::time::timeout(PATIENCE, future).await.expect("it takes too long") })
}

/// A client's WebSocket.
pub struct Client(pub WebSocketStream<TcpStream>);

/// What a client has been sent.
#[derive(Debug, PartialEq, Eq)]
pub enum Received {
    Message(Vec<u8>),
    /// The close frame's code.
    Closed(Option<u16>),
    Reset,
}

impl Client {
    /// Opens a WebSocket with these subprotocols.
    pub async fn connect(address: SocketAddr, protocols: &str) -> Result<Self, Error> {
        Self::connect_with(address, &[("sec-websocket-protocol", protocols)]).await
    }

    /// Opens a WebSocket with more headers.
    pub async fn connect_with(address: SocketAddr, headers: &[(&'static str, &str)]) -> Result<Self, Error> {
        let mut request = format!("ws://{address}/").into_client_request()?;
        for (name, value) in headers {
            request.headers_mut().insert(*name, value.parse().expect("a header value"));
        }
        let stream = TcpStream::connect(address).await?;
        client_async(request, stream).await.map(|(socket, _)| Self(socket))
    }

    /// Opens a WebSocket at a path, which may have a query.
    pub async fn connect_to(address: SocketAddr, path: &str) -> Result<Self, Error> {
        let mut request = format!("ws://{address}{path}").into_client_request()?;
        request.headers_mut().insert("sec-websocket-protocol", HeaderValue::from_static("webtun.v1"));
        let stream = TcpStream::connect(address).await?;
        client_async(request, stream).await.map(|(socket, _)| Self(socket))
    }

    /// Opens a WebSocket from one of this machine's IPv4 addresses.
    pub async fn connect_from(source: [u8; 4], address: SocketAddr) -> Self {
        let socket = tokio::net::TcpSocket::new_v4().expect("a socket");
        socket.bind(SocketAddr::from((source, 0))).expect("an address of this machine");
        let mut request = format!("ws://{address}/").into_client_request().expect("a request");
        request.headers_mut().insert("sec-websocket-protocol", HeaderValue::from_static("webtun.v1"));
        let stream = socket.connect(address).await.expect("a connection");
        client_async(request, stream).await.map(|(socket, _)| Self(socket)).expect("a WebSocket")
    }

    /// Opens a session.
    pub async fn open(address: SocketAddr) -> (Self, webtun_wire::Session) {
        let mut client = Self::connect(address, "webtun.v1").await.expect("a WebSocket");
        let session = client.hello(b"", None).await;
        (client, session)
    }

    /// Sends HELLO and waits for SESSION.
    pub async fn hello(&mut self, token: &[u8], resume: Option<Resume>) -> webtun_wire::Session {
        self.send(&hello(token, resume)).await;
        match self.receive().await {
            Received::Message(message) => match capsules(&message).next() {
                Some(Ok(Capsule::Session(session))) => session,
                other => panic!("no SESSION: {other:?}"),
            },
            other => panic!("no SESSION: {other:?}"),
        }
    }

    pub async fn send(&mut self, message: &[u8]) {
        self.0.send(Message::Binary(message.to_vec().into())).await.expect("sending");
    }

    pub async fn receive(&mut self) -> Received {
        loop {
            match self.0.next().await {
                Some(Ok(Message::Binary(message))) => return Received::Message(message.to_vec()),
                Some(Ok(Message::Close(frame))) => return Received::Closed(frame.map(|frame| frame.code.into())),
                Some(Ok(_)) => {}
                Some(Err(_)) | None => return Received::Reset,
            }
        }
    }

    /// Reads to the end, and gives back the code of the last CLOSE and that of the close frame.
    pub async fn closing(&mut self) -> (Option<webtun_wire::CloseCode>, Option<u16>) {
        let mut close = None;
        loop {
            match self.receive().await {
                Received::Message(message) => {
                    for capsule in capsules(&message) {
                        if let Ok(Capsule::Close(told)) = capsule {
                            close = Some(told.code);
                        }
                    }
                }
                Received::Closed(code) => return (close, code),
                Received::Reset => return (close, None),
            }
        }
    }
}

/// A message with HELLO.
pub fn hello(token: &[u8], resume: Option<Resume>) -> Vec<u8> {
    let mut writer = BatchWriter::new(1 << 20);
    let hello = Hello { min_version: webtun_wire::VERSION, max_version: webtun_wire::VERSION, token, resume };
    assert!(writer.push(&Capsule::Hello(hello)));
    writer.finish()
}

/// One HTTP request; the whole response as text.
pub fn http(address: SocketAddr, request: &str) -> String {
    use std::io::Write;
    let mut stream = std::net::TcpStream::connect(address).expect("a connection");
    stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    stream.write_all(request.as_bytes()).expect("sending");
    let mut response = Vec::new();
    let _ = stream.read_to_end(&mut response);
    String::from_utf8_lossy(&response).into_owned()
}

/// Waits until `wanted` finds what the test waits for.
pub fn eventually<T>(what: &str, mut wanted: impl FnMut() -> Option<T>) -> T {
    let deadline = std::time::Instant::now() + PATIENCE;
    while std::time::Instant::now() < deadline {
        if let Some(found) = wanted() {
            return found;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    panic!("in vain waited for {what}");
}

/// A figure of the gateway's metrics, by its name and labels.
pub fn figure(name: &str) -> u64 {
    let text = get(([127, 0, 0, 1], 9077).into(), "/metrics");
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    line.unwrap_or_else(|| panic!("no {name}: {text}")).trim().parse().expect("a number")
}

/// A GET request for `path`, after whose response the connection is closed.
pub fn get(address: SocketAddr, path: &str) -> String {
    http(address, &format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n"))
}

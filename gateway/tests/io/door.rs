//! Who waits at the door: bounds and time for connections that have no session yet, and for those that do not read.

use crate::support::tunnel::Tunnel;
use crate::support::{Client, Gateway, Scratch, block_on, eventually, figure, get, hello, http};
use futures_util::{SinkExt, StreamExt};
use std::io::{ErrorKind, Read};
use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio_tungstenite::tungstenite::Message;
use webtun_stack::{Event, SocketEvent, UdpOptions};
use webtun_wire::CloseCode;

const LOCAL: [&str; 2] = ["--listen", "127.0.0.1:0"];
const UPGRADE: &str = "GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
    Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Protocol: webtun.v1\r\n\r\n";

fn start(scratch: &Scratch, settings: &[&str]) -> Gateway {
    let settings = settings.iter().flat_map(|setting| ["--set", setting]);
    Gateway::start(&scratch.0, &LOCAL.into_iter().chain(settings).collect::<Vec<_>>())
}

/// Sends `octets` one by one, far too slowly, until the gateway has had enough.
async fn dribble(stream: &mut tokio::net::TcpStream, octets: &[u8]) {
    for octet in octets.iter().cycle() {
        if stream.write_all(&[*octet]).await.is_err() {
            return;
        }
        let mut buffer = [0; 1024];
        let read = tokio::time::timeout(Duration::from_millis(100), stream.read(&mut buffer)).await;
        if let Ok(Ok(0) | Err(_)) = read {
            return;
        }
    }
}

/// Opens a WebSocket, up to the gateway's 101.
async fn upgraded(address: SocketAddr) -> tokio::net::TcpStream {
    let mut stream = tokio::net::TcpStream::connect(address).await.expect("a connection");
    stream.write_all(UPGRADE.as_bytes()).await.expect("sending");
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.expect("a response"));
    }
    assert!(head.starts_with(b"HTTP/1.1 101"), "{}", String::from_utf8_lossy(&head));
    stream
}

/// A WebSocket frame as clients send it, masked with zeros.
fn frame(payload: &[u8]) -> Vec<u8> {
    assert!(payload.len() < 126, "a short one");
    let mut frame = vec![0x82, 0x80 | payload.len() as u8, 0, 0, 0, 0];
    frame.extend_from_slice(payload);
    frame
}

/// True where the other end has closed.
fn is_closed(stream: &mut TcpStream) -> bool {
    stream.set_nonblocking(true).expect("a setting");
    match stream.read(&mut [0; 1024]) {
        Ok(0) => true,
        Ok(_) => false,
        Err(error) => error.kind() != ErrorKind::WouldBlock,
    }
}

fn idle(address: SocketAddr, count: usize) -> Vec<TcpStream> {
    (0..count).map(|_| TcpStream::connect(address).expect("a connection")).collect()
}

isolated! {
    fn who_dribbles_is_cut_in_time_and_disturbs_nobody() {
        let scratch = Scratch::new("dribble");
        let gateway = start(&scratch, &["limits.handshake_timeout_s=1"]);
        let address = gateway.address;
        block_on(async {
            let (mut other, _) = Client::open(address).await;
            let in_head = async {
                let mut stream = tokio::net::TcpStream::connect(address).await.expect("a connection");
                dribble(&mut stream, b"GET / HTTP/1.1\r\nX-Filler: aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa").await;
            };
            // A frame whose payload never ends, and a HELLO whose messages never come to be one.
            let in_frame = async { dribble(&mut upgraded(address).await, &[0x82, 0xff, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0]).await };
            let whole_hello = frame(&hello(b"", None));
            let in_hello = async { dribble(&mut upgraded(address).await, &whole_hello[..whole_hello.len() - 1]).await };
            // Pings are no HELLO.
            let in_pings = async { dribble(&mut upgraded(address).await, &[0x89, 0x80, 0, 0, 0, 0]).await };
            let served = async {
                for _ in 0..20 {
                    assert_pong(&mut other).await;
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            };
            tokio::join!(in_head, in_frame, in_hello, in_pings, served);
        });
        assert!(figure("webtun_handshakes_total{result=\"timeout\"}") >= 3);
        gateway.stop();
    }

    fn a_connection_that_has_been_served_does_not_linger() {
        let scratch = Scratch::new("linger");
        let gateway = start(&scratch, &["limits.handshake_timeout_s=1"]);
        let response = http(gateway.address, "GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n");
        assert!(response.ends_with("ok\n"), "closed by the gateway: {response}");
        gateway.stop();
    }

    fn a_head_has_a_bound() {
        let scratch = Scratch::new("head");
        let gateway = start(&scratch, &[]);
        let long = format!("GET / HTTP/1.1\r\nHost: a\r\nX-Filler: {}\r\n\r\n", "a".repeat(20_000));
        assert!(http(gateway.address, &long).starts_with("HTTP/1.1 431"));
        let many = format!("GET / HTTP/1.1\r\nHost: a\r\n{}\r\n", "X: y\r\n".repeat(200));
        assert!(http(gateway.address, &many).starts_with("HTTP/1.1 431"));
        let longest_token = format!("GET /healthz HTTP/1.1\r\nHost: a\r\nConnection: close\r\nX: {}\r\n\r\n", "a".repeat(8_000));
        assert!(http(gateway.address, &longest_token).starts_with("HTTP/1.1 200"));
        gateway.stop();
    }

    fn a_hello_that_never_ends_is_not_kept() {
        let scratch = Scratch::new("endless");
        let gateway = start(&scratch, &["limits.handshake_timeout_s=1"]);
        block_on(async {
            let mut client = Client::connect(gateway.address, "webtun.v1").await.expect("a WebSocket");
            // It does not fit into what is read before there is a session, so it waits until its time is over.
            let (mut sink, mut stream) = (&mut client.0).split();
            let sending = async { drop(sink.send(Message::Binary(vec![0; 1 << 20].into())).await) };
            let closing = async { while let Some(Ok(_)) = stream.next().await {} };
            tokio::join!(sending, closing);
        });
        assert_eq!(figure("webtun_handshakes_total{result=\"timeout\"}"), 1);
        gateway.stop();
    }

    fn a_probe_is_answered_while_all_places_are_taken() {
        let scratch = Scratch::new("probe");
        let settings = ["limits.handshakes=32", "limits.handshakes_per_address=32", "limits.handshake_timeout_s=600"];
        let gateway = start(&scratch, &settings);
        let runtime = tokio::runtime::Runtime::new().expect("a runtime");
        let (mut client, _) = runtime.block_on(Client::open(gateway.address));
        let mut crowd = idle(gateway.address, 32);
        for path in ["/healthz", "/readyz"] {
            assert!(get(gateway.address, path).starts_with("HTTP/1.1 200"), "{path}");
        }
        // The one that came first has made room; who has a session has not.
        eventually("the first to go", || is_closed(&mut crowd[0]).then_some(()));
        assert!(!crowd[2..].iter_mut().any(is_closed));
        assert!(figure("webtun_handshakes_total{result=\"displaced\"}") >= 1);
        let more = idle(gateway.address, 200);
        runtime.block_on(assert_pong(&mut client));
        assert!(get(gateway.address, "/healthz").starts_with("HTTP/1.1 200"));
        drop(more);
        gateway.stop();
    }

    fn one_address_cannot_take_the_places_of_others() {
        let scratch = Scratch::new("crowd");
        let settings = ["limits.handshakes=8", "limits.handshakes_per_address=4", "limits.handshake_timeout_s=600"];
        let gateway = start(&scratch, &settings);
        let mut other = from("127.0.0.2", gateway.address);
        let mut crowd = idle(([127, 0, 0, 1], gateway.address.port()).into(), 20);
        eventually("all but four to go", || crowd[..16].iter_mut().all(is_closed).then_some(()));
        assert!(!crowd[16..].iter_mut().any(is_closed) && !is_closed(&mut other));
        gateway.stop();
    }

    fn who_is_displaced_before_hello_is_told_to_try_again() {
        let scratch = Scratch::new("displaced");
        let gateway = start(&scratch, &["limits.handshakes=1", "limits.handshake_timeout_s=600"]);
        block_on(async {
            let mut silent = Client::connect(gateway.address, "webtun.v1").await.expect("a WebSocket");
            let (mut quick, _) = Client::open(gateway.address).await;
            assert_eq!(silent.closing().await, (Some(CloseCode::Limit), Some(1013)));
            assert_pong(&mut quick).await;
        });
        gateway.stop();
    }

    fn behind_a_trusted_proxy_the_clients_address_counts() {
        let scratch = Scratch::new("proxy");
        let settings = [
            "limits.handshakes_per_address=2",
            "limits.handshake_timeout_s=600",
            "http.trusted_proxies=[\"127.0.0.1/32\"]",
            "tokens=[\"s3cret\"]",
            "log.filter=debug",
        ];
        let gateway = start(&scratch, &settings);
        let address = gateway.address;
        let behind = async |client| {
            let headers = [("sec-websocket-protocol", "webtun.v1"), ("x-forwarded-for", client)];
            Client::connect_with(address, &headers).await.expect("a WebSocket")
        };
        block_on(async {
            let mut crowd = Vec::new();
            for _ in 0..3 {
                crowd.push(behind("203.0.113.1").await);
            }
            assert_eq!(crowd[0].closing().await.1, Some(1013));
            let mut other = behind("203.0.113.2").await;
            other.hello(b"s3cret", None).await;
            crowd[2].hello(b"s3cret", None).await;
        });
        let log = gateway.stop();
        for client in ["203.0.113.1", "203.0.113.2"] {
            assert!(log.contains(&format!("client={client}")), "{client} is missing: {log}");
        }
    }

    fn a_client_that_does_not_read_loses_its_connection_and_not_its_session() {
        let scratch = Scratch::new("unread");
        // Small buffers in the kernel, so that little is enough to fill them.
        crate::support::shell(
            "sysctl -qw net.ipv4.tcp_wmem='4096 16384 32768' net.ipv4.tcp_rmem='4096 16384 32768'
             ip addr add 192.0.2.8/24 dev eth0",
        );
        let rule = "policy.rule=[{action=\"allow\",prefix=\"192.0.2.8/32\"}]";
        let gateway = start(&scratch, &["limits.write_timeout_s=1", rule]);
        let server = UdpSocket::bind("192.0.2.8:7000").expect("a socket");
        server.set_read_timeout(Some(Duration::from_secs(30))).expect("a timeout");
        block_on(async {
            let mut tunnel = Tunnel::open(gateway.address).await;
            let now = tunnel.now();
            let any = SocketAddr::from(([0, 0, 0, 0], 0));
            let options = UdpOptions { receive_buffer: 4 << 20, ..UdpOptions::default() };
            let id = tunnel.stack.udp_bind(any, options, now).expect("a socket");
            let remote = server.local_addr().expect("an address");
            assert_eq!(tunnel.stack.udp_send(id, b"begin", Some(remote), now), Ok(true));
            tunnel.flush().await;
            let mut buffer = [0; 16];
            let (_, client) = server.recv_from(&mut buffer).expect("the client's word");
            for number in 0..DATAGRAMS {
                let mut payload = vec![0; 1000];
                payload[..4].copy_from_slice(&number.to_be_bytes());
                server.send_to(&payload, client).expect("sending");
                if number % 20 == 0 {
                    // The TUN device's queue is short, and what it drops is nobody's fault.
                    std::thread::sleep(Duration::from_millis(2));
                }
            }
            eventually("the end of the connection", || (figure("webtun_sessions{state=\"detached\"}") == 1).then_some(()));
            tunnel.reconnect(gateway.address).await;
            let mut wanted = 0u32;
            tunnel
                .until(|stack, event| {
                    if event != Event::Socket(SocketEvent::UdpReadable(id)) {
                        return None;
                    }
                    while let Some(datagram) = stack.udp_recv(id) {
                        assert_eq!(datagram.payload[..4], wanted.to_be_bytes()[..], "in order, and each once");
                        wanted += 1;
                    }
                    (wanted == DATAGRAMS).then_some(())
                })
                .await;
        });
        assert_eq!(figure("webtun_sessions_resumed_total"), 1);
        assert!(gateway.stop().contains("reads too slowly"));
    }
}

/// Twelve times what fits into the kernel's buffers, and less than a session's queue.
const DATAGRAMS: u32 = 1200;

/// A connection from another of this machine's addresses.
fn from(source: &str, address: SocketAddr) -> TcpStream {
    block_on(async {
        let socket = tokio::net::TcpSocket::new_v4().expect("a socket");
        socket.bind(format!("{source}:0").parse().expect("an address")).expect("an address of this machine");
        socket.connect(address).await.expect("a connection").into_std().expect("a socket")
    })
}

/// A PING is answered.
async fn assert_pong(client: &mut Client) {
    let mut message = Vec::new();
    webtun_wire::Capsule::Ping { opaque: 77 }.encode(&mut message);
    client.send(&message).await;
    let crate::support::Received::Message(_) = client.receive().await else { panic!("the session has ended") };
}

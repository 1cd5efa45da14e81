//! SOCKS within WebSockets, by a client that others have written: curl, whose connections a bridge puts into WebSockets.

use crate::support::doors::{Door, HERE, SETTINGS, pattern, serve};
use crate::support::{Gateway, Scratch, block_on};
use futures_util::{SinkExt, StreamExt};
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::process::{Command, Output};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_tungstenite::tungstenite::Message;

const SIZE: usize = 8_000_000;
/// Of curl: the proxy has refused.
const PROXY: Option<i32> = Some(97);

/// A port each of whose connections is carried in a WebSocket, as emcc's own sockets are.
async fn bridge(gateway: SocketAddr) -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a port");
    let port = listener.local_addr().expect("bound").port();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(carry(stream, gateway));
        }
    });
    port
}

async fn carry(mut stream: TcpStream, gateway: SocketAddr) {
    let door = Door::open(gateway, "/", Some("binary")).await.expect("a WebSocket");
    let (mut sink, mut messages) = door.0.split();
    let (mut from, mut to) = stream.split();
    let up = async {
        let mut buffer = vec![0; 64 * 1024];
        while let Ok(len @ 1..) = from.read(&mut buffer).await {
            if sink.send(Message::Binary(buffer[..len].to_vec().into())).await.is_err() {
                break;
            }
        }
        let _ = sink.close().await;
    };
    let down = async {
        while let Some(Ok(message)) = messages.next().await {
            if let Message::Binary(data) = message
                && to.write_all(&data).await.is_err()
            {
                break;
            }
        }
        let _ = to.shutdown().await;
    };
    tokio::join!(up, down);
}

/// A web server: what it serves is a [`pattern`], and of what it is sent it tells whether that is one.
async fn web() -> u16 {
    serve(|mut stream| async move {
        let mut request = Vec::new();
        let head = loop {
            if let Some(end) = request.windows(4).position(|it| it == b"\r\n\r\n") {
                break end + 4;
            }
            if !matches!(stream.read_buf(&mut request).await, Ok(1..)) {
                return;
            }
        };
        let body = if request.starts_with(b"PUT ") {
            while request.len() < head + SIZE {
                assert!(stream.read_buf(&mut request).await.expect("octets") > 0, "all of them");
            }
            format!("{}", request[head..] == pattern(SIZE)).into_bytes()
        } else {
            pattern(SIZE)
        };
        let answer = format!("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: {}\r\n\r\n", body.len());
        let _ = stream.write_all(&[answer.into_bytes(), body].concat()).await;
    })
    .await
}

/// Tells this machine's address for `www.example.test`, and that there are no other names.
fn resolver() {
    let socket = UdpSocket::bind((HERE, 53)).expect("port 53 of the namespace");
    std::thread::spawn(move || {
        let mut query = [0; 512];
        while let Ok((_, from)) = socket.recv_from(&mut query) {
            let end = 12 + query[12..].iter().position(|octet| *octet == 0).expect("the end of the name") + 5;
            let (is_known, is_a) = (query[12..].starts_with(b"\x03www\x07example\x04test\x00"), query[end - 3] == 1);
            let mut answer = query[..end].to_vec();
            answer[2..4].copy_from_slice(&[0x81, if is_known { 0x80 } else { 0x83 }]);
            answer[6..12].fill(0);
            if is_known && is_a {
                answer[7] = 1;
                answer.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 192, 0, 2, 7]);
            }
            let _ = socket.send_to(&answer, from);
        }
    });
}

/// Runs curl behind a proxy, as a program that knows of none but by its environment.
async fn curl(proxy: &str, arguments: &[&str]) -> Output {
    let mut command = Command::new("curl");
    command.args(["--silent", "--show-error", "--max-time", "50"]).args(arguments).env("ALL_PROXY", proxy);
    command.env_remove("all_proxy").env_remove("http_proxy").env_remove("no_proxy").env_remove("NO_PROXY");
    let run = tokio::task::spawn_blocking(move || command.output());
    run.await.expect("it runs").expect("curl, which apt-get installs")
}

isolated! {
    fn curl_has_its_connections_carried_by_socks() {
        let scratch = Scratch::new("curl");
        resolver();
        let upstream = format!("dns.upstream=[\"{HERE}\"]");
        let more = ["--set", "tokens=[\"s3cret\"]", "--set", &upstream, "--set", "auth.failures_per_minute=100"];
        let gateway = Gateway::start(&scratch.0, &SETTINGS.into_iter().chain(more).collect::<Vec<_>>());
        block_on(async {
            let (web, bridge) = (web().await, bridge(gateway.address).await);
            let proxy = |credential: &str| format!("socks5h://{credential}127.0.0.1:{bridge}");
            let known = proxy("me:s3cret@");
            let url = format!("http://www.example.test:{web}/");
            for credential in ["me:s3cret@", "s3cret:@"] {
                let output = curl(&proxy(credential), &[&url]).await;
                assert!(output.status.success() && output.stdout == pattern(SIZE), "{credential}: {output:?}");
            }
            let file = scratch.0.join("body");
            std::fs::write(&file, pattern(SIZE)).expect("a file");
            let upload = ["--header", "Expect:", "--upload-file", &file.display().to_string(), &url];
            let output = curl(&known, &upload).await;
            assert_eq!((output.status.code(), &output.stdout[..]), (Some(0), &b"true"[..]), "{output:?}");

            let here = format!("http://{HERE}");
            for (credential, to, words) in [
                ("me:wrong@", url.as_str(), "rejected by the SOCKS5 server (1 1)"),
                ("", &url, "No authentication method was acceptable"),
                ("me:s3cret@", "http://10.0.0.1/", "10.0.0.1. (2)"),
                ("me:s3cret@", &format!("{here}:1/"), "192.0.2.7. (5)"),
                ("me:s3cret@", "http://nobody.example.test/", "nobody.example.test. (4)"),
            ] {
                let output = curl(&proxy(credential), &[to]).await;
                let error = String::from_utf8_lossy(&output.stderr);
                assert!(output.status.code() == PROXY && error.contains(words), "{credential}{to}: {output:?}");
            }
        });
        gateway.stop();
    }
}

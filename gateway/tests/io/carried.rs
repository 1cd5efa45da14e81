//! `/tcp/HOST/PORT`, and SOCKS within WebSockets, over a real gateway; and what no door lets through.

#![allow(clippy::disallowed_methods, reason = "tests read the clock")]

use crate::support::doors::{
    Door, HERE, Heard, SETTINGS, THERE, Wisp, echo, echo_datagrams, pattern, serve, sink, stalled,
};
use crate::support::{Gateway, Scratch, block_on, eventually, figure};
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

fn start(scratch: &Scratch, more: &[&str]) -> Gateway {
    let more = more.iter().flat_map(|setting| ["--set", setting]);
    Gateway::start(&scratch.0, &SETTINGS.into_iter().chain(more).collect::<Vec<_>>())
}

async fn tcp(gateway: SocketAddr, target: &str) -> Door {
    Door::open(gateway, &format!("/tcp/{target}"), Some("binary")).await.expect("a WebSocket")
}

async fn closed(mut door: Door) -> (u16, String) {
    match door.hear().await {
        Heard::Closed(code, reason) => (code, reason),
        other => panic!("not closed: {other:?}"),
    }
}

/// A SOCKS client that shows this credential, up to the answer to its request.
async fn socks(gateway: SocketAddr, credential: Option<(&str, &str)>, request: &[u8]) -> (Door, Vec<u8>) {
    let mut door = Door::open(gateway, "/", Some("binary")).await.expect("a WebSocket");
    match credential {
        None => {
            door.send(b"\x05\x01\x00").await;
            assert_eq!(door.message().await, b"\x05\x00");
        }
        Some((name, password)) => {
            door.send(b"\x05\x02\x00\x02").await;
            assert_eq!(door.message().await, b"\x05\x02");
            let mut shown = vec![1, name.len() as u8];
            shown.extend_from_slice(name.as_bytes());
            shown.push(password.len() as u8);
            shown.extend_from_slice(password.as_bytes());
            // In two pieces: a stream has no messages.
            door.send(&shown[..3]).await;
            door.send(&shown[3..]).await;
            assert_eq!(door.message().await, b"\x01\x00");
        }
    }
    door.send(request).await;
    let answer = door.message().await;
    (door, answer)
}

/// A request to a name, or an address in text.
fn request(command: u8, host: &str, port: u16) -> Vec<u8> {
    let mut request = vec![5, command, 0, 3, host.len() as u8];
    request.extend_from_slice(host.as_bytes());
    request.extend_from_slice(&port.to_be_bytes());
    request
}

fn datagram(host: &str, port: u16, payload: &[u8]) -> Vec<u8> {
    let address: IpAddr = host.parse().expect("an address");
    let mut message = vec![0, 0, 0];
    match address {
        IpAddr::V4(v4) => message.extend_from_slice(&[&[1][..], &v4.octets()].concat()),
        IpAddr::V6(v6) => message.extend_from_slice(&[&[4][..], &v6.octets()].concat()),
    }
    message.extend_from_slice(&port.to_be_bytes());
    message.extend_from_slice(payload);
    message
}

isolated! {
    fn a_websocket_is_a_connection() {
        let scratch = Scratch::new("tcp");
        let gateway = start(&scratch, &[]);
        block_on(async {
            let (echo, sink) = (echo().await, sink().await);
            let mut first = tcp(gateway.address, &format!("{HERE}/{echo}")).await;
            first.send(b"hello").await;
            assert_eq!(first.octets(5).await, (b"hello".to_vec(), None));
            let all = pattern(8_000_000);
            let server = serve(|mut stream| async move { drop(stream.write_all(&pattern(8_000_000)).await) }).await;
            let download = tcp(gateway.address, &format!("{HERE}:{server}")).await;
            // Slower than the server, which has left by then.
            tokio::time::sleep(Duration::from_millis(300)).await;
            let mut download = download;
            let (got, code) = download.octets(usize::MAX).await;
            assert!(got == all && code == Some(1000), "{} {code:?}", got.len());
            let mut upload = tcp(gateway.address, &format!("{HERE}/{sink}")).await;
            for piece in all.chunks(64 * 1024) {
                upload.send(piece).await;
            }
            drop(upload);
            // They share a session: more would take more ports.
            let mut many = Vec::new();
            for _ in 0..150 {
                many.push(tcp(gateway.address, &format!("{HERE}/{echo}")).await);
            }
            for door in &mut many {
                door.send(b"one of many").await;
            }
            for door in &mut many {
                assert_eq!(door.octets(11).await.0, b"one of many");
            }
            assert_eq!(figure("webtun_sessions{state=\"connected\"}"), 1);
        });
        gateway.stop();
    }

    fn the_end_of_either_side_loses_nothing() {
        let scratch = Scratch::new("tcp-end");
        let gateway = start(&scratch, &[]);
        block_on(async {
            let (told, mut heard) = tokio::sync::mpsc::channel(4);
            let reader = serve(move |mut stream| {
                let told = told.clone();
                async move {
                    // It has said what it has to say, which the client does not read, and is slower than the client.
                    stream.write_all(b"220 welcome").await.expect("sending");
                    tokio::time::sleep(Duration::from_millis(300)).await;
                    let mut all = Vec::new();
                    let read = stream.read_to_end(&mut all).await;
                    told.send((read.is_ok(), all == pattern(all.len()), all.len())).await.expect("the test");
                }
            })
            .await;
            let mut door = tcp(gateway.address, &format!("{HERE}/{reader}")).await;
            for piece in pattern(3_000_000).chunks(60_000) {
                door.send(piece).await;
            }
            door.0.close(None).await.expect("a close frame");
            assert_eq!(heard.recv().await, Some((true, true, 3_000_000)));
        });
        gateway.stop();
    }

    fn why_there_is_no_connection_is_told_to_people() {
        let scratch = Scratch::new("tcp-codes");
        let gateway = start(&scratch, &["dns.upstream=[\"192.0.2.7\"]", "tokens=[\"s3cret\"]"]);
        block_on(async {
            let reset = serve(|stream| async move { stream.set_zero_linger().expect("an option") }).await;
            let at = |target: &str| format!("{target}?token=s3cret");
            for (target, code, words) in [
                (format!("{HERE}/1"), 4502, "refuses"),
                (format!("{HERE}/{reset}"), 4502, "reset"),
                ("192.0.2.200/1".to_owned(), 4502, "cannot be reached"),
                ("10.0.0.1/1".to_owned(), 4403, "policy"),
                ("nowhere.invalid/1".to_owned(), 4404, "no address"),
                (HERE.to_owned(), 4400, "/tcp/HOST/PORT"),
            ] {
                let (seen, reason) = closed(tcp(gateway.address, &at(&target)).await).await;
                assert!(seen == code && reason.contains(words), "{target}: {seen} {reason}");
            }
            assert_eq!(closed(tcp(gateway.address, &format!("{HERE}/1")).await).await.0, 4401);
            assert_eq!(closed(tcp(gateway.address, &format!("{HERE}/1?token=wrong")).await).await.0, 4401);
            assert!(Door::open(gateway.address, "/tcps/a/1", None).await.is_err(), "no such door");
        });
        gateway.stop();
    }

    fn a_limit_is_told_at_once_at_every_door() {
        let scratch = Scratch::new("tcp-limit");
        let limit = ["limits.sessions_per_peer=1", "tokens=[\"s3cret\"]"];
        let gateway = start(&scratch, &limit);
        block_on(async {
            let by_wisp = async || Door::open(gateway.address, "/wisp/s3cret/", None).await.expect("a WebSocket");
            let first = Wisp::greeted(by_wisp().await).await;
            let told = [
                closed(tcp(gateway.address, &format!("{THERE}/7?token=s3cret")).await).await,
                closed(by_wisp().await).await,
            ];
            for (code, reason) in told {
                assert!(code == 1013 && reason.contains("limit"), "{code} {reason}");
            }
            drop(first);
        });
        gateway.stop();
    }

    fn a_destination_or_a_client_that_does_not_read_stops_nobody() {
        let scratch = Scratch::new("tcp-stalled");
        let gateway = start(&scratch, &[]);
        block_on(async {
            let (stalled, echo) = (stalled().await, echo().await);
            let endless = serve(|mut stream| async move {
                while stream.write_all(&[7; 65_536]).await.is_ok() {}
            })
            .await;
            let mut other = tcp(gateway.address, &format!("{HERE}/{echo}")).await;
            let mut unread = Vec::new();
            for _ in 0..10 {
                unread.push(tcp(gateway.address, &format!("{HERE}/{endless}")).await);
            }
            for _ in 0..10 {
                let mut door = tcp(gateway.address, &format!("{HERE}/{stalled}")).await;
                let flood = async {
                    loop {
                        door.send(&[7; 65_536]).await;
                    }
                };
                assert!(tokio::time::timeout(Duration::from_millis(300), flood).await.is_err(), "it is held back");
                unread.push(door);
            }
            let begin = Instant::now();
            for _ in 0..50 {
                other.send(b"ping").await;
                assert_eq!(other.octets(4).await.0, b"ping");
            }
            assert!(begin.elapsed() < Duration::from_secs(10), "{:?}", begin.elapsed());
        });
        gateway.stop();
    }

    fn socks_connects_and_associates() {
        let scratch = Scratch::new("socks");
        let _echo = echo_datagrams();
        let gateway = start(&scratch, &["tokens=[\"s3cret\"]", "auth.failures_per_minute=100"]);
        block_on(async {
            let echo = echo().await;
            for credential in [("anyone", "s3cret"), ("s3cret", "")] {
                let wanted = request(1, HERE, echo);
                let (mut door, answer) = socks(gateway.address, Some(credential), &[&wanted[..], b"early "].concat()).await;
                assert_eq!(answer[..4], [5, 0, 0, 1]);
                assert_eq!(answer[4..8], [192, 0, 2, 7], "the address that the destination sees");
                door.send(b"and late").await;
                assert_eq!(door.octets(14).await, (b"early and late".to_vec(), None));
            }
            let (mut door, answer) = socks(gateway.address, Some(("a", "s3cret")), b"\x05\x03\x00\x01\0\0\0\0\0\0").await;
            assert_eq!(answer, b"\x05\x00\x00\x01\0\0\0\0\0\0");
            for length in [1, 1200, 30_000] {
                let sent = datagram(THERE, 7, &pattern(length));
                door.send(&sent).await;
                assert_eq!(door.message().await, sent, "from where it was sent to");
            }
            // What is no datagram is lost, as RFC 1928 has it.
            door.send(b"").await;
            door.send(b"\x00\x00\x01\x01\x7f\x00\x00\x01\x00\x50fragment").await;
            door.send(&datagram(THERE, 7, b"still there")).await;
            assert_eq!(door.message().await, datagram(THERE, 7, b"still there"));

            let mut door = Door::open(gateway.address, "/", Some("binary")).await.expect("a WebSocket");
            door.send(b"\x05\x01\x00").await;
            assert_eq!(door.message().await, b"\x05\xff");
            let mut door = Door::open(gateway.address, "/", Some("binary")).await.expect("a WebSocket");
            door.send(b"\x05\x01\x02\x01\x01a\x05wrong").await;
            assert_eq!(door.message().await, b"\x05\x02");
            assert_eq!(door.message().await, b"\x01\x01");
            assert_eq!(closed(door).await.0, 4401);
            for wrong in [&b"\x04\x01\x00\x50"[..], b"GET / HTTP/1.1\r\n\r\n", &[5; 5000]] {
                let mut door = Door::open(gateway.address, "/", Some("binary")).await.expect("a WebSocket");
                door.send(wrong).await;
                loop {
                    match door.hear().await {
                        Heard::Message(_) => {}
                        Heard::Closed(code, _) => break assert_eq!(code, 1002),
                        Heard::Lost => panic!("lost"),
                    }
                }
            }
            let refused = async |host: &str, port| socks(gateway.address, Some(("a", "s3cret")), &request(1, host, port)).await.1[1];
            assert_eq!(refused(HERE, 1).await, 5);
            assert_eq!(refused("10.0.0.1", 1).await, 2);
            assert_eq!(refused("192.0.2.200", 1).await, 4);
        });
        gateway.stop();
    }

    /// The table of the browser's scenario, at every door.
    fn what_policy_denies_is_refused_at_every_door() {
        let scratch = Scratch::new("denied");
        // The strict gateway: no rule allows anything.
        let gateway = Gateway::start(&scratch.0, &["--listen", "127.0.0.1:0", "--egress", "user", "--set", "dns.upstream=[\"192.0.2.7\"]", "--set", "dns.timeout_s=1", "--set", "limits.session.new_flows_per_s=10000", "--set", "limits.connections=8192"]);
        let table: serde_json::Value =
            serde_json::from_str(include_str!("../../../tests/browser/scenarios/forbidden.json")).expect("a table");
        let all: Vec<&str> = table["destinations"].as_array().expect("a list").iter().filter_map(|it| it["to"].as_str()).collect();
        assert!(all.len() >= 97, "{}", all.len());
        // Names have no address here: they are refused as such, wherever they would lead. But `localhost` needs nobody who knows.
        let is_literal = |to: &str| to.trim_matches(['[', ']']).parse::<IpAddr>().is_ok();
        let is_address = |to: &str| *to == *"localhost" || is_literal(to);
        block_on(async {
            let mut client = Wisp::open(gateway.address).await;
            for (stream, to) in (1..).zip(&all) {
                client.connect(2 * stream, 1, to, 80).await;
                client.connect(2 * stream + 1, 2, to, 80).await;
                client.data(2 * stream + 1, b"?").await;
            }
            for (stream, to) in (1..).zip(&all) {
                let expected = if is_address(to) { 0x48 } else { 0x42 };
                assert_eq!(client.end(2 * stream).await, expected, "Wisp, TCP to {to}");
                if *to != "100.64.0.1" {
                    let reason = client.end(2 * stream + 1).await;
                    assert!(reason == 0x48 || reason == expected, "Wisp, UDP to {to}: {reason}");
                }
            }
            assert!(client.received.is_empty());
            for to in &all {
                let (code, reason) = closed(tcp(gateway.address, &format!("{to}/80")).await).await;
                assert_eq!(code, if is_address(to) { 4403 } else { 4404 }, "{to}: {reason}");
                let (door, answer) = socks(gateway.address, None, &request(1, to, 80)).await;
                assert_eq!(answer[1], if is_address(to) { 2 } else { 4 }, "SOCKS to {to}");
                assert_eq!(closed(door).await.0, code);
                if is_literal(to) && *to != "100.64.0.1" {
                    let (mut door, _) = socks(gateway.address, None, b"\x05\x03\x00\x01\0\0\0\0\0\0").await;
                    door.send(&datagram(to.trim_matches(['[', ']']), 80, b"?")).await;
                    assert_eq!(closed(door).await.0, 4403, "SOCKS, UDP to {to}");
                }
            }
        });
        gateway.stop();
    }

    fn a_page_of_another_origin_gets_in_at_no_door() {
        let scratch = Scratch::new("origin");
        let gateway = start(&scratch, &[]);
        for path in ["/wisp/", "/tcp/192.0.2.7/80", "/"] {
            let request = format!(
                "GET {path} HTTP/1.1\r\nHost: {}\r\nOrigin: https://evil.example\r\nConnection: Upgrade, close\r\n\
                 Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
                 Sec-WebSocket-Protocol: binary\r\n\r\n",
                gateway.address
            );
            assert!(crate::support::http(gateway.address, &request).starts_with("HTTP/1.1 403"), "{path}");
        }
        eventually("figures", || (figure("webtun_handshakes_total{result=\"origin\"}") >= 3).then_some(()));
        gateway.stop();
    }
}

//! Who may come in: tokens that others have signed.

mod io_support;

use io_support::jwt::{in_seconds, sign};
use io_support::{Client, Gateway, Scratch, block_on, failure, hello};
use std::net::SocketAddr;
use std::path::Path;
use webtun_wire::{CloseCode, Resume};

const SECRET: &[u8] = b"an HMAC secret of 32 octets, yes";

/// A gateway that takes tokens signed with what `scratch` has as `key`.
fn start(scratch: &Path, more: &[&str]) -> Gateway {
    let jwt = format!("auth.jwt=[{{key=\"{}\",audience=[\"webtun\"]}}]", scratch.join("key").display());
    let mut arguments = vec!["--listen", "127.0.0.1:0", "--set", &jwt];
    arguments.extend(more);
    Gateway::start(scratch, &arguments)
}

fn token(seconds: i64) -> String {
    sign(&format!("{{\"sub\":\"alice\",\"aud\":\"webtun\",\"exp\":{}}}", in_seconds(seconds)), SECRET)
}

async fn by_subprotocol(address: SocketAddr, token: &str) -> Client {
    Client::connect(address, &format!("webtun.v1, bearer.{token}")).await.expect("a WebSocket")
}

isolated! {
    fn a_jwt_opens_a_session_from_either_place_until_it_expires() {
        let scratch = Scratch::new("jwt");
        std::fs::write(scratch.0.join("key"), SECRET).expect("a file");
        let gateway = start(&scratch.0, &[]);
        block_on(async {
            let mut first = by_subprotocol(gateway.address, &token(60)).await;
            let session = first.hello(b"", None).await;
            let mut second = Client::connect(gateway.address, "webtun.v1").await.expect("a WebSocket");
            second.hello(token(60).as_bytes(), None).await;
            drop(first);
            let resume = Resume { session_id: session.session_id, secret: session.secret, next: 0 };
            let mut expired = by_subprotocol(gateway.address, &token(-60)).await;
            assert_eq!(expired.closing().await, (Some(CloseCode::Unauthorized), Some(4401)));
            let mut expired = Client::connect(gateway.address, "webtun.v1").await.expect("a WebSocket");
            expired.send(&hello(token(-60).as_bytes(), Some(resume))).await;
            assert_eq!(expired.closing().await, (Some(CloseCode::Unauthorized), Some(4401)));
            let mut renewed = by_subprotocol(gateway.address, &token(120)).await;
            assert!(renewed.hello(b"", Some(resume)).await.resumed, "the peer is the same");
        });
        let log = gateway.stop();
        assert!(log.contains("peer=\"jwt:alice\"") && log.contains("ExpiredSignature"), "{log}");
        assert!(!log.contains(token(60).split('.').next().expect("a header")), "{log}");
    }

    fn a_jwt_of_two_kilobytes_fits() {
        let scratch = Scratch::new("long-jwt");
        std::fs::write(scratch.0.join("key"), SECRET).expect("a file");
        let gateway = start(&scratch.0, &[]);
        let claims = format!(
            "{{\"sub\":\"a\",\"aud\":\"webtun\",\"exp\":{},\"roles\":\"{}\"}}", in_seconds(60), "r".repeat(2000)
        );
        let long = sign(&claims, SECRET);
        block_on(async {
            by_subprotocol(gateway.address, &long).await.hello(b"", None).await;
            let mut client = Client::connect(gateway.address, "webtun.v1").await.expect("a WebSocket");
            client.hello(long.as_bytes(), None).await;
        });
        gateway.stop();
    }

    fn keys_can_be_changed_while_it_runs() {
        let scratch = Scratch::new("rotation");
        std::fs::write(scratch.0.join("key"), b"another secret of thirty-two octets").expect("a file");
        let gateway = start(&scratch.0, &[]);
        block_on(async {
            assert_eq!(by_subprotocol(gateway.address, &token(60)).await.closing().await.1, Some(4401));
            std::fs::write(scratch.0.join("key"), SECRET).expect("a file");
            loop {
                let mut client = by_subprotocol(gateway.address, &token(600)).await;
                client.send(&hello(b"", None)).await;
                if matches!(client.receive().await, io_support::Received::Message(message)
                    if matches!(webtun_wire::capsules(&message).next(), Some(Ok(webtun_wire::Capsule::Session(_)))))
                {
                    break;
                }
                tokio::time::sleep(std::time::Duration::from_millis(200)).await;
            }
        });
        assert!(gateway.stop().contains("read again"));
    }
}

#[test]
fn a_key_file_that_cannot_be_used_is_told_at_the_start() {
    let scratch = Scratch::new("no-key");
    let key = scratch.0.join("key");
    let jwt = format!("auth.jwt=[{{key=\"{}\"}}]", key.display());
    let arguments = ["--listen", "127.0.0.1:0", "--set", "admin=off", "--set", &jwt];
    let error = failure(io_support::command(&scratch.0, &arguments));
    assert!(error.contains("auth.jwt") && error.contains("No such file"), "{error}");
    std::fs::write(&key, "short").expect("a file");
    let error = failure(io_support::command(&scratch.0, &arguments));
    assert!(error.contains("32 octets") && !error.contains("short"), "{error}");
}

//! Who may come in: tokens that others have signed, tickets, and what guessing leads to.

use crate::support::jwt::{in_seconds, sign};
use crate::support::{Client, Gateway, Scratch, block_on, failure, hello, http};
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
                if matches!(client.receive().await, crate::support::Received::Message(message)
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

isolated! {
    fn a_ticket_opens_one_session_which_comes_back_by_its_secret() {
        let scratch = Scratch::new("ticket");
        let gateway = Gateway::start(&scratch.0, &[&TOKEN[..], &["--log", "trace"]].concat());
        let ticket = ticket(&ask(gateway.address, "Bearer s3cret", ""));
        let by_ticket = |ticket: String| async move {
            Client::connect_to(gateway.address, &format!("/?ticket={ticket}")).await.expect("a WebSocket")
        };
        block_on(async {
            let mut client = by_ticket(ticket.clone()).await;
            let session = client.hello(b"", None).await;
            drop(client);
            let mut thief = by_ticket(ticket.clone()).await;
            thief.send(&hello(b"", None)).await;
            assert_eq!(thief.closing().await, (Some(CloseCode::Unauthorized), Some(4401)), "it is spent");
            let wrong = Resume { session_id: session.session_id, secret: [7; 32], next: 0 };
            let mut thief = by_ticket(ticket.clone()).await;
            thief.send(&hello(b"", Some(wrong))).await;
            assert_eq!(thief.closing().await, (Some(CloseCode::Unauthorized), Some(4401)));
            // The address still has the old ticket, as a client that knows of nothing would use it.
            let resume = Resume { session_id: session.session_id, secret: session.secret, next: 0 };
            let mut client = by_ticket(ticket.clone()).await;
            assert!(client.hello(b"", Some(resume)).await.resumed);
        });
        let log = gateway.stop();
        assert!(!log.contains(&ticket) && !log.contains("s3cret"), "{log}");
        assert!(log.contains("peer=\"token 1\""), "the ticket's peer is who has asked for it: {log}");
    }

    fn a_session_of_a_token_does_not_come_back_by_its_secret_alone() {
        let scratch = Scratch::new("no-ticket");
        let gateway = Gateway::start(&scratch.0, &TOKEN);
        block_on(async {
            let mut client = by_subprotocol(gateway.address, "s3cret").await;
            let session = client.hello(b"", None).await;
            let resume = Resume { session_id: session.session_id, secret: session.secret, next: 0 };
            let mut thief = Client::connect(gateway.address, "webtun.v1").await.expect("a WebSocket");
            thief.send(&hello(b"", Some(resume))).await;
            assert_eq!(thief.closing().await, (Some(CloseCode::Unauthorized), Some(4401)));
        });
        gateway.stop();
    }

    fn tickets_are_bounded_and_die() {
        let scratch = Scratch::new("tickets");
        let bounds = ["--token", "other", "--set", "auth.tickets_per_peer=2", "--set", "auth.ticket_life_s=2"];
        let gateway = Gateway::start(&scratch.0, &[&TOKEN[..], &bounds].concat());
        let ask = |credential| ask(gateway.address, credential, "");
        let first = ticket(&ask("Bearer s3cret"));
        assert_ne!(ticket(&ask("bearer s3cret")), first);
        let full = ask("Bearer s3cret").to_lowercase();
        assert!(full.starts_with("http/1.1 429") && full.contains("retry-after: "), "{full}");
        assert!(ask("Bearer other").starts_with("HTTP/1.1 200"), "another peer has its own");
        std::thread::sleep(std::time::Duration::from_secs(2));
        block_on(async {
            let late = format!("/?ticket={first}");
            let mut late = Client::connect_to(gateway.address, &late).await.expect("a WebSocket");
            late.send(&hello(b"", None)).await;
            assert_eq!(late.closing().await.0, Some(CloseCode::Unauthorized));
        });
        ticket(&ask("Bearer s3cret"));
        gateway.stop();
    }

    fn who_may_not_open_a_websocket_gets_no_ticket() {
        let scratch = Scratch::new("no-tickets");
        let origin = ["--allow-origin", "https://app.example"];
        let gateway = Gateway::start(&scratch.0, &[&TOKEN[..], &origin].concat());
        for credential in ["", "Bearer wrong", "Basic s3cret", "Bearer"] {
            let answer = ask(gateway.address, credential, "Origin: https://app.example\r\n").to_lowercase();
            assert!(answer.starts_with("http/1.1 401") && answer.contains("www-authenticate: bearer"), "{answer}");
            assert!(answer.contains("access-control-allow-origin: https://app.example"), "{answer}");
        }
        let foreign = ask(gateway.address, "Bearer s3cret", "Origin: https://evil.example\r\n").to_lowercase();
        assert!(foreign.starts_with("http/1.1 403") && !foreign.contains("access-control"), "{foreign}");
        let page = ask(gateway.address, "Bearer s3cret", "Origin: https://app.example\r\n");
        ticket(&page);
        let page = page.to_lowercase();
        for header in ["access-control-allow-origin: https://app.example", "cache-control: no-store", "vary: origin"] {
            assert!(page.contains(header), "{page}");
        }
        let preflight = http(
            gateway.address,
            "OPTIONS /ticket HTTP/1.1\r\nHost: gw\r\nOrigin: https://app.example\r\n\
             Access-Control-Request-Method: POST\r\nAccess-Control-Request-Headers: authorization\r\n\
             Connection: close\r\n\r\n",
        )
        .to_lowercase();
        assert!(preflight.starts_with("http/1.1 204") && preflight.contains("allow-headers: authorization"), "{preflight}");
        assert!(crate::support::get(gateway.address, "/ticket").starts_with("HTTP/1.1 405"));
        gateway.stop();
        let open = Gateway::start(&scratch.0, &["--listen", "127.0.0.1:0"]);
        assert!(ask_as(open.address, "localhost", "Bearer s3cret", "").starts_with("HTTP/1.1 404"));
        open.stop();
    }

    fn guessing_is_slow_and_counted_and_hits_nobody_else() {
        let scratch = Scratch::new("guessing");
        let listen = ["--listen", "0.0.0.0:0", "--token", "s3cret", "--set", "auth.failures_per_minute=3"];
        let gateway = Gateway::start(&scratch.0, &listen);
        let address = |last| SocketAddr::from(([127, 0, 0, last], gateway.address.port()));
        block_on(async {
            for guess in ["a", "b", "c"] {
                assert_eq!(by_subprotocol(address(1), guess).await.closing().await.1, Some(4401));
            }
            // Not even the right one is looked at, or guesses would go on at full speed.
            let mut refused = by_subprotocol(address(1), "s3cret").await;
            assert_eq!(refused.closing().await, (Some(CloseCode::Limit), Some(1013)));
            let mut refused = Client::connect(address(1), "webtun.v1").await.expect("a WebSocket");
            refused.send(&hello(b"s3cret", None)).await;
            assert_eq!(refused.closing().await, (Some(CloseCode::Limit), Some(1013)));
            let mut other = Client::connect_from([127, 0, 0, 2], address(1)).await;
            other.hello(b"s3cret", None).await;
        });
        let answer = ask(address(1), "Bearer s3cret", "").to_lowercase();
        assert!(answer.starts_with("http/1.1 429") && answer.contains("retry-after: "), "{answer}");
        let figures = crate::support::get(([127, 0, 0, 1], 9077).into(), "/metrics");
        for line in ["{result=\"unauthorized\"} 3", "{result=\"throttled\"} 3", "{result=\"accepted\"} 1"] {
            assert!(figures.contains(&format!("webtun_handshakes_total{line}")), "{figures}");
        }
        gateway.stop();
    }
}

/// A gateway with a token.
const TOKEN: [&str; 4] = ["--listen", "127.0.0.1:0", "--token", "s3cret"];

/// Asks for a ticket; the whole response.
fn ask(address: SocketAddr, authorization: &str, headers: &str) -> String {
    ask_as(address, "gw.example", authorization, headers)
}

fn ask_as(address: SocketAddr, host: &str, authorization: &str, headers: &str) -> String {
    http(
        address,
        &format!(
            "POST /ticket HTTP/1.1\r\nHost: {host}\r\nAuthorization: {authorization}\r\n{headers}\
             Content-Length: 0\r\nConnection: close\r\n\r\n"
        ),
    )
}

/// The ticket of a response.
fn ticket(response: &str) -> String {
    let (head, body) = response.split_once("\r\n\r\n").expect("a response");
    assert!(head.starts_with("HTTP/1.1 200"), "{response}");
    let told: serde_json::Value = serde_json::from_str(body).expect("JSON");
    assert!(told["expires_in"].as_u64().is_some_and(|seconds| seconds > 0), "{body}");
    let ticket = told["ticket"].as_str().expect("a ticket");
    assert_eq!(ticket.len(), 32);
    ticket.to_owned()
}

#[test]
fn a_key_file_that_cannot_be_used_is_told_at_the_start() {
    let scratch = Scratch::new("no-key");
    let key = scratch.0.join("key");
    let jwt = format!("auth.jwt=[{{key=\"{}\"}}]", key.display());
    let arguments = ["--listen", "127.0.0.1:0", "--set", "admin=off", "--set", &jwt];
    let error = failure(crate::support::command(&scratch.0, &arguments));
    assert!(error.contains("auth.jwt") && error.contains("No such file"), "{error}");
    std::fs::write(&key, "short").expect("a file");
    let error = failure(crate::support::command(&scratch.0, &arguments));
    assert!(error.contains("32 octets") && !error.contains("short"), "{error}");
}

//! HTTP/1.1, octet by octet.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use webtun_http::{BodyLength, Connection, EventKind};

fn outgoing(connection: &mut Connection) -> String {
    let mut octets = Vec::new();
    connection.take_outgoing(&mut octets);
    String::from_utf8(octets).unwrap()
}

fn kinds(connection: &mut Connection) -> Vec<EventKind> {
    std::iter::from_fn(|| connection.poll_event()).map(|event| event.kind).collect()
}

fn get(connection: &mut Connection) -> u32 {
    connection.request("GET", "http://www.example.test/", "", BodyLength::None).unwrap()
}

fn feed(connection: &mut Connection, text: &str) {
    connection.handle_data(text.as_bytes().to_vec().into());
}

fn body(connection: &mut Connection, id: u32) -> String {
    let octets: Vec<u8> = std::iter::from_fn(|| connection.take_chunk(id)).flatten().collect();
    String::from_utf8(octets).unwrap()
}

#[test]
fn a_connection_serves_one_request_after_the_other() {
    let mut connection = Connection::new(false);
    for round in 0..3 {
        assert!(connection.is_ready());
        let id = get(&mut connection);
        assert!(!connection.is_ready());
        assert_eq!(outgoing(&mut connection), "GET / HTTP/1.1\r\nhost: www.example.test\r\n\r\n");
        feed(&mut connection, "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nX-Round: ");
        feed(&mut connection, &format!("{round}\r\n\r\nhel"));
        assert_eq!(kinds(&mut connection), [EventKind::Head]);
        let head = connection.take_head(id).unwrap();
        assert_eq!((head.status, head.fields), (200, format!("content-length\n5\nx-round\n{round}\n")));
        connection.want(id, 100);
        feed(&mut connection, "lo");
        assert_eq!(kinds(&mut connection), [EventKind::Data, EventKind::End]);
        assert_eq!(body(&mut connection, id), "hello");
        connection.forget(id);
    }
    assert!(!connection.is_closed());
}

#[test]
fn an_empty_response_is_over_without_being_read() {
    let mut connection = Connection::new(false);
    for answer in ["HTTP/1.1 204 No Content\r\n\r\n", "HTTP/1.1 302 Found\r\nContent-Length: 0\r\n\r\n"] {
        let id = get(&mut connection);
        feed(&mut connection, answer);
        assert_eq!(kinds(&mut connection), [EventKind::Head, EventKind::End]);
        connection.forget(id);
        assert!(connection.is_ready());
    }
}

#[test]
fn a_response_that_nobody_reads_stops_the_server() {
    let mut connection = Connection::new(false);
    let id = get(&mut connection);
    feed(&mut connection, "HTTP/1.1 200 OK\r\nContent-Length: 10000000\r\n\r\n");
    let piece = "x".repeat(64 * 1024);
    let mut taken = 0;
    while connection.wants_data() {
        feed(&mut connection, &piece);
        taken += piece.len();
        assert!(taken <= 1024 * 1024, "it takes more than it may keep");
    }
    connection.want(id, 10_000_000);
    assert!(connection.wants_data());
    assert_eq!(body(&mut connection, id).len(), taken);
}

#[test]
fn a_body_is_sent_chunk_by_chunk() {
    let mut connection = Connection::new(false);
    let id = connection.request("POST", "http://a.test/x", "", BodyLength::Unknown).unwrap();
    assert_eq!(kinds(&mut connection), [EventKind::Wanted]);
    assert_eq!(kinds(&mut connection), []);
    connection.send_body(id, b"first"[..].into());
    assert_eq!(kinds(&mut connection), [EventKind::Wanted]);
    connection.finish_body(id);
    let sent = outgoing(&mut connection);
    assert!(sent.contains("transfer-encoding: chunked") && sent.ends_with("5\r\nfirst\r\n0\r\n\r\n"), "{sent}");

    let mut connection = Connection::new(false);
    let id = connection.request("PUT", "http://a.test/x", "", BodyLength::Known(3)).unwrap();
    connection.send_body(id, b"abc"[..].into());
    connection.finish_body(id);
    let sent = outgoing(&mut connection);
    assert!(sent.contains("content-length: 3\r\n") && sent.ends_with("\r\n\r\nabc"), "{sent}");
}

#[test]
fn failures_say_whose_they_are() {
    let failure = |answer: &str| {
        let mut connection = Connection::new(false);
        let id = get(&mut connection);
        feed(&mut connection, answer);
        connection.handle_end();
        connection.want(id, 1000);
        assert_eq!(kinds(&mut connection).last(), Some(&EventKind::Failed), "{answer}");
        assert!(connection.is_closed());
        connection.failure(id).unwrap().code
    };
    assert_eq!(failure(""), "ECONNRESET");
    assert_eq!(failure("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhel"), "ECONNRESET");
    assert_eq!(failure("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhel"), "ECONNRESET");
    assert_eq!(failure("220 mail.example.test ESMTP\r\n"), "EPROTO");
    assert_eq!(failure(&format!("HTTP/1.1 200 OK\r\n{}\r\n", "A: b\r\n".repeat(1000))), "EPROTO");
}

#[test]
fn an_abort_ends_the_connection() {
    let mut connection = Connection::new(false);
    let id = get(&mut connection);
    feed(&mut connection, "HTTP/1.1 200 OK\r\nContent-Length: 5000000\r\n\r\nhel");
    connection.forget(id);
    assert!(connection.is_closed());
    // Nobody minds what still comes.
    feed(&mut connection, "lo");
    connection.want(id, 5);
    connection.send_body(id, b"x"[..].into());
    assert!(connection.take_chunk(id).is_none() && connection.failure(id).is_none());
}

#[test]
fn an_aborted_body_fails_the_exchange() {
    let mut connection = Connection::new(false);
    let id = connection.request("POST", "http://a.test/", "", BodyLength::Known(10)).unwrap();
    connection.send_body(id, b"abc"[..].into());
    connection.abort_body(id);
    assert_eq!(kinds(&mut connection).last(), Some(&EventKind::Failed));
    assert!(connection.is_closed());
}

//! HTTP/2 against hyper's own server, through memory.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeMap;
use std::convert::Infallible;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
use webtun_http::{BodyLength, Connection, EventKind};

/// Answers with `size` octets for `/size`, and with its body for any other path.
async fn answer(request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    let size = request.uri().path().trim_start_matches('/').parse::<usize>();
    let body = match size {
        Ok(size) => vec![7; size].into(),
        Err(_) => request.into_body().collect().await.map(|body| body.to_bytes()).unwrap_or_default(),
    };
    Ok(Response::new(Full::new(body)))
}

fn serve() -> DuplexStream {
    let (ours, theirs) = tokio::io::duplex(1 << 20);
    tokio::spawn(async move {
        let server = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
        let _ = server.serve_connection(TokioIo::new(theirs), service_fn(answer)).await;
    });
    ours
}

/// Moves octets and reads all responses until `count` exchanges are over; the length of each body.
async fn exchange(connection: &mut Connection, wire: &mut DuplexStream, count: usize) -> BTreeMap<u32, usize> {
    let (mut lengths, mut over) = (BTreeMap::new(), 0);
    let (mut octets, mut buffer) = (Vec::new(), vec![0; 64 * 1024]);
    while over < count {
        while let Some(event) = connection.poll_event() {
            match event.kind {
                EventKind::Head => connection.want(event.id, 100_000_000),
                EventKind::Data => {
                    let read = std::iter::from_fn(|| connection.take_chunk(event.id)).map(|chunk| chunk.len());
                    *lengths.entry(event.id).or_default() += read.sum::<usize>();
                }
                EventKind::Wanted => connection.finish_body(event.id),
                EventKind::End => over += 1,
                EventKind::Failed => panic!("{:?}", connection.failure(event.id)),
            }
        }
        connection.take_outgoing(&mut octets);
        if !octets.is_empty() {
            wire.write_all(&octets).await.unwrap();
        } else if over < count {
            let length = wire.read(&mut buffer).await.unwrap();
            assert!(length > 0, "the server has closed");
            connection.handle_data(Bytes::copy_from_slice(&buffer[..length]));
        }
    }
    lengths
}

fn get(connection: &mut Connection, size: usize) -> u32 {
    connection.request("GET", &format!("https://a.test/{size}"), "", BodyLength::None).unwrap()
}

#[tokio::test]
async fn requests_share_a_connection() {
    let (mut connection, mut wire) = (Connection::new(true), serve());
    let sizes = [0, 1, 1000, 100_000, 3_000_000];
    let ids = sizes.map(|size| get(&mut connection, size));
    let lengths = exchange(&mut connection, &mut wire, sizes.len()).await;
    for (id, size) in ids.into_iter().zip(sizes) {
        assert_eq!(lengths.get(&id).copied().unwrap_or_default(), size);
        connection.forget(id);
    }
    assert!(connection.is_ready() && !connection.is_closed());
    let id = connection.request("POST", "https://a.test/echo", "", BodyLength::Unknown).unwrap();
    connection.send_body(id, vec![1; 50_000].into());
    assert_eq!(exchange(&mut connection, &mut wire, 1).await[&id], 50_000);
}

#[tokio::test]
async fn an_abort_ends_only_its_own_stream() {
    let (mut connection, mut wire) = (Connection::new(true), serve());
    for _ in 0..20 {
        let aborted = get(&mut connection, 3_000_000);
        let kept = get(&mut connection, 10_000);
        connection.forget(aborted);
        assert_eq!(exchange(&mut connection, &mut wire, 1).await[&kept], 10_000);
        connection.forget(kept);
    }
    assert!(!connection.is_closed());
}

#[tokio::test]
async fn what_is_not_http2_fails_every_exchange() {
    let mut connection = Connection::new(true);
    let ids = [get(&mut connection, 1), get(&mut connection, 2)];
    connection.handle_data(Bytes::from_static(b"HTTP/1.1 400 Bad Request\r\n\r\n"));
    connection.handle_end();
    for id in ids {
        assert!(connection.failure(id).is_some());
    }
    assert!(connection.is_closed());
}

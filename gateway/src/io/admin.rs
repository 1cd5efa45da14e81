//! The operator's listener: metrics, health and readiness. It has an address of its own, so that the public one gives
//! nothing away.

use super::doors::DoorFigures;
use super::driver::Shards;
use super::http::Phase;
use super::metrics::{Handshakes, TicketResults, render};
use http::header::CONTENT_TYPE;
use http::{HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::time::timeout;

/// Connections at once; further ones wait in the kernel's backlog.
const CONNECTIONS: usize = 16;
/// How long a request's head may take, and the driver with its answer.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long one connection may stay.
const LIFETIME: Duration = Duration::from_secs(300);
const OPENMETRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
const TEXT: &str = "text/plain; charset=utf-8";

/// What the listener shows.
#[derive(Clone)]
pub struct Admin {
    /// The way to the counters.
    pub drivers: Shards,
    /// Counted outside of the driver.
    pub handshakes: Handshakes,
    /// What becomes of tickets.
    pub tickets: TicketResults,
    /// Likewise.
    pub doors: DoorFigures,
    /// How far the gateway's life has gone.
    pub phase: watch::Receiver<Phase>,
}

/// Serves until the future is dropped.
pub async fn listen(listener: TcpListener, admin: Admin) {
    let slots = Arc::new(Semaphore::new(CONNECTIONS));
    loop {
        let Ok(slot) = Arc::clone(&slots).acquire_owned().await else { return };
        match listener.accept().await {
            Ok((stream, _)) => {
                let admin = admin.clone();
                tokio::spawn(async move {
                    // Whoever asks for longer than that connects again.
                    let _ = timeout(LIFETIME, converse(stream, admin)).await;
                    drop(slot);
                });
            }
            Err(error) => {
                tracing::warn!(%error, "a connection to the admin address cannot be accepted");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

async fn converse(stream: TcpStream, admin: Admin) {
    let service = service_fn(|request| {
        let admin = admin.clone();
        async move { Ok::<_, Infallible>(respond(&admin, request).await) }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(PATIENCE)
        .max_headers(100)
        .serve_connection(TokioIo::new(stream), service);
    if let Err(error) = connection.await {
        tracing::debug!(%error, "a connection to the admin address has failed");
    }
}

async fn respond(admin: &Admin, request: Request<Incoming>) -> Response<Full<Bytes>> {
    if request.method() != Method::GET {
        return text(StatusCode::METHOD_NOT_ALLOWED, TEXT, "only GET is known here\n".to_owned());
    }
    let phase = *admin.phase.borrow();
    match request.uri().path() {
        "/healthz" => text(StatusCode::OK, TEXT, "ok\n".to_owned()),
        "/readyz" if phase != Phase::Serving => text(StatusCode::SERVICE_UNAVAILABLE, TEXT, "draining\n".to_owned()),
        "/readyz" => text(StatusCode::OK, TEXT, "ready\n".to_owned()),
        "/metrics" => metrics(admin).await,
        _ => text(StatusCode::NOT_FOUND, TEXT, "here are /metrics, /healthz and /readyz\n".to_owned()),
    }
}

async fn metrics(admin: &Admin) -> Response<Full<Bytes>> {
    let snapshots = timeout(PATIENCE, admin.drivers.inspect()).await.ok().flatten();
    match snapshots.and_then(|snapshots| render(snapshots, &admin.handshakes, &admin.tickets, &admin.doors).ok()) {
        Some(body) => text(StatusCode::OK, OPENMETRICS, body),
        None => text(StatusCode::SERVICE_UNAVAILABLE, TEXT, "the gateway does not answer in time\n".to_owned()),
    }
}

fn text(status: StatusCode, kind: &'static str, body: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(body)));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    response
}

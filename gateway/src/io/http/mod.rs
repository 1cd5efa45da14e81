//! The one listener: health, files, and the upgrade to a WebSocket.

mod admit;
mod files;
mod origin;
mod ticket;
mod upgrade;

use super::auth::Gate;
use super::metrics::HandshakeResult;
use super::pace::PacedStream;
use super::session::{Doorway, serve};
use crate::config::AllowedOrigin;
use admit::admit;
use bytes::Bytes;
use files::Files;
use http::header::{ALLOW, CONTENT_TYPE, SEC_WEBSOCKET_VERSION};
use http::{HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use upgrade::{Upgrade, UpgradeError};

type Body = UnsyncBoxBody<Bytes, io::Error>;

/// What the listener needs to know.
pub struct Site {
    /// Judges credentials.
    pub gate: Arc<Gate>,
    /// Origins that may connect besides the own host's.
    pub allow_origins: Vec<AllowedOrigin>,
    /// Files to serve.
    pub static_dir: Option<PathBuf>,
    /// How long a request's head may take.
    pub header_timeout: Duration,
    /// Connections at once, WebSockets included.
    pub connections: usize,
    /// Where WebSockets go.
    pub doorway: Doorway,
}

struct State {
    site: Site,
    files: Option<Files>,
    phase: watch::Receiver<Phase>,
}

/// How far the gateway's life has gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    /// It serves.
    Serving,
    /// It serves those who are there, and wants no others.
    Draining,
    /// It accepts nobody any more.
    Stopping,
}

/// Accepts connections until the gateway stops. Returns when every connection has ended.
pub async fn listen(listener: TcpListener, site: Site, mut phase: watch::Receiver<Phase>) {
    let connections = u32::try_from(site.connections).unwrap_or(u32::MAX);
    let slots = Arc::new(Semaphore::new(site.connections));
    let files = site.static_dir.clone().map(Files::new);
    let state = Arc::new(State { site, files, phase: phase.clone() });
    loop {
        // A slot first: past the bound, connections wait in the kernel's backlog.
        let Ok(slot) = Arc::clone(&slots).acquire_owned().await else { return };
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = stopping(&mut phase) => break,
        };
        match accepted {
            Ok((stream, remote)) => drop(tokio::spawn(converse(Arc::clone(&state), stream, remote, slot))),
            Err(error) => {
                // Mostly a lack of descriptors, which only time mends.
                tracing::warn!(%error, "a connection cannot be accepted");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
    drop(listener);
    drop(slots.acquire_many(connections).await);
}

async fn stopping(phase: &mut watch::Receiver<Phase>) {
    // An error means that the gateway has ended already.
    let _ = phase.wait_for(|phase| *phase == Phase::Stopping).await;
}

/// One HTTP connection, up to its end or its upgrade.
async fn converse(state: Arc<State>, stream: TcpStream, remote: SocketAddr, slot: OwnedSemaphorePermit) {
    // The tunnel makes its own batches; waiting for more would only add delay.
    let _ = stream.set_nodelay(true);
    let slot = Arc::new(slot);
    let service = service_fn(|request| {
        let (state, slot) = (Arc::clone(&state), Arc::clone(&slot));
        async move { Ok::<_, Infallible>(respond(state, request, remote, slot).await) }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(state.site.header_timeout)
        .max_headers(100)
        .serve_connection(TokioIo::new(PacedStream::new(stream)), service)
        .with_upgrades();
    let mut connection = pin!(connection);
    let mut phase = state.phase.clone();
    let ended = tokio::select! {
        ended = connection.as_mut() => Some(ended),
        () = stopping(&mut phase) => None,
    };
    let ended = match ended {
        Some(ended) => ended,
        None => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%remote, %error, "an HTTP connection has failed");
    }
}

async fn respond(
    state: Arc<State>,
    request: Request<Incoming>,
    remote: SocketAddr,
    slot: Arc<OwnedSemaphorePermit>,
) -> Response<Body> {
    if upgrade::is_upgrade(request.headers()) {
        return open_websocket(&state, request, remote, slot);
    }
    match request.uri().path() {
        "/healthz" => text(StatusCode::OK, "ok\n"),
        "/readyz" if *state.phase.borrow() != Phase::Serving => text(StatusCode::SERVICE_UNAVAILABLE, "draining\n"),
        "/readyz" => text(StatusCode::OK, "ready\n"),
        "/ticket" => ticket::respond(&state.site, request.method(), request.headers(), remote.ip()),
        path => match &state.files {
            Some(files) => files.serve(request).await,
            None if path == "/" && request.method() == Method::GET => text(
                StatusCode::OK,
                "This is a webtun gateway. Open a WebSocket here with the subprotocol webtun.v1.\n",
            ),
            None if path == "/" => {
                let mut response = text(StatusCode::METHOD_NOT_ALLOWED, "only GET is known here\n");
                response.headers_mut().insert(ALLOW, HeaderValue::from_static("GET"));
                response
            }
            None => text(StatusCode::NOT_FOUND, "there is nothing here; the gateway is at /\n"),
        },
    }
}

fn open_websocket(
    state: &Arc<State>,
    mut request: Request<Incoming>,
    remote: SocketAddr,
    slot: Arc<OwnedSemaphorePermit>,
) -> Response<Body> {
    let site = &state.site;
    if request.uri().path() != "/" {
        return text(StatusCode::NOT_FOUND, "no WebSocket is served on this path; the gateway is at /\n");
    }
    if let Err(error) = origin::check(request.headers(), &site.allow_origins, site.gate.is_open()) {
        site.doorway.count(HandshakeResult::Origin);
        tracing::info!("a WebSocket of a foreign page is refused");
        tracing::debug!(%remote, %error);
        return text(StatusCode::FORBIDDEN, &error.to_string());
    }
    let upgrade = match Upgrade::parse(request.method(), request.headers()) {
        Ok(upgrade) => upgrade,
        Err(UpgradeError { status, text: words }) => {
            let mut response = text(status, words);
            response.headers_mut().insert(SEC_WEBSOCKET_VERSION, HeaderValue::from_static("13"));
            return response;
        }
    };
    let Some(handshake) = site.doorway.begin_handshake() else {
        return text(StatusCode::SERVICE_UNAVAILABLE, "too many connections are opening sessions; try again\n");
    };
    let admission = admit(&site.gate, upgrade.token.as_deref(), request.uri().query(), remote.ip());
    let upgraded = hyper::upgrade::on(&mut request);
    let doorway = site.doorway.clone();
    tokio::spawn(async move {
        // Held to the end: a WebSocket counts as a connection for as long as it is open.
        let _slot = slot;
        match upgraded.await.map(|upgraded| upgraded.downcast::<TokioIo<PacedStream>>()) {
            Ok(Ok(parts)) => serve(parts.io.into_inner(), parts.read_buf, admission, handshake, &doorway, remote).await,
            Ok(Err(_)) => tracing::error!("an upgraded connection is not the TCP connection that it was"),
            Err(error) => tracing::debug!(%remote, %error, "an upgrade has failed"),
        }
    });
    upgrade.response()
}

fn text(status: StatusCode, words: &str) -> Response<Body> {
    let body = Full::new(Bytes::copy_from_slice(words.as_bytes())).map_err(|never| match never {}).boxed_unsync();
    let mut response = Response::new(body);
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    response
}

//! The one listener: TLS, health, files, and the upgrade to a WebSocket.

mod admit;
mod files;
mod forwarded;
mod half_open;
mod origin;
mod ticket;
mod upgrade;

use super::auth::Gate;
use super::doors::{self, Carried, Doors, Entrance, Route};
use super::metrics::HandshakeResult;
use super::pace::PacedStream;
use super::session::{Doorway, serve};
use super::stream::Stream;
use crate::config::{AllowedOrigin, Http};
use admit::{admit, admit_emulator, admit_guest};
use bytes::Bytes;
use files::Files;
pub use half_open::{HalfOpen, Place, Source};
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
use std::net::IpAddr;
use std::path::PathBuf;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use upgrade::{Purpose, Upgrade, UpgradeError};

/// The largest head of a request, in octets, of which the longest credential is a part.
const MAX_HEAD: usize = 16 * 1024;
/// How long a connection may stay that does not become a WebSocket: whoever takes a response octet by octet does not have
/// it for ever.
const LIFETIME: Duration = Duration::from_secs(300);

type Body = UnsyncBoxBody<Bytes, io::Error>;

/// What the listener needs to know.
pub struct Site {
    /// Judges credentials.
    pub gate: Arc<Gate>,
    /// Origins that may connect besides the own host's.
    pub allow_origins: Vec<AllowedOrigin>,
    /// Files to serve.
    pub static_dir: Option<PathBuf>,
    /// Certificate and key, which may change; none where there is no TLS.
    pub tls: Option<watch::Receiver<Arc<ServerConfig>>>,
    /// The proxies.
    pub http: Http,
    /// How long a TLS handshake may take, and a request's head.
    pub handshake_timeout: Duration,
    /// Connections at once, WebSockets included.
    pub connections: usize,
    /// Places for connections without a session.
    pub half_open: Arc<HalfOpen>,
    /// Where WebSockets go.
    pub doorway: Doorway,
    /// Where emulators' go.
    pub doors: Arc<Doors>,
    /// Where those go that have connections carried.
    pub entrance: Arc<Entrance>,
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
            Ok((stream, remote)) => {
                let remote = remote.ip().to_canonical();
                let place = state.site.half_open.enter(Source::of(remote, &state.site.http.trusted_proxies));
                let visit = Arc::new(Visit { remote, place, _slot: slot });
                tokio::spawn(receive(Arc::clone(&state), stream, visit));
            }
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

/// Waits until nobody is served any more.
pub(in crate::io) async fn stopping(phase: &mut watch::Receiver<Phase>) {
    // An error means that the gateway has ended already.
    let _ = phase.wait_for(|phase| *phase == Phase::Stopping).await;
}

/// One connection's share in what there is a bound for.
struct Visit {
    /// The other end of the TCP connection.
    remote: IpAddr,
    place: Place,
    /// A WebSocket counts as a connection for as long as it is open.
    _slot: OwnedSemaphorePermit,
}

/// One connection, up to its end or its upgrade, unless a newcomer takes its place before.
async fn receive(state: Arc<State>, stream: TcpStream, visit: Arc<Visit>) {
    // The tunnel makes its own batches; waiting for more would only add delay.
    let _ = stream.set_nodelay(true);
    let conversation = async {
        if let Some(stream) = secure(&state.site, stream, visit.remote).await {
            converse(&state, stream, &visit).await;
        }
    };
    tokio::select! {
        ended = timeout(LIFETIME, conversation) => drop(ended),
        () = visit.place.displaced() => state.site.doorway.count(HandshakeResult::Displaced),
    }
}

/// The TLS handshake, where there is TLS.
async fn secure(site: &Site, stream: TcpStream, remote: IpAddr) -> Option<Stream> {
    let stream = PacedStream::new(stream);
    let Some(tls) = &site.tls else { return Some(stream.into()) };
    let acceptor = TlsAcceptor::from(Arc::clone(&tls.borrow()));
    match timeout(site.handshake_timeout, acceptor.accept(stream)).await {
        Ok(Ok(stream)) => Some(stream.into()),
        Ok(Err(error)) => {
            site.doorway.count(HandshakeResult::Tls);
            tracing::debug!(%remote, %error, "a TLS handshake has failed");
            None
        }
        Err(_) => {
            site.doorway.count(HandshakeResult::Timeout);
            tracing::debug!(%remote, "a TLS handshake takes too long");
            None
        }
    }
}

async fn converse(state: &Arc<State>, stream: Stream, visit: &Arc<Visit>) {
    let service = service_fn(|request| {
        let (state, visit) = (Arc::clone(state), Arc::clone(visit));
        async move { Ok::<_, Infallible>(respond(&state, request, visit).await) }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(state.site.handshake_timeout)
        .max_headers(100)
        .max_buf_size(MAX_HEAD)
        .serve_connection(TokioIo::new(stream), service)
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
        if error.is_timeout() {
            state.site.doorway.count(HandshakeResult::Timeout);
        }
        tracing::debug!(remote = %visit.remote, %error, "an HTTP connection has failed");
    }
}

async fn respond(state: &State, request: Request<Incoming>, visit: Arc<Visit>) -> Response<Body> {
    if upgrade::is_upgrade(request.headers()) {
        return open_websocket(state, request, visit);
    }
    match request.uri().path() {
        "/healthz" => text(StatusCode::OK, "ok\n"),
        "/readyz" if *state.phase.borrow() != Phase::Serving => text(StatusCode::SERVICE_UNAVAILABLE, "draining\n"),
        "/readyz" => text(StatusCode::OK, "ready\n"),
        "/ticket" => ticket::respond(&state.site, request.method(), request.headers(), visit.remote),
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

fn open_websocket(state: &State, mut request: Request<Incoming>, visit: Arc<Visit>) -> Response<Body> {
    let site = &state.site;
    let query = request.uri().query();
    let offers = |name: Option<&str>| upgrade::offers(request.headers(), name);
    let settings = site.entrance.settings();
    let Some(found) = doors::find(request.uri().path(), query.unwrap_or_default(), settings, offers) else {
        return text(StatusCode::NOT_FOUND, "no WebSocket is served on this path; the gateway is at /\n");
    };
    let purpose = match &found.route {
        Route::Tunnel => Purpose::Tunnel,
        Route::Carried(Carried::Wisp { .. }) => Purpose::Any,
        Route::Ethernet(_) | Route::Carried(_) => Purpose::Door,
    };
    let forwarded::Origin { client, host } = forwarded::origin(visit.remote, request.headers(), &site.http);
    if let Err(error) = origin::check(request.headers(), &host, &site.allow_origins, site.gate.is_open()) {
        site.doorway.count(HandshakeResult::Origin);
        tracing::info!("a WebSocket of a foreign page is refused");
        tracing::debug!(%client, %error);
        return text(StatusCode::FORBIDDEN, &error.to_string());
    }
    let upgrade = match Upgrade::parse(request.method(), request.headers(), purpose) {
        Ok(upgrade) => upgrade,
        Err(UpgradeError { status, text: words }) => {
            let mut response = text(status, words);
            response.headers_mut().insert(SEC_WEBSOCKET_VERSION, HeaderValue::from_static("13"));
            return response;
        }
    };
    visit.place.move_to(Source::of(client, &site.http.trusted_proxies));
    let admission = match &found.route {
        Route::Carried(_) => admit_guest(&site.gate, upgrade.token.as_deref(), found.key, query, client),
        Route::Ethernet(_) => admit_emulator(&site.gate, upgrade.token.as_deref(), query, client),
        Route::Tunnel => admit(&site.gate, upgrade.token.as_deref(), query, client),
    };
    let route = found.route;
    let upgraded = hyper::upgrade::on(&mut request);
    let (doorway, phase) = (site.doorway.clone(), state.phase.clone());
    let (doors, entrance) = (Arc::clone(&site.doors), Arc::clone(&site.entrance));
    tokio::spawn(async move {
        match upgraded.await.map(|upgraded| upgraded.downcast::<TokioIo<Stream>>()) {
            Ok(Ok(parts)) => {
                let (stream, early) = (parts.io.into_inner(), parts.read_buf);
                let guest = doors::Guest { admission, client, phase };
                match route {
                    Route::Ethernet(address) => {
                        doors::serve(stream, early, address, guest, &visit.place, &doorway, &doors).await;
                    }
                    Route::Carried(door) => {
                        doors::serve_guest(stream, early, door, guest, &visit.place, &doorway, &entrance).await;
                    }
                    Route::Tunnel => serve(stream, early, guest.admission, &visit.place, &doorway, client).await,
                }
            }
            Ok(Err(_)) => tracing::error!("an upgraded connection is not the one that it was"),
            Err(error) => tracing::debug!(%client, %error, "an upgrade has failed"),
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

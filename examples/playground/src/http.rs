//! HTTP and HTTPS: a page, pseudo-random octets, their hash, a sink that hashes what it gets, and files.

use std::convert::Infallible;
use std::io;
use std::net::IpAddr;
use std::path::Path;

use bytes::Bytes;
use http::{HeaderValue, Method, Request, Response, StatusCode, Version, header};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Either, Empty, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use sha2::{Digest, Sha256};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::TlsAcceptor;
use tower_http::services::ServeDir;

use crate::blob::{self, Blob};
use crate::knock::knock;
use crate::listen::{Binder, accept};

const HTTP: u16 = 80;
const HTTPS: u16 = 443;
const PAGE: &str = include_str!("page.html");
/// Below it are the files.
const FILES: &str = "/files";

type File = UnsyncBoxBody<Bytes, io::Error>;
type Body = Either<Full<Bytes>, Either<Blob, File>>;

/// Serves on the ports 80 and 443; `files` is the folder that is served as it is.
pub fn serve(bind: &Binder, tls: &TlsAcceptor, files: Option<&Path>) -> io::Result<()> {
    let files = files.map(ServeDir::new);
    let (tls, of_tls) = (tls.clone(), files.clone());
    accept(bind.tcp(HTTP)?, move |stream| {
        let files = files.clone();
        async move {
            if let Ok(peer) = stream.peer_addr() {
                connection(stream, peer.ip(), files).await;
            }
        }
    });
    accept(bind.tcp(HTTPS)?, move |stream| {
        let (tls, files) = (tls.clone(), of_tls.clone());
        async move {
            let Ok(peer) = stream.peer_addr() else { return };
            if let Ok(stream) = tls.accept(stream).await {
                connection(stream, peer.ip(), files).await;
            }
        }
    });
    Ok(())
}

async fn connection<S>(stream: S, peer: IpAddr, files: Option<ServeDir>)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let service = service_fn(move |request: Request<Incoming>| {
        let files =
            files.clone().filter(|_| request.uri().path().strip_prefix(FILES).is_some_and(|it| it.starts_with('/')));
        async move {
            Ok::<_, Infallible>(match files {
                Some(files) => file(request, files).await,
                None => answer(request, peer).await,
            })
        }
    });
    // A client that goes away in the middle is no event for anybody.
    let _ = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
}

async fn answer(request: Request<Incoming>, peer: IpAddr) -> Response<Body> {
    let path = request.uri().path().to_owned();
    match (request.method(), path.as_str()) {
        (&Method::GET | &Method::HEAD, "/") => text(StatusCode::OK, "text/html; charset=utf-8", PAGE.into()),
        (&Method::GET, "/blob") => with_size(&request, |size| octets(Blob::new(size, true))),
        (&Method::GET, "/close") => with_size(&request, |size| {
            let mut response = octets(Blob::new(size, false));
            // An HTTP/1.0 body without Content-Length ends with the connection, RFC 9112 section 6.3.
            *response.version_mut() = Version::HTTP_10;
            response
        }),
        (&Method::GET, "/sha256") => match size_of(&request) {
            Ok(size) => hash_of(size).await,
            Err(message) => text(StatusCode::BAD_REQUEST, "text/plain", message.into()),
        },
        (&Method::GET, "/knock") => knock_at(&request, peer).await,
        (&Method::PUT | &Method::POST, "/sink") => sink(request.into_body()).await,
        (_, "/" | "/blob" | "/close" | "/sha256" | "/knock" | "/sink") => {
            text(StatusCode::METHOD_NOT_ALLOWED, "text/plain", "this method is not for this path\n".into())
        }
        _ => text(StatusCode::NOT_FOUND, "text/plain", "no such path; see /\n".into()),
    }
}

fn with_size(request: &Request<Incoming>, make: impl FnOnce(u64) -> Response<Body>) -> Response<Body> {
    match size_of(request) {
        Ok(size) => make(size),
        Err(message) => text(StatusCode::BAD_REQUEST, "text/plain", message.into()),
    }
}

/// `size=N` of the query: octets, 1 MiB when it is not given.
fn size_of(request: &Request<Incoming>) -> Result<u64, &'static str> {
    match parameter(request, "size=").map_or(Ok(1 << 20), str::parse) {
        Ok(size) if size <= blob::MAX_SIZE => Ok(size),
        _ => Err("size is a number of octets, 16 GiB at most\n"),
    }
}

fn parameter<'a>(request: &'a Request<Incoming>, prefix: &str) -> Option<&'a str> {
    request.uri().query().unwrap_or_default().split('&').find_map(|pair| pair.strip_prefix(prefix))
}

async fn file(request: Request<Incoming>, mut files: ServeDir) -> Response<Body> {
    let path = request.uri().path().strip_prefix(FILES).unwrap_or_default();
    let Ok(path) = path.parse() else { return text(StatusCode::BAD_REQUEST, "text/plain", "this is no path\n".into()) };
    // A file has no use for the body.
    let mut request = request.map(|_| Empty::<Bytes>::new());
    *request.uri_mut() = path;
    match files.try_call(request).await {
        Ok(response) if response.status() == StatusCode::NOT_FOUND => {
            text(StatusCode::NOT_FOUND, "text/plain", "there is no such file\n".into())
        }
        Ok(response) => response.map(|body| Either::Right(Either::Right(body.boxed_unsync()))),
        Err(_) => text(StatusCode::INTERNAL_SERVER_ERROR, "text/plain", "the file cannot be read\n".into()),
    }
}

async fn knock_at(request: &Request<Incoming>, peer: IpAddr) -> Response<Body> {
    let Some(Ok(port)) = parameter(request, "port=").map(str::parse) else {
        return text(StatusCode::BAD_REQUEST, "text/plain", "port is the port to knock at\n".into());
    };
    match knock(peer, port).await {
        Ok(answer) => text(StatusCode::OK, "text/plain; charset=utf-8", answer.into()),
        Err(reason) => text(StatusCode::BAD_GATEWAY, "text/plain; charset=utf-8", reason.into()),
    }
}

async fn hash_of(size: u64) -> Response<Body> {
    match tokio::task::spawn_blocking(move || blob::sha256(size)).await {
        Ok(hash) => text(StatusCode::OK, "text/plain", hash.into()),
        Err(_) => text(StatusCode::INTERNAL_SERVER_ERROR, "text/plain", "cannot hash\n".into()),
    }
}

async fn sink(mut body: Incoming) -> Response<Body> {
    let (mut hash, mut octets) = (Sha256::new(), 0u64);
    while let Some(frame) = body.frame().await {
        let Ok(frame) = frame else {
            return text(StatusCode::BAD_REQUEST, "text/plain", "the body ended early\n".into());
        };
        if let Some(data) = frame.data_ref() {
            hash.update(data);
            octets += data.len() as u64;
        }
    }
    let json = crate::tcp::receipt(octets, hash);
    text(StatusCode::OK, "application/json", json.into())
}

fn octets(blob: Blob) -> Response<Body> {
    let mut response = Response::new(Either::Right(Either::Left(blob)));
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
    response
}

fn text(status: StatusCode, kind: &'static str, text: Bytes) -> Response<Body> {
    let mut response = Response::new(Either::Left(Full::new(text)));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    response
}

use super::{Body, text};
use http::header::{CACHE_CONTROL, HeaderName};
use http::{HeaderValue, Request, Response, StatusCode};
use http_body_util::{BodyExt, Empty};
use hyper::body::Incoming;
use std::path::PathBuf;
use tower_http::services::ServeDir;

/// A folder, served read-only.
///
/// `tower_http`'s `ServeDir` does paths (no traversal), content types, ranges and conditional requests. The headers make
/// the page cross-origin isolated, without which a browser has no `SharedArrayBuffer`.
pub(super) struct Files {
    dir: ServeDir,
}

const HEADERS: [(&str, &str); 4] = [
    ("cross-origin-opener-policy", "same-origin"),
    ("cross-origin-embedder-policy", "require-corp"),
    ("cross-origin-resource-policy", "same-origin"),
    ("x-content-type-options", "nosniff"),
];

impl Files {
    pub(super) fn new(dir: PathBuf) -> Self {
        Self { dir: ServeDir::new(dir) }
    }

    pub(super) async fn serve(&self, request: Request<Incoming>) -> Response<Body> {
        // The body is of no use for a file, and the service would otherwise want to own it.
        let request = request.map(|_| Empty::<bytes::Bytes>::new());
        let mut response = match self.dir.clone().try_call(request).await {
            Ok(response) if response.status() == StatusCode::NOT_FOUND => {
                text(StatusCode::NOT_FOUND, "there is no such file\n")
            }
            Ok(response) => response.map(BodyExt::boxed_unsync),
            Err(error) => {
                tracing::warn!(%error, "a file cannot be read");
                text(StatusCode::INTERNAL_SERVER_ERROR, "the file cannot be read\n")
            }
        };
        let headers = response.headers_mut();
        for (name, value) in HEADERS {
            headers.insert(HeaderName::from_static(name), HeaderValue::from_static(value));
        }
        // Files change with the gateway's version: the browser may keep them, but asks whether they are still good.
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
        response
    }
}

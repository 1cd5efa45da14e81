//! `demo --check`: the page runs its panels by itself and reports each to a small HTTP server of ours.

use std::convert::Infallible;
use std::net::Ipv4Addr;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use serde::Deserialize;
use tokio::net::TcpListener;
use tokio::sync::{mpsc, watch};
use tokio::time::timeout;

use crate::Result;
use crate::browser::{Browser, Kind, Picture};

/// Until the page first reports. Chromium gives up a page that it is loading when an address of the machine changes
/// (ERR_NETWORK_CHANGED), and a new one is started.
const START: Duration = Duration::from_secs(30);
const STARTS: usize = 3;
/// For all panels together.
const LIMIT: Duration = Duration::from_secs(240);
/// From the end of the check to the browser's picture.
const PICTURE: Duration = Duration::from_secs(30);
const LARGEST_REPORT: usize = 64 << 10;

/// How to check.
pub struct Job<'a> {
    /// In which browser.
    pub browser: Kind,
    /// Where to keep a picture.
    pub picture: Option<&'a Path>,
    /// Width and height of the picture in pixels.
    pub window: (u32, u32),
    /// Whether to take it of the dark page.
    pub dark: bool,
}

/// What the page posts.
#[derive(Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
enum Report {
    /// The panels that will follow.
    Begin { panels: Vec<String> },
    /// How one of them fared, in words for a person.
    Panel { name: String, ok: bool, detail: String, ms: f64 },
    /// All are through.
    End,
}

/// Opens the page, prints one line for each panel, and fails unless all succeeded.
pub async fn run(page: &str, job: &Job<'_>) -> Result<ExitCode> {
    let (reports, mut inbox) = mpsc::channel(64);
    let (done, gate) = watch::channel(false);
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    let port = listener.local_addr()?.port();
    let server = tokio::spawn(serve(listener, Arc::new(Desk { reports, gate })));

    let picture = job.picture.map(|file| Picture { file, window: job.window });
    let hold = if picture.is_some() { "&hold" } else { "" };
    let url = format!("{page}?check=http://127.0.0.1:{port}/{hold}");
    let open = || Browser::open(job.browser, &url, picture.as_ref(), job.dark);
    let mut tally = Tally::default();
    let mut browser = open()?;
    for _ in 1..STARTS {
        if tally.begins(&mut inbox).await {
            break;
        }
        println!("the page did not report within {} s: opened anew\n{}", START.as_secs(), browser.last_words());
        browser.close().await;
        browser = open()?;
    }
    tokio::select! {
        result = timeout(LIMIT, tally.collect(&mut inbox)) => {
            if result.is_err() {
                println!("FAIL the page did not finish within {} s\n{}", LIMIT.as_secs(), browser.last_words());
            }
        }
        () = browser.ended() => println!("FAIL the browser ended before the page was through"),
    }
    let _ = done.send(true);
    if let Some(file) = job.picture {
        // It ends by itself once the picture is written.
        let _ = timeout(PICTURE, browser.ended()).await;
        println!("picture {}", file.display());
    }
    browser.close().await;
    server.abort();
    tally.report_missing();
    Ok(if tally.is_complete() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

#[derive(Default)]
struct Tally {
    awaited: Vec<String>,
    passed: usize,
    failed: usize,
    ended: bool,
}

impl Tally {
    /// Whether the first report comes in time.
    async fn begins(&mut self, inbox: &mut mpsc::Receiver<Report>) -> bool {
        let Ok(Some(report)) = timeout(START, inbox.recv()).await else { return false };
        self.take(report);
        true
    }

    async fn collect(&mut self, inbox: &mut mpsc::Receiver<Report>) {
        while !self.ended
            && let Some(report) = inbox.recv().await
        {
            self.take(report);
        }
    }

    fn take(&mut self, report: Report) {
        match report {
            Report::Begin { panels } => self.awaited = panels,
            Report::Panel { name, ok, detail, ms } => {
                self.awaited.retain(|awaited| *awaited != name);
                *if ok { &mut self.passed } else { &mut self.failed } += 1;
                println!("{} {name:<10} {:6.1} s  {detail}", if ok { "ok  " } else { "FAIL" }, ms / 1000.0);
            }
            Report::End => self.ended = true,
        }
    }

    fn report_missing(&self) {
        for name in &self.awaited {
            println!("FAIL {name:<10} no result");
        }
        println!("{} panels passed, {} failed", self.passed, self.failed + self.awaited.len());
    }

    /// All panels have passed, and the page knows of no other.
    fn is_complete(&self) -> bool {
        self.failed == 0 && self.awaited.is_empty() && self.ended && self.passed > 0
    }
}

/// Takes the reports. An image, asked for by a page of which a picture is wanted, is answered when all is done: the
/// browser waits with the load event, and so with the picture, for it.
struct Desk {
    reports: mpsc::Sender<Report>,
    gate: watch::Receiver<bool>,
}

async fn serve(listener: TcpListener, desk: Arc<Desk>) {
    while let Ok((stream, _)) = listener.accept().await {
        let desk = desk.clone();
        tokio::spawn(async move {
            let service = service_fn(|request| async { Ok::<_, Infallible>(desk.answer(request).await) });
            let _ = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
        });
    }
}

impl Desk {
    async fn answer(&self, request: Request<Incoming>) -> Response<Full<Bytes>> {
        let mut response = Response::new(Full::default());
        let headers = response.headers_mut();
        // The page is of another origin, and isolated by COEP.
        headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, header::HeaderValue::from_static("*"));
        headers.insert("cross-origin-resource-policy", header::HeaderValue::from_static("cross-origin"));
        *response.status_mut() = match request.method() {
            &Method::POST => self.take(request.into_body()).await,
            _ => {
                let _ = self.gate.clone().wait_for(|done| *done).await;
                StatusCode::NOT_FOUND
            }
        };
        response
    }

    async fn take(&self, body: Incoming) -> StatusCode {
        let Ok(body) = Limited::new(body, LARGEST_REPORT).collect().await else { return StatusCode::PAYLOAD_TOO_LARGE };
        let Ok(report) = serde_json::from_slice(&body.to_bytes()) else { return StatusCode::BAD_REQUEST };
        match self.reports.send(report).await {
            Ok(()) => StatusCode::NO_CONTENT,
            Err(_) => StatusCode::GONE,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn panel(name: &str, ok: bool) -> Report {
        Report::Panel { name: name.into(), ok, detail: String::new(), ms: 1.0 }
    }

    async fn is_complete(reports: Vec<Report>) -> bool {
        let (sender, mut inbox) = mpsc::channel(8);
        for report in reports {
            sender.send(report).await.unwrap();
        }
        drop(sender);
        let mut tally = Tally::default();
        tally.collect(&mut inbox).await;
        tally.is_complete()
    }

    #[tokio::test]
    async fn only_a_page_that_came_through_with_every_panel_passes() {
        let begin = || Report::Begin { panels: vec!["ping".into(), "echo".into()] };
        assert!(is_complete(vec![begin(), panel("ping", true), panel("echo", true), Report::End]).await);
        assert!(!is_complete(vec![begin(), panel("ping", true), panel("echo", false), Report::End]).await);
        assert!(!is_complete(vec![begin(), panel("ping", true), Report::End]).await, "a panel is missing");
        assert!(!is_complete(vec![begin(), panel("ping", true), panel("echo", true)]).await, "the end is missing");
        assert!(!is_complete(vec![Report::End]).await, "nothing was checked");
    }
}

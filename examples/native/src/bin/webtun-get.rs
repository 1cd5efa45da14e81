//! Downloads over HTTP or HTTPS through a gateway.

use std::error::Error;
use std::io::IsTerminal;
use std::path::PathBuf;

use clap::Parser;
use http_body_util::{BodyExt, Empty};
use hyper::body::{Body, Bytes, Incoming};
use hyper::{Request, Response, Uri, header};
use hyper_util::rt::TokioIo;
use sha2::{Digest, Sha256};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio::time::Instant;
use webtun_native_examples::connection::{ConnectionFlags, FamilyFlags};
use webtun_native_examples::{exit, tls};
use webtun_stack::aio::StackHandle;

/// Downloads a URL through a webtun gateway
#[derive(Debug, Parser)]
#[command(name = "webtun-get", version)]
struct Flags {
    #[command(flatten)]
    connection: ConnectionFlags,

    #[command(flatten)]
    family: FamilyFlags,

    /// Write to this file instead of the standard output
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,

    /// Print the SHA-256 of the body in place of the body (with --output: beside it)
    #[arg(long)]
    sha256: bool,

    /// Trust this authority (PEM) instead of the system's
    #[arg(long, value_name = "FILE")]
    cacert: Option<PathBuf>,

    /// Address with http:// or https://
    address: Uri,
}

fn main() {
    let flags = Flags::parse();
    exit::run("webtun-get", async move {
        let net = flags.connection.connect().await?;
        let result = exit::unless_interrupted(get(&net, &flags)).await;
        net.close().await;
        result
    })
}

/// Exit status 0: the server answered 2xx; 2: it answered something else.
async fn get(net: &StackHandle, flags: &Flags) -> Result<i32, Box<dyn Error>> {
    let host = flags.address.host().ok_or("the address has no host")?.trim_matches(['[', ']']);
    let secure = match flags.address.scheme_str() {
        Some("http") => false,
        Some("https") => true,
        _ => return Err("expected http:// or https://".into()),
    };
    let port = flags.address.port_u16().unwrap_or(if secure { 443 } else { 80 });
    let stream = net.tcp_connect_host(host, port, flags.family.family()).await;
    let stream = stream.map_err(|error| format!("{host} port {port}: {error}"))?;
    let response = if secure {
        request(tls::connect(stream, host, flags.cacert.as_deref()).await?, &flags.address).await?
    } else {
        request(stream, &flags.address).await?
    };
    let status = response.status();
    save(response.into_body(), flags).await?;
    if status.is_success() {
        return Ok(0);
    }
    eprintln!("the server answered {status}");
    Ok(2)
}

async fn request<T>(stream: T, address: &Uri) -> Result<Response<Incoming>, Box<dyn Error>>
where
    T: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    // What ends the connection early ends the body early, which reports it.
    tokio::spawn(connection);
    let authority = address.authority().ok_or("the address has no host")?.as_str();
    let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    let request = Request::get(address.path_and_query().map_or("/", |path| path.as_str()))
        .header(header::HOST, host)
        .header(header::USER_AGENT, concat!("webtun-get/", env!("CARGO_PKG_VERSION")))
        .header(header::CONNECTION, "close")
        .body(Empty::<Bytes>::new())?;
    Ok(sender.send_request(request).await?)
}

async fn save(mut body: Incoming, flags: &Flags) -> Result<(), Box<dyn Error>> {
    let mut output: Option<Box<dyn AsyncWrite + Unpin>> = match &flags.output {
        Some(path) => Some(Box::new(tokio::fs::File::create(path).await?)),
        None if flags.sha256 => None,
        None => Some(Box::new(tokio::io::stdout())),
    };
    let mut hash = Sha256::new();
    let mut progress = Progress::new(body.size_hint().exact());
    while let Some(frame) = body.frame().await {
        let Ok(data) = frame?.into_data() else { continue };
        hash.update(&data);
        if let Some(output) = &mut output {
            output.write_all(&data).await?;
        }
        progress.add(data.len());
    }
    if let Some(output) = &mut output {
        output.flush().await?;
    }
    progress.finish();
    if flags.sha256 {
        println!("{}", hash.finalize().iter().map(|octet| format!("{octet:02x}")).collect::<String>());
    }
    Ok(())
}

/// A line on standard error, where that is a terminal.
struct Progress {
    start: Instant,
    shown: Instant,
    received: u64,
    total: Option<u64>,
    visible: bool,
}

impl Progress {
    fn new(total: Option<u64>) -> Self {
        let now = Instant::now();
        Self { start: now, shown: now, received: 0, total, visible: std::io::stderr().is_terminal() }
    }

    fn add(&mut self, octets: usize) {
        self.received += octets as u64;
        if self.visible && self.shown.elapsed().as_millis() >= 100 {
            self.shown = Instant::now();
            self.show();
        }
    }

    fn show(&self) {
        let mebi = |octets: u64| octets as f64 / f64::from(1 << 20);
        let rate = mebi(self.received) / self.start.elapsed().as_secs_f64().max(1e-3);
        let share = match self.total {
            Some(total) if total > 0 => format!("{:3.0} % of ", 100.0 * self.received as f64 / total as f64),
            _ => String::new(),
        };
        eprint!("\r{share}{:.1} MiB, {rate:.1} MiB/s   ", mebi(self.total.unwrap_or(self.received)));
    }

    fn finish(&self) {
        if self.visible {
            self.show();
            eprintln!();
        }
    }
}

//! A session that does nothing wrong and measures how it fares: bulk data both ways at a pace, echoes, and connections that
//! are mostly idle and must not break.
//!
//! `bystander --url ws://HOST:PORT/ --token TOKEN --seconds 10 --down 10 --up 10`

use std::error::Error;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use clap::Parser;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::{Instant, MissedTickBehavior, interval, sleep_until, timeout};
use webtun_stack::aio::{self, ConnectOptions, StackHandle, TcpStream};
use webtun_stack::{Status, TcpOptions};

const REMOTE: Ipv4Addr = Ipv4Addr::new(198, 18, 0, 2);
/// The playground's services.
const ECHO: u16 = 7;
const DISCARD: u16 = 9;
const CHARGEN: u16 = 19;
/// How often a bulk transfer is given its share.
const TICK: Duration = Duration::from_millis(10);

/// A well-behaved session of a webtun gateway
#[derive(Debug, Parser)]
struct Flags {
    /// Address of the gateway
    #[arg(long)]
    url: String,
    /// Its token
    #[arg(long)]
    token: String,
    /// How long
    #[arg(long, default_value_t = 10)]
    seconds: u64,
    /// Megabytes per second that are offered to it
    #[arg(long, default_value_t = 10.0)]
    down: f64,
    /// Megabytes per second that it offers
    #[arg(long, default_value_t = 10.0)]
    up: f64,
    /// Connections that are held
    #[arg(long, default_value_t = 20)]
    held: usize,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let flags = Flags::parse();
    let options = ConnectOptions { token: Some(flags.token.clone()), ..ConnectOptions::default() };
    let net = aio::connect(&flags.url, options).await?;
    let lost = watch_status(&net);
    let mut held = Vec::new();
    for _ in 0..flags.held {
        held.push(open(&net, ECHO).await?);
    }
    let (echo, down, up) = (open(&net, ECHO).await?, open(&net, CHARGEN).await?, open(&net, DISCARD).await?);
    println!("ready");

    let end = Instant::now() + Duration::from_secs(flags.seconds);
    let held: Vec<_> = held.into_iter().map(|stream| tokio::spawn(hold(stream, end))).collect();
    let (echoes, down, up) =
        tokio::join!(echoes(echo, end), receive(down, flags.down * 1e6, end), send(up, flags.up * 1e6, end));
    let mut broken = usize::from(echoes.is_err()) + usize::from(down.is_err()) + usize::from(up.is_err());
    for one in held {
        broken += usize::from(!matches!(one.await, Ok(Ok(()))));
    }
    for error in [down.as_ref().err(), up.as_ref().err(), echoes.as_ref().err()].into_iter().flatten() {
        eprintln!("{error}");
    }
    let rate = |octets: u64| octets as f64 / 1e6 / flags.seconds as f64;
    let mut times = echoes.unwrap_or_default();
    times.sort();
    let of = |share: f64| times.get((times.len() as f64 * share) as usize).map_or(f64::NAN, |t| t.as_secs_f64() * 1e3);
    println!(
        "down={:.2} up={:.2} echoes={} p50={:.2} p95={:.2} p99={:.2} broken={broken} lost={}",
        rate(down.unwrap_or(0)),
        rate(up.unwrap_or(0)),
        times.len(),
        of(0.5),
        of(0.95),
        of(0.99),
        *lost.borrow()
    );
    net.close().await;
    Ok(())
}

async fn open(net: &StackHandle, port: u16) -> std::io::Result<TcpStream> {
    net.tcp_connect(SocketAddr::from((REMOTE, port)), TcpOptions::default()).await
}

/// Counts how often the tunnel was lost.
fn watch_status(net: &StackHandle) -> tokio::sync::watch::Receiver<u64> {
    let mut status = net.status();
    let (sender, receiver) = tokio::sync::watch::channel(0);
    drop(tokio::spawn(async move {
        while status.changed().await.is_ok() {
            if matches!(*status.borrow_and_update(), Status::Reconnecting { .. }) {
                sender.send_modify(|count| *count += 1);
            }
        }
    }));
    receiver
}

/// One small message to and fro.
async fn echo(stream: &mut TcpStream, octets: &[u8]) -> std::io::Result<Duration> {
    let began = Instant::now();
    stream.write_all(octets).await?;
    let mut answer = vec![0; octets.len()];
    stream.read_exact(&mut answer).await?;
    if answer == octets { Ok(began.elapsed()) } else { Err(std::io::Error::other("another answer")) }
}

async fn echoes(mut stream: TcpStream, end: Instant) -> std::io::Result<Vec<Duration>> {
    stream.set_nodelay(true);
    let mut times = Vec::new();
    let mut pace = interval(Duration::from_millis(20));
    pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
    while Instant::now() < end {
        pace.tick().await;
        times.push(echo(&mut stream, &(times.len() as u64).to_be_bytes()).await?);
    }
    Ok(times)
}

/// A connection that says something now and then.
async fn hold(mut stream: TcpStream, end: Instant) -> std::io::Result<()> {
    while Instant::now() < end {
        timeout(Duration::from_secs(30), echo(&mut stream, b"still here?")).await??;
        sleep_until(end.min(Instant::now() + Duration::from_secs(1))).await;
    }
    Ok(())
}

/// Reads at a pace, and what was missed is not made up for by more than a tenth of a second's worth.
async fn receive(mut stream: TcpStream, rate: f64, end: Instant) -> std::io::Result<u64> {
    let (mut buffer, mut total, mut pace) = (vec![0; 256 * 1024], 0, Pace::new(rate));
    while Instant::now() < end {
        let room = pace.wait().await.min(buffer.len());
        let Ok(read) = tokio::time::timeout_at(end, stream.read(&mut buffer[..room])).await else { break };
        match read? {
            0 => return Err(std::io::Error::other("the server has ended it")),
            len => total += pace.used(len),
        }
    }
    Ok(total)
}

async fn send(mut stream: TcpStream, rate: f64, end: Instant) -> std::io::Result<u64> {
    let (buffer, mut total, mut pace) = (vec![7; 256 * 1024], 0, Pace::new(rate));
    while Instant::now() < end {
        let room = pace.wait().await.min(buffer.len());
        let Ok(written) = tokio::time::timeout_at(end, stream.write(&buffer[..room])).await else { break };
        total += pace.used(written?);
    }
    // What still waits has not been taken by anybody.
    Ok(total.saturating_sub(stream.unsent() as u64))
}

struct Pace {
    rate: f64,
    allowed: f64,
    last: Instant,
}

impl Pace {
    fn new(rate: f64) -> Self {
        Self { rate, allowed: 0.0, last: Instant::now() }
    }

    /// How many octets may pass; not before there is a tick's worth.
    async fn wait(&mut self) -> usize {
        loop {
            let now = Instant::now();
            let gained = (now - self.last).as_secs_f64() * self.rate;
            (self.allowed, self.last) = ((self.allowed + gained).min(self.rate / 10.0), now);
            if self.allowed >= self.rate * TICK.as_secs_f64() / 2.0 {
                return self.allowed as usize;
            }
            sleep_until(now + TICK).await;
        }
    }

    fn used(&mut self, len: usize) -> u64 {
        self.allowed -= len as f64;
        len as u64
    }
}

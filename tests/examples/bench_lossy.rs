//! Flows over a line behind the gateway that loses packets, up and down, by one of several ways:
//!
//! | `--by` | path |
//! |---|---|
//! | `linux` | TCP of the kernel, from the gateway's namespace over the line |
//! | `end-to-end` | client stack, gateway with a TUN device, line |
//! | `split` | client stack, a connection that the gateway makes, line |
//! | `user` | client stack, gateway without a TUN device, line |
//!
//! The far end, and whoever sends from here by Linux, has BBR or CUBIC, or else the figure says whose side it is measured
//! beside. Writes MB/s as the receiver has seen them, from an open connection on. The line, and so what it loses, begins anew with each
//! flow. Needs root.

use std::error::Error;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use clap::{Parser, ValueEnum};
use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{Instant, timeout};
use webtun_stack::aio::{self, ConnectOptions, StackHandle};
use webtun_stack::{StreamHost, TcpOptions};
use webtun_tests::lab::{Lab, OUTSIDE, Operator, REMOTE, TOKEN, URL};
use webtun_tests::line::{End, Line};
use webtun_tests::netns;

const FAR: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::new(198, 18, 0, 2)), 5001);
/// Written and read at once, in octets.
const CHUNK: usize = 64 * 1024;

type Outcome<T> = Result<T, Box<dyn Error + Send + Sync>>;

/// Flows over a line that loses packets
#[derive(Debug, Parser)]
struct Flags {
    /// The way
    #[arg(long, value_enum)]
    by: By,
    /// What the line loses, each by itself
    #[arg(long, value_name = "PERCENT", value_delimiter = ',', default_value = "1,3")]
    loss: Vec<f64>,
    /// Which packets that are
    #[arg(long, value_name = "NUMBER", default_value_t = 0)]
    seed: u64,
    /// How long each flow
    #[arg(long, default_value_t = 8.0)]
    seconds: f64,
    /// The line's speed
    #[arg(long, value_name = "MBIT/S", default_value_t = 100)]
    mbit_s: u32,
    /// How long a packet is on the line, each way
    #[arg(long, value_name = "MS", default_value_t = 40)]
    delay_ms: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, ValueEnum)]
enum By {
    Linux,
    EndToEnd,
    Split,
    User,
}

#[derive(Clone, Copy, Debug)]
enum Direction {
    Up,
    Down,
}

/// A connection, from either end.
trait Flow: AsyncRead + AsyncWrite + Unpin {}
impl<T: AsyncRead + AsyncWrite + Unpin> Flow for T {}

fn main() -> Outcome<()> {
    let flags = Flags::parse();
    if !netns::available() {
        return Err("needs root and /dev/net/tun".into());
    }
    for loss in &flags.loss {
        let line = Line { mbit_s: flags.mbit_s, delay_ms: flags.delay_ms, loss: *loss, seed: flags.seed };
        let time = Duration::try_from_secs_f64(flags.seconds)?;
        let mut up = None;
        for congestion in ["bbr", "cubic"] {
            // Who sends up by a tunnel has no choice.
            let speed = match up.filter(|_| flags.by != By::Linux) {
                Some(speed) => speed,
                None => flow(flags.by, Direction::Up, congestion, line, time)?,
            };
            up = Some(speed);
            println!("up at {loss} %, beside {congestion} {speed}");
            let speed = flow(flags.by, Direction::Down, congestion, line, time)?;
            println!("down at {loss} %, from {congestion} {speed}");
        }
    }
    Ok(())
}

/// MB/s of one flow in a network of its own.
fn flow(by: By, direction: Direction, congestion: &str, line: Line, time: Duration) -> Outcome<f64> {
    let operator = if by == By::User { Operator::Nobody } else { Operator::Root };
    let lab = Lab::start_as(operator, "wt-lossy", &[]);
    // A default that nobody has asked for, so that what the gateway asks for shows.
    lab.gateway.exec("sysctl", &["--quiet", "--write", "net.ipv4.tcp_congestion_control=reno"]);
    let gateway = End { netns: &lab.gateway, device: "outside", address: OUTSIDE };
    let remote = End { netns: &lab.remote, device: "eth0", address: REMOTE[0] };
    let _line = line.lay(gateway, remote);
    let listener = lab.remote.within(|| std::net::TcpListener::bind(FAR))?;
    // In a thread there, where its sockets come to lie.
    let near = if by == By::Linux { &lab.gateway } else { &lab.client };
    near.within(|| {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(measure(by, direction, congestion, listener, time))
    })
}

async fn measure(
    by: By,
    direction: Direction,
    congestion: &str,
    listener: std::net::TcpListener,
    time: Duration,
) -> Outcome<f64> {
    listener.set_nonblocking(true)?;
    let listener = TcpListener::from_std(listener)?;
    let accepted = async { Ok(listener.accept().await?.0) };
    let ((mut near, session), mut far) = tokio::try_join!(open(by, congestion), accepted)?;
    choose(&far, congestion)?;
    let speed = match direction {
        Direction::Up => beside(receive(&mut far, time), send(&mut *near)).await?,
        Direction::Down => beside(receive(&mut *near, time), send(&mut far)).await?,
    };
    drop((near, far));
    if let Some(session) = session {
        session.close().await;
    }
    Ok(speed)
}

async fn open(by: By, congestion: &str) -> Outcome<(Box<dyn Flow>, Option<StackHandle>)> {
    if by == By::Linux {
        let stream = TcpStream::connect(FAR).await?;
        choose(&stream, congestion)?;
        return Ok((Box::new(stream), None));
    }
    let options = ConnectOptions { token: Some(TOKEN.to_owned()), ..ConnectOptions::default() };
    let session = aio::connect(URL, options).await?;
    let stream = match by {
        By::Split => session.tcp_connect_split(StreamHost::Address(FAR.ip()), FAR.port()).await?,
        _ => session.tcp_connect(FAR, TcpOptions::default()).await?,
    };
    Ok((Box::new(stream), Some(session)))
}

fn choose(stream: &TcpStream, congestion: &str) -> Outcome<()> {
    let failed = |error| format!("this kernel has no {congestion}: {error} (modprobe tcp_{congestion})");
    Ok(SockRef::from(stream).set_tcp_congestion(congestion.as_bytes()).map_err(failed)?)
}

/// The first to its end, the second until then.
async fn beside<T>(one: impl Future<Output = T>, other: impl Future<Output = ()>) -> T {
    tokio::pin!(one);
    tokio::select! {
        done = &mut one => done,
        () = other => one.await,
    }
}

async fn send(stream: &mut (impl Flow + ?Sized)) {
    let chunk = vec![7; CHUNK];
    // Whoever reads ends it.
    while stream.write_all(&chunk).await.is_ok() {}
}

/// MB/s in so much time.
async fn receive(stream: &mut (impl Flow + ?Sized), time: Duration) -> Outcome<f64> {
    let (mut buffer, mut octets) = (vec![0; CHUNK], 0);
    let began = Instant::now();
    let all = async {
        loop {
            match stream.read(&mut buffer).await? {
                0 => return Outcome::<()>::Err("the sender has ended it".into()),
                len => octets += len,
            }
        }
    };
    if let Ok(ended) = timeout(time, all).await {
        ended?;
    }
    Ok(octets as f64 / 1e6 / began.elapsed().as_secs_f64())
}

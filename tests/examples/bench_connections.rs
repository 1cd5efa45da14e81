//! Many idle TCP connections of one session through a gateway with a TUN device or without (`--by`): what each costs the gateway.
//!
//! Each is opened, echoes an octet, and stays. Writes `memory of a connection`, the growth of the gateway's resident memory in
//! KiB, which has nothing of the kernel's own, and `opened`, per second. Needs root.

use std::error::Error;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use clap::{Parser, ValueEnum};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::Instant;
use webtun_stack::aio::{self, ConnectOptions, StackHandle, TcpStream};
use webtun_stack::{BufferSizes, TcpOptions};
use webtun_tests::lab::{Lab, Operator, TOKEN, URL};
use webtun_tests::netns;

/// The playground's echo service.
const ECHO: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::new(198, 18, 0, 2)), 7);
/// What is more than a gateway allows a session by itself.
const LIMITS: &str = r#"{mappings="unlimited",flows="unlimited",port_blocks="unlimited",new_flows_per_s="unlimited"}"#;
/// Opened at once.
const BATCH: usize = 50;

type Outcome<T> = Result<T, Box<dyn Error + Send + Sync>>;

/// Idle connections through a gateway
#[derive(Debug, Parser)]
struct Flags {
    /// The way out of the gateway
    #[arg(long, value_enum)]
    by: By,
    /// How many
    #[arg(long, default_value_t = 10_000)]
    count: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, ValueEnum)]
enum By {
    Tun,
    User,
}

fn main() -> Outcome<()> {
    let flags = Flags::parse();
    if !netns::available() {
        return Err("needs root and /dev/net/tun".into());
    }
    let (session, peer) = (format!("limits.session={LIMITS}"), format!("limits.peer={LIMITS}"));
    let operator = if flags.by == By::User { Operator::Nobody } else { Operator::Root };
    let lab = Lab::start_as(operator, "wt-idle", &["--set", &session, "--set", &peer]);
    let gateway = lab.gateway_process.id();
    // In a thread there, where its sockets come to lie.
    lab.client.within(|| {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(measure(flags.count, gateway))
    })
}

async fn measure(count: usize, gateway: u32) -> Outcome<()> {
    let options = ConnectOptions { token: Some(TOKEN.to_owned()), ..ConnectOptions::default() };
    let session = aio::connect(URL, options).await?;
    // What the first connections make the gateway reserve once is no part of what each one costs.
    let mut connections = open(&session, BATCH.min(count)).await?;
    let (before, began) = (resident_octets(gateway)?, Instant::now());
    let last = connections.len() + count;
    while connections.len() < last {
        connections.extend(open(&session, BATCH.min(last - connections.len())).await?);
    }
    println!("opened {}", count as f64 / began.elapsed().as_secs_f64());
    let grown = resident_octets(gateway)?.saturating_sub(before);
    println!("memory of a connection {}", grown as f64 / 1024.0 / count as f64);
    drop(connections);
    session.close().await;
    Ok(())
}

async fn open(session: &StackHandle, count: usize) -> Outcome<Vec<TcpStream>> {
    futures_util::future::try_join_all((0..count).map(|_| echo(session))).await
}

async fn echo(session: &StackHandle) -> Outcome<TcpStream> {
    let options = TcpOptions { buffers: Some(BufferSizes::both(4096)), ..TcpOptions::default() };
    let mut connection = session.tcp_connect(ECHO, options).await?;
    connection.write_all(&[7]).await?;
    connection.read_exact(&mut [0]).await?;
    Ok(connection)
}

/// VmRSS of proc(5).
fn resident_octets(pid: u32) -> Outcome<u64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).ok_or("no VmRSS")?;
    Ok(line.trim().trim_end_matches(" kB").parse::<u64>()? * 1024)
}

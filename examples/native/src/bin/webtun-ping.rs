//! ICMP echo through a gateway.

use std::error::Error;
use std::net::IpAddr;
use std::time::Duration;

use clap::Parser;
use tokio::sync::mpsc;
use tokio::time::{MissedTickBehavior, interval};
use webtun_native_examples::connection::{ConnectionFlags, FamilyFlags};
use webtun_native_examples::exit;
use webtun_stack::PingOptions;
use webtun_stack::aio::{PingFailure, Pong, StackHandle};

/// Sends ICMP echo requests through a webtun gateway
#[derive(Debug, Parser)]
#[command(name = "webtun-ping", version)]
struct Flags {
    #[command(flatten)]
    connection: ConnectionFlags,

    #[command(flatten)]
    family: FamilyFlags,

    /// Stop after this many requests; without it, when interrupted
    #[arg(short, long)]
    count: Option<u64>,

    /// Seconds between two requests
    #[arg(short, long, default_value = "1", value_parser = seconds)]
    interval: Duration,

    /// Octets of payload
    #[arg(short, long, default_value_t = 56)]
    size: usize,

    /// TTL or hop limit
    #[arg(short, long, default_value_t = 64)]
    ttl: u8,

    /// Seconds to wait for a reply
    #[arg(short = 'W', long, default_value = "5", value_parser = seconds)]
    timeout: Duration,

    /// Name or address
    host: String,
}

fn seconds(text: &str) -> Result<Duration, String> {
    let seconds = text.parse().map_err(|_| "expected a number of seconds")?;
    match Duration::try_from_secs_f64(seconds) {
        Ok(duration) if duration >= Duration::from_millis(1) => Ok(duration),
        _ => Err("expected at least 0.001 s".into()),
    }
}

fn main() {
    let flags = Flags::parse();
    exit::run("webtun-ping", async move {
        let net = flags.connection.connect().await?;
        let status = ping(&net, &flags).await;
        net.close().await;
        status
    })
}

/// Exit status 0: somebody answered; 1: nobody did.
async fn ping(net: &StackHandle, flags: &Flags) -> Result<i32, Box<dyn Error>> {
    let addresses = net.resolve(&flags.host, flags.family.family()).await;
    let addresses = addresses.map_err(|error| format!("{}: {error}", flags.host))?;
    let target = *addresses.first().ok_or_else(|| format!("{}: no address", flags.host))?;
    println!("PING {} ({target}) {} octets of data", flags.host, flags.size);
    let mut summary = Summary::default();
    tokio::select! {
        () = exchange(net, target, flags, &mut summary) => {}
        result = tokio::signal::ctrl_c() => result?,
    }
    summary.print(&flags.host);
    Ok(i32::from(summary.rtts.is_empty()))
}

async fn exchange(net: &StackHandle, target: IpAddr, flags: &Flags, summary: &mut Summary) {
    let options = PingOptions { len: flags.size, timeout: flags.timeout, hop_limit: flags.ttl };
    let mut ticks = interval(flags.interval);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let (results, mut replies) = mpsc::channel(64);
    let mut answered = 0;
    while flags.count.is_none_or(|count| answered < count) {
        tokio::select! {
            _ = ticks.tick(), if flags.count.is_none_or(|count| summary.sent < count) => {
                summary.sent += 1;
                let (net, results, sequence) = (net.clone(), results.clone(), summary.sent);
                tokio::spawn(async move {
                    let result = net.ping(target, options).await;
                    // The receiver is gone when the user has interrupted.
                    let _ = results.send((sequence, result)).await;
                });
            }
            Some((sequence, result)) = replies.recv() => {
                answered += 1;
                summary.add(target, sequence, result);
            }
        }
    }
}

#[derive(Debug, Default)]
struct Summary {
    sent: u64,
    rtts: Vec<Duration>,
}

impl Summary {
    fn add(&mut self, target: IpAddr, sequence: u64, result: Result<Pong, PingFailure>) {
        match result {
            Ok(Pong { from, rtt, len, hop_limit }) => {
                println!("{len} octets from {from}: seq={sequence} ttl={hop_limit} time={:.3} ms", milliseconds(rtt));
                self.rtts.push(rtt);
            }
            Err(PingFailure { from, error }) => {
                println!("from {}: seq={sequence} {error}", from.unwrap_or(target));
            }
        }
    }

    fn print(&self, host: &str) {
        let received = self.rtts.len();
        let loss = 100.0 - 100.0 * received as f64 / self.sent.max(1) as f64;
        println!("--- {host} ---\n{} sent, {received} received, {loss:.0} % lost", self.sent);
        if let (Some(min), Some(max)) = (self.rtts.iter().min(), self.rtts.iter().max()) {
            let mean = self.rtts.iter().map(|rtt| milliseconds(*rtt)).sum::<f64>() / received as f64;
            println!("rtt min/mean/max {:.3}/{mean:.3}/{:.3} ms", milliseconds(*min), milliseconds(*max));
        }
    }
}

fn milliseconds(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e3
}

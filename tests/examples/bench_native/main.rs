//! One bulk flow of native programs between network namespaces, each way, by one of several ways:
//!
//! | `--by` | path |
//! |---|---|
//! | `webtun` | client stack, WebSocket, gateway, TUN device, kernel, remote |
//! | `websocket` | a bare WebSocket with messages of 64 KiB between the namespaces of client and gateway |
//! | `tcp` | plain TCP of the kernel from the gateway's namespace to the remote |
//!
//! Writes `down` and `up` in MB/s, and for `webtun` the gateway's CPU time per GiB. Needs root. Started again inside of a
//! namespace by itself (`--inside`).

mod flows;

use std::error::Error;
use std::time::Duration;

use clap::{Parser, ValueEnum};
use webtun_tests::lab::Lab;
use webtun_tests::netns::{self, Netns};
use webtun_tests::process::{Daemon, succeed};

/// A bulk flow between native programs
#[derive(Debug, Parser)]
struct Flags {
    /// The way
    #[arg(long, value_enum)]
    by: By,
    /// How long each way
    #[arg(long, default_value_t = 3.0)]
    seconds: f64,
    /// Set up already: be this part
    #[arg(long, hide = true, value_enum)]
    inside: Option<Part>,
}

#[derive(Clone, Copy, Debug, PartialEq, ValueEnum)]
enum By {
    Webtun,
    Websocket,
    Tcp,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Part {
    Server,
    Down,
    Up,
}

fn main() -> Result<(), Box<dyn Error>> {
    let flags = Flags::parse();
    let time = Duration::try_from_secs_f64(flags.seconds)?;
    match flags.inside {
        None => outside(&flags),
        Some(part) => flows::run(flags.by, part, time),
    }
}

fn outside(flags: &Flags) -> Result<(), Box<dyn Error>> {
    if !netns::available() {
        return Err("needs root and /dev/net/tun".into());
    }
    let lab = Lab::start("wt-bench", &[]);
    let (server, client) = match flags.by {
        By::Webtun => (None, &lab.client),
        By::Websocket => (Some(serve(&lab.gateway, flags)?), &lab.client),
        By::Tcp => (None, &lab.gateway),
    };
    for name in ["down", "up"] {
        let before = cpu_seconds(lab.gateway_process.id())?;
        let line = succeed(&mut inside(client, flags, name)?);
        let [octets, seconds] = numbers(&line)?;
        println!("{name} {}", octets / 1e6 / seconds);
        if flags.by == By::Webtun {
            let spent = cpu_seconds(lab.gateway_process.id())? - before;
            println!("{name}, gateway {}", spent / (octets / f64::from(1 << 30)));
        }
    }
    drop(server);
    Ok(())
}

fn serve(place: &Netns, flags: &Flags) -> Result<Daemon, Box<dyn Error>> {
    let mut server = Daemon::start(&mut inside(place, flags, "server")?);
    server.wait_for_line("ready");
    Ok(server)
}

fn inside(place: &Netns, flags: &Flags, part: &str) -> Result<std::process::Command, Box<dyn Error>> {
    let by = flags.by.to_possible_value().ok_or("a way without a name")?;
    let mut command = place.command(std::env::current_exe()?);
    command.args(["--by", by.get_name(), "--seconds", &flags.seconds.to_string(), "--inside", part]);
    Ok(command)
}

/// Octets and seconds.
fn numbers(line: &str) -> Result<[f64; 2], Box<dyn Error>> {
    let (octets, seconds) = line.trim().split_once(' ').ok_or("a flow that says nothing")?;
    Ok([octets.parse()?, seconds.parse()?])
}

/// User and system time of a process so far (proc(5)).
fn cpu_seconds(pid: u32) -> Result<f64, Box<dyn Error>> {
    const TICKS_PER_SECOND: f64 = 100.0;
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"))?;
    // The name, in parentheses, may have spaces in it.
    let (_, rest) = stat.rsplit_once(')').ok_or("a malformed stat")?;
    let ticks = rest.split_whitespace().skip(11).take(2).map(str::parse::<f64>).sum::<Result<f64, _>>()?;
    Ok(ticks / TICKS_PER_SECOND)
}

//! One bulk flow of native programs between network namespaces, each way, by one of several ways:
//!
//! | `--by` | path |
//! |---|---|
//! | `webtun` | client stack, WebSocket, gateway, TUN device, kernel, remote |
//! | `user` | client stack, WebSocket, gateway without a TUN device, its sockets, remote |
//! | `slirp4netns`, `pasta` | the kernel of a namespace, a TAP device, that program's sockets in the gateway's namespace, remote |
//! | `relay` | a bare WebSocket with messages of 64 KiB, `bench_relay` in the gateway's namespace, its socket, remote |
//! | `socat` | plain TCP, socat in the gateway's namespace, its socket, remote |
//! | `websocket` | a bare WebSocket with messages of 64 KiB between the namespaces of client and gateway |
//! | `pump` | kernel of the client's namespace, TUN device, a program that hands packets over, TUN device, kernel, remote |
//! | `tcp` | plain TCP of the kernel from the gateway's namespace to the remote |
//!
//! Writes `down` and `up` in MB/s, and for `webtun` and `user` the gateway's CPU time per GiB. With `--shards` there are as many, and
//! four flows at once, each of a peer of its own, so that they are in different shards. Needs root. Started again inside of
//! a namespace by itself (`--inside`).

mod flows;
mod others;
mod pump;

use std::error::Error;
use std::thread;
use std::time::Duration;

use clap::{Parser, ValueEnum};
use webtun_tests::lab::{Lab, Operator, TOKEN};
use webtun_tests::netns::{self, Netns};
use webtun_tests::process::{Daemon, succeed};

/// Flows at once, where shards are measured.
const FLOWS: usize = 4;

/// A bulk flow between native programs
#[derive(Debug, Parser)]
struct Flags {
    /// The way
    #[arg(long, value_enum)]
    by: By,
    /// How long each way
    #[arg(long, default_value_t = 3.0)]
    seconds: f64,
    /// Shards of the gateway, for four flows at once
    #[arg(long)]
    shards: Option<u16>,
    /// Set up already: be this part
    #[arg(long, hide = true, value_enum)]
    inside: Option<Part>,
    /// Whose session it is
    #[arg(long, hide = true, default_value = TOKEN)]
    token: String,
}

#[derive(Clone, Copy, Debug, PartialEq, ValueEnum)]
enum By {
    Webtun,
    User,
    Slirp4netns,
    Pasta,
    Relay,
    Socat,
    Websocket,
    Pump,
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
        Some(part) => flows::run(flags.by, part, &flags.token, time),
    }
}

fn outside(flags: &Flags) -> Result<(), Box<dyn Error>> {
    if !netns::available() {
        return Err("needs root and /dev/net/tun".into());
    }
    let tokens: Vec<String> = match flags.shards {
        Some(_) => (0..FLOWS).map(|number| format!("{TOKEN}-{number}")).collect(),
        None => vec![TOKEN.to_owned()],
    };
    let mut settings: Vec<String> = tokens.iter().flat_map(|token| ["--token".to_owned(), token.clone()]).collect();
    settings.extend(flags.shards.into_iter().flat_map(|count| ["--set".to_owned(), format!("shards={count}")]));
    let settings: Vec<&str> = settings.iter().map(String::as_str).collect();
    let operator = if flags.by == By::User { Operator::Nobody } else { Operator::Root };
    let mut lab = Lab::start_as(operator, "wt-bench", if flags.shards.is_some() { &settings } else { &[] });
    let guest = Netns::new("wt-bench", "guest");
    let (servers, client) = match flags.by {
        By::Webtun | By::User => (vec![], &lab.client),
        By::Websocket => (vec![ready(&mut inside(&lab.gateway, flags, "server")?)], &lab.client),
        By::Relay => (vec![others::relay(&lab.gateway, flows::BARE)?], &lab.client),
        By::Socat => (others::socat(&lab.gateway, &[flows::DISCARD, flows::CHARGEN]), &lab.client),
        By::Tcp => (vec![], &lab.gateway),
        By::Slirp4netns => (vec![others::slirp4netns(&lab.gateway, &guest)], &guest),
        By::Pasta => (vec![others::pasta(&lab.gateway, &guest)], &guest),
        By::Pump => {
            pump::lay(&mut lab).map_err(|error| error.to_string())?;
            (vec![], &lab.client)
        }
    };
    let gateway = matches!(flags.by, By::Webtun | By::User).then(|| lab.gateway_process.id());
    for name in ["down", "up"] {
        let before = gateway.map(cpu_seconds).transpose()?;
        let [octets, seconds] = all_at_once(client, flags, name, &tokens)?;
        println!("{name} {}", octets / 1e6 / seconds);
        if let (Some(gateway), Some(before)) = (gateway, before) {
            let spent = cpu_seconds(gateway)? - before;
            println!("{name}, gateway {}", spent / (octets / f64::from(1 << 30)));
        }
    }
    drop(servers);
    Ok(())
}

/// Runs a flow for each token: the octets of all, and the seconds of the longest.
fn all_at_once(place: &Netns, flags: &Flags, name: &str, tokens: &[String]) -> Result<[f64; 2], Box<dyn Error>> {
    let commands = tokens.iter().map(|token| {
        let mut command = inside(place, flags, name)?;
        command.args(["--token", token]);
        Ok(command)
    });
    let mut commands = commands.collect::<Result<Vec<_>, Box<dyn Error>>>()?;
    let lines: Vec<String> = thread::scope(|scope| {
        let running: Vec<_> = commands.iter_mut().map(|command| scope.spawn(|| succeed(command))).collect();
        running
            .into_iter()
            .map(|flow| flow.join().map_err(|_| "a flow has failed".into()))
            .collect::<Result<_, String>>()
    })?;
    let mut total = [0.0, 0.0_f64];
    for line in &lines {
        let [octets, seconds] = numbers(line)?;
        total = [total[0] + octets, total[1].max(seconds)];
    }
    Ok(total)
}

/// Starts what says that it is ready.
fn ready(command: &mut std::process::Command) -> Daemon {
    let mut server = Daemon::start(command);
    server.wait_for_line("ready");
    server
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

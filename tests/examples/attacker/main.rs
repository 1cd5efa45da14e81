//! A session that keeps no rule: it attacks in one way for a time and prints what became of it.
//!
//! `attacker --url ws://HOST:PORT/ --token TOKEN --seconds 10 port-scan`

mod capsules;
mod link;
mod packets;

use std::error::Error;
use std::time::Duration;

use clap::{Parser, ValueEnum};
use link::{Link, Tally};
use tokio::time::{Instant, sleep};

/// Attacks a webtun gateway
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
    /// How
    attack: Attack,
}

/// Ways to attack.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Attack {
    /// A SYN to each of 65,535 ports, of both families
    PortScan,
    /// SYNs from ever new ports to one that listens
    SynFlood,
    /// 100,000 flows of one datagram each
    UdpFlows,
    /// Sources that are not the session's: anybody's, the gateway's, the destination's own
    Spoofed,
    /// Fragments that never become whole, overlap, lie beyond the end
    Fragments,
    /// Packets with impossible headers
    Malformed,
    /// Messages that break the protocol, each on a new session
    Capsules,
    /// Requests that are cheap to make and cost an answer: PING, PORT_MAP_REQUEST, contexts
    Requests,
    /// Large datagrams to an echo server, and not one answer is read
    Deaf,
    /// Connections that never say anything
    Silent,
    /// Sessions that are opened and left behind
    Sessions,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let flags = Flags::parse();
    let mut tally = Tally::default();
    let end = Instant::now() + Duration::from_secs(flags.seconds);
    match flags.attack {
        Attack::Silent => silent(&flags, end, &mut tally).await?,
        Attack::Sessions => sessions(&flags, end, &mut tally).await?,
        attack => {
            while Instant::now() < end {
                attack_once(&flags, attack, end, &mut tally).await?;
            }
        }
    }
    println!("{tally}");
    Ok(())
}

/// One session, until it is ended by the gateway or the time is over.
async fn attack_once(flags: &Flags, attack: Attack, end: Instant, tally: &mut Tally) -> Result<(), Box<dyn Error>> {
    let Some(mut link) = Link::open(&flags.url, &flags.token, attack != Attack::Deaf, tally).await? else {
        // Refused: a program that knows no shame asks again at once, but not faster than a process can be started.
        sleep(Duration::from_millis(5)).await;
        return Ok(());
    };
    // A deadline does not interrupt what is always ready.
    while Instant::now() < end
        && let Ok(Ok(len)) = tokio::time::timeout_at(end, send(&mut link, attack, tally)).await
    {
        tally.count(len);
    }
    link.finish(tally).await;
    Ok(())
}

/// The next message, and its length.
async fn send(link: &mut Link, attack: Attack, tally: &mut Tally) -> Result<usize, link::SocketError> {
    match attack {
        Attack::Capsules => link.send(capsules::broken(tally.messages)).await,
        Attack::Requests => link.send(capsules::requests(tally.messages)).await,
        _ => {
            let message = packets::message(attack, &mut tally.packets, link.addresses(), link.next_number());
            link.send_sequenced(message).await
        }
    }
}

/// TCP connections without a word, as many as the gateway takes.
async fn silent(flags: &Flags, end: Instant, tally: &mut Tally) -> Result<(), Box<dyn Error>> {
    let address = link::authority(&flags.url).to_owned();
    let mut held = std::collections::VecDeque::new();
    while Instant::now() < end {
        match tokio::net::TcpStream::connect(&address).await {
            Ok(stream) => held.push_back(stream),
            Err(_) => sleep(Duration::from_millis(5)).await,
        }
        tally.messages += 1;
        if held.len() > 8192 {
            held.pop_front();
        }
    }
    Ok(())
}

/// Sessions whose connections are dropped at once, so that each waits out its grace.
async fn sessions(flags: &Flags, end: Instant, tally: &mut Tally) -> Result<(), Box<dyn Error>> {
    while Instant::now() < end {
        match Link::open(&flags.url, &flags.token, true, tally).await? {
            Some(link) => drop(link),
            None => sleep(Duration::from_millis(5)).await,
        }
    }
    Ok(())
}

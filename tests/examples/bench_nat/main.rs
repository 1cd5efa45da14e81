//! What the dataplane does in a second with so many bindings: the real gateway in this process, and nothing else.
//!
//! `bench_nat --bindings 100000 --seconds 1` writes a line `FIGURE VALUE` for each figure:
//!
//! | figure | unit |
//! |---|---|
//! | `uplink`, `downlink` | packets per second of CPU time, where each binding sends a train of eight |
//! | `uplink, scattered`, `downlink, scattered` | the same where each packet is of another binding: the worst case |
//! | `new` | bindings made per second of CPU time, from an empty table to a full one; of 100 bindings or more |
//! | `memory` | octets of resident memory per binding; of 10,000 or more, fewer would measure the allocator |
//! | `memory of a session` | octets of resident memory, its bindings included; of 1,000 sessions or more |

mod rig;

use std::error::Error;
use std::time::Duration;

use clap::Parser;
use nix::time::{ClockId, clock_gettime};

use rig::{BURST, Layout, Rig, TRAIN};

/// Bursts between two looks at the clock.
const BURSTS: usize = 16;

/// The speed and the size of the NAT
#[derive(Debug, Parser)]
struct Flags {
    /// NAT bindings that there are
    #[arg(long, default_value_t = 1000)]
    bindings: usize,
    /// Sessions that they belong to; by default one for each 1,000
    #[arg(long)]
    sessions: Option<usize>,
    /// Sessions that have traffic; by default all
    #[arg(long)]
    busy: Option<usize>,
    /// CPU time that each figure is measured for
    #[arg(long, default_value_t = 1.0)]
    seconds: f64,
}

fn main() -> Result<(), Box<dyn Error>> {
    let flags = Flags::parse();
    let limit = Duration::try_from_secs_f64(flags.seconds)?;

    let sessions = flags.sessions.unwrap_or(flags.bindings.div_ceil(1000)).max(1);
    let layout = Layout { bindings: flags.bindings, sessions, busy: flags.busy.unwrap_or(sessions).clamp(1, sessions) };
    let empty = resident_octets()?;
    let mut rig = Rig::new(layout);
    let before = resident_octets()?;
    let mut filling = rig.fill()?;
    let after = resident_octets()?;
    let mut filled = flags.bindings;

    for (train, name) in [(TRAIN, ""), (1, ", scattered")] {
        println!("uplink{name} {}", rate(limit, || rig.uplink(BURSTS, train))?);
        println!("downlink{name} {}", rate(limit, || rig.downlink(BURSTS, train))?);
    }
    // A small table is full before a clock has seen anything.
    while flags.bindings >= 100 && filling < limit {
        filling += Rig::new(layout).fill()?;
        filled += flags.bindings;
    }

    if flags.bindings >= 100 {
        println!("new {}", filled as f64 / filling.as_secs_f64());
    }
    if flags.bindings >= 10_000 {
        println!("memory {}", after.saturating_sub(before) as f64 / flags.bindings as f64);
    }
    if sessions >= 1000 {
        println!("memory of a session {}", after.saturating_sub(empty) as f64 / sessions as f64);
    }
    Ok(())
}

/// Packets per second of what `slice` measures, which carries [`BURSTS`] bursts.
fn rate(limit: Duration, mut slice: impl FnMut() -> Result<Duration, Box<dyn Error>>) -> Result<f64, Box<dyn Error>> {
    // The first slice is not counted: it meets cold caches and queues that have yet to grow.
    slice()?;
    let (mut spent, mut packets) = (Duration::ZERO, 0);
    while spent < limit {
        spent += slice()?;
        packets += BURSTS * BURST;
    }
    Ok(packets as f64 / spent.as_secs_f64())
}

/// CPU time of this thread: what else the machine does is no part of it.
fn cpu_time() -> Result<Duration, Box<dyn Error>> {
    Ok(clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID)?.into())
}

fn resident_octets() -> Result<usize, Box<dyn Error>> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).ok_or("no VmRSS")?;
    Ok(line.trim().trim_end_matches(" kB").parse::<usize>()? * 1024)
}

//! One end of a slow line between two kernels, each with a TUN device: what goes in at one end comes out at the other, a
//! packet after the other at the line's speed, and later. What has to wait for its turn has a buffer of 100 ms; packets
//! that find it full are lost. A line may lose more, by chance: whether the packet of some number is lost follows from the
//! seed and the direction alone. The other end is one more process like this; what is on the line goes by UDP between them.

use std::error::Error;
use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, sync_channel};
use std::time::{Duration, Instant};

use clap::Parser;
use nix::sys::socket::{setsockopt, sockopt};
use webtun_tests::rng::SimRng;

/// How long a packet may wait for its turn.
const BUFFER: Duration = Duration::from_millis(100);
const MTU: u16 = 1500;
/// Octets that wait in the socket between the ends, each packet with the kernel's overhead: more than 200 ms at 100 Mbit/s.
const WAITING: usize = 8 << 20;

/// One end of a slow line
#[derive(Debug, Parser)]
struct Flags {
    /// The TUN device
    #[arg(long)]
    device: String,
    /// Where this end is
    #[arg(long)]
    from: SocketAddr,
    /// Where the other end is
    #[arg(long)]
    to: SocketAddr,
    /// The speed
    #[arg(long, value_name = "MBIT/S")]
    mbit_s: u32,
    /// How long a packet is on the line
    #[arg(long, value_name = "MS")]
    delay_ms: u64,
    /// How much of what this end sends is lost
    #[arg(long, value_name = "PERCENT", default_value_t = 0.0)]
    loss: f64,
    /// Which packets that are
    #[arg(long, value_name = "NUMBER", default_value_t = 0)]
    seed: u64,
}

fn main() -> Result<(), Box<dyn Error>> {
    let flags = Flags::parse();
    let mut configuration = tun::Configuration::default();
    configuration.tun_name(&flags.device).mtu(MTU).up();
    let device = Arc::new(tun::create(&configuration)?);
    let socket = Arc::new(UdpSocket::bind(flags.from)?);
    socket.connect(flags.to)?;
    setsockopt(&*socket, sockopt::RcvBufForce, &WAITING)?;
    println!("ready");

    // Packets wait in the line's own arithmetic, so this one never fills.
    let (sender, waiting) = sync_channel(65_536);
    let out = Arc::clone(&socket);
    std::thread::spawn(move || deliver(&waiting, &out));
    let arrivals = Arc::clone(&device);
    std::thread::spawn(move || receive(&socket, &arrivals));
    let mut line = Line { octets_per_s: f64::from(flags.mbit_s) * 1e6 / 8.0, free_at: now() };
    let delay = Duration::from_millis(flags.delay_ms);
    let mut chance = SimRng::new(flags.seed, &flags.from.to_string());
    let mut packet = [0; MTU as usize];
    loop {
        let len = device.recv(&mut packet)?;
        let is_lost = chance.chance(flags.loss / 100.0);
        // What is lost has had its turn.
        if let Some(sent_at) = line.take(len)
            && !is_lost
        {
            sender.send((sent_at + delay, packet[..len].to_vec()))?;
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "a line in real time")]
fn now() -> Instant {
    Instant::now()
}

/// The bottleneck.
struct Line {
    octets_per_s: f64,
    /// When all is sent that waits.
    free_at: Instant,
}

impl Line {
    /// When the last octet of a packet that comes now is sent; `None` where the buffer is full.
    fn take(&mut self, len: usize) -> Option<Instant> {
        let now = now();
        let begins = self.free_at.max(now);
        if begins - now > BUFFER {
            return None;
        }
        self.free_at = begins + Duration::from_secs_f64(len as f64 / self.octets_per_s);
        Some(self.free_at)
    }
}

/// Sends each packet when its time has come.
fn deliver(waiting: &Receiver<(Instant, Vec<u8>)>, socket: &UdpSocket) {
    while let Ok((at, packet)) = waiting.recv() {
        std::thread::sleep(at.saturating_duration_since(now()));
        // The other end is not there before it is, and not there any more after its end.
        let _ = socket.send(&packet);
    }
}

fn receive(socket: &UdpSocket, device: &tun::Device) {
    let mut packet = [0; MTU as usize];
    loop {
        if let Ok(len) = socket.recv(&mut packet) {
            // The kernel takes no packet that is none.
            let _ = device.send(&packet[..len]);
        }
    }
}

//! A slow line between two namespaces that lie side by side; see `examples/line.rs`.

use crate::bins;
use crate::netns::Netns;
use crate::process::Daemon;

/// What goes over the line goes by these, so that the ends' own addresses can be led into it.
const CARRIERS: [&str; 2] = ["10.83.0.1", "10.83.0.2"];
const PORT: u16 = 9000;
const DEVICE: &str = "line0";
/// More than fits the line's own buffer: what is lost is the line's to say, and not the device's.
const QUEUE: &str = "10000";

/// A line's qualities, the same each way.
#[derive(Clone, Copy, Debug, Default)]
pub struct Line {
    /// Megabits per second.
    pub mbit_s: u32,
    /// How long a packet is on the line, in milliseconds.
    pub delay_ms: u32,
    /// How much is lost, in percent.
    pub loss: f64,
    /// What decides which packets are lost.
    pub seed: u64,
}

/// One end.
#[derive(Clone, Copy, Debug)]
pub struct End<'a> {
    /// Where it lies.
    pub netns: &'a Netns,
    /// The device that leads to the other end.
    pub device: &'a str,
    /// Its address; what the ends send to each other's goes over the line.
    pub address: &'a str,
}

impl Line {
    /// Lays it, one in each namespace. It is there as long as its ends.
    ///
    /// # Panics
    /// Without root and a TUN device.
    pub fn lay(self, left: End<'_>, right: End<'_>) -> [Daemon; 2] {
        let ends = [(left, CARRIERS[0], CARRIERS[1]), (right, CARRIERS[1], CARRIERS[0])];
        let daemons = ends.map(|(end, from, to)| self.start(end, from, to));
        for (end, other) in [(left, right), (right, left)] {
            end.netns.ip(&["link", "set", DEVICE, "txqueuelen", QUEUE]);
            // Whoever looks for the address of the device finds the one that it has anyway.
            end.netns.ip(&["address", "add", &format!("{}/32", end.address), "dev", DEVICE]);
            end.netns.ip(&["route", "add", other.address, "dev", DEVICE, "src", end.address]);
        }
        daemons
    }

    fn start(self, end: End<'_>, from: &str, to: &str) -> Daemon {
        end.netns.ip(&["link", "set", end.device, "mtu", "1600"]);
        end.netns.ip(&["address", "add", &format!("{from}/24"), "dev", end.device]);
        let mut command = end.netns.command(bins::example("line"));
        command.args(["--device", DEVICE, "--from", &format!("{from}:{PORT}"), "--to", &format!("{to}:{PORT}")]);
        command.args(["--mbit-s", &self.mbit_s.to_string(), "--delay-ms", &self.delay_ms.to_string()]);
        command.args(["--loss", &self.loss.to_string(), "--seed", &self.seed.to_string()]);
        let mut daemon = Daemon::start(&mut command);
        daemon.wait_for_line("ready");
        daemon
    }
}

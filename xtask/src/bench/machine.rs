//! Where and when figures were taken.

use serde::Serialize;

use crate::Result;
use crate::command::Command;

/// A machine on a day.
#[derive(Debug, Serialize)]
pub struct Machine {
    /// By its own words.
    pub processor: String,
    /// How many it has.
    pub cores: usize,
    /// The version of the kernel.
    pub kernel: String,
    /// UTC, as in ISO 8601.
    pub date: String,
}

impl Machine {
    /// This one, today.
    pub fn here() -> Result<Self> {
        let cpuinfo = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        let model = cpuinfo.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
        let word = |line| Ok::<_, crate::Error>(Command::line(line).output()?.trim().to_owned());
        Ok(Self {
            processor: model.map_or("an unknown processor", |(_, name)| name.trim()).to_owned(),
            cores: std::thread::available_parallelism().map_or(1, usize::from),
            kernel: word("uname -sr")?,
            date: word("date --utc +%F")?,
        })
    }
}

impl std::fmt::Display for Machine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}, {} cores, {}, {}", self.processor, self.cores, self.kernel, self.date)
    }
}

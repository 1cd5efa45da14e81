//! Kernel parameters: what must be set, and how it is put back.

use super::{Plan, SetupError};
use crate::config::{ExternalMode, PortRange};
use serde::{Deserialize, Serialize};
use std::fs;
use std::io;
use std::path::PathBuf;

/// Ephemeral ports that the host must keep while the clients' range is reserved.
const LEAST_EPHEMERAL: u32 = 4096;

/// A parameter that has been, or is about to be, changed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Change {
    /// Below `/proc/sys`.
    pub path: String,
    /// The value found.
    pub before: String,
    /// The value as the kernel shows it after the change; none while that is not known.
    pub after: Option<String>,
}

/// A parameter to set.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Wanted {
    /// Below `/proc/sys`.
    pub path: String,
    /// The value.
    pub value: String,
    /// False where the gateway works without it.
    pub required: bool,
}

fn file(path: &str) -> PathBuf {
    PathBuf::from("/proc/sys").join(path)
}

/// The value, or none where there is no such parameter.
pub(super) fn read(path: &str) -> Option<String> {
    fs::read_to_string(file(path)).ok().map(|value| value.trim().to_owned())
}

/// Whether there is no such parameter, it has the value, or can be written.
pub(super) fn is_or_can_be(path: &str, value: &str) -> bool {
    read(path).is_none_or(|now| now == value) || fs::OpenOptions::new().write(true).open(file(path)).is_ok()
}

impl Wanted {
    fn new(path: &str, value: &str, required: bool) -> Self {
        Self { path: path.to_owned(), value: value.to_owned(), required }
    }

    /// The change to record, or none where the value is already the wanted one.
    pub(super) fn change(&self) -> Option<Change> {
        let before = read(&self.path)?;
        (before != self.value).then(|| Change { path: self.path.clone(), before, after: None })
    }

    /// Writes the value.
    ///
    /// # Errors
    /// Where it is required and cannot be written.
    pub(super) fn apply(&self) -> Result<(), SetupError> {
        match fs::write(file(&self.path), &self.value) {
            Ok(()) => Ok(()),
            Err(error) if self.required => {
                Err(SetupError::Sysctl { name: self.path.replace('/', "."), value: self.value.clone(), error })
            }
            Err(error) => {
                tracing::warn!(parameter = self.path, value = self.value, %error, "a kernel parameter cannot be set");
                Ok(())
            }
        }
    }
}

impl Change {
    /// Puts the old value back, unless someone else has set another one meanwhile.
    pub(super) fn restore(&self) -> io::Result<()> {
        let now = read(&self.path);
        if now.is_none() || (self.after.is_some() && now != self.after) {
            tracing::info!(parameter = self.path, "left as it is: it was changed by someone else");
            return Ok(());
        }
        // An empty list of ports is written as a newline: a write of no octets does nothing.
        fs::write(file(&self.path), format!("{}\n", self.before))
    }
}

/// Everything that `plan` needs, in order.
pub(super) fn wanted(plan: &Plan) -> Vec<Wanted> {
    let mut list = Vec::new();
    if plan.has_ipv4() {
        list.push(Wanted::new("net/ipv4/ip_forward", "1", true));
    }
    if plan.has_ipv6() {
        list.extend(router_advertisements(plan));
        list.push(Wanted::new("net/ipv6/conf/all/forwarding", "1", true));
    }
    if plan.mode == ExternalMode::Masquerade {
        list.extend(ports(plan.ports));
    }
    list
}

/// A forwarding host ignores router advertisements, and so loses its default route, unless `accept_ra` is 2.
fn router_advertisements(plan: &Plan) -> Vec<Wanted> {
    let Ok(entries) = fs::read_dir(file("net/ipv6/conf")) else { return Vec::new() };
    let mut names: Vec<String> = entries.flatten().filter_map(|entry| entry.file_name().into_string().ok()).collect();
    names.sort();
    names
        .into_iter()
        .filter(|name| name != "all" && name != "lo" && !plan.has_device(name))
        .map(|name| format!("net/ipv6/conf/{name}/accept_ra"))
        .filter(|path| read(path).as_deref() == Some("1"))
        .map(|path| Wanted::new(&path, "2", false))
        .collect()
}

/// Keeps the host's own sockets out of the clients' range.
fn ports(range: PortRange) -> Vec<Wanted> {
    let Some(reserved) = read("net/ipv4/ip_local_reserved_ports") else { return Vec::new() };
    let Some(ephemeral) = read("net/ipv4/ip_local_port_range").and_then(|text| parse_range(&text)) else {
        return Vec::new();
    };
    let mut list = Vec::new();
    if left_over(ephemeral, range) < LEAST_EPHEMERAL {
        let Some(below) = below(range) else {
            tracing::warn!(%range, "no ports are left for this host's own sockets, so the range is not reserved");
            return Vec::new();
        };
        list.push(Wanted::new("net/ipv4/ip_local_port_range", &format!("{}\t{}", below.first, below.last), false));
        // So few would be used up by a hundred connections per second to one destination, since a port that has been closed
        // rests for a minute (RFC 9293 section 3.6.1); timestamps make it safe to take it sooner (RFC 6191).
        list.push(Wanted::new("net/ipv4/tcp_tw_reuse", "1", false));
    }
    let joined = if reserved.is_empty() { range.to_string() } else { format!("{reserved},{range}") };
    list.push(Wanted::new("net/ipv4/ip_local_reserved_ports", &joined, false));
    list
}

fn parse_range(text: &str) -> Option<PortRange> {
    let mut numbers = text.split_ascii_whitespace().map(str::parse);
    match (numbers.next(), numbers.next()) {
        (Some(Ok(first)), Some(Ok(last))) if first <= last => Some(PortRange { first, last }),
        _ => None,
    }
}

/// How many ports of `ephemeral` are not in `range`.
fn left_over(ephemeral: PortRange, range: PortRange) -> u32 {
    let first = ephemeral.first.max(range.first);
    let last = ephemeral.last.min(range.last);
    let common = if first <= last { PortRange { first, last }.count() } else { 0 };
    ephemeral.count() - common
}

/// A range for the host's ephemeral ports below the clients' range; from 10240 where that leaves enough of them.
fn below(range: PortRange) -> Option<PortRange> {
    let last = range.first.checked_sub(1)?;
    let first = range.first.saturating_sub(LEAST_EPHEMERAL as u16).clamp(1024, 10240);
    (first < last && PortRange { first, last }.count() >= LEAST_EPHEMERAL).then_some(PortRange { first, last })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ephemeral_ports_move_below_the_clients_range() {
        let range = PortRange { first: 16384, last: 65535 };
        assert_eq!(left_over(PortRange { first: 32768, last: 60999 }, range), 0);
        assert_eq!(below(range), Some(PortRange { first: 10240, last: 16383 }));
        assert_eq!(below(PortRange { first: 1024, last: 65535 }), None);
    }

    #[test]
    fn a_small_range_leaves_the_hosts_ports_alone() {
        let range = PortRange { first: 40000, last: 44095 };
        assert_eq!(left_over(PortRange { first: 32768, last: 60999 }, range), 28232 - 4096);
    }
}

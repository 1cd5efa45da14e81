//! Network namespaces as guards: what a test made is gone when it ends, also when it failed; what a killed test run left
//! behind is removed by the next one.

use std::ffi::OsStr;
use std::fs::File;
use std::path::Path;
use std::process::{Command, Output};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{LazyLock, Once};

use nix::sched::{CloneFlags, setns};

use crate::process::{Signal, send_signal, succeed};

/// One network namespace, loopback up. Dropping it ends the processes in it and removes it.
#[derive(Debug)]
pub struct Netns {
    name: String,
}

/// One end of a veth pair.
#[derive(Clone, Copy, Debug)]
pub struct End<'a> {
    /// Where it lies.
    pub netns: &'a Netns,
    /// Its name there, at most 15 octets.
    pub device: &'a str,
    /// Its addresses with prefix lengths, as in `10.0.0.1/24`.
    pub addresses: &'a [&'a str],
}

impl Netns {
    /// A new namespace called `<prefix>-<process>-<number>-<label>`.
    ///
    /// # Panics
    /// Without the privilege (CAP_SYS_ADMIN); ask [`available`] first.
    pub fn new(prefix: &str, label: &str) -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        static CLEANED: Once = Once::new();
        CLEANED.call_once(|| remove_stale(prefix));
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let name = format!("{prefix}-{}-{number}-{label}", std::process::id());
        succeed(Command::new("ip").args(["netns", "add", &name]));
        let netns = Self { name };
        netns.ip(&["link", "set", "lo", "up"]);
        netns
    }

    /// As `ip netns` knows it.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// `program`, to be run in here. The process is the program's own, so that it can be signalled.
    pub fn command(&self, program: impl AsRef<OsStr>) -> Command {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.name]).arg(program);
        command
    }

    /// Runs a program to its end.
    ///
    /// # Panics
    /// When it cannot be started. Its own failure is in the output's status.
    pub fn output(&self, program: impl AsRef<OsStr>, arguments: &[&str]) -> Output {
        let program = program.as_ref();
        self.command(program)
            .args(arguments)
            .output()
            .unwrap_or_else(|error| panic!("{} does not start: {error}", Path::new(program).display()))
    }

    /// Runs a program that must succeed and gives what it wrote to standard output.
    ///
    /// # Panics
    /// When it fails; the message has both its outputs.
    pub fn exec(&self, program: impl AsRef<OsStr>, arguments: &[&str]) -> String {
        succeed(self.command(program).args(arguments))
    }

    /// A way in for threads of this process.
    ///
    /// # Panics
    /// When it is gone.
    pub fn entrance(&self) -> Entrance {
        let path = Path::new("/run/netns").join(&self.name);
        Entrance(File::open(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display())))
    }

    /// Runs a function in a thread of this process that lies in here. Sockets that it makes stay in here.
    ///
    /// # Panics
    /// When the namespace cannot be entered, or the function panics.
    pub fn within<T: Send>(&self, act: impl FnOnce() -> T + Send) -> T {
        let entrance = self.entrance();
        std::thread::scope(|scope| {
            let thread = scope.spawn(move || {
                entrance.enter();
                act()
            });
            thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })
    }

    /// `ip` with these arguments in this namespace; must succeed.
    pub fn ip(&self, arguments: &[&str]) -> String {
        succeed(Command::new("ip").args(["-netns", &self.name]).args(arguments))
    }

    /// Joins two namespaces by a veth pair, both ends up. The addresses work at once (no duplicate address detection).
    pub fn join(left: End<'_>, right: End<'_>) {
        succeed(
            Command::new("ip").args(["link", "add", left.device, "netns", &left.netns.name, "type", "veth"]).args([
                "peer",
                "name",
                right.device,
                "netns",
                &right.netns.name,
            ]),
        );
        for end in [left, right] {
            for address in end.addresses {
                let mut arguments = vec!["address", "add", address, "dev", end.device];
                if address.contains(':') {
                    arguments.push("nodad");
                }
                end.netns.ip(&arguments);
            }
            // The link-local address works at once too: a browser gives up the page that it loads when an address changes.
            end.netns.exec("sysctl", &["--quiet", "--write", &format!("net.ipv6.conf.{}.accept_dad=0", end.device)]);
            end.netns.ip(&["link", "set", end.device, "up"]);
        }
    }
}

/// See [`Netns::entrance`].
#[derive(Debug)]
pub struct Entrance(File);

impl Entrance {
    /// Moves the calling thread into the namespace, for good.
    ///
    /// # Panics
    /// Without the privilege (CAP_SYS_ADMIN).
    pub fn enter(self) {
        setns(self.0, CloneFlags::CLONE_NEWNET).expect("root may enter a namespace");
    }
}

impl Drop for Netns {
    fn drop(&mut self) {
        remove(&self.name);
    }
}

/// Whether this process may make namespaces and TUN devices. A test that may not says so and passes.
pub fn available() -> bool {
    // Asked once: tests in other threads of the process would find the name taken, and pass without having run.
    static AVAILABLE: LazyLock<bool> = LazyLock::new(|| {
        let name = format!("wt-probe-{}", std::process::id());
        let made =
            Command::new("ip").args(["netns", "add", &name]).output().is_ok_and(|output| output.status.success());
        if made {
            remove(&name);
        }
        made && Path::new("/dev/net/tun").exists()
    });
    *AVAILABLE
}

fn remove(name: &str) {
    for pid in processes_in(name) {
        send_signal(pid, Signal::SIGKILL);
    }
    let _ = Command::new("ip").args(["netns", "delete", name]).output();
}

fn processes_in(name: &str) -> Vec<u32> {
    let Ok(output) = Command::new("ip").args(["netns", "pids", name]).output() else { return Vec::new() };
    String::from_utf8_lossy(&output.stdout).lines().filter_map(|line| line.trim().parse().ok()).collect()
}

/// Removes the namespaces of this prefix whose test process is gone.
fn remove_stale(prefix: &str) {
    let Ok(output) = Command::new("ip").args(["netns", "list"]).output() else { return };
    for line in String::from_utf8_lossy(&output.stdout).lines() {
        let Some(name) = line.split_whitespace().next() else { continue };
        if is_stale(prefix, name) {
            remove(name);
        }
    }
}

/// Whether this is the name of a namespace of this prefix whose process is gone.
pub(crate) fn is_stale(prefix: &str, name: &str) -> bool {
    let owner = name.strip_prefix(prefix).and_then(|rest| rest.strip_prefix('-')?.split('-').next());
    owner.is_some_and(|pid| pid.parse::<u32>().is_ok() && !Path::new("/proc").join(pid).exists())
}

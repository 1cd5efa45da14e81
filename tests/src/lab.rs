//! A small internet of real programs in network namespaces:
//!
//! ```text
//! client 10.81.0.2 ------ 10.81.0.1 gateway 198.18.0.1 ------ 198.18.0.2 remote (webtun-playground)
//!                                           2001:2::1         2001:2::2
//! ```
//!
//! The client has no route to the remote but the tunnel.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::bins;
use crate::netns::{self, End, Netns};
use crate::process::{Daemon, Log};

/// The remote's addresses.
pub const REMOTE: [&str; 2] = ["198.18.0.2", "2001:2::2"];
/// Below `playground.test`, a name of the remote that has an IPv4 address alone.
pub const IPV4_NAME: &str = "ipv4";
/// The gateway's address towards the remote; mapped ports appear there.
pub const OUTSIDE: &str = "198.18.0.1";
/// The token that the gateway wants.
pub const TOKEN: &str = "lab-token";

const REMOTE_ROUTES: [&str; 4] = ["--route", "198.18.0.0/24", "--route", "2001:2::/48"];
const LISTEN: &str = "10.81.0.1:8077";
/// Where clients find the gateway.
pub const URL: &str = "ws://10.81.0.1:8077/";
const RULES: &str = r#"policy.rule=[{action="allow",prefix="198.18.0.0/15"},{action="allow",prefix="2001:2::/48"}]"#;
const ZONES: &str = r#"dns.zones={"playground.test"=["198.18.0.2"]}"#;
/// There is no default route to find it by.
const ANNOUNCED: &str = r#"external.announced_ipv4="198.18.0.1""#;

/// Debian's user and group `nobody`.
const NOBODY: &str = "65534";

/// Who runs the gateway.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operator {
    /// Root, with a TUN device.
    Root,
    /// A user without any capability, by ordinary sockets.
    Nobody,
}

/// All of it; gone when dropped, the programs before their namespaces.
#[derive(Debug)]
pub struct Lab {
    /// The running gateway.
    pub gateway_process: Daemon,
    _playground: Daemon,
    /// Where the client's programs run.
    pub client: Netns,
    /// Where the gateway runs.
    pub gateway: Netns,
    /// Where the servers run.
    pub remote: Netns,
    operator: Operator,
    folder: Folder,
}

/// A session whose packets a kernel sends and receives; over when dropped.
#[derive(Debug)]
pub struct Attached {
    /// Its inner IPv4 address.
    pub ipv4: String,
    /// Its inner IPv6 address.
    pub ipv6: String,
    _process: Daemon,
}

impl Lab {
    /// Like [`start`](Self::start), or `None`, and a word about it, without root and a TUN device.
    pub fn start_if_available(prefix: &str, flags: &[&str]) -> Option<Self> {
        if netns::available() {
            return Some(Self::start(prefix, flags));
        }
        eprintln!("left out: needs root and /dev/net/tun");
        None
    }

    /// Builds what is missing and starts everything. `flags` are added to the gateway's, which has a TUN device, or none where
    /// the variable `LAB_EGRESS` is `user`.
    ///
    /// # Panics
    /// When something does not start.
    pub fn start(prefix: &str, flags: &[&str]) -> Self {
        let is_user = std::env::var("LAB_EGRESS").is_ok_and(|way| way == "user");
        Self::start_as(if is_user { Operator::Nobody } else { Operator::Root }, prefix, flags)
    }

    /// Likewise, with this operator.
    ///
    /// # Panics
    /// When something does not start.
    pub fn start_as(operator: Operator, prefix: &str, flags: &[&str]) -> Self {
        let (client, gateway, remote) =
            (Netns::new(prefix, "client"), Netns::new(prefix, "gateway"), Netns::new(prefix, "remote"));
        Netns::join(
            End { netns: &client, device: "eth0", addresses: &["10.81.0.2/24"] },
            End { netns: &gateway, device: "inside", addresses: &["10.81.0.1/24"] },
        );
        Netns::join(
            End { netns: &gateway, device: "outside", addresses: &["198.18.0.1/24", "2001:2::1/64"] },
            End { netns: &remote, device: "eth0", addresses: &["198.18.0.2/24", "2001:2::2/64"] },
        );
        let folder = Folder::new(prefix, client.name());
        let playground = start_playground(&remote, &folder);
        let gateway_process = Daemon::start(&mut gateway_command(&gateway, &folder, operator, flags));
        let mut lab = Self { gateway_process, _playground: playground, client, gateway, remote, operator, folder };
        lab.gateway_process.wait_for_line("listening on");
        lab
    }

    /// Ends the gateway, and begins another one with these flags in its place once `away` is done. Its log can be read.
    ///
    /// # Panics
    /// When it does not start.
    pub fn restart_gateway(&mut self, flags: &[&str], away: impl FnOnce(&Self)) -> Log {
        assert_eq!(self.gateway_process.stop(), Some(0), "the gateway ends");
        away(self);
        let mut command = gateway_command(&self.gateway, &self.folder, self.operator, flags);
        let log = Log::of(&mut command, self.file("gateway.log"));
        self.gateway_process = Daemon::start(&mut command);
        self.gateway_process.wait_for_line("listening on");
        log
    }

    /// A native tool in the client's namespace, pointed at the gateway; ended after three minutes.
    pub fn tool(&self, name: &'static str) -> Command {
        let mut command = self.client.command("timeout");
        command.args(["--kill-after=5", "180"]).arg(bins::native(name));
        command.env("WEBTUN_URL", URL).env("WEBTUN_TOKEN", TOKEN);
        command
    }

    /// Joins the client's kernel to the tunnel by a TUN device of this name, with routes to the remote's networks where
    /// `flags` name none.
    ///
    /// # Panics
    /// When it gets no session.
    pub fn attach(&self, device: &str, flags: &[&str]) -> Attached {
        let mut command = self.client.command(bins::native("webtun-attach"));
        command.env("WEBTUN_URL", URL).env("WEBTUN_TOKEN", TOKEN).args(["--device", device]);
        command.args(if flags.is_empty() { &REMOTE_ROUTES[..] } else { flags });
        let mut process = Daemon::start(&mut command);
        let ready = process.wait_for_line("ready ");
        let mut addresses = ready.split_whitespace().skip(2).map(str::to_owned);
        let mut next = || addresses.next().expect("a lease has an address of each family");
        Attached { ipv4: next(), ipv6: next(), _process: process }
    }

    /// A file for this test's own use, removed with the lab.
    pub fn file(&self, name: &str) -> PathBuf {
        self.folder.0.join(name)
    }

    /// The certificate of the authority that signed the playground's.
    pub fn authority(&self) -> PathBuf {
        self.file("ca.pem")
    }
}

fn start_playground(netns: &Netns, folder: &Folder) -> Daemon {
    let mut command = netns.command(bins::playground());
    for address in REMOTE {
        command.args(["--address", address]);
    }
    command.args(["--name", &format!("{IPV4_NAME}={}", REMOTE[0])]);
    command.arg("--ca-file").arg(folder.0.join("ca.pem"));
    let mut playground = Daemon::start(&mut command);
    playground.wait_for_line("ready");
    playground
}

/// Whether users without privilege may open ping sockets in this namespace.
///
/// # Panics
/// When the kernel does not take it.
pub fn allow_ping_sockets(netns: &Netns, allowed: bool) {
    let groups = if allowed { "0 2147483647" } else { "1 0" };
    netns.exec("sh", &["-c", &format!("echo {groups} > /proc/sys/net/ipv4/ping_group_range")]);
}

fn gateway_command(netns: &Netns, folder: &Folder, operator: Operator, flags: &[&str]) -> Command {
    let mut command = match operator {
        Operator::Root => netns.command(bins::gateway()),
        Operator::Nobody => {
            allow_ping_sockets(netns, true);
            let mut command = netns.command("setpriv");
            command.args(["--reuid", NOBODY, "--regid", NOBODY, "--clear-groups", "--bounding-set=-all", "--"]);
            command.arg(folder.for_everybody(&bins::gateway())).args(["--egress", "user"]);
            command
        }
    };
    command.args(["--listen", LISTEN, "--token", TOKEN, "--set", RULES, "--set", ZONES, "--set", ANNOUNCED]);
    for key in ["state_dir", "runtime_dir"] {
        command.arg("--set").arg(format!("{key}={:?}", folder.0.join(key)));
    }
    if !flags.contains(&"--log") {
        command.args(["--log", "warn"]);
    }
    command.args(flags);
    command
}

#[derive(Debug)]
struct Folder(PathBuf);

impl Folder {
    /// Removes those whose process was killed, too.
    fn new(prefix: &str, name: &str) -> Self {
        let temporary = std::env::temp_dir();
        for entry in fs::read_dir(&temporary).into_iter().flatten().flatten() {
            if entry.file_name().to_str().is_some_and(|name| netns::is_stale(prefix, name)) {
                let _ = fs::remove_dir_all(entry.path());
            }
        }
        let path = temporary.join(name);
        fs::create_dir_all(&path).expect("the temporary folder can be written");
        Self(path)
    }

    /// A copy of a program in here, as the build's folder may be closed to others.
    fn for_everybody(&self, program: &Path) -> PathBuf {
        let copy = self.0.join("program");
        fs::copy(program, &copy).expect("the temporary folder can be written");
        copy
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(Path::new(&self.0));
    }
}

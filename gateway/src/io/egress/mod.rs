//! The way to the world: a TUN device, and what the kernel must be told for it.

mod command;
mod host;
mod machine;
mod nft;
mod sysctl;
pub mod tun;
mod watch;

use crate::config::{Addresses, Config, ExternalMode, Family, PortRange};
use crate::dataplane::{EgressOffload, ExternalAddress, OwnAddresses};
pub use host::HostChanges;
use ipnet::Ipv6Net;
use machine::Machine;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::PathBuf;
use tun::TunDevice;
pub use watch::watch_addresses;

/// Why the machine could not be set up. Each text says what to do.
#[derive(Debug, thiserror::Error)]
pub enum SetupError {
    /// The device file is missing.
    #[error(
        "there is no /dev/net/tun; load the module (`modprobe tun`), or pass the device to the container \
         (`--device /dev/net/tun`)"
    )]
    NoTun,
    /// The system refuses for want of a capability.
    #[error(
        "no privilege to {what}: CAP_NET_ADMIN is needed; run with `sudo`, or the container with \
         `--cap-add NET_ADMIN --device /dev/net/tun`"
    )]
    Privilege {
        /// What was tried.
        what: String,
    },
    /// The device exists and another process has it.
    #[error("the TUN device {name} is in use by another program; choose another name with `tun.name`")]
    TunBusy {
        /// The device.
        name: String,
    },
    /// Another failure around the device.
    #[error("the TUN device {name} cannot be made: {message}")]
    Tun {
        /// The device.
        name: String,
        /// The system's word.
        message: String,
    },
    /// A program is not installed.
    #[error("the program `{program}` is missing; install the package {package} (`apt install {package}`)")]
    Missing {
        /// Its name.
        program: &'static str,
        /// Debian's package.
        package: &'static str,
    },
    /// A program failed.
    #[error("`{program}` failed: {message}")]
    Command {
        /// Its name.
        program: &'static str,
        /// What it printed.
        message: String,
    },
    /// A kernel parameter that is needed cannot be set.
    #[error(
        "the kernel parameter {name} cannot be set to {value} ({error}); set it yourself (`sysctl -w {name}={value}`, or \
         `--sysctl {name}={value}` for the container)"
    )]
    Sysctl {
        /// With dots.
        name: String,
        /// The wanted value.
        value: String,
        /// The system's word.
        error: io::Error,
    },
    /// An address to translate to is somebody else's.
    #[error("`{key}`: {address} is not an address of this machine; add it to an interface first (`ip address add`)")]
    NotOurs {
        /// Where it is configured.
        key: &'static str,
        /// The address.
        address: IpAddr,
    },
    /// Notes cannot be kept.
    #[error("{path} cannot be used ({error}); choose a folder that can be written with `runtime_dir`")]
    RuntimeDir {
        /// The folder, or a file in it.
        path: PathBuf,
        /// The system's word.
        error: io::Error,
    },
    /// Only one gateway can own the table.
    #[error("another webtun-gateway runs in this network namespace; stop it first")]
    AlreadyRunning,
}

/// What the machine is to be set up for.
#[derive(Clone, Debug)]
struct Plan {
    tun: String,
    mode: ExternalMode,
    ipv4: Vec<OnDevice<Ipv4Addr>>,
    ipv6: Vec<OnDevice<Ipv6Addr>>,
    /// Routed in every mode.
    ipv6_prefix: Option<Ipv6Net>,
    ports: PortRange,
    /// Spared from the port range.
    listen_port: u16,
}

/// An address of the NAT on the device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct OnDevice<A> {
    address: A,
    /// The machine's address that the kernel translates it to; `None`: the one that the route asks for, or none in mode
    /// `routed`.
    machine: Option<A>,
}

fn on_device<A: Family>(addresses: &Addresses<A>, machine: &Addresses<A>) -> Vec<OnDevice<A>> {
    let machine = machine.as_slice().iter().copied().map(Some).chain(std::iter::repeat(None));
    addresses.as_slice().iter().zip(machine).map(|(&address, machine)| OnDevice { address, machine }).collect()
}

/// The address after all of them.
fn address_after<A: Family>(on_device: &[OnDevice<A>]) -> Option<IpAddr> {
    on_device.iter().map(|it| it.address).max().map(|last| last.next().into())
}

impl Plan {
    fn has_ipv6(&self) -> bool {
        !self.ipv6.is_empty() || self.ipv6_prefix.is_some()
    }

    /// The NAT's addresses on the device, with the machine's.
    fn on_device(&self) -> impl Iterator<Item = (IpAddr, Option<IpAddr>)> {
        let v4 = self.ipv4.iter().map(|it| (it.address.into(), it.machine.map(IpAddr::V4)));
        v4.chain(self.ipv6.iter().map(|it| (it.address.into(), it.machine.map(IpAddr::V6))))
    }

    /// The addresses of the machine's own end of the device: those after the external ones. Only what is not routed needs
    /// them.
    fn host_side(&self) -> Vec<IpAddr> {
        if self.mode == ExternalMode::Routed {
            return Vec::new();
        }
        address_after(&self.ipv4).into_iter().chain(address_after(&self.ipv6)).collect()
    }
}

/// The device, the addresses behind it, and the changes to this machine, which end with this value.
#[derive(Debug)]
pub struct Egress {
    /// Where packets go and come from.
    pub tun: TunDevice,
    /// What has been found out about the machine.
    pub surroundings: Surroundings,
    /// Undoes the changes when it is dropped.
    pub changes: HostChanges,
}

/// The gateway's place in the network.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Surroundings {
    /// The NAT's addresses on the device, and as the outside sees them.
    pub external: Vec<ExternalAddress>,
    /// The prefix of the clients' IPv6 addresses outside, in place of an external one.
    pub prefix: Option<Ipv6Net>,
    /// The machine's own addresses.
    pub own: OwnAddresses,
    /// The largest packet on the way to the outside, in octets.
    pub path_mtu: u16,
    /// What the device takes over.
    pub offload: EgressOffload,
}

impl Egress {
    /// Makes the device and sets the machine up. `listen_port` is the gateway's own.
    ///
    /// # Errors
    /// See [`SetupError`]. What was done before the error is undone.
    pub fn set_up(config: &Config, listen_port: u16) -> Result<Self, SetupError> {
        let external = &config.external;
        let wants_ipv6 = !external.ipv6.is_off() || external.ipv6_prefix.is_some();
        let has_ipv6 = wants_ipv6 && ipv6_works();
        let is_translated = has_ipv6 && external.ipv6_prefix.is_none();
        let ipv6 = if is_translated { &external.ipv6 } else { &Addresses::OFF };
        let plan = Plan {
            tun: config.tun.name.clone(),
            mode: external.mode,
            ipv4: on_device(&external.ipv4, &external.machine_ipv4),
            ipv6: on_device(ipv6, &external.machine_ipv6),
            ipv6_prefix: external.ipv6_prefix.filter(|_| has_ipv6).map(|prefix| prefix.trunc()),
            ports: external.port_range,
            listen_port,
        };
        check_machine_addresses(&plan)?;
        let tun = tun::open(&plan.tun, config.tun.offload)?;
        let mut changes = HostChanges::begin(&config.runtime_dir)?;
        changes.apply(&plan)?;
        configure_link(&plan)?;
        let surroundings = Surroundings { offload: tun.offload(), ..survey(config, &plan)? };
        Ok(Self { tun, surroundings, changes })
    }
}

/// The address at which this machine is reached from the outside, as well as can be told.
pub fn primary_address(ipv6: bool, tun: &str) -> Option<IpAddr> {
    Machine::look(tun).ok()?.primary(ipv6)
}

/// The addresses of this machine as they are at the moment.
///
/// # Errors
/// Where `ip` cannot be run.
fn own_addresses() -> Result<OwnAddresses, SetupError> {
    Machine::look("").map(|machine| machine.own())
}

fn survey(config: &Config, plan: &Plan) -> Result<Surroundings, SetupError> {
    let machine = Machine::look(&plan.tun)?;
    let found = |ipv6: bool| (plan.mode == ExternalMode::Masquerade).then(|| machine.primary(ipv6)).flatten();
    let v4 = announced(&plan.ipv4, &config.external.announced_ipv4, || found(false));
    let v6 = announced(&plan.ipv6, &config.external.announced_ipv6, || found(true));
    let external = v4.into_iter().chain(v6).collect();
    Ok(Surroundings {
        external,
        prefix: plan.ipv6_prefix,
        own: machine.own(),
        path_mtu: machine.path_mtu(),
        offload: EgressOffload::None,
    })
}

/// The NAT's addresses with what the outside sees of each: as configured, else the machine's that it becomes, else what
/// `found` says, else the address itself.
fn announced<A: Family>(
    on_device: &[OnDevice<A>],
    configured: &Addresses<A>,
    found: impl Fn() -> Option<IpAddr>,
) -> Vec<ExternalAddress> {
    let mut configured = configured.as_slice().iter().copied();
    let seen = |it: &OnDevice<A>| {
        let told = configured.next().or(it.machine).map(A::into).or_else(&found);
        ExternalAddress { address: it.address.into(), announced: told.unwrap_or(it.address.into()) }
    };
    on_device.iter().map(seen).collect()
}

/// The kernel would translate to any address, and answers to a foreign one would never come.
fn check_machine_addresses(plan: &Plan) -> Result<(), SetupError> {
    let wanted: Vec<IpAddr> = plan.on_device().filter_map(|(_, machine)| machine).collect();
    if wanted.is_empty() {
        return Ok(());
    }
    let own = own_addresses()?.hosts;
    match wanted.into_iter().find(|address| !own.contains(address)) {
        Some(address) => {
            let key = if address.is_ipv4() { "external.machine_ipv4" } else { "external.machine_ipv6" };
            Err(SetupError::NotOurs { key, address })
        }
        None => Ok(()),
    }
}

fn ipv6_works() -> bool {
    let works = sysctl::read("net/ipv6/conf/all/disable_ipv6").as_deref() == Some("0");
    if !works {
        tracing::warn!("IPv6 is disabled on this machine, so clients get none to the outside");
    }
    works
}

/// Brings the device up with routes for the external addresses, which belong to the NAT behind it. Without a link-local
/// address no neighbour discovery disturbs.
fn configure_link(plan: &Plan) -> Result<(), SetupError> {
    let tun = &plan.tun;
    let mut script = String::new();
    if plan.has_ipv6() {
        script.push_str(&format!("link set dev {tun} addrgenmode none\n"));
    }
    script.push_str(&format!("link set dev {tun} mtu {} txqueuelen 4096 up\n", tun::MTU));
    for (address, _) in plan.on_device() {
        script.push_str(&format!("route replace {address} dev {tun}\n"));
    }
    if let Some(prefix) = plan.ipv6_prefix {
        script.push_str(&format!("route replace {prefix} dev {tun}\n"));
    }
    for address in plan.host_side() {
        let (length, nodad) = if address.is_ipv4() { (32, "") } else { (128, " nodad") };
        script.push_str(&format!("address replace {address}/{length} dev {tun}{nodad}\n"));
    }
    command::run("ip", &["-batch", "-"], &script).map(drop)
}

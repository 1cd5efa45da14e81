//! The way to the world: a TUN device and what the kernel must be told for it, or, for whoever may not have one, ordinary
//! sockets.

#[cfg(target_os = "linux")]
pub mod capability;
mod command;
mod device;
mod host;
mod machine;
mod nft;
mod plan;
mod sysctl;
pub mod tun;
pub mod user;
mod watch;

use crate::config::{Addresses, Config, EgressChoice, ExternalMode, Family};
use crate::dataplane::{EgressOffload, OwnAddresses, Slice};
pub use device::{Device, Way};
pub use host::HostChanges;
use ipnet::Ipv6Net;
use machine::Machine;
use plan::{OnDevice, Plan};
use std::io;
use std::net::IpAddr;
use std::path::PathBuf;
pub use tun::BUFFER;
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
    /// What ordinary sockets cannot do.
    #[error("`{key}` takes a TUN device, which `egress` does without; leave it out, or set `egress` to \"tun\"")]
    NotByUser {
        /// The key of the configuration.
        key: &'static str,
    },
    /// The system keeps its addresses to itself.
    #[error("this machine's addresses cannot be read: {0}")]
    Addresses(io::Error),
    /// Only one gateway can own the table.
    #[error("another webtun-gateway runs in this network namespace; stop it first")]
    AlreadyRunning,
}

/// The ways out, the addresses behind them, and the changes to this machine, which end with this value.
#[derive(Debug)]
pub struct Egress {
    /// Where packets go and come from, a way for each shard.
    pub ways: Vec<Way>,
    /// What has been found out about the machine.
    pub surroundings: Surroundings,
    /// Undoes the changes when it is dropped; none where sockets do.
    pub changes: Option<HostChanges>,
}

/// The gateway's place in the network.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Surroundings {
    /// What each shard has on the outside: the NAT's addresses on its device, as the outside sees them, and its ports.
    pub slices: Vec<Slice>,
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
    /// Makes a way out for each shard, as `egress` has it, and says which. `listen_port` is the gateway's own.
    ///
    /// # Errors
    /// See [`SetupError`]. What was done before the error is undone.
    pub fn set_up(config: &Config, listen_port: u16, shards: usize) -> Result<Self, SetupError> {
        let tun = match config.egress {
            EgressChoice::User => return Self::by_sockets(config, listen_port, shards, "as configured"),
            EgressChoice::Tun | EgressChoice::Auto => Self::by_tun(config, listen_port, shards),
        };
        match tun {
            Err(error) if config.egress == EgressChoice::Auto && error.is_about_privilege() => {
                // What sockets cannot do was asked for: the first reason is the better one.
                Self::by_sockets(config, listen_port, shards, &error.to_string()).map_err(|_| error)
            }
            Err(error) => Err(error),
            Ok(egress) => {
                let why = if config.egress == EgressChoice::Auto { "it could be made" } else { "as configured" };
                tracing::info!("egress: tun, packets leave by a TUN device ({why})");
                Ok(egress)
            }
        }
    }

    fn by_sockets(config: &Config, listen_port: u16, shards: usize, why: &str) -> Result<Self, SetupError> {
        let plan = Plan::new(config, shards, !config.external.ipv6.is_off() && ipv6_works(), listen_port);
        let surroundings = user::survey(config, &plan)?;
        tracing::info!("egress: user, packets leave by sockets of this machine ({why})");
        Ok(Self { ways: (0..shards).map(|_| Way::User(plan.host_side())).collect(), surroundings, changes: None })
    }

    fn by_tun(config: &Config, listen_port: u16, shards: usize) -> Result<Self, SetupError> {
        let external = &config.external;
        // A routed prefix is meant: without forwarding it is an error.
        let wants_ipv6 = external.ipv6_prefix.is_some() || (!external.ipv6.is_off() && ipv6_can_be_forwarded());
        let plan = Plan::new(config, shards, wants_ipv6 && ipv6_works(), listen_port);
        check_machine_addresses(&plan)?;
        let open = |device: &plan::Device| tun::open(&device.name, config.tun.offload);
        let devices = plan.devices.iter().map(open).collect::<Result<Vec<_>, _>>()?;
        let mut changes = HostChanges::begin(&config.runtime_dir)?;
        changes.apply(&plan)?;
        configure_link(&plan)?;
        let offload = devices.iter().map(TunDevice::offload).min().unwrap_or(EgressOffload::None);
        let surroundings = Surroundings { offload, ..survey(config, &plan)? };
        Ok(Self { ways: devices.into_iter().map(Way::Tun).collect(), surroundings, changes: Some(changes) })
    }
}

impl SetupError {
    /// True where this process, or its machine, may not or cannot have a TUN device.
    fn is_about_privilege(&self) -> bool {
        match self {
            Self::NoTun
            | Self::Privilege { .. }
            | Self::Tun { .. }
            | Self::Missing { .. }
            | Self::Command { .. }
            | Self::Sysctl { .. }
            | Self::RuntimeDir { .. } => true,
            Self::TunBusy { .. }
            | Self::NotOurs { .. }
            | Self::NotByUser { .. }
            | Self::Addresses(_)
            | Self::AlreadyRunning => false,
        }
    }
}

/// The address at which this machine is reached from the outside, as well as can be told.
pub fn primary_address(ipv6: bool, config: &Config, shards: usize) -> Option<IpAddr> {
    let ours: Vec<String> = (0..shards).map(|shard| config.device_name(shard)).collect();
    match Machine::look(|name| ours.iter().any(|own| own == name)) {
        Ok(machine) => machine.primary(ipv6),
        Err(_) => machine::source_of_default_route(ipv6),
    }
}

/// The addresses of this machine as `ip` tells them.
///
/// # Errors
/// Where `ip` cannot be run.
fn own_addresses() -> Result<OwnAddresses, SetupError> {
    Machine::look(|_| false).map(|machine| machine.own())
}

fn survey(config: &Config, plan: &Plan) -> Result<Surroundings, SetupError> {
    let machine = Machine::look(|name| plan.has_device(name))?;
    let external = &config.external;
    let found = |ipv6: bool| (plan.mode == ExternalMode::Masquerade).then(|| machine.primary(ipv6)).flatten();
    let v4 = announced([&external.ipv4, &external.machine_ipv4, &external.announced_ipv4], || found(false));
    let v6 = announced([&external.ipv6, &external.machine_ipv6, &external.announced_ipv6], || found(true));
    Ok(Surroundings {
        slices: plan.slices([&v4, &v6]),
        prefix: plan.ipv6_prefix,
        own: machine.own(),
        path_mtu: machine.path_mtu(),
        offload: EgressOffload::None,
    })
}

/// What the outside sees of each of the NAT's addresses: as configured, else the machine's that it becomes, else what
/// `found` says, else the address itself.
fn announced<A: Family>(
    [own, machine, configured]: [&Addresses<A>; 3],
    found: impl Fn() -> Option<IpAddr>,
) -> Vec<IpAddr> {
    let seen = |(place, own): (usize, &A)| {
        let told = configured.as_slice().get(place).or(machine.as_slice().get(place)).copied().map(A::into);
        told.or_else(&found).unwrap_or((*own).into())
    };
    own.as_slice().iter().enumerate().map(seen).collect()
}

/// The kernel would translate to any address, and answers to a foreign one would never come.
fn check_machine_addresses(plan: &Plan) -> Result<(), SetupError> {
    let wanted: Vec<IpAddr> =
        plan.devices.iter().flat_map(plan::Device::addresses).filter_map(|(_, machine)| machine).collect();
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

/// A container whose /proc/sys is read-only has IPv4 forwarding from its host, and no IPv6 forwarding.
fn ipv6_can_be_forwarded() -> bool {
    let can = sysctl::is_or_can_be("net/ipv6/conf/all/forwarding", "1");
    if !can {
        tracing::warn!(
            "IPv6 is not forwarded on this machine, and that cannot be changed from here, so clients get none to the \
             outside (`--sysctl net.ipv6.conf.all.forwarding=1` for the container)"
        );
    }
    can
}

/// Brings the devices up with routes for the external addresses, which belong to the NATs behind them. Without a link-local
/// address no neighbour discovery disturbs.
fn configure_link(plan: &Plan) -> Result<(), SetupError> {
    let mut script = String::new();
    for device in &plan.devices {
        let tun = &device.name;
        if plan.has_ipv6() {
            script.push_str(&format!("link set dev {tun} addrgenmode none\n"));
        }
        script.push_str(&format!("link set dev {tun} mtu {} txqueuelen 4096 up\n", tun::MTU));
        for (address, _) in device.addresses() {
            script.push_str(&format!("route replace {address} dev {tun}\n"));
        }
        if let Some(prefix) = device.ipv6_prefix {
            script.push_str(&format!("route replace {prefix} dev {tun}\n"));
        }
    }
    if let Some(first) = plan.devices.first() {
        for address in plan.host_side() {
            let (length, nodad) = if address.is_ipv4() { (32, "") } else { (128, " nodad") };
            script.push_str(&format!("address replace {address}/{length} dev {}{nodad}\n", first.name));
        }
    }
    command::run("ip", &["-batch", "-"], &script).map(drop)
}

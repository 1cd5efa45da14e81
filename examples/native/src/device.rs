//! A TUN device of this machine, with addresses and routes by the program `ip`. The kernel removes them with the device
//! when it is closed, also when the tool is killed.

use std::error::Error;
use std::io;
use std::net::IpAddr;
use std::process::{Command, Output};

use ipnet::IpNet;
use tun::{AbstractDevice, AsyncDevice, Configuration};

/// The device.
pub struct Device {
    /// Packets in and out, one per call.
    pub packets: AsyncDevice,
    name: String,
}

impl Device {
    /// Makes a device that is up and has no addresses yet. `mtu` in octets.
    ///
    /// # Errors
    /// A text that says what is missing: the kernel's module, or a privilege.
    pub fn create(name: &str, mtu: u16) -> Result<Self, Box<dyn Error>> {
        let mut configuration = Configuration::default();
        configuration.tun_name(name).mtu(mtu);
        let packets = tun::create_as_async(&configuration).map_err(|error| explain(name, error.into()))?;
        let name = packets.tun_name()?;
        let device = Self { packets, name };
        // A link-local address would be no address of the lease: the gateway would drop what comes from it.
        device.ip(&["link", "set", "dev", &device.name, "addrgenmode", "none"])?;
        device.ip(&["link", "set", "dev", &device.name, "up"])?;
        Ok(device)
    }

    /// Its name, as the kernel gave it.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Has these addresses, and no others, from here on; routes go to the device.
    ///
    /// # Errors
    /// What `ip` said.
    pub fn configure(&self, addresses: &[(IpAddr, u8)], routes: &[IpNet]) -> Result<(), Box<dyn Error>> {
        self.ip(&["address", "flush", "dev", &self.name])?;
        for family in ["-4", "-6"] {
            self.ip(&[family, "route", "flush", "dev", &self.name])?;
        }
        for (address, _) in addresses {
            // Whatever the lease's prefix, only routes that were asked for may lead here.
            let length = if address.is_ipv4() { 32 } else { 128 };
            let mut arguments = vec!["address", "add"];
            let address_and_length = format!("{address}/{length}");
            arguments.extend([&address_and_length, "dev", &self.name]);
            if address.is_ipv6() {
                arguments.push("nodad");
            }
            self.ip(&arguments)?;
        }
        for route in routes {
            // `add`, so that a route of this machine's own is never replaced, and so lost.
            self.ip(&["route", "add", &route.to_string(), "dev", &self.name])?;
        }
        Ok(())
    }

    /// Whether packets to `address` would leave by this device.
    ///
    /// # Errors
    /// `ip` cannot be run. That there is no route at all is no error.
    pub fn carries(&self, address: IpAddr) -> Result<bool, Box<dyn Error>> {
        let output = run(&["route", "get", &address.to_string()])?;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        Ok(text.contains(&format!(" dev {} ", self.name)))
    }

    fn ip(&self, arguments: &[&str]) -> Result<(), Box<dyn Error>> {
        let output = run(arguments)?;
        if output.status.success() {
            return Ok(());
        }
        let reason = String::from_utf8_lossy(&output.stderr).trim().to_owned();
        Err(format!("`ip {}` failed: {reason}", arguments.join(" ")).into())
    }
}

fn run(arguments: &[&str]) -> Result<Output, Box<dyn Error>> {
    let output = Command::new("ip").args(arguments).output();
    Ok(output.map_err(|error| format!("the program `ip` (package iproute2) does not start: {error}"))?)
}

fn explain(name: &str, error: io::Error) -> String {
    match error.kind() {
        io::ErrorKind::NotFound => "there is no /dev/net/tun: load the kernel's module with `modprobe tun`".to_owned(),
        io::ErrorKind::PermissionDenied => {
            format!("making the device {name} needs the privilege CAP_NET_ADMIN: run this as root")
        }
        io::ErrorKind::ResourceBusy => format!("the device {name} exists already: choose another name with --device"),
        _ => format!("the device {name} cannot be made: {error}"),
    }
}

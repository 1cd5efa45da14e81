//! Joins a TUN device of this machine to a gateway's tunnel: the kernel's own stack speaks through it.

use std::error::Error;
use std::net::{IpAddr, SocketAddr};

use clap::Parser;
use ipnet::IpNet;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use webtun_native_examples::connection::ConnectionFlags;
use webtun_native_examples::device::Device;
use webtun_native_examples::exit;
use webtun_stack::Status;
use webtun_stack::aio::PacketTunnel;

/// Joins a TUN device of this machine to a webtun gateway, until it is interrupted
#[derive(Debug, Parser)]
#[command(name = "webtun-attach", version)]
struct Flags {
    #[command(flatten)]
    connection: ConnectionFlags,

    /// Name of the device
    #[arg(long, default_value = "webtun-c0")]
    device: String,

    /// Prefix to route through the tunnel, as in 198.18.0.0/15; may be given several times
    #[arg(long = "route", value_name = "PREFIX")]
    routes: Vec<IpNet>,

    /// Octets of the largest packet; default and upper bound is what the gateway allows
    #[arg(long, value_parser = clap::value_parser!(u16).range(1280..))]
    mtu: Option<u16>,
}

fn main() {
    let flags = Flags::parse();
    exit::run("webtun-attach", async move {
        flags.connection.start_log()?;
        let tunnel = PacketTunnel::connect(&flags.connection.websocket_url(), flags.connection.options()).await?;
        let result = attach(&tunnel, &flags).await;
        tunnel.close().await;
        result.map(|()| 0)
    })
}

async fn attach(tunnel: &PacketTunnel, flags: &Flags) -> Result<(), Box<dyn Error>> {
    let lease = tunnel.lease().ok_or("the gateway has given no lease")?;
    let limit = u16::try_from(lease.mtu).unwrap_or(u16::MAX);
    let device = Device::create(&flags.device, flags.mtu.unwrap_or(limit).min(limit))?;
    // Before the routes, so that none is missed; the lease is read anew at each change.
    let status = tunnel.status();
    configure(&device, tunnel, flags).await?;
    let addresses: Vec<String> = lease.addresses.iter().map(|(address, _)| address.to_string()).collect();
    println!("ready {} {}", device.name(), addresses.join(" "));
    let dns: Vec<String> = lease.dns.iter().map(IpAddr::to_string).collect();
    eprintln!("name servers (route them here to use them): {}", dns.join(" "));
    for (prefix, length) in &lease.pref64 {
        eprintln!("IPv4 hosts have IPv6 addresses (to be routed here) below {prefix}/{length}");
    }
    let mut terminated = signal(SignalKind::terminate())?;
    tokio::select! {
        result = uplink(&device, tunnel) => result,
        result = downlink(&device, tunnel) => result,
        result = follow(status, &device, tunnel, flags) => result,
        result = tokio::signal::ctrl_c() => Ok(result?),
        _ = terminated.recv() => Ok(()),
    }
}

async fn uplink(device: &Device, tunnel: &PacketTunnel) -> Result<(), Box<dyn Error>> {
    let mut packet = vec![0; usize::from(u16::MAX)];
    loop {
        let len = device.packets.recv(&mut packet).await?;
        tunnel.send(packet[..len].to_vec().into()).await?;
    }
}

async fn downlink(device: &Device, tunnel: &PacketTunnel) -> Result<(), Box<dyn Error>> {
    loop {
        let packet = tunnel.recv().await?;
        // The kernel refuses single packets (say, one to an address that it has just lost), which ends nothing.
        if let Err(error) = device.packets.send(&packet).await
            && error.raw_os_error().is_none()
        {
            return Err(error.into());
        }
    }
}

/// A session that was lost is followed by another, with addresses of its own.
async fn follow(
    mut status: watch::Receiver<Status>,
    device: &Device,
    tunnel: &PacketTunnel,
    flags: &Flags,
) -> Result<(), Box<dyn Error>> {
    loop {
        status.changed().await?;
        let now = status.borrow_and_update().clone();
        match now {
            Status::Connected { resumed: false } => configure(device, tunnel, flags).await?,
            Status::Connected { resumed: true } => eprintln!("connected again"),
            Status::Connecting => {}
            Status::Reconnecting { attempt, .. } => eprintln!("connection lost, attempt {attempt} to come back"),
            Status::Closed { code, reason } => return Err(format!("closed by the gateway: {code:?} {reason}").into()),
        }
    }
}

async fn configure(device: &Device, tunnel: &PacketTunnel, flags: &Flags) -> Result<(), Box<dyn Error>> {
    let Some(lease) = tunnel.lease() else { return Ok(()) };
    device.configure(&lease.addresses, &flags.routes)?;
    for gateway in gateway_addresses(&flags.connection.websocket_url()).await {
        if device.carries(gateway.ip())? {
            let text =
                "a --route leads the tunnel's own connection into the tunnel: give the gateway a route of its own";
            return Err(format!("{text} ({}) first", gateway.ip()).into());
        }
    }
    Ok(())
}

/// Where the WebSocket goes. Names that do not resolve give nothing: the connection stands already.
async fn gateway_addresses(url: &str) -> Vec<SocketAddr> {
    let Some(authority) = url.split("://").nth(1).and_then(|rest| rest.split(['/', '?']).next()) else {
        return Vec::new();
    };
    let host = if authority.rsplit_once(':').is_some_and(|(_, port)| port.parse::<u16>().is_ok()) {
        authority.to_owned()
    } else {
        format!("{authority}:443")
    };
    tokio::net::lookup_host(host).await.map(Iterator::collect).unwrap_or_default()
}

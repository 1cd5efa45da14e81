//! TCP and UDP from and to the terminal, through a gateway.

use std::error::Error;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use clap::Parser;
use webtun_native_examples::connection::{ConnectionFlags, FamilyFlags};
use webtun_native_examples::relay::RelayOptions;
use webtun_native_examples::{exit, relay};
use webtun_stack::aio::{MappedPort, StackHandle};
use webtun_stack::{ListenOptions, PortMapOptions, Protocol, StreamHost, UdpOptions};

/// How long a mapping outlives a tool that was killed; while the tool runs, the stack renews it.
const MAPPING_LIFETIME: Duration = Duration::from_secs(600);

/// Arbitrary TCP and UDP connections through a webtun gateway
#[derive(Debug, Parser)]
#[command(
    name = "webtun-nc",
    version,
    override_usage = "webtun-nc [OPTIONS] HOST PORT\n       webtun-nc -l [OPTIONS] PORT"
)]
struct Flags {
    #[command(flatten)]
    connection: ConnectionFlags,

    #[command(flatten)]
    family: FamilyFlags,

    /// UDP: each read of the input is one datagram
    #[arg(short, long)]
    udp: bool,

    /// Wait for a connection (UDP: for the first datagram) instead of opening one
    #[arg(short, long)]
    listen: bool,

    /// With --listen: ask the gateway for this external port (0: any) and print the external address to standard error
    #[arg(long, value_name = "PORT", requires = "listen", num_args = 0..=1, require_equals = true, default_missing_value = "0")]
    external: Option<u16>,

    /// Let the gateway make the connection, and resolve the name
    #[arg(long, conflicts_with_all = ["udp", "listen"])]
    split: bool,

    /// Send a FIN when the input ends, and go on reading
    #[arg(short = 'N', long, conflicts_with = "udp")]
    half_close: bool,

    /// Seconds without any data after which to end
    #[arg(short = 'w', long, value_name = "SECONDS")]
    idle: Option<u64>,

    /// HOST PORT, or with --listen PORT alone
    #[arg(required = true, num_args = 1..=2)]
    target: Vec<String>,
}

fn main() {
    let flags = Flags::parse();
    exit::run("webtun-nc", async move {
        let net = flags.connection.connect().await?;
        let result = exit::unless_interrupted(async { run(&net, &flags).await.map(|()| 0) }).await;
        net.close().await;
        result
    })
}

async fn run(net: &StackHandle, flags: &Flags) -> Result<(), Box<dyn Error>> {
    match (flags.listen, &flags.target[..]) {
        (true, [port]) => serve(net, flags, port.parse()?).await,
        (false, [host, port]) => call(net, flags, host, port.parse()?).await,
        (true, _) => Err("--listen takes a port alone".into()),
        (false, _) => Err("expected HOST PORT".into()),
    }
}

impl Flags {
    fn idle_timeout(&self) -> Option<Duration> {
        self.idle.map(Duration::from_secs)
    }

    fn relay(&self) -> RelayOptions {
        RelayOptions { half_close: self.half_close, idle_timeout: self.idle_timeout() }
    }
}

async fn call(net: &StackHandle, flags: &Flags, host: &str, port: u16) -> Result<(), Box<dyn Error>> {
    let failed = |error: std::io::Error| format!("{host} port {port}: {error}");
    if flags.split {
        let to = host.parse().map_or_else(|_| StreamHost::Name(host.to_owned()), StreamHost::Address);
        let stream = net.tcp_connect_split(to, port).await.map_err(failed)?;
        return Ok(relay::tcp(stream, flags.relay()).await.map_err(failed)?);
    }
    if !flags.udp {
        let stream = net.tcp_connect_host(host, port, flags.family.family()).await.map_err(failed)?;
        return Ok(relay::tcp(stream, flags.relay()).await.map_err(failed)?);
    }
    let addresses = net.resolve(host, flags.family.family()).await.map_err(|error| failed(error.into()))?;
    let address = *addresses.first().ok_or("no address")?;
    let socket = net.udp_bind(unspecified(address.is_ipv6(), 0), UdpOptions::default())?;
    let peer = SocketAddr::new(address, port);
    Ok(relay::udp(&socket, Some(peer), flags.idle_timeout()).await.map_err(failed)?)
}

async fn serve(net: &StackHandle, flags: &Flags, port: u16) -> Result<(), Box<dyn Error>> {
    // `[::]` takes both families unless one was chosen.
    let local = unspecified(!flags.family.ipv4, port);
    if flags.udp {
        let options = UdpOptions { ipv6_only: flags.family.ipv6, ..UdpOptions::default() };
        let socket = net.udp_bind(local, options)?;
        let _mapped = announce(net, flags, socket.local_addr()).await?;
        return Ok(relay::udp(&socket, None, flags.idle_timeout()).await?);
    }
    let options = ListenOptions { ipv6_only: flags.family.ipv6, ..ListenOptions::default() };
    let listener = net.tcp_listen(local, options)?;
    let _mapped = announce(net, flags, listener.local_addr()).await?;
    let (stream, peer) = listener.accept().await?;
    eprintln!("connection from {peer}");
    // Only this one connection, as nc does.
    drop(listener);
    Ok(relay::tcp(stream, flags.relay()).await?)
}

/// Says where the listener can be reached; the mapping lasts as long as what is returned.
async fn announce(
    net: &StackHandle,
    flags: &Flags,
    local: Option<SocketAddr>,
) -> Result<Option<MappedPort>, Box<dyn Error>> {
    let local = local.ok_or("the socket is not bound")?;
    let Some(external_port) = flags.external else {
        eprintln!("listening on {local}");
        return Ok(None);
    };
    let options = PortMapOptions {
        protocol: if flags.udp { Protocol::Udp } else { Protocol::Tcp },
        ipv6: flags.family.ipv6,
        internal_port: local.port(),
        external_port,
        lifetime: MAPPING_LIFETIME,
    };
    let mapped = net.map_port(options).await?;
    eprintln!("listening on {local}, external {}", mapped.external()?);
    Ok(Some(mapped))
}

fn unspecified(ipv6: bool, port: u16) -> SocketAddr {
    if ipv6 { (Ipv6Addr::UNSPECIFIED, port).into() } else { (Ipv4Addr::UNSPECIFIED, port).into() }
}

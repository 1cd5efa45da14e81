//! The demo of a user who is not root: in a user namespace of its own, whose root may make the playground's network, with a way
//! in for the browser outside. Also that of a container, whose network is no other's, and of root for a gateway without
//! privilege, which must have its ping sockets.
//!
//! Servers on loopback addresses would need no namespace. But they could not have their ports below 1024, no router that
//! swallows or refuses packets, and a gateway that reaches loopback addresses, which ours does not, whatever a rule says.

use std::net::Ipv4Addr;
use std::path::Path;
use std::process::ExitCode;

use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};

use crate::Result;
use crate::command::Command;
use crate::daemon::ask_to_end;
use crate::demo::{INTERRUPTED, Interrupt, Options, exit_code, prepare};
use crate::workspace::{self, scratch};

/// /run is another user's: namespaces' names and the lock are kept in one of our own.
const SCRIPT: &str = r#"
mount -t tmpfs tmpfs /run
ip link set lo up
# Pings by the gateway's sockets, as in an engine's containers; a user has but one group in there.
echo 0 2147483647 > /proc/sys/net/ipv4/ping_group_range 2> /dev/null || echo 0 0 > /proc/sys/net/ipv4/ping_group_range
[ ! -e /proc/sys/net/ipv6 ] || echo 1 > /proc/sys/net/ipv6/conf/all/forwarding
exec setpriv --pdeathsig TERM -- "$@""#;

/// Builds, as in the namespace there is no internet, and runs ourselves in there.
pub async fn run(options: &Options) -> Result<ExitCode> {
    super::check_port(options.port)?;
    can_make_namespaces()?;
    prepare(options)?;
    let socket = scratch("demo")?.join(format!("way-in-{}", std::process::id()));
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, options.port)).await?;
    let mut interrupt = Interrupt::new()?;
    let mut child = namespace()
        .args(["sh", "-ec", SCRIPT, "sh"])
        .args([std::env::current_exe()?])
        .args(arguments(options, &socket, std::env::args().skip(1))?)
        .in_folder(std::env::current_dir()?)
        .into_tokio()
        .kill_on_drop(true)
        .spawn()?;
    let status = tokio::select! {
        status = child.wait() => Some(status?),
        () = interrupt.wait() => ask_to_end(&mut child).await,
        () = lead_in(listener, &socket) => None,
    };
    let _ = std::fs::remove_file(&socket);
    Ok(ExitCode::from(status.map_or(INTERRUPTED, exit_code)))
}

fn namespace() -> Command {
    let user = if workspace::is_root() { "" } else { "--user --map-root-user" };
    Command::line(&format!("unshare {user} --net --mount --propagation private"))
}

fn can_make_namespaces() -> Result {
    // Some systems allow the namespace, and forbid all that it is for.
    let tried = namespace().args(["sh", "-ec", SCRIPT, "sh", "true"]).output();
    tried.map(drop).map_err(|error| {
        format!(
            "the demo makes a network of its own, which here takes root, since user namespaces are not allowed ({error}): \
             sudo -E cargo xtask demo"
        )
        .into()
    })
}

/// Our own ones, and what is different inside. Before the others: what follows `--run` is not ours.
fn arguments(options: &Options, socket: &Path, given: impl Iterator<Item = String>) -> Result<Vec<String>> {
    let mut given = given;
    let task = given.next().ok_or("no task")?;
    let mut inside = vec![task, "--way-in".into(), socket.display().to_string()];
    if !options.no_build {
        inside.push("--no-build".into());
    }
    if options.egress.is_none() && !workspace::is_root() {
        inside.extend(["--egress".into(), "user".into()]);
    }
    Ok(inside.into_iter().chain(given).collect())
}

/// Outside: what connects to our port goes on by the socket, which lies in a folder and so in both namespaces.
async fn lead_in(listener: TcpListener, socket: &Path) {
    while let Ok((mut stream, _)) = listener.accept().await {
        let socket = socket.to_owned();
        tokio::spawn(async move {
            let mut inner = UnixStream::connect(socket).await?;
            copy_bidirectional(&mut stream, &mut inner).await
        });
    }
}

/// Inside: what comes by the socket goes on to the gateway.
pub async fn let_in(listener: UnixListener, port: u16) {
    while let Ok((mut stream, _)) = listener.accept().await {
        tokio::spawn(async move {
            let mut inner = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await?;
            inner.set_nodelay(true)?;
            copy_bidirectional(&mut stream, &mut inner).await
        });
    }
}

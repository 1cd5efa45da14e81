//! From a configuration to a gateway that serves, and back.

use super::admin::{self, Admin};
use super::audit::Audit;
use super::auth::{Credentials, Gate, KeyError, fresh_token, kept_token};
use super::dns::Forwarder;
use super::doors::{DoorFigures, Doors, Entrance};
use super::driver::{Clock, Driver, Shards};
use super::egress::{Device, Egress, SetupError, Surroundings, Way, watch_addresses};
use super::http::{HalfOpen, Phase, Site, listen};
use super::inner::InnerHost;
use super::metrics::Handshakes;
use super::session::Doorway;
use super::tls::{self, TlsError};
use crate::config::Config;
use crate::dataplane::{ConfigError, Gateway};
use futures_util::FutureExt;
use futures_util::future::try_join_all;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::{oneshot, watch};
use tokio::task::JoinError;
use tokio::time::sleep;

/// How long the goodbyes to the clients may take.
const GOODBYES: Duration = Duration::from_secs(3);

/// Why the gateway does not run, or no longer.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The listener.
    #[error("cannot listen on {address}: {}; choose another address with --listen", describe(error))]
    Listen {
        /// As configured.
        address: SocketAddr,
        /// The system's word.
        error: io::Error,
    },
    /// The operator's listener.
    #[error(
        "cannot listen on {address}: {}; choose another address with --set admin=ADDRESS, or \"off\"",
        describe(error)
    )]
    Admin {
        /// As configured.
        address: SocketAddr,
        /// The system's word.
        error: io::Error,
    },
    /// Certificate and key.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// The audit log.
    #[error("the audit log cannot be written: {0}; set audit.output to another file, or \"off\"")]
    Audit(io::Error),
    /// The machine.
    #[error(transparent)]
    Setup(#[from] SetupError),
    /// The dataplane's configuration.
    #[error("configuration: {0}")]
    Config(#[from] ConfigError),
    /// The made token.
    #[error(
        "the access token cannot be kept in {path} ({error}); set state_dir to a folder that can be written, or tokens"
    )]
    State {
        /// The folder.
        path: PathBuf,
        /// The system's word.
        error: io::Error,
    },
    /// The key of an issuer of tokens.
    #[error("the key file {path} of auth.jwt cannot be used: {error}")]
    Key {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        error: KeyError,
    },
    /// While running.
    #[error("the egress has failed: {0}")]
    Device(io::Error),
    /// A fault of the gateway.
    #[error("internal fault: {0}")]
    Internal(String),
}

/// How often a port is asked for again that is in use, and after what pause.
const PATIENCE: u32 = 10;
const PAUSE: Duration = Duration::from_millis(50);

fn describe(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::AddrInUse => "the port is in use by another program".to_owned(),
        io::ErrorKind::AddrNotAvailable => "the address is not one of this machine's".to_owned(),
        io::ErrorKind::PermissionDenied => "ports below 1024 need privilege".to_owned(),
        _ => error.to_string(),
    }
}

/// A gateway that was killed may have its port for a moment longer, until the kernel is done with it.
async fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    for _ in 0..PATIENCE {
        match TcpListener::bind(address).await {
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => sleep(PAUSE).await,
            bound => return bound,
        }
    }
    TcpListener::bind(address).await
}

/// Runs a gateway until SIGINT or SIGTERM. `ready` is called when it serves.
///
/// # Errors
/// See [`RunError`]. Whatever the outcome, nothing of the gateway stays behind on the machine.
pub async fn run(config: Config, ready: impl FnOnce(&Ready)) -> Result<(), RunError> {
    // Before anything is changed on the machine: most starts that fail fail here.
    let certificate = tls::load(&config.tls)?;
    let listener = bind(config.listen).await.map_err(|error| RunError::Listen { address: config.listen, error })?;
    let operators = match config.admin.value() {
        Some(&address) => Some(bind(address).await.map_err(|error| RunError::Admin { address, error })?),
        None => None,
    };
    let audit = Audit::open(&config.audit).map_err(RunError::Audit)?;
    let address = listener.local_addr().map_err(|error| RunError::Listen { address: config.listen, error })?;
    let mut stop = Signals::catch().map_err(|error| RunError::Internal(error.to_string()))?;
    let made = made_token(&config)?;
    let credentials =
        Arc::new(Credentials::new(&config, made.as_deref()).map_err(|(path, error)| RunError::Key { path, error })?);
    warn_of_plain_tokens(&config);
    let count = shard_count(&config);
    let Egress { ways, surroundings, changes } = Egress::set_up(&config, address.port(), count)?;
    tracing::info!(?surroundings, "the way to the outside is set up");

    let clock = Clock::start();
    let (drivers, shards) = drivers(&config, &surroundings, ways, clock, &audit)?;
    drop(audit);
    let watcher = tokio::spawn(watch_addresses(surroundings.own, shards.clone(), changes.is_some()));
    let gate = Arc::new(Gate::new(Arc::clone(&credentials), &config.auth, clock));
    let key_watcher = tokio::spawn(credentials.follow_files());
    let (phase, told_phase) = watch::channel(Phase::Serving);
    let handshakes = Handshakes::default();
    let figures = DoorFigures::default();
    let operators = operators.map(|listener| {
        let (handshakes, tickets) = (handshakes.clone(), gate.ticket_results().clone());
        let (drivers, phase) = (shards.clone(), told_phase.clone());
        let admin = Admin { drivers, handshakes, tickets, doors: figures.clone(), phase };
        tokio::spawn(admin::listen(listener, admin))
    });
    let (certificate, keeper) = match certificate {
        Some(loaded) => {
            let (current, told) = watch::channel(loaded);
            (Some(told), Some(tokio::spawn(tls::keep_fresh(config.tls.clone(), current))))
        }
        None => (None, None),
    };
    let grace = Duration::from_secs(config.limits.grace_s.into());
    let doors = Doors::new(config.doors.clone(), shards.clone(), clock, grace, figures);
    let entrance = Entrance::new(config.doors.clone(), shards.clone(), Arc::clone(&gate), clock);
    let site = Site { tls: certificate, ..site(&config, gate, shards.clone(), handshakes, (doors, entrance)) };
    let (shutdown, running): (Vec<_>, Vec<_>) = drivers
        .into_iter()
        .map(|driver| {
            let (shutdown, told) = oneshot::channel();
            (shutdown, tokio::spawn(driver.run(told)).map(driver_outcome))
        })
        .unzip();
    let mut running = try_join_all(running);
    let server = tokio::spawn(listen(listener, site, told_phase));
    ready(&Ready {
        address,
        made_token: made,
        page: page_for_people(address, &config, count),
        is_tls: keeper.is_some(),
    });

    let outcome = tokio::select! {
        () = drain(&mut stop, &phase, &shards, config.limits.drain_s) => {
            tracing::info!("stopping");
            phase.send_replace(Phase::Stopping);
            // An error means that a driver has just ended by itself, which its outcome explains.
            for shutdown in shutdown {
                let _ = shutdown.send(());
            }
            (&mut running).await.map(drop)
        }
        ended = &mut running => ended.map(drop),
    };
    watcher.abort();
    for task in operators.into_iter().chain(keeper).chain([key_watcher]) {
        task.abort();
    }
    phase.send_replace(Phase::Stopping);
    if tokio::time::timeout(GOODBYES, server).await.is_err() {
        tracing::debug!("some clients have not taken their goodbye");
    }
    drop(changes);
    outcome
}

/// What to tell the person who has started the gateway.
#[derive(Clone, Debug)]
pub struct Ready {
    /// Where it listens, with the real port.
    pub address: SocketAddr,
    /// The token that has been made because none was configured.
    pub made_token: Option<String>,
    /// The address for a browser's address bar, without a query.
    pub page: String,
    /// True where it speaks TLS.
    pub is_tls: bool,
}

fn driver_outcome(ended: Result<io::Result<()>, JoinError>) -> Result<(), RunError> {
    match ended {
        Ok(Ok(())) => Ok(()),
        Ok(Err(error)) => Err(RunError::Device(error)),
        Err(error) => Err(RunError::Internal(error.to_string())),
    }
}

fn shard_count(config: &Config) -> usize {
    config.shard_count(std::thread::available_parallelism().map_or(1, usize::from))
}

/// A driver for each way out, and the way to all of them.
fn drivers(
    config: &Config,
    surroundings: &Surroundings,
    ways: Vec<Way>,
    clock: Clock,
    audit: &Audit,
) -> Result<(Vec<Driver>, Shards), RunError> {
    let (mut drivers, mut handles) = (Vec::new(), Vec::new());
    let queries = count(config.limits.dns_queries).div_ceil(ways.len().max(1));
    for (dataplane, way) in config.dataplanes(surroundings).into_iter().zip(ways) {
        let device = Device::open(way, &dataplane, seed()?, clock.now()).map_err(RunError::Device)?;
        let gateway = Gateway::new(dataplane, seed()?, clock.now())?;
        let forwarder = forwarder(config, &gateway);
        let inner = inner_host(&gateway, Arc::clone(&forwarder), queries, clock)?;
        let (driver, handle) = Driver::new(gateway, device, inner, forwarder, clock, audit.clone());
        drivers.push(driver);
        handles.push(handle);
    }
    if drivers.len() > 1 {
        Driver::connect(&mut drivers);
    }
    Ok((drivers, Shards::new(handles, count(config.limits.sessions))))
}

fn site(
    config: &Config,
    gate: Arc<Gate>,
    drivers: Shards,
    handshakes: Handshakes,
    (doors, entrance): (Arc<Doors>, Arc<Entrance>),
) -> Site {
    let limits = &config.limits;
    let patience = Duration::from_secs(limits.handshake_timeout_s.into());
    let write_timeout = Duration::from_secs(limits.write_timeout_s.into());
    Site {
        gate: Arc::clone(&gate),
        allow_origins: config.allow_origins.clone(),
        static_dir: config.static_dir.clone(),
        tls: None,
        http: config.http.clone(),
        handshake_timeout: patience,
        connections: count(limits.connections),
        half_open: HalfOpen::new(count(limits.handshakes), count(limits.handshakes_per_address)),
        doorway: Doorway::new(drivers, gate, patience, write_timeout, handshakes),
        doors,
        entrance,
    }
}

/// The token of a gateway that strangers could reach, by itself or by way of a proxy, and that has no credential.
fn made_token(config: &Config) -> Result<Option<String>, RunError> {
    let is_private = config.listen.ip().is_loopback() && config.http.trusted_proxies.is_empty();
    if config.has_credentials() || is_private {
        return Ok(None);
    }
    match kept_token(&config.state_dir) {
        Ok(token) => Ok(Some(token)),
        // A container without a volume, or a user without a folder there, has no place for it.
        Err(error) if matches!(error.kind(), io::ErrorKind::ReadOnlyFilesystem | io::ErrorKind::PermissionDenied) => {
            let folder = config.state_dir.display();
            tracing::warn!(%folder, %error, "the access token is for this run alone: `state_dir` cannot be written");
            fresh_token().map(Some).map_err(|error| RunError::Internal(format!("no randomness: {error}")))
        }
        Err(error) => Err(RunError::State { path: config.state_dir.clone(), error }),
    }
}

fn warn_of_plain_tokens(config: &Config) {
    let plain = config.tokens.iter().filter(|token| token.is_plain).count();
    if plain > 0 {
        tracing::warn!(
            plain,
            "`tokens` has tokens as they are; write their hashes, which `webtun-gateway token hash` makes of them"
        );
    }
}

fn forwarder(config: &Config, gateway: &Gateway) -> Arc<Forwarder> {
    let pref64 = gateway.config().pref64().filter(|_| config.nat64.dns64);
    Arc::new(Forwarder::new(&config.dns, pref64))
}

fn inner_host(
    gateway: &Gateway,
    forwarder: Arc<Forwarder>,
    queries: usize,
    clock: Clock,
) -> Result<(InnerHost, tokio::sync::mpsc::Receiver<super::inner::Answer>), RunError> {
    let addresses = [gateway.config().inner_host_v4().into(), gateway.config().inner_host_v6().into()];
    InnerHost::new(&addresses, forwarder, queries, seed()?, clock.now())
        .map_err(|error| RunError::Internal(error.to_string()))
}

/// The address that a browser can open: as configured, else by the machine's own address.
fn page_for_people(address: SocketAddr, config: &Config, shards: usize) -> String {
    config.http.public_url.clone().unwrap_or_else(|| {
        let scheme = if config.tls.files().is_some() { "https" } else { "http" };
        format!("{scheme}://{}/", host_for_people(address, config, shards))
    })
}

/// An address that a browser can open: the machine's own where the listener takes any.
fn host_for_people(address: SocketAddr, config: &Config, shards: usize) -> SocketAddr {
    if !address.ip().is_unspecified() {
        return address;
    }
    let found = crate::io::egress::primary_address(address.is_ipv6(), config, shards);
    let loopback: IpAddr =
        if address.is_ipv4() { std::net::Ipv4Addr::LOCALHOST.into() } else { std::net::Ipv6Addr::LOCALHOST.into() };
    SocketAddr::new(found.unwrap_or(loopback), address.port())
}

fn seed() -> Result<[u8; 32], RunError> {
    let mut seed = [0; 32];
    getrandom::fill(&mut seed).map_err(|error| RunError::Internal(format!("no randomness: {error}")))?;
    Ok(seed)
}

fn count(number: u32) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}

/// Waits for a signal, and then lets the sessions go on for `seconds` or until the next signal.
async fn drain(stop: &mut Signals, phase: &watch::Sender<Phase>, shards: &Shards, seconds: u32) {
    stop.next().await;
    if seconds == 0 {
        return;
    }
    tracing::info!(seconds, "draining");
    phase.send_replace(Phase::Draining);
    let time = Duration::from_secs(seconds.into());
    shards.drain(time).await;
    // Whether it is the time or a signal that ends the wait makes no difference.
    let _ = tokio::time::timeout(time, stop.next()).await;
}

struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    fn catch() -> io::Result<Self> {
        Ok(Self { terminate: signal(SignalKind::terminate())?, interrupt: signal(SignalKind::interrupt())? })
    }

    async fn next(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}

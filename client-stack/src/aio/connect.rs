use std::io;
use std::sync::Arc;
use std::time::Duration;

use thiserror::Error;
use tokio::sync::watch;
use webtun_wire::CloseCode;

use super::clock::Clock;
use super::handle::StackHandle;
use super::machine::Machine;
use super::runner::Runner;
use super::shared::{Owner, Shared};
use super::stack_machine::StackMachine;
use super::{Connector, WebSocketConnector};
use crate::{BufferSizes, Stack, StackConfig, Status};

/// How a tunnel is opened.
#[derive(Clone, Debug)]
pub struct ConnectOptions {
    /// The gateway's bearer token. Default: none.
    pub token: Option<String>,
    /// How long the gateway may take to answer with a lease: 30 s.
    pub timeout: Duration,
    /// Buffers of TCP connections. Default: by the number of open sockets.
    pub buffers: Option<BufferSizes>,
    /// As [`StackConfig::stream_buffer`].
    pub stream_buffer: usize,
    /// As [`StackConfig::stream_window`].
    pub stream_window: u64,
}

impl Default for ConnectOptions {
    fn default() -> Self {
        let StackConfig { stream_buffer, stream_window, .. } = StackConfig::new([0; 32]);
        Self { token: None, timeout: Duration::from_secs(30), buffers: None, stream_buffer, stream_window }
    }
}

/// Why there is no tunnel.
#[derive(Debug, Error)]
pub enum OpenError {
    /// Not an address of a gateway.
    #[error("the gateway's address is not usable: {0}")]
    Url(String),
    /// The token cannot travel in a header.
    #[error("the token has characters outside of A-Z a-z 0-9 and !#$%&'*+-.^_`|~")]
    Token,
    /// The operating system gives no randomness.
    #[error("no randomness: {0}")]
    Seed(getrandom::Error),
    /// There is no WebSocket.
    #[error("no connection to the gateway: {0}")]
    Transport(#[from] io::Error),
    /// The gateway has closed the session.
    #[error("refused by the gateway: {}", rejection(*code, reason))]
    Rejected {
        /// Its reason as a code.
        code: CloseCode,
        /// Its reason in words; may be empty.
        reason: String,
    },
    /// The WebSocket is open, but no lease came in time.
    #[error("the gateway does not answer")]
    TimedOut,
}

fn rejection(code: CloseCode, reason: &str) -> String {
    if reason.is_empty() { format!("{code:?}") } else { reason.to_owned() }
}

/// Opens a tunnel to the gateway at `url` (`ws://` or `wss://`) and waits for its lease. From then on cuts are repaired
/// in the background; [`StackHandle::status`] tells.
///
/// Call it on a tokio runtime, which then runs the tunnel.
///
/// # Errors
/// [`OpenError`]: the first attempt failed.
pub async fn connect(url: &str, options: ConnectOptions) -> Result<StackHandle, OpenError> {
    let connector = WebSocketConnector::new(url, options.token.as_deref())?;
    connect_with(connector, options).await
}

/// [`connect`] over a transport of the caller's. `options.token` is not used: credentials are the connector's.
///
/// # Errors
/// [`OpenError`]: the first attempt failed.
pub async fn connect_with(connector: impl Connector, options: ConnectOptions) -> Result<StackHandle, OpenError> {
    let mut config = StackConfig::new(seed()?);
    config.buffers = options.buffers;
    (config.stream_buffer, config.stream_window) = (options.stream_buffer, options.stream_window);
    let clock = Clock::start();
    let (machine, mut status) = StackMachine::new(Stack::new(config, clock.now()));
    let owner = open(machine, clock, connector).await?;
    wait_for_lease(&mut status, options.timeout).await?;
    Ok(StackHandle::new(owner, status))
}

pub(super) fn seed() -> Result<[u8; 32], OpenError> {
    let mut seed = [0; 32];
    getrandom::fill(&mut seed).map_err(OpenError::Seed)?;
    Ok(seed)
}

/// Opens the first transport, so that its error reaches the caller, and starts the loop.
pub(super) async fn open<M: Machine>(
    machine: M,
    clock: Clock,
    connector: impl Connector,
) -> Result<Arc<Owner<M>>, OpenError> {
    let transport = connector.connect().await?;
    let shared = Shared::new(machine, clock);
    tokio::spawn(Runner::new(shared.clone(), connector, transport).run());
    Ok(Arc::new(Owner(shared)))
}

pub(super) async fn wait_for_lease(status: &mut watch::Receiver<Status>, limit: Duration) -> Result<(), OpenError> {
    let settled = status.wait_for(|status| matches!(status, Status::Connected { .. } | Status::Closed { .. }));
    // The loop does not end without a word: a channel that is gone is an answer that never comes.
    let Ok(Ok(status)) = tokio::time::timeout(limit, settled).await else { return Err(OpenError::TimedOut) };
    match *status {
        Status::Closed { code, ref reason } => Err(OpenError::Rejected { code, reason: reason.clone() }),
        _ => Ok(()),
    }
}

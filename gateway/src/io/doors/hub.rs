//! Sessions that WebSockets share: of one peer at one address, all that carry a single connection. A session each would cost
//! a block of external ports each, and a page has hundreds of such WebSockets.

use super::carried::plain;
use super::line::{Line, Opener};
use crate::dataplane::Peer;
use crate::io::driver::Shards;
use crate::io::pace::MessageRoom;
use crate::io::session::Farewell;
use std::collections::BTreeMap;
use std::io;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::OnceCell;
use webtun_stack::aio::{ConnectOptions, Connector, OpenError, StackHandle, connect_with};
use webtun_stack::{CloseCode, Status};

/// How long a session waits for another WebSocket.
const IDLE: Duration = Duration::from_secs(60);
/// Octets that wait for the driver on each connection; and, of all connections, for WebSockets that do not read.
const STREAM_BUFFER: usize = 128 * 1024;
const STREAM_WINDOW: u64 = 16 << 20;

type Key = (Arc<str>, IpAddr);

#[derive(Debug)]
struct Shared {
    number: u64,
    stack: Arc<OnceCell<StackHandle>>,
    users: usize,
}

#[derive(Debug, Default)]
struct Table {
    shared: BTreeMap<Key, Shared>,
    count: u64,
}

/// All of them; as many as there are WebSockets at most, and those that wait.
#[derive(Debug)]
pub(super) struct Hub {
    shards: Shards,
    table: Mutex<Table>,
}

/// A WebSocket's share in a session.
pub(super) struct Share {
    pub stack: StackHandle,
    _user: User,
}

struct User {
    hub: Arc<Hub>,
    key: Key,
    number: u64,
}

impl Hub {
    pub(super) fn new(shards: Shards) -> Arc<Self> {
        Arc::new(Self { shards, table: Mutex::default() })
    }

    /// A share in the session of `peer` at `client`, which is opened where there is none.
    ///
    /// # Errors
    /// What to tell the client.
    pub(super) async fn enter(self: &Arc<Self>, peer: Box<Peer>, client: IpAddr) -> Result<Share, Farewell> {
        let (user, cell) = self.join((Arc::clone(&peer.name), client));
        let stack = cell.get_or_try_init(|| self.open(peer)).await?.clone();
        Ok(Share { stack, _user: user })
    }

    fn join(self: &Arc<Self>, key: Key) -> (User, Arc<OnceCell<StackHandle>>) {
        let mut table = self.lock();
        table.count += 1;
        let number = table.count;
        let is_over = |shared: &Shared| shared.stack.get().is_some_and(is_closed);
        if table.shared.get(&key).is_some_and(is_over) {
            table.shared.remove(&key);
        }
        let fresh = || Shared { number, stack: Arc::default(), users: 0 };
        let shared = table.shared.entry(key.clone()).or_insert_with(fresh);
        shared.users += 1;
        let user = User { hub: Arc::clone(self), key, number: shared.number };
        (user, Arc::clone(&shared.stack))
    }

    async fn open(&self, peer: Box<Peer>) -> Result<StackHandle, Farewell> {
        let (opener, mut refused) = Opener::new(self.shards.clone(), peer, MessageRoom::default());
        let options =
            ConnectOptions { stream_buffer: STREAM_BUFFER, stream_window: STREAM_WINDOW, ..ConnectOptions::default() };
        tokio::select! {
            Some(farewell) = refused.recv() => Err(plain(farewell)),
            opened = connect_with(Once(opener), options) => opened.map_err(|error| {
                plain(match error {
                    OpenError::Rejected { code, .. } => Farewell::from_gateway(code, None),
                    _ => Farewell::from_gateway(CloseCode::Internal, None),
                })
            }),
        }
    }

    /// Forgets a session that nobody uses, which ends it.
    fn forget(&self, key: &Key, number: u64) {
        let mut table = self.lock();
        if table.shared.get(key).is_some_and(|shared| shared.number == number && shared.users == 0) {
            table.shared.remove(key);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Table> {
        // Nothing panics while it is held.
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn is_closed(stack: &StackHandle) -> bool {
    matches!(*stack.status().borrow(), Status::Closed { .. })
}

impl Drop for User {
    fn drop(&mut self) {
        let mut table = self.hub.lock();
        let Some(shared) = table.shared.get_mut(&self.key).filter(|shared| shared.number == self.number) else {
            return;
        };
        shared.users -= 1;
        let is_last = shared.users == 0;
        drop(table);
        if let Some(runtime) = tokio::runtime::Handle::try_current().ok().filter(|_| is_last) {
            let (hub, key, number) = (Arc::clone(&self.hub), self.key.clone(), self.number);
            runtime.spawn(async move {
                tokio::time::sleep(IDLE).await;
                hub.forget(&key, number);
            });
        }
    }
}

/// Opens the session; one that has been cut off within the gateway is resumed by the same.
struct Once(Opener);

impl Connector for Once {
    type Transport = Line;

    fn connect(&self) -> impl Future<Output = io::Result<Line>> + Send + 'static {
        std::future::ready(Ok(Line::new(self.0.clone())))
    }
}

//! The way to the drivers of all shards.

use super::handle::{Command, DriverHandle, Opened};
use super::placement::Placement;
use crate::dataplane::{Gateway, OwnAddresses, Peer};
use crate::io::metrics::Snapshot;
use crate::io::pace::MessageRoom;
use crate::io::session::Farewell;
use bytes::Bytes;
use futures_util::future::join_all;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::oneshot;
use webtun_wire::CloseCode;

/// When a client that was refused may try again.
const RETRY: Duration = Duration::from_secs(10);

/// See the module.
#[derive(Clone, Debug)]
pub struct Shards {
    drivers: Arc<[DriverHandle]>,
    placement: Placement,
}

impl Shards {
    /// The drivers in the order of their shards, which have at most `sessions` together.
    pub fn new(drivers: Vec<DriverHandle>, sessions: usize) -> Self {
        Self { placement: Placement::new(drivers.len(), sessions), drivers: drivers.into() }
    }

    /// Opens or resumes a session with a connection's first message, and says whose driver it is.
    ///
    /// # Errors
    /// What to tell the client before its connection is closed.
    pub async fn open(
        &self,
        message: Bytes,
        peer: Option<Box<Peer>>,
        room: MessageRoom,
    ) -> Result<(DriverHandle, Opened), Farewell> {
        // A single dataplane knows better when there will be room.
        let is_alone = self.drivers.len() == 1;
        let shard = Gateway::shard_of_resumption(&message, self.drivers.len());
        let place = match (&peer, shard) {
            (Some(peer), None) if !is_alone => Some(self.placement.take(peer).map_err(refusal)?),
            _ => None,
        };
        let shard = place.as_ref().map_or(shard.unwrap_or(0), super::Place::shard);
        let driver = &self.drivers[shard];
        Ok((driver.clone(), driver.open(message, peer, room, place).await?))
    }

    /// Has all clients asked to connect elsewhere, or again, after this time.
    pub async fn drain(&self, retry_after: Duration) {
        for driver in self.drivers.iter() {
            driver.send(Command::Drain(retry_after)).await;
        }
    }

    /// This machine has other addresses.
    pub async fn set_own_addresses(&self, own: &OwnAddresses) {
        for driver in self.drivers.iter() {
            driver.send(Command::OwnAddresses(own.clone())).await;
        }
    }

    /// The figures of this moment, of each shard; `None` where one has ended.
    pub async fn inspect(&self) -> Option<Vec<Snapshot>> {
        let ask = async |driver: &DriverHandle| {
            let (reply, answer) = oneshot::channel();
            driver.send(Command::Inspect(reply)).await;
            answer.await.ok().map(|snapshot| *snapshot)
        };
        join_all(self.drivers.iter().map(ask)).await.into_iter().collect()
    }
}

fn refusal(code: CloseCode) -> Farewell {
    let words = match code {
        CloseCode::Limit => "the peer has as many sessions as it may",
        _ => "the gateway has as many sessions as it may",
    };
    Farewell::from_gateway(code, Some(crate::dataplane::close_message(code, RETRY, words)))
}

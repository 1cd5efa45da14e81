//! One WebSocket: from its upgrade over the first message to its end.

mod farewell;
mod frames;
pub(in crate::io) mod socket;

use super::auth::{Gate, Refusal};
use super::driver::{Command, DriverHandle, LinkEnd, Opened, Shards};
use super::http::Place;
use super::metrics::{HandshakeResult, Handshakes};
use super::stream::Stream;
use crate::dataplane::{Gateway, Peer};
use bytes::Bytes;
pub use farewell::Farewell;
use futures_util::StreamExt;
use socket::{Ending, Incoming, Socket};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Semaphore;
use tokio::time::timeout;
use webtun_wire::{CloseCode, MAX_MESSAGE_LEN};

/// What the upgrade request has proved.
#[derive(Clone, Debug)]
pub enum Admission {
    /// A token, or none was needed.
    Granted(Box<Peer>),
    /// Nothing yet: HELLO, which comes from this address, must carry the token, or a session's secret where that is enough.
    ByHello(IpAddr),
    /// A wrong token. A page cannot see the status of a failed upgrade, so it is told by CLOSE.
    Denied(Refusal),
}

/// What every WebSocket needs.
#[derive(Clone)]
pub struct Doorway {
    shards: Shards,
    gate: Arc<Gate>,
    handshake_timeout: Duration,
    write_timeout: Duration,
    results: Handshakes,
}

impl Doorway {
    /// A WebSocket is at most `handshake_timeout` without a session. A client that does not take a message within
    /// `write_timeout` loses its connection.
    pub fn new(
        shards: Shards,
        gate: Arc<Gate>,
        handshake_timeout: Duration,
        write_timeout: Duration,
        results: Handshakes,
    ) -> Self {
        Self { shards, gate, handshake_timeout, write_timeout, results }
    }

    /// How long a client may take for a message.
    pub fn write_timeout(&self) -> Duration {
        self.write_timeout
    }

    /// How long a WebSocket may be without a session.
    pub fn handshake_timeout(&self) -> Duration {
        self.handshake_timeout
    }

    /// Counts how a handshake, of whatever layer, has ended.
    pub fn count(&self, result: HandshakeResult) {
        self.results.count(result);
    }
}

/// How many octets a client may send before it has a session: more than any HELLO has, and little enough that memory is
/// not what many of them exhaust.
const FIRST_OCTETS: usize = 64 * 1024;

/// Runs a WebSocket to its end. `early` is what was read behind the request's head.
pub async fn serve(
    mut stream: Stream,
    early: Bytes,
    admission: Admission,
    place: &Place,
    doorway: &Doorway,
    client: IpAddr,
) {
    stream.ration(Some(FIRST_OCTETS));
    let mut socket = Socket::new(stream, early, MAX_MESSAGE_LEN).await;
    let opening = timeout(doorway.handshake_timeout, open(&mut socket, admission, doorway));
    let ending = tokio::select! {
        opened = opening => match opened {
            Ok(Ok((driver, opened))) => {
                place.release();
                doorway.count(HandshakeResult::Accepted);
                tracing::info!(session = %opened.link.session(), %client, "session connected");
                socket.ration(None);
                return run(socket, (driver, opened), doorway.write_timeout, client).await;
            }
            Ok(Err(ending)) => {
                doorway.count(match &ending {
                    Ending::Farewell(farewell) => farewell.result(),
                    Ending::Closed | Ending::Lost | Ending::Released => HandshakeResult::Gone,
                });
                ending
            }
            Err(_) => {
                doorway.count(HandshakeResult::Timeout);
                Ending::Farewell(Farewell::new(CloseCode::Protocol, "no HELLO in time"))
            }
        },
        () = place.displaced() => {
            doorway.count(HandshakeResult::Displaced);
            return socket.dismiss(Farewell::displaced()).await;
        }
    };
    // Its place is taken for as long as it may take its leave, and can still be needed for a newcomer.
    tokio::select! {
        () = socket.finish(ending, client) => {}
        () = place.displaced() => {}
    }
}

/// Waits for the first message and has the driver open or resume a session with it.
async fn open(socket: &mut Socket, admission: Admission, doorway: &Doorway) -> Result<(DriverHandle, Opened), Ending> {
    let refused = |refusal| Ending::Farewell(Farewell::refusal(refusal));
    if let Admission::Denied(refusal) = admission {
        return Err(refused(refusal));
    }
    let message = loop {
        match socket.next().await {
            Incoming::Message(message) => break message,
            Incoming::Nothing => {}
            Incoming::End(ending) => return Err(ending),
        }
    };
    let peer = match admission {
        Admission::Granted(peer) => Some(peer),
        Admission::Denied(refusal) => return Err(refused(refusal)),
        Admission::ByHello(remote) => {
            match doorway.gate.judge(Gateway::hello_token(&message).unwrap_or_default(), remote) {
                Ok(peer) => Some(Box::new(peer)),
                Err(Refusal::Missing) if Gateway::is_resumption(&message) => None,
                Err(refusal) => return Err(refused(refusal)),
            }
        }
    };
    doorway.shards.open(message, peer, socket.message_room()).await.map_err(Ending::Farewell)
}

/// Carries messages both ways until either side ends it.
async fn run(socket: Socket, (driver, opened): (DriverHandle, Opened), patience: Duration, client: IpAddr) {
    let Opened { link, mut outgoing, mut farewell } = opened;
    let (mut sink, mut stream) = socket.split();
    let mut ending = tokio::select! {
        ending = read(&mut stream, &driver, link) => ending,
        ending = socket::write(&mut sink, &mut outgoing, patience) => ending,
        told = &mut farewell => match told {
            Ok(told) => Ending::Farewell(told),
            Err(_) => Ending::Farewell(Farewell::new(CloseCode::Internal, "the gateway's driver has ended")),
        },
    };
    // The writer ends when the driver lets go of the link, and then the driver has said why.
    if matches!(ending, Ending::Released) {
        ending = farewell.try_recv().map_or(Ending::Lost, Ending::Farewell);
    }
    let end = match &ending {
        Ending::Farewell(told) if told.by_us => LinkEnd::Violated(told.code),
        _ => LinkEnd::Gone,
    };
    driver.send(Command::End { link, end }).await;
    let mut socket = Socket::reunite(sink, stream);
    if matches!(ending, Ending::Farewell(_)) {
        socket.flush_queued(&mut outgoing).await;
    }
    socket.finish(ending, client).await;
}

/// Messages of one connection that wait for the driver: one is being dealt with, one is ready to be. All connections share
/// the way there, and one that has more to say than the others must not make them wait for all of it.
const UNDER_WAY: usize = 2;

/// Hands messages to the driver. While the driver is behind, the WebSocket is not read, and TCP holds the client back.
async fn read(
    stream: &mut (impl futures_util::Stream<Item = socket::Item> + Unpin),
    driver: &DriverHandle,
    link: super::driver::LinkId,
) -> Ending {
    let turns = Arc::new(Semaphore::new(UNDER_WAY));
    loop {
        let turn = Arc::clone(&turns).acquire_owned().await.expect("nobody closes it");
        match socket::classify(stream.next().await) {
            Incoming::Message(message) => {
                // Nobody else has a message's memory, so that this is no copy.
                let message = message.try_into_mut().unwrap_or_else(|shared| shared.as_ref().into());
                driver.send(Command::Message { link, message, turn }).await;
            }
            Incoming::Nothing => {}
            Incoming::End(ending) => return ending,
        }
    }
}

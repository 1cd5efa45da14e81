//! Doors for clients that have connections carried, and know no packets: Wisp, a WebSocket for each connection, and SOCKS
//! within a WebSocket.
//!
//! Whoever comes in by one is a client of the driver like any other, by a client stack in the gateway (`line.rs`): a Wisp
//! connection has a session of its own, the WebSockets of single connections share one (`hub.rs`). TCP is carried by streams,
//! which the driver connects with sockets of this machine, on either egress; UDP is the stack's, and goes by the NAT. So what
//! `policy`, `limits`, the metrics and the audit log say holds here as it does elsewhere, and nothing has to be judged twice.

use super::hub::Hub;
use super::route::Carried;
use super::{socks, tcp, wisp};
use crate::config::doors::Doors as Settings;
use crate::io::auth::{Gate, Refusal};
use crate::io::driver::{Clock, Shards};
use crate::io::http::{Phase, Place};
use crate::io::session::socket::{Ending, Incoming, LONG_MESSAGE_LEN, Socket};
use crate::io::session::{Admission, Doorway, Farewell};
use crate::io::stream::Stream as Carrier;
use bytes::Bytes;
use std::net::IpAddr;
use std::sync::Arc;
use tokio::sync::watch;
use webtun_wire::MAX_MESSAGE_LEN;

/// What these doors need to know.
pub struct Entrance {
    pub(super) shards: Shards,
    pub(super) gate: Arc<Gate>,
    pub(super) clock: Clock,
    pub(super) settings: Settings,
    pub(super) hub: Arc<Hub>,
}

impl Entrance {
    /// Doors to these drivers, behind that gate.
    pub fn new(settings: Settings, shards: Shards, gate: Arc<Gate>, clock: Clock) -> Arc<Self> {
        Arc::new(Self { hub: Hub::new(shards.clone()), shards, gate, clock, settings })
    }

    /// Which doors are open.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }
}

/// Who is at the door.
pub(in crate::io) struct Guest {
    /// What its request has proved.
    pub admission: Admission,
    /// Where it is.
    pub client: IpAddr,
    /// How far the gateway's life has gone.
    pub phase: watch::Receiver<Phase>,
}

/// Runs a WebSocket to its end. `early` is what was read behind the request's head.
pub(in crate::io) async fn serve(
    stream: Carrier,
    early: Bytes,
    door: Carried,
    guest: Guest,
    place: &Place,
    doorway: &Doorway,
    entrance: &Entrance,
) {
    let longest = if matches!(door, Carried::Wisp { .. }) { LONG_MESSAGE_LEN } else { MAX_MESSAGE_LEN };
    let socket = Socket::new(stream, early, longest).await;
    match door {
        Carried::Wisp { second_version } => wisp::serve(socket, guest, second_version, place, doorway, entrance).await,
        Carried::Tcp(target) => tcp::serve(socket, target, guest, place, doorway, entrance).await,
        Carried::Socks => socks::serve(socket, guest, place, doorway, entrance).await,
    }
}

/// These clients know no capsules.
pub(super) fn plain(farewell: Farewell) -> Farewell {
    Farewell { message: None, ..farewell }
}

/// For who may not come in.
pub(super) fn refused(refusal: Refusal) -> Farewell {
    plain(Farewell::refusal(refusal))
}

/// The next message of a client, or how it has ended.
pub(super) async fn next_message(socket: &mut Socket) -> Result<Bytes, Ending> {
    loop {
        match socket.next().await {
            Incoming::Message(message) => return Ok(message),
            Incoming::Nothing => {}
            Incoming::End(Ending::Farewell(farewell)) => return Err(Ending::Farewell(plain(farewell))),
            Incoming::End(ending) => return Err(ending),
        }
    }
}

//! SOCKS5 within a WebSocket of subprotocol `binary` at `/`, as r-wasm/ws-proxy has it: a program's `ALL_PROXY` with
//! `socks5h://USER:TOKEN@gateway:port`, whose sockets its runtime makes WebSockets, runs unchanged. The password is the
//! credential, or the name where there is no password. Names are resolved in the gateway.
//!
//! CONNECT makes the WebSocket that connection (`pipe.rs`). After UDP ASSOCIATE, each message both ways is a datagram with the
//! header of RFC 1928 section 7, in the same WebSocket: it lasts as long as that, and there is no address to send to. BIND is
//! not known; fragments are dropped, as the RFC allows.

mod codec;
mod datagrams;

use super::carried::{Entrance, Guest, next_message, plain, refused};
use super::hub::Share;
use super::{pipe, tcp};
use crate::dataplane::Peer;
use crate::io::auth::Refusal;
use crate::io::http::{Phase, Place};
use crate::io::metrics::HandshakeResult;
use crate::io::session::socket::{Ending, Socket};
use crate::io::session::{Admission, Doorway, Farewell};
use bytes::Bytes;
use codec::{Command, Negotiation, Reply, Step, reply};
use std::net::IpAddr;
use tokio::sync::watch;
use tokio::time::timeout;
use webtun_stack::{ConnectError, StreamHost};
use webtun_wire::CloseCode;

/// Octets that a client may send before its request is understood: more than any negotiation has.
const FIRST_OCTETS: usize = 4096;

/// What a client has asked for.
struct Wanted {
    command: Command,
    host: StreamHost,
    port: u16,
    peer: Box<Peer>,
    /// What came behind the request.
    rest: Bytes,
}

/// Runs a WebSocket to its end.
pub(super) async fn serve(mut socket: Socket, guest: Guest, place: &Place, doorway: &Doorway, entrance: &Entrance) {
    let Guest { admission, client, phase } = guest;
    let entering = async {
        let wanted = negotiate(&mut socket, admission, client, entrance).await?;
        let share = entrance.hub.enter(wanted.peer.clone(), client).await.map_err(Ending::Farewell)?;
        Ok((wanted, share))
    };
    let entered = tokio::select! {
        entered = timeout(doorway.handshake_timeout(), entering) => entered.unwrap_or_else(|_| {
            Err(Ending::Farewell(plain(Farewell::new(CloseCode::Protocol, "no request in time"))))
        }),
        () = place.displaced() => return doorway.count(HandshakeResult::Displaced),
    };
    let (socket, ending) = match entered {
        Ok((wanted, share)) => {
            place.release();
            doorway.count(HandshakeResult::Accepted);
            run(socket, wanted, share, doorway, phase).await
        }
        Err(ending) => {
            doorway.count(match &ending {
                Ending::Farewell(farewell) => farewell.result(),
                Ending::Closed | Ending::Lost | Ending::Released => HandshakeResult::Gone,
            });
            (socket, ending)
        }
    };
    if let Ending::Farewell(told) = &ending {
        tracing::info!(%client, code = told.frame_code, reason = told.words, "a door is closed");
    }
    tokio::select! {
        () = socket.finish(ending, client) => {}
        () = place.displaced() => {}
    }
}

/// Up to the request.
async fn negotiate(
    socket: &mut Socket,
    admission: Admission,
    client: IpAddr,
    entrance: &Entrance,
) -> Result<Wanted, Ending> {
    let mut peer = match admission {
        Admission::Granted(peer) => Some(peer),
        Admission::Denied(refusal) => return Err(Ending::Farewell(refused(refusal))),
        Admission::ByHello(_) => None,
    };
    let mut negotiation = Negotiation::new(peer.is_some());
    let mut refusal = None;
    let mut octets = 0;
    loop {
        let step = match negotiation.step() {
            Step::Password { name, password } => {
                if peer.is_none() {
                    let credential = if password.is_empty() { name } else { password };
                    match entrance.gate.judge(&credential, client) {
                        Ok(proved) => peer = Some(Box::new(proved)),
                        Err(why) => refusal = Some(why),
                    }
                }
                negotiation.judge(peer.is_some())
            }
            step => step,
        };
        match step {
            Step::More => {
                let message = next_message(socket).await?;
                octets += message.len();
                if octets > FIRST_OCTETS {
                    return Err(protocol("more octets than a SOCKS request has"));
                }
                negotiation.receive(&message);
            }
            Step::Say(answer) => socket.send(answer).await.map_err(|_| Ending::Lost)?,
            Step::End(answer) => {
                if !answer.is_empty() {
                    socket.send(answer).await.map_err(|_| Ending::Lost)?;
                }
                return Err(refusal.map_or_else(
                    || protocol("not SOCKS version 5 with a method and a request that are known here"),
                    |refusal| Ending::Farewell(refused(refusal)),
                ));
            }
            Step::Request { command, host, port } => {
                let Some(peer) = peer.take() else {
                    return Err(Ending::Farewell(refused(Refusal::Missing)));
                };
                let rest = negotiation.into_rest();
                return Ok(Wanted { command, host, port, peer, rest });
            }
            // Judged above.
            Step::Password { .. } => {}
        }
    }
}

fn protocol(words: &'static str) -> Ending {
    Ending::Farewell(plain(Farewell::new(CloseCode::Protocol, words)))
}

/// Does what was asked for.
async fn run(
    mut socket: Socket,
    wanted: Wanted,
    share: Share,
    doorway: &Doorway,
    mut phase: watch::Receiver<Phase>,
) -> (Socket, Ending) {
    let patience = doorway.write_timeout();
    match wanted.command {
        Command::Connect => match pipe::connect(&share, wanted.host, wanted.port).await {
            Ok(remote) => {
                if socket.send(reply(Reply::Succeeded, remote.local_addr().ok())).await.is_err() {
                    return (socket, Ending::Lost);
                }
                pipe::carry(socket, remote, wanted.rest, share, patience, &mut phase).await
            }
            Err(error) => refuse(socket, error).await,
        },
        Command::UdpAssociate => {
            let Ok(bound) = datagrams::bind(&share) else { return refuse(socket, ConnectError::NoPorts).await };
            if socket.send(reply(Reply::Succeeded, None)).await.is_err() {
                return (socket, Ending::Lost);
            }
            let (sink, stream) = socket.split();
            datagrams::carry(sink, stream, &bound, &share, patience, &mut phase).await
        }
    }
}

async fn refuse(mut socket: Socket, error: ConnectError) -> (Socket, Ending) {
    // Whether it is heard or not, the close frame follows.
    let _ = socket.send(reply(Reply::from(error), None)).await;
    (socket, Ending::Farewell(tcp::refusal(error)))
}

//! `/tcp/HOST/PORT`: a WebSocket is a TCP connection, as websockify's clients expect it, emscripten's own sockets among them.

use super::carried::{Entrance, Guest, plain, refused};
use super::hub::Share;
use super::pipe;
use crate::dataplane::Peer;
use crate::io::auth::Refusal;
use crate::io::http::{Phase, Place};
use crate::io::metrics::HandshakeResult;
use crate::io::session::socket::{Ending, Socket};
use crate::io::session::{Admission, Doorway, Farewell};
use bytes::Bytes;
use std::net::IpAddr;
use tokio::sync::watch;
use webtun_stack::{ConnectError, StreamHost};
use webtun_wire::CloseCode;

/// Runs a WebSocket to its end.
pub(super) async fn serve(
    socket: Socket,
    target: Option<(StreamHost, u16)>,
    guest: Guest,
    place: &Place,
    doorway: &Doorway,
    entrance: &Entrance,
) {
    let Guest { admission, client, phase } = guest;
    let (socket, ending) = match enter(admission, target, client, entrance).await {
        Ok((share, host, port)) => {
            place.release();
            doorway.count(HandshakeResult::Accepted);
            run(socket, share, (host, port), doorway, phase).await
        }
        Err(farewell) => {
            doorway.count(farewell.result());
            (socket, Ending::Farewell(farewell))
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

async fn enter(
    admission: Admission,
    target: Option<(StreamHost, u16)>,
    client: IpAddr,
    entrance: &Entrance,
) -> Result<(Share, StreamHost, u16), Farewell> {
    let peer: Box<Peer> = match admission {
        Admission::Granted(peer) => peer,
        Admission::Denied(refusal) => return Err(refused(refusal)),
        Admission::ByHello(_) => return Err(refused(Refusal::Missing)),
    };
    let wrong = "the address is to be /tcp/HOST/PORT";
    let Some((host, port)) = target else { return Err(told(4400, wrong)) };
    Ok((entrance.hub.enter(peer, client).await?, host, port))
}

async fn run(
    socket: Socket,
    share: Share,
    (host, port): (StreamHost, u16),
    doorway: &Doorway,
    mut phase: watch::Receiver<Phase>,
) -> (Socket, Ending) {
    let remote = match pipe::connect(&share, host, port).await {
        Ok(remote) => remote,
        Err(error) => return (socket, Ending::Farewell(refusal(error))),
    };
    pipe::carry(socket, remote, Bytes::new(), share, doorway.write_timeout(), &mut phase).await
}

/// Why there is no connection. The codes end as those of HTTP that say the same.
pub(super) fn refusal(error: ConnectError) -> Farewell {
    use ConnectError as Error;
    let (frame_code, words) = match error {
        Error::Denied | Error::Unaddressable => (4403, "the gateway's policy does not allow this destination"),
        Error::NetUnreachable => (4403, "streams are forbidden here (policy.split)"),
        Error::NameNotFound => (4404, "the name has no address"),
        Error::Refused => (4502, "the destination refuses the connection"),
        Error::Aborted => (4502, "the destination has reset the connection"),
        Error::HostUnreachable | Error::AddressNotAvailable => (4502, "the destination cannot be reached"),
        Error::TimedOut => (4504, "the destination does not answer"),
        Error::LimitReached | Error::TooManySockets | Error::NoPorts | Error::NoBuffers => {
            (1013, "a limit of the gateway is reached")
        }
        Error::AddressLost | Error::TunnelClosed | Error::AddressInUse => (1011, "the session has ended"),
    };
    told(frame_code, words)
}

pub(super) fn told(frame_code: u16, words: &'static str) -> Farewell {
    Farewell { frame_code, words, ..plain(Farewell::new(CloseCode::Normal, words)) }
}

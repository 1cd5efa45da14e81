//! UDP ASSOCIATE: datagrams of one socket, each in a message.

use super::codec::{datagram, datagram_from};
use crate::io::doors::carried::plain;
use crate::io::doors::hub::Share;
use crate::io::http::{Phase, stopping};
use crate::io::session::Farewell;
use crate::io::session::socket::{Ending, Incoming, Sink, Socket, Stream, classify};
use bytes::Bytes;
use futures_util::{SinkExt, StreamExt};
use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::{MissedTickBehavior, interval, timeout};
use tokio_tungstenite::tungstenite::Message;
use webtun_stack::aio::UdpSocket;
use webtun_stack::{BindError, Family, StreamHost, UdpError, UdpOptions};
use webtun_wire::CloseCode;

/// How often the client is asked for a sign of life; it is given up after three times that.
const PING_INTERVAL: Duration = Duration::from_secs(15);
/// Names whose addresses are remembered; past it, all are asked for anew.
const MAX_NAMES: usize = 64;
/// How long a datagram waits for its name, and those behind it.
const NAME_PATIENCE: Duration = Duration::from_secs(5);

/// A socket for datagrams to anywhere.
pub(super) fn bind(share: &Share) -> Result<UdpSocket, BindError> {
    share.stack.udp_bind(SocketAddr::from((Ipv6Addr::UNSPECIFIED, 0)), UdpOptions::default())
}

/// Carries datagrams both ways until the WebSocket ends. What cannot be sent is lost, but for what policy forbids: there the
/// client is told, as at the other doors.
pub(super) async fn carry(
    mut sink: Sink,
    mut stream: Stream,
    bound: &UdpSocket,
    share: &Share,
    patience: Duration,
    phase: &mut watch::Receiver<Phase>,
) -> (Socket, Ending) {
    let ending = tokio::select! {
        ending = send(&mut stream, bound, share) => ending,
        ending = receive(&mut sink, bound, patience) => ending,
        () = stopping(phase) => {
            Ending::Farewell(plain(Farewell::new(CloseCode::Shutdown, "the gateway goes away")))
        }
    };
    (Socket::reunite(sink, stream), ending)
}

async fn send(stream: &mut Stream, bound: &UdpSocket, share: &Share) -> Ending {
    let mut names = BTreeMap::new();
    loop {
        let Ok(item) = timeout(3 * PING_INTERVAL, stream.next()).await else {
            return Ending::Farewell(Farewell::silent());
        };
        let message = match classify(item) {
            Incoming::Message(message) => message,
            Incoming::Nothing => continue,
            Incoming::End(Ending::Farewell(farewell)) => return Ending::Farewell(plain(farewell)),
            Incoming::End(ending) => return ending,
        };
        let Some((host, port, payload)) = datagram(message) else { continue };
        let Some(address) = address(host, share, &mut names).await else { continue };
        if is_own(address, share) {
            return denied();
        }
        if let Err(error) = bound.send_to(&payload, Some(SocketAddr::new(address, port))).await {
            match udp_error(&error) {
                Some(UdpError::Unaddressable) => return denied(),
                Some(UdpError::TunnelClosed) | None => return Ending::Lost,
                Some(_) => {}
            }
        }
    }
}

/// These would be the stack's own, and never get as far as the policy.
fn is_own(address: IpAddr, share: &Share) -> bool {
    let address = address.to_canonical();
    address.is_loopback() || share.stack.lease().is_some_and(|it| it.addresses.iter().any(|(own, _)| *own == address))
}

async fn address(host: StreamHost, share: &Share, names: &mut BTreeMap<String, IpAddr>) -> Option<IpAddr> {
    let name = match host {
        StreamHost::Address(address) => return Some(address),
        StreamHost::Name(name) => name,
    };
    if let Some(known) = names.get(&name) {
        return Some(*known);
    }
    let found = timeout(NAME_PATIENCE, share.stack.resolve(&name, Family::Any)).await.ok()?.ok()?;
    // Nothing tells whether datagrams arrive, so they go where most gateways get.
    let address = *found.iter().find(|it| it.is_ipv4()).or(found.first())?;
    if names.len() >= MAX_NAMES {
        names.clear();
    }
    names.insert(name, address);
    Some(address)
}

async fn receive(sink: &mut Sink, bound: &UdpSocket, patience: Duration) -> Ending {
    let mut pings = interval(PING_INTERVAL);
    pings.set_missed_tick_behavior(MissedTickBehavior::Delay);
    pings.reset();
    loop {
        let message = tokio::select! {
            received = bound.recv() => match received {
                Ok(datagram) => Message::Binary(datagram_from(datagram.from, &datagram.payload)),
                Err(error) => match udp_error(&error) {
                    Some(UdpError::Denied) => return denied(),
                    Some(UdpError::TunnelClosed) | None => return Ending::Lost,
                    Some(_) => continue,
                },
            },
            _ = pings.tick() => Message::Ping(Bytes::new()),
        };
        match timeout(patience, sink.send(message)).await {
            Ok(Ok(())) => {}
            Ok(Err(_)) | Err(_) => return Ending::Lost,
        }
    }
}

fn udp_error(error: &std::io::Error) -> Option<UdpError> {
    error.get_ref()?.downcast_ref().copied()
}

fn denied() -> Ending {
    Ending::Farewell(crate::io::doors::tcp::refusal(webtun_stack::ConnectError::Denied))
}

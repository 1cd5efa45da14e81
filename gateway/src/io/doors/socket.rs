//! One WebSocket at a door.

use super::address::{Address, AddressError};
use super::carried::Guest;
use super::framing::{Deframer, Framing, WrongFraming, messages};
use super::room::Command;
use super::rooms::{Doors, InRoom, NoEntry};
use crate::dataplane::Peer;
use crate::io::auth::Refusal;
use crate::io::http::{Phase, Place};
use crate::io::metrics::HandshakeResult;
use crate::io::session::socket::{Ending, Incoming, Item, Sink, Socket, Stream, classify};
use crate::io::session::{Admission, Doorway, Farewell};
use crate::io::stream::Stream as Carrier;
use bytes::{Bytes, BytesMut};
use futures_util::{SinkExt, StreamExt};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Semaphore, mpsc, watch};
use tokio::time::{MissedTickBehavior, interval, timeout};
use tokio_tungstenite::tungstenite::{Error, Message, Utf8Bytes};
use webtun_stack::bridge::PortId;
use webtun_wire::{CloseCode, MAX_MESSAGE_LEN};

/// How often the client is asked for a sign of life; it is given up after three times that.
const PING_INTERVAL: Duration = Duration::from_secs(15);
/// Messages of one WebSocket that are under way in its room.
const UNDER_WAY: usize = 2;

/// Runs a WebSocket to its end. `early` is what was read behind the request's head.
pub(in crate::io) async fn serve(
    stream: Carrier,
    early: Bytes,
    address: Result<Address, AddressError>,
    guest: Guest,
    place: &Place,
    doorway: &Doorway,
    doors: &Arc<Doors>,
) {
    let mut socket = Socket::new(stream, early, MAX_MESSAGE_LEN).await;
    let Guest { admission, client, phase } = guest;
    // Both outputs of the log escape what is no plain text: a malformed name can forge no line.
    let room = match &address {
        Ok(address) => address.room.clone().unwrap_or_default(),
        Err(error) => error.room().to_owned(),
    };
    let entered = match address {
        Ok(address) => enter(&address, admission, &socket, doors).await.map(|it| (it, address.framing)),
        Err(AddressError::Name(_)) => Err(refusal(NoEntry::Unknown)),
        Err(AddressError::Option(_)) => Err(refusal(NoEntry::Options)),
    };
    let ending = match entered {
        Ok((inside, framing)) => {
            place.release();
            doorway.count(HandshakeResult::Accepted);
            tracing::info!(room, ?framing, %client, "an emulator is connected");
            let ending;
            (socket, ending) = run(socket, inside, framing, doorway.write_timeout(), phase).await;
            if let Ending::Farewell(told) = &ending {
                tracing::info!(room, %client, code = told.frame_code, reason = told.words, "a door is closed");
            }
            ending
        }
        Err(farewell) => {
            doorway.count(farewell.result());
            tracing::info!(room, %client, code = farewell.frame_code, reason = farewell.words, "a door stays closed");
            Ending::Farewell(farewell)
        }
    };
    tokio::select! {
        () = socket.finish(ending, client) => {}
        () = place.displaced() => {}
    }
}

async fn enter(
    address: &Address,
    admission: Admission,
    socket: &Socket,
    doors: &Arc<Doors>,
) -> Result<InRoom, Farewell> {
    let peer: Box<Peer> = match admission {
        Admission::Granted(peer) => peer,
        Admission::Denied(refusal) => return Err(plain(Farewell::refusal(refusal))),
        Admission::ByHello(_) => match doors.returning(address) {
            Some(peer) => peer,
            None if address.ticket.is_some() => {
                let words = "the ticket is wrong, spent or too old";
                return Err(Farewell { words, ..plain(Farewell::refusal(Refusal::Wrong)) });
            }
            None => return Err(plain(Farewell::refusal(Refusal::Missing))),
        },
    };
    doors.enter(address, peer, socket.message_room()).await.map_err(refusal)
}

/// Emulators take messages for frames, and know no capsules.
fn plain(farewell: Farewell) -> Farewell {
    Farewell { message: None, ..farewell }
}

fn refusal(reason: NoEntry) -> Farewell {
    let (code, frame_code, words) = match reason {
        NoEntry::Options => (CloseCode::Protocol, 4400, "an option in the address is malformed or contradicts another"),
        NoEntry::OtherOptions => (CloseCode::Protocol, 4400, "the room is there, with other options"),
        NoEntry::Forbidden => (CloseCode::Unauthorized, 4403, "the room is not for this token's group"),
        NoEntry::Unknown => (CloseCode::UnknownSession, 4404, "there is no such room"),
        NoEntry::TooManyRooms => (CloseCode::Exhausted, 1013, "too many rooms are open"),
        NoEntry::Displaced => (CloseCode::Exhausted, 1013, "the room is full, and others have fewer places in it"),
        NoEntry::Full => (CloseCode::Exhausted, 1013, "the room is full"),
        NoEntry::Internal => (CloseCode::Internal, 1011, "a fault of the gateway"),
    };
    Farewell { frame_code, ..plain(Farewell::new(code, words)) }
}

fn protocol(frame_code: u16, words: &'static str) -> Ending {
    Ending::Farewell(Farewell { frame_code, ..plain(Farewell::new(CloseCode::Protocol, words)) })
}

/// Carries frames both ways until either side ends it.
async fn run(
    socket: Socket,
    inside: InRoom,
    framing: Framing,
    patience: Duration,
    mut phase: watch::Receiver<Phase>,
) -> (Socket, Ending) {
    let InRoom { commands, entered, mut stay } = inside;
    let (mut sink, mut stream) = socket.split();
    let (replies, texts) = mpsc::channel(1);
    let ending = tokio::select! {
        ending = read(&mut stream, framing, &commands, entered.port, &replies) => ending,
        ending = write(&mut sink, framing, entered.frames, texts, patience) => ending,
        () = stay.replaced() => {
            Ending::Farewell(plain(Farewell::new(
                CloseCode::Replaced,
                "another connection has come with the same ticket",
            )))
        }
        // An error means that the gateway has ended already.
        _ = phase.wait_for(|phase| *phase == Phase::Stopping) => {
            Ending::Farewell(plain(Farewell::new(CloseCode::Shutdown, "the gateway goes away")))
        }
    };
    // A room that has ended has forgotten the port.
    let _ = commands.send(Command::Leave { port: entered.port }).await;
    (Socket::reunite(sink, stream), ending)
}

/// Hands frames to the room. While it is behind, the WebSocket is not read, and TCP holds the client back.
async fn read(
    stream: &mut Stream,
    framing: Framing,
    commands: &mpsc::Sender<Command>,
    port: PortId,
    replies: &mpsc::Sender<Utf8Bytes>,
) -> Ending {
    let turns = Arc::new(Semaphore::new(UNDER_WAY));
    let mut deframer = Deframer::new(framing);
    loop {
        let turn = Arc::clone(&turns).acquire_owned().await.expect("nobody closes it");
        let frames = match next_frames(stream, &mut deframer, replies).await {
            Ok(frames) => frames,
            Err(ending) => return ending,
        };
        if commands.send(Command::Frames { port, frames, turn }).await.is_err() {
            return Ending::Lost;
        }
    }
}

/// The frames of the next message that completes any.
async fn next_frames(
    stream: &mut Stream,
    deframer: &mut Deframer,
    replies: &mpsc::Sender<Utf8Bytes>,
) -> Result<Vec<Bytes>, Ending> {
    loop {
        let Ok(item) = timeout(3 * PING_INTERVAL, stream.next()).await else {
            return Err(Ending::Farewell(Farewell::silent()));
        };
        match sort(item)? {
            Some(Message::Binary(message)) => {
                let frames = deframer.take(message).map_err(|WrongFraming(words)| protocol(1002, words))?;
                if !frames.is_empty() {
                    return Ok(frames);
                }
            }
            Some(Message::Text(text)) => answer_text(&text, replies)?,
            _ => {}
        }
    }
}

fn sort(item: Option<Item>) -> Result<Option<Message>, Ending> {
    match item {
        Some(Ok(message @ (Message::Binary(_) | Message::Text(_)))) => Ok(Some(message)),
        other => match classify(other) {
            Incoming::End(Ending::Farewell(told)) => Err(Ending::Farewell(plain(told))),
            Incoming::End(ending) => Err(ending),
            Incoming::Message(_) | Incoming::Nothing => Ok(None),
        },
    }
}

/// The keep-alive of TinyEMU's relays: `ping:X` is answered by `pong:X`.
fn answer_text(text: &str, replies: &mpsc::Sender<Utf8Bytes>) -> Result<(), Ending> {
    match text.strip_prefix("ping:") {
        // Who asks faster than it reads gets fewer answers.
        Some(rest) if rest.len() < 128 => drop(replies.try_send(format!("pong:{rest}").into())),
        _ if text.starts_with("pong:") => {}
        _ => return Err(protocol(1003, "of text, only ping: and pong: have a meaning here")),
    }
    Ok(())
}

/// Sends what the room has for the emulator. One that does not take it within `patience` counts as lost.
async fn write(
    sink: &mut Sink,
    framing: Framing,
    mut frames: mpsc::Receiver<Vec<BytesMut>>,
    mut texts: mpsc::Receiver<Utf8Bytes>,
    patience: Duration,
) -> Ending {
    let mut pings = interval(PING_INTERVAL);
    pings.set_missed_tick_behavior(MissedTickBehavior::Delay);
    pings.reset();
    loop {
        let batch = tokio::select! {
            frames = frames.recv() => match frames {
                Some(frames) => messages(framing, frames).into_iter().map(Message::Binary).collect(),
                // A room lasts as long as it has ports.
                None => return Ending::Farewell(refusal(NoEntry::Displaced)),
            },
            Some(text) = texts.recv() => vec![Message::Text(text)],
            _ = pings.tick() => vec![Message::Ping(Bytes::new())],
        };
        match timeout(patience, send_all(sink, batch)).await {
            Ok(Ok(())) => {}
            Ok(Err(_)) => return Ending::Lost,
            Err(_) => {
                tracing::info!("an emulator reads too slowly and is disconnected");
                return Ending::Lost;
            }
        }
    }
}

async fn send_all(sink: &mut Sink, messages: Vec<Message>) -> Result<(), Error> {
    for message in messages {
        sink.feed(message).await?;
    }
    sink.flush().await
}

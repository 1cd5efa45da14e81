use super::Farewell;
use crate::io::pace::MessageRoom;
use crate::io::stream::Stream as Carrier;
use bytes::Bytes;
use futures_util::stream::{SplitSink, SplitStream};
use futures_util::{SinkExt, StreamExt};
use std::net::IpAddr;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::error::ProtocolError;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode as FrameCode;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, Role, WebSocketConfig};
use tokio_tungstenite::tungstenite::{Error, Message};
use webtun_wire::{CloseCode, MAX_MESSAGE_LEN};

/// How long saying goodbye may take.
const GOODBYE: Duration = Duration::from_secs(2);
/// How long a goodbye may take where others wait for the place.
const BRIEFLY: Duration = Duration::from_millis(100);
/// How many octets of a client that has been refused are read, so that the refusal is not lost to a reset.
const LAST_WORDS: u64 = 4 << 20;

pub(in crate::io) type Item = Result<Message, Error>;
pub(in crate::io) type Sink = SplitSink<WebSocketStream<Carrier>, Message>;
pub(in crate::io) type Stream = SplitStream<WebSocketStream<Carrier>>;

/// How a WebSocket ends.
#[derive(Debug)]
pub(in crate::io) enum Ending {
    /// The client is told why.
    Farewell(Farewell),
    /// The client has closed it.
    Closed,
    /// The connection is broken, or takes nothing any more.
    Lost,
    /// The driver has let go of it.
    Released,
}

/// What the next frame is for us.
pub(in crate::io) enum Incoming {
    Message(Bytes),
    /// A ping or pong, which the codec handles.
    Nothing,
    End(Ending),
}

pub(in crate::io) fn classify(item: Option<Item>) -> Incoming {
    let refuse = |code, frame_code, words| {
        Incoming::End(Ending::Farewell(Farewell { frame_code, ..Farewell::new(code, words) }))
    };
    match item {
        Some(Ok(Message::Binary(message))) => Incoming::Message(message),
        Some(Ok(Message::Ping(_) | Message::Pong(_) | Message::Frame(_))) => Incoming::Nothing,
        Some(Ok(Message::Text(_))) => refuse(CloseCode::Protocol, 1003, "text messages have no meaning here"),
        Some(Ok(Message::Close(_))) => Incoming::End(Ending::Closed),
        Some(Err(Error::Capacity(_))) => refuse(CloseCode::Protocol, 1009, "a message may have 1 MiB at most"),
        // A connection that was cut: its session comes back.
        Some(Err(Error::Protocol(ProtocolError::ResetWithoutClosingHandshake))) => Incoming::End(Ending::Lost),
        Some(Err(Error::Protocol(_) | Error::Utf8(_))) => refuse(CloseCode::Protocol, 1002, "not a WebSocket frame"),
        Some(Err(_)) | None => Incoming::End(Ending::Lost),
    }
}

/// A WebSocket without compression: packets are mostly compressed or encrypted already.
pub(in crate::io) struct Socket(WebSocketStream<Carrier>);

impl Socket {
    pub(in crate::io) async fn new(stream: Carrier, early: Bytes) -> Self {
        let config =
            WebSocketConfig::default().max_message_size(Some(MAX_MESSAGE_LEN)).max_frame_size(Some(MAX_MESSAGE_LEN));
        let early = early.to_vec();
        Self(WebSocketStream::from_partially_read(stream, early, Role::Server, Some(config)).await)
    }

    /// See [`Carrier::ration`].
    pub(in crate::io) fn ration(&mut self, octets: Option<usize>) {
        self.0.get_mut().ration(octets);
    }

    pub(in crate::io) fn split(self) -> (Sink, Stream) {
        self.0.split()
    }

    pub(in crate::io) fn reunite(sink: Sink, stream: Stream) -> Self {
        Self(stream.reunite(sink).expect("both halves are of one socket"))
    }

    /// How long it wants messages to be.
    pub(in crate::io) fn message_room(&self) -> MessageRoom {
        self.0.get_ref().message_room()
    }

    /// The WebSocket itself.
    pub(in crate::io) fn inner(&mut self) -> &mut WebSocketStream<Carrier> {
        &mut self.0
    }

    /// Sends a message, and waits until it is gone.
    pub(in crate::io) async fn send(&mut self, message: Bytes) -> Result<(), Error> {
        self.0.send(Message::Binary(message)).await
    }

    pub(in crate::io) async fn next(&mut self) -> Incoming {
        classify(self.0.next().await)
    }

    /// Sends what the driver had queued before it said goodbye.
    pub(in crate::io) async fn flush_queued(&mut self, outgoing: &mut mpsc::Receiver<Bytes>) {
        while let Ok(message) = outgoing.try_recv() {
            if !matches!(timeout(GOODBYE, self.0.send(Message::Binary(message))).await, Ok(Ok(()))) {
                return;
            }
        }
    }

    /// Says goodbye where that makes sense, and closes.
    pub(in crate::io) async fn finish(mut self, ending: Ending, client: IpAddr) {
        match ending {
            Ending::Farewell(farewell) => {
                tracing::debug!(%client, code = ?farewell.code, words = farewell.words, "a WebSocket is closed");
                let _ = timeout(GOODBYE, self.say(farewell)).await;
                let _ = timeout(GOODBYE, listen_out(self.0.into_inner())).await;
            }
            Ending::Closed => {
                // Sends the answer to the client's close frame, which the codec has prepared.
                let _ = timeout(GOODBYE, self.0.close(None)).await;
                let _ = timeout(GOODBYE, self.0.into_inner().shutdown()).await;
            }
            Ending::Lost | Ending::Released => tracing::debug!(%client, "a WebSocket is lost"),
        }
    }

    /// Says goodbye without making sure that it is heard: for when time and room are short.
    pub(in crate::io) async fn dismiss(mut self, farewell: Farewell) {
        let _ = timeout(BRIEFLY, self.say(farewell)).await;
    }

    async fn say(&mut self, farewell: Farewell) -> Result<(), Error> {
        if let Some(message) = farewell.message {
            self.0.send(Message::Binary(message)).await?;
        }
        let frame = CloseFrame { code: FrameCode::from(farewell.frame_code), reason: farewell.words.into() };
        self.0.close(Some(frame)).await
    }
}

/// Closes our direction and reads the other to its end: closing with unread octets would reset the connection, and the
/// client might never see the close frame.
async fn listen_out(mut stream: Carrier) -> std::io::Result<()> {
    stream.ration(None);
    stream.shutdown().await?;
    tokio::io::copy(&mut stream.take(LAST_WORDS), &mut tokio::io::sink()).await.map(drop)
}

/// Sends the driver's messages. A client that does not take one within `patience` counts as lost.
pub(in crate::io) async fn write(sink: &mut Sink, outgoing: &mut mpsc::Receiver<Bytes>, patience: Duration) -> Ending {
    while let Some(message) = outgoing.recv().await {
        match timeout(patience, sink.send(Message::Binary(message))).await {
            Ok(Ok(())) => {}
            Ok(Err(_)) => return Ending::Lost,
            Err(_) => {
                tracing::info!("a client reads too slowly and is disconnected");
                return Ending::Lost;
            }
        }
    }
    Ending::Released
}

use super::Farewell;
use super::frames::{FrameReader, Part};
use crate::dataplane::Gather;
use crate::io::pace::MessageRoom;
use crate::io::stream::Stream as Carrier;
use bytes::Bytes;
use futures_util::stream::{SplitSink, SplitStream};
use futures_util::{SinkExt, StreamExt};
use std::iter;
use std::net::IpAddr;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::error::{CapacityError, ProtocolError};
use tokio_tungstenite::tungstenite::protocol::frame::FrameHeader;
use tokio_tungstenite::tungstenite::protocol::frame::coding::{CloseCode as FrameCode, Data, OpCode};
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, Role, WebSocketConfig};
use tokio_tungstenite::tungstenite::{Error, Message};
use webtun_wire::CloseCode;

/// How long saying goodbye may take.
const GOODBYE: Duration = Duration::from_secs(2);
/// How long a goodbye may take where others wait for the place.
const BRIEFLY: Duration = Duration::from_millis(100);
/// How many octets of a client that has been refused are read, so that the refusal is not lost to a reset.
const LAST_WORDS: u64 = 4 << 20;

/// Octets that the codec clears each time before it reads: a control frame has 131.
const CONTROL_LEN: usize = 256;

/// Octets in the longest message of clients that put in one whatever they have, however much that is.
pub(in crate::io) const LONG_MESSAGE_LEN: usize = 32 << 20;

pub(in crate::io) type Item = Result<Message, Error>;
/// `I`: [`Message`], or [`Gather`] for what a driver sends.
pub(in crate::io) type Sink<I = Message> = SplitSink<Socket, I>;
pub(in crate::io) type Stream = SplitStream<Socket>;

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
        Some(Err(Error::Capacity(CapacityError::MessageTooLong { max_size: LONG_MESSAGE_LEN, .. }))) => {
            refuse(CloseCode::Protocol, 1009, "a message may have 32 MiB at most")
        }
        Some(Err(Error::Capacity(_))) => refuse(CloseCode::Protocol, 1009, "a message may have 1 MiB at most"),
        // A connection that was cut: its session comes back.
        Some(Err(Error::Protocol(ProtocolError::ResetWithoutClosingHandshake))) => Incoming::End(Ending::Lost),
        Some(Err(Error::Protocol(_) | Error::Utf8(_))) => refuse(CloseCode::Protocol, 1002, "not a WebSocket frame"),
        Some(Err(_)) | None => Incoming::End(Ending::Lost),
    }
}

/// A WebSocket without compression: packets are mostly compressed or encrypted already.
///
/// As a sink it writes long messages to the connection as they are, behind a header. The codec would copy them, and move
/// what is left of them each time when the connection takes a part.
///
/// What comes is taken apart by [`FrameReader`]; the codec reads the control frames, and answers them.
pub(in crate::io) struct Socket {
    codec: WebSocketStream<Carrier>,
    frames: FrameReader,
    /// The codec may hold octets that were not written yet.
    has_buffered: bool,
}

impl Socket {
    /// Over a carrier of which `early` has been read. A message of more than `longest` octets is an error.
    pub(in crate::io) async fn new(mut stream: Carrier, early: Bytes, longest: usize) -> Self {
        stream.set_fed(true);
        let config = WebSocketConfig::default().read_buffer_size(CONTROL_LEN);
        let codec = WebSocketStream::from_raw_socket(stream, Role::Server, Some(config)).await;
        Self { codec, frames: FrameReader::new(&early, longest), has_buffered: false }
    }

    /// See [`Carrier::ration`].
    pub(in crate::io) fn ration(&mut self, octets: Option<usize>) {
        self.codec.get_mut().ration(octets);
    }

    pub(in crate::io) fn split<I>(self) -> (Sink<I>, Stream)
    where
        Self: futures_util::Sink<I>,
    {
        StreamExt::split(self)
    }

    pub(in crate::io) fn reunite<I>(sink: Sink<I>, stream: Stream) -> Self
    where
        Self: futures_util::Sink<I>,
    {
        let Ok(socket) = stream.reunite(sink) else { unreachable!("both halves are of one socket") };
        socket
    }

    fn poll_fill(&mut self, context: &mut Context<'_>) -> Poll<Result<usize, Error>> {
        let count = ready!(self.codec.get_mut().poll_carrier(context, &mut self.frames.room()))?;
        self.frames.filled(count);
        Poll::Ready(Ok(count))
    }

    /// How long it wants messages to be.
    pub(in crate::io) fn message_room(&self) -> MessageRoom {
        self.codec.get_ref().message_room()
    }

    /// Sends a message, and waits until it is gone.
    pub(in crate::io) async fn send(&mut self, message: Bytes) -> Result<(), Error> {
        SinkExt::<Gather>::send(self, message.into()).await
    }

    pub(in crate::io) async fn next(&mut self) -> Incoming {
        classify(StreamExt::next(self).await)
    }

    /// Sends what the driver had queued before it said goodbye.
    pub(in crate::io) async fn flush_queued(&mut self, outgoing: &mut mpsc::Receiver<Gather>) {
        while let Ok(message) = outgoing.try_recv() {
            if !matches!(timeout(GOODBYE, SinkExt::send(self, message)).await, Ok(Ok(()))) {
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
                let _ = timeout(GOODBYE, listen_out(self.codec.into_inner())).await;
            }
            Ending::Closed => {
                // Sends the answer to the client's close frame, which the codec has prepared.
                let _ = timeout(GOODBYE, self.codec.close(None)).await;
                let _ = timeout(GOODBYE, self.codec.into_inner().shutdown()).await;
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
            self.send(message).await?;
        }
        let frame = CloseFrame { code: FrameCode::from(farewell.frame_code), reason: farewell.words.into() };
        self.codec.close(Some(frame)).await
    }
}

/// From this length on a message goes without a copy; of shorter ones several go at once.
const LONG: usize = 16 * 1024;
/// RFC 6455 section 5.2, without a mask.
const LONGEST_HEADER: usize = 10;

impl futures_util::Stream for Socket {
    type Item = Item;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Item>> {
        loop {
            // Also where nothing new is fed to it, since it may have an answer to send.
            if let Poll::Ready(item) = self.codec.poll_next_unpin(context) {
                return Poll::Ready(item);
            }
            match self.frames.poll() {
                Ok(Some(Part::Message(message))) => return Poll::Ready(Some(Ok(message))),
                Ok(Some(Part::Control(frame))) => self.codec.get_mut().feed(&frame),
                Ok(None) => {
                    if ready!(self.poll_fill(context))? == 0 {
                        self.codec.get_mut().feed(&[]);
                    }
                }
                Err(error) => return Poll::Ready(Some(Err(error))),
            }
        }
    }
}

impl futures_util::Sink<Gather> for Socket {
    type Error = Error;

    fn poll_ready(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Result<(), Error>> {
        ready!(self.codec.get_mut().poll_ahead(context))?;
        self.codec.poll_ready_unpin(context)
    }

    fn start_send(mut self: Pin<&mut Self>, message: Gather) -> Result<(), Error> {
        if message.len() < LONG || self.has_buffered || !self.codec.get_ref().takes_ahead() {
            self.has_buffered = true;
            return self.codec.start_send_unpin(Message::Binary(message.into_bytes()));
        }
        let header = FrameHeader { opcode: OpCode::Data(Data::Binary), ..FrameHeader::default() };
        let mut head = Vec::with_capacity(LONGEST_HEADER);
        header.format(message.len() as u64, &mut head)?;
        self.codec.get_mut().put_ahead(iter::once(head.into()).chain(message.into_parts()));
        Ok(())
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Result<(), Error>> {
        ready!(self.codec.poll_flush_unpin(context))?;
        self.has_buffered = false;
        Poll::Ready(Ok(()))
    }

    fn poll_close(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Result<(), Error>> {
        self.codec.poll_close_unpin(context)
    }
}

impl futures_util::Sink<Message> for Socket {
    type Error = Error;

    fn poll_ready(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Result<(), Error>> {
        futures_util::Sink::<Gather>::poll_ready(self, context)
    }

    fn start_send(mut self: Pin<&mut Self>, message: Message) -> Result<(), Error> {
        if let Message::Binary(body) = message {
            return futures_util::Sink::<Gather>::start_send(self, body.into());
        }
        self.has_buffered = true;
        self.codec.start_send_unpin(message)
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Result<(), Error>> {
        futures_util::Sink::<Gather>::poll_flush(self, context)
    }

    fn poll_close(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Result<(), Error>> {
        futures_util::Sink::<Gather>::poll_close(self, context)
    }
}

/// Closes our direction and reads the other to its end: closing with unread octets would reset the connection, and the
/// client might never see the close frame.
async fn listen_out(mut stream: Carrier) -> std::io::Result<()> {
    stream.ration(None);
    stream.set_fed(false);
    stream.shutdown().await?;
    tokio::io::copy(&mut stream.take(LAST_WORDS), &mut tokio::io::sink()).await.map(drop)
}

/// Sends the driver's messages. A client that does not take one within `patience` counts as lost.
pub(in crate::io) async fn write(
    sink: &mut Sink<Gather>,
    outgoing: &mut mpsc::Receiver<Gather>,
    patience: Duration,
) -> Ending {
    while let Some(message) = outgoing.recv().await {
        match timeout(patience, sink.send(message)).await {
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::io::pace::PacedStream;
    use tokio::net::{TcpListener, TcpStream};

    /// Both ends of a WebSocket over loopback; the server's kernel holds little of what it sends.
    async fn connected() -> (Socket, WebSocketStream<TcpStream>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let client = TcpStream::connect(listener.local_addr().expect("bound")).await.expect("it listens");
        let (server, _) = listener.accept().await.expect("a connection");
        socket2::SockRef::from(&server).set_send_buffer_size(16 * 1024).expect("an option");
        let server = Socket::new(PacedStream::new(server).into(), Bytes::new(), LONG_MESSAGE_LEN).await;
        (server, WebSocketStream::from_raw_socket(client, Role::Client, None).await)
    }

    /// Long ones and short ones in turn, of all lengths around where they begin to be long.
    fn messages() -> impl Iterator<Item = Bytes> {
        let lengths = (0..300).map(|index: usize| match index % 5 {
            0 => 200_000 + index,
            1 => LONG - 1,
            2 => LONG + index,
            _ => index,
        });
        lengths.enumerate().map(|(index, len)| (0..len).map(|at| (index * 31 + at) as u8).collect())
    }

    /// The same in so many parts, and what is left.
    fn in_parts(mut message: Bytes, count: usize) -> Gather {
        let len = message.len() / (count + 1);
        let parts: Vec<_> = (0..count).map(|_| message.split_to(len)).collect();
        parts.into_iter().chain([message]).collect()
    }

    #[tokio::test]
    async fn messages_of_all_lengths_stay_in_order_between_pongs() {
        let (server, client) = connected().await;
        let ((mut sink, mut stream), (mut pings, mut seen)) = (server.split(), client.split());
        let reading = tokio::spawn(async move { while let Some(Ok(_)) = stream.next().await {} });
        let pinging = tokio::spawn(async move {
            for count in 0..2000_u32 {
                pings.send(Message::Ping(count.to_be_bytes().to_vec().into())).await.expect("it reads");
                tokio::task::yield_now().await;
            }
            pings
        });
        let sending = tokio::spawn(async move {
            for (index, message) in messages().enumerate() {
                // Some together, some one by one.
                sink.feed(in_parts(message, index % 50)).await.expect("it reads");
                if index % 3 == 0 {
                    sink.flush().await.expect("it reads");
                }
            }
            sink.flush().await.expect("it reads");
            sink
        });
        let (mut expected, mut last_pong) = (messages(), None);
        while last_pong != Some(1999) || expected.size_hint().0 > 0 {
            match seen.next().await.expect("open").expect("whole frames") {
                Message::Binary(message) => assert_eq!(Some(message), expected.next()),
                Message::Pong(pong) => {
                    let pong = u32::from_be_bytes(pong[..].try_into().expect("ours"));
                    assert!(last_pong < Some(pong), "a pong is late");
                    last_pong = Some(pong);
                }
                other => panic!("{other:?}"),
            }
        }
        drop((sending.await.expect("no panic"), pinging.await.expect("no panic")));
        reading.abort();
    }
}

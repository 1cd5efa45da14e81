//! One WebSocket: its handshake, and then the loop between it, the relay and the session.

use super::handshake::{self, Answer, CHALLENGE_LEN, Offer};
use super::packet::{self, Packet};
use super::relay::Relay;
use super::{credit, reason};
use crate::dataplane::Peer;
use crate::io::auth::{Gate, Refusal};
use crate::io::doors::carried::{Entrance, Guest, next_message, plain, refused};
use crate::io::doors::line::{Line, Opener};
use crate::io::driver::Clock;
use crate::io::http::{Phase, Place, stopping};
use crate::io::metrics::HandshakeResult;
use crate::io::session::socket::{Ending, Incoming, Socket, classify};
use crate::io::session::{Admission, Doorway, Farewell};
use bytes::Bytes;
use futures_util::{Sink, SinkExt, Stream, StreamExt};
use std::future::poll_fn;
use std::net::IpAddr;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::{Instant, Interval, MissedTickBehavior, Sleep, interval, sleep, timeout};
use tokio_tungstenite::tungstenite::Message;
use webtun_stack::{Splitting, Stack, StackConfig, Status};
use webtun_wire::{CloseCode, MAX_MESSAGE_LEN};

/// How often the client is asked for a sign of life; it is given up after three times that.
const PING_INTERVAL: Duration = Duration::from_secs(15);
/// Octets that wait in the stack of one connection for the driver.
const STREAM_BUFFER: usize = 512 * 1024;
/// Turns before other tasks get the thread, and messages in each.
const TURNS: usize = 8;
const MESSAGES_PER_TURN: usize = 8;

/// Runs a WebSocket to its end.
pub(in crate::io::doors) async fn serve(
    mut socket: Socket,
    guest: Guest,
    is_second_version: bool,
    place: &Place,
    doorway: &Doorway,
    entrance: &Entrance,
) {
    let Guest { admission, client, mut phase } = guest;
    let room = socket.message_room();
    // The long messages are for who has been let in.
    socket.ration(Some(MAX_MESSAGE_LEN));
    let entering = async {
        let (peer, confirms) = if is_second_version {
            greet(&mut socket, admission, client, entrance).await?
        } else {
            (enter_first_version(&mut socket, admission).await?, false)
        };
        let (opener, mut refused) = Opener::new(entrance.shards.clone(), peer, room);
        let established = establish(opener, entrance.clock).await;
        let told = |ending| refused.try_recv().map_or(ending, |farewell| Ending::Farewell(plain(farewell)));
        let (stack, line) = established.map_err(told)?;
        Ok((Relay::new(stack, confirms), line))
    };
    let entered = tokio::select! {
        entered = timeout(doorway.handshake_timeout(), entering) => entered.unwrap_or_else(|_| {
            doorway.count(HandshakeResult::Timeout);
            Err(Ending::Farewell(plain(Farewell::new(CloseCode::Protocol, "no handshake in time"))))
        }),
        () = place.displaced() => return doorway.count(HandshakeResult::Displaced),
    };
    let ending = match entered {
        Ok((relay, line)) => {
            socket.ration(None);
            place.release();
            doorway.count(HandshakeResult::Accepted);
            tracing::info!(%client, second_version = is_second_version, "a Wisp client is connected");
            let mut run = Run::new(socket, relay, line, entrance.clock, doorway.write_timeout());
            let ending = tokio::select! {
                ending = run.until_the_end() => ending,
                () = stopping(&mut phase) => {
                    Ending::Farewell(plain(Farewell::new(CloseCode::Shutdown, "the gateway goes away")))
                }
            };
            let Run { socket: open, relay, line, .. } = run;
            tokio::spawn(linger(relay, line, entrance.clock, phase));
            socket = open;
            ending
        }
        Err(ending) => {
            if let Ending::Farewell(farewell) = &ending {
                doorway.count(farewell.result());
                tracing::info!(%client, code = farewell.frame_code, reason = farewell.words, "a door stays closed");
            }
            ending
        }
    };
    tokio::select! {
        () = socket.finish(ending, client) => {}
        () = place.displaced() => {}
    }
}

/// The first version has no credentials.
async fn enter_first_version(socket: &mut Socket, admission: Admission) -> Result<Box<Peer>, Ending> {
    let peer = match admission {
        Admission::Granted(peer) => peer,
        Admission::Denied(refusal) => return Err(turn_away(socket, reason::WRONG_PASSWORD, refusal).await),
        Admission::ByHello(_) => {
            return Err(turn_away(socket, reason::CREDENTIALS_NEEDED, Refusal::Missing).await);
        }
    };
    Ok(peer)
}

/// INFO of both sides.
async fn greet(
    socket: &mut Socket,
    admission: Admission,
    client: IpAddr,
    entrance: &Entrance,
) -> Result<(Box<Peer>, bool), Ending> {
    if let Admission::Denied(refusal) = admission {
        return Err(turn_away(socket, reason::WRONG_PASSWORD, refusal).await);
    }
    let is_required = matches!(admission, Admission::ByHello(_));
    let mut challenge = [0; CHALLENGE_LEN];
    let internal = || Ending::Farewell(plain(Farewell::new(CloseCode::Internal, "there is no randomness")));
    getrandom::fill(&mut challenge).map_err(|_| internal())?;
    let challenge = (is_required && entrance.gate.knows_keys()).then_some(challenge);
    let offer = Offer { is_required, challenge, motd: entrance.settings.motd.clone() };
    socket.send(offer.info()).await.map_err(|_| Ending::Lost)?;
    let message = next_message(socket).await?;
    let answer = match packet::parse(message) {
        Ok((0, Packet::Info(payload))) => handshake::read(payload),
        Ok((0, Packet::Close(_))) => return Err(Ending::Closed),
        // Who has nothing to say of itself may have taken us for the first version.
        Ok(_) | Err(_) => Err(reason::INCOMPATIBLE),
    };
    let answer = match answer {
        Ok(answer) => answer,
        Err(reason) => {
            let words = "the client's INFO makes no sense";
            let _ = socket.send(packet::close(0, reason)).await;
            return Err(Ending::Farewell(plain(Farewell::new(CloseCode::Protocol, words))));
        }
    };
    let peer = match admission {
        Admission::Granted(peer) => peer,
        _ => match identify(&answer, challenge.as_ref(), client, &entrance.gate) {
            Ok(peer) => Box::new(peer),
            Err((reason, refusal)) => return Err(turn_away(socket, reason, refusal).await),
        },
    };
    Ok((peer, answer.confirms))
}

/// Who the client proves to be.
fn identify(
    answer: &Answer,
    challenge: Option<&[u8; CHALLENGE_LEN]>,
    client: IpAddr,
    gate: &Gate,
) -> Result<Peer, (u8, Refusal)> {
    if let (Some(signature), Some(challenge)) = (&answer.signature, challenge) {
        let signed = gate.judge_signature(&signature.key, challenge, &signature.signature, client);
        return signed.map_err(|refusal| (reason::WRONG_SIGNATURE, refusal));
    }
    let password = answer.password.as_deref().unwrap_or_default();
    gate.judge(password, client).map_err(|refusal| match refusal {
        Refusal::Missing => (reason::CREDENTIALS_NEEDED, refusal),
        Refusal::Wrong | Refusal::Failures(_) => (reason::WRONG_PASSWORD, refusal),
    })
}

async fn turn_away(socket: &mut Socket, reason: u8, refusal: Refusal) -> Ending {
    // Whether it is heard or not, the close frame follows.
    let _ = socket.send(packet::close(0, reason)).await;
    Ending::Farewell(refused(refusal))
}

/// Opens the session.
async fn establish(opener: Opener, clock: Clock) -> Result<(Stack, Line), Ending> {
    let end = |code, words| Ending::Farewell(plain(Farewell::new(code, words)));
    let mut seed = [0; 32];
    getrandom::fill(&mut seed).map_err(|_| end(CloseCode::Internal, "there is no randomness"))?;
    let config = StackConfig { stream_buffer: STREAM_BUFFER, ..StackConfig::new(seed) };
    let mut stack = Stack::new(config, clock.now());
    let mut line = Line::new(opener);
    stack.handle_connected(clock.now());
    loop {
        while let Some(message) = stack.poll_transmit(clock.now()) {
            line.send(message).await.map_err(|_| end(CloseCode::Internal, "the session has ended"))?;
        }
        match stack.status() {
            Status::Closed { code, .. } => return Err(Ending::Farewell(plain(Farewell::from_gateway(*code, None)))),
            Status::Connected { .. } if stack.splitting() == Splitting::Unavailable => {
                return Err(end(CloseCode::Unauthorized, "streams are forbidden here (policy.split)"));
            }
            Status::Connected { .. } => return Ok((stack, line)),
            _ => {}
        }
        match line.next().await {
            Some(Ok(message)) => stack.handle_message(&message, clock.now()),
            Some(Err(_)) | None => return Err(end(CloseCode::Internal, "the session has ended")),
        }
    }
}

/// The loop. Reading never waits for writing, but by the relay's word.
struct Run {
    socket: Socket,
    relay: Relay,
    line: Line,
    clock: Clock,
    timer: Pin<Box<Sleep>>,
    timer_at: Option<webtun_wire::Instant>,
    pings: Interval,
    heard: Instant,
    must_flush: bool,
    /// When a client is given up that does not take what it was sent.
    patience: Duration,
    stuck: Option<Pin<Box<Sleep>>>,
}

impl Run {
    fn new(socket: Socket, relay: Relay, line: Line, clock: Clock, patience: Duration) -> Self {
        let mut pings = interval(PING_INTERVAL);
        pings.set_missed_tick_behavior(MissedTickBehavior::Delay);
        pings.reset();
        let timer = Box::pin(sleep(Duration::ZERO));
        let (heard, must_flush) = (Instant::now(), false);
        Self { socket, relay, line, clock, timer, timer_at: None, pings, heard, must_flush, patience, stuck: None }
    }

    async fn until_the_end(&mut self) -> Ending {
        if self.socket.send(packet::r#continue(0, credit::FIRST)).await.is_err() {
            return Ending::Lost;
        }
        poll_fn(|context| self.poll(context)).await
    }

    fn poll(&mut self, context: &mut Context<'_>) -> Poll<Ending> {
        for _ in 0..TURNS {
            // What is written makes room for the session's next message, which nobody else would look for.
            let written = self.poll_write(context);
            let session = self.poll_session(context);
            let client = self.poll_client(context);
            let mut progress =
                poll_relay_timer(&mut self.relay, &mut self.timer, &mut self.timer_at, self.clock, context);
            for step in [written, session, client] {
                match step {
                    Ok(moved) => progress |= moved,
                    Err(ending) => return Poll::Ready(ending),
                }
            }
            progress |= poll_transmit(&mut self.relay, &mut self.line, self.clock, context);
            if !progress {
                return Poll::Pending;
            }
        }
        context.waker().wake_by_ref();
        Poll::Pending
    }

    /// The session's next message, where nothing of the last one is left.
    fn poll_session(&mut self, context: &mut Context<'_>) -> Result<bool, Ending> {
        if self.relay.has_frames() {
            return Ok(false);
        }
        match Pin::new(&mut self.line).poll_next(context) {
            Poll::Pending => Ok(false),
            Poll::Ready(Some(Ok(message))) => {
                self.relay.handle_message(&message, self.clock.now());
                match self.relay.status() {
                    Status::Closed { code, .. } => Err(Ending::Farewell(plain(Farewell::from_gateway(*code, None)))),
                    _ => Ok(true),
                }
            }
            Poll::Ready(Some(Err(_)) | None) => {
                self.relay.handle_disconnected(self.clock.now());
                Err(Ending::Farewell(plain(Farewell::from_gateway(CloseCode::Internal, None))))
            }
        }
    }

    fn poll_client(&mut self, context: &mut Context<'_>) -> Result<bool, Ending> {
        if self.pings.poll_tick(context).is_ready() {
            if self.heard.elapsed() > 3 * PING_INTERVAL && !self.relay.is_full() {
                return Err(Ending::Farewell(Farewell::silent()));
            }
            if self.stuck.is_none() {
                // Where it fails, so does the next write.
                let _ = Pin::new(&mut self.socket).start_send(Message::Ping(Bytes::new()));
                self.must_flush = true;
            }
        }
        if self.relay.is_full() {
            return Ok(false);
        }
        let Poll::Ready(item) = self.socket.poll_next_unpin(context) else { return Ok(false) };
        self.heard = Instant::now();
        match classify(item) {
            Incoming::Message(message) => match self.relay.handle_packet(message, self.clock.now()) {
                Ok(()) => Ok(true),
                Err(super::relay::Breach) => {
                    let words = "a packet that Wisp does not know, or not there";
                    Err(Ending::Farewell(plain(Farewell::new(CloseCode::Protocol, words))))
                }
            },
            Incoming::Nothing => {
                self.must_flush = true;
                Ok(true)
            }
            Incoming::End(Ending::Farewell(farewell)) => Err(Ending::Farewell(plain(farewell))),
            Incoming::End(ending) => Err(ending),
        }
    }

    fn poll_write(&mut self, context: &mut Context<'_>) -> Result<bool, Ending> {
        let lost = |_| Ending::Lost;
        let mut moved = false;
        for _ in 0..MESSAGES_PER_TURN {
            if !self.must_flush && !self.relay.has_frames() {
                return Ok(moved);
            }
            if Sink::<Message>::poll_ready(Pin::new(&mut self.socket), context).map_err(lost)?.is_pending() {
                return self.wait_for_client(context).map(|_| moved);
            }
            match self.relay.poll_frame(self.clock.now()) {
                Some(frame) => {
                    Pin::new(&mut self.socket).start_send(Message::Binary(frame)).map_err(lost)?;
                    (self.must_flush, moved, self.stuck) = (true, true, None);
                }
                None if self.must_flush => {
                    if Sink::<Message>::poll_flush(Pin::new(&mut self.socket), context).map_err(lost)?.is_pending() {
                        return self.wait_for_client(context).map(|_| moved);
                    }
                    (self.must_flush, self.stuck) = (false, None);
                }
                None => return Ok(moved),
            }
        }
        Ok(true)
    }

    /// The client takes nothing now.
    fn wait_for_client(&mut self, context: &mut Context<'_>) -> Result<(), Ending> {
        let patience = self.patience;
        let stuck = self.stuck.get_or_insert_with(|| Box::pin(sleep(patience)));
        match stuck.as_mut().poll(context) {
            Poll::Ready(()) => {
                tracing::info!("a Wisp client reads too slowly and is disconnected");
                Err(Ending::Lost)
            }
            Poll::Pending => Ok(()),
        }
    }
}

fn poll_relay_timer(
    relay: &mut Relay,
    timer: &mut Pin<Box<Sleep>>,
    timer_at: &mut Option<webtun_wire::Instant>,
    clock: Clock,
    context: &mut Context<'_>,
) -> bool {
    let wanted = relay.poll_timeout();
    if wanted != *timer_at {
        *timer_at = wanted;
        if let Some(at) = wanted {
            timer.as_mut().reset(clock.deadline(at));
        }
    }
    if timer_at.is_none() || timer.as_mut().poll(context).is_pending() {
        return false;
    }
    *timer_at = None;
    relay.handle_timeout(clock.now());
    true
}

/// Hands the driver what there is for it, while it takes it.
fn poll_transmit(relay: &mut Relay, line: &mut Line, clock: Clock, context: &mut Context<'_>) -> bool {
    for sent in 0..MESSAGES_PER_TURN {
        let Poll::Ready(Ok(())) = Pin::new(&mut *line).poll_ready(context) else { return sent > 0 };
        let Some(message) = relay.poll_transmit(clock.now()) else { return sent > 0 };
        if Pin::new(&mut *line).start_send(message).is_err() {
            return false;
        }
    }
    true
}

/// Goes on for a client that is gone until what it has sent is delivered.
async fn linger(mut relay: Relay, mut line: Line, clock: Clock, mut phase: watch::Receiver<Phase>) {
    relay.finish(clock.now());
    let (mut timer, mut timer_at) = (Box::pin(sleep(Duration::ZERO)), None);
    let delivered = poll_fn(|context| {
        loop {
            let mut progress = poll_relay_timer(&mut relay, &mut timer, &mut timer_at, clock, context);
            progress |= match Pin::new(&mut line).poll_next(context) {
                Poll::Pending => false,
                Poll::Ready(Some(Ok(message))) => {
                    relay.handle_message(&message, clock.now());
                    true
                }
                Poll::Ready(Some(Err(_)) | None) => return Poll::Ready(()),
            };
            progress |= poll_transmit(&mut relay, &mut line, clock, context);
            if relay.is_over() || matches!(relay.status(), Status::Closed { .. }) {
                return Poll::Ready(());
            }
            if !progress {
                return Poll::Pending;
            }
        }
    });
    tokio::select! {
        () = delivered => {}
        () = stopping(&mut phase) => {}
    }
    relay.close(clock.now());
    while let Some(message) = relay.poll_transmit(clock.now()) {
        if line.send(message).await.is_err() {
            return;
        }
    }
}

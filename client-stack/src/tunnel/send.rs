use bytes::Bytes;
use webtun_wire::{BatchWriter, Capsule, Close, ContextKind, Hello, Instant, MAX_PACKET_LEN, VERSION};

use super::session::OffloadContext;
use super::{MESSAGE_OVERHEAD, OFFLOAD_CONTEXT, Phase, RECEIPT, Tunnel, TunnelEvent};
use crate::streams;

impl Tunnel {
    /// The next message that goes before any batch: HELLO, what is sent again, PONG, PING, CLOSE.
    pub fn poll_control(&mut self, now: Instant) -> Option<Bytes> {
        let message = match &mut self.phase {
            Phase::Handshaking { hello_sent, .. } if !*hello_sent => {
                *hello_sent = true;
                self.hello()
            }
            Phase::Closing { code, reason, .. } => {
                let close = Close { code: *code, retry_after_ms: 0, reason };
                let message = single(&Capsule::Close(close));
                self.phase = Phase::Closed;
                self.events.push_back(TunnelEvent::CloseTransport);
                message
            }
            Phase::Established(_) => return self.replay(now).or_else(|| self.pongs_and_ping(now)),
            _ => return None,
        };
        Some(self.sent(message, None, now))
    }

    fn hello(&self) -> Bytes {
        let hello = Hello {
            min_version: VERSION,
            max_version: VERSION,
            token: &self.config.token,
            resume: self.session.as_ref().map(|session| session.resume()),
        };
        let mut message = Vec::new();
        Capsule::Hello(hello).encode(&mut message);
        let is_closed = |session: &super::Session| session.offload == OffloadContext::Closed;
        if self.config.offload && !self.session.as_ref().is_some_and(is_closed) {
            Capsule::ContextAssign { context: OFFLOAD_CONTEXT, kind: ContextKind::Offload as u64 }.encode(&mut message);
        }
        if let Some(limits) = streams::LIMITS.filter(|_| self.config.streams) {
            Capsule::StreamLimits(limits).encode(&mut message);
        }
        message.into()
    }

    fn replay(&mut self, now: Instant) -> Option<Bytes> {
        let (Phase::Established(connection), Some(session)) = (&mut self.phase, &self.session) else { return None };
        // What was acknowledged meanwhile need not go.
        connection.replay_next = connection.replay_next.max(session.ring.first_number());
        let number = connection.replay_next;
        let message = session.ring.get(number).filter(|_| connection.pace.has_room(true))?.clone();
        connection.replay_next += 1;
        self.stats.replayed += 1;
        Some(self.sent(message, Some(number), now))
    }

    fn pongs_and_ping(&mut self, now: Instant) -> Option<Bytes> {
        let Phase::Established(connection) = &mut self.phase else { return None };
        let mut batch = BatchWriter::new(webtun_wire::MAX_MESSAGE_LEN);
        let mut fits = true;
        for opaque in connection.pongs.drain(..) {
            fits &= batch.push(&Capsule::Pong { opaque, received: self.received });
        }
        if let Some(opaque) = connection.liveness.take_ping(now) {
            fits &= batch.push(&Capsule::Ping { opaque });
        }
        debug_assert!(fits, "a few small capsules fit any message");
        (!batch.is_empty()).then(|| self.sent(batch.finish().into(), None, now))
    }

    /// A message that begins with SEQUENCE, and with ACK where one is due, and how many octets it shall have; `None` while
    /// none may be sent. What is put into it must go to [`commit`](Self::commit).
    pub fn begin_batch(&mut self) -> Option<(BatchWriter, usize)> {
        let (Phase::Established(connection), Some(session)) = (&mut self.phase, &mut self.session) else {
            return None;
        };
        if !connection.pace.has_room(session.ring.has_room()) {
            return None;
        }
        let message_len = session.limits.message_len as usize;
        let longest = (MAX_PACKET_LEN + MESSAGE_OVERHEAD).min(message_len);
        let limit = self.config.batch_len.clamp(longest, message_len);
        let mut batch = BatchWriter::with_sequence(limit, session.ring.next_number());
        if session.window.ack_pending() && !batch.push(&Capsule::Ack { next: session.window.next() }) {
            return None;
        }
        Some((batch, connection.pace.message_len(limit)))
    }

    /// Sends a batch, and keeps it until it is acknowledged. An empty one is dropped, and a bare ACK goes where it is
    /// time for it.
    pub fn commit(&mut self, mut batch: BatchWriter, now: Instant) -> Option<Bytes> {
        if batch.is_empty() {
            return self.poll_ack(now);
        }
        let (Phase::Established(connection), Some(session)) = (&mut self.phase, &mut self.session) else { return None };
        if connection.pace.wants_receipt(batch.len()) {
            // Where it does not fit the message is long, and acknowledged at once.
            let _ = batch.push(&Capsule::Ping { opaque: RECEIPT });
        }
        let message = Bytes::from(batch.finish());
        let number = session.ring.push(message.clone(), message.len());
        session.window.acked();
        (connection.ack_at, connection.ack_now) = (None, false);
        connection.replay_next = session.ring.next_number();
        Some(self.sent(message, Some(number), now))
    }

    /// An ACK in a message of its own, where it is time for it.
    pub fn poll_ack(&mut self, now: Instant) -> Option<Bytes> {
        let (Phase::Established(connection), Some(session)) = (&mut self.phase, &mut self.session) else { return None };
        if !connection.ack_now {
            return None;
        }
        (connection.ack_at, connection.ack_now) = (None, false);
        session.window.acked();
        let message = single(&Capsule::Ack { next: session.window.next() });
        Some(self.sent(message, None, now))
    }

    fn sent(&mut self, message: Bytes, number: Option<u64>, now: Instant) -> Bytes {
        self.stats.messages_sent += 1;
        self.stats.octets_sent += message.len() as u64;
        self.sent += message.len() as u64;
        if let Phase::Established(connection) = &mut self.phase {
            connection.pace.sent(message.len(), number, now);
        }
        message
    }
}

fn single(capsule: &Capsule<'_>) -> Bytes {
    let mut message = Vec::with_capacity(capsule.encoded_len());
    capsule.encode(&mut message);
    message.into()
}

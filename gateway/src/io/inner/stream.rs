use std::time::Duration;
use webtun_stack::{Host, Received, SocketId};
use webtun_wire::Instant;

/// How long a connection may be idle (RFC 7766 section 6.2.3 asks for seconds).
const IDLE: Duration = Duration::from_secs(10);
/// Queries of one connection that are being answered; while there are so many, it is not read.
const PIPELINED: usize = 32;
/// Answers that wait for the client to take them, in octets; while there are more, it is not read.
const UNSENT: usize = 256 * 1024;

/// A TCP connection with DNS messages, each preceded by its length (RFC 1035 section 4.2.2). Queries are answered in any
/// order (RFC 7766 section 7).
#[derive(Debug)]
pub(super) struct DnsStream {
    received: Vec<u8>,
    unsent: Vec<u8>,
    pending: usize,
    finished: bool,
    broken: bool,
    last_active: Instant,
}

impl DnsStream {
    pub(super) fn new(now: Instant) -> Self {
        Self { received: Vec::new(), unsent: Vec::new(), pending: 0, finished: false, broken: false, last_active: now }
    }

    pub(super) fn deadline(&self) -> Instant {
        self.last_active + IDLE
    }

    /// True where nothing more will happen.
    pub(super) fn is_over(&self) -> bool {
        self.broken || (self.finished && self.pending == 0 && self.unsent.is_empty())
    }

    pub(super) fn push_answer(&mut self, message: &[u8], now: Instant) {
        self.last_active = now;
        self.pending = self.pending.saturating_sub(1);
        if let Ok(len) = u16::try_from(message.len()) {
            self.unsent.extend_from_slice(&len.to_be_bytes());
            self.unsent.extend_from_slice(message);
        }
    }

    /// Sends and receives what is possible, and gives back the queries that are complete.
    pub(super) fn exchange(&mut self, host: &mut Host, id: SocketId, now: Instant) -> Vec<Vec<u8>> {
        self.send(host, id, now);
        let mut queries = Vec::new();
        let mut buffer = [0; 4096];
        loop {
            while self.pending < PIPELINED
                && let Some(query) = self.next_query()
            {
                self.pending += 1;
                queries.push(query);
            }
            if self.pending >= PIPELINED || self.unsent.len() > UNSENT || self.finished || self.broken {
                return queries;
            }
            match host.tcp_recv(id, &mut buffer, now) {
                Ok(Received::Data(len)) => {
                    self.received.extend_from_slice(&buffer[..len]);
                    self.last_active = now;
                }
                Ok(Received::Empty) => return queries,
                Ok(Received::Finished) => self.finished = true,
                Err(_) => self.broken = true,
            }
        }
    }

    fn send(&mut self, host: &mut Host, id: SocketId, now: Instant) {
        if self.unsent.is_empty() {
            return;
        }
        match host.tcp_send(id, &self.unsent, now) {
            Ok(len) => drop(self.unsent.drain(..len)),
            Err(_) => self.broken = true,
        }
    }

    fn next_query(&mut self) -> Option<Vec<u8>> {
        let len = usize::from(u16::from_be_bytes([*self.received.first()?, *self.received.get(1)?]));
        let query = self.received.get(2..2 + len)?.to_vec();
        self.received.drain(..2 + len);
        Some(query)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn queries_are_cut_out_of_the_stream() {
        let mut stream = DnsStream::new(Instant::ZERO);
        stream.received.extend([0, 2, b'a', b'b', 0, 1]);
        assert_eq!(stream.next_query(), Some(b"ab".to_vec()));
        assert_eq!(stream.next_query(), None);
        stream.received.push(b'c');
        assert_eq!(stream.next_query(), Some(b"c".to_vec()));
    }
}

//! A client with a network stack, over a WebSocket.

use super::{Client, Received};
use std::net::SocketAddr;
use std::time::Duration;
use webtun_stack::{
    Event, Instant, ListenOptions, PortMapOptions, Protocol, SocketEvent, SocketId, Stack, StackConfig, Status,
};

/// See the module.
pub struct Tunnel {
    pub stack: Stack,
    client: Client,
    origin: tokio::time::Instant,
}

impl Tunnel {
    /// Connects, and waits for the session.
    pub async fn open(address: SocketAddr) -> Self {
        let client = Client::connect(address, "webtun.v1").await.expect("a WebSocket");
        let mut seed = [0; 32];
        getrandom::fill(&mut seed).expect("randomness");
        let stack = Stack::new(StackConfig::new(seed), Instant::ZERO);
        let mut this = Self { stack, client, origin: tokio::time::Instant::now() };
        let now = this.now();
        this.stack.handle_connected(now);
        this.until(|_, event| matches!(event, Event::Status(Status::Connected { .. })).then_some(())).await;
        this
    }

    /// Gives the connection up and goes on with the session over another one.
    pub async fn reconnect(&mut self, address: SocketAddr) {
        let now = self.now();
        self.stack.handle_disconnected(now);
        self.stack.reconnect_now(now);
        self.client = Client::connect(address, "webtun.v1").await.expect("a WebSocket");
        let now = self.now();
        self.stack.handle_connected(now);
    }

    /// Sends what the stack has to say, without reading anything.
    pub async fn flush(&mut self) {
        let now = self.now();
        while let Some(message) = self.stack.poll_transmit(now) {
            self.client.send(&message).await;
        }
    }

    pub fn now(&self) -> Instant {
        Instant::from_micros(self.origin.elapsed().as_micros() as u64)
    }

    /// Runs the stack until `wanted` finds in an event what the test waits for.
    pub async fn until<T>(&mut self, mut wanted: impl FnMut(&mut Stack, Event) -> Option<T>) -> T {
        loop {
            let now = self.now();
            while let Some(message) = self.stack.poll_transmit(now) {
                self.client.send(&message).await;
            }
            while let Some(event) = self.stack.poll_event() {
                if let Some(found) = wanted(&mut self.stack, event) {
                    return found;
                }
            }
            let now = self.now();
            let wait = self.stack.poll_timeout().map_or(Duration::from_secs(1), |at| at.saturating_duration_since(now));
            tokio::select! {
                received = self.client.receive() => match received {
                    Received::Message(message) => {
                        let now = self.now();
                        self.stack.handle_message(&message, now);
                    }
                    other => panic!("the session has ended: {other:?}"),
                },
                () = tokio::time::sleep(wait) => {
                    let now = self.now();
                    self.stack.handle_timeout(now);
                }
            }
        }
    }

    /// Listens behind a mapped TCP port of a family; its external endpoint, and the listener.
    pub async fn listen(&mut self, ipv6: bool) -> (SocketAddr, SocketId) {
        let now = self.now();
        let any: SocketAddr = "[::]:8000".parse().expect("an endpoint");
        let listener = self.stack.tcp_listen(any, ListenOptions::default(), now).expect("a listener");
        let lifetime = Duration::from_secs(600);
        let options = PortMapOptions { protocol: Protocol::Tcp, ipv6, internal_port: 8000, external_port: 0, lifetime };
        let id = self.stack.map_port(options, now);
        let mapped = self
            .until(|_, event| match event {
                Event::PortMapped { id: of, result } if of == id => Some(result.expect("a port")),
                _ => None,
            })
            .await;
        (mapped.external, listener)
    }

    /// What a connection brings, until it is so much.
    pub async fn receive(&mut self, id: SocketId, wanted: usize) -> Vec<u8> {
        let mut data = Vec::new();
        let clock = self.now();
        self.until(|stack, event| {
            let (Event::Socket(SocketEvent::TcpReadable(of)) | Event::Socket(SocketEvent::TcpIncoming(of))) = event
            else {
                return None;
            };
            if of != id {
                return None;
            }
            let mut buffer = [0; 4096];
            while let Ok(webtun_stack::Received::Data(len)) = stack.tcp_recv(id, &mut buffer, clock) {
                data.extend_from_slice(&buffer[..len]);
            }
            (data.len() >= wanted).then_some(())
        })
        .await;
        data
    }
}

//! The WebSockets: what the shells at both ends do with them.

use bytes::{Bytes, BytesMut};
use std::time::Duration;
use webtun_gateway::dataplane::{Event as GatewayEvent, Gateway, Gather, SessionId, close_message};
use webtun_stack::Event;
use webtun_wire::{Capsule, CloseCode};

use super::World;
use super::ledger::{Ledger, Sender};
use crate::direct::message;
use crate::rng::SimRng;
use crate::trace::Place;
use crate::tunnel::{Connection, Cut, GatewayEnd, Item};

impl World {
    /// Cuts the connection of a client, if it has one: what is on the way is lost.
    pub fn cut(&mut self, client: usize, cut: Cut) {
        let Some(number) = self.clients[client].connection else { return };
        let now = self.now();
        let Some(connection) = self.connections.get_mut(&number) else { return };
        connection.up.cut();
        connection.down.cut();
        let session = match connection.gateway_end {
            GatewayEnd::Attached(id) => Some(id),
            GatewayEnd::Fresh | GatewayEnd::Gone => None,
        };
        self.trace.record(now, Place::Connection, &number.to_be_bytes());
        if matches!(cut, Cut::Both | Cut::GatewayNotices) {
            connection.gateway_end = GatewayEnd::Gone;
            if let Some(id) = session {
                self.sessions.remove(&id);
                self.gateway.disconnect(id, now);
            }
        }
        if matches!(cut, Cut::Both | Cut::ClientNotices) {
            self.client_lost(number);
        }
        self.settle();
    }

    /// Octets on the way to a client, and from it.
    pub fn octets_in_tunnel(&self, client: usize) -> (usize, usize) {
        let connection = self.clients[client].connection.and_then(|number| self.connections.get(&number));
        connection.map_or((0, 0), |connection| (connection.down.octets(), connection.up.octets()))
    }

    /// The session of a client, as the gateway names it.
    pub fn session(&self, client: usize) -> Option<SessionId> {
        match self.connections.get(&self.clients[client].connection?)?.gateway_end {
            GatewayEnd::Attached(id) => Some(id),
            GatewayEnd::Fresh | GatewayEnd::Gone => None,
        }
    }

    /// Sends a packet as if the client's connection had carried it: what its stack would never send.
    ///
    /// # Panics
    ///
    /// Panics where the client has no session.
    pub fn send_as(&mut self, client: usize, packet: &[u8]) {
        let id = self.session(client).expect("a session");
        let message = message(&[Capsule::Datagram { context: 0, payload: packet }]);
        let now = self.now();
        if let Err(error) = self.gateway.process_uplink(id, BytesMut::from(message.as_slice()), now) {
            let number = self.sessions.remove(&id).expect("a connection of the session");
            self.close_from_gateway(number, error.message());
        }
        self.settle();
    }

    /// The gateway dies with all it knows, and another takes its place. Connections end.
    ///
    /// # Panics
    ///
    /// Panics where the gateway refuses the configuration that it had.
    pub fn restart_gateway(&mut self) {
        let seed = SimRng::new(self.config.seed, &format!("gateway-{}", self.connection_count)).seed();
        self.gateway = Gateway::new(self.config.gateway.clone(), seed, self.now()).expect("a valid configuration");
        self.sessions.clear();
        self.ready.clear();
        self.ledger = Ledger::default();
        self.kernel.kill(self.clock.now());
        for connection in self.connections.values_mut() {
            connection.up.cut();
            connection.down.cut();
            connection.gateway_end = GatewayEnd::Gone;
        }
        for client in 0..self.clients.len() {
            if let Some(number) = self.clients[client].connection {
                self.client_lost(number);
            }
        }
        self.settle();
    }

    /// Everything that a client wants to send or to have done. True where there was anything.
    pub(super) fn drain_client(&mut self, index: usize) -> bool {
        let mut moved = false;
        loop {
            let mut idle = true;
            while self.send_from_client(index) {
                idle = false;
            }
            let now = self.now();
            if let Some(event) = self.clients[index].stack.poll_event() {
                idle = false;
                let client = &mut self.clients[index];
                match event {
                    Event::Socket(event) => client.node.handle_event(event, &mut client.stack, now),
                    event => self.client_event(index, event),
                }
            }
            if idle {
                return moved;
            }
            moved = true;
        }
    }

    /// What has arrived at either end of any connection. True where there was anything.
    pub(super) fn deliver_messages(&mut self) -> bool {
        let now = self.now();
        let due = |connection: &Connection| connection.poll_timeout().is_some_and(|at| at <= now);
        let Some(number) = self.connections.iter().find(|(_, c)| due(c)).map(|(number, _)| *number) else {
            return false;
        };
        if let Some(item) = self.connections.get_mut(&number).and_then(|connection| connection.up.poll(now)) {
            self.gateway_received(number, item);
        }
        if let Some(item) = self.connections.get_mut(&number).and_then(|connection| connection.down.poll(now)) {
            self.client_received(number, item);
        }
        self.connections.retain(|_, connection| !connection.is_over() || connection.poll_timeout().is_some());
        true
    }

    /// Opens the connection that a client has asked for, or tells it that there is none.
    pub(super) fn open_connection(&mut self, index: usize) {
        let now = self.now();
        let client = &mut self.clients[index];
        client.opening = None;
        if !client.online {
            client.stack.handle_disconnected(now);
            return;
        }
        let number = self.connection_count;
        self.connection_count += 1;
        self.connections.insert(number, Connection::new(index));
        client.connection = Some(number);
        client.stack.handle_connected(now);
        self.trace.record(now, Place::Connection, &number.to_be_bytes());
    }

    /// Takes messages from the gateway for every connection that can take one. True where there was any.
    pub(super) fn pump_sessions(&mut self) -> bool {
        let now = self.now();
        let mut moved = false;
        for id in self.ready.clone() {
            let Some(number) = self.sessions.get(&id) else {
                self.ready.remove(&id);
                continue;
            };
            let Some(connection) = self.connections.get_mut(number) else { continue };
            let config = &self.clients[connection.client].tunnel;
            while connection.down.has_room(config) {
                let Some(message) = self.gateway.poll_message(id, now) else {
                    self.ready.remove(&id);
                    break;
                };
                let message = message.into_bytes();
                self.ledger.record(id, Sender::Gateway, &message);
                connection.down.send(Item::Message(message), config, now);
                moved = true;
            }
        }
        moved
    }

    pub(super) fn gateway_event(&mut self, event: GatewayEvent) {
        let now = self.now();
        match &event {
            GatewayEvent::MessagesReady(id) => drop(self.ready.insert(*id)),
            GatewayEvent::ConnectionLost { id } => {
                if let Some(number) = self.sessions.remove(id) {
                    self.close_from_gateway(number, None);
                }
            }
            GatewayEvent::SessionClosed { id, .. } => {
                let message = self.gateway.poll_message(*id, now).map(Gather::into_bytes);
                if let Some(number) = self.sessions.remove(id) {
                    self.close_from_gateway(number, message);
                }
            }
            GatewayEvent::Stream { id, stream, what } => {
                let zone = &self.config.zone;
                return self.kernel.act((*id, *stream), what.clone(), zone, &mut self.gateway, now);
            }
            _ => {}
        }
        self.gateway_events.push((now, event));
    }

    fn send_from_client(&mut self, index: usize) -> bool {
        let now = self.now();
        let client = &mut self.clients[index];
        let Some(number) = client.connection else { return false };
        let Some(connection) = self.connections.get_mut(&number) else { return false };
        if !connection.up.has_room(&client.tunnel) {
            return false;
        }
        let Some(message) = client.stack.poll_transmit(now) else { return false };
        connection.up.send(Item::Message(message), &client.tunnel, now);
        true
    }

    fn client_event(&mut self, index: usize, event: Event) {
        let now = self.now();
        match &event {
            Event::OpenTransport => {
                let round_trips = self.clients[index].tunnel.latency * 4;
                self.clients[index].opening = Some(now + round_trips);
            }
            Event::CloseTransport => {
                self.clients[index].opening = None;
                while self.send_from_client(index) {}
                if let Some(number) = self.clients[index].connection.take() {
                    let config = &self.clients[index].tunnel;
                    if let Some(connection) = self.connections.get_mut(&number) {
                        connection.up.send(Item::Close, config, now);
                        connection.client_end = false;
                    }
                }
            }
            _ => {}
        }
        self.clients[index].events.push((now, event));
    }

    fn gateway_received(&mut self, number: u64, item: Item) {
        let now = self.now();
        let Some(connection) = self.connections.get_mut(&number) else { return };
        let end = connection.gateway_end;
        let message = match item {
            Item::Message(message) => message,
            Item::Close => {
                connection.gateway_end = GatewayEnd::Gone;
                if let GatewayEnd::Attached(id) = end {
                    self.sessions.remove(&id);
                    self.gateway.disconnect(id, now);
                }
                return;
            }
        };
        self.trace.record(now, Place::Uplink, &message);
        match end {
            GatewayEnd::Fresh => self.handshake(number, &message),
            GatewayEnd::Attached(id) => {
                self.ledger.record(id, Sender::Client, &message);
                let message = BytesMut::from(message.as_ref());
                if let Err(error) = self.gateway.process_uplink(id, message, now) {
                    self.sessions.remove(&id);
                    self.close_from_gateway(number, error.message());
                }
            }
            GatewayEnd::Gone => {}
        }
    }

    fn handshake(&mut self, number: u64, message: &[u8]) {
        let now = self.now();
        let Some(connection) = self.connections.get_mut(&number) else { return };
        match self.gateway.handshake(message, &self.clients[connection.client].peer, now) {
            Ok(id) => {
                self.ledger.record(id, Sender::Client, message);
                connection.gateway_end = GatewayEnd::Attached(id);
                if let Some(older) = self.sessions.insert(id, number) {
                    let replaced = close_message(CloseCode::Replaced, Duration::ZERO, "replaced");
                    self.close_from_gateway(older, Some(replaced));
                }
                self.ready.insert(id);
            }
            Err(reject) => self.close_from_gateway(number, Some(reject.message())),
        }
    }

    fn close_from_gateway(&mut self, number: u64, message: Option<Bytes>) {
        let now = self.now();
        let Some(connection) = self.connections.get_mut(&number) else { return };
        let config = &self.clients[connection.client].tunnel;
        connection.gateway_end = GatewayEnd::Gone;
        for item in message.map(Item::Message).into_iter().chain([Item::Close]) {
            connection.down.send(item, config, now);
        }
    }

    fn client_received(&mut self, number: u64, item: Item) {
        let now = self.now();
        let Some(connection) = self.connections.get(&number).filter(|connection| connection.client_end) else {
            return;
        };
        match item {
            Item::Message(message) => {
                self.trace.record(now, Place::Downlink, &message);
                self.clients[connection.client].stack.handle_message(&message, now);
            }
            Item::Close => self.client_lost(number),
        }
    }

    fn client_lost(&mut self, number: u64) {
        let now = self.now();
        let Some(connection) = self.connections.get_mut(&number) else { return };
        connection.client_end = false;
        let client = &mut self.clients[connection.client];
        if client.connection == Some(number) {
            client.connection = None;
            client.stack.handle_disconnected(now);
        }
    }
}

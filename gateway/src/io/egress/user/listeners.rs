//! Ports that clients have mapped, as listening sockets of this machine.

use super::dial;
use super::poller::{Owner, Poller};
use mio::net::{TcpListener, TcpStream};
use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::ops::RangeInclusive;

/// Connections taken from one port before another has its turn.
const TURN: usize = 16;

#[derive(Debug)]
struct Listener {
    socket: TcpListener,
    /// The NAT's endpoint, which stands for the client.
    inner: SocketAddr,
    queued: bool,
}

/// All mapped TCP ports; as many as the sessions' limits allow.
#[derive(Debug, Default)]
pub(super) struct Listeners {
    listeners: BTreeMap<u32, Listener>,
    next: u32,
    ready: VecDeque<u32>,
}

impl Listeners {
    /// Begins to listen.
    ///
    /// # Errors
    /// Where another program has the port.
    pub fn open(&mut self, inner: SocketAddr, poller: &Poller) -> io::Result<()> {
        if self.listeners.values().any(|it| it.inner == inner) {
            return Ok(());
        }
        let number = self.next;
        self.next = self.next.wrapping_add(1);
        let mut socket = dial::listener(inner.is_ipv6(), inner.port())?;
        poller.add(&mut socket, Owner::Listener(number))?;
        self.listeners.insert(number, Listener { socket, inner, queued: false });
        Ok(())
    }

    pub fn close(&mut self, inner: SocketAddr) {
        self.listeners.retain(|_, it| it.inner != inner);
    }

    /// The NAT's ports are nobody's any more.
    pub fn release(&mut self, address: IpAddr, ports: &RangeInclusive<u16>) {
        self.listeners.retain(|_, it| it.inner.ip() != address || !ports.contains(&it.inner.port()));
    }

    pub fn heard(&mut self, number: u32) {
        if let Some(listener) = self.listeners.get_mut(&number).filter(|it| !it.queued) {
            listener.queued = true;
            self.ready.push_back(number);
        }
    }

    pub fn has_turns(&self) -> bool {
        !self.ready.is_empty()
    }

    /// The connections of one port, for the client behind the endpoint.
    pub fn turn(&mut self) -> Option<(SocketAddr, Vec<(TcpStream, SocketAddr)>)> {
        let number = self.ready.pop_front()?;
        let listener = self.listeners.get_mut(&number)?;
        listener.queued = false;
        let mut taken = Vec::new();
        let more = loop {
            match listener.socket.accept() {
                Ok(connection) => taken.push(connection),
                // Without descriptors the next connection that comes brings us back here.
                Err(error) => break error.kind() == io::ErrorKind::ConnectionAborted,
            }
            if taken.len() == TURN {
                break true;
            }
        };
        let inner = listener.inner;
        if more {
            self.heard(number);
        }
        Some((inner, taken))
    }
}

//! The programs of one network stack.

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use webtun_stack::{
    BindError, ConnectError, Datagram, ListenOptions, SocketEvent, SocketId, Stack, StreamHost, TcpOptions, UdpError,
    UdpOptions,
};
use webtun_wire::Instant;

use crate::flow::{Flow, Plan};
use crate::net::Net;

/// The programs that run on one network stack.
#[derive(Debug, Default)]
pub struct Node {
    /// Every TCP connection there was.
    pub flows: BTreeMap<SocketId, Flow>,
    /// Listeners, and what is done with a connection.
    listeners: BTreeMap<SocketId, Plan>,
    /// UDP sockets.
    pub datagrams: BTreeMap<SocketId, UdpProgram>,
    /// Every socket event, in order.
    pub events: Vec<(Instant, SocketEvent)>,
}

/// A program with one UDP socket.
#[derive(Debug, Default)]
pub struct UdpProgram {
    echo: bool,
    /// What waits for room.
    waiting: VecDeque<(Vec<u8>, Option<SocketAddr>)>,
    /// What came.
    pub received: Vec<Datagram>,
    /// What went wrong, and with whom.
    pub errors: Vec<(UdpError, SocketAddr)>,
}

impl Node {
    /// Opens a connection.
    ///
    /// # Errors
    ///
    /// Those of the stack.
    pub fn connect(
        &mut self,
        net: &mut dyn Net,
        remote: SocketAddr,
        options: TcpOptions,
        plan: Plan,
        now: Instant,
    ) -> Result<SocketId, ConnectError> {
        let id = net.tcp_connect(remote, options, now)?;
        self.flows.insert(id, Flow::connecting(id, plan, now));
        Ok(id)
    }

    /// Opens a connection that the gateway makes, and sends at once.
    ///
    /// # Errors
    ///
    /// Those of the stack.
    pub fn connect_split(
        &mut self,
        stack: &mut Stack,
        host: StreamHost,
        port: u16,
        plan: Plan,
        now: Instant,
    ) -> Result<SocketId, ConnectError> {
        let id = stack.tcp_connect_split(host, port, &TcpOptions::default(), now)?;
        let mut flow = Flow::connecting(id, plan, now);
        flow.send_ahead(stack, now);
        self.flows.insert(id, flow);
        Ok(id)
    }

    /// Listens; each connection follows the plan.
    ///
    /// # Errors
    ///
    /// Those of the stack.
    pub fn listen(
        &mut self,
        net: &mut dyn Net,
        local: SocketAddr,
        plan: Plan,
        now: Instant,
    ) -> Result<SocketId, BindError> {
        let id = net.tcp_listen(local, ListenOptions::default(), now)?;
        self.listeners.insert(id, plan);
        Ok(id)
    }

    /// Opens a UDP socket, which sends back what it gets where `echo` says so.
    ///
    /// # Errors
    ///
    /// Those of the stack.
    pub fn bind(
        &mut self,
        net: &mut dyn Net,
        local: SocketAddr,
        echo: bool,
        now: Instant,
    ) -> Result<SocketId, BindError> {
        let options = UdpOptions { receive_buffer: 4 << 20, ..UdpOptions::default() };
        let id = net.udp_bind(local, options, now)?;
        self.datagrams.insert(id, UdpProgram { echo, ..UdpProgram::default() });
        Ok(id)
    }

    /// Sends a datagram, now or when there is room.
    ///
    /// # Errors
    ///
    /// Those of the stack.
    ///
    /// # Panics
    ///
    /// Panics where `id` is no UDP socket of this node.
    pub fn send_datagram(
        &mut self,
        net: &mut dyn Net,
        id: SocketId,
        data: &[u8],
        to: SocketAddr,
        now: Instant,
    ) -> Result<(), UdpError> {
        let program = self.datagrams.get_mut(&id).expect("a UDP socket of this node");
        if !program.waiting.is_empty() || !net.udp_send(id, data, Some(to), now)? {
            program.waiting.push_back((data.to_vec(), Some(to)));
        }
        Ok(())
    }

    /// One connection.
    ///
    /// # Panics
    ///
    /// Panics where there was none of that name.
    pub fn flow(&self, id: SocketId) -> &Flow {
        self.flows.get(&id).expect("a connection of this node")
    }

    /// One UDP socket.
    ///
    /// # Panics
    ///
    /// Panics where there was none of that name.
    pub fn udp(&self, id: SocketId) -> &UdpProgram {
        self.datagrams.get(&id).expect("a UDP socket of this node")
    }

    /// Connections that still have their socket.
    pub fn open_flows(&self) -> usize {
        self.flows.values().filter(|flow| !flow.is_released()).count()
    }

    /// Hands an event to the program that it belongs to.
    pub fn handle_event(&mut self, event: SocketEvent, net: &mut dyn Net, now: Instant) {
        self.events.push((now, event));
        match event {
            SocketEvent::TcpIncoming(listener) => self.accept(listener, net, now),
            SocketEvent::TcpConnected(id)
            | SocketEvent::TcpConnectFailed(id, _)
            | SocketEvent::TcpReadable(id)
            | SocketEvent::TcpWritable(id)
            | SocketEvent::TcpClosed(id, _) => {
                if let Some(flow) = self.flows.get_mut(&id) {
                    flow.handle_event(&event, net, now);
                }
            }
            SocketEvent::UdpReadable(id) | SocketEvent::UdpWritable(id) => {
                if let Some(program) = self.datagrams.get_mut(&id) {
                    program.go_on(id, net, now);
                }
            }
            SocketEvent::UdpError(id, error, peer) => {
                if let Some(program) = self.datagrams.get_mut(&id) {
                    program.errors.push((error, peer));
                }
            }
            SocketEvent::Pong { .. } | SocketEvent::PingFailed { .. } => {}
        }
    }

    /// When a program wants to act by itself.
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.flows.values().filter_map(Flow::poll_timeout).min()
    }

    /// Lets programs act whose time has come.
    pub fn handle_timeout(&mut self, net: &mut dyn Net, now: Instant) {
        self.flows.values_mut().for_each(|flow| flow.handle_timeout(net, now));
    }

    fn accept(&mut self, listener: SocketId, net: &mut dyn Net, now: Instant) {
        let Some(plan) = self.listeners.get(&listener) else { return };
        while let Some(id) = net.tcp_accept(listener) {
            self.flows.insert(id, Flow::accepted(id, plan.clone(), net, now));
        }
    }
}

impl UdpProgram {
    fn go_on(&mut self, id: SocketId, net: &mut dyn Net, now: Instant) {
        while let Some(datagram) = net.udp_recv(id) {
            if self.echo {
                self.waiting.push_back((datagram.payload.clone(), Some(datagram.from)));
            }
            self.received.push(datagram);
        }
        while let Some((data, to)) = self.waiting.front() {
            match net.udp_send(id, data, *to, now) {
                Ok(true) => drop(self.waiting.pop_front()),
                Ok(false) => return,
                Err(error) => {
                    self.errors.push((error, to.unwrap_or(SocketAddr::from(([0; 4], 0)))));
                    self.waiting.pop_front();
                }
            }
        }
    }
}

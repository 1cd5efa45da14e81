//! One question on its way: which server, which try, by UDP or TCP.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use webtun_wire::Instant;

use super::message::{self, Answer, Question};
use crate::{CloseReason, ConnectError, Host, Received, SocketEvent, SocketId, TcpOptions, UdpError, UdpOptions};

const DNS_PORT: u16 = 53;

/// How long a server may take to answer by UDP; the second round takes twice as long.
const UDP_PATIENCE: Duration = Duration::from_secs(2);

/// How long one exchange by TCP may take.
const TCP_PATIENCE: Duration = Duration::from_secs(5);

/// How long a question waits for the tunnel, where it cannot be sent.
const TUNNEL_PATIENCE: Duration = Duration::from_secs(30);

/// How often every server is asked.
const ROUNDS: usize = 2;

/// Random ports that are tried before one is taken in order.
const PORT_TRIES: u32 = 8;

/// How a try ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// The answer is not there yet.
    Waiting,
    Answered(Answer),
    /// No server answered: `true` where at least one has refused.
    Exhausted(bool),
}

enum Transport {
    /// Not begun, or waiting for a new session.
    None,
    /// `unsent`: the query waits for room.
    Udp {
        id: SocketId,
        unsent: bool,
    },
    Tcp {
        id: SocketId,
        received: Vec<u8>,
    },
}

/// One question, asked of one server after the other.
pub(super) struct Exchange {
    pub question: Question,
    servers: Vec<IpAddr>,
    tries: usize,
    message_id: u16,
    edns: bool,
    transport: Transport,
    pub deadline: Instant,
    refused: bool,
}

impl Exchange {
    /// `first` is the server to begin with. Nothing is sent before [`start`](Self::start).
    pub fn new(question: Question, mut servers: Vec<IpAddr>, first: usize, now: Instant) -> Self {
        let first = first % servers.len().max(1);
        servers.rotate_left(first);
        Self {
            question,
            servers,
            tries: 0,
            message_id: 0,
            edns: true,
            transport: Transport::None,
            deadline: now,
            refused: false,
        }
    }

    pub fn socket(&self) -> Option<SocketId> {
        match self.transport {
            Transport::None => None,
            Transport::Udp { id, .. } | Transport::Tcp { id, .. } => Some(id),
        }
    }

    fn server(&self) -> Option<SocketAddr> {
        let index = self.tries.checked_rem(self.servers.len())?;
        Some(SocketAddr::new(self.servers[index], DNS_PORT))
    }

    /// Asks the current server by UDP, or the next one that can be asked at all.
    pub fn start(&mut self, host: &mut Host, random: u32, now: Instant) -> Step {
        self.stop(host, now);
        if host.addresses().is_empty() {
            return self.suspend(host, now);
        }
        while self.tries < self.servers.len() * ROUNDS {
            if self.ask_udp(host, random, now).is_some() {
                return Step::Waiting;
            }
            self.stop(host, now);
            self.tries += 1;
        }
        Step::Exhausted(self.refused)
    }

    /// The session is lost. What is asked by this one is asked again in the next.
    fn suspend(&mut self, host: &mut Host, now: Instant) -> Step {
        self.stop(host, now);
        self.deadline = now + TUNNEL_PATIENCE;
        Step::Waiting
    }

    /// There is a session again: begins anew if it was suspended.
    pub fn resume(&mut self, servers: &[IpAddr], host: &mut Host, random: u32, now: Instant) -> Step {
        if self.socket().is_some() {
            return Step::Waiting;
        }
        self.servers = servers.to_vec();
        self.tries = 0;
        self.start(host, random, now)
    }

    fn ask_udp(&mut self, host: &mut Host, random: u32, now: Instant) -> Option<()> {
        let server = self.server()?;
        self.message_id = random as u16;
        let id = bind(host, server.ip(), random.rotate_left(16), now)?;
        self.transport = Transport::Udp { id, unsent: true };
        host.udp_connect(id, server).ok()?;
        self.send_udp(host, now)
    }

    /// Sends the query, or leaves it to be sent when there is room.
    fn send_udp(&mut self, host: &mut Host, now: Instant) -> Option<()> {
        let Transport::Udp { id, unsent } = &mut self.transport else { return None };
        let query = message::encode(&self.question, self.message_id, self.edns)?;
        *unsent = !host.udp_send(*id, &query, None, now).ok()?;
        let round = u32::try_from(self.tries / self.servers.len().max(1)).unwrap_or(u32::MAX);
        let patience = if *unsent { TUNNEL_PATIENCE } else { UDP_PATIENCE * (round + 1) };
        self.deadline = now + patience;
        Some(())
    }

    fn ask_tcp(&mut self, host: &mut Host, random: u32, now: Instant) -> Step {
        self.stop(host, now);
        let opened = self.server().and_then(|server| host.tcp_connect(server, TcpOptions::default(), now).ok());
        let Some(id) = opened else { return self.next_server(host, random, now) };
        self.transport = Transport::Tcp { id, received: Vec::new() };
        self.deadline = now + TCP_PATIENCE;
        Step::Waiting
    }

    fn next_server(&mut self, host: &mut Host, random: u32, now: Instant) -> Step {
        self.tries += 1;
        self.start(host, random, now)
    }

    /// Something has happened to our socket.
    pub fn handle_event(&mut self, event: &SocketEvent, host: &mut Host, random: u32, now: Instant) -> Step {
        match (*event, &self.transport) {
            (SocketEvent::UdpError(_, UdpError::AddressLost, _), _)
            | (SocketEvent::TcpConnectFailed(_, ConnectError::AddressLost), _)
            | (SocketEvent::TcpClosed(_, CloseReason::AddressLost), _) => self.suspend(host, now),
            (SocketEvent::UdpReadable(_), Transport::Udp { id, .. }) => self.read_udp(*id, host, random, now),
            (SocketEvent::UdpWritable(_), Transport::Udp { unsent: true, .. }) => match self.send_udp(host, now) {
                Some(()) => Step::Waiting,
                None => self.next_server(host, random, now),
            },
            (SocketEvent::UdpError(..) | SocketEvent::TcpConnectFailed(..), _) => {
                self.refused = true;
                self.next_server(host, random, now)
            }
            (SocketEvent::TcpConnected(_), Transport::Tcp { id, .. }) => {
                let id = *id;
                self.message_id = random as u16;
                let query = message::encode(&self.question, self.message_id, self.edns).unwrap_or_default();
                let len = u16::try_from(query.len()).unwrap_or(0);
                let framed = [&len.to_be_bytes()[..], &query].concat();
                // A fresh connection takes more than any query.
                let _ = host.tcp_send(id, &framed, now);
                Step::Waiting
            }
            (SocketEvent::TcpReadable(_) | SocketEvent::TcpClosed(..), Transport::Tcp { .. }) => {
                self.read_tcp(host, random, now)
            }
            _ => Step::Waiting,
        }
    }

    fn read_udp(&mut self, id: SocketId, host: &mut Host, random: u32, now: Instant) -> Step {
        while let Some(datagram) = host.udp_recv(id) {
            let answer = message::decode(&datagram.payload, &self.question, self.message_id, self.edns);
            if let Some(answer) = answer {
                return self.answered(answer, host, random, now);
            }
        }
        Step::Waiting
    }

    fn read_tcp(&mut self, host: &mut Host, random: u32, now: Instant) -> Step {
        let Transport::Tcp { id, received } = &mut self.transport else { return Step::Waiting };
        let mut buffer = [0; 4096];
        let mut over = false;
        loop {
            match host.tcp_recv(*id, &mut buffer, now) {
                // The length field bounds a message to 65,535 octets.
                Ok(Received::Data(len)) if received.len() <= 65_537 => received.extend_from_slice(&buffer[..len]),
                Ok(Received::Empty) => break,
                _ => {
                    over = true;
                    break;
                }
            }
        }
        let whole = received.split_first_chunk::<2>().and_then(|(len, rest)| {
            let len = usize::from(u16::from_be_bytes(*len));
            rest.get(..len)
        });
        let answer = whole.map(|whole| message::decode(whole, &self.question, self.message_id, self.edns));
        match answer {
            // Truncated even by TCP: the server is broken.
            Some(Some(Answer::Truncated) | None) => self.next_server(host, random, now),
            Some(Some(answer)) => self.answered(answer, host, random, now),
            None if over => self.next_server(host, random, now),
            None => Step::Waiting,
        }
    }

    fn answered(&mut self, answer: Answer, host: &mut Host, random: u32, now: Instant) -> Step {
        match answer {
            Answer::Truncated => self.ask_tcp(host, random, now),
            Answer::NoEdns => {
                self.edns = false;
                self.start(host, random, now)
            }
            Answer::Failed => {
                self.refused = true;
                self.next_server(host, random, now)
            }
            answer => {
                self.stop(host, now);
                Step::Answered(answer)
            }
        }
    }

    /// The server has not answered in time, or the tunnel did not come back.
    pub fn handle_timeout(&mut self, host: &mut Host, random: u32, now: Instant) -> Step {
        match self.transport {
            Transport::None | Transport::Udp { unsent: true, .. } => {
                self.stop(host, now);
                Step::Exhausted(self.refused)
            }
            _ => self.next_server(host, random, now),
        }
    }

    /// Gives the socket back.
    pub fn stop(&mut self, host: &mut Host, now: Instant) {
        if let Some(id) = self.socket() {
            host.close(id, now);
        }
        self.transport = Transport::None;
    }
}

/// A socket on a random port (RFC 5452 section 9.2).
fn bind(host: &mut Host, server: IpAddr, random: u32, now: Instant) -> Option<SocketId> {
    let any = if server.is_ipv4() { IpAddr::V4(Ipv4Addr::UNSPECIFIED) } else { IpAddr::V6(Ipv6Addr::UNSPECIFIED) };
    let options = UdpOptions { ipv6_only: true, ..UdpOptions::default() };
    let random_port = |step: u32| host_port(host, any, random.wrapping_add(step.wrapping_mul(0x9E37_79B9)));
    let ports: Vec<u16> = (0..PORT_TRIES).map(random_port).chain([0]).collect();
    ports.into_iter().find_map(|port| host.udp_bind(SocketAddr::new(any, port), options, now).ok())
}

fn host_port(host: &Host, any: IpAddr, random: u32) -> u16 {
    host.random_port(any.is_ipv4(), random)
}

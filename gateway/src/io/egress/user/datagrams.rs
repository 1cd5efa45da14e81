//! UDP and echo: one socket of this machine for each endpoint of the NAT, whoever it speaks to (RFC 4787 REQ-1).

use super::aliases::Aliases;
use super::poller::{Owner, Poller};
use super::{dial, packets, reports};
use crate::dataplane::{DropReason, OwnAddresses};
use bytes::BytesMut;
use mio::net::UdpSocket;
use std::collections::{BTreeMap, VecDeque};
use std::io::{self, ErrorKind};
use std::net::{IpAddr, SocketAddr};
use std::ops::RangeInclusive;
use std::time::Duration;
use webtun_wire::Instant;

/// Sockets at once. Beyond it the one that was idle for longest is closed.
const CAPACITY: usize = 4096;
/// Datagrams that a socket gives in its turn.
const TURN: usize = 32;
/// How often idle sockets are looked for.
const SWEEP: Duration = Duration::from_secs(5);
/// Programs of this machine that have called a socket and can be answered. Beyond it the one that came first is forgotten.
const CALLERS: usize = 16;

/// How long a socket outlives the last packet; the NAT's own timers.
#[derive(Clone, Copy, Debug)]
pub(super) struct Timeouts {
    pub udp: Duration,
    pub echo: Duration,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    Udp,
    /// The endpoint's port is the identifier.
    Echo,
}

#[derive(Debug)]
struct Association {
    kind: Kind,
    /// The NAT's endpoint, which stands for the client.
    inner: SocketAddr,
    socket: UdpSocket,
    used: Instant,
    /// A client has mapped this port, which therefore stays open.
    pinned: bool,
    queued: bool,
    /// Ports of this machine's programs that have called.
    callers: VecDeque<u16>,
}

pub(super) struct Datagrams {
    timeouts: Timeouts,
    associations: BTreeMap<u32, Association>,
    numbers: BTreeMap<(Kind, SocketAddr), u32>,
    next: u32,
    ready: VecDeque<u32>,
    sweep_at: Option<Instant>,
    buffer: Vec<u8>,
    /// What this machine says about ping sockets was logged.
    told: bool,
    own: OwnAddresses,
    aliases: Aliases,
}

/// What leaves by a socket.
#[derive(Clone, Copy, Debug)]
pub(super) struct Outgoing<'a> {
    /// The whole packet, for an error to quote.
    pub packet: &'a [u8],
    pub from: SocketAddr,
    /// The port is 0 for echo requests.
    pub to: SocketAddr,
    pub payload: &'a [u8],
}

impl Datagrams {
    pub fn new(timeouts: Timeouts, aliases: Aliases) -> Self {
        Self {
            timeouts,
            associations: BTreeMap::new(),
            numbers: BTreeMap::new(),
            next: 0,
            ready: VecDeque::new(),
            sweep_at: None,
            buffer: vec![0; usize::from(u16::MAX)],
            told: false,
            own: OwnAddresses::default(),
            aliases,
        }
    }

    /// This machine has these addresses.
    pub fn set_own_addresses(&mut self, own: OwnAddresses) {
        self.own = own;
    }

    /// Sends a datagram; gives the ICMP error where this machine knows that it cannot.
    pub fn send(&mut self, out: Outgoing<'_>, poller: &Poller, now: Instant) -> Result<Option<BytesMut>, DropReason> {
        self.send_by(Kind::Udp, out, poller, now)
    }

    /// Likewise for an echo request, whose payload is the whole message.
    pub fn ping(&mut self, out: Outgoing<'_>, poller: &Poller, now: Instant) -> Result<Option<BytesMut>, DropReason> {
        self.send_by(Kind::Echo, out, poller, now)
    }

    fn send_by(
        &mut self,
        kind: Kind,
        out: Outgoing<'_>,
        poller: &Poller,
        now: Instant,
    ) -> Result<Option<BytesMut>, DropReason> {
        let refused = |error: &io::Error| {
            let no_route = matches!(error.kind(), ErrorKind::NetworkUnreachable | ErrorKind::AddrNotAvailable);
            let problem = packets::unreachable(out.to.ip(), error.kind() == ErrorKind::PermissionDenied, no_route);
            packets::error(&problem, out.packet)
        };
        if let Err(error) = dial::check(out.to.ip()) {
            return Ok(refused(&error));
        }
        let announced = self.aliases.outward(out.to.ip());
        let association = self.obtain(kind, out.from, poller, now)?;
        let to = match announced {
            None => out.to,
            Some(announced) if association.callers.contains(&out.to.port()) => {
                SocketAddr::new(announced, out.to.port())
            }
            // This machine's programs are answered, and never called.
            Some(_) => return Ok(refused(&ErrorKind::PermissionDenied.into())),
        };
        association.used = now;
        // The first attempt may be told of an earlier datagram's fate.
        let sent = association.socket.send_to(out.payload, to);
        let sent = sent.or_else(|_| association.socket.send_to(out.payload, to));
        match sent {
            Ok(_) => Ok(None),
            Err(error) if dial::is_shortage(&error) => Err(DropReason::EgressFull),
            Err(error) if error.raw_os_error() == Some(libc::EMSGSIZE) => Err(DropReason::TooBig),
            Err(error) => Ok(refused(&error)),
        }
    }

    fn obtain(
        &mut self,
        kind: Kind,
        inner: SocketAddr,
        poller: &Poller,
        now: Instant,
    ) -> Result<&mut Association, DropReason> {
        let number = match self.numbers.get(&(kind, inner)) {
            Some(&number) => number,
            None => self.open(kind, inner, poller, now)?,
        };
        self.associations.get_mut(&number).ok_or(DropReason::EgressSockets)
    }

    fn open(&mut self, kind: Kind, inner: SocketAddr, poller: &Poller, now: Instant) -> Result<u32, DropReason> {
        if self.associations.len() >= CAPACITY {
            let idle = self.associations.iter().filter(|(_, it)| !it.pinned).min_by_key(|(_, it)| it.used);
            let oldest = idle.map(|(number, _)| *number).ok_or(DropReason::EgressSockets)?;
            self.close(oldest);
        }
        let number = self.next;
        self.next = self.next.wrapping_add(1);
        let made = match kind {
            Kind::Udp => dial::udp(inner),
            Kind::Echo => dial::ping(inner.ip()),
        };
        let made = made.and_then(|mut socket| {
            reports::enable(&socket, inner.is_ipv4())?;
            poller.add(&mut socket, Owner::Datagram(number))?;
            Ok(socket)
        });
        let socket = made.map_err(|error| self.explain(kind, &error))?;
        let association =
            Association { kind, inner, socket, used: now, pinned: false, queued: false, callers: VecDeque::new() };
        self.associations.insert(number, association);
        self.numbers.insert((kind, inner), number);
        self.sweep_at.get_or_insert(now + SWEEP);
        Ok(number)
    }

    fn explain(&mut self, kind: Kind, error: &io::Error) -> DropReason {
        if kind == Kind::Echo && !dial::is_shortage(error) {
            if !std::mem::replace(&mut self.told, true) {
                tracing::warn!(
                    %error,
                    "clients cannot ping: this machine lets this user open no ping sockets; set \
                     net.ipv4.ping_group_range to include its group (`sysctl -w net.ipv4.ping_group_range=\"0 2147483647\"`)"
                );
            }
            return DropReason::EgressPing;
        }
        tracing::debug!(%error, "no socket for a datagram");
        DropReason::EgressSockets
    }

    /// Keeps a socket open at a port that a client has mapped.
    ///
    /// # Errors
    /// `AddrInUse` where another program has that port; else the system's word.
    pub fn pin(&mut self, inner: SocketAddr, poller: &Poller, now: Instant) -> io::Result<()> {
        let is_new = !self.numbers.contains_key(&(Kind::Udp, inner));
        let association = self.obtain(Kind::Udp, inner, poller, now).map_err(|_| ErrorKind::OutOfMemory)?;
        association.pinned = association.socket.local_addr()?.port() == inner.port();
        if association.pinned {
            return Ok(());
        }
        if is_new && let Some(&number) = self.numbers.get(&(Kind::Udp, inner)) {
            self.close(number);
        }
        Err(ErrorKind::AddrInUse.into())
    }

    /// The mapping is over; the socket lives on as long as others.
    pub fn unpin(&mut self, inner: SocketAddr, now: Instant) {
        let number = self.numbers.get(&(Kind::Udp, inner)).copied();
        if let Some(association) = number.and_then(|number| self.associations.get_mut(&number)) {
            association.pinned = false;
            association.used = now;
        }
    }

    /// The kernel has something for this socket.
    pub fn heard(&mut self, number: u32) {
        if let Some(association) = self.associations.get_mut(&number).filter(|it| !it.queued) {
            association.queued = true;
            self.ready.push_back(number);
        }
    }

    pub fn has_turns(&self) -> bool {
        !self.ready.is_empty()
    }

    /// Takes what one socket has got; false where none has anything.
    pub fn turn(&mut self, out: &mut VecDeque<BytesMut>, now: Instant) -> bool {
        let Some(number) = self.ready.pop_front() else { return false };
        let Some(association) = self.associations.get_mut(&number) else { return true };
        association.queued = false;
        let (own, aliases) = (&self.own, &self.aliases);
        reports::take(&association.socket, |mut report| {
            report.to = aliases.inward(report.to);
            // What this machine says itself, such as that a neighbour does not answer, would be taken for forged outside.
            if own.hosts.contains(&report.problem.from) {
                report.problem.from = report.to.ip();
            }
            out.extend(association.tell(&report));
        });
        for _ in 0..TURN {
            match association.socket.recv_from(&mut self.buffer) {
                Ok((len, from)) => {
                    association.used = now;
                    let known_as = aliases.inward(from);
                    if known_as != from {
                        association.called_by(from.port());
                    }
                    out.extend(association.packet(known_as, self.buffer.get(..len).unwrap_or_default()));
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => return true,
                // About a datagram that has left; what is known of it has been told.
                Err(_) => {}
            }
        }
        self.heard(number);
        true
    }

    /// When [`Self::handle_timeout`] is due.
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.sweep_at
    }

    /// Closes what is idle.
    pub fn handle_timeout(&mut self, now: Instant) {
        if self.sweep_at.is_none_or(|at| now < at) {
            return;
        }
        let timeouts = self.timeouts;
        let is_idle = |it: &Association| {
            let timeout = if it.kind == Kind::Udp { timeouts.udp } else { timeouts.echo };
            !it.pinned && it.used + timeout <= now
        };
        self.close_all(is_idle);
        self.sweep_at = (!self.associations.is_empty()).then_some(now + SWEEP);
    }

    /// The NAT's ports are nobody's any more.
    pub fn release(&mut self, address: IpAddr, ports: &RangeInclusive<u16>) {
        self.close_all(|it| it.inner.ip() == address && ports.contains(&it.inner.port()));
    }

    fn close_all(&mut self, is_over: impl Fn(&Association) -> bool) {
        let over: Vec<u32> =
            self.associations.iter().filter(|(_, it)| is_over(it)).map(|(number, _)| *number).collect();
        for number in over {
            self.close(number);
        }
    }

    fn close(&mut self, number: u32) {
        if let Some(association) = self.associations.remove(&number) {
            self.numbers.remove(&(association.kind, association.inner));
        }
    }
}

impl Association {
    fn called_by(&mut self, port: u16) {
        if !self.callers.contains(&port) {
            self.callers.truncate(CALLERS - 1);
            self.callers.push_front(port);
        }
    }

    /// What has come, as a packet for the client.
    fn packet(&self, from: SocketAddr, payload: &[u8]) -> Option<BytesMut> {
        // What comes by loopback would be taken for this machine's secrets' owner, and no client could answer.
        dial::check(from.ip()).ok()?;
        match self.kind {
            Kind::Udp => packets::datagram(from, self.inner, payload),
            Kind::Echo => packets::echo_reply(from.ip(), self.inner, payload),
        }
    }

    /// What has become of an earlier datagram, as a packet for the client.
    fn tell(&self, report: &reports::Report) -> Option<BytesMut> {
        let about = match self.kind {
            Kind::Udp => packets::datagram(self.inner, report.to, &report.payload),
            Kind::Echo => packets::echo_packet(self.inner, report.to.ip(), &report.payload),
        };
        packets::error(&report.problem, &about?)
    }
}

//! A virtual machine's network card and system: smoltcp with Ethernet, DHCP and address autoconfiguration.

use smoltcp::iface::{Config, Interface, SocketHandle, SocketSet};
use smoltcp::phy::{Device, DeviceCapabilities, Medium, RxToken, TxToken};
use smoltcp::socket::{dhcpv4, icmp, tcp, udp};
use smoltcp::time::Instant as Time;
use smoltcp::wire::{EthernetAddress, IpAddress, IpCidr, IpEndpoint, Ipv4Cidr};
use std::collections::VecDeque;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use webtun_stack::bridge::MacAddress;
use webtun_wire::Instant;

use crate::pattern;

/// How much a connection buffers.
const BUFFER: usize = 512 * 1024;
const ETHERNET_HEADER: usize = 14;

/// A virtual machine.
pub struct Guest {
    /// Its network card.
    pub mac: MacAddress,
    /// What DHCP has given: address, router and the first DNS server.
    pub lease: Option<(Ipv4Addr, Ipv4Addr, Ipv4Addr)>,
    /// Its TCP connections.
    pub connections: Vec<Connection>,
    /// Its requests to servers.
    pub requests: Vec<Request>,
    /// The longest frame that it has taken.
    pub longest: usize,
    iface: Interface,
    sockets: SocketSet<'static>,
    card: Card,
    dhcp: SocketHandle,
    udp: SocketHandle,
    icmp: SocketHandle,
}

/// A TCP connection that sends a pattern, and expects the same or another one.
pub struct Connection {
    handle: SocketHandle,
    seed: u64,
    send: u64,
    sent: u64,
    /// Octets received, each as the pattern demands.
    pub received: u64,
    /// The first octet that was wrong.
    pub mismatch: Option<u64>,
}

/// A TCP connection that says one thing, and reads until the server closes.
pub struct Request {
    handle: SocketHandle,
    unsent: Vec<u8>,
    /// What the server has said.
    pub answer: Vec<u8>,
    /// Whether the server has said all.
    pub is_complete: bool,
}

#[derive(Default)]
struct Card {
    mtu: usize,
    received: VecDeque<Vec<u8>>,
    sent: VecDeque<Vec<u8>>,
}

impl Guest {
    /// Switched on; `mtu` is that of IP packets.
    pub fn new(mac: MacAddress, mtu: usize, now: Instant) -> Self {
        let mut card = Card { mtu: mtu + ETHERNET_HEADER, ..Card::default() };
        let mut config = Config::new(EthernetAddress(mac.0).into());
        config.slaac = true;
        config.random_seed = u64::from(mac.0[5]) + 1;
        let mut iface = Interface::new(config, &mut card, time(now));
        let link_local = link_local(mac);
        iface.update_ip_addrs(|all| {
            let _ = all.push(IpCidr::new(IpAddress::Ipv6(link_local), 64));
        });
        let mut sockets = SocketSet::new(Vec::new());
        let dhcp = sockets.add(dhcpv4::Socket::new());
        let (rx, tx) = (udp_buffer(), udp_buffer());
        let udp = sockets.add(udp::Socket::new(rx, tx));
        let (rx, tx) = (icmp_buffer(), icmp_buffer());
        let icmp = sockets.add(icmp::Socket::new(rx, tx));
        sockets.get_mut::<udp::Socket<'_>>(udp).bind(4000).expect("a free port");
        sockets.get_mut::<icmp::Socket<'_>>(icmp).bind(icmp::Endpoint::Ident(7)).expect("a free identifier");
        let (connections, requests, longest) = (Vec::new(), Vec::new(), 0);
        Self { mac, lease: None, connections, requests, longest, iface, sockets, card, dhcp, udp, icmp }
    }

    /// A frame from the segment.
    pub fn handle_frame(&mut self, frame: &[u8]) {
        self.longest = self.longest.max(frame.len());
        assert!(frame.len() <= self.card.mtu, "a frame of {} octets for an MTU of {}", frame.len(), self.card.mtu);
        self.card.received.push_back(frame.to_vec());
    }

    /// The next frame for the segment.
    pub fn poll_frame(&mut self) -> Option<Vec<u8>> {
        self.card.sent.pop_front()
    }

    /// Lets its system and programs run.
    pub fn run(&mut self, now: Instant) {
        loop {
            self.maintain(now);
            self.iface.poll(time(now), &mut self.card, &mut self.sockets);
            self.configure();
            let mut moved = false;
            for connection in &mut self.connections {
                moved |= connection.run(self.sockets.get_mut(connection.handle));
            }
            for request in &mut self.requests {
                moved |= request.run(self.sockets.get_mut(request.handle));
            }
            if !moved && self.card.received.is_empty() {
                self.maintain(now);
                return;
            }
        }
    }

    /// Installs what router advertisements have said. smoltcp 0.14 installs no IPv6 route beside one of IPv4.
    fn maintain(&mut self, now: Instant) {
        let v4 = self.iface.routes_mut().remove_default_ipv4_route();
        self.iface.poll_maintenance(time(now));
        self.iface.routes_mut().update(|all| all.extend(v4));
    }

    /// When it has something to do by itself.
    pub fn poll_timeout(&mut self, now: Instant) -> Option<Instant> {
        let at = self.iface.poll_at(time(now), &self.sockets)?;
        Some(Instant::from_micros(u64::try_from(at.total_micros()).unwrap_or(0)).max(now))
    }

    /// Its IPv6 address below the segment's prefix.
    pub fn v6(&self) -> Option<Ipv6Addr> {
        self.iface.ip_addrs().iter().find_map(|cidr| match cidr.address() {
            IpAddress::Ipv6(address) if address.segments()[0] != 0xfe80 => Some(address),
            _ => None,
        })
    }

    /// Whether it has a router for IPv6.
    pub fn has_v6_route(&mut self) -> bool {
        let mut found = false;
        self.iface.routes_mut().update(|all| {
            found = all.iter().any(|it| it.cidr.prefix_len() == 0 && matches!(it.via_router, IpAddress::Ipv6(_)))
        });
        found
    }

    /// Connects from `port`, sends `len` octets of a pattern and expects them back, or another stream of the same pattern.
    ///
    /// # Panics
    ///
    /// Panics where it has no address of the family.
    pub fn connect(&mut self, remote: SocketAddr, port: u16, seed: u64, len: u64) -> usize {
        let mut socket = tcp_socket();
        socket.connect(self.iface.context(), endpoint(remote), port).expect("an address of the family");
        self.add(socket, seed, len)
    }

    /// Listens; sends and expects as [`Guest::connect`].
    ///
    /// # Panics
    ///
    /// Panics where the port is 0.
    pub fn listen(&mut self, port: u16, seed: u64, len: u64) -> usize {
        let mut socket = tcp_socket();
        socket.listen(port).expect("a port");
        self.add(socket, seed, len)
    }

    /// Connects from `port`, sends `request`, and reads to the end.
    ///
    /// # Panics
    ///
    /// Panics where it has no address of the family.
    pub fn request(&mut self, remote: SocketAddr, port: u16, request: &[u8]) -> usize {
        let mut socket = tcp_socket();
        socket.connect(self.iface.context(), endpoint(remote), port).expect("an address of the family");
        let handle = self.sockets.add(socket);
        self.requests.push(Request { handle, unsent: request.to_vec(), answer: Vec::new(), is_complete: false });
        self.requests.len() - 1
    }

    fn add(&mut self, socket: tcp::Socket<'static>, seed: u64, send: u64) -> usize {
        let handle = self.sockets.add(socket);
        self.connections.push(Connection { handle, seed, send, sent: 0, received: 0, mismatch: None });
        self.connections.len() - 1
    }

    /// Sends a datagram from port 4000.
    ///
    /// # Panics
    ///
    /// Panics where there is no room or no address.
    pub fn send_datagram(&mut self, remote: SocketAddr, payload: &[u8]) {
        let socket = self.sockets.get_mut::<udp::Socket<'_>>(self.udp);
        socket.send_slice(payload, endpoint(remote)).expect("room");
    }

    /// A datagram that came for port 4000.
    pub fn receive_datagram(&mut self) -> Option<(Vec<u8>, SocketAddr)> {
        let (payload, from) = self.sockets.get_mut::<udp::Socket<'_>>(self.udp).recv().ok()?;
        Some((payload.to_vec(), SocketAddr::new(address(from.endpoint.addr), from.endpoint.port)))
    }

    /// Sends an ICMP message, for an echo with identifier 7.
    ///
    /// # Panics
    ///
    /// Panics where there is no room.
    pub fn send_icmp(&mut self, message: &[u8], to: IpAddr) {
        let socket = self.sockets.get_mut::<icmp::Socket<'_>>(self.icmp);
        socket.send_slice(message, to.into()).expect("room");
    }

    /// An ICMP message that came.
    pub fn receive_icmp(&mut self) -> Option<(Vec<u8>, IpAddr)> {
        let (message, from) = self.sockets.get_mut::<icmp::Socket<'_>>(self.icmp).recv().ok()?;
        Some((message.to_vec(), address(from)))
    }

    fn configure(&mut self) {
        let (address, router, dns) = match self.sockets.get_mut::<dhcpv4::Socket<'_>>(self.dhcp).poll() {
            None => return,
            Some(dhcpv4::Event::Deconfigured) => (None, None, None),
            Some(dhcpv4::Event::Configured(config)) => {
                (Some(config.address), config.router, config.dns_servers.first().copied())
            }
        };
        self.iface.update_ip_addrs(|all| {
            all.retain(|cidr| !matches!(cidr, IpCidr::Ipv4(_)));
            all.extend(address.map(IpCidr::Ipv4));
        });
        if let Some(router) = router {
            let _ = self.iface.routes_mut().add_default_ipv4_route(router);
        }
        self.lease = address.map(|it: Ipv4Cidr| it.address()).zip(router).zip(dns).map(|((a, b), c)| (a, b, c));
    }
}

impl Connection {
    /// Whether everything has been sent, and as much received.
    pub fn is_complete(&self) -> bool {
        self.sent == self.send && self.received == self.send && self.mismatch.is_none()
    }

    fn run(&mut self, socket: &mut tcp::Socket<'static>) -> bool {
        let mut moved = false;
        while socket.can_recv() {
            let (seed, at) = (self.seed, self.received);
            let Ok((len, wrong)) = socket.recv(|data| (data.len(), (data.len(), pattern::mismatch(seed, at, data))))
            else {
                break;
            };
            self.received += len as u64;
            self.mismatch = self.mismatch.or(wrong);
            moved = true;
        }
        while self.sent < self.send && socket.can_send() {
            let (seed, at, left) = (self.seed, self.sent, self.send - self.sent);
            let fill = |out: &mut [u8]| {
                let len = out.len().min(usize::try_from(left).unwrap_or(usize::MAX));
                pattern::fill(seed, at, &mut out[..len]);
                (len, len)
            };
            let Ok(len) = socket.send(fill) else { break };
            self.sent += len as u64;
            moved = true;
        }
        moved
    }
}

impl Request {
    fn run(&mut self, socket: &mut tcp::Socket<'static>) -> bool {
        let mut moved = false;
        if socket.can_send() && !self.unsent.is_empty() {
            let sent = socket.send_slice(&self.unsent).unwrap_or(0);
            self.unsent.drain(..sent);
            moved |= sent > 0;
        }
        while socket.can_recv() {
            let answer = &mut self.answer;
            let taken = socket.recv(|data| {
                answer.extend_from_slice(data);
                (data.len(), data.len())
            });
            moved |= taken.is_ok_and(|len| len > 0);
        }
        let is_over = self.unsent.is_empty() && !socket.may_recv() && socket.may_send();
        if is_over && !self.is_complete {
            self.is_complete = true;
            socket.close();
            moved = true;
        }
        moved
    }
}

fn tcp_socket() -> tcp::Socket<'static> {
    let mut socket = tcp::Socket::new(tcp::SocketBuffer::new(vec![0; BUFFER]), tcp::SocketBuffer::new(vec![0; BUFFER]));
    socket.set_nagle_enabled(false);
    socket
}

fn udp_buffer() -> udp::PacketBuffer<'static> {
    udp::PacketBuffer::new(vec![udp::PacketMetadata::EMPTY; 16], vec![0; 128 * 1024])
}

fn icmp_buffer() -> icmp::PacketBuffer<'static> {
    icmp::PacketBuffer::new(vec![icmp::PacketMetadata::EMPTY; 16], vec![0; 64 * 1024])
}

fn link_local(mac: MacAddress) -> Ipv6Addr {
    let [a, b, c, d, e, f] = mac.0.map(u16::from);
    Ipv6Addr::new(0xfe80, 0, 0, 0, (a ^ 2) << 8 | b, c << 8 | 0xff, 0xfe00 | d, e << 8 | f)
}

fn time(now: Instant) -> Time {
    Time::from_micros(i64::try_from(now.as_micros()).unwrap_or(i64::MAX))
}

fn endpoint(address: SocketAddr) -> IpEndpoint {
    IpEndpoint::new(address.ip().into(), address.port())
}

fn address(address: IpAddress) -> IpAddr {
    match address {
        IpAddress::Ipv4(it) => it.into(),
        IpAddress::Ipv6(it) => it.into(),
    }
}

impl Device for Card {
    type RxToken<'a> = Rx;
    type TxToken<'a> = Tx<'a>;

    fn receive(&mut self, _: Time) -> Option<(Rx, Tx<'_>)> {
        let frame = self.received.pop_front()?;
        Some((Rx(frame), Tx(&mut self.sent)))
    }

    fn transmit(&mut self, _: Time) -> Option<Tx<'_>> {
        Some(Tx(&mut self.sent))
    }

    fn capabilities(&self) -> DeviceCapabilities {
        let mut capabilities = DeviceCapabilities::default();
        capabilities.medium = Medium::Ethernet;
        capabilities.max_transmission_unit = self.mtu;
        capabilities
    }
}

struct Rx(Vec<u8>);
struct Tx<'a>(&'a mut VecDeque<Vec<u8>>);

impl RxToken for Rx {
    fn consume<R, F: FnOnce(&[u8]) -> R>(self, f: F) -> R {
        f(&self.0)
    }
}

impl TxToken for Tx<'_> {
    fn consume<R, F: FnOnce(&mut [u8]) -> R>(self, len: usize, f: F) -> R {
        let mut frame = vec![0; len];
        let result = f(&mut frame);
        self.0.push_back(frame);
        result
    }
}

//! What a program asks for.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use crate::BufferSizes;
use crate::packet::HOP_LIMIT;

/// How a TCP connection is opened.
#[derive(Clone, Debug)]
pub struct TcpOptions {
    /// Local address and port; unspecified and 0 are chosen. `None`: both are chosen.
    pub local: Option<SocketAddr>,
    /// Overrides [`HostConfig::buffers`](crate::HostConfig::buffers).
    pub buffers: Option<BufferSizes>,
    /// How long the peer may take to answer: 30 s.
    pub connect_timeout: Duration,
    /// True switches Nagle's algorithm (RFC 9293 section 3.7.4) off. Default false.
    pub nodelay: bool,
    /// Probe an idle peer after this long (a second at least); after four intervals without an answer it counts as
    /// gone. Default `None`.
    pub keep_alive: Option<Duration>,
    /// TTL or hop limit: 64. 0 counts as 1.
    pub hop_limit: u8,
}

impl Default for TcpOptions {
    fn default() -> Self {
        Self {
            local: None,
            buffers: None,
            connect_timeout: Duration::from_secs(30),
            nodelay: false,
            keep_alive: None,
            hop_limit: HOP_LIMIT,
        }
    }
}

/// Where a connection leads that is split at the gateway.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StreamHost {
    /// To this address.
    Address(IpAddr),
    /// To a name that the gateway resolves.
    Name(String),
}

/// How a listener is made.
#[derive(Clone, Debug)]
pub struct ListenOptions {
    /// How many connections may be half open or wait for `tcp_accept`: 128. A SYN beyond it is dropped, so that the
    /// peer tries again.
    pub backlog: usize,
    /// True: `[::]` takes no IPv4 connections. Default false.
    pub ipv6_only: bool,
    /// For the accepted connections; `local` and `connect_timeout` mean nothing here.
    pub tcp: TcpOptions,
}

impl Default for ListenOptions {
    fn default() -> Self {
        Self { backlog: 128, ipv6_only: false, tcp: TcpOptions::default() }
    }
}

/// How a UDP socket is made.
#[derive(Clone, Copy, Debug)]
pub struct UdpOptions {
    /// How many octets of received payload may wait: 256 KiB. A datagram beyond it is dropped and counted.
    pub receive_buffer: usize,
    /// True: `[::]` takes no IPv4 datagrams. Default false.
    pub ipv6_only: bool,
}

impl Default for UdpOptions {
    fn default() -> Self {
        Self { receive_buffer: 256 * 1024, ipv6_only: false }
    }
}

/// One echo request.
#[derive(Clone, Copy, Debug)]
pub struct PingOptions {
    /// Octets of payload: 56.
    pub len: usize,
    /// How long the reply may take: 5 s.
    pub timeout: Duration,
    /// TTL or hop limit: 64. 0 counts as 1.
    pub hop_limit: u8,
}

impl Default for PingOptions {
    fn default() -> Self {
        Self { len: 56, timeout: Duration::from_secs(5), hop_limit: HOP_LIMIT }
    }
}

/// Which addresses a name is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    /// IPv6 addresses first, then IPv4 ones. A family of which we have no address is not asked for.
    Any,
    /// IPv4 addresses only.
    V4,
    /// IPv6 addresses only.
    V6,
}

/// TCP or UDP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// IP protocol 6.
    Tcp,
    /// IP protocol 17.
    Udp,
}

/// A wanted external port (RFC 6887 MAP).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PortMapOptions {
    /// Of the mapped port.
    pub protocol: Protocol,
    /// True asks for an external IPv6 address, false for IPv4.
    pub ipv6: bool,
    /// The port of our listener or UDP socket.
    pub internal_port: u16,
    /// The wanted external port; 0 for any.
    pub external_port: u16,
    /// How long the gateway is to keep it without a renewal. The stack renews it after half of what is granted.
    pub lifetime: Duration,
}

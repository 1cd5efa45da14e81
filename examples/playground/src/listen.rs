//! Sockets bound on one of the playground's addresses.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use nix::sys::socket::setsockopt;
use nix::sys::socket::sockopt::RcvBufForce;
use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::{TcpListener, TcpStream, UdpSocket};

/// Connections that may wait to be accepted: a page that opens 1,000 sockets at once finds room.
const BACKLOG: i32 = 4096;
/// A burst of datagrams of the largest size finds room too.
const DATAGRAM_BUFFER: usize = 8 << 20;

/// Where to bind: an address, and what is added to each port.
pub struct Binder {
    /// The address of the servers.
    pub address: IpAddr,
    /// Added to each port.
    pub offset: u16,
}

impl Binder {
    /// The socket address of a service with this well-known port.
    pub fn at(&self, port: u16) -> SocketAddr {
        SocketAddr::new(self.address, port + self.offset)
    }

    /// A listening socket.
    pub fn tcp(&self, port: u16) -> io::Result<TcpListener> {
        let listener = self.socket(port, Type::STREAM, Protocol::TCP).and_then(|socket| {
            socket.listen(BACKLOG)?;
            TcpListener::from_std(socket.into())
        });
        listener.map_err(|error| self.explain("TCP", port, &error))
    }

    /// A datagram socket.
    pub fn udp(&self, port: u16) -> io::Result<UdpSocket> {
        let socket = self.socket(port, Type::DGRAM, Protocol::UDP).and_then(|socket| {
            socket.set_recv_buffer_size(DATAGRAM_BUFFER)?;
            // Past the system's limit, where we may: a server that waits for the processor shall lose nothing meanwhile.
            let _ = setsockopt(&socket, RcvBufForce, &DATAGRAM_BUFFER);
            socket.set_send_buffer_size(DATAGRAM_BUFFER)?;
            UdpSocket::from_std(socket.into())
        });
        socket.map_err(|error| self.explain("UDP", port, &error))
    }

    fn socket(&self, port: u16, kind: Type, protocol: Protocol) -> io::Result<Socket> {
        let address = self.at(port);
        let socket = Socket::new(Domain::for_address(address), kind, Some(protocol))?;
        if address.is_ipv6() {
            socket.set_only_v6(true)?;
        }
        if kind == Type::STREAM {
            socket.set_reuse_address(true)?;
        }
        socket.set_nonblocking(true)?;
        socket.bind(&address.into())?;
        Ok(socket)
    }

    fn explain(&self, protocol: &str, port: u16, error: &io::Error) -> io::Error {
        io::Error::new(error.kind(), format!("cannot serve on {protocol} {}: {error}", self.at(port)))
    }
}

/// Accepts for ever and runs `handle` for each connection, in a task of its own.
pub fn accept<F, R>(listener: TcpListener, handle: F)
where
    F: Fn(TcpStream) -> R + Send + 'static,
    R: Future<Output = ()> + Send + 'static,
{
    tokio::spawn(async move {
        loop {
            match listener.accept().await {
                Ok((stream, _)) => {
                    // A failure costs only latency.
                    let _ = stream.set_nodelay(true);
                    tokio::spawn(handle(stream));
                }
                // Out of descriptors, most likely: others will end.
                Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
            }
        }
    });
}

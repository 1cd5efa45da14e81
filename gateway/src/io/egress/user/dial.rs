//! Sockets of this machine as the egress needs them.

use crate::dataplane::OwnAddresses;
use crate::io::dial;
pub(super) use crate::io::dial::check;
use mio::net::{TcpStream, UdpSocket};
use socket2::{Domain, Protocol, SockAddr, Socket, Type};
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use webtun_stack::{Refusal, Unreachable};

/// Connections that the kernel keeps for us to accept, per mapped port.
const BACKLOG: i32 = 128;

/// Begins to connect.
///
/// # Errors
/// `PermissionDenied` for addresses that mean this machine or nobody; else the system's word.
pub(super) fn tcp(to: SocketAddr) -> io::Result<TcpStream> {
    let socket = dial::tcp(to)?;
    match socket.connect(&to.into()) {
        Err(error) if error.raw_os_error() != Some(libc::EINPROGRESS) => Err(error),
        _ => Ok(TcpStream::from_std(socket.into())),
    }
}

/// Whether the connection has come about, once the socket is writable; `None`: not yet.
///
/// # Errors
/// Why it has not. A connection to this machine itself, by an address that the dataplane has not judged as the machine's own, is
/// `PermissionDenied`.
pub(super) fn connected(stream: &TcpStream, own: &OwnAddresses) -> io::Result<Option<()>> {
    if let Some(error) = stream.take_error()? {
        return Err(error);
    }
    match stream.peer_addr() {
        Ok(peer) if stream.local_addr()?.ip() == peer.ip() && !own.hosts.contains(&peer.ip()) => {
            Err(io::ErrorKind::PermissionDenied.into())
        }
        Ok(_) => Ok(Some(())),
        Err(error) if error.kind() == io::ErrorKind::NotConnected => Ok(None),
        Err(error) => Err(error),
    }
}

/// Has the peer get a RST when the socket is dropped.
pub(super) fn reset_on_drop(stream: &TcpStream) {
    // Where it fails the peer gets a FIN, and a RST to whatever it sends then.
    let _ = socket2::SockRef::from(stream).set_linger(Some(std::time::Duration::ZERO));
}

/// How a client is told that its connection did not come about.
pub(super) fn refusal(error: &io::Error) -> Refusal {
    use io::ErrorKind as Kind;
    match error.kind() {
        Kind::ConnectionRefused | Kind::ConnectionReset | Kind::ConnectionAborted => Refusal::Reset,
        Kind::TimedOut => Refusal::Silence,
        Kind::PermissionDenied => Refusal::Unreachable(Unreachable::Prohibited),
        Kind::NetworkUnreachable | Kind::NetworkDown | Kind::AddrNotAvailable | Kind::Unsupported => {
            Refusal::Unreachable(Unreachable::Net)
        }
        // Without a descriptor or memory there may be one when the SYN is repeated.
        _ if is_shortage(error) => Refusal::Silence,
        _ => Refusal::Unreachable(Unreachable::Host),
    }
}

/// True where the machine has too little of something, which may pass.
pub(super) fn is_shortage(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EMFILE | libc::ENFILE | libc::ENOBUFS | libc::ENOMEM | libc::EAGAIN))
}

/// A UDP socket of this family, at the port that the NAT has given out where that is free on this machine.
///
/// # Errors
/// The system's word.
pub(super) fn udp(like: SocketAddr) -> io::Result<UdpSocket> {
    let any = if like.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
    let bind = |port| bound(any, port, Type::DGRAM, Some(Protocol::UDP));
    let socket = bind(like.port()).or_else(|_| bind(0))?;
    Ok(UdpSocket::from_std(socket.into()))
}

/// A socket for echo requests, which needs no privilege where the system allows it.
///
/// # Errors
/// `PermissionDenied` where it does not; else the system's word.
pub(super) fn ping(like: IpAddr) -> io::Result<UdpSocket> {
    let (any, protocol) = match like {
        IpAddr::V4(_) => (Ipv4Addr::UNSPECIFIED.into(), Protocol::ICMPV4),
        IpAddr::V6(_) => (Ipv6Addr::UNSPECIFIED.into(), Protocol::ICMPV6),
    };
    Ok(UdpSocket::from_std(bound(any, 0, Type::DGRAM, Some(protocol))?.into()))
}

/// A socket that takes connections to a mapped port.
///
/// # Errors
/// The system's word, such as `AddrInUse`.
pub(super) fn listener(ipv6: bool, port: u16) -> io::Result<mio::net::TcpListener> {
    let any = if ipv6 { Ipv6Addr::UNSPECIFIED.into() } else { Ipv4Addr::UNSPECIFIED.into() };
    let socket = bound(any, port, Type::STREAM, Some(Protocol::TCP))?;
    socket.listen(BACKLOG)?;
    Ok(mio::net::TcpListener::from_std(socket.into()))
}

fn bound(address: IpAddr, port: u16, kind: Type, protocol: Option<Protocol>) -> io::Result<Socket> {
    let address = SocketAddr::new(address, port);
    let socket = Socket::new(Domain::for_address(address), kind, protocol)?;
    socket.set_nonblocking(true)?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    if kind == Type::STREAM {
        socket.set_reuse_address(true)?;
    }
    socket.bind(&SockAddr::from(address))?;
    Ok(socket)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn causes_are_told_apart() {
        let of = |code| refusal(&io::Error::from_raw_os_error(code));
        assert_eq!(of(libc::ECONNREFUSED), Refusal::Reset);
        assert_eq!(of(libc::EHOSTUNREACH), Refusal::Unreachable(Unreachable::Host));
        assert_eq!(of(libc::ENETUNREACH), Refusal::Unreachable(Unreachable::Net));
        assert_eq!(of(libc::EACCES), Refusal::Unreachable(Unreachable::Prohibited));
        assert_eq!(of(libc::ETIMEDOUT), Refusal::Silence);
        assert_eq!(of(libc::EMFILE), Refusal::Silence);
    }

    #[test]
    fn a_socket_has_the_ports_number_or_another() {
        let first = udp("0.0.0.0:0".parse().expect("an endpoint")).expect("a socket");
        let port = first.local_addr().expect("bound").port();
        let taken = udp(SocketAddr::from(([0, 0, 0, 0], port))).expect("a socket");
        assert_ne!(taken.local_addr().expect("bound").port(), port);
        drop((first, taken));
        let free = udp(SocketAddr::from(([0, 0, 0, 0], port))).expect("a socket");
        assert_eq!(free.local_addr().expect("bound").port(), port);
    }
}

//! Sockets of this machine towards what clients want to reach. The dataplane has judged each destination already; what is
//! refused here could never be meant for the network.

use crate::io::kernel;
use socket2::{Domain, Protocol, SockRef, Socket, Type};
use std::io;
use std::net::{IpAddr, SocketAddr};

/// Congestion control that loss does not slow down, where the kernel has it.
const CONGESTION: &[u8] = b"bbr";

/// A TCP socket that is to be connected to `to`, and waits for nothing.
///
/// # Errors
/// `PermissionDenied` for addresses that mean this machine or nobody; else the system's word.
pub(super) fn tcp(to: SocketAddr) -> io::Result<Socket> {
    check(to.ip())?;
    let socket = Socket::new(Domain::for_address(to), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_nonblocking(true)?;
    // The port that the kernel takes for it may be one that a client maps, and can be listened at then.
    socket.set_reuse_address(true)?;
    // The client's stack has held small segments back already, where its program wants that.
    socket.set_tcp_nodelay(true)?;
    // A kernel without it has another one.
    let _ = kernel::set_congestion(&SockRef::from(&socket), CONGESTION);
    Ok(socket)
}

/// Refuses what the kernel would take for this machine, for a group, or for nobody.
///
/// # Errors
/// `PermissionDenied`.
pub(super) fn check(address: IpAddr) -> io::Result<()> {
    let address = address.to_canonical();
    let is_link_local = match address {
        IpAddr::V4(v4) => v4.is_link_local() || v4.is_broadcast() || v4.octets()[0] == 0,
        IpAddr::V6(v6) => v6.is_unicast_link_local() || v6.to_ipv4().is_some(),
    };
    let forbidden = address.is_loopback() || address.is_multicast() || address.is_unspecified() || is_link_local;
    if forbidden { Err(io::ErrorKind::PermissionDenied.into()) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;

    #[test]
    fn this_machine_and_nobody_are_never_dialled() {
        for text in [
            "127.0.0.1",
            "127.8.9.10",
            "0.0.0.0",
            "0.1.2.3",
            "169.254.169.254",
            "224.0.0.1",
            "255.255.255.255",
            "::",
            "::1",
            "::ffff:127.0.0.1",
            "::127.0.0.1",
            "fe80::1",
            "ff02::1",
        ] {
            let address = text.parse().expect("an address");
            let refused = tcp(SocketAddr::new(address, 80)).expect_err(text);
            assert_eq!(refused.kind(), io::ErrorKind::PermissionDenied, "{text}");
        }
        for text in ["8.8.8.8", "10.0.0.1", "2001:db8::1", "fd00::1"] {
            assert!(check(text.parse().expect("an address")).is_ok(), "{text}");
        }
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn connections_go_by_bbr_where_the_kernel_lets_them() {
        let allowed = std::fs::read_to_string("/proc/sys/net/ipv4/tcp_allowed_congestion_control").unwrap_or_default();
        let socket = tcp("192.0.2.1:7".parse().expect("an endpoint")).expect("a socket");
        let name = socket.tcp_congestion().expect("an option");
        let is_bbr = name.starts_with(CONGESTION);
        assert!(is_bbr || !allowed.contains("bbr"), "{}", String::from_utf8_lossy(&name));
    }

    #[test]
    fn the_port_of_a_connection_can_be_listened_at() {
        let remote = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let socket = tcp("192.0.2.1:7".parse().expect("an endpoint")).expect("a socket");
        socket.set_nonblocking(false).expect("a socket");
        socket.connect(&remote.local_addr().expect("bound").into()).expect("it listens");
        let port = socket.local_addr().expect("connected").as_socket().expect("of a family of IP").port();
        assert!(TcpListener::bind(("0.0.0.0", port)).is_ok(), "{port}");
    }
}

//! ICMP errors about datagrams, which a socket that speaks to many is not told otherwise: Linux's error queue (ip(7),
//! `IP_RECVERR`). Elsewhere there are none, and datagrams are lost in silence.

use super::packets::Problem;
use mio::net::UdpSocket;
use std::io;
use std::net::SocketAddr;

/// Reports taken at once.
#[cfg(target_os = "linux")]
const AT_ONCE: usize = 16;

/// What has become of a datagram.
#[derive(Debug)]
pub(super) struct Report {
    pub problem: Problem,
    /// Where the datagram went.
    pub to: SocketAddr,
    /// Its first octets.
    pub payload: Vec<u8>,
}

#[cfg(target_os = "linux")]
pub(super) fn enable(socket: &UdpSocket, is_ipv4: bool) -> io::Result<()> {
    use nix::sys::socket::{setsockopt, sockopt};
    let done = if is_ipv4 {
        setsockopt(socket, sockopt::Ipv4RecvErr, &true)
    } else {
        setsockopt(socket, sockopt::Ipv6RecvErr, &true)
    };
    done.map_err(io::Error::from)
}

#[cfg(target_os = "linux")]
pub(super) fn take(socket: &UdpSocket, mut each: impl FnMut(Report)) {
    for _ in 0..AT_ONCE {
        let Some(report) = next(socket) else { return };
        if let Some(report) = report {
            each(report);
        }
    }
}

/// The next entry of the queue, where it is an ICMP error; `None` at its end.
#[cfg(target_os = "linux")]
fn next(socket: &UdpSocket) -> Option<Option<Report>> {
    use nix::sys::socket::{ControlMessageOwned, MsgFlags, SockaddrStorage, recvmsg};
    use std::os::fd::AsRawFd;
    let mut payload = [0; 64];
    let mut control = nix::cmsg_space!(libc::sock_extended_err, libc::sockaddr_in6);
    let mut vectors = [io::IoSliceMut::new(&mut payload)];
    let flags = MsgFlags::MSG_ERRQUEUE | MsgFlags::MSG_DONTWAIT;
    let received = recvmsg::<SockaddrStorage>(socket.as_raw_fd(), &mut vectors, Some(&mut control), flags).ok()?;
    let (len, to) = (received.bytes, received.address.as_ref().and_then(endpoint));
    let mut problem = None;
    for message in received.cmsgs().ok()? {
        problem = match message {
            ControlMessageOwned::Ipv4RecvErr(error, from) if error.ee_origin == libc::SO_EE_ORIGIN_ICMP => {
                from.map(|from| (std::net::Ipv4Addr::from(u32::from_be(from.sin_addr.s_addr)).into(), error))
            }
            ControlMessageOwned::Ipv6RecvErr(error, from) if error.ee_origin == libc::SO_EE_ORIGIN_ICMP6 => {
                from.map(|from| (std::net::Ipv6Addr::from(from.sin6_addr.s6_addr).into(), error))
            }
            _ => problem,
        };
    }
    let told = problem.zip(to).map(|((from, error), to)| Report {
        problem: Problem { from, kind: (error.ee_type, error.ee_code), detail: error.ee_info },
        to,
        payload: payload.get(..len).unwrap_or_default().to_vec(),
    });
    Some(told)
}

#[cfg(target_os = "linux")]
fn endpoint(address: &nix::sys::socket::SockaddrStorage) -> Option<SocketAddr> {
    let v4 = address.as_sockaddr_in().map(|it| SocketAddr::new(it.ip().into(), it.port()));
    v4.or_else(|| address.as_sockaddr_in6().map(|it| SocketAddr::new(it.ip().into(), it.port())))
}

#[cfg(not(target_os = "linux"))]
pub(super) fn enable(_: &UdpSocket, _: bool) -> io::Result<()> {
    Ok(())
}

#[cfg(not(target_os = "linux"))]
pub(super) fn take(_: &UdpSocket, _: impl FnMut(Report)) {}

//! Socket calls, whichever stack they go to.

use std::net::{IpAddr, SocketAddr};
use webtun_stack::{
    BindError, ConnectError, Datagram, Host, ListenOptions, PingError, PingId, PingOptions, Received, RecvError,
    SendError, SocketId, Stack, TcpOptions, UdpError, UdpOptions,
};
use webtun_wire::Instant;

macro_rules! net {
    ($($(#[$doc:meta])* fn $name:ident($($argument:ident: $kind:ty),*) $(-> $result:ty)?;)+) => {
        /// The socket calls that a [`Stack`] and a [`Host`] share, so that one program runs on either.
        pub trait Net {
            $($(#[$doc])* fn $name(&mut self, $($argument: $kind),*) $(-> $result)?;)+
        }

        impl Net for Stack {
            $(fn $name(&mut self, $($argument: $kind),*) $(-> $result)? { Stack::$name(self, $($argument),*) })+
        }

        impl Net for Host {
            $(fn $name(&mut self, $($argument: $kind),*) $(-> $result)? { Host::$name(self, $($argument),*) })+
        }
    };
}

net! {
    /// Opens a connection.
    fn tcp_connect(remote: SocketAddr, options: TcpOptions, now: Instant) -> Result<SocketId, ConnectError>;
    /// Listens.
    fn tcp_listen(local: SocketAddr, options: ListenOptions, now: Instant) -> Result<SocketId, BindError>;
    /// Takes a connection that a listener has.
    fn tcp_accept(listener: SocketId) -> Option<SocketId>;
    /// Local and remote address.
    fn tcp_addresses(id: SocketId) -> Option<(SocketAddr, SocketAddr)>;
    /// Hands over octets to send.
    fn tcp_send(id: SocketId, data: &[u8], now: Instant) -> Result<usize, SendError>;
    /// Takes received octets.
    fn tcp_recv(id: SocketId, out: &mut [u8], now: Instant) -> Result<Received, RecvError>;
    /// Ends our direction.
    fn tcp_shutdown(id: SocketId, now: Instant);
    /// Resets.
    fn tcp_abort(id: SocketId, now: Instant);
    /// Gives the socket back.
    fn close(id: SocketId, now: Instant);
    /// Opens a UDP socket.
    fn udp_bind(local: SocketAddr, options: UdpOptions, now: Instant) -> Result<SocketId, BindError>;
    /// Sends a datagram; false where there is no room now.
    fn udp_send(id: SocketId, data: &[u8], to: Option<SocketAddr>, now: Instant) -> Result<bool, UdpError>;
    /// Takes a received datagram.
    fn udp_recv(id: SocketId) -> Option<Datagram>;
    /// Sends an echo request.
    fn ping(target: IpAddr, options: PingOptions, now: Instant) -> Result<PingId, PingError>;
}

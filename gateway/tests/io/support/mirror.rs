//! Servers on the other machine that say whom they see.

use super::there;
use super::tunnel::Tunnel;
use std::io::Read;
use std::net::SocketAddr;
use std::process::Child;
use std::time::Duration;
use webtun_stack::{Event, SocketEvent, TcpOptions, UdpOptions};

/// TCP and UDP at port 7000 of all its addresses; gone with the value. A datagram `later` is answered after four seconds.
pub struct Mirror(Child);

const PROGRAM: &str = r#"exec python3 -c '
import json, socket, subprocess, threading, time
def tell(a):
    return (a[0].removeprefix("::ffff:") + " " + str(a[1])).encode()
def udp(u):
    while True:
        what, a = u.recvfrom(99)
        threading.Timer(4 if what == b"later" else 0, u.sendto, (tell(a), a)).start()
links = json.loads(subprocess.check_output(["ip", "-json", "address", "show", "dev", "peer0"]))
for a in [a["local"] for link in links for a in link["addr_info"] if a["scope"] == "global"]:
    u = socket.socket(socket.AF_INET6 if ":" in a else socket.AF_INET, socket.SOCK_DGRAM)
    u.bind((a, 7000))
    threading.Thread(target=udp, args=(u,), daemon=True).start()
t = socket.create_server(("::", 7000), family=socket.AF_INET6, dualstack_ipv6=True)
print("ready", flush=True)
while True:
    c, a = t.accept()
    c.sendall(tell(a))
    c.close()
'"#;

impl Mirror {
    /// Waits until it serves.
    pub fn start() -> Self {
        let mut server = there(PROGRAM);
        server.stdout.take().expect("piped").read_exact(&mut [0; 6]).expect("the servers' word");
        Self(server)
    }
}

impl Drop for Mirror {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn endpoint(told: &[u8]) -> SocketAddr {
    let text = String::from_utf8(told.to_vec()).expect("text");
    let (address, port) = text.split_once(' ').expect("address and port");
    SocketAddr::new(address.parse().expect("an address"), port.parse().expect("a port"))
}

/// The endpoint that the mirror at `remote` sees of a datagram from this port (0: any), or none where no answer comes for
/// six seconds.
pub async fn by_udp(tunnel: &mut Tunnel, port: u16, remote: SocketAddr, what: &[u8]) -> Option<SocketAddr> {
    let any: SocketAddr = "[::]:0".parse().expect("an endpoint");
    let now = tunnel.now();
    let local = SocketAddr::new(any.ip(), port);
    let id = tunnel.stack.udp_bind(local, UdpOptions::default(), now).expect("a socket");
    assert_eq!(tunnel.stack.udp_send(id, what, Some(remote), now), Ok(true));
    let answer = tunnel.until(|stack, event| match event {
        Event::Socket(SocketEvent::UdpReadable(of)) if of == id => stack.udp_recv(id),
        Event::Socket(SocketEvent::UdpError(_, error, _)) => panic!("{error}"),
        _ => None,
    });
    let answer = tokio::time::timeout(Duration::from_secs(6), answer).await;
    let now = tunnel.now();
    tunnel.stack.close(id, now);
    answer.ok().map(|answer| endpoint(&answer.payload))
}

/// Likewise by a connection, whose port must be kept.
pub async fn by_tcp(tunnel: &mut Tunnel, remote: SocketAddr) -> SocketAddr {
    let now = tunnel.now();
    let id = tunnel.stack.tcp_connect(remote, TcpOptions::default(), now).expect("a socket");
    let local = tunnel.stack.tcp_addresses(id).expect("a connection").0;
    let seen = endpoint(&tunnel.receive(id, 8).await);
    assert_eq!(seen.port(), local.port(), "the NAT and the kernel keep the port");
    seen
}

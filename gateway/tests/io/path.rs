//! Packets through the TUN device and the kernel's tables, to and from another machine and this one.

use crate::support::tunnel::Tunnel;
use crate::support::{Gateway, Scratch, block_on, other_machine, shell, there};
use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::time::Duration;
use webtun_stack::{Event, SocketEvent, SocketId, TcpOptions, UdpOptions};

/// The clients' destination: this machine's own address, which only a rule makes reachable.
const OPEN: [&str; 4] = [
    "--listen",
    "127.0.0.1:0",
    "--set",
    "policy.rule=[{action=\"allow\",prefix=\"192.0.2.7/32\"},{action=\"allow\",prefix=\"2001:db8::7/128\"},\
     {action=\"allow\",prefix=\"192.0.2.0/24\"},{action=\"allow\",prefix=\"2001:db8::/32\"}]",
];

const PATIENCE: Duration = Duration::from_secs(30);

/// Whether a datagram of a new socket's is denied, within a second.
async fn is_denied(tunnel: &mut Tunnel, remote: SocketAddr) -> bool {
    let any: SocketAddr = "0.0.0.0:0".parse().expect("an endpoint");
    let now = tunnel.now();
    let id = tunnel.stack.udp_bind(any, UdpOptions::default(), now).expect("a socket");
    assert_eq!(tunnel.stack.udp_send(id, b"hello", Some(remote), now), Ok(true));
    let of_this = |event| matches!(event, Event::Socket(SocketEvent::UdpError(of, ..)) if of == id);
    let denied = tunnel.until(|_, event| of_this(event).then_some(()));
    tokio::time::timeout(Duration::from_secs(1), denied).await.is_ok()
}

/// Accepts one connection and sends `greeting`.
async fn greet(tunnel: &mut Tunnel, listener: SocketId, greeting: &[u8]) -> SocketAddr {
    let clock = tunnel.now();
    let accepted = tunnel
        .until(|stack, event| match event {
            Event::Socket(SocketEvent::TcpIncoming(of)) if of == listener => stack.tcp_accept(listener),
            _ => None,
        })
        .await;
    assert_eq!(tunnel.stack.tcp_send(accepted, greeting, clock), Ok(greeting.len()));
    let remote = tunnel.stack.tcp_addresses(accepted).expect("a connection").1;
    let now = tunnel.now();
    tunnel.stack.tcp_shutdown(accepted, now);
    tunnel
        .until(|_, event| match event {
            Event::Socket(SocketEvent::TcpReadable(of) | SocketEvent::TcpClosed(of, _)) if of == accepted => Some(()),
            _ => None,
        })
        .await;
    remote
}

/// Reads a whole connection to `remote` on a thread.
fn reader(remote: SocketAddr) -> std::thread::JoinHandle<String> {
    std::thread::spawn(move || {
        let mut text = String::new();
        let mut stream = TcpStream::connect_timeout(&remote, PATIENCE).expect("a connection");
        stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        stream.read_to_string(&mut text).expect("text");
        text
    })
}

isolated! {
    fn connections_leave_by_this_machines_addresses_with_their_port() {
        let scratch = Scratch::new("out");
        other_machine();
        let gateway = Gateway::start(&scratch.0, &OPEN);
        for (destination, seen) in [("192.0.2.1", "192.0.2.7"), ("2001:db8::1", "2001:db8::7")] {
            let mut server = there("python3 -c '
import socket
s = socket.create_server((\"::\", 7000), family=socket.AF_INET6, dualstack_ipv6=True)
print(\"ready\", flush=True)
c, a = s.accept()
c.sendall((a[0] + \" \" + str(a[1])).encode())
'");
            let mut ready = [0; 6];
            server.stdout.take().expect("piped").read_exact(&mut ready).expect("the server's word");
            block_on(async {
                let mut tunnel = Tunnel::open(gateway.address).await;
                let remote = SocketAddr::new(destination.parse().expect("an address"), 7000);
                let now = tunnel.now();
                let id = tunnel.stack.tcp_connect(remote, TcpOptions::default(), now).expect("a socket");
                let told = String::from_utf8(tunnel.receive(id, 8).await).expect("text");
                let (address, port) = told.split_once(' ').expect("address and port");
                assert!(address.ends_with(seen), "{told}");
                let local = tunnel.stack.tcp_addresses(id).expect("a connection").0;
                assert_eq!(port, local.port().to_string(), "the NAT and the kernel keep the port");
            });
            server.wait().expect("it ends");
        }
        gateway.stop();
    }

    fn a_mapped_port_is_reached_from_another_machine_and_from_this_one() {
        let scratch = Scratch::new("in");
        other_machine();
        let gateway = Gateway::start(&scratch.0, &OPEN);
        block_on(async {
            let mut tunnel = Tunnel::open(gateway.address).await;
            for ipv6 in [false, true] {
                let (external, listener) = tunnel.listen(ipv6).await;
                let own: IpAddr = if ipv6 { "2001:db8::7" } else { "192.0.2.7" }.parse().expect("an address");
                assert_eq!(external.ip(), own, "the primary address is announced");
                let here = reader(external);
                let remote = greet(&mut tunnel, listener, b"to this machine").await;
                let side: IpAddr = if ipv6 { "fd77:6562:7475:ffff::2" } else { "100.127.255.2" }.parse().expect("an address");
                assert_eq!(remote.ip(), side);
                assert_eq!(here.join().expect("it reads"), "to this machine");
                let mut elsewhere = there(&format!("nc -w 5 {} {} < /dev/null", external.ip(), external.port()));
                let remote = greet(&mut tunnel, listener, b"to another").await;
                let other: IpAddr = if ipv6 { "2001:db8::1" } else { "192.0.2.1" }.parse().expect("an address");
                assert_eq!(remote.ip(), other, "the client sees who connects");
                let mut text = String::new();
                elsewhere.stdout.take().expect("piped").read_to_string(&mut text).expect("text");
                assert_eq!(text, "to another");
                elsewhere.wait().expect("it ends");
                let now = tunnel.now();
                tunnel.stack.close(listener, now);
            }
        });
        gateway.stop();
    }

    fn servers_of_this_machine_in_the_range_are_left_alone() {
        let scratch = Scratch::new("spared");
        other_machine();
        let server = TcpListener::bind("0.0.0.0:20000").expect("a listener");
        std::thread::spawn(move || {
            for stream in server.incoming() {
                let _ = stream.expect("a connection").write_all(b"the machine's own");
            }
        });
        let gateway = Gateway::start(&scratch.0, &OPEN);
        let client = there("nc -w 5 192.0.2.7 20000 < /dev/null").wait_with_output().expect("it ends");
        assert_eq!(String::from_utf8_lossy(&client.stdout), "the machine's own");
        gateway.stop();
    }

    fn the_machines_own_connections_work_while_the_gateway_runs() {
        let scratch = Scratch::new("own");
        other_machine();
        let gateway = Gateway::start(&scratch.0, &OPEN);
        let mut server = there("printf hello | nc -l -N -w 5 192.0.2.1 7000");
        std::thread::sleep(Duration::from_millis(300));
        let here = TcpStream::connect(("192.0.2.1", 7000)).expect("a connection");
        let port = here.local_addr().expect("an endpoint").port();
        assert!(port < 16384, "{port} is one of the clients' ports");
        drop(here);
        server.wait().expect("it ends");
        gateway.stop();
    }

    fn the_largest_datagrams_are_fragmented_and_come_back_whole() {
        let scratch = Scratch::new("large");
        other_machine();
        let gateway = Gateway::start(&scratch.0, &OPEN);
        let mut server = there("python3 -c '
import socket
s = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
s.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
s.bind((\"::\", 7000))
print(\"ready\", flush=True)
while True:
    data, peer = s.recvfrom(65536)
    s.sendto(data, peer)
'");
        let mut ready = [0; 6];
        server.stdout.take().expect("piped").read_exact(&mut ready).expect("the server's word");
        block_on(async {
            let mut tunnel = Tunnel::open(gateway.address).await;
            let any: SocketAddr = "[::]:0".parse().expect("an endpoint");
            let now = tunnel.now();
            let id = tunnel.stack.udp_bind(any, UdpOptions::default(), now).expect("a socket");
            for (destination, len) in [("192.0.2.1", 65_507), ("2001:db8::1", 65_487), ("192.0.2.1", 0)] {
                let payload: Vec<u8> = (0..len).map(|at| (at % 251) as u8).collect();
                let remote = SocketAddr::new(destination.parse().expect("an address"), 7000);
                let now = tunnel.now();
                assert_eq!(tunnel.stack.udp_send(id, &payload, Some(remote), now), Ok(true));
                let echoed = tunnel
                    .until(|stack, event| match event {
                        Event::Socket(SocketEvent::UdpReadable(of)) if of == id => stack.udp_recv(id),
                        Event::Socket(SocketEvent::UdpError(_, error, _)) => panic!("{error}"),
                        _ => None,
                    })
                    .await;
                assert!(echoed.payload == payload, "{} of {len} octets", echoed.payload.len());
                assert!(tunnel.stack.udp_recv(id).is_none());
            }
        });
        server.kill().expect("it runs");
        server.wait().expect("it ends");
        gateway.stop();
    }

    fn this_machine_is_closed_to_clients_without_a_rule() {
        let scratch = Scratch::new("closed");
        let gateway = Gateway::start(&scratch.0, &["--listen", "127.0.0.1:0"]);
        let server = UdpSocket::bind("192.0.2.7:9000").expect("a socket");
        server.set_read_timeout(Some(Duration::from_millis(500))).expect("a timeout");
        block_on(async {
            let mut tunnel = Tunnel::open(gateway.address).await;
            assert!(is_denied(&mut tunnel, "192.0.2.7:9000".parse().expect("an endpoint")).await);
        });
        assert!(server.recv(&mut [0; 16]).is_err(), "the packet came through");
        gateway.stop();
    }

    fn an_address_that_this_machine_gets_later_is_closed_too() {
        let scratch = Scratch::new("later");
        let rule = "policy.rule=[{action=\"allow\",prefix=\"198.18.0.0/15\"}]";
        let gateway = Gateway::start(&scratch.0, &["--listen", "127.0.0.1:0", "--set", rule]);
        shell("ip addr add 198.18.7.7/24 dev eth0");
        let server = UdpSocket::bind("198.18.7.7:9000").expect("a socket");
        server.set_read_timeout(Some(Duration::from_millis(500))).expect("a timeout");
        block_on(async {
            let mut tunnel = Tunnel::open(gateway.address).await;
            let remotes = ["198.18.7.7:9000", "198.18.7.255:9000"].map(|it| it.parse().expect("an endpoint"));
            // The gateway hears of the address a moment later.
            while !is_denied(&mut tunnel, remotes[0]).await {}
            while server.recv(&mut [0; 16]).is_ok() {}
            for remote in remotes {
                assert!(is_denied(&mut tunnel, remote).await, "{remote} is not denied");
            }
        });
        assert!(server.recv(&mut [0; 16]).is_err(), "the packet came through");
        gateway.stop();
    }

    fn clients_cannot_begin_a_flow_at_the_machines_end_of_the_device() {
        let scratch = Scratch::new("host-side");
        let gateway = Gateway::start(&scratch.0, &["--listen", "127.0.0.1:0"]);
        let server = UdpSocket::bind("0.0.0.0:9000").expect("a socket");
        server.set_read_timeout(Some(Duration::from_secs(1))).expect("a timeout");
        block_on(async {
            let mut tunnel = Tunnel::open(gateway.address).await;
            let any: SocketAddr = "0.0.0.0:0".parse().expect("an endpoint");
            let now = tunnel.now();
            let id = tunnel.stack.udp_bind(any, UdpOptions::default(), now).expect("a socket");
            let remote: SocketAddr = "100.127.255.2:9000".parse().expect("an endpoint");
            assert_eq!(tunnel.stack.udp_send(id, b"hello", Some(remote), now), Ok(true));
            let _ = tokio::time::timeout(Duration::from_millis(500), tunnel.until(|_, _| None::<()>)).await;
        });
        assert!(server.recv(&mut [0; 16]).is_err(), "the packet came through");
        gateway.stop();
    }
}

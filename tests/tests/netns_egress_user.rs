//! The egress `user`, run by a user without any capability: how connections come about and end, datagrams of every size, echo,
//! and what is refused. `native_tools` and the tests of the doors run over it as well, where `LAB_EGRESS` is `user`.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::time::Duration;

use webtun_tests::lab::{Attached, Lab, Operator, REMOTE, allow_ping_sockets};
use webtun_tests::netns::{Netns, available};
use webtun_tests::pattern;

const PREFIX: &str = "wt-usr";
const PATIENCE: Duration = Duration::from_secs(30);

/// The client's kernel speaks by the tunnel.
fn lab() -> Option<(Lab, Attached)> {
    if !available() {
        eprintln!("left out: needs root and /dev/net/tun");
        return None;
    }
    let lab = Lab::start_as(Operator::Nobody, PREFIX, &[]);
    let attached = lab.attach("user0", &[]);
    Some((lab, attached))
}

fn remotes(port: u16) -> [SocketAddr; 2] {
    REMOTE.map(|address| SocketAddr::new(address.parse().expect("an address"), port))
}

fn connect(to: SocketAddr) -> std::io::Result<TcpStream> {
    let stream = TcpStream::connect_timeout(&to, PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    Ok(stream)
}

/// Listens at the remote, and has each end played by a function.
fn between(lab: &Lab, to: SocketAddr, client: impl FnOnce(TcpStream) + Send, server: impl FnOnce(TcpStream) + Send) {
    let listener = lab.remote.within(|| TcpListener::bind(to)).expect("a free port");
    std::thread::scope(|scope| {
        let server = scope.spawn(move || {
            let (stream, _) = listener.accept().expect("a connection");
            stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
            server(stream);
        });
        lab.client.within(|| client(connect(to).expect("a connection")));
        server.join().expect("the server is content");
    });
}

fn reset(stream: TcpStream) {
    socket2::SockRef::from(&stream).set_linger(Some(Duration::ZERO)).expect("a socket");
}

fn read_all(stream: &mut TcpStream) -> std::io::Result<Vec<u8>> {
    let mut data = Vec::new();
    stream.read_to_end(&mut data).map(|_| data)
}

#[test]
fn connections_fail_as_the_remote_has_them_fail() {
    let Some((lab, _attached)) = lab() else { return };
    let failure = |to: SocketAddr| {
        // Without a limit of our own, whose poll may come before the cause.
        lab.client.within(|| TcpStream::connect(to).expect_err("nobody is there").kind())
    };
    for to in remotes(1) {
        assert_eq!(failure(to), ErrorKind::ConnectionRefused, "{to}");
    }
    assert_eq!(failure("198.18.0.77:7".parse().expect("an endpoint")), ErrorKind::HostUnreachable);
    // The gateway's machine, by the address that it has towards the remote.
    assert_ne!(failure("198.18.0.1:8077".parse().expect("an endpoint")), ErrorKind::TimedOut);
}

#[test]
fn either_end_can_finish_first() {
    let Some((lab, _attached)) = lab() else { return };
    let (up, down) = (pattern::octets(3, 2_000_000), pattern::octets(4, 3_000_000));
    for to in remotes(9000) {
        let talk = |mut stream: TcpStream, mine: &[u8], theirs: &[u8]| {
            let mut writer = stream.try_clone().expect("a descriptor");
            std::thread::scope(|scope| {
                scope.spawn(move || {
                    writer.write_all(mine).expect("it is taken");
                    writer.shutdown(Shutdown::Write).expect("it is open");
                });
                assert!(read_all(&mut stream).expect("the end") == theirs, "other octets");
            });
        };
        between(&lab, to, |stream| talk(stream, &up, &down), |stream| talk(stream, &down, &up));
        // The server speaks after the client has finished, and the other way round.
        let first = |mut stream: TcpStream| {
            stream.write_all(b"question").expect("it is taken");
            stream.shutdown(Shutdown::Write).expect("it is open");
            assert_eq!(read_all(&mut stream).expect("the end"), b"answer");
        };
        let second = |mut stream: TcpStream| {
            assert_eq!(read_all(&mut stream).expect("the end"), b"question");
            std::thread::sleep(Duration::from_millis(50));
            stream.write_all(b"answer").expect("it is taken");
        };
        between(&lab, to, first, second);
        between(&lab, to, second, first);
    }
}

#[test]
fn a_reset_is_a_reset_at_the_other_end() {
    let Some((lab, _attached)) = lab() else { return };
    let suffers = |mut stream: TcpStream| {
        stream.write_all(b"x").expect("it is taken");
        assert_eq!(read_all(&mut stream).expect_err("no end").kind(), ErrorKind::ConnectionReset);
    };
    let resets = |mut stream: TcpStream| {
        stream.read_exact(&mut [0]).expect("an octet");
        reset(stream);
    };
    for to in remotes(9001) {
        between(&lab, to, suffers, resets);
        between(&lab, to, resets, suffers);
    }
}

#[test]
fn a_remote_that_does_not_read_holds_the_client_back() {
    let Some((lab, _attached)) = lab() else { return };
    let (done, told) = std::sync::mpsc::sync_channel(1);
    let flood = move |mut stream: TcpStream| {
        stream.set_write_timeout(Some(Duration::from_secs(2))).expect("a timeout");
        let piece = vec![0; 1 << 20];
        // Kernels' buffers and our own: far less than this.
        let taken = (0..256).take_while(|_| stream.write_all(&piece).is_ok()).count();
        assert!(taken < 200, "{taken} MiB went nowhere");
        reset(stream);
        done.send(()).expect("somebody waits");
    };
    let stall = move |mut stream: TcpStream| {
        told.recv_timeout(Duration::from_secs(60)).expect("the flood has ended");
        assert!(read_all(&mut stream).is_err());
    };
    between(&lab, remotes(9002)[0], flood, stall);
}

#[test]
fn datagrams_of_every_size_come_back_from_whom_they_were_sent_to() {
    let Some((lab, _attached)) = lab() else { return };
    for first in remotes(9003) {
        let second = SocketAddr::new(first.ip(), 9004);
        let servers = lab.remote.within(|| [first, second].map(|at| UdpSocket::bind(at).expect("a free port")));
        std::thread::scope(|scope| {
            let largest = if first.is_ipv4() { 65_507 } else { 65_487 };
            let sizes = [0, 1, 1472, 1473, 9000, 60_000, largest];
            for server in &servers {
                scope.spawn(move || {
                    server.set_read_timeout(Some(PATIENCE)).expect("a timeout");
                    let mut buffer = vec![0; 65_536];
                    for _ in sizes {
                        let (len, from) = server.recv_from(&mut buffer).expect("a datagram");
                        // With whom the datagram came, before its octets.
                        server.send_to(&buffer[..len], from).expect("it is sent");
                        server.send_to(from.to_string().as_bytes(), from).expect("it is sent");
                    }
                });
            }
            lab.client.within(|| {
                let socket = UdpSocket::bind(SocketAddr::new(unspecified(first), 0)).expect("a socket");
                socket.set_read_timeout(Some(PATIENCE)).expect("a timeout");
                let mut seen = Vec::new();
                for size in sizes {
                    for to in [first, second] {
                        let sent = pattern::octets(5, size);
                        socket.send_to(&sent, to).expect("it is sent");
                        let mut buffer = vec![0; 65_536];
                        let (len, from) = socket.recv_from(&mut buffer).expect("an echo");
                        assert!(from == to && buffer[..len] == sent, "{size} octets, from {from}");
                        let (len, _) = socket.recv_from(&mut buffer).expect("an endpoint");
                        seen.push(buffer[..len].to_vec());
                    }
                }
                seen.dedup();
                assert_eq!(seen.len(), 1, "one mapping for all destinations");
            });
        });
    }
}

fn unspecified(like: SocketAddr) -> std::net::IpAddr {
    if like.is_ipv4() { [0, 0, 0, 0].into() } else { [0u16; 8].into() }
}

#[test]
fn a_datagram_that_nobody_takes_is_told() {
    let Some((lab, _attached)) = lab() else { return };
    for to in remotes(1) {
        lab.client.within(|| {
            let socket = UdpSocket::bind(SocketAddr::new(unspecified(to), 0)).expect("a socket");
            socket.set_read_timeout(Some(PATIENCE)).expect("a timeout");
            socket.connect(to).expect("an address");
            socket.send(b"x").expect("it is sent");
            assert_eq!(socket.recv(&mut [0; 9]).expect_err("an error").kind(), ErrorKind::ConnectionRefused, "{to}");
        });
    }
}

#[test]
fn pings_take_leave_of_the_machine() {
    let Some((lab, _attached)) = lab() else { return };
    for remote in REMOTE {
        lab.client.exec("ping", &["-c", "2", "-i", "0.1", "-s", "3000", "-W", "20", remote]);
    }
    assert!(!lab.client.output("ping", &["-c", "1", "-W", "10", "198.18.0.77"]).status.success());

    allow_ping_sockets(&lab.gateway, false);
    assert!(!lab.client.output("ping", &["-c", "1", "-W", "2", REMOTE[0]]).status.success());
    let figures = lab.gateway.exec("curl", &["-sS", "http://127.0.0.1:9077/metrics"]);
    let dropped = figures.lines().find(|line| line.contains(r#"reason="egress_ping""#)).expect("the figure");
    assert!(!dropped.ends_with(" 0"), "{dropped}");
}

/// Lets clients try what stands for the gateway's machine.
const RULES: &str = r#"policy.rule=[{action="allow",prefix="198.18.0.0/15"},{action="allow",prefix="2001:2::/48"},{action="allow",prefix="100.127.255.0/24"}]"#;

/// A lab whose client can ask for ports.
fn lab_with_ports() -> Option<(Lab, Attached)> {
    if !available() {
        eprintln!("left out: needs root and /dev/net/tun");
        return None;
    }
    let lab = Lab::start_as(Operator::Nobody, PREFIX, &["--set", RULES]);
    let routes = ["198.18.0.0/24", "2001:2::/48", "100.64.0.1/32", "100.127.255.2/32"];
    let flags: Vec<_> = routes.iter().flat_map(|route| ["--route", route]).collect();
    let attached = lab.attach("user0", &flags);
    Some((lab, attached))
}

/// What the gateway answers to a request by NAT-PMP or PCP.
fn ask(lab: &Lab, request: &[u8]) -> Vec<u8> {
    lab.client.within(|| {
        let socket = UdpSocket::bind("0.0.0.0:0").expect("a socket");
        socket.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        socket.connect("100.64.0.1:5351").expect("an address");
        socket.send(request).expect("it is sent");
        let mut answer = [0; 1100];
        let len = socket.recv(&mut answer).expect("an answer");
        answer[..len].to_vec()
    })
}

/// The result code and the external port for the client's own one, by NAT-PMP (RFC 6886 section 3.3).
fn map(lab: &Lab, opcode: u8, internal: u16, external: u16) -> (u16, u16) {
    let [[i0, i1], [e0, e1]] = [internal, external].map(u16::to_be_bytes);
    let answer = ask(lab, &[0, opcode, 0, 0, i0, i1, e0, e1, 0, 0, 2, 88]);
    (u16::from_be_bytes([answer[2], answer[3]]), u16::from_be_bytes([answer[10], answer[11]]))
}

/// A stranger's connection to the gateway's port, as the client's own one sees it: who calls.
fn call(lab: &Lab, attached: &Attached, internal: u16, from: &Netns, to: &str) -> SocketAddr {
    let at = (attached.ipv4.as_str(), internal);
    let listener = lab.client.within(|| TcpListener::bind(at)).expect("a free port");
    std::thread::scope(|scope| {
        let server = scope.spawn(move || {
            let (mut stream, from) = listener.accept().expect("a connection");
            stream.write_all(b"hello").expect("it is taken");
            from
        });
        from.within(|| {
            let mut stream = connect(to.parse().expect("an endpoint")).expect("a connection");
            assert_eq!(read_all(&mut stream).expect("the end"), b"hello");
        });
        server.join().expect("the server is content")
    })
}

#[test]
fn a_port_that_another_program_has_is_not_mapped() {
    let Some((lab, attached)) = lab_with_ports() else { return };
    let _tcp = lab.gateway.within(|| TcpListener::bind("0.0.0.0:20000")).expect("a free port");
    let _udp = lab.gateway.within(|| UdpSocket::bind("0.0.0.0:20001")).expect("a free port");

    let (result, port) = map(&lab, 2, 8000, 20_000);
    assert!(result == 0 && port != 20_000, "another port is given");
    call(&lab, &attached, 8000, &lab.remote, &format!("198.18.0.1:{port}"));
    let (result, port) = map(&lab, 1, 8000, 20_001);
    assert!(result == 0 && port != 20_001, "of UDP as well");

    // PCP with PREFER_FAILURE (RFC 6887 section 13.2).
    let address: std::net::Ipv4Addr = attached.ipv4.parse().expect("an address");
    let mut request = vec![2, 1, 0, 0, 0, 0, 2, 88];
    request.extend(address.to_ipv6_mapped().octets());
    request.extend([9; 12]);
    request.extend([6, 0, 0, 0, 31, 65, 78, 32]);
    request.extend(std::net::Ipv4Addr::UNSPECIFIED.to_ipv6_mapped().octets());
    request.extend([2, 0, 0, 0]);
    assert_eq!(ask(&lab, &request)[3], 11, "CANNOT_PROVIDE_EXTERNAL");
    drop((_tcp, _udp));
}

#[test]
fn this_machines_programs_reach_mapped_ports_and_are_reached_by_none() {
    let Some((lab, attached)) = lab_with_ports() else { return };
    let (result, port) = map(&lab, 2, 8000, 0);
    assert_eq!(result, 0);
    let to = format!("198.18.0.1:{port}");
    let caller = call(&lab, &attached, 8000, &lab.gateway, &to);
    assert_eq!(caller.ip().to_string(), "100.127.255.2", "not by an address that stands for clients");

    let (result, port) = map(&lab, 1, 8001, 0);
    assert_eq!(result, 0);
    let socket = |netns: &Netns, at: &str| {
        let socket = netns.within(|| UdpSocket::bind(at)).expect("a free port");
        socket.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        socket
    };
    let client = socket(&lab.client, &format!("{}:8001", attached.ipv4));
    let (program, other) = (socket(&lab.gateway, "198.18.0.1:0"), socket(&lab.gateway, "198.18.0.1:0"));
    program.send_to(b"question", ("198.18.0.1", port)).expect("it is sent");
    let mut buffer = [0; 16];
    let (_, from) = client.recv_from(&mut buffer).expect("a datagram");
    assert_eq!(from.ip(), caller.ip());
    client.send_to(b"answer", from).expect("it is sent");
    assert_eq!(program.recv_from(&mut buffer).expect("an answer"), (6, SocketAddr::new([198, 18, 0, 1].into(), port)));

    other.set_read_timeout(Some(Duration::from_millis(500))).expect("a timeout");
    let unasked = SocketAddr::new(from.ip(), other.local_addr().expect("bound").port());
    client.send_to(b"unasked", unasked).expect("it is sent");
    assert!(other.recv_from(&mut buffer).is_err());
    let listener = lab.gateway.within(|| TcpListener::bind("198.18.0.1:0")).expect("a free port");
    let at = SocketAddr::new(from.ip(), listener.local_addr().expect("bound").port());
    assert!(lab.client.within(|| TcpStream::connect_timeout(&at, Duration::from_secs(5))).is_err());
}

/// How many connections have gone on with their session so far.
fn resumptions(gateway: &Netns) -> usize {
    let figures = gateway.exec("curl", &["-sS", "http://127.0.0.1:9077/metrics"]);
    let figure = figures.lines().find_map(|line| line.strip_prefix("webtun_sessions_resumed_total "));
    figure.and_then(|number| number.trim().parse().ok()).expect("the figure")
}

/// What the gateway has dropped so far, and why.
fn drops(gateway: &Netns) -> String {
    let figures = gateway.exec("curl", &["-sS", "http://127.0.0.1:9077/metrics"]);
    let drops =
        figures.lines().filter(|line| line.contains("dropped") && !line.starts_with('#') && !line.ends_with(" 0"));
    drops.collect::<Vec<_>>().join(", ")
}

/// Both kernels take the WebSocket's connection for reset. Waits until the session goes on.
fn cut(client: &Netns, gateway: &Netns) {
    let before = resumptions(gateway);
    client.exec("ss", &["-K", "state", "established", "dport = 8077"]);
    let goes_on = (0..1500).any(|_| {
        std::thread::sleep(Duration::from_millis(20));
        resumptions(gateway) > before
    });
    assert!(goes_on, "it was not cut, or does not come back");
}

#[test]
fn eight_cuts_of_the_websocket_lose_nothing() {
    const CUTS: usize = 8;
    /// Repetition would hide a loss of TCP's, and nothing repeats datagrams.
    const DATAGRAMS: u32 = 2000;
    let Some((lab, _attached)) = lab() else { return };
    let [to, udp_to] = [9005, 9006].map(|port| remotes(port)[0]);
    let echo = lab.remote.within(|| UdpSocket::bind(udp_to)).expect("a free port");
    let (client_netns, gateway_netns) = (&lab.client, &lab.gateway);
    let done = std::sync::atomic::AtomicBool::new(false);
    let is_done = || done.load(std::sync::atomic::Ordering::Relaxed);
    let cut_all = || {
        (0..CUTS).for_each(|_| cut(client_netns, gateway_netns));
        done.store(true, std::sync::atomic::Ordering::Relaxed);
    };
    // Octets both ways for as long as there are cuts.
    let write = |mut stream: TcpStream, seed: u64| {
        let mut sent = 0;
        let mut piece = vec![0; 64 * 1024];
        while !is_done() {
            pattern::fill(seed, sent, &mut piece);
            stream.write_all(&piece).expect("the connection survives");
            sent += piece.len() as u64;
            std::thread::sleep(Duration::from_millis(2));
        }
        stream.shutdown(Shutdown::Write).expect("the connection survives");
        sent
    };
    let talk = |mut stream: TcpStream, mine: u64, theirs: u64| {
        let writer = stream.try_clone().expect("a descriptor");
        std::thread::scope(|scope| {
            let sent = scope.spawn(move || write(writer, mine));
            let heard = read_all(&mut stream).expect("the connection survives");
            assert_eq!(pattern::mismatch(theirs, 0, &heard), None);
            (sent.join().expect("it ends"), heard.len() as u64)
        })
    };
    let client = lab.client.within(|| UdpSocket::bind("0.0.0.0:0")).expect("a socket");
    std::thread::scope(|scope| {
        scope.spawn(cut_all);
        scope.spawn(|| {
            echo.set_read_timeout(Some(PATIENCE)).expect("a timeout");
            let mut number = [0; 4];
            for _ in 0..DATAGRAMS {
                let (_, from) = echo.recv_from(&mut number).expect("a datagram");
                echo.send_to(&number, from).expect("it is sent");
            }
        });
        scope.spawn(|| {
            for number in 0..DATAGRAMS {
                client.send_to(&number.to_be_bytes(), udp_to).expect("it is sent");
                std::thread::sleep(Duration::from_millis(5));
            }
        });
        scope.spawn(|| {
            client.set_read_timeout(Some(PATIENCE)).expect("a timeout");
            let mut missing: std::collections::BTreeSet<u32> = (0..DATAGRAMS).collect();
            let mut number = [0; 4];
            while !missing.is_empty() {
                let echoed = client.recv(&mut number);
                let number = u32::from_be_bytes(number);
                let is_new = missing.remove(&number);
                assert!(
                    echoed.is_ok() && is_new,
                    "{echoed:?} of {number}, missing {missing:?}; {}",
                    drops(gateway_netns)
                );
            }
        });
        let (told, results) = std::sync::mpsc::sync_channel(2);
        let server = told.clone();
        let client = move |stream| told.send(talk(stream, 7, 8)).expect("somebody waits");
        between(&lab, to, client, move |stream| {
            let (sent, heard) = talk(stream, 8, 7);
            server.send((heard, sent)).expect("somebody waits");
        });
        let both: Vec<(u64, u64)> = results.iter().collect();
        assert!(both[0] == both[1] && both[0].0 > 0 && both[0].1 > 0, "{both:?}");
    });
}

//! Virtual machines behind raw WebSockets, at the doors of a real gateway with a real TUN device.

mod door_support;

use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use door_support::{
    Vm, WebSocket, binary, block_on, closing, exchange, figure, open, ticket, try_open, wait_for_figure,
};
use futures_util::{SinkExt, StreamExt};
use sha2::{Digest, Sha256};
use tokio_tungstenite::tungstenite::Message;
use webtun_tests::lab::{Lab, OUTSIDE, REMOTE, TOKEN};
use webtun_tests::process::Log;

const PREFIX: &str = "wt-doors";
const WWW: &str = "www.playground.test";
const MIB: usize = 1 << 20;

fn lab(flags: &[&str]) -> Option<Lab> {
    Lab::start_if_available(PREFIX, flags)
}

fn remote() -> IpAddr {
    REMOTE[0].parse().expect("an address")
}

fn digest(octets: &[u8]) -> String {
    Sha256::digest(octets).iter().map(|octet| format!("{octet:02x}")).collect()
}

/// A lease, a name, a ping and a download whose hash the server tells.
async fn works(vm: &mut Vm, size: usize) {
    let (address, router, server) = vm.boot().await;
    assert_eq!((router, server), (Ipv4Addr::new(192, 168, 127, 1), router));
    assert_eq!(address.octets()[..3], router.octets()[..3]);
    let www = vm.resolve(WWW).await;
    assert_eq!(www, remote());
    vm.ping(www).await;
    vm.ping(router.into()).await;
    let expected = vm.get(www, 20_001, &format!("/sha256?size={size}")).await;
    let blob = vm.get(www, 20_002, &format!("/blob?size={size}")).await;
    assert_eq!(blob.len(), size);
    assert_eq!(digest(&blob), String::from_utf8_lossy(&expected).trim());
}

#[test]
fn a_guest_at_each_door_gets_lease_names_pings_and_downloads() {
    let Some(lab) = lab(&[]) else { return };
    block_on(async {
        works(&mut Vm::new(&lab, "/ethernet/a", 1, 1500).await, 8 * MIB).await;
        works(&mut Vm::new(&lab, "/qemu/b?profile=container2wasm", 1, 1500).await, 8 * MIB).await;
        works(&mut Vm::new(&lab, "/ethernet/c?mtu=65000", 2, 65_000).await, 8 * MIB).await;
        wait_for_figure(&lab, "webtun_door_frames_total{direction=\"sent\"}", |frames| frames > 1000).await;
    });
}

#[test]
fn the_profile_and_fixed_addresses_are_as_asked_for() {
    let room = r#"doors.room=[{name="kept",mtu=9000,fixed={"02:00:00:00:00:09"="192.168.127.77"}}]"#;
    let Some(lab) = lab(&["--set", room]) else { return };
    block_on(async {
        let mut vm = Vm::new(&lab, "/qemu/x?profile=container2wasm", 1, 1500).await;
        assert_eq!(vm.boot().await.0, Ipv4Addr::new(192, 168, 127, 3));
        let mut vm = Vm::new(&lab, "/ethernet/y?fixed=02-00-00-00-00-05@192.168.127.50", 5, 1500).await;
        assert_eq!(vm.boot().await.0, Ipv4Addr::new(192, 168, 127, 50));
        let mut vm = Vm::new(&lab, "/ethernet/kept", 9, 9000).await;
        assert_eq!(vm.boot().await.0, Ipv4Addr::new(192, 168, 127, 77));
    });
}

#[test]
fn two_in_one_room_talk_to_each_other() {
    let Some(lab) = lab(&[]) else { return };
    block_on(async {
        let (mut one, mut two) =
            (Vm::new(&lab, "/ethernet/same", 1, 1500).await, Vm::new(&lab, "/qemu/same", 2, 1500).await);
        let (server, ..) = one.boot().await;
        let (client, ..) = two.boot().await;
        assert_ne!(server, client);
        exchange((&mut one, server), &mut two).await;
    });
}

#[test]
fn a_lease_and_its_session_outlive_the_websocket() {
    let Some(lab) = lab(&[]) else { return };
    block_on(async {
        let path = format!("/ethernet/?ticket={}", ticket(&lab));
        // With the ticket alone, as emulators come; it is spent by the first time.
        let (socket, chosen) = try_open(&lab, &path, None).await.expect("a WebSocket");
        assert_eq!(chosen, None);
        let mut vm = Vm::new(&lab, "/ethernet/elsewhere", 1, 1500).await;
        vm.socket = socket;
        let (address, ..) = vm.boot().await;
        vm.ping(remote()).await;
        let opened = figure(&lab, "webtun_sessions_opened_total");
        let echo = vm.guest.connect(SocketAddr::new(remote(), 7), 31_000, 9, 4 * MIB as u64);
        vm.run_until("half of the stream", |guest| guest.connections[echo].received > MIB as u64).await;
        let mut before = std::mem::replace(&mut vm.socket, try_open(&lab, &path, None).await.expect("a WebSocket").0);
        assert_eq!(closing(&mut before).await.0, 4409, "a ticket is good for one connection at a time");
        vm.run_until("all of the stream", |guest| guest.connections[echo].is_complete()).await;
        assert_eq!(vm.guest.lease.map(|it| it.0), Some(address));
        assert_eq!(figure(&lab, "webtun_sessions_opened_total"), opened, "the session went on");
    });
}

/// The gateway begins anew, with a log that has everything for people.
fn logged(lab: &mut Lab, flags: &[&str]) -> Log {
    lab.restart_gateway(&[&["--log", "info"], flags].concat(), |_| ())
}

#[test]
fn who_may_not_enter_is_told_why() {
    let rooms = r#"doors.room=[{name="only",groups=["insiders"]}]"#;
    let flags = ["--set", "doors.any_room=false", "--set", rooms, "--set", r#"group=[{name="insiders"}]"#];
    let Some(mut lab) = lab(&flags) else { return };
    let log = logged(&mut lab, &flags);
    let cases = [
        ("/ethernet/unknown", TOKEN, 4404, "there is no such room"),
        ("/ethernet/not%20a%0aname", TOKEN, 4404, "there is no such room"),
        ("/qemu/only", TOKEN, 4403, "the room is not for this token's group"),
        ("/qemu/only?mtu=70000", TOKEN, 4400, "an option in the address is malformed or contradicts another"),
        ("/ethernet/only", "wrong-token", 4401, "the token is wrong"),
        ("/ethernet/only?token=wrong-token", "", 4401, "the token is wrong"),
        ("/ethernet/only?ticket=0123456789abcdef0123456789abcdef", "", 4401, "the ticket is wrong, spent or too old"),
        ("/ethernet/only", "", 4401, "a token is needed"),
    ];
    block_on(async {
        for (index, (path, token, code, reason)) in cases.into_iter().enumerate() {
            let protocols = (!token.is_empty()).then(|| format!("binary, bearer.{token}"));
            let (mut socket, _) = try_open(&lab, path, protocols.as_deref()).await.expect("a WebSocket");
            assert_eq!(closing(&mut socket).await, (code, reason.to_owned()), "{path}");
            let room = path.split(['/', '?']).nth(2).expect("a room");
            let line = log.wait_for("a door stays closed", index + 1);
            let told = format!("room={room:?} client=10.81.0.2 code={code} reason={reason:?}");
            assert!(line.ends_with(&told), "{line} without {told}");
            assert!(!line.contains("wrong-token") && !line.contains("0123456789abcdef"), "{line}");
        }
    });
    assert_eq!(figure(&lab, "webtun_door_ports"), 0);
}

#[test]
fn wrong_framing_is_told_and_keep_alive_answered() {
    let Some(mut lab) = lab(&[]) else { return };
    let log = logged(&mut lab, &[]);
    block_on(async {
        for (index, (path, message, code, reason)) in [
            ("/qemu/a", binary(&[0xff; 60]), 1002, "wrong framing: at /qemu/ each frame stands behind its length"),
            (
                "/ethernet/a",
                binary(&[&[0, 0, 0, 60][..], &[0xff; 60]].concat()),
                1002,
                "wrong framing: at /ethernet/ a message is a frame",
            ),
            ("/ethernet/a", Message::text("hello"), 1003, "of text, only ping: and pong: have a meaning here"),
            ("/ethernet/a", binary(&vec![0; (1 << 20) + 1]), 1009, ""),
        ]
        .into_iter()
        .enumerate()
        {
            let mut socket = open(&lab, path).await;
            socket.send(message).await.expect("sending");
            let (got, words) = closing(&mut socket).await;
            assert!(got == code && words.starts_with(reason) && !words.is_empty(), "{path}: {got} {words}");
            let line = log.wait_for("a door is closed", index + 1);
            assert!(line.contains(&format!("room=\"a\" client=10.81.0.2 code={code} reason={words:?}")), "{line}");
        }
        let mut socket = open(&lab, "/ethernet/a").await;
        socket.send(Message::text("pong:1")).await.expect("sending");
        socket.send(Message::text("ping:xyz")).await.expect("sending");
        let answer = socket.next().await.expect("an answer").expect("a message");
        assert_eq!(answer, Message::text("pong:xyz"));
    });
}

/// An emulator whose guest is silent: it answers the gateway's pings.
fn idle(mut socket: WebSocket) -> tokio::task::JoinHandle<()> {
    tokio::spawn(async move { while socket.next().await.is_some() {} })
}

#[test]
fn rooms_are_bounded_and_end_with_the_last_guest() {
    let Some(lab) = lab(&["--set", "doors.rooms_per_peer=2", "--set", "doors.ports=2"]) else { return };
    block_on(async {
        let (first, second) = (idle(open(&lab, "/ethernet/a").await), idle(open(&lab, "/ethernet/b").await));
        assert_eq!(closing(&mut open(&lab, "/ethernet/c").await).await.0, 1013);
        let third = idle(open(&lab, "/ethernet/a").await);
        assert_eq!(closing(&mut open(&lab, "/ethernet/a").await).await, (1013, "the room is full".to_owned()));
        [first, second, third].iter().for_each(tokio::task::JoinHandle::abort);
        wait_for_figure(&lab, "webtun_door_rooms", |rooms| rooms == 0).await;
    });
}

/// A request for a TCP port, by PCP (RFC 6887 section 11).
fn map_request(client: Ipv4Addr, port: u16) -> Vec<u8> {
    let mut request = vec![2, 1, 0, 0, 0, 0, 2, 88];
    request.extend_from_slice(&client.to_ipv6_mapped().octets());
    request.extend_from_slice(&[5; 12]);
    request.extend_from_slice(&[6, 0, 0, 0]);
    request.extend_from_slice(&port.to_be_bytes());
    request.extend_from_slice(&[0, 0]);
    request.extend_from_slice(&Ipv4Addr::UNSPECIFIED.to_ipv6_mapped().octets());
    request
}

/// Sends back what comes on one connection to the gateway's outside.
fn echo_from_outside(lab: &Lab, port: u16) -> impl FnOnce() + Send + 'static {
    let there = lab.remote.entrance();
    move || {
        there.enter();
        let mut stream = std::net::TcpStream::connect((OUTSIDE, port)).expect("the mapped port answers");
        stream.set_read_timeout(Some(door_support::PATIENCE)).expect("a setting");
        let (mut buffer, mut octets) = (vec![0; 64 * 1024], 0);
        while octets < MIB {
            let len = stream.read(&mut buffer).expect("octets");
            assert!(len > 0, "the guest's server has closed");
            stream.write_all(&buffer[..len]).expect("it takes them");
            octets += len;
        }
    }
}

#[test]
fn a_server_in_a_guest_is_reached_by_a_port_that_it_has_mapped() {
    let Some(lab) = lab(&[]) else { return };
    block_on(async {
        let mut vm = Vm::new(&lab, "/ethernet/server", 1, 1500).await;
        let (address, router, _) = vm.boot().await;
        vm.ping(remote()).await;
        vm.guest.send_datagram(SocketAddr::new(router.into(), 5351), &map_request(address, 8080));
        let mut answer = None;
        vm.run_until("an answer of PCP", |guest| {
            answer = answer.take().or_else(|| guest.receive_datagram());
            answer.is_some()
        })
        .await;
        let (answer, from) = answer.expect("there is one");
        assert_eq!((from, answer[3]), (SocketAddr::new(router.into(), 5351), 0), "{answer:?}");
        let port = u16::from_be_bytes([answer[42], answer[43]]);
        let server = vm.guest.listen(8080, 3, MIB as u64);
        let outside = std::thread::spawn(echo_from_outside(&lab, port));
        vm.run_until("the stream", |guest| guest.connections[server].is_complete()).await;
        outside.join().expect("the other end has got it all");
    });
}

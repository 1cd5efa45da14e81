//! Every door of a gateway with several shards: clients come to any of them, whichever has their sessions.

mod door_support;

use std::net::IpAddr;

use door_support::{Vm, WebSocket, binary, block_on, exchange, figure, has_heard, shout, try_open};
use futures_util::{SinkExt, StreamExt};
use tokio_tungstenite::tungstenite::Message;
use webtun_tests::lab::{Lab, Operator, REMOTE, TOKEN};

const PREFIX: &str = "wt-doorn";
/// Each is a peer of its own, and all sessions of a peer are in one shard.
const PEERS: [&str; 4] = [TOKEN, "second-token", "third-token", "fourth-token"];
const SETTINGS: [&str; 8] = [
    "--token",
    PEERS[1],
    "--token",
    PEERS[2],
    "--token",
    PEERS[3],
    "--set",
    r#"doors.room=[{name="all",shared=true},{name="others",shared=true}]"#,
];
const ECHO: u16 = 7;

fn lab(operator: Operator, shards: usize) -> Lab {
    let count = format!("shards={shards}");
    Lab::start_as(operator, PREFIX, &[&SETTINGS[..], &["--set", &count]].concat())
}

fn remote() -> IpAddr {
    REMOTE[0].parse().expect("an address")
}

async fn say(socket: &mut WebSocket, message: &[u8]) {
    socket.send(binary(message)).await.expect("sending");
}

async fn hear(socket: &mut WebSocket) -> Vec<u8> {
    loop {
        match socket.next().await {
            Some(Ok(Message::Binary(message))) => return message.to_vec(),
            Some(Ok(Message::Ping(_) | Message::Pong(_))) => {}
            other => panic!("no message but {other:?}"),
        }
    }
}

/// An echo by a connection of one WebSocket.
async fn by_tcp(lab: &Lab, token: &str) -> WebSocket {
    let path = format!("/tcp/{}/{ECHO}?token={token}", REMOTE[0]);
    let (mut socket, _) = try_open(lab, &path, Some("binary")).await.expect("a WebSocket");
    say(&mut socket, token.as_bytes()).await;
    assert_eq!(hear(&mut socket).await, token.as_bytes());
    socket
}

/// An echo by a name, asked for within a WebSocket as RFC 1928 and RFC 1929 have it.
async fn by_socks(lab: &Lab, token: &str) -> WebSocket {
    let (mut socket, _) = try_open(lab, "/", Some("binary")).await.expect("a WebSocket");
    say(&mut socket, &[5, 1, 2]).await;
    assert_eq!(hear(&mut socket).await, [5, 2]);
    let credential = [&[1, 4][..], b"user", &[token.len() as u8], token.as_bytes()].concat();
    say(&mut socket, &credential).await;
    assert_eq!(hear(&mut socket).await, [1, 0]);
    let name = b"www.playground.test";
    say(&mut socket, &[&[5, 1, 0, 3, name.len() as u8][..], name, &ECHO.to_be_bytes()].concat()).await;
    assert_eq!(hear(&mut socket).await[..2], [5, 0]);
    say(&mut socket, token.as_bytes()).await;
    assert_eq!(hear(&mut socket).await, token.as_bytes());
    socket
}

/// Echoes over TCP and UDP by streams of one WebSocket.
async fn by_wisp(lab: &Lab, token: &str) -> WebSocket {
    const TCP: u8 = 1;
    const UDP: u8 = 2;
    let (mut socket, _) = try_open(lab, &format!("/wisp/{token}/"), None).await.expect("a WebSocket");
    assert_eq!(hear(&mut socket).await[..5], [3, 0, 0, 0, 0], "CONTINUE for stream 0");
    for kind in [TCP, UDP] {
        let stream = u32::from(kind).to_le_bytes();
        let connect = [&[1][..], &stream, &[kind], &ECHO.to_le_bytes(), REMOTE[0].as_bytes()].concat();
        let data = [&[2][..], &stream, token.as_bytes()].concat();
        say(&mut socket, &connect).await;
        say(&mut socket, &data).await;
        loop {
            let packet = hear(&mut socket).await;
            assert_ne!(packet[0], 4, "the stream is closed: {packet:?}");
            if packet[0] == 2 {
                assert_eq!(packet, data);
                break;
            }
        }
    }
    socket
}

fn sessions(lab: &Lab, shards: usize) -> Vec<u64> {
    (0..shards).map(|shard| figure(lab, &format!("webtun_shard_sessions{{shard=\"{shard}\"}}"))).collect()
}

/// Guests of peers that the shards have between them.
async fn guests(lab: &Lab, shards: usize) {
    let mut all = Vec::new();
    for (index, token) in PEERS.iter().take(shards).enumerate() {
        let door = ["ethernet", "qemu"][index % 2];
        let mut vm = Vm::by_address(lab, &format!("/{door}/all?token={token}"), index as u8 + 1).await;
        let address = vm.boot().await.0;
        vm.ping(remote()).await;
        all.push((vm, address));
    }
    assert_eq!(sessions(lab, shards), vec![1; shards], "each in a shard of its own");
    for (client, server) in (1..shards).map(|index| (index, index - 1)) {
        let (head, tail) = all.split_at_mut(client);
        let (vm, address) = &mut head[server];
        vm.guest.connections.clear();
        exchange((vm, *address), &mut tail[0].0).await;
    }
    let token = PEERS[shards - 1];
    let mut stranger = Vm::by_address(lab, &format!("/ethernet/others?token={token}"), 9).await;
    stranger.boot().await;
    shout(&mut stranger).await;
    stranger.ping(remote()).await;
    let (first, others) = all.split_first_mut().expect("guests");
    shout(&mut first.0).await;
    for (vm, _) in others {
        vm.ping(remote()).await;
        assert!(has_heard(vm), "of its own room");
    }
    first.0.ping(remote()).await;
    assert!(!has_heard(&first.0) && !has_heard(&stranger), "of another room");
}

async fn connections(lab: &Lab, shards: usize) {
    let mut all = Vec::new();
    for token in PEERS.iter().take(shards) {
        all.push(by_tcp(lab, token).await);
        all.push(by_socks(lab, token).await);
        all.push(by_wisp(lab, token).await);
    }
    let of_each = sessions(lab, shards);
    assert!(of_each.iter().all(|sessions| *sessions == of_each[0] && *sessions > 0), "{of_each:?}");
}

fn every_door(operator: Operator, shards: usize) {
    if !webtun_tests::netns::available() {
        return eprintln!("left out: needs root and /dev/net/tun");
    }
    let lab = lab(operator, shards);
    block_on(connections(&lab, shards));
    drop(lab);
    let lab = self::lab(operator, shards);
    block_on(guests(&lab, shards));
}

#[test]
fn two_shards_before_tun_devices() {
    every_door(Operator::Root, 2);
}

#[test]
fn four_shards_before_tun_devices() {
    every_door(Operator::Root, 4);
}

#[test]
fn two_shards_of_a_user_without_capabilities() {
    every_door(Operator::Nobody, 2);
}

//! Rooms of a real gateway: whose they are, and that their guests are clients like any others.

mod door_support;

use std::io::ErrorKind;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream};
use std::time::Duration;

use door_support::{
    GATEWAY, Vm, block_on, closing, exchange, figure, frame, has_heard, open_again, shout, wait_for_figure,
};
use webtun_tests::lab::{Lab, REMOTE, TOKEN};
use webtun_tests::packet::udp;

const PREFIX: &str = "wt-doorr";
/// Of another peer than [`TOKEN`]'s.
const OTHER: &str = "another-token";
const PAUSE: Duration = Duration::from_millis(300);

fn lab(flags: &[&str]) -> Option<Lab> {
    Lab::start_if_available(PREFIX, &[&["--token", OTHER], flags].concat())
}

fn remote() -> IpAddr {
    REMOTE[0].parse().expect("an address")
}

/// A guest of each peer, in the room of this name.
async fn one_of_each(lab: &Lab, room: &str) -> (Vm, Vm) {
    let path = |door, token| format!("/{door}/{room}?token={token}");
    let mine = Vm::by_address(lab, &path("ethernet", TOKEN), 1).await;
    (mine, Vm::by_address(lab, &path("qemu", OTHER), 2).await)
}

#[test]
fn peers_meet_in_shared_rooms_and_nowhere_else() {
    let Some(lab) = lab(&["--set", r#"doors.room=[{name="all",shared=true},{name="each"}]"#]) else { return };
    block_on(async {
        for room in ["each", "unconfigured"] {
            let (mut mine, mut theirs) = one_of_each(&lab, room).await;
            let first = mine.boot().await.0;
            assert_eq!(theirs.boot().await.0, first, "each is alone with its router");
            shout(&mut mine).await;
            shout(&mut theirs).await;
            mine.ping(remote()).await;
            theirs.ping(remote()).await;
            assert!(!has_heard(&mine) && !has_heard(&theirs), "{room}");
        }
        let (mut mine, mut theirs) = one_of_each(&lab, "all").await;
        let (server, client) = (mine.boot().await.0, theirs.boot().await.0);
        assert_ne!(server, client);
        shout(&mut theirs).await;
        mine.ping(remote()).await;
        assert!(has_heard(&mine), "so that silence means something above");
        exchange((&mut mine, server), &mut theirs).await;
    });
}

#[test]
fn the_places_of_a_full_room_are_shared() {
    let flags =
        ["--set", r#"doors.room=[{name="all",shared=true}]"#, "--set", "doors.ports=2", "--set", "doors.guests=4"];
    let Some(lab) = lab(&flags) else { return };
    block_on(async {
        let mine = format!("/ethernet/all?token={TOKEN}");
        let mut first = Vm::by_address(&lab, &mine, 1).await;
        first.boot().await;
        let mut second = open_again(&lab, &mine).await;
        assert_eq!(closing(&mut open_again(&lab, &mine).await).await, (1013, "the room is full".to_owned()));
        let mut theirs = Vm::by_address(&lab, &format!("/ethernet/all?token={OTHER}"), 2).await;
        let (code, words) = closing(&mut second).await;
        assert!(code == 1013 && words.contains("others have fewer places"), "{code} {words}");
        assert_eq!(closing(&mut open_again(&lab, &mine).await).await.0, 1013, "now they are even");
        theirs.boot().await;
        // Cards up to the bound.
        for number in 0..4 {
            let mac = [2, 7, 7, 7, 7, number];
            let arp = [&[0, 1, 8, 0, 6, 4, 0, 1][..], &mac, &[0; 10], &[192, 168, 127, 1]].concat();
            first.send(&frame([0xff; 6], mac, 0x0806, &arp)).await;
        }
        first.idle(PAUSE).await;
        wait_for_figure(&lab, "webtun_door_dropped_frames_total{reason=\"too_many_guests\"}", |frames| frames > 0)
            .await;
        theirs.ping(remote()).await;
    });
}

/// An ICMP error (RFC 792: destination unreachable) about a packet to this address.
fn is_unreachable(frame: &[u8], to: Ipv4Addr) -> bool {
    frame.len() >= 14 + 20 + 8 + 20 && frame[23] == 1 && frame[34] == 3 && frame[58..62] == to.octets()
}

/// The same of ICMPv6 (RFC 4443 section 3.1).
fn is_unreachable_v6(frame: &[u8], to: Ipv6Addr) -> bool {
    frame.len() >= 14 + 40 + 8 + 40 && frame[20] == 58 && frame[54] == 1 && frame[86..102] == to.octets()
}

/// The destinations of the browser's scenario that a guest's packet can have.
fn forbidden() -> Vec<IpAddr> {
    let table = include_str!("../browser/scenarios/forbidden.json");
    let table: serde_json::Value = serde_json::from_str(table).expect("a table");
    let all = table["destinations"].as_array().expect("a list");
    // With codes of their own are those that never leave a client's stack.
    let leaving = all.iter().filter(|it| it.get("codes").is_none());
    leaving.filter_map(|it| it["to"].as_str()?.parse().ok()).collect()
}

/// Sends each a datagram, past the guest's own stack, which would know better.
async fn those_not_told(vm: &mut Vm, all: &[IpAddr]) -> Vec<IpAddr> {
    let (v4, ..) = vm.boot().await;
    vm.run_until("a way out by IPv6", |guest| guest.has_v6_route()).await;
    let v6 = vm.guest.v6().expect("an address");
    let router: [u8; 6] = vm.seen[0][6..12].try_into().expect("a card");
    let mut missing = Vec::new();
    for &to in all {
        let (from, ether_type) = if to.is_ipv4() { (v4.into(), 0x0800) } else { (v6.into(), 0x86dd) };
        let packet = udp(SocketAddr::new(from, 4000), SocketAddr::new(to, 7), b"not there");
        vm.seen.clear();
        vm.send(&frame(router, [2, 0, 0, 0, 0, 1], ether_type, &packet)).await;
        vm.idle(PAUSE / 10).await;
        let is_told = |frame: &Vec<u8>| match to {
            IpAddr::V4(to) => is_unreachable(frame, to),
            IpAddr::V6(to) => is_unreachable_v6(frame, to),
        };
        if !vm.seen.iter().any(is_told) {
            missing.push(to);
        }
    }
    missing
}

#[test]
fn what_policy_denies_is_refused_to_guests_of_each_door() {
    let Some(lab) = lab(&[]) else { return };
    let all = forbidden();
    assert!(all.len() > 60, "{}", all.len());
    block_on(async {
        for door in ["ethernet", "qemu"] {
            let mut vm = Vm::new(&lab, &format!("/{door}/a"), 1, 1500).await;
            let missing = those_not_told(&mut vm, &all).await;
            // What is on the link by its form alone is no router's to refuse (RFC 4291 section 2.5.6).
            assert_eq!(missing, ["fe80::1".parse::<IpAddr>().expect("an address")], "/{door}/");
        }
    });
}

#[test]
fn guests_are_under_policy_limits_and_audit() {
    let flags = ["--set", "limits.sessions_per_peer=2", "--set", "audit.output=stdout"];
    let Some(mut lab) = lab(&flags) else { return };
    block_on(async {
        let mut vm = Vm::new(&lab, "/ethernet/a", 1, 1500).await;
        vm.boot().await;
        vm.ping(remote()).await;
        let denied = Ipv4Addr::new(10, 9, 8, 7);
        vm.guest.send_datagram(SocketAddr::new(denied.into(), 7), b"not there");
        vm.idle(PAUSE).await;
        assert!(vm.seen.iter().any(|frame| is_unreachable(frame, denied)), "the guest is told");
        assert_eq!(figure(&lab, "webtun_denied_flows_total{reason=\"destination_class\"}"), 1);
        let mut second = Vm::new(&lab, "/qemu/a", 2, 1500).await;
        second.boot().await;
        second.ping(remote()).await;
        let mut third = Vm::new(&lab, "/ethernet/b", 3, 1500).await;
        third.boot().await;
        let datagram = SocketAddr::new(remote(), 7);
        third.guest.send_datagram(datagram, b"echo");
        third.idle(PAUSE).await;
        assert_eq!(third.guest.receive_datagram(), None, "it has an address in its room, and no session");
        second.guest.send_datagram(datagram, b"echo");
        second.run_until("the echo that others get", |guest| guest.receive_datagram().is_some()).await;
        assert_eq!(figure(&lab, "webtun_sessions{state=\"connected\"}"), 2);
    });
    let mut opened = Vec::new();
    while opened.len() < 2 {
        let line = lab.gateway_process.wait_for_line("{");
        if line.contains("\"session_opened\"") {
            assert!(line.contains("\"peer\":\"token 1\""), "{line}");
            assert!(line.contains("\"inner_v4\":\"100."), "{line}");
            opened.push(line);
        }
    }
}

#[test]
fn the_host_of_a_room_of_container2wasm_stands_for_the_one_that_is_configured() {
    let room = format!(r#"doors.room=[{{name="c2w",profile="container2wasm",host="{}"}}]"#, REMOTE[0]);
    let Some(lab) = lab(&["--set", &room]) else { return };
    let host = IpAddr::from([192, 168, 127, 254]);
    block_on(async {
        let mut vm = Vm::new(&lab, "/qemu/c2w", 1, 1500).await;
        assert_eq!(vm.boot().await.0, Ipv4Addr::new(192, 168, 127, 3));
        vm.ping(host).await;
        assert_eq!(vm.get(host, 20_001, "/blob?size=100000").await.len(), 100_000);
        let mut vm = Vm::new(&lab, "/qemu/other?profile=container2wasm", 1, 1500).await;
        vm.boot().await;
        vm.guest.send_icmp(&door_support::echo_request(), host);
        vm.idle(PAUSE).await;
        assert_eq!(vm.guest.receive_icmp(), None, "nobody has said for whom it stands");
    });
}

#[test]
fn guests_come_back_by_their_address_when_the_gateway_does() {
    let Some(mut lab) = lab(&[]) else { return };
    let room = format!("/ethernet/home?token={TOKEN}");
    block_on(async {
        let mut first = Vm::by_address(&lab, &room, 1).await;
        let mut second = Vm::by_address(&lab, &room, 2).await;
        let (_, (address, ..)) = (first.boot().await, second.boot().await);
        second.ping(remote()).await;
        lab.restart_gateway(&[], |lab| {
            let refused = lab.client.within(|| TcpStream::connect(GATEWAY)).expect_err("nobody is there");
            assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
        });
        let back = tokio::time::Instant::now();
        assert_eq!(closing(&mut second.socket).await.0, 1001, "the gateway has gone");
        second.socket = open_again(&lab, &room).await;
        second.ping(remote()).await;
        assert_eq!(second.guest.lease.map(|it| it.0), Some(address));
        let mut third = Vm::by_address(&lab, &room, 3).await;
        assert_ne!(third.boot().await.0, address, "who boots only now gets another one");
        third.ping(remote()).await;
        assert!(back.elapsed() < Duration::from_secs(12), "{:?}", back.elapsed());
    });
}

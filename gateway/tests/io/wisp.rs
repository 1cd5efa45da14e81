//! `/wisp/`: streams in one WebSocket, over a real gateway.

#![allow(clippy::disallowed_methods, reason = "tests read the clock")]

use crate::support::doors::{
    Door, HERE, Heard, SETTINGS, THERE, Wisp, echo, echo_datagrams, packet, pattern, serve, sink, stalled,
};
use crate::support::{Gateway, Scratch, block_on, eventually, figure};
use ring::signature::{Ed25519KeyPair, KeyPair};
use std::time::{Duration, Instant};
use tokio::io::AsyncWriteExt;
use tokio::sync::mpsc;

const TCP: u8 = 1;
const UDP: u8 = 2;

fn start(scratch: &Scratch, more: &[&str]) -> Gateway {
    let more = more.iter().flat_map(|setting| ["--set", setting]);
    Gateway::start(&scratch.0, &SETTINGS.into_iter().chain(more).collect::<Vec<_>>())
}

/// An extension in INFO.
fn extension(id: u8, payload: &[u8]) -> Vec<u8> {
    [&[id][..], &(payload.len() as u32).to_le_bytes(), payload].concat()
}

/// The client's INFO.
fn info(extensions: &[Vec<u8>]) -> Vec<u8> {
    packet(5, 0, &[&[2, 0][..], &extensions.concat()].concat())
}

/// What INFO of the gateway has of this extension.
fn offered(info: &[u8], id: u8) -> Option<Vec<u8>> {
    assert_eq!(info[..6], [5, 0, 0, 0, 0, 2], "INFO, version 2");
    let mut rest = &info[7..];
    while let Some((head, behind)) = rest.split_first_chunk::<5>() {
        let len = u32::from_le_bytes(head[1..].try_into().expect("a length")) as usize;
        if head[0] == id {
            return Some(behind[..len].to_vec());
        }
        rest = &behind[len..];
    }
    None
}

/// Memory of the gateway, in KiB.
fn resident(gateway: &Gateway) -> usize {
    let status = std::fs::read_to_string(format!("/proc/{}/status", gateway.id())).expect("a process");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("a figure");
    line.trim().trim_end_matches(" kB").parse().expect("a number")
}

/// Takes connections, reads each after so long, and tells what it had at its end.
async fn late(delay: Duration) -> (u16, mpsc::Receiver<Vec<u8>>) {
    let (told, heard) = mpsc::channel(4);
    let port = serve(move |mut stream| {
        let told = told.clone();
        async move {
            tokio::time::sleep(delay).await;
            let mut all = Vec::new();
            tokio::io::AsyncReadExt::read_to_end(&mut stream, &mut all).await.expect("octets and an end");
            told.send(all).await.expect("the test");
        }
    });
    (port.await, heard)
}

isolated! {
    fn octets_go_both_ways_whole_and_by_any_length_of_packets() {
        let scratch = Scratch::new("wisp-whole");
        let gateway = start(&scratch, &[]);
        block_on(async {
            let (echo, sink) = (echo().await, sink().await);
            let mut client = Wisp::open(gateway.address).await;
            client.connect(1, TCP, HERE, echo).await;
            client.upload(1, b"hello", 100).await;
            assert_eq!(client.receive(1, 5).await, b"hello");
            let all = pattern(6_000_000);
            for (stream, length) in [(2, 64 * 1024), (3, 1000), (4, 1_000_000)] {
                client.connect(stream, TCP, HERE, sink).await;
                client.upload(stream, &all, length).await;
                // There is no half-close: the end of a stream is the end of what its server reads.
                client.close(stream).await;
            }
            let download = serve(move |mut stream| async move {
                stream.write_all(&pattern(6_000_000)).await.expect("sending");
            })
            .await;
            client.connect(5, TCP, HERE, download).await;
            assert_eq!(client.end(5).await, 2, "closed by the server, as it had sent everything");
            assert!(client.received[&5] == all);
            let many: Vec<u32> = (100..300).collect();
            for stream in &many {
                client.connect(*stream, TCP, HERE, echo).await;
                client.data(*stream, &stream.to_le_bytes()).await;
            }
            for stream in many {
                assert_eq!(client.receive(stream, 4).await, stream.to_le_bytes());
            }
        });
        gateway.stop();
    }

    /// As epoxy's `fetch` sends a request with its body.
    fn a_packet_may_be_long_but_for_strangers() {
        let scratch = Scratch::new("wisp-long");
        let gateway = start(&scratch, &["tokens=[\"s3cret\"]", "limits.handshake_timeout_s=2"]);
        block_on(async {
            let (reader, mut heard) = late(Duration::ZERO).await;
            let all = pattern(24_000_000);
            let mut client = Wisp::greeted(Door::open(gateway.address, "/wisp/s3cret/", None).await.expect("a WebSocket")).await;
            client.connect(1, TCP, HERE, reader).await;
            client.data(1, &all).await;
            client.close(1).await;
            assert!(heard.recv().await.expect("the server's") == all);
            // The head of a message, which tells how long that is to be.
            let head = |octets: u64| [&[0x82, 0xff][..], &octets.to_be_bytes(), &[0; 4]].concat();
            client.door.0.get_mut().write_all(&head((32 << 20) + 1)).await.expect("sending");
            assert!(matches!(client.door.hear().await, Heard::Closed(1009, words) if words.contains("32 MiB")));

            let mut stranger = Door::open(gateway.address, "/wisp/", Some("wisp-v2")).await.expect("a WebSocket");
            stranger.0.get_mut().write_all(&head(32 << 20)).await.expect("sending");
            let (mut taken, piece) = (0, [0; 64 * 1024]);
            while taken < 32 << 20 {
                let written = tokio::time::timeout(Duration::from_millis(500), stranger.0.get_mut().write(&piece)).await;
                let Ok(written) = written else { break };
                taken += written.expect("sending");
            }
            assert!(taken < 16 << 20, "{taken} octets of somebody whom nobody knows: they are not even in the kernel");
        });
        gateway.stop();
    }

    fn what_was_sent_before_the_end_is_delivered() {
        let scratch = Scratch::new("wisp-end");
        let gateway = start(&scratch, &[]);
        block_on(async {
            // Slower than the client, whose packets wait in the gateway when it leaves.
            let (reader, mut heard) = late(Duration::from_millis(300)).await;
            let all = pattern(1_500_000);
            let mut client = Wisp::open(gateway.address).await;
            client.connect(1, TCP, HERE, reader).await;
            client.upload(1, &all, 60_000).await;
            client.close(1).await;
            assert!(heard.recv().await.as_ref() == Some(&all), "after CLOSE");
            client.connect(1, TCP, HERE, reader).await;
            client.upload(1, &all, 60_000).await;
            // Whatever is under way: a broken connection would lose it before it gets to the gateway.
            client.door.0.close(None).await.expect("a close frame");
            assert!(heard.recv().await == Some(all), "after the WebSocket has closed");
        });
        gateway.stop();
    }

    fn many_short_packets_wait_for_a_destination_that_is_slow_to_begin() {
        let scratch = Scratch::new("wisp-short");
        let gateway = start(&scratch, &[]);
        block_on(async {
            let (reader, mut heard) = late(Duration::from_millis(500)).await;
            let all = pattern(16_000_000);
            let mut client = Wisp::open(gateway.address).await;
            client.connect(1, TCP, HERE, reader).await;
            // What a client may have under way that takes each CONTINUE for its word has no bound.
            for piece in all.chunks(1000) {
                client.data(1, piece).await;
            }
            client.close(1).await;
            assert!(heard.recv().await == Some(all));
        });
        gateway.stop();
    }

    fn a_slow_client_gets_everything_of_a_server_that_has_left() {
        let scratch = Scratch::new("wisp-slow");
        let gateway = start(&scratch, &[]);
        block_on(async {
            const ALL: usize = 24_000_000;
            let server = serve(|mut stream| async move { drop(stream.write_all(&pattern(ALL)).await) }).await;
            let mut client = Wisp::open(gateway.address).await;
            let before = resident(&gateway);
            client.connect(1, TCP, HERE, server).await;
            tokio::time::sleep(Duration::from_millis(700)).await;
            let held = resident(&gateway).saturating_sub(before);
            assert!(held < 16_000, "{held} KiB are held for a client that does not read");
            assert_eq!(client.end(1).await, 2);
            assert!(client.received[&1] == pattern(ALL));
        });
        gateway.stop();
    }

    fn a_destination_that_does_not_read_stops_nobody_and_holds_little() {
        let scratch = Scratch::new("wisp-stalled");
        let gateway = start(&scratch, &[]);
        block_on(async {
            let (stalled, echo) = (stalled().await, echo().await);
            let mut client = Wisp::open(gateway.address).await;
            client.connect(1, TCP, HERE, echo).await;
            let before = resident(&gateway);
            for stream in 100..112 {
                client.connect(stream, TCP, HERE, stalled).await;
            }
            let begin = Instant::now();
            let mut packets = 0;
            for round in 0..40 {
                for stream in 100..112 {
                    packets += client.flood(stream, 64 * 1024).await;
                }
                client.data(1, b"ping").await;
                client.receive(1, 4).await;
                assert!(begin.elapsed() < Duration::from_secs(20), "round {round}");
            }
            assert!(packets >= 12 * 32, "{packets}");
            let held = resident(&gateway).saturating_sub(before);
            assert!(held < 96_000, "{held} KiB are held for destinations that do not read");
            // What keeps no rule is held by none either.
            for stream in 200..216 {
                client.connect(stream, TCP, HERE, stalled).await;
            }
            for _ in 0..60 {
                for stream in 200..216 {
                    client.data(stream, &vec![7; 64 * 1024]).await;
                }
            }
            client.data(1, b"pong").await;
            client.receive(1, 4).await;
            let held = resident(&gateway).saturating_sub(before);
            assert!(held < 128_000, "{held} KiB are held for a client that keeps to no credit");
            assert!(client.closed.values().all(|reason| *reason == 0x49), "{:?}", client.closed);
        });
        gateway.stop();
    }

    /// Downloads that never end: each gets what the others get, and a word said meanwhile is answered.
    fn streams_take_turns() {
        const STREAMS: u32 = 4;
        const OCTETS: usize = 16 << 20;
        let scratch = Scratch::new("wisp-turns");
        let gateway = start(&scratch, &[]);
        block_on(async {
            let endless = serve(|mut stream| async move {
                let piece = vec![7; 64 << 10];
                while stream.write_all(&piece).await.is_ok() {}
            })
            .await;
            let echo = echo().await;
            let mut client = Wisp::open(gateway.address).await;
            for stream in 1..=STREAMS {
                client.connect(stream, TCP, HERE, endless).await;
            }
            let had = |client: &Wisp, stream| client.received.get(&stream).map_or(0, Vec::len);
            while (1..=STREAMS).map(|stream| had(&client, stream)).sum::<usize>() < OCTETS {
                client.step().await;
            }
            for stream in 1..=STREAMS {
                let share = had(&client, stream) * STREAMS as usize * 100 / OCTETS;
                assert!((50..200).contains(&share), "stream {stream} has {share} % of its share");
            }
            client.connect(9, TCP, HERE, echo).await;
            client.data(9, b"heard").await;
            assert_eq!(client.receive(9, 5).await, b"heard");
        });
        gateway.stop();
    }

    fn datagrams_keep_their_ends() {
        let scratch = Scratch::new("wisp-udp");
        let _echo = echo_datagrams();
        let gateway = start(&scratch, &[]);
        block_on(async {
            let mut client = Wisp::open(gateway.address).await;
            client.connect(1, UDP, THERE, 7).await;
            for length in [1, 0, 1200, 9000, 40_000] {
                client.received.remove(&1);
                client.data(1, &pattern(length)).await;
                loop {
                    client.step().await;
                    if let Some(all) = client.received.get(&1) {
                        assert_eq!(*all, pattern(length));
                        break;
                    }
                }
            }
            assert!(client.told.is_empty(), "no CONTINUE for datagrams: {:?}", client.told);
            client.close(1).await;
        });
        gateway.stop();
    }

    fn each_failure_has_its_reason() {
        let scratch = Scratch::new("wisp-reasons");
        let gateway = start(&scratch, &["dns.upstream=[\"192.0.2.7\"]"]);
        block_on(async {
            let reset = serve(|stream| async move { stream.set_zero_linger().expect("an option") }).await;
            let mut client = Wisp::open(gateway.address).await;
            let cases = [
                (TCP, HERE, 1, 0x44),
                (TCP, "127.0.0.1", 22, 0x48),
                (TCP, "::ffff:127.0.0.1", 22, 0x48),
                (TCP, "10.0.0.1", 22, 0x48),
                (UDP, "10.0.0.1", 22, 0x48),
                (UDP, "127.0.0.1", 22, 0x48),
                (TCP, "192.0.2.200", 22, 0x42),
                (TCP, "nowhere.invalid", 22, 0x42),
                (TCP, HERE, reset, 0x03),
                (TCP, "", 80, 0x41),
                (3, HERE, 80, 0x41),
                (TCP, HERE, 0, 0x41),
            ];
            for (stream, (kind, host, port, _)) in (1..).zip(cases) {
                client.connect(stream, kind, host, port).await;
                if kind == UDP {
                    client.data(stream, b"x").await;
                }
            }
            for (stream, (kind, host, port, reason)) in (1..).zip(cases) {
                assert_eq!(client.end(stream).await, reason, "{kind} to {host} {port}");
            }
        });
        assert!(figure("webtun_streams_opened_total") >= 1);
        gateway.stop();
    }

    fn the_second_version_has_its_extensions() {
        let scratch = Scratch::new("wisp-v2");
        let gateway = start(&scratch, &["doors.motd=\"be kind\""]);
        block_on(async {
            let (echo, stalled) = (echo().await, stalled().await);
            let mut door = Door::open(gateway.address, "/wisp/", Some("wisp-v2")).await.expect("a WebSocket");
            let hello = door.message().await;
            assert_eq!(offered(&hello, 1), Some(vec![]));
            assert_eq!(offered(&hello, 2), Some(vec![0]), "no password is needed");
            assert_eq!(offered(&hello, 3), None, "no keys are known");
            assert_eq!(offered(&hello, 4).as_deref(), Some(&b"be kind"[..]));
            assert_eq!(offered(&hello, 5), Some(vec![]));
            door.send(&info(&[extension(1, b""), extension(5, b"")])).await;
            let mut client = Wisp::greeted(door).await;
            client.connect(7, TCP, HERE, stalled).await;
            client.step().await;
            assert_eq!(client.told.get(&7), Some(&1), "told when it is open, and nothing was sent");
            client.connect(8, TCP, HERE, echo).await;
            client.data(8, b"v2").await;
            assert_eq!(client.receive(8, 2).await, b"v2");
            client.connect(9, TCP, HERE, 1).await;
            client.connect(10, TCP, "10.9.8.7", 80).await;
            assert_eq!((client.end(9).await, client.end(10).await), (0x44, 0x48));
            assert_eq!(client.told.get(&9).or(client.told.get(&10)), None, "what is not open is never said to be");
        });
        gateway.stop();
    }

    fn credentials_are_those_of_the_gateway() {
        let scratch = Scratch::new("wisp-auth");
        let pkcs8 = Ed25519KeyPair::generate_pkcs8(&ring::rand::SystemRandom::new()).expect("a key");
        let pair = Ed25519KeyPair::from_pkcs8(pkcs8.as_ref()).expect("a key");
        let public: String = pair.public_key().as_ref().iter().map(|octet| format!("{octet:02x}")).collect();
        let key = format!("auth.key=[{{ed25519=\"{public}\",name=\"alice\"}}]");
        let gateway = start(&scratch, &["tokens=[\"s3cret\"]", &key]);
        block_on(async {
            let echo = echo().await;
            let works = async |door: Door| {
                let mut client = Wisp::greeted(door).await;
                client.connect(1, TCP, HERE, echo).await;
                client.data(1, b"in").await;
                assert_eq!(client.receive(1, 2).await, b"in");
            };
            let greet = async |protocol: &str| {
                let mut door = Door::open(gateway.address, "/wisp/", Some(protocol)).await.expect("a WebSocket");
                let hello = door.message().await;
                (door, hello)
            };
            let refused = async |mut door: Door, reason: u8| {
                assert_eq!(door.message().await, packet(4, 0, &[reason]));
                assert!(matches!(door.hear().await, Heard::Closed(4401, _)));
            };
            // The first version, by its address.
            works(Door::open(gateway.address, "/wisp/s3cret/", None).await.expect("a WebSocket")).await;
            works(Door::open(gateway.address, "/wisp/?token=s3cret", None).await.expect("a WebSocket")).await;
            refused(Door::open(gateway.address, "/wisp/", None).await.expect("a WebSocket"), 0xc2).await;
            refused(Door::open(gateway.address, "/wisp/wrong/", None).await.expect("a WebSocket"), 0xc0).await;

            let (mut door, hello) = greet("wisp-v2").await;
            assert_eq!(offered(&hello, 2), Some(vec![1]), "a password is needed");
            door.send(&info(&[extension(2, b"\x04nameS3CRET")])).await;
            refused(door, 0xc0).await;
            let (mut door, _) = greet("wisp-v2").await;
            door.send(&info(&[])).await;
            refused(door, 0xc2).await;
            for password in [&b"\x04names3cret"[..], b"\x04\x06\x00names3cret"] {
                let (mut door, _) = greet("wisp-v2").await;
                door.send(&info(&[extension(2, password)])).await;
                works(door).await;
            }
            let (door, hello) = greet("wisp-v2, bearer.s3cret").await;
            assert_eq!(offered(&hello, 2), Some(vec![0]), "the subprotocol has proved it");
            let mut door = door;
            door.send(&info(&[])).await;
            works(door).await;

            let signed = |challenge: &[u8]| {
                let hash = ring::digest::digest(&ring::digest::SHA256, pair.public_key().as_ref());
                extension(3, &[&[1][..], hash.as_ref(), pair.sign(challenge).as_ref()].concat())
            };
            let (mut door, hello) = greet("wisp-v2").await;
            let challenge = offered(&hello, 3).expect("keys are known");
            assert_eq!((challenge.len(), &challenge[..2]), (66, &[1, 1][..]));
            door.send(&info(&[signed(&challenge[2..])])).await;
            works(door).await;
            let (mut door, _) = greet("wisp-v2").await;
            door.send(&info(&[signed(&challenge[2..])])).await;
            refused(door, 0xc1).await;
        });
        let log = gateway.stop();
        assert!(log.contains("peer=\"alice\"") || log.contains("alice"), "{log}");
    }

    fn nonsense_ends_its_own_connection_alone() {
        let scratch = Scratch::new("wisp-nonsense");
        let gateway = start(&scratch, &["limits.handshake_timeout_s=4"]);
        block_on(async {
            let echo = echo().await;
            let mut other = Wisp::open(gateway.address).await;
            other.connect(1, TCP, HERE, echo).await;
            let connect = packet(1, 9, &[&[TCP][..], &echo.to_le_bytes(), HERE.as_bytes()].concat());
            for wrong in [
                vec![vec![]],
                vec![vec![2]],
                vec![packet(9, 1, b"")],
                vec![packet(1, 0, &connect[5..])],
                vec![packet(4, 0, &[2])],
                vec![packet(3, 1, b"abc")],
                vec![connect.clone(), connect.clone()],
            ] {
                let mut client = Wisp::open(gateway.address).await;
                for message in &wrong {
                    client.door.send(message).await;
                }
                let mut heard = client.door.hear().await;
                while matches!(heard, Heard::Message(_)) {
                    heard = client.door.hear().await;
                }
                assert!(matches!(heard, Heard::Closed(1002, _)), "{wrong:?}: {heard:?}");
            }
            // Of streams that are not there nothing is known, and nothing happens.
            other.data(77, b"nobody").await;
            other.close(78).await;
            other.door.send(&packet(3, 1, &[0; 4])).await;
            other.door.send(&packet(5, 0, &[2, 0])).await;
            other.data(1, b"fine").await;
            assert_eq!(other.receive(1, 4).await, b"fine");
            // One that does not answer INFO is not waited for.
            let mut silent = Door::open(gateway.address, "/wisp/", Some("x")).await.expect("a WebSocket");
            silent.message().await;
            assert!(matches!(silent.hear().await, Heard::Closed(1002, _)));
        });
        eventually("their sessions to end", || (figure("webtun_sessions{state=\"connected\"}") <= 1).then_some(()));
        gateway.stop();
    }
}

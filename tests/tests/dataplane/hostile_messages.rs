//! What a hostile client sends in messages costs it its own session, with the right code, and nobody else's.

use webtun_gateway::dataplane::{DropReason, ExternalAddress, Gateway, GatewayConfig, Peer};
use webtun_tests::direct::{Direct, hello, message};
use webtun_tests::packet::udp;
use webtun_tests::rng::SimRng;
use webtun_wire::{Capsule, CloseCode, Hello, Resume, VERSION};

fn direct() -> Direct {
    let address = "100.127.255.1".parse().unwrap();
    let external = vec![ExternalAddress { address, announced: address }];
    Direct::new(GatewayConfig::new(external), [1; 32])
}

/// A bystander and the hostile one.
fn two() -> Direct {
    let mut direct = direct();
    assert_eq!(direct.open(&Peer::new("bystander")), Ok(0));
    assert_eq!(direct.open(&Peer::new("hostile")), Ok(1));
    direct
}

fn bystander_works(direct: &mut Direct, sessions: u64) {
    let packet = udp(direct.sessions[0].endpoint(false, 4000), "45.33.0.1:53".parse().unwrap(), b"?");
    direct.send_packets(0, &[packet]).unwrap();
    assert!(direct.egress.pop_front().is_some(), "the bystander's packet leaves");
    assert_eq!(direct.gateway.stats().sessions, sessions);
}

#[test]
fn malformed_messages_end_the_session() {
    let cut = |capsule: Capsule<'_>| {
        let mut octets = message(&[capsule]);
        octets.pop();
        octets
    };
    let sequence_twice = message(&[Capsule::Sequence { number: 0 }, Capsule::Sequence { number: 1 }]);
    let sequence_later = message(&[Capsule::Ping { opaque: 1 }, Capsule::Sequence { number: 0 }]);
    let hello_again = message(&[
        Capsule::Sequence { number: 0 },
        Capsule::Hello(Hello { min_version: VERSION, max_version: VERSION, token: b"", resume: None }),
    ]);
    let unsent_ack = message(&[Capsule::Ack { next: 1 << 40 }]);
    let gap = message(&[Capsule::Sequence { number: 5 }]);
    let cases: [(&str, Vec<u8>); 9] = [
        ("a datagram cut short", cut(Capsule::Datagram { context: 0, payload: &[0x45; 40] })),
        ("a ping cut short", cut(Capsule::Ping { opaque: 7 })),
        ("a lone octet of a long varint", vec![0xc0]),
        ("a length beyond the message", vec![0x00, 0x7f, 0xff, 0x00]),
        ("two numbers", sequence_twice),
        ("a number that is not first", sequence_later),
        ("a second hello", hello_again),
        ("an acknowledgment of what was never sent", unsent_ack),
        ("a missing message", gap),
    ];
    for (what, octets) in cases {
        let mut direct = two();
        let error = direct.send_octets(1, &octets).expect_err(what);
        assert_eq!(error.code(), CloseCode::Protocol, "{what}");
        assert!(error.message().is_some(), "{what}: the client is told");
        assert_eq!(direct.gateway.stats().protocol_errors, 1, "{what}");
        bystander_works(&mut direct, 1);
    }
}

#[test]
fn what_is_unknown_is_skipped() {
    let mut direct = two();
    let unknown = Capsule::Unknown { kind: 0x29 * 100 + 0x17, value: b"grease" };
    direct.send_capsules(1, &[unknown.clone(), unknown]).unwrap();
    let stranger = Capsule::Datagram { context: 42, payload: b"nothing" };
    direct.send_capsules(1, &[stranger.clone(), stranger]).unwrap();
    assert_eq!(direct.gateway.stats().drops(DropReason::UnknownContext), 2);
    direct.send_octets(1, b"").expect("an empty message says nothing");
    direct.send_capsules(1, &[Capsule::ContextAssign { context: 2, kind: 999 }]).unwrap();
    assert_eq!(direct.sessions[1].closed_contexts, [2], "a context of unknown kind is refused");
    let packet = udp(direct.sessions[1].endpoint(false, 4000), "45.33.0.1:53".parse().unwrap(), b"?");
    direct.send_packets(1, &[packet]).unwrap();
    assert_eq!(direct.egress.len(), 1, "and the session goes on");
}

#[test]
fn first_messages_that_are_none() {
    let versions =
        |min, max| message(&[Capsule::Hello(Hello { min_version: min, max_version: max, token: b"", resume: None })]);
    let cases = [
        ("nothing", Vec::new(), CloseCode::Protocol),
        ("text", b"GET / HTTP/1.1\r\n\r\n".to_vec(), CloseCode::Protocol),
        ("a packet before the hello", message(&[Capsule::Datagram { context: 0, payload: b"x" }]), CloseCode::Protocol),
        ("a hello cut short", hello(None)[..4].to_vec(), CloseCode::Protocol),
        ("later versions only", versions(VERSION + 1, 255), CloseCode::Version),
        ("version 0 only", versions(0, 0), CloseCode::Version),
    ];
    for (what, octets, code) in cases {
        let mut direct = direct();
        let reject = direct.handshake(&octets, &Peer::new("hostile")).expect_err(what);
        assert_eq!(reject.code(), code, "{what}");
        assert!(!reject.message().is_empty(), "{what}: the client is told");
        assert_eq!(direct.gateway.stats().sessions, 0, "{what}");
        direct.open(&Peer::new("bystander")).unwrap();
    }
}

#[test]
fn a_session_is_resumed_by_its_secret_and_its_peer_alone() {
    let mut direct = two();
    let session = direct.sessions[0].session;
    let resume = Resume { session_id: session.session_id, secret: session.secret, next: 1 };
    let mut wrong_secret = resume;
    wrong_secret.secret[31] ^= 1;
    let mut wrong_id = resume;
    wrong_id.session_id[0] ^= 1;
    for (what, resume, peer) in [
        ("a wrong secret", wrong_secret, "bystander"),
        ("an unknown id", wrong_id, "bystander"),
        ("another peer", resume, "hostile"),
    ] {
        let reject = direct.handshake(&hello(Some(resume)), &Peer::new(peer)).expect_err(what);
        assert_eq!(reject.code(), CloseCode::UnknownSession, "{what}");
    }
    bystander_works(&mut direct, 2);
    let future = Resume { next: 1 << 30, ..resume };
    let reject = direct.handshake(&hello(Some(future)), &Peer::new("bystander")).expect_err("from the future");
    assert!(matches!(reject.code(), CloseCode::Protocol | CloseCode::UnknownSession), "{:?}", reject.code());
}

#[test]
fn rubbish_of_every_kind() {
    let mut rng = SimRng::new(1, "rubbish");
    let mut direct = direct();
    direct.open(&Peer::new("bystander")).unwrap();
    let hostile = Peer::new("hostile");
    for _ in 0..3000 {
        let index = direct.open(&hostile).unwrap();
        let len = rng.below(200) as usize;
        let mut octets = rng.vec(len);
        if rng.chance(0.5) {
            // A valid beginning leads further in.
            let mut good = message(&[Capsule::Sequence { number: 0 }, Capsule::Ping { opaque: 1 }]);
            let cut = rng.below(good.len() as u64 + 1) as usize;
            good.truncate(cut);
            octets.splice(0..0, good);
        }
        let _ = direct.send_octets(index, &octets);
        let (id, now) = (direct.sessions[index].id, direct.now);
        direct.gateway.close_session(id, CloseCode::Normal, now);
        direct.drain();
        direct.sessions.truncate(1);
        direct.events.clear();
    }
    bystander_works(&mut direct, 1);
    assert_eq!(Gateway::hello_token(b"rubbish"), None);
}

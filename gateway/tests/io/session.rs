//! WebSockets: how sessions open, what is refused and how that is told, and how they end.

use crate::support::{Client, Gateway, Received, Scratch, block_on, get};
use futures_util::SinkExt;
use tokio_tungstenite::tungstenite::Message;
use webtun_wire::{CloseCode, Resume};

const LOCAL: [&str; 2] = ["--listen", "127.0.0.1:0"];

isolated! {
    fn a_session_opens_and_comes_back_after_a_cut() {
        let scratch = Scratch::new("resume");
        let gateway = Gateway::start(&scratch.0, &LOCAL);
        block_on(async {
            let (client, first) = Client::open(gateway.address).await;
            assert!(!first.resumed);
            drop(client);
            let mut client = Client::connect(gateway.address, "webtun.v1").await.expect("a WebSocket");
            let resume = Resume { session_id: first.session_id, secret: first.secret, next: 0 };
            let second = client.hello(b"", Some(resume)).await;
            assert!(second.resumed && second.session_id == first.session_id);
        });
        gateway.stop();
    }

    fn a_second_connection_takes_the_session_over() {
        let scratch = Scratch::new("replaced");
        let gateway = Gateway::start(&scratch.0, &LOCAL);
        block_on(async {
            let (mut old, session) = Client::open(gateway.address).await;
            let mut new = Client::connect(gateway.address, "webtun.v1").await.expect("a WebSocket");
            let resume = Resume { session_id: session.session_id, secret: session.secret, next: 0 };
            assert!(new.hello(b"", Some(resume)).await.resumed);
            assert_eq!(old.closing().await, (Some(CloseCode::Replaced), Some(4409)));
        });
        gateway.stop();
    }

    fn a_token_is_asked_for_and_taken_from_either_place() {
        let scratch = Scratch::new("token");
        let gateway = Gateway::start(&scratch.0, &["--listen", "127.0.0.1:0", "--token", "s3cret", "--token", "other"]);
        block_on(async {
            for protocols in ["webtun.v1, bearer.wrong", "webtun.v1, bearer.s3cre", "webtun.v1, bearer."] {
                let mut client = Client::connect(gateway.address, protocols).await.expect("accepted, to be told");
                assert_eq!(client.closing().await, (Some(CloseCode::Unauthorized), Some(4401)), "{protocols}");
            }
            for token in [&b""[..], b"wrong"] {
                let mut client = Client::connect(gateway.address, "webtun.v1").await.expect("accepted, to be told");
                client.send(&crate::support::hello(token, None)).await;
                assert_eq!(client.closing().await, (Some(CloseCode::Unauthorized), Some(4401)));
            }
            let mut client = Client::connect(gateway.address, "webtun.v1, bearer.s3cret").await.expect("a WebSocket");
            client.hello(b"", None).await;
            let mut client = Client::connect(gateway.address, "webtun.v1").await.expect("a WebSocket");
            client.hello(b"other", None).await;
        });
        gateway.stop();
    }

    fn a_hashed_token_is_a_named_peer_with_limits_of_its_own() {
        let scratch = Scratch::new("hashed");
        let tokens = format!(
            "auth.token=[{{hash=\"{}\",name=\"alice\",limits={{sessions=1}}}}]",
            webtun_gateway::config::TokenHash::of(b"s3cret")
        );
        let gateway = Gateway::start(&scratch.0, &[&LOCAL[..], &["--token", "plain", "--set", &tokens]].concat());
        block_on(async {
            let mut client = Client::connect(gateway.address, "webtun.v1, bearer.s3cret").await.expect("a WebSocket");
            client.hello(b"", None).await;
            let mut second = Client::connect(gateway.address, "webtun.v1").await.expect("a WebSocket");
            second.send(&crate::support::hello(b"s3cret", None)).await;
            assert_eq!(second.closing().await, (Some(CloseCode::Limit), Some(1013)));
        });
        let log = gateway.stop();
        assert!(log.contains("peer=\"alice\"") && log.contains("webtun-gateway token hash"), "{log}");
        assert!(!log.contains("s3cret"), "{log}");
    }

    fn a_token_is_made_where_strangers_could_connect() {
        let scratch = Scratch::new("made");
        let gateway = Gateway::start(&scratch.0, &["--listen", "0.0.0.0:0"]);
        let [open, _] = &gateway.printed[..] else { panic!("{:?}", gateway.printed) };
        let (_, token) = open.split_once("/?token=").expect("the address to open");
        assert!(open.starts_with("open http://192.0.2.7:"), "{open}");
        let address = ([127, 0, 0, 1], gateway.address.port()).into();
        block_on(async {
            let mut stranger = Client::connect(address, "webtun.v1, bearer.guess").await.expect("a WebSocket");
            assert_eq!(stranger.closing().await.0, Some(CloseCode::Unauthorized));
            let mut client = Client::connect(address, &format!("webtun.v1, bearer.{token}")).await.expect("a WebSocket");
            client.hello(b"", None).await;
        });
        let mode = crate::support::shell(&format!("stat -c %a {}", scratch.0.join("state_dir/token").display()));
        assert_eq!(mode.trim(), "600");
        let printed = gateway.printed.clone();
        gateway.stop();
        let again = Gateway::start(&scratch.0, &["--listen", "0.0.0.0:0"]);
        let token_of = |lines: &[String]| lines[0].split_once('=').map(|(_, token)| token.to_owned());
        assert_eq!(token_of(&again.printed), token_of(&printed), "the token is kept");
        again.stop();
    }

    fn a_token_that_cannot_be_kept_is_for_one_run_and_is_told_with_the_public_url() {
        let scratch = Scratch::new("unkept");
        let folder = scratch.0.join("state_dir");
        std::fs::create_dir(&folder).expect("a folder");
        crate::support::shell(&format!("mount -t tmpfs -o ro tmpfs {}", folder.display()));
        let arguments = ["--listen", "0.0.0.0:0", "--set", "http.public_url=https://gw.example/"];
        let opened: Vec<String> = (0..2)
            .map(|_| {
                let gateway = Gateway::start(&scratch.0, &arguments);
                let open = gateway.printed[0].clone();
                assert!(gateway.stop().contains("is for this run alone"));
                open
            })
            .collect();
        assert!(opened.iter().all(|line| line.starts_with("open https://gw.example/?token=")), "{opened:?}");
        assert_ne!(opened[0], opened[1]);
        crate::support::shell(&format!("umount {}", folder.display()));
    }

    fn a_text_message_ends_the_session_and_nobody_elses() {
        let scratch = Scratch::new("text");
        let gateway = Gateway::start(&scratch.0, &LOCAL);
        block_on(async {
            let (mut other, _) = Client::open(gateway.address).await;
            let (mut client, session) = Client::open(gateway.address).await;
            client.0.send(Message::Text("hello".into())).await.expect("sending");
            assert_eq!(client.closing().await, (Some(CloseCode::Protocol), Some(1003)));
            let mut late = Client::connect(gateway.address, "webtun.v1").await.expect("a WebSocket");
            let resume = Resume { session_id: session.session_id, secret: session.secret, next: 0 };
            late.send(&crate::support::hello(b"", Some(resume))).await;
            assert_eq!(late.closing().await.0, Some(CloseCode::UnknownSession));
            assert_alive(&mut other).await;
        });
        gateway.stop();
    }

    fn an_oversized_message_ends_the_session_and_nobody_elses() {
        let scratch = Scratch::new("oversized");
        let gateway = Gateway::start(&scratch.0, &LOCAL);
        block_on(async {
            let (mut other, _) = Client::open(gateway.address).await;
            let (mut client, _) = Client::open(gateway.address).await;
            // The gateway may close before it has been sent in full.
            let _ = client.0.send(Message::Binary(vec![0; (1 << 20) + 1].into())).await;
            assert_eq!(client.closing().await.1, Some(1009));
            assert_alive(&mut other).await;
        });
        gateway.stop();
    }

    fn nonsense_ends_the_session_and_nobody_elses() {
        let scratch = Scratch::new("nonsense");
        let gateway = Gateway::start(&scratch.0, &LOCAL);
        block_on(async {
            let (mut other, _) = Client::open(gateway.address).await;
            for message in [&b""[..], b"\xff\xff\xff\xff", b"GET / HTTP/1.1"] {
                let mut client = Client::connect(gateway.address, "webtun.v1").await.expect("a WebSocket");
                client.send(message).await;
                let (close, frame) = client.closing().await;
                assert_eq!((close, frame), (Some(CloseCode::Protocol), Some(1002)), "{message:?}");
            }
            let (mut client, _) = Client::open(gateway.address).await;
            client.send(b"\x00\x40").await;
            assert_eq!(client.closing().await, (Some(CloseCode::Protocol), Some(1002)));
            assert_alive(&mut other).await;
        });
        gateway.stop();
    }

    fn a_silent_websocket_is_given_up() {
        let scratch = Scratch::new("silent");
        let gateway = Gateway::start(&scratch.0, &[&LOCAL[..], &["--set", "limits.handshake_timeout_s=1"]].concat());
        block_on(async {
            let mut silent = Client::connect(gateway.address, "webtun.v1").await.expect("a WebSocket");
            assert_eq!(silent.closing().await.0, Some(CloseCode::Protocol));
        });
        gateway.stop();
    }

    fn clients_are_told_when_the_gateway_stops() {
        let scratch = Scratch::new("shutdown");
        let gateway = Gateway::start(&scratch.0, &LOCAL);
        block_on(async {
            let (mut client, _) = Client::open(gateway.address).await;
            gateway.terminate();
            assert_eq!(client.closing().await, (Some(CloseCode::Shutdown), Some(1001)));
        });
        gateway.stop();
    }

    fn a_gateway_that_drains_says_so_and_serves_on() {
        let scratch = Scratch::new("drain");
        let gateway = Gateway::start(&scratch.0, &[&LOCAL[..], &["--set", "limits.drain_s=30"]].concat());
        block_on(async {
            let (mut client, _) = Client::open(gateway.address).await;
            gateway.terminate();
            let drained = async {
                loop {
                    let Received::Message(message) = client.receive().await else { panic!("the session has ended") };
                    if webtun_wire::capsules(&message).any(|it| matches!(it, Ok(webtun_wire::Capsule::Drain { .. }))) {
                        return;
                    }
                }
            };
            drained.await;
            assert_alive(&mut client).await;
            assert!(get(gateway.address, "/readyz").contains("503"));
            gateway.terminate();
            assert_eq!(client.closing().await, (Some(CloseCode::Shutdown), Some(1001)));
        });
        gateway.stop();
    }

    fn the_pool_can_be_exhausted() {
        let scratch = Scratch::new("pool");
        let gateway = Gateway::start(&scratch.0, &[&LOCAL[..], &["--set", "limits.sessions=1"]].concat());
        block_on(async {
            let (mut first, _) = Client::open(gateway.address).await;
            let mut second = Client::connect(gateway.address, "webtun.v1").await.expect("a WebSocket");
            second.send(&crate::support::hello(b"", None)).await;
            let (close, frame) = second.closing().await;
            assert!(matches!(close, Some(CloseCode::Exhausted | CloseCode::Limit)), "{close:?}");
            assert_eq!(frame, Some(1013));
            assert_alive(&mut first).await;
        });
        assert!(get(gateway.address, "/healthz").contains("200 OK"));
        gateway.stop();
    }
}

/// A PING is answered.
async fn assert_alive(client: &mut Client) {
    let mut message = Vec::new();
    webtun_wire::Capsule::Ping { opaque: 77 }.encode(&mut message);
    client.send(&message).await;
    loop {
        match client.receive().await {
            Received::Message(message) => {
                let mut answers = webtun_wire::capsules(&message).filter_map(Result::ok);
                if answers.any(|it| matches!(it, webtun_wire::Capsule::Pong { opaque: 77, .. })) {
                    return;
                }
            }
            other => panic!("the session has ended: {other:?}"),
        }
    }
}

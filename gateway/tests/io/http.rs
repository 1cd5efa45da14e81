//! The listener: health, refusals in words, files.

use crate::support::{Client, Gateway, Scratch, block_on, get, http};
use std::net::SocketAddr;
use tokio_tungstenite::tungstenite::Error;

/// The status and body with which an upgrade is refused.
fn refusal(address: SocketAddr, headers: &[(&'static str, &str)]) -> (u16, String) {
    match block_on(Client::connect_with(address, headers)) {
        Err(Error::Http(response)) => {
            let body = response.body().clone().unwrap_or_default();
            (response.status().as_u16(), String::from_utf8_lossy(&body).into_owned())
        }
        Err(other) => panic!("{other}"),
        Ok(_) => panic!("the upgrade was accepted"),
    }
}

isolated! {
    fn health_and_readiness_are_told() {
        let scratch = Scratch::new("health");
        let gateway = Gateway::start(&scratch.0, &["--listen", "127.0.0.1:0"]);
        assert!(get(gateway.address, "/healthz").starts_with("HTTP/1.1 200"));
        assert!(get(gateway.address, "/readyz").ends_with("ready\n"));
        assert!(get(gateway.address, "/nothing").starts_with("HTTP/1.1 404"));
        assert!(get(gateway.address, "/").contains("webtun.v1"));
        gateway.stop();
    }

    fn an_upgrade_without_the_subprotocol_is_refused_in_words() {
        let scratch = Scratch::new("subprotocol");
        let gateway = Gateway::start(&scratch.0, &["--listen", "127.0.0.1:0"]);
        for headers in [&[][..], &[("sec-websocket-protocol", "chat, text")][..]] {
            let (status, text) = refusal(gateway.address, headers);
            assert!(status == 400 && text.contains("webtun.v1"), "{status} {text}");
        }
        gateway.stop();
    }

    fn pages_of_foreign_origins_are_refused_and_listed_ones_are_not() {
        let scratch = Scratch::new("origin");
        let gateway = Gateway::start(&scratch.0, &["--listen", "127.0.0.1:0", "--allow-origin", "https://app.example"]);
        let with = |origin| [("sec-websocket-protocol", "webtun.v1"), ("origin", origin)];
        let (status, text) = refusal(gateway.address, &with("https://evil.example"));
        assert!(status == 403 && text.contains("https://evil.example"), "{status} {text}");
        let (status, _) = refusal(gateway.address, &with("null"));
        assert_eq!(status, 403);
        let same = format!("http://{}", gateway.address);
        for origin in ["https://app.example", same.as_str()] {
            block_on(Client::connect_with(gateway.address, &with(origin))).expect(origin);
        }
        gateway.stop();
    }

    fn without_a_token_a_name_of_a_stranger_is_no_host_of_ours() {
        let scratch = Scratch::new("rebinding");
        let gateway = Gateway::start(&scratch.0, &["--listen", "127.0.0.1:0"]);
        let headers = [
            ("sec-websocket-protocol", "webtun.v1"),
            ("host", "rebound.example:8077"),
            ("origin", "http://rebound.example:8077"),
        ];
        let (status, text) = refusal(gateway.address, &headers);
        assert!(status == 403 && text.contains("rebound.example"), "{status} {text}");
        gateway.stop();
    }

    fn files_are_served_isolated_and_nothing_beside_them() {
        let scratch = Scratch::new("files");
        let www = scratch.0.join("www");
        std::fs::create_dir_all(www.join("sub")).expect("a folder");
        std::fs::write(www.join("index.html"), "<p>front").expect("a file");
        std::fs::write(www.join("sub/app.wasm"), "wasm").expect("a file");
        std::fs::write(scratch.0.join("secret"), "secret").expect("a file");
        let dir = www.display().to_string();
        let gateway = Gateway::start(&scratch.0, &["--listen", "127.0.0.1:0", "--static-dir", &dir]);
        let front = get(gateway.address, "/?token=abc");
        for part in [
            "200 OK",
            "content-type: text/html",
            "cross-origin-opener-policy: same-origin",
            "cross-origin-embedder-policy: require-corp",
            "<p>front",
        ] {
            assert!(front.contains(part), "{part} is missing: {front}");
        }
        assert!(get(gateway.address, "/sub/app.wasm").contains("content-type: application/wasm"));
        assert!(get(gateway.address, "/healthz").ends_with("ok\n"));
        for path in ["/../secret", "/%2e%2e/secret", "/sub/../../secret", "/..%2fsecret", "//secret"] {
            let response = get(gateway.address, path);
            assert!(!response.starts_with("HTTP/1.1 200"), "{path}: {response}");
        }
        gateway.stop();
    }

    fn a_slow_request_is_given_up() {
        let scratch = Scratch::new("slow");
        let gateway = Gateway::start(&scratch.0, &["--listen", "127.0.0.1:0", "--set", "limits.handshake_timeout_s=1"]);
        let response = http(gateway.address, "GET / HTTP/1.1\r\nHost:");
        assert!(response.is_empty() || response.contains("408"), "{response}");
        gateway.stop();
    }
}

//! nginx and Caddy before the gateway, by the recipes of docs/migration.md.

use crate::support::{Client, Gateway, Scratch, block_on, shell};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::time::Duration;
use tokio_tungstenite::tungstenite::Error;

const PAGE: &str = include_str!("../../../docs/migration.md");
const FRONT: &str = "127.0.0.1:8080";
/// How long the proxy may take to listen.
const TRIES: u32 = 300;

/// The page's block of this kind.
fn recipe(kind: &str) -> &'static str {
    let (_, block) = PAGE.split_once(&format!("```{kind}\n")).expect("the recipe");
    block.split_once("```").expect("its end").0
}

/// Killed with the value.
struct Front(Child);

impl Front {
    fn start(program: &str, arguments: &[&str], scratch: &Scratch) -> Self {
        let mut command = Command::new(program);
        command
            .args(arguments)
            .env("HOME", &scratch.0)
            .env("XDG_DATA_HOME", &scratch.0)
            .env("XDG_CONFIG_HOME", &scratch.0);
        let child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn();
        let this = Self(child.unwrap_or_else(|error| panic!("{program}: {error}; `cargo xtask setup` installs it")));
        for _ in 0..TRIES {
            if std::net::TcpStream::connect(FRONT).is_ok() {
                return this;
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        panic!("{program} does not listen");
    }
}

impl Drop for Front {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A session opens through the proxy, comes back after a cut, and is known by the client's own address; strangers are refused as they
/// are without a proxy.
fn holds(gateway: Gateway) {
    let front: SocketAddr = FRONT.parse().expect("an address");
    let protocols = "webtun.v1, bearer.s3cret";
    block_on(async {
        let mut client = Client::connect_from([127, 0, 0, 9], front).await;
        let session = client.hello(b"s3cret", None).await;
        drop(client);
        let mut client = Client::connect(front, protocols).await.expect("a WebSocket");
        let resume = webtun_wire::Resume { session_id: session.session_id, secret: session.secret, next: 0 };
        assert!(client.hello(b"", Some(resume)).await.resumed);
        // The page of the proxy's own address may connect, a foreign one may not: so the host is told, too.
        for (origin, allowed) in [("http://127.0.0.1:8080", true), ("http://elsewhere.example", false)] {
            let headers = [("sec-websocket-protocol", protocols), ("origin", origin)];
            match Client::connect_with(front, &headers).await {
                Ok(_) => assert!(allowed, "{origin}"),
                Err(Error::Http(response)) => assert!(!allowed && response.status() == 403, "{origin}: {response:?}"),
                Err(error) => panic!("{origin}: {error}"),
            }
        }
    });
    let log = gateway.stop();
    assert!(log.contains("client=127.0.0.9"), "{log}");
}

fn gateway(scratch: &Scratch) -> Gateway {
    let trusted = "http.trusted_proxies=[\"127.0.0.1/32\"]";
    Gateway::start(
        &scratch.0,
        &["--egress", "user", "--listen", "127.0.0.1:8077", "--token", "s3cret", "--set", trusted],
    )
}

isolated! {
    fn nginx_by_its_recipe() {
        let scratch = Scratch::new("nginx");
        let folder = scratch.0.display();
        let server = recipe("nginx");
        // Without TLS, which is not what is in question; the rest is as it stands there.
        let server: String = server
            .replace("listen 443 ssl;", &format!("listen {FRONT};"))
            .lines()
            .filter(|line| !line.trim_start().starts_with("ssl_"))
            .map(|line| line.to_owned() + "\n")
            .collect();
        let file = scratch.0.join("nginx.conf");
        let places = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"].map(|name| format!("{name}_temp_path {folder}/{name};"));
        let text = format!(
            "daemon off; master_process off; pid {folder}/pid; error_log {folder}/error.log;\nevents {{}}\n\
             http {{ access_log off; {}\n{server} }}\n",
            places.join(" ")
        );
        std::fs::write(&file, text).expect("a file");
        shell("ip addr add 127.0.0.9/8 dev lo");
        let gateway = gateway(&scratch);
        let _front = Front::start("nginx", &["-c", &file.display().to_string(), "-e", "/dev/null"], &scratch);
        holds(gateway);
    }

    fn caddy_by_its_recipe() {
        let scratch = Scratch::new("caddy");
        let file = scratch.0.join("Caddyfile");
        let text = recipe("caddy").replace("gw.example", &format!("http://{FRONT}"));
        std::fs::write(&file, format!("{{\n    admin off\n}}\n{text}")).expect("a file");
        shell("ip addr add 127.0.0.9/8 dev lo");
        let gateway = gateway(&scratch);
        let arguments = ["run", "--config", &file.display().to_string(), "--adapter", "caddyfile"];
        let _front = Front::start("caddy", &arguments, &scratch);
        holds(gateway);
    }
}

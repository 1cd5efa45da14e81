//! What the operator sees: figures, health, the audit log.

use crate::support::tunnel::Tunnel;
use crate::support::{Client, Gateway, Scratch, block_on, get, http, shell};
use std::net::SocketAddr;
use webtun_gateway::dataplane::DropReason;
use webtun_stack::UdpOptions;

const ADMIN: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 9077);

/// The value of a sample of `/metrics`, by its name with labels.
fn figure(sample: &str) -> f64 {
    let text = get(ADMIN, "/metrics");
    let value = text.lines().find_map(|line| line.strip_prefix(sample)?.strip_prefix(' '));
    value.unwrap_or_else(|| panic!("{sample} is missing:\n{text}")).trim().parse().expect("a number")
}

/// Has a client send one datagram to an address that no rule opens, and waits for the refusal.
async fn denied_datagram(address: SocketAddr) -> Tunnel {
    let mut tunnel = Tunnel::open(address).await;
    let now = tunnel.now();
    let any = "0.0.0.0:0".parse().expect("an endpoint");
    let socket = tunnel.stack.udp_bind(any, UdpOptions::default(), now).expect("a socket");
    let to = "10.1.2.3:9".parse().expect("an endpoint");
    tunnel.stack.udp_send(socket, b"x", Some(to), now).expect("sent");
    tunnel.until(|_, event| matches!(event, webtun_stack::Event::Socket(_)).then_some(())).await;
    tunnel
}

isolated! {
    fn figures_move_with_traffic_and_stay_off_the_public_address() {
        let scratch = Scratch::new("metrics");
        let gateway = Gateway::start(&scratch.0, &["--listen", "127.0.0.1:0"]);
        assert_eq!(figure("webtun_sessions{state=\"connected\"}"), 0.0);
        for reason in DropReason::ALL {
            figure(&format!("webtun_dropped_packets_total{{reason=\"{}\"}}", reason.label()));
        }
        let tunnel = block_on(denied_datagram(gateway.address));
        assert_eq!(figure("webtun_sessions{state=\"connected\"}"), 1.0);
        assert_eq!(figure("webtun_handshakes_total{result=\"accepted\"}"), 1.0);
        assert_eq!(figure("webtun_denied_flows_total{reason=\"destination_class\"}"), 1.0);
        assert!(figure("webtun_packets_total{direction=\"uplink\"}") >= 1.0);
        assert!(figure("webtun_octets_total{direction=\"uplink\"}") >= 29.0);
        assert!(figure("webtun_port_blocks{state=\"assigned\"}") >= 1.0);
        assert!(figure("process_resident_memory_bytes") > 0.0);
        drop(tunnel);
        let (status, health) = (get(gateway.address, "/metrics"), get(ADMIN, "/healthz"));
        assert!(status.starts_with("HTTP/1.1 404") && health.starts_with("HTTP/1.1 200"), "{status} {health}");
        assert!(get(ADMIN, "/readyz").ends_with("ready\n"));
        assert!(get(ADMIN, "/").starts_with("HTTP/1.1 404"));
        gateway.stop();
    }

    fn tickets_are_counted_by_what_becomes_of_them() {
        let scratch = Scratch::new("tickets-counted");
        let flags = ["--listen", "127.0.0.1:0", "--set", "tokens=[\"right\"]", "--set", "auth.tickets_per_peer=1"];
        let gateway = Gateway::start(&scratch.0, &flags);
        let ask = |credential: &str, origin: &str| {
            let request = format!(
                "POST /ticket HTTP/1.1\r\nHost: gw\r\nAuthorization: Bearer {credential}\r\n{origin}\
                 Content-Length: 0\r\nConnection: close\r\n\r\n"
            );
            http(gateway.address, &request)
        };
        let answer = ask("right", "");
        let (_, rest) = answer.split_once("\"ticket\":\"").expect("a ticket");
        let path = format!("/?ticket={}", &rest[..32]);
        ask("right", "");
        ask("wrong", "");
        ask("right", "Origin: https://evil.example\r\n");
        block_on(async {
            let mut client = Client::connect_to(gateway.address, &path).await.expect("a WebSocket");
            client.hello(b"", None).await;
            Client::connect_to(gateway.address, &path).await.expect("a WebSocket");
        });
        for (result, times) in [
            ("issued", 1.0), ("redeemed", 1.0), ("invalid", 1.0), ("full", 1.0), ("unauthorized", 1.0), ("origin", 1.0),
            ("throttled", 0.0), ("not_needed", 0.0), ("internal", 0.0),
        ] {
            assert_eq!(figure(&format!("webtun_tickets_total{{result=\"{result}\"}}")), times, "{result}");
        }
        gateway.stop();
    }

    fn a_refused_token_is_counted() {
        let scratch = Scratch::new("refused");
        let gateway = Gateway::start(&scratch.0, &["--listen", "127.0.0.1:0", "--set", "tokens=[\"right\"]"]);
        block_on(async {
            let mut client = Client::connect(gateway.address, "webtun.v1, bearer.wrong").await.expect("a WebSocket");
            client.closing().await;
        });
        assert_eq!(figure("webtun_handshakes_total{result=\"unauthorized\"}"), 1.0);
        assert_eq!(figure("webtun_handshakes_total{result=\"accepted\"}"), 0.0);
        gateway.stop();
    }

    fn nobody_listens_where_it_is_off() {
        let scratch = Scratch::new("off");
        let gateway = Gateway::start(&scratch.0, &["--listen", "127.0.0.1:0", "--set", "admin=off"]);
        assert!(std::net::TcpStream::connect(ADMIN).is_err());
        gateway.stop();
    }

    fn the_audit_log_names_peers_and_ports_and_no_destination() {
        let scratch = Scratch::new("audit");
        let file = scratch.0.join("audit.jsonl");
        let output = format!("audit.output={}", file.display());
        let gateway = Gateway::start(&scratch.0, &["--listen", "127.0.0.1:0", "--set", &output]);
        drop(block_on(denied_datagram(gateway.address)));
        gateway.stop();
        let text = std::fs::read_to_string(&file).expect("the log");
        let lines: Vec<serde_json::Value> =
            text.lines().map(|line| serde_json::from_str(line).expect("a line of JSON")).collect();
        let of = |event: &str| lines.iter().find(|line| line["event"] == event).unwrap_or_else(|| panic!("{event}: {text}"));
        assert!(of("session_opened")["peer"].is_string() && of("session_opened")["inner_v4"].is_string());
        assert_eq!(of("block_assigned")["session"], of("session_opened")["session"]);
        assert!(of("block_assigned")["first_port"].as_u64() >= Some(16384));
        assert_eq!(of("block_returned")["first_port"], of("block_assigned")["first_port"]);
        of("session_closed");
        assert!(lines.iter().all(|line| line["unix_ms"].is_u64()) && !text.contains("10.1.2.3"), "{text}");
    }

    fn old_audit_files_are_bounded() {
        let scratch = Scratch::new("rotation");
        let file = scratch.0.join("audit.jsonl");
        let output = format!("audit.output={}", file.display());
        let settings = ["--set", &output, "--set", "audit.file_octets=4096", "--set", "audit.files=2"];
        let gateway = Gateway::start(&scratch.0, &[&["--listen", "127.0.0.1:0"][..], &settings].concat());
        block_on(async {
            for _ in 0..80 {
                let (mut client, _) = Client::open(gateway.address).await;
                client.send(b"\xff\xff").await;
                client.closing().await;
            }
        });
        gateway.stop();
        let names = shell(&format!("ls {}", scratch.0.display()));
        let logs: Vec<&str> = names.lines().filter(|name| name.starts_with("audit.jsonl")).collect();
        assert_eq!(logs, ["audit.jsonl", "audit.jsonl.1", "audit.jsonl.2"]);
    }

    fn each_module_logs_at_its_own_level() {
        let scratch = Scratch::new("levels");
        let quiet = "error,webtun_gateway::io::session=info";
        let gateway = Gateway::start(&scratch.0, &["--listen", "127.0.0.1:0", "--log", quiet]);
        block_on(async {
            let mut client = Client::connect(gateway.address, "webtun.v1").await.expect("a WebSocket");
            client.hello(b"", None).await;
        });
        let log = gateway.stop();
        assert!(log.contains("session connected"), "{log}");
        assert!(log.lines().all(|line| line.contains("webtun_gateway::io::session")), "{log}");
    }

    fn the_log_can_be_json() {
        let scratch = Scratch::new("json");
        let gateway = Gateway::start(&scratch.0, &["--listen", "127.0.0.1:0", "--set", "log.format=json"]);
        let log = gateway.stop();
        assert!(log.lines().count() > 0);
        for line in log.lines() {
            let line: serde_json::Value = serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
            assert!(line["level"].is_string() && line["target"].is_string(), "{line}");
        }
    }
}

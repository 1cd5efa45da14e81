//! Two shards on real TUN devices: each session is reached through its own, and they reach each other.

use crate::support::mirror::{Mirror, by_tcp, by_udp};
use crate::support::tunnel::Tunnel;
use crate::support::{Gateway, Scratch, block_on, other_machine, shell, there};
use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;
use webtun_stack::{Event, ListenOptions, PortMapOptions, Protocol, SocketEvent, SocketId, TcpOptions};

const RULES: [&str; 6] = [
    "--listen",
    "127.0.0.1:0",
    "--set",
    "policy.rule=[{action=\"allow\",prefix=\"192.0.2.0/24\"},{action=\"allow\",prefix=\"2001:db8::/32\"}]",
    "--set",
    "shards=2",
];

fn state() -> String {
    shell(
        "nft list ruleset
         ip -o address | grep -o ' inet.*/[0-9]*'
         (ip route; ip -6 route) | sed 's/ linkdown//'
         ip -o link | cut -d ' ' -f 2
         grep . /proc/sys/net/ipv4/ip_local_*port*",
    )
}

/// Listens at a port of one's own, and gives back what the outside reaches it by.
async fn mapped(tunnel: &mut Tunnel, ipv6: bool) -> (SocketId, SocketAddr) {
    let any: SocketAddr = "[::]:8000".parse().expect("an endpoint");
    let now = tunnel.now();
    let listener = tunnel.stack.tcp_listen(any, ListenOptions::default(), now).expect("a listener");
    let lifetime = Duration::from_secs(600);
    let options = PortMapOptions { protocol: Protocol::Tcp, ipv6, internal_port: 8000, external_port: 0, lifetime };
    let id = tunnel.stack.map_port(options, now);
    let mapped = tunnel
        .until(|_, event| match event {
            Event::PortMapped { id: of, result } if of == id => Some(result.expect("a port")),
            _ => None,
        })
        .await;
    (listener, mapped.external)
}

async fn is_called(tunnel: &mut Tunnel, listener: SocketId) {
    tunnel
        .until(|_, event| matches!(event, Event::Socket(SocketEvent::TcpIncoming(of)) if of == listener).then_some(()))
        .await;
    let now = tunnel.now();
    tunnel.stack.close(listener, now);
}

/// Out and in, over both shards, and from one to the other; gives back the external endpoints of TCP.
async fn all_ways(gateway: &Gateway) -> Vec<SocketAddr> {
    let mut seen = Vec::new();
    let (mut one, mut two) = (Tunnel::open(gateway.address).await, Tunnel::open(gateway.address).await);
    for remote in ["192.0.2.1:7000", "[2001:db8::1]:7000"] {
        let remote: SocketAddr = remote.parse().expect("an endpoint");
        let mut at = Vec::new();
        for tunnel in [&mut one, &mut two] {
            at.push(by_udp(tunnel, 0, remote, b"").await.expect("an answer").ip());
            seen.push(by_tcp(tunnel, remote).await);
            let (listener, external) = mapped(tunnel, remote.is_ipv6()).await;
            let mut caller = there(&format!("nc -w 5 {} {} < /dev/null", external.ip(), external.port()));
            is_called(tunnel, listener).await;
            caller.kill().expect("it runs");
            caller.wait().expect("it ends");
            seen.push(external);
        }
        // From one session to the other, by what the outside knows of it.
        let (listener, external) = mapped(&mut two, remote.is_ipv6()).await;
        let now = one.now();
        one.stack.tcp_connect(external, TcpOptions::default(), now).expect("a socket");
        tokio::select! {
            () = is_called(&mut two, listener) => {}
            () = one.until(|_, _| None::<()>) => unreachable!("it waits for nothing"),
        }
    }
    seen
}

/// Packets that each device has been sent.
fn devices() -> Vec<u64> {
    let read = |name: &str| {
        let line = shell(&format!("grep '{name}:' /proc/net/dev"));
        line.split_ascii_whitespace().nth(10).map_or(Ok(0), str::parse)
    };
    ["webtun0", "webtun0-1"].map(|name| read(name).expect("a number")).to_vec()
}

isolated! {
    fn shards_share_a_masqueraded_address_by_its_ports() {
        let scratch = Scratch::new("shards-masquerade");
        other_machine();
        let before = state();
        let gateway = Gateway::start(&scratch.0, &RULES);
        let _mirror = Mirror::start();
        let seen = block_on(all_ways(&gateway));
        let addresses: BTreeSet<IpAddr> = seen.iter().map(SocketAddr::ip).collect();
        assert_eq!(addresses.len(), 2, "one of each family: {seen:?}");
        let halves: BTreeSet<bool> = seen.iter().map(|it| it.port() < 16_384 + 24_576).collect();
        assert_eq!(halves.len(), 2, "of either shard: {seen:?}");
        assert!(devices().iter().all(|packets| *packets > 0), "both devices have carried something");
        gateway.stop();
        assert_eq!(state(), before);
    }

    fn shards_have_routed_addresses_of_their_own() {
        let scratch = Scratch::new("shards-routed");
        other_machine();
        shell(
            "ip netns exec other ip route add 198.51.100.0/29 via 192.0.2.7
             ip netns exec other ip route add 2001:db8:7:1::/64 via 2001:db8::7",
        );
        let before = state();
        let flags = [
            &RULES[..],
            &["--set", "external.mode=routed", "--set", "external.ipv4=198.51.100.2/31"],
            &["--set", "external.ipv6_prefix=2001:db8:7:1::/64"],
        ];
        let gateway = Gateway::start(&scratch.0, &flags.concat());
        let _mirror = Mirror::start();
        let seen = block_on(all_ways(&gateway));
        let v4: BTreeSet<IpAddr> = seen.iter().map(SocketAddr::ip).filter(IpAddr::is_ipv4).collect();
        let both = [2, 3].map(|last| IpAddr::from([198, 51, 100, last]));
        assert_eq!(v4, both.into());
        assert!(devices().iter().all(|packets| *packets > 0), "both devices have carried something");
        gateway.stop();
        assert_eq!(state(), before);
    }
}
